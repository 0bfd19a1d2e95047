-- What applications send: each statement must parse once sql::compat has seen it.
-- Written by hand in the manner of the clients named; sql::compat's tests read it.

-- plain OLTP
SELECT * FROM orders WHERE user_id = 42;
SELECT o.id, o.total FROM orders o WHERE o.user_id = $1 AND o.status IN ('new', 'paid') ORDER BY o.created_at DESC LIMIT 20 OFFSET 40;
INSERT INTO orders (user_id, total) VALUES (42, 9.99), (43, 10) RETURNING id;
UPDATE orders SET status = 'paid', updated_at = now() WHERE user_id = $1 AND id = $2;
DELETE FROM orders WHERE user_id = $1 AND id = ANY($2);
WITH recent AS (SELECT * FROM orders WHERE user_id = $1 ORDER BY id DESC LIMIT 5) SELECT count(*) FROM recent;
SELECT 1;
SELECT;
SELECT version(), current_database(), current_user, current_timestamp(3), session_user, localtime;
VALUES (1, 'a'), (2, 'b') ORDER BY 1;
TABLE products;
TABLE shop.products;
SELECT * FROM (TABLE products) AS p;
WITH x AS (TABLE products) TABLE x;
SELECT id FROM orders WHERE user_id = $1 UNION ALL TABLE archive;
SELECT nextval('orders_id_seq'), currval('orders_id_seq'::regclass);

-- row locks
SELECT id FROM orders WHERE user_id = 1 FOR UPDATE;
SELECT id FROM orders WHERE user_id = 1 FOR NO KEY UPDATE;
SELECT id FROM orders WHERE user_id = 1 FOR KEY SHARE OF orders NOWAIT;
SELECT id FROM orders WHERE user_id = 1 FOR SHARE SKIP LOCKED;
SELECT * FROM orders o JOIN users u ON o.user_id = u.id WHERE u.id = 1 FOR UPDATE OF o, u SKIP LOCKED;
SELECT * FROM orders o JOIN users u ON o.user_id = u.id WHERE u.id = 1 FOR UPDATE OF o FOR NO KEY UPDATE OF u NOWAIT;
SELECT id FROM orders WHERE user_id = 1 FOR UPDATE LIMIT 1;
SELECT id FROM orders WHERE user_id = 1 FOR READ ONLY;
LOCK TABLE orders IN ROW EXCLUSIVE MODE;

-- Django
SELECT "shop_order"."id", "shop_order"."user_id" FROM "shop_order" WHERE ("shop_order"."user_id" = 42 AND UPPER("shop_order"."note"::text) LIKE UPPER('%x%')) ORDER BY "shop_order"."id" ASC LIMIT 21;
SELECT (1) AS "a" FROM "shop_order" WHERE "shop_order"."user_id" = 42 LIMIT 1;
SELECT COUNT(*) AS "__count" FROM "shop_order" WHERE "shop_order"."user_id" = 42;
SELECT "shop_order"."id" FROM "shop_order" WHERE "shop_order"."id" = 1 LIMIT 21 FOR NO KEY UPDATE;
INSERT INTO "shop_order" ("user_id", "total", "meta") VALUES (42, '9.99', '{"a": 1}'::jsonb) RETURNING "shop_order"."id";
INSERT INTO "shop_tag" ("name") VALUES ('a'), ('b') ON CONFLICT DO NOTHING;
INSERT INTO "shop_tag" ("name", "n") VALUES ('a', 1) ON CONFLICT("name") DO UPDATE SET "n" = EXCLUDED."n";
UPDATE "shop_order" SET "total" = ("shop_order"."total" + 1) WHERE "shop_order"."user_id" = 42;
SELECT DATE_TRUNC('month', "shop_order"."at" AT TIME ZONE 'UTC') AS "m", COUNT("shop_order"."id") FROM "shop_order" GROUP BY 1 ORDER BY "m" ASC;
SELECT c.relname, CASE WHEN c.relispartition THEN 'p' WHEN c.relkind IN ('m', 'v') THEN 'v' ELSE 't' END, obj_description(c.oid, 'pg_class') FROM pg_catalog.pg_class c LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('f', 'm', 'p', 'r', 'v') AND n.nspname NOT IN ('pg_catalog', 'pg_toast') AND pg_catalog.pg_table_is_visible(c.oid);
SELECT ("a"."meta" -> 'x') #>> '{}', "a"."meta" ? 'k', "a"."tags" @> ARRAY['x']::varchar(10)[], "a"."meta" ?| ARRAY['a','b'] FROM "a" WHERE "a"."id" = 1;

