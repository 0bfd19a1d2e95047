-- Every trap names what goes wrong elsewhere. Refused is right wherever a second shard could matter.

-- TRAP key = const inside CASE.
SELECT CASE WHEN user_id = 5 THEN 1 END FROM orders;

-- TRAP key = const inside FILTER.
SELECT count(*) FILTER (WHERE user_id = 5) FROM orders;

-- TRAP key = const in an outer join's ON, about the preserved side.
SELECT * FROM orders o LEFT JOIN users u ON o.user_id = 5 AND u.id = o.user_id;

-- In ON about the nullable side it limits that side, and only that side.
SELECT * FROM users u LEFT JOIN orders o ON o.user_id = u.id AND o.user_id = 5;

SELECT * FROM countries c LEFT JOIN orders o ON o.user_id = 5;

-- In WHERE it refuses the rows that were extended with NULLs: both sides are limited.
SELECT * FROM orders o LEFT JOIN users u ON u.id = o.user_id WHERE u.id = 5 AND o.user_id = u.id;

SELECT * FROM orders o LEFT JOIN users u ON u.id = o.user_id WHERE o.user_id = 5;

-- The nullable side's limit says nothing about the preserved side.
SELECT * FROM orders o LEFT JOIN users u ON u.id = o.user_id AND u.id = 5;

SELECT * FROM orders o RIGHT JOIN users u ON u.id = o.user_id WHERE u.id = 5;

SELECT * FROM orders o RIGHT JOIN users u ON u.id = o.user_id WHERE o.user_id = 5;

-- TRAP a FULL JOIN's ON limits nothing.
SELECT * FROM orders o FULL JOIN users u ON u.id = o.user_id AND u.id = 5 AND o.user_id = 5;

SELECT * FROM orders o FULL JOIN users u ON u.id = o.user_id WHERE u.id = 5;

SELECT * FROM orders o FULL JOIN users u ON u.id = o.user_id WHERE u.id = 5 AND o.user_id = 5;

-- TRAP a subquery about another instance of the table.
SELECT * FROM orders WHERE order_no IN (SELECT order_no FROM orders WHERE user_id = 5);

SELECT * FROM orders o WHERE EXISTS (SELECT 1 FROM orders p WHERE p.user_id = 5);

SELECT (SELECT count(*) FROM orders WHERE user_id = 5), count(*) FROM orders;

-- TRAP key = const under IS NOT TRUE, NOT, OR, IS NULL.
SELECT * FROM orders WHERE (user_id = 5) IS NOT TRUE;

SELECT * FROM orders WHERE user_id = 5 IS NOT TRUE;

SELECT * FROM orders WHERE NOT user_id = 5;

SELECT * FROM orders WHERE NOT (user_id = 5 AND total > 1);

SELECT * FROM orders WHERE user_id = 5 OR total > 100;

SELECT * FROM orders WHERE (user_id = 5) IS NULL;

SELECT * FROM orders WHERE user_id = 5 = true;

SELECT * FROM orders WHERE user_id <> 5 AND user_id != 6 AND user_id >= 5;

SELECT * FROM orders WHERE user_id IS DISTINCT FROM 5;

-- IS NOT DISTINCT FROM 5 would be a limit, but is not one of the forms that prove.
SELECT * FROM orders WHERE user_id IS NOT DISTINCT FROM 5;

-- TRAP arithmetic on the key.
SELECT * FROM orders WHERE user_id + 1 = 5;

SELECT * FROM orders WHERE user_id % 4 = 1;

SELECT * FROM orders WHERE -user_id = 5;

SELECT * FROM orders WHERE user_id::text = '5';

SELECT * FROM orders WHERE abs(user_id) = 5;

-- TRAP arithmetic on the value.
-- $1 = 5
SELECT * FROM orders WHERE user_id = $1 + 1;

SELECT * FROM orders WHERE user_id = 2 + 3;

SELECT * FROM orders WHERE user_id = length('12345');

SELECT * FROM orders WHERE user_id = (SELECT 5);

-- TRAP a non-constant member of an IN list.
SELECT * FROM orders WHERE user_id IN (5, payer);

SELECT * FROM orders WHERE user_id IN (5, 2 + 3);

