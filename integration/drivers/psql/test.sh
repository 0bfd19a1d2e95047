#!/usr/bin/env bash
# psql against the server that the PG* variables name: weir, or plain PostgreSQL as the oracle.
set -euo pipefail

scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
users="9000 9001 9002 9003 9004 9005 9006 9007"
psql() { command psql -X -q -A -t -v ON_ERROR_STOP=1 -v VERBOSITY=verbose "$@"; }

# check NAME EXPECTED ACTUAL
check() {
    if [ "$2" != "$3" ]; then
        printf 'not ok %s\nexpected:\n%s\nfound:\n%s\n' "$1" "$2" "$3"
        exit 1
    fi
    echo "ok $1"
}

# One message per line, then several statements in one message (-c).
for user in $users; do
    echo "INSERT INTO users (id, email, name) VALUES ($user, 'user$user@example.com', 'User $user');"
    echo "INSERT INTO orders (user_id, order_no, total) VALUES ($user, 'Q-$user-0', 10), ($user, 'Q-$user-1', 11);"
done | psql
for user in $users; do
    found=$(psql -c "SELECT name FROM users WHERE id = $user; SELECT order_no, total FROM orders WHERE user_id = $user ORDER BY 1")
    check "rows of user $user" $'User '"$user"$'\nQ-'"$user"$'-0|10.00\nQ-'"$user"'-1|11.00' "$found"
done

check 'update and delete' $'paid\n1' "$(psql <<'SQL'
UPDATE orders SET status = 'paid' WHERE user_id = 9000 AND order_no = 'Q-9000-0' RETURNING status;
DELETE FROM orders WHERE user_id = 9000 AND order_no = 'Q-9000-1';
SELECT count(*) FROM orders WHERE user_id = 9000;
SQL
)"

check 'transaction with a savepoint' $'Inner\nOuter\nUser 9001' "$(psql <<'SQL'
BEGIN;
UPDATE users SET name = 'Outer' WHERE id = 9001;
SAVEPOINT here;
UPDATE users SET name = 'Inner' WHERE id = 9001 RETURNING name;
ROLLBACK TO here;
SELECT name FROM users WHERE id = 9001;
ROLLBACK;
SELECT name FROM users WHERE id = 9001;
SQL
)"

check 'several statements of one message are one transaction' 'User 9001' "$(
    psql -c "UPDATE users SET name = 'Lost' WHERE id = 9001; SELECT 1/0 FROM users WHERE id = 9001" 2>/dev/null \
        || psql -c 'SELECT name FROM users WHERE id = 9001'
)"

check 'PREPARE and EXECUTE' $'User 9002\nUser 9003' "$(psql <<'SQL'
PREPARE user_name (bigint) AS SELECT name FROM users WHERE id = $1;
EXECUTE user_name (9002);
EXECUTE user_name (9003);
DEALLOCATE user_name;
SQL
)"

check 'cursor' $'1\n2\n3\n4' "$(psql <<'SQL'
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES
    (9004, 'Q-9004-0', 1, 1, 1, 4.90), (9004, 'Q-9004-0', 2, 1, 1, 4.90),
    (9004, 'Q-9004-0', 3, 1, 1, 4.90), (9004, 'Q-9004-0', 4, 1, 1, 4.90);
BEGIN;
DECLARE lines CURSOR FOR SELECT line_no FROM order_items WHERE user_id = 9004 ORDER BY line_no;
FETCH 2 FROM lines;
FETCH FORWARD 1 FROM lines;
FETCH NEXT FROM lines;
CLOSE lines;
COMMIT;
SQL
)"

# psql's own way to fetch in parts.
check 'FETCH_COUNT' $'1\n2\n3\n4' "$(psql -v FETCH_COUNT=3 -c 'SELECT line_no FROM order_items WHERE user_id = 9004 ORDER BY line_no')"

check 'COPY out' $'1\t4.90\n2\t4.90' "$(psql -c '\copy (SELECT line_no, price FROM order_items WHERE user_id = 9004 ORDER BY 1 LIMIT 2) TO STDOUT')"
seq 1 500 | sed 's/^/psql\taction /' | psql -c '\copy audit_log (actor, action) FROM STDIN'
check 'COPY in' '500' "$(psql -c "SELECT count(*) FROM audit_log WHERE actor = 'psql'")"
psql -c "DELETE FROM audit_log WHERE actor = 'psql'"