-- ActiveRecord
SELECT "orders".* FROM "orders" WHERE "orders"."user_id" = $1 AND "orders"."id" = $2 LIMIT $3;
SELECT 1 AS one FROM "orders" WHERE "orders"."user_id" = $1 LIMIT $2;
INSERT INTO "orders" ("user_id", "created_at") VALUES ($1, $2) RETURNING "id";
INSERT INTO "orders" ("user_id") VALUES (1) ON CONFLICT ("id") DO UPDATE SET updated_at=(CASE WHEN ("orders"."user_id" IS NOT DISTINCT FROM excluded."user_id") THEN "orders".updated_at ELSE CURRENT_TIMESTAMP END),"user_id"=excluded."user_id" RETURNING "id";
SELECT a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid), a.attnotnull, a.atttypid, a.atttypmod, c.collname, col_description(a.attrelid, a.attnum) AS comment FROM pg_attribute a LEFT JOIN pg_attrdef d ON a.attrelid = d.adrelid AND a.attnum = d.adnum LEFT JOIN pg_type t ON a.atttypid = t.oid LEFT JOIN pg_collation c ON a.attcollation = c.oid AND a.attcollation <> t.typcollation WHERE a.attrelid = '"orders"'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum;
SELECT pg_try_advisory_lock(4242424242);
SELECT t.oid, t.typname, t.typelem, t.typdelim, t.typinput, r.rngsubtype, t.typtype, t.typbasetype FROM pg_type as t LEFT JOIN pg_range as r ON oid = rngtypid WHERE t.typname IN ('int2', 'int4');

-- Hibernate and JDBC
select o1_0.id,o1_0.total,u1_0.name from orders o1_0 left join users u1_0 on u1_0.id=o1_0.user_id where o1_0.user_id=$1 offset $2 rows fetch first $3 rows only;
select o1_0.id from orders o1_0 where o1_0.user_id=$1 order by o1_0.id fetch first 1 rows only for no key update of o1_0 skip locked;
insert into orders (total,user_id,id) values ($1,$2,$3);
select next_val from hibernate_sequences for update;
SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME, CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema' WHEN true THEN 'S' ELSE NULL END AS TABLE_TYPE FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c WHERE c.relnamespace = n.oid ORDER BY TABLE_TYPE, TABLE_SCHEM;
SELECT * FROM (SELECT n.nspname, row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_attribute a ON (a.attrelid = n.oid)) c WHERE true ORDER BY nspname;
select result.A, (result.keys).n from (select information_schema._pg_expandarray(i.indkey) as keys, 1 as A from pg_index i) result;

-- SQLAlchemy
SELECT anon_1.user_id FROM (SELECT orders.user_id AS user_id FROM orders WHERE orders.user_id = $1::INTEGER) AS anon_1;
INSERT INTO orders (user_id, name) SELECT p0::INTEGER, p1::VARCHAR FROM (VALUES ($1::INTEGER, $2::VARCHAR, 0), ($3::INTEGER, $4::VARCHAR, 1)) AS imp_sen(p0, p1, sen_counter) ORDER BY sen_counter RETURNING orders.id, orders.id AS id__1;
SELECT pg_catalog.pg_class.relname FROM pg_catalog.pg_class JOIN pg_catalog.pg_namespace ON pg_catalog.pg_namespace.oid = pg_catalog.pg_class.relnamespace WHERE pg_catalog.pg_class.relname = $1::VARCHAR AND pg_catalog.pg_class.relkind = ANY (ARRAY[$2::VARCHAR, $3::VARCHAR]) AND pg_catalog.pg_table_is_visible(pg_catalog.pg_class.oid);
SELECT CAST(orders.total AS NUMERIC(10, 2)) FROM orders WHERE orders.user_id IN (1, 2) AND orders.note ILIKE '%' || 'x' || '%' ESCAPE '/';