-- TRAP IN over two shards.
SELECT * FROM orders WHERE user_id IN (1, 3);

SELECT * FROM orders WHERE user_id IN (1, 5, 9);

SELECT * FROM orders WHERE user_id IN (1, NULL);

SELECT * FROM orders WHERE user_id NOT IN (1, 5);

-- TRAP = ANY of an array.
SELECT * FROM orders WHERE user_id = ANY('{1,5}');

SELECT * FROM orders WHERE user_id = ANY('{1,3}'::bigint[]);

SELECT * FROM orders WHERE user_id = ANY(ARRAY[1, 5]);

SELECT * FROM orders WHERE user_id = ANY(ARRAY[1, payer]);

SELECT * FROM orders WHERE user_id = ALL('{1}');

SELECT * FROM orders WHERE user_id <> ANY('{1}');

SELECT * FROM orders WHERE user_id = ANY(SELECT id FROM users WHERE id = 5);

-- $1 = {1,5,9}
SELECT * FROM orders WHERE user_id = ANY($1);

-- $1 = {1,NULL}
SELECT * FROM orders WHERE user_id = ANY($1::bigint[]);

-- $1 = {}
SELECT * FROM orders WHERE user_id = ANY($1);

-- TRAP OR of keys: not followed, even on one shard.
SELECT * FROM orders WHERE user_id = 1 OR user_id = 5;

-- TRAP BETWEEN.
SELECT * FROM orders WHERE user_id BETWEEN 5 AND 5;

SELECT * FROM orders WHERE total BETWEEN 1 AND 2 AND user_id = 5;

-- TRAP NULL keys.
SELECT * FROM orders WHERE user_id = NULL;

-- $1 = NULL
SELECT * FROM orders WHERE user_id = $1;

-- $1 = NULL
UPDATE orders SET total = 0 WHERE user_id = $1;

SELECT * FROM orders WHERE user_id IS NULL;

SELECT * FROM orders WHERE order_no = 'A';

SELECT * FROM orders WHERE user_id IS NULL AND order_no = 'A';

SELECT * FROM orders WHERE (user_id IS NULL OR total > 1) AND order_no = 'A';

SELECT * FROM orders o LEFT JOIN orders p ON p.order_no = o.order_no AND p.user_id IS NULL
WHERE o.order_no = 'A' AND o.user_id IS NULL;

-- TRAP an anti-join: IS NULL is also true where no row was found, so it limits nothing.
SELECT * FROM tickets t LEFT JOIN orders o ON o.order_no = t.number
WHERE t.number = 'A' AND o.user_id IS NULL;

SELECT * FROM tickets t LEFT JOIN orders o ON o.order_no = t.number AND o.user_id IS NULL
WHERE t.number = 'A';

-- The fallback of one table and the key of another, both by the same number.
SELECT * FROM orders o JOIN tickets t ON t.number = o.order_no
WHERE o.user_id IS NULL AND t.number = 'A';

-- TRAP row comparisons.
SELECT * FROM orders WHERE (user_id, id) = (1, 2);

SELECT * FROM orders WHERE (user_id, id) > (1, 2);

SELECT * FROM orders WHERE (user_id, id) IN ((1, 2), (5, 7));

SELECT * FROM orders WHERE (user_id, id) IN ((1, 2), (3, 7));

SELECT * FROM orders WHERE (id, user_id) = (SELECT 1, 5);

-- TRAP an unlisted table.
SELECT * FROM nobody_listed;

SELECT * FROM orders o JOIN nobody_listed n ON n.user_id = o.user_id WHERE o.user_id = 5;

SELECT * FROM does_not_exist;

-- TRAP the key by DEFAULT, an expression or a subselect.
INSERT INTO orders (order_no, user_id) VALUES ('A', DEFAULT);

INSERT INTO drawn (v) VALUES (1);

INSERT INTO drawn DEFAULT VALUES;

INSERT INTO orders (user_id, order_no) VALUES (2 + 3, 'A');

INSERT INTO orders (user_id, order_no) VALUES ((SELECT id FROM users WHERE id = 5), 'A');

INSERT INTO orders (user_id, order_no) VALUES (NULL, lower('A'));

INSERT INTO users (name) VALUES ('no key');

