-- Rows of the reference tables: the same on every shard, so they are loaded on each.

INSERT INTO warehouses (id, city) VALUES (1, 'Hamburg');
INSERT INTO warehouses (id, city) VALUES (2, 'Leipzig');
INSERT INTO warehouses (id, city) VALUES (3, 'Graz');
INSERT INTO products (id, sku, name, price, warehouse_id) VALUES (1, 'TEA-001', 'Green tea', 4.90, 1);
INSERT INTO products (id, sku, name, price, warehouse_id) VALUES (2, 'TEA-002', 'Earl Grey', 5.20, 1);
INSERT INTO products (id, sku, name, price, warehouse_id) VALUES (3, 'COF-001', 'Espresso beans', 12.50, 1);
INSERT INTO products (id, sku, name, price, warehouse_id) VALUES (4, 'CUP-001', 'Cup', 7.00, 2);
INSERT INTO products (id, sku, name, price, warehouse_id) VALUES (5, 'POT-001', 'Tea pot', 24.90, 2);
INSERT INTO products (id, sku, name, price, warehouse_id) VALUES (6, 'MIL-001', 'Coffee mill', 39.00, 3);