-- node: pg, Prisma, TypeORM, Sequelize
SELECT "public"."Order"."id" FROM "public"."Order" WHERE ("public"."Order"."userId" = $1 AND 1=1) LIMIT $2 OFFSET $3;
SELECT COUNT(*) FROM (SELECT "public"."Order"."id" FROM "public"."Order" WHERE 1=1 OFFSET $1) AS "sub";
SELECT "t0"."id", COALESCE("t1"."d", '[]'::jsonb) FROM "public"."User" AS "t0" LEFT JOIN LATERAL (SELECT JSONB_AGG("d") AS "d" FROM (SELECT JSONB_BUILD_OBJECT('id', "x"."id") AS "d" FROM "public"."Order" AS "x" WHERE "t0"."id" = "x"."userId") AS "y") AS "t1" ON TRUE WHERE "t0"."id" = $1;
SELECT "Order"."id" AS "Order_id" FROM "order" "Order" WHERE (("Order"."userId" = $1)) LIMIT 1;
INSERT INTO "orders" ("id","user_id") VALUES (DEFAULT,$1) RETURNING "id","user_id";
INSERT INTO "orders" DEFAULT VALUES;
SELECT typname, typarray FROM pg_type WHERE typname = 'citext';

-- conflicts and identities
INSERT INTO t (a, b) VALUES (1, 2) ON CONFLICT (a) WHERE b > 0 DO UPDATE SET b = excluded.b WHERE t.b <> excluded.b;
INSERT INTO t (a) VALUES (1) ON CONFLICT (lower(a)) DO NOTHING;
INSERT INTO t (a) VALUES (1) ON CONFLICT (a COLLATE "C" text_pattern_ops, (b + 1)) WHERE c IS NULL DO NOTHING RETURNING a;
INSERT INTO t (a) VALUES (1) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING;
INSERT INTO t (id, a) OVERRIDING SYSTEM VALUE VALUES (1, 2);
INSERT INTO t OVERRIDING USER VALUE SELECT * FROM u;
INSERT INTO shop.t AS x (a) VALUES (1) ON CONFLICT (a) DO UPDATE SET a = x.a + 1, (b, c) = (1, 2);
INSERT INTO t (a.b, c[1]) VALUES (1, 2);
UPDATE t SET (a, b) = (1, 2) WHERE id = 1;
UPDATE t SET (a, b) = ROW (1, DEFAULT) WHERE id = 1;
UPDATE t SET (a, b) = (SELECT 1, 2) WHERE id = 1;
UPDATE t SET a[1] = 5, c.d = 6 WHERE id = 1;
UPDATE ONLY t SET a = 1 WHERE id = 1;
UPDATE t * SET a = 1 WHERE id = 1;
UPDATE t AS x SET a = 1 FROM u, v WHERE x.id = u.id AND v.id = 3 RETURNING x.*, u.id AS uid;
UPDATE t SET a = 1 WHERE CURRENT OF cur;
DELETE FROM t WHERE CURRENT OF cur;
DELETE FROM ONLY shop.t AS x USING u WHERE x.id = u.id RETURNING *;
MERGE INTO t USING (VALUES (1, 2)) AS s (id, v) ON t.id = s.id WHEN MATCHED AND s.v > 1 THEN UPDATE SET v = s.v WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, v) VALUES (s.id, s.v);
MERGE INTO t AS x USING u ON x.id = u.id WHEN NOT MATCHED THEN DO NOTHING WHEN MATCHED THEN DO NOTHING;
MERGE INTO ONLY t USING u ON t.id = u.id WHEN NOT MATCHED THEN INSERT DEFAULT VALUES;

-- tables
SELECT * FROM ONLY orders WHERE user_id = 1;
SELECT * FROM ONLY shop.orders WHERE user_id = 1;
SELECT * FROM ONLY (shop.orders) AS o WHERE user_id = 1;
SELECT * FROM orders * WHERE user_id = 1;
SELECT * FROM a JOIN ONLY b USING (id) WHERE a.id = 1;
SELECT * FROM a JOIN b USING (id) AS j WHERE j.id = 1;
SELECT * FROM a NATURAL LEFT JOIN b CROSS JOIN c FULL OUTER JOIN d ON c.x = d.x;
SELECT * FROM (a JOIN b ON a.id = b.id) JOIN c ON c.id = a.id;
SELECT * FROM (a JOIN b ON a.id = b.id) AS j WHERE j.x = 1;
SELECT * FROM generate_series(1, 10) AS g (n);
SELECT * FROM generate_series(1, 10) WITH ORDINALITY AS g (n, o);
SELECT * FROM json_to_recordset('[]') AS x (a int, b text);
SELECT * FROM json_to_record('{}') AS (a int, b numeric(10,2)[]);
SELECT * FROM ROWS FROM (generate_series(1, 3), unnest(ARRAY[1])) AS r (a, b);
SELECT * FROM ROWS FROM (json_to_record('{}') AS (a int), f(1)) WITH ORDINALITY;
SELECT * FROM unnest($1::int[], $2::text[]) WITH ORDINALITY AS u (a, b, o);
SELECT * FROM LATERAL (SELECT 1) x, LATERAL f(x.a) y;
SELECT * FROM t TABLESAMPLE BERNOULLI (10) REPEATABLE (5);
SELECT * FROM t AS x TABLESAMPLE system (0.1);
SELECT * FROM current_date, current_user;
SELECT * FROM t x (a, b), (VALUES (1)) v (n), (SELECT 1) s (m);
SELECT * FROM xmltable('/r' PASSING '<r/>' COLUMNS a int PATH 'a', b text);