INSERT INTO users (id) VALUES (NULL);

-- A guest without a user: the number decides.
INSERT INTO orders (order_no) VALUES ('A');

INSERT INTO orders (user_id, order_no) VALUES (NULL, 'A');

-- TRAP rows for several shards in one INSERT.
INSERT INTO orders (user_id, order_no) VALUES (1, 'A'), (5, 'B');

INSERT INTO orders (user_id, order_no) VALUES (1, 'A'), (2, 'B');

-- TRAP INSERT … SELECT.
INSERT INTO orders (user_id, order_no) SELECT id, name FROM users;

INSERT INTO orders (user_id, order_no) SELECT id, name FROM users WHERE id = 5;

INSERT INTO orders (order_no, user_id) SELECT name, id FROM users WHERE id = 5;

INSERT INTO orders (user_id, order_no) SELECT referrer, name FROM users WHERE id = 5;

INSERT INTO orders (user_id, order_no) SELECT 5, code FROM countries;

INSERT INTO orders (user_id, order_no) SELECT 5, name FROM users WHERE id = 6;

INSERT INTO orders (user_id, order_no) SELECT u.id, 'A' FROM countries c LEFT JOIN users u ON u.id = 5;

INSERT INTO orders (user_id, order_no) SELECT id + 4, name FROM users WHERE id = 5;

INSERT INTO users SELECT * FROM users WHERE id = 5;

INSERT INTO orders (user_id, order_no) SELECT id, name FROM users WHERE id = 5 UNION SELECT 6, 'x';

INSERT INTO jobs (what) SELECT name FROM users WHERE id = 1;

INSERT INTO jobs (what) SELECT name FROM users WHERE id = 2;

-- TRAP a set operation at the top.
SELECT id FROM users WHERE id = 5 UNION SELECT user_id FROM orders WHERE user_id = 5;

SELECT id FROM users WHERE id = 5 UNION SELECT user_id FROM orders;

SELECT id FROM users EXCEPT SELECT user_id FROM orders WHERE user_id = 5;

-- TRAP SELECT without FROM that hides a whole table.
SELECT (SELECT count(*) FROM orders);

SELECT EXISTS(SELECT 1 FROM orders);

SELECT 1 WHERE 5 IN (SELECT user_id FROM orders);

-- TRAP several statements in one text: the session parts them, the planner refuses them.
SELECT * FROM orders WHERE user_id = 5; DELETE FROM orders;

-- TRAP EXECUTE is the session's; its statement is planned with its values.
EXECUTE by_user(5);

-- TRAP functions: a user's may read anything.
SELECT my_function(5);

SELECT country_name('DE');

SELECT random(), nextval('counter');

SELECT nextval('orders_id_seq');

SELECT setval('orders_id_seq', 1);

SELECT setval(pg_get_serial_sequence('orders', 'id'), 1);

SELECT setval($1::regclass, 1);

SELECT currval('orders_id_seq');

SELECT lastval() FROM countries;

SELECT currval('orders_id_seq') FROM orders WHERE user_id = 5;

INSERT INTO orders (user_id, order_no) VALUES (5, lastval());

SELECT query_to_xml('select * from orders', true, true, '');

SELECT lo_unlink(1) FROM orders WHERE user_id = 5;

SELECT pg_advisory_lock(1), * FROM orders WHERE user_id = 5;

SELECT pg_advisory_xact_lock(1) FROM orders WHERE user_id = 4;

-- TRAP a CTE's name hides the table.
WITH orders AS (SELECT 1 AS user_id) SELECT * FROM orders WHERE user_id = 5;

WITH orders AS (SELECT * FROM orders WHERE user_id = 5) SELECT * FROM orders;

WITH orders AS (SELECT 1 AS user_id) SELECT * FROM public.orders WHERE user_id = 5;

WITH o AS (SELECT * FROM orders) SELECT * FROM o WHERE user_id = 5;

WITH o AS (SELECT * FROM orders) SELECT * FROM o WHERE user_id = 5 UNION ALL SELECT * FROM o;

WITH o AS (SELECT * FROM orders LIMIT 10) SELECT * FROM o WHERE user_id = 5;

WITH o AS (SELECT * FROM orders) SELECT 1;

