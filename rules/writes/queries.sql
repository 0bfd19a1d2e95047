-- Every shard does it to its own rows.
UPDATE orders SET status = 'late' WHERE total > 100;

DELETE FROM orders;

DELETE FROM orders WHERE user_id IN (1, 2) RETURNING id;

-- All these keys are on one shard.
DELETE FROM orders WHERE user_id IN (1, 3);

UPDATE orders SET placed_at = now() WHERE status = 'new' RETURNING *;

-- Other tables, limited by the key of the rows that are written.
UPDATE orders o SET status = u.name FROM users u WHERE u.id = o.user_id AND u.country = 'AT';

UPDATE users SET n = (SELECT count(*) FROM orders WHERE user_id = users.id);

UPDATE users u SET n = s.n FROM (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) s WHERE s.user_id = u.id;

WITH busy AS (SELECT user_id FROM orders GROUP BY user_id HAVING count(*) > 5) UPDATE users SET n = 1 WHERE id IN (SELECT user_id FROM busy);

DELETE FROM orders o USING users u WHERE u.id = o.user_id AND u.name = 'x';

DELETE FROM users WHERE NOT EXISTS (SELECT FROM orders WHERE user_id = users.id);

UPDATE orders SET status = c.name FROM countries c WHERE c.code = orders.status;

UPDATE orders SET status = (SELECT max(name) FROM countries);

-- Rows without a key, too.
DELETE FROM visits v WHERE page = '/' AND NOT EXISTS (SELECT FROM users u WHERE u.id = v.user_id);

-- Not limited by it.
UPDATE orders SET total = (SELECT max(total) FROM orders);

UPDATE orders o SET status = 'x' FROM users u WHERE u.name = o.status;

DELETE FROM users WHERE id NOT IN (SELECT user_id FROM orders);

DELETE FROM users WHERE id IN (SELECT user_id FROM orders ORDER BY total LIMIT 10);

DELETE FROM orders WHERE user_id IN (SELECT id FROM users WHERE user_id = orders.id);

-- One value for all rows, of which each shard would have its own.
UPDATE orders SET status = (SELECT name FROM countries LIMIT 1);

UPDATE orders SET status = (SELECT string_agg(name, ',') FROM countries);

UPDATE orders SET total = (SELECT random());

-- A value for each row.
UPDATE orders SET total = random();

-- What only one server can answer.
DELETE FROM orders WHERE ctid = '(0,1)';

UPDATE orders SET status = 'x' WHERE CURRENT OF c;

WITH gone AS (DELETE FROM orders WHERE status = 'old' RETURNING user_id) UPDATE users SET n = 0 FROM gone WHERE gone.user_id = users.id;

UPDATE orders SET user_id = user_id + 1;

-- Many rows, each to its shard.
INSERT INTO orders (id, user_id, status) VALUES (1, 1, 'a'), (2, 2, 'it''s'), (3, 3, 'c') RETURNING id;

INSERT INTO users VALUES (1, 'one'), (2, 'two') ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE users.n > 1;

-- $1 = 1, a, 2, b
INSERT INTO users (id, name) VALUES ($1, $2), ($3, $4);

INSERT INTO orders (id, user_id, placed_at) VALUES (1, 1, now()), (2, 2, DEFAULT);

INSERT INTO visits VALUES (NULL, 'a', '/'), (1, 'b', '/'), (NULL, 'c', '/');

INSERT INTO users (id, name) VALUES (1, (SELECT max(name) FROM countries)), (2, upper('x'));

INSERT INTO users (id, name) VALUES (1, 'a'), (2, (SELECT name FROM users WHERE id = 2));

INSERT INTO users (id, name) VALUES (1, 'a'), (id, 'b');

-- Keys of a sequence are drawn first.
INSERT INTO tickets (note) VALUES ('a'), ('b');

INSERT INTO tickets (id, note) VALUES (DEFAULT, 'a'), (7, 'b'), (DEFAULT, 'c');

-- Rows that are selected by their own key stay on their shard.
INSERT INTO users (id, name) SELECT user_id, max(status) FROM orders GROUP BY user_id;

INSERT INTO users (id, name, n) SELECT o.user_id, u.name, o.id FROM orders o JOIN users u ON u.id = o.user_id ON CONFLICT (id) DO NOTHING;

INSERT INTO users (id) SELECT id FROM orders;

INSERT INTO users (id) SELECT user_id FROM orders LIMIT 5;

INSERT INTO users (id) SELECT DISTINCT user_id FROM orders;

INSERT INTO users (id, name) SELECT user_id, page FROM visits;

-- Each source row's match is on its shard.
MERGE INTO users u USING orders o ON u.id = o.user_id WHEN MATCHED THEN UPDATE SET n = 1 WHEN NOT MATCHED THEN INSERT (id, n) VALUES (o.user_id, 1);

MERGE INTO users u USING countries c ON u.country = c.code WHEN MATCHED THEN DELETE;

MERGE INTO users u USING countries c ON u.country = c.code WHEN NOT MATCHED THEN INSERT (id, n) VALUES (1, 1);

-- Reference tables: on every shard the same.
UPDATE countries SET name = 'x';

UPDATE countries SET name = now()::text WHERE continent IN (SELECT continent FROM countries WHERE code > 'M') RETURNING code;

UPDATE countries c SET name = gen_random_uuid();

-- Worked out once, on the home shard.
INSERT INTO countries VALUES ('AT', 'Austria'), ('x', gen_random_uuid()) ON CONFLICT DO NOTHING RETURNING code;

INSERT INTO countries AS c VALUES ('AT', 'Austria') ON CONFLICT (code) DO UPDATE SET name = c.name || excluded.name;

INSERT INTO countries (code) SELECT status FROM orders;

WITH w AS (DELETE FROM countries RETURNING code) SELECT * FROM w;

TRUNCATE orders, visits;
