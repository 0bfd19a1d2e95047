# make demo    four shards on this machine, behind weir, ready for psql
# make test    everything that CI runs

# make oracle-long    100,000 generated reads against PostgreSQL, seed after seed (docs/oracle.md)

# make bench    weir beside PgBouncer and HAProxy; ARGS=--quick only tries it (docs/performance.md)
# make micro    parts of a statement's way, each for itself; ARGS=plans for what has that in its name

# make screenshots    the pictures of the dashboard in docs/, anew

.PHONY: demo test format lint tests fuzz oracle-long bench micro screenshots

# For instance: make demo ARGS="--shards 8 --port 6543"
ARGS ?=
# How many statements the long run has in all, and for each seed.
ORACLE_STATEMENTS ?= 100000
ORACLE_PER_SEED ?= 5000
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 40

demo:
	@scripts/need rust postgresql
	@echo "building weir (a few minutes the first time)"
	@cargo build --quiet --locked
	@exec target/debug/weir demo $(ARGS)

test: format lint tests fuzz

format:
	@scripts/need rust
	@scripts/timed format cargo fmt --all -- --check

lint:
	@scripts/timed lint cargo clippy --locked --all-targets -- -D warnings

# Unit, golden and property tests, then the integration tests, which start their own servers.
# cargo-nextest is used where it is installed; plain cargo runs the same tests.
tests:
	@scripts/need rust postgresql drivers
	@if cargo nextest --version >/dev/null 2>&1; then \
		scripts/timed tests cargo nextest run --locked --no-fail-fast; \
	else \
		scripts/timed "unit tests" cargo test --locked --lib --bins && \
		scripts/timed 'integration tests' cargo test --locked --test integration -- --test-threads 4; \
	fi

fuzz:
	@scripts/need rust fuzzer
	@scripts/timed fuzz integration/fuzz/run $(FUZZ_SECONDS)

oracle-long:
	@scripts/need rust postgresql
	@cargo build --quiet --locked --release --bin weir
	@cargo test --quiet --locked --test integration --no-run
	@scripts/oracle-long $(ORACLE_STATEMENTS) $(ORACLE_PER_SEED)

bench:
	@scripts/need rust postgresql bench
	@PATH="$$PATH:/usr/sbin" cargo bench --locked --bench proxies -- $(ARGS)

micro:
	@scripts/need rust
	@cargo bench --locked --bench micro -- $(ARGS)

screenshots:
	@scripts/need rust postgresql drivers
	@WEIR_SCREENSHOTS=$(CURDIR)/docs cargo test --quiet --locked --test integration -- dashboard::