WITH RECURSIVE t AS (
    SELECT id, referrer FROM users WHERE id = 5
    UNION ALL SELECT u.id, u.referrer FROM users u JOIN t ON u.id = t.referrer) SELECT * FROM t;

WITH RECURSIVE t AS (SELECT 5 AS id UNION ALL SELECT id + 1 FROM t WHERE id < 9)
SELECT * FROM orders o JOIN t ON t.id = o.user_id WHERE o.user_id = 5;

-- TRAP search_path and schemas: archive.users is another table.
SELECT * FROM archive.users WHERE id = 5;

SELECT * FROM archive.old_orders WHERE user_id = 5;

SELECT * FROM public.orders WHERE public.orders.user_id = 5;

SELECT * FROM nosuchschema.orders WHERE user_id = 5;

SELECT * FROM pg_temp.orders WHERE user_id = 5;

-- TRAP views and functions that read sharded tables.
SELECT * FROM rich_users;

SELECT * FROM rich_users WHERE id = 5;

-- TRAP quoted and mixed-case names.
SELECT * FROM "Mixed" WHERE "User Id" = 5;

SELECT * FROM Orders WHERE USER_ID = 5;

SELECT * FROM "Orders" WHERE user_id = 5;

SELECT * FROM orders WHERE "USER_ID" = 5;

SELECT * FROM mixed WHERE "User Id" = 5;

-- An alias hides the table's name.
SELECT * FROM users orders WHERE orders.id = 5;

SELECT * FROM orders o WHERE orders.user_id = 5;

SELECT * FROM orders AS o (id, who) WHERE who = 5;

SELECT * FROM orders AS o (user_id) WHERE user_id = 5;

-- TRAP a name that belongs to another item, or to an outer query.
SELECT * FROM orders o, tickets t WHERE user_id = 5;

SELECT * FROM orders o, tickets t WHERE t.user_id = 5;

SELECT * FROM orders o WHERE EXISTS (SELECT 1 FROM countries WHERE user_id = 5);

SELECT * FROM orders o, unnest(ARRAY[1]) AS user_id WHERE user_id = 5;

-- Keys carried over equalities.
SELECT * FROM orders o JOIN users u ON u.id = o.user_id WHERE u.id = 5;

SELECT * FROM orders o, users u WHERE u.id = o.user_id AND o.user_id = 5;

SELECT * FROM orders o JOIN users u ON u.id = o.payer WHERE o.user_id = 5;

SELECT * FROM orders o JOIN users u ON u.id = o.payer WHERE o.user_id = 5 AND o.payer = 1;

SELECT * FROM orders o JOIN users u ON u.id = o.payer WHERE o.user_id = 5 AND o.payer = 2;

SELECT * FROM countries c JOIN users u ON u.id = c.capital_of WHERE c.capital_of = 5;

SELECT * FROM orders o JOIN users u ON u.id >= o.user_id WHERE o.user_id = 5;

SELECT * FROM orders o JOIN devices d ON d.user_id = o.user_id WHERE o.user_id = 5;

SELECT * FROM orders JOIN tickets USING (user_id) WHERE user_id = 5 AND number = 'A';

SELECT * FROM orders JOIN events USING (user_id) WHERE user_id = 5;

SELECT * FROM orders LEFT JOIN events USING (user_id) WHERE user_id = 5;

SELECT * FROM orders FULL JOIN events USING (user_id) WHERE user_id = 5;

SELECT * FROM orders NATURAL JOIN events WHERE user_id = 5;

-- TRAP a join of the same table without the key.
SELECT * FROM orders a JOIN orders b ON b.order_no = a.order_no WHERE a.user_id = 5;

-- Derived tables: a condition passes where it means the same inside.
SELECT * FROM (SELECT * FROM orders) d WHERE user_id = 5;

SELECT * FROM (SELECT user_id AS u, total FROM orders) d WHERE d.u = 5;

SELECT * FROM (SELECT user_id, sum(total) FROM orders GROUP BY user_id) d WHERE user_id = 5;

SELECT * FROM (SELECT user_id, sum(total) FROM orders GROUP BY 1) d WHERE user_id = 5;

SELECT * FROM (SELECT DISTINCT user_id FROM orders) d WHERE user_id = 5;