-- expressions
SELECT a FROM t WHERE a BETWEEN SYMMETRIC 5 AND 1;
SELECT a FROM t WHERE a NOT BETWEEN SYMMETRIC 5 AND 1 AND b = 2;
SELECT a FROM t WHERE a BETWEEN ASYMMETRIC 1 AND 5;
SELECT f(VARIADIC ARRAY[1, 2]), g(1, VARIADIC $1::text[]);
SELECT a::text COLLATE "C", (a || b) COLLATE pg_catalog."C", a::text COLLATE "C" < 'x' FROM t;
SELECT a FROM t ORDER BY a::text COLLATE "C" DESC NULLS LAST, b USING >;
SELECT a FROM t WHERE a ISNULL OR b NOTNULL;
SELECT a FROM t WHERE a IS NOT UNKNOWN AND b IS TRUE AND c IS NOT NULL;
SELECT a ISNULL, b NOTNULL FROM t WHERE user_id = 1;
SELECT a FROM t WHERE a IS NFC NORMALIZED OR a IS NOT NORMALIZED;
SELECT a FROM t WHERE a IS DOCUMENT OR b IS NOT DOCUMENT;
SELECT a FROM t WHERE a IS JSON OBJECT WITH UNIQUE KEYS OR b IS NOT JSON;
SELECT a FROM t WHERE a SIMILAR TO 'x%' ESCAPE '!' AND b NOT LIKE 'y' ESCAPE '';
SELECT a FROM t WHERE (a, b) = (1, 2) AND ROW (a, b) <> ROW (3, 4) AND (a, b) IN ((1, 2), (3, 4));
SELECT a FROM t WHERE a = ANY ('{1,2}') AND b <> ALL (ARRAY[1, 2]) AND c = SOME (SELECT 1);
SELECT a FROM t WHERE a LIKE ANY (ARRAY['x%', 'y%']) AND b NOT ILIKE ALL ($1);
SELECT a FROM t WHERE (a, b) OVERLAPS (c, d);
SELECT a OPERATOR(pg_catalog.+) b, - 5, + 5, @ -5, |/ 25, a ^ 2, 5 !~~* 'x', a <-> b, a && b, a <@ b, a -|- b FROM t WHERE a OPERATOR(pg_catalog.=) 5;
SELECT a <-5, a<>-1, a%4, a#b, ~a, !!a, a||b, a->>'x', a#>>'{x}', a@?'$.x', a@@'$.y', a ^@ 'z' FROM t;
SELECT a[1], a[1:2], a[:2], a[1:], (f(x))[1], (r).a, (r).*, ($1).b, ($1)[2] FROM t;
SELECT ARRAY(SELECT 1), ARRAY[]::int[], ARRAY[[1, 2], [3, 4]], '{1}'::int[3];
SELECT CASE a WHEN 1 THEN 'x' ELSE NULL END, CASE WHEN a THEN b END, COALESCE(a, 1), NULLIF(a, 1), GREATEST(1, 2), LEAST(1, 2) FROM t;
SELECT CAST(a AS double precision), a::timestamp with time zone, a::time(3) without time zone, a::interval day to second(3), a::bit varying(5), a::character varying, a::"char", a::pg_catalog.int4, a::t%ROWTYPE FROM t;
SELECT date '2026-01-01', timestamp '2026-01-01', timestamptz '2026-01-01', interval '1 day', interval '1' day, interval(3) '1 s', time with time zone '10:00+02', point '(1,2)', bool 't', jsonb '{}', float8 '1', int4 '5', numeric(5,2) '1', pg_catalog.int4 '5', "char" 'x', inet '::1';
SELECT EXTRACT(epoch FROM a), EXTRACT('year' FROM a), OVERLAY(a PLACING 'x' FROM 1 FOR 2), POSITION('x' IN a), SUBSTRING(a FROM 1 FOR 2), SUBSTRING(a FROM 'x' FOR '#'), SUBSTRING(a SIMILAR 'x' ESCAPE '#'), SUBSTRING(a, 1, 2), TRIM(BOTH 'x' FROM a), TRIM(LEADING FROM a), TRIM(a, 'x'), NORMALIZE(a, NFC), COLLATION FOR (a) FROM t;
SELECT 0x1F, 0o17, 0b11, 1_000, 1.5e10, .5, 5., 10000000000000000000000;
SELECT 'a'
'b', E'a\'b', B'101', X'1F', N'x', U&'dat', $q$it's$q$, $$x$$, 'it''s';
SELECT "é", größe, "U""x", U&"data", a$b FROM "Tâble";
SELECT a AS "select", b AS end, c value, d AS limit FROM t;
SELECT t.*, (t).x, t FROM t;
SELECT sum(a) FILTER (WHERE b > 1), count(DISTINCT a), array_agg(a ORDER BY b DESC NULLS LAST), string_agg(DISTINCT a, ',' ORDER BY a), percentile_cont(0.5) WITHIN GROUP (ORDER BY a), mode() WITHIN GROUP (ORDER BY a) FILTER (WHERE b) FROM t;
SELECT sum(a) OVER w, rank() OVER (PARTITION BY a ORDER BY b ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES), lag(a, 1) OVER (w ORDER BY b) FROM t WINDOW w AS (PARTITION BY c);
SELECT sum(a) OVER (ORDER BY d RANGE BETWEEN '1 day' PRECEDING AND '1 day' FOLLOWING), sum(a) OVER (ORDER BY d RANGE BETWEEN interval '1 day' PRECEDING AND CURRENT ROW EXCLUDE CURRENT ROW), sum(a) OVER (ORDER BY d GROUPS 2 PRECEDING EXCLUDE NO OTHERS), sum(a) OVER (ROWS 5 PRECEDING EXCLUDE GROUP) FROM t;
SELECT f(a => 1, b := 2), make_interval(days => 5), pg_catalog.f(DISTINCT a), f(ALL a), f(*);
SELECT json_object('a': 1, 'b': 2), json_object('a' VALUE 1 NULL ON NULL), json_array(1, 2 NULL ON NULL), json_arrayagg(a ORDER BY b), json_objectagg(a: b), json_value('{}', '$.a' RETURNING int), json_query('{}', '$.a' WITH WRAPPER), json_exists('{}', '$.a'), json_scalar(1), json('{}'), json_serialize('{}' RETURNING text);
SELECT xmlelement(name foo, xmlattributes(a AS b), 'x'), xmlforest(a, b AS c), xmlparse(DOCUMENT '<a/>'), xmlpi(name php), xmlroot('<a/>', version '1.0'), xmlserialize(CONTENT a AS text), xmlconcat(a, b), xmlexists('//a' PASSING BY REF a) FROM t;
SELECT EXISTS (SELECT 1 FROM t WHERE user_id = 1), NOT EXISTS (SELECT FROM u), (SELECT count(*) FROM t) AS n;
SELECT GROUPING(a, b), sum(c) FROM t GROUP BY GROUPING SETS ((a, b), ROLLUP (a), CUBE (a, b), ());
SELECT a FROM t GROUP BY DISTINCT ROLLUP (a), a;
SELECT a FROM t GROUP BY ALL a;
SELECT DISTINCT ON (a, b) a, c FROM t ORDER BY a, b, c DESC;
SELECT ALL a FROM t LIMIT ALL OFFSET 5 ROWS;
SELECT a FROM t ORDER BY a FETCH NEXT 5 ROWS WITH TIES;
SELECT a FROM t FETCH FIRST ROW ONLY;
SELECT a FROM t LIMIT (SELECT 5) OFFSET (1 + 1);
(SELECT 1) UNION (SELECT 2) INTERSECT ALL SELECT 3 EXCEPT SELECT 4 ORDER BY 1;
((SELECT 1 FROM t WHERE a = 1));
SELECT a INTO TEMP x FROM t;

