-- Rows of all shards, as they come.
SELECT * FROM orders;

SELECT o.id, u.name FROM orders o JOIN users u ON u.id = o.user_id WHERE o.total > 100;

-- LIMIT counts over all shards; each sends no more than are needed.
SELECT id FROM orders LIMIT 5;

SELECT id FROM orders LIMIT 5 OFFSET 10;

SELECT id FROM orders LIMIT $1 OFFSET $2;

SELECT id FROM orders OFFSET 3;

-- By expression: only PostgreSQL works it out.
SELECT id FROM orders LIMIT 2 + 3;

-- ORDER BY an output, by position, name, alias; with a column or expression that is not returned.
SELECT id, total FROM orders ORDER BY total DESC, 1 LIMIT 10;

SELECT id, total AS t FROM orders ORDER BY t NULLS FIRST;

SELECT id FROM orders ORDER BY placed_at DESC NULLS LAST, total * items LIMIT 3;

SELECT * FROM orders ORDER BY id;

SELECT *, total * items AS worth FROM orders ORDER BY worth DESC;

-- An output's name comes before a column's; in an expression it is the column.
SELECT id, -total AS total FROM orders ORDER BY total;

SELECT id, -total AS total FROM orders ORDER BY total + 0;

-- Two outputs may be called so.
SELECT total::text, id AS text FROM orders ORDER BY text;

-- Texts: by bytes, by COLLATE, by the rules of a language.
SELECT id FROM orders ORDER BY status;

SELECT id FROM orders ORDER BY city COLLATE "C";

SELECT id FROM orders ORDER BY city;

SELECT id FROM orders ORDER BY id USING >;

SELECT id FROM orders ORDER BY total FETCH FIRST 3 ROWS WITH TIES;

-- DISTINCT: by weir, or by the shards if the key is among the outputs.
SELECT DISTINCT status FROM orders ORDER BY status LIMIT 4;

SELECT DISTINCT user_id, status FROM orders;

SELECT DISTINCT status FROM orders ORDER BY total;

SELECT DISTINCT ON (user_id) user_id, total FROM orders ORDER BY user_id, total DESC;

SELECT DISTINCT ON (status) status, total FROM orders ORDER BY status, total DESC;

-- Groups of one key are whole on their shard, whatever is worked out of them.
SELECT user_id, count(DISTINCT status), sum(total) / count(*), string_agg(city, ',') FROM orders GROUP BY user_id HAVING sum(total) > 10 ORDER BY sum(total) DESC LIMIT 5;

SELECT user_id AS u, max(total) FROM orders GROUP BY 1 ORDER BY u;

SELECT u.name, count(o.id) FROM users u LEFT JOIN orders o ON o.user_id = u.id GROUP BY u.id, u.name;

-- Not if the key may be NULL there.
SELECT o.user_id, count(*) FROM users u LEFT JOIN orders o ON o.user_id = u.id GROUP BY o.user_id;

SELECT user_id, count(DISTINCT page) FROM visits GROUP BY user_id;

-- Aggregates whose parts add up.
SELECT count(*), sum(total), min(placed_at), max(total), bool_and(total > 0) FROM orders;

SELECT count(*) FROM orders WHERE status = 'paid';

SELECT city, count(*) FROM orders GROUP BY city;

SELECT city AS c, sum(items) FILTER (WHERE total > 5) AS n FROM orders GROUP BY c ORDER BY n DESC, c LIMIT 3;

SELECT count(*) FROM orders GROUP BY status;

SELECT c.continent, count(*) FROM users u JOIN countries c ON c.code = u.country GROUP BY c.continent;

-- What is worked out of aggregates: the shards send parts, the gather database does the rest.
SELECT coalesce(sum(total), 0) FROM orders;

SELECT sum(total) / count(*), max(items) + 1, sum(items) - sum(user_id) FROM orders;

SELECT avg(total), avg(items * 2) FROM orders;

SELECT city, avg(total) AS mean FROM orders GROUP BY city HAVING count(*) > 2 ORDER BY mean DESC LIMIT 3;

SELECT date_trunc('month', placed_at) AS month, status, sum(total) FROM orders GROUP BY date_trunc('month', placed_at), status ORDER BY 1, 2;