SELECT * FROM (SELECT DISTINCT ON (user_id) user_id, total FROM orders) d WHERE user_id = 5;

-- TRAP … and where it does not.
SELECT * FROM (SELECT * FROM orders LIMIT 5) d WHERE user_id = 5;

SELECT * FROM (SELECT * FROM orders OFFSET 5) d WHERE user_id = 5;

SELECT * FROM (SELECT * FROM orders FOR UPDATE) d WHERE user_id = 5;

SELECT * FROM (SELECT DISTINCT ON (total) user_id, total FROM orders) d WHERE user_id = 5;

SELECT * FROM (SELECT user_id, rank() OVER (ORDER BY total) FROM orders) d WHERE user_id = 5;

SELECT * FROM (SELECT max(user_id) AS user_id FROM orders) d WHERE user_id = 5;

SELECT * FROM (SELECT user_id FROM orders GROUP BY ROLLUP (user_id)) d WHERE user_id = 5;

SELECT * FROM (SELECT user_id FROM orders UNION ALL SELECT id FROM users) d WHERE user_id = 5;

SELECT * FROM (SELECT user_id + 0 AS user_id FROM orders) d WHERE user_id = 5;

SELECT user_id, count(*) FROM orders GROUP BY user_id HAVING user_id = 5;

-- Subqueries use the outer limit, but never limit the outer query.
SELECT * FROM users u WHERE u.id = 5 AND EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id);

SELECT * FROM users u WHERE EXISTS (SELECT 1 FROM orders o WHERE o.user_id = u.id AND o.user_id = 5);

SELECT * FROM users u WHERE u.id = 5 AND u.id IN (SELECT user_id FROM orders);

SELECT * FROM users u WHERE u.id IN (SELECT user_id FROM orders WHERE user_id = 5);

SELECT * FROM users u WHERE u.id = 5 AND u.id NOT IN (SELECT user_id FROM orders);

SELECT * FROM users u WHERE u.id = 5 AND u.id IN (SELECT user_id FROM orders LIMIT 1);

SELECT name, (SELECT max(total) FROM orders o WHERE o.user_id = u.id) FROM users u WHERE id = 5;

SELECT * FROM users u, LATERAL (SELECT * FROM orders o WHERE o.user_id = u.id LIMIT 3) l WHERE u.id = 5;

SELECT * FROM users u, (SELECT * FROM orders o WHERE o.user_id = u.id) l WHERE u.id = 5;

-- Values must land where PostgreSQL's comparison would be equal.
SELECT * FROM orders WHERE user_id = '5';

SELECT * FROM orders WHERE user_id = ' 5 ';

SELECT * FROM orders WHERE user_id = 005;

SELECT * FROM orders WHERE user_id = 5.0;

SELECT * FROM orders WHERE user_id = 5.5;

SELECT * FROM orders WHERE user_id = 0.5e1;

SELECT * FROM orders WHERE user_id = 5::int;

SELECT * FROM orders WHERE user_id = CAST('5' AS bigint);

SELECT * FROM orders WHERE user_id = bigint '5';

SELECT * FROM orders WHERE user_id = '5'::text;

SELECT * FROM orders WHERE user_id = 'five';

SELECT * FROM orders WHERE user_id = -3;

SELECT * FROM orders WHERE user_id = - -5;

SELECT * FROM orders WHERE user_id = 99999999999999999999;

SELECT * FROM orders WHERE user_id = '99999999999999999999';

SELECT * FROM orders WHERE user_id = '5.7'::numeric::int;

SELECT * FROM orders WHERE user_id = 5.7::int;

SELECT * FROM orders WHERE user_id = 5::float8;

SELECT * FROM orders WHERE user_id = '5'::varchar(1)::bigint;

SELECT * FROM orders WHERE user_id = E'5';

SELECT * FROM orders WHERE user_id = $$5$$;

SELECT * FROM orders WHERE user_id = U&'5';

SELECT * FROM orders WHERE user_id = x'05'::bigint;

SELECT * FROM orders WHERE 5 = user_id;

SELECT * FROM tiny WHERE user_id = 70000;

SELECT * FROM tiny WHERE user_id = '70000';

