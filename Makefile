# make demo    four shards on this machine, behind weir, ready for psql
# make test    everything that CI runs

.PHONY: demo test format lint tests fuzz

# For instance: make demo ARGS="--shards 8 --port 6543"
ARGS ?=
# Seconds for each fuzz target.
FUZZ_SECONDS ?= 60

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
