-- Sample rows of the order system. Each statement names its row's key, so weir can send it to its
-- shard; on one plain server the same text loads all rows. Ids come from the tables' sequences.

INSERT INTO users (id, email, name) VALUES (1, 'ada@example.com', 'Ada');
INSERT INTO users (id, email, name) VALUES (2, 'boris@example.com', 'Boris');
INSERT INTO users (id, email, name) VALUES (3, 'clara@example.com', 'Clara');
INSERT INTO users (id, email, name) VALUES (4, 'dmitri@example.com', 'Dmitri');
INSERT INTO users (id, email, name) VALUES (5, 'edith@example.com', 'Edith');
INSERT INTO users (id, email, name) VALUES (6, 'farid@example.com', 'Farid');
INSERT INTO users (id, email, name) VALUES (7, 'greta@example.com', 'Greta');
INSERT INTO users (id, email, name) VALUES (42, 'hugo@example.com', 'Hugo');

INSERT INTO orders (user_id, order_no, status, total) VALUES (1, 'A-1001', 'paid', 16.80);
INSERT INTO orders (user_id, order_no, status, total) VALUES (1, 'A-1002', 'shipped', 12.50);
INSERT INTO orders (user_id, order_no, status, total) VALUES (2, 'A-1003', 'paid', 24.90);
INSERT INTO orders (user_id, order_no, status, total) VALUES (3, 'A-1004', 'cancelled', 10.10);
INSERT INTO orders (user_id, order_no, status, total) VALUES (4, 'A-1005', 'new', 39.00);
INSERT INTO orders (user_id, order_no, status, total) VALUES (5, 'A-1006', 'paid', 39.00);
INSERT INTO orders (user_id, order_no, status, total) VALUES (6, 'A-1007', 'shipped', 15.60);
INSERT INTO orders (user_id, order_no, status, total) VALUES (42, 'A-1008', 'paid', 51.50);
INSERT INTO orders (user_id, order_no, status, total) VALUES (42, 'A-1009', 'cancelled', 19.60);
INSERT INTO orders (user_id, order_no, status, total) VALUES (NULL, 'G-1010', 'new', 14.00);
INSERT INTO orders (user_id, order_no, status, total) VALUES (NULL, 'G-1011', 'paid', 24.90);
INSERT INTO orders (user_id, order_no, status, total) VALUES (NULL, 'G-1012', 'shipped', 4.90);

INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (1, 'A-1001', 1, 1, 2, 4.90);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (1, 'A-1001', 2, 4, 1, 7.00);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (1, 'A-1002', 1, 3, 1, 12.50);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (2, 'A-1003', 1, 5, 1, 24.90);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (3, 'A-1004', 1, 1, 1, 4.90);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (3, 'A-1004', 2, 2, 1, 5.20);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (4, 'A-1005', 1, 6, 1, 39.00);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (5, 'A-1006', 1, 3, 2, 12.50);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (5, 'A-1006', 2, 4, 2, 7.00);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (6, 'A-1007', 1, 2, 3, 5.20);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (42, 'A-1008', 1, 3, 1, 12.50);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (42, 'A-1008', 2, 6, 1, 39.00);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (42, 'A-1009', 1, 1, 4, 4.90);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (NULL, 'G-1010', 1, 4, 2, 7.00);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (NULL, 'G-1011', 1, 5, 1, 24.90);
INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES (NULL, 'G-1012', 1, 1, 1, 4.90);

INSERT INTO payments (user_id, order_no, amount, method) VALUES (1, 'A-1001', 16.80, 'card');
INSERT INTO payments (user_id, order_no, amount, method) VALUES (1, 'A-1002', 12.50, 'invoice');
INSERT INTO payments (user_id, order_no, amount, method) VALUES (2, 'A-1003', 24.90, 'card');
INSERT INTO payments (user_id, order_no, amount, method) VALUES (5, 'A-1006', 39.00, 'invoice');
INSERT INTO payments (user_id, order_no, amount, method) VALUES (6, 'A-1007', 15.60, 'card');
INSERT INTO payments (user_id, order_no, amount, method) VALUES (42, 'A-1008', 51.50, 'invoice');
INSERT INTO payments (user_id, order_no, amount, method) VALUES (NULL, 'G-1011', 24.90, 'card');
INSERT INTO payments (user_id, order_no, amount, method) VALUES (NULL, 'G-1012', 4.90, 'invoice');

-- One row on the shard that keeps the audit log.

INSERT INTO audit_log (actor, action, facts) VALUES ('demo', 'sample rows loaded', '{"orders": 12}');