SELECT * FROM tiny t JOIN orders o ON o.user_id = t.user_id WHERE o.user_id = 5;

SELECT * FROM tiny t JOIN orders o ON o.user_id = t.user_id WHERE o.user_id = '5000000000';

SELECT * FROM tickets WHERE number = 'A';

SELECT * FROM tickets WHERE number = 5;

SELECT * FROM tickets WHERE number = 'A'::varchar;

SELECT * FROM tickets WHERE number = 'A'::char(3);

SELECT * FROM tickets WHERE number = 'a' COLLATE "und-ci";

SELECT * FROM tickets WHERE number COLLATE "und-ci" = 'a';

SELECT * FROM tickets WHERE lower(number) = 'a';

SELECT * FROM tickets WHERE number LIKE 'A';

SELECT * FROM devices WHERE id = 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11';

SELECT * FROM devices WHERE id = '{a0eebc999c0b4ef8bb6d6bb9bd380a11}'::uuid;

INSERT INTO orders (user_id, order_no) VALUES (5.7, 'A');

INSERT INTO orders (user_id, order_no) VALUES ('5'::text, 'A');

-- $1 = 5
SELECT * FROM orders WHERE user_id = $1;

-- $1 = 5
SELECT * FROM orders WHERE user_id = $1::int;

-- $1 = 5
SELECT * FROM orders WHERE user_id = $1 AND total > $1;

-- Contradictions find no row anywhere.
SELECT * FROM orders WHERE user_id = 1 AND user_id = 2;

SELECT * FROM orders WHERE user_id IN (1, 2) AND user_id = 2;

-- TRAP precedence and ONLY as the parser misreads them.
SELECT * FROM ONLY orders WHERE user_id = 5;

SELECT * FROM orders WHERE user_id = 5 BETWEEN 1 AND 2;

SELECT * FROM orders WHERE total <> -1 BETWEEN 1 AND 2 AND user_id = 5;

SELECT * FROM orders WHERE user_id = 5 ISNULL;

SELECT * FROM orders WHERE user_id = 5 IS UNKNOWN;

-- Partitions of a listed table.
SELECT * FROM events_2026 WHERE user_id = 5;

INSERT INTO events_2026 (user_id, at) VALUES (5, '2026-01-01');

-- Writes.
UPDATE orders SET user_id = 6 WHERE user_id = 5;

UPDATE orders SET (total, order_no) = (1, 'B') WHERE user_id = 5;

UPDATE orders SET total = (SELECT count(*) FROM orders) WHERE user_id = 5;

UPDATE orders o SET total = 0 FROM users u WHERE u.id = o.user_id AND u.id = 5;

UPDATE orders o SET total = 0 FROM users u WHERE u.id = 5;

DELETE FROM orders o USING users u WHERE u.id = o.user_id AND o.user_id = 5;

DELETE FROM orders WHERE user_id IN (SELECT id FROM users WHERE id = 5);

DELETE FROM orders WHERE user_id = 5 RETURNING (SELECT count(*) FROM users);

INSERT INTO users (id, name) VALUES (5, 'a') ON CONFLICT (id) DO UPDATE SET name = excluded.name;

INSERT INTO users (id, name) VALUES (5, 'a') ON CONFLICT (id) DO UPDATE SET id = 6;

INSERT INTO users (id, name) VALUES (5, 'a') ON CONFLICT DO NOTHING;

WITH gone AS (DELETE FROM orders WHERE user_id = 5 RETURNING *) SELECT count(*) FROM gone;

WITH gone AS (DELETE FROM orders WHERE user_id = 5 RETURNING *) INSERT INTO tickets (number) SELECT order_no FROM gone;

WITH gone AS (DELETE FROM orders RETURNING *) SELECT * FROM gone WHERE user_id = 5;

MERGE INTO orders o USING (SELECT * FROM users WHERE id = 5) u ON o.user_id = u.id
WHEN MATCHED THEN UPDATE SET total = 0
WHEN NOT MATCHED THEN INSERT (user_id, order_no) VALUES (u.id, u.name);

MERGE INTO orders o USING users u ON o.user_id = u.id AND o.user_id = 5
WHEN MATCHED THEN DELETE;