-- common tables
WITH RECURSIVE r (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM r WHERE n < 5) SELECT * FROM r;
WITH RECURSIVE r AS (SELECT 1 AS id, 2 AS parent UNION ALL SELECT t.id, t.parent FROM t JOIN r ON t.parent = r.id) SEARCH DEPTH FIRST BY id SET seq CYCLE id SET is_cycle USING path SELECT * FROM r;
WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL SELECT id FROM r) SEARCH BREADTH FIRST BY id, parent SET ord SELECT * FROM r ORDER BY ord;
WITH RECURSIVE r AS (SELECT 1 AS id UNION ALL SELECT id FROM r) CYCLE id, parent SET is_cycle TO 'Y' DEFAULT 'N' USING path SELECT * FROM r;
WITH a AS MATERIALIZED (SELECT 1), b AS NOT MATERIALIZED (SELECT 2) SELECT * FROM a, b;
WITH d AS (DELETE FROM t WHERE a = 1 RETURNING *) INSERT INTO u SELECT * FROM d;
WITH i AS (INSERT INTO t (a) VALUES (1) RETURNING a) UPDATE u SET x = i.a FROM i WHERE u.id = 1;
WITH u AS (UPDATE t SET a = 1 WHERE id = 1 RETURNING *) SELECT * FROM u;