SELECT upper(city), count(*) FROM orders GROUP BY city ORDER BY upper(city);

SELECT city, sum(total), rank() OVER (ORDER BY sum(total) DESC) FROM orders GROUP BY city;

SELECT DISTINCT count(*) FROM orders GROUP BY city;

SELECT o.city, avg(o.total) FROM orders AS o GROUP BY city;

WITH big AS (SELECT * FROM orders WHERE total > 100) SELECT city, avg(total) FROM big GROUP BY city;

SELECT count(DISTINCT user_id), sum(total) FROM orders;

-- A key of the fragment keeps its meaning beside an output that is called like it.
SELECT status AS g2, avg(total) FROM orders GROUP BY status, city ORDER BY 2, city;

-- What does not add up.
SELECT count(DISTINCT city) FROM orders;

SELECT city, string_agg(status, ',') FROM orders GROUP BY city;

SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY total) FROM orders;

SELECT avg(weight), sum(DISTINCT items) FROM orders;

SELECT city, status, count(*) FROM orders GROUP BY ROLLUP (city, status);

-- Windows over one key's rows, and over more.
SELECT id, row_number() OVER (PARTITION BY user_id ORDER BY placed_at) FROM orders;

SELECT id, sum(total) OVER w, rank() OVER (w ORDER BY total) FROM orders WINDOW w AS (PARTITION BY user_id, status);

SELECT id, row_number() OVER (ORDER BY placed_at) FROM orders;

SELECT id, sum(total) OVER w, count(*) OVER () FROM orders WINDOW w AS (PARTITION BY user_id);

SELECT * FROM (SELECT id, user_id, row_number() OVER (PARTITION BY user_id ORDER BY total DESC) AS n FROM orders) ranked WHERE n <= 3 ORDER BY user_id, n;

-- Set operations.
SELECT id FROM users UNION ALL SELECT user_id FROM orders ORDER BY 1 LIMIT 5;

SELECT country FROM users UNION SELECT city FROM orders;

SELECT id FROM users EXCEPT SELECT user_id FROM orders ORDER BY id;

SELECT country FROM users EXCEPT SELECT city FROM orders;

SELECT DISTINCT country FROM users UNION ALL SELECT city FROM orders;

-- Subqueries that stay with their row, and others.
SELECT u.name, (SELECT count(*) FROM orders o WHERE o.user_id = u.id) FROM users u ORDER BY u.id;

SELECT u.name, (SELECT sum(total) FROM orders o WHERE o.user_id = u.id) FROM users u;

SELECT u.name, (SELECT sum(u.id) FROM orders o WHERE o.user_id = u.id) FROM users u;

SELECT id FROM orders WHERE total > (SELECT avg(total) FROM orders);

SELECT id FROM users WHERE NOT EXISTS (SELECT 1 FROM orders WHERE user_id = users.id);

-- One time for all rows.
SELECT id, now() - placed_at AS age FROM orders ORDER BY age;

SELECT id FROM orders WHERE placed_at > now() - interval '1 day' ORDER BY placed_at;

SELECT tableoid, id FROM orders;

-- Subqueries in FROM, and CTEs, that the shards can answer whole are fragments of their own.
SELECT avg(n) FROM (SELECT user_id, count(*) AS n FROM orders GROUP BY user_id) AS x;

WITH big AS (SELECT user_id, sum(total) AS total FROM orders GROUP BY user_id) SELECT count(DISTINCT total), max(b.total) FROM big b WHERE b.total > (SELECT avg(total) FROM big);

SELECT count(DISTINCT x.a) FROM (SELECT id AS a, total AS a FROM orders) AS x (a, b);

WITH u AS (SELECT id FROM users) SELECT count(DISTINCT x.id) FROM (SELECT id FROM u) AS x;

-- TABLE is SELECT * FROM: all columns are needed, whatever the rest names.
TABLE orders;

SELECT name FROM countries UNION (TABLE users ORDER BY id) LIMIT 3;

SELECT count(*) FROM (TABLE visits) AS v JOIN users u ON u.name = v.page;

-- What a subquery looks up for each row around it is indexed, if a large table has to be searched.
SELECT id FROM users u WHERE born > (SELECT min(placed_at) FROM orders WHERE u.id = orders.id AND city = u.name AND user_id > 3);