MERGE INTO orders o USING countries c ON o.user_id = 5 AND o.order_no = c.code
WHEN MATCHED THEN UPDATE SET user_id = 6;

MERGE INTO orders o USING countries c ON o.user_id = 5 AND o.order_no = c.code
WHEN NOT MATCHED THEN INSERT (user_id, order_no) VALUES (6, c.code);

INSERT INTO countries VALUES ('DE', 'Germany');

-- Tables of one shard with others.
SELECT * FROM jobs j JOIN orders o ON o.id = j.id WHERE o.user_id = 5;

SELECT * FROM jobs j JOIN orders o ON o.id = j.id WHERE o.user_id = 6;

SELECT * FROM jobs, notes;

SELECT * FROM jobs JOIN countries ON code = what;

-- Catalogs are the home shard's.
SELECT * FROM pg_class c JOIN orders o ON o.id = c.oid WHERE o.user_id = 4;

SELECT * FROM pg_class c JOIN orders o ON o.id = c.oid WHERE o.user_id = 5;

SELECT * FROM information_schema.tables;

SELECT 'orders'::regclass::oid;

SELECT version();

-- Row locks: on reference tables only where everybody takes them.
SELECT * FROM countries FOR UPDATE;

SELECT * FROM orders o JOIN countries c ON c.code = o.order_no WHERE o.user_id = 5 FOR UPDATE;

SELECT * FROM orders o JOIN countries c ON c.code = o.order_no WHERE o.user_id = 5 FOR UPDATE OF o;

SELECT * FROM orders WHERE user_id = 5 FOR NO KEY UPDATE SKIP LOCKED;

LOCK TABLE orders;

LOCK TABLE jobs;

-- COPY.
COPY orders TO STDOUT;

COPY orders FROM STDIN;

COPY (SELECT * FROM orders WHERE user_id = 5) TO STDOUT;

COPY (SELECT * FROM orders) TO STDOUT;

COPY countries TO STDOUT;

COPY countries FROM STDIN;

COPY jobs FROM STDIN;

COPY jobs TO '/tmp/jobs';

COPY (SELECT * FROM jobs) TO PROGRAM 'cat';

-- Schema statements.
CREATE TABLE orders (id bigint, user_id bigint);

CREATE TABLE jobs (id bigint);

CREATE TABLE another (user_id bigint);

CREATE TABLE another AS SELECT * FROM orders;

CREATE TABLE jobs AS SELECT * FROM orders WHERE user_id = 1;

CREATE TEMP TABLE scratch (v int);

CREATE TEMP TABLE scratch AS SELECT * FROM orders WHERE user_id = 5;

SELECT * INTO scratch FROM orders WHERE user_id = 5;

CREATE INDEX ON orders (total);

CREATE INDEX CONCURRENTLY i ON orders (total);

CREATE INDEX CONCURRENTLY i ON jobs (what);

ALTER TABLE jobs ADD COLUMN v int;

ALTER TABLE orders ENABLE ROW LEVEL SECURITY;

DROP TABLE orders, jobs;

DROP TABLE orders;

DROP VIEW rich_users;

TRUNCATE orders;

TRUNCATE jobs RESTART IDENTITY;

CREATE VIEW v AS SELECT * FROM orders;

CREATE TYPE mood AS ENUM ('sad', 'ok');

CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';

CREATE EXTENSION pgcrypto;

GRANT SELECT ON orders TO bob;

COMMENT ON TABLE orders IS 'x';

COMMENT ON COLUMN orders.total IS 'x';

ALTER SEQUENCE orders_id_seq RESTART;

VACUUM orders;

VACUUM jobs;

ANALYZE;

REINDEX TABLE orders;

REFRESH MATERIALIZED VIEW nothing;

CREATE ROLE bob;

DO $$ BEGIN NULL; END $$;

CALL p();

NOTIFY channel, 'x';

-- EXPLAIN goes where its statement goes; ANALYZE of a write writes.
EXPLAIN SELECT * FROM orders WHERE user_id = 5;

EXPLAIN SELECT * FROM orders;

EXPLAIN DELETE FROM orders WHERE user_id = 5;

EXPLAIN ANALYZE DELETE FROM orders WHERE user_id = 5;