# Rows of all shards, there and back.
seq 20001 21000 | sed 's/.*/&,u&@example.com,"User, &"/' | psql -c '\copy users (id, email, name) FROM STDIN (FORMAT csv)'
check 'COPY in over shards' '1000' "$(psql -c "SELECT count(*) FROM users WHERE email LIKE 'u2%' AND name LIKE 'User, 2%'")"
check 'COPY of a query over shards' $'id,name\n20999,"User, 20999"\n21000,"User, 21000"' \
    "$(psql -c '\copy (SELECT id, name FROM users WHERE id > 20998 ORDER BY id) TO STDOUT (FORMAT csv, HEADER)')"
check 'COPY out over shards' '1000' "$(psql -c '\copy users (name) TO STDOUT' | grep -c '^User, 2')"
check 'a bad row leaves nothing' 'ERROR:  23505' "$(printf '30001,a,b\n30002,a,b\n20001,a,b\n' |
    psql -c '\copy users (id, email, name) FROM STDIN (FORMAT csv)' 2>&1 | grep -o '^ERROR:  .....' || true)"
check 'a bad row left nothing' '0' "$(psql -c 'SELECT count(*) FROM users WHERE id > 30000 AND id < 30003')"
psql -c 'DELETE FROM users WHERE id > 20000 AND id <= 21000'

check 'settings' $'Asia/Tokyo\nAsia/Tokyo\n11min' "$(psql <<'SQL'
SET TimeZone = 'Asia/Tokyo';
SHOW TimeZone;
BEGIN;
SET LOCAL statement_timeout = '11min';
SELECT current_setting('TimeZone') FROM users WHERE id = 9005;
SELECT current_setting('statement_timeout') FROM users WHERE id = 9005;
COMMIT;
SQL
)"
check 'settings of start-up options' '7s' "$(PGOPTIONS='-c statement_timeout=7s' psql -c 'SHOW statement_timeout')"

check 'unique violation' 'ERROR:  23505: duplicate key value violates unique constraint "orders_order_no_key"
DETAIL:  Key (order_no)=(Q-9006-0) already exists.
SCHEMA NAME:  public
TABLE NAME:  orders
CONSTRAINT NAME:  orders_order_no_key' "$(psql -c "INSERT INTO orders (user_id, order_no) VALUES (9006, 'Q-9006-0')" 2>&1 | grep -v LOCATION || true)"
check 'syntax error' 'ERROR:  42601: syntax error at or near "SELEC"
LINE 1: SELEC 1
        ^' "$(psql -c 'SELEC 1' 2>&1 | grep -v LOCATION || true)"
if [ "$WEIR_PEER" = weir ]; then
    refused=$(psql -c 'SELECT id FROM orders FOR UPDATE' 2>&1 || true)
    check 'a refusal has its SQLSTATE' 'ERROR:  0A000' "$(grep -o '^ERROR:  0A000' <<<"$refused")"
    check 'a refusal has a hint' 'HINT: ' "$(grep -o '^HINT: ' <<<"$refused")"
fi

# Ctrl-C makes psql send a cancel request. psql is ready for it once it has said something.
command psql -X -q -c '\echo asleep' -c 'SELECT pg_sleep(60) FROM users WHERE id = 9007' >"$scratch" 2>&1 &
sleeper=$!
until grep -q asleep "$scratch"; do sleep 0.1; done
sleep 0.5
while kill -INT "$sleeper" 2>/dev/null; do sleep 0.5; done
check 'cancel' 'ERROR:  canceling statement due to user request' "$(grep ERROR "$scratch")"

check 'the catalog' 'public|order_items|table|app
public|orders|table|app
public|payments|table|app
public|products|table|app
public|users|table|app
public|warehouses|table|app' "$(psql -c '\dt' | grep -v audit_log)"
check 'a table' 'user_id|bigint|||' "$(psql -c '\d orders' | grep '^user_id')"