-- COPY
COPY orders FROM STDIN;
COPY orders (user_id, total) FROM STDIN WITH (FORMAT csv, HEADER true, NULL '');
COPY orders TO STDOUT (FORMAT binary);
COPY (SELECT * FROM orders WHERE user_id = 1) TO STDOUT WITH CSV HEADER;
COPY orders (user_id) FROM STDIN WITH (FORMAT csv, FREEZE) WHERE user_id > 5;

-- EXPLAIN
EXPLAIN SELECT * FROM orders WHERE user_id = 1;
EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT * FROM orders WHERE user_id = 1;
EXPLAIN ANALYZE VERBOSE UPDATE orders SET a = 1 WHERE user_id = 1;

-- schema
CREATE TABLE users (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name varchar(50) NOT NULL DEFAULT 'x', email text UNIQUE, at timestamptz DEFAULT now(), CHECK (name <> ''), total numeric(10,2) GENERATED ALWAYS AS (1 * 2) STORED);
CREATE TABLE IF NOT EXISTS shop.orders (id bigserial, user_id bigint NOT NULL REFERENCES users (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED, PRIMARY KEY (user_id, id), CONSTRAINT u UNIQUE (user_id, id));
CREATE TABLE p (a int) PARTITION BY RANGE (a);
CREATE TABLE x AS SELECT * FROM t;
CREATE TEMP TABLE x (a int) ON COMMIT DROP;
CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON orders USING btree (user_id, lower(note) DESC NULLS LAST) INCLUDE (total) WHERE total > 0;
CREATE UNIQUE INDEX i ON orders (user_id);
CREATE SEQUENCE s INCREMENT BY 10 START WITH 5;
CREATE VIEW v AS SELECT 1 AS a;
CREATE TYPE mood AS ENUM ('sad', 'happy');
CREATE SCHEMA IF NOT EXISTS shop;
CREATE EXTENSION IF NOT EXISTS pgcrypto;
ALTER TABLE orders ADD COLUMN note text DEFAULT '', DROP COLUMN IF EXISTS x, ALTER COLUMN a SET NOT NULL, ALTER COLUMN b TYPE bigint USING b::bigint;
ALTER TABLE orders ADD CONSTRAINT fk FOREIGN KEY (user_id) REFERENCES users (id);
ALTER TABLE ONLY orders ADD CONSTRAINT pk PRIMARY KEY (id);
ALTER TABLE orders RENAME COLUMN a TO b;
ALTER TABLE orders RENAME TO orders2;
DROP TABLE IF EXISTS a, b CASCADE;
DROP INDEX i;
TRUNCATE TABLE a, ONLY b RESTART IDENTITY CASCADE;
GRANT SELECT, INSERT ON orders TO app;
REVOKE ALL ON orders FROM app;
COMMENT ON TABLE orders IS 'x';
SELECT U&'d!0061t' UESCAPE '!';