EXPLAIN (ANALYZE, BUFFERS) DELETE FROM orders WHERE user_id = 5;

-- A shard named in a comment.
/* weir: shard=s3 */ UPDATE countries SET name = 'x';

/* weir: shard=s3 */ SELECT * FROM nobody_listed;

/* weir: shard=nowhere */ SELECT 1;

/* weir: shard=s3 */ DO $$ BEGIN NULL; END $$;

-- What else a comment may ask for.
/* weir: tier=batch reads=replica */ SELECT * FROM orders WHERE user_id = 5;

/* weir: shard=s3, tier=reports */ SELECT 1;

SELECT * FROM orders WHERE user_id = 5 /* weir: reads=primary */;

/* weir: reads=both */ SELECT 1;

/* weir: mood=good */ SELECT 1;

-- What the parser does not know, and what nobody knows.
SELECT * FROM orders WHERE user_id = 5 AND FROM;

FROBNICATE;

-- Hot rows: whoever locks one waits for its turn in weir, however its key is written.
SELECT amount FROM stock WHERE product_id = 5 AND place = 'B''1' FOR UPDATE;

SELECT amount FROM stock WHERE '5' = product_id AND place = 'B''1'::text FOR NO KEY UPDATE;

-- $1 = 5, $2 = B'1
SELECT amount FROM stock s WHERE (s.product_id, place) = ($1, $2) LIMIT 1 FOR UPDATE OF s;

SELECT amount FROM stock s WHERE (s.product_id, place) = ($1, $2) FOR UPDATE;

UPDATE stock SET amount = amount - 1 WHERE place = 'A' AND product_id = 5.0 AND amount > 0;

DELETE FROM stock WHERE product_id = 5 AND place = 'A' RETURNING amount;

WITH taken AS (UPDATE stock SET amount = amount - 1 WHERE product_id = 5 AND place = 'A' RETURNING *) SELECT * FROM taken;

UPDATE carts SET items = 0 WHERE user_id = 5;

SELECT * FROM carts c JOIN orders o ON o.user_id = c.user_id WHERE o.user_id = 5 FOR UPDATE OF c;

/* weir: shard=s1 */ UPDATE carts SET items = 0 WHERE user_id = 5;

EXPLAIN ANALYZE UPDATE carts SET items = 0 WHERE user_id = 5;

-- No one row is proved to be locked, or nobody would wait for it: no queue.
SELECT amount FROM stock WHERE product_id = 5 AND place = 'A';

SELECT amount FROM stock WHERE product_id = 5 FOR UPDATE;

SELECT amount FROM stock WHERE product_id = 5 OR place = 'A' FOR UPDATE;

SELECT amount FROM stock WHERE product_id IN (5, 6) AND place = 'A' FOR UPDATE;

SELECT amount FROM stock WHERE product_id = NULL AND place = 'A' FOR UPDATE;

SELECT amount FROM stock WHERE product_id = 5 AND lower(place) = 'a' FOR UPDATE;

SELECT amount FROM stock WHERE product_id = 5 AND place = 'A' FOR SHARE;

SELECT amount FROM stock WHERE product_id = 5 AND place = 'A' FOR UPDATE NOWAIT;

SELECT amount FROM stock WHERE product_id = 5 AND place = 'A' FOR UPDATE SKIP LOCKED;

SELECT 1 FROM stock a, stock b WHERE a.product_id = 5 AND a.place = 'A' AND b.product_id = 6 AND b.place = 'A' FOR UPDATE;

SELECT 1 FROM stock a, stock b WHERE a.product_id = 5 AND b.place = 'A' FOR UPDATE OF a;

SELECT 1 FROM stock a LEFT JOIN carts c ON a.product_id = 5 AND a.place = 'A' WHERE c.user_id = 5 FOR UPDATE OF a;

EXPLAIN UPDATE carts SET items = 0 WHERE user_id = 5;

-- A text of unknown collation is compared, but proves nothing about other columns.
SELECT * FROM stock s JOIN tickets t ON t.number = s.place WHERE s.place = 'A' AND s.product_id = 5 FOR UPDATE OF s;

-- TRAP a function that reads tables finds none of their rows in the gather database.
SELECT country_name('EUR'), count(DISTINCT country) FROM users;
