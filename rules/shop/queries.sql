-- What the order system sends. Empty lines part the statements; `-- $1 = …` gives parameters.

-- A user's profile.
-- $1 = 42
SELECT id, email, name FROM users WHERE id = $1;

SELECT * FROM orders WHERE user_id = 42 ORDER BY created_at DESC LIMIT 20;

-- The order list with its sums: joins carry the key.
-- $1 = 42
SELECT u.name, o.order_no, sum(i.quantity * i.price)
FROM users u
JOIN orders o ON o.user_id = u.id
JOIN order_items i ON i.user_id = o.user_id AND i.order_no = o.order_no
JOIN products p ON p.id = i.product_id
WHERE u.id = $1
GROUP BY u.name, o.order_no;

-- Orders without payments.
-- $1 = 42
SELECT o.order_no FROM orders o
WHERE o.user_id = $1 AND NOT EXISTS (
    SELECT 1 FROM payments p WHERE p.user_id = o.user_id AND p.order_no = o.order_no);

-- A left join keeps orders without payments; the condition on orders limits the payments, too.
SELECT o.order_no, p.amount
FROM orders o LEFT JOIN payments p ON p.user_id = o.user_id AND p.order_no = o.order_no
WHERE o.user_id = 42;

-- Reference tables are read anywhere.
SELECT p.name, w.city FROM products p JOIN warehouses w ON w.id = p.warehouse_id WHERE p.id = 7;

-- A new order of a user.
-- $1 = 42, $2 = A-1001
INSERT INTO orders (user_id, order_no, total) VALUES ($1, $2, 19.99) RETURNING id;

-- A guest's order: no user, so the order number decides.
-- $1 = NULL, $2 = G-7
INSERT INTO orders (user_id, order_no, total) VALUES ($1, $2, 19.99) RETURNING id;

INSERT INTO orders (order_no, total) VALUES ('G-8', 5);

-- All lines of one order in one statement.
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price)
VALUES (42, 'A-1001', 1, 7, 1, 9.99), (42, 'A-1001', 2, 8, 1, 10);

-- Without a column list: it is sent with one.
INSERT INTO users VALUES (42, 'a@example.org', 'Ada');

-- $1 = 42, $2 = A-1001
UPDATE orders SET status = 'paid' WHERE user_id = $1 AND order_no = $2;

DELETE FROM order_items WHERE user_id = 42 AND order_no = 'A-1001' AND line_no = 2;

-- A guest's order is read by both conditions; the number alone may belong to a user.
SELECT * FROM orders WHERE user_id IS NULL AND order_no = 'G-8';

SELECT * FROM orders WHERE order_no = 'G-8';

-- Copies of a user's order into payments.
INSERT INTO payments (user_id, order_no, amount)
SELECT user_id, order_no, total FROM orders WHERE user_id = 42 AND status = 'new';

-- $1 = 42
WITH paid AS (
    UPDATE orders SET status = 'paid' WHERE user_id = $1 RETURNING user_id, order_no, total)
INSERT INTO payments (user_id, order_no, amount) SELECT user_id, order_no, total FROM paid;

-- Two users: on the same shard or refused.
SELECT * FROM orders WHERE user_id IN (42, 43);

-- $1 = {42,42}
SELECT * FROM orders WHERE user_id = ANY($1);

SELECT * FROM orders WHERE user_id = 42 FOR UPDATE;

-- Everything of everybody concerns all shards.
SELECT count(*) FROM orders;

UPDATE orders SET note = NULL;

-- The audit log is on one shard.
INSERT INTO audit_log (actor, action) VALUES ('me', 'login');

SELECT * FROM audit_log ORDER BY at DESC LIMIT 10;

-- Reference tables cannot be written yet.
UPDATE products SET price = price + 1 WHERE id = 7;

-- What is not of the shop runs on the home shard.
SELECT relname FROM pg_class WHERE relkind = 'r';

SELECT now(), 1 + 1;

SELECT pg_advisory_xact_lock(1);

-- Schema statements.
ALTER TABLE orders ADD COLUMN gift boolean NOT NULL DEFAULT false;

CREATE INDEX orders_by_status ON orders (user_id, status);

CREATE TABLE wishes (id bigserial PRIMARY KEY, user_id bigint NOT NULL, product_id int NOT NULL);

BEGIN;

-- Sent where the comment says.
/* weir: shard=s1 */ SELECT count(*) FROM orders;
