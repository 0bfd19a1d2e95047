-- What an order system's owner asks of it. A line `-- name` begins a query; each orders its rows in full.
-- revenue per day
SELECT created_at::date AS day, count(*) AS orders, sum(total) AS revenue, round(avg(total), 2) AS average
FROM orders WHERE status <> 'cancelled' GROUP BY 1 ORDER BY 1
-- top customers
SELECT u.id, u.name, u.email, count(*) AS orders, sum(o.total) AS spent
FROM users u JOIN orders o ON o.user_id = u.id
WHERE o.status IN ('paid', 'packed', 'shipped')
GROUP BY u.id, u.name, u.email ORDER BY spent DESC, u.id LIMIT 20
-- orders by status
SELECT status, count(*), sum(total), min(created_at), max(created_at) FROM orders GROUP BY status ORDER BY status
-- basket pairs
SELECT a.product_id AS one, b.product_id AS other, count(*) AS together
FROM order_items a JOIN order_items b ON b.order_no = a.order_no AND b.product_id > a.product_id
GROUP BY 1, 2 HAVING count(*) > 2 ORDER BY together DESC, one, other LIMIT 25
-- retention cohorts
WITH first AS (SELECT user_id, date_trunc('month', min(created_at)) AS cohort FROM orders WHERE user_id IS NOT NULL GROUP BY user_id)
SELECT f.cohort, date_trunc('month', o.created_at) AS month, count(DISTINCT o.user_id) AS customers
FROM first f JOIN orders o ON o.user_id = f.user_id GROUP BY 1, 2 ORDER BY 1, 2
-- percentiles of order value
SELECT percentile_cont(ARRAY[0.5, 0.9, 0.99]) WITHIN GROUP (ORDER BY total::float8) AS continuous,
    percentile_disc(0.5) WITHIN GROUP (ORDER BY total) AS median, max(total) FROM orders
-- guests and users
SELECT user_id IS NULL AS guest, count(*) AS orders, sum(total) AS revenue, avg(total) AS average, stddev(total)
FROM orders GROUP BY user_id IS NULL ORDER BY guest
-- best products
SELECT p.sku, p.name, sum(i.quantity) AS sold, sum(i.quantity * i.price) AS revenue,
    rank() OVER (ORDER BY sum(i.quantity * i.price) DESC) AS place
FROM order_items i JOIN products p ON p.id = i.product_id GROUP BY p.id ORDER BY revenue DESC, p.id LIMIT 10
-- demand by warehouse
SELECT w.city, count(DISTINCT i.order_no) AS orders, sum(i.quantity) AS pieces
FROM warehouses w JOIN products p ON p.warehouse_id = w.id LEFT JOIN order_items i ON i.product_id = p.id
GROUP BY w.city ORDER BY pieces DESC NULLS LAST, w.city
-- products that nobody buys
SELECT p.id, p.sku FROM products p
WHERE NOT EXISTS (SELECT FROM order_items i WHERE i.product_id = p.id) ORDER BY p.id
-- unpaid orders
SELECT o.order_no, o.total, o.total - coalesce(sum(p.amount), 0) AS open
FROM orders o LEFT JOIN payments p ON p.order_no = o.order_no
WHERE o.status IN ('new', 'packed', 'shipped')
GROUP BY o.order_no, o.total HAVING coalesce(sum(p.amount), 0) < o.total ORDER BY open DESC, o.order_no LIMIT 50
-- payments by method and month
SELECT method, extract(year FROM paid_at) AS year, extract(month FROM paid_at) AS month, count(*), sum(amount)
FROM payments GROUP BY GROUPING SETS ((1, 2, 3), (1), ()) ORDER BY 1 NULLS LAST, 2 NULLS LAST, 3 NULLS LAST
-- running revenue
SELECT day, revenue, sum(revenue) OVER (ORDER BY day) AS running, revenue - lag(revenue) OVER (ORDER BY day) AS change
FROM (SELECT created_at::date AS day, sum(total) AS revenue FROM orders GROUP BY 1) AS days ORDER BY day
-- days between orders
SELECT avg(gap) AS average, max(gap) AS longest, count(*) FROM (
    SELECT created_at - lag(created_at) OVER (PARTITION BY user_id ORDER BY created_at, id) AS gap
    FROM orders WHERE user_id IS NOT NULL) AS gaps
-- customers without an order
SELECT u.id, u.email FROM users u LEFT JOIN orders o ON o.user_id = u.id WHERE o.id IS NULL ORDER BY u.id
-- each customer's dearest order
SELECT DISTINCT ON (user_id) user_id, order_no, total FROM orders WHERE user_id IS NOT NULL
ORDER BY user_id, total DESC, order_no LIMIT 100
-- sums that do not fit
SELECT o.order_no, o.total, sum(i.quantity * i.price) AS lines FROM orders o JOIN order_items i USING (order_no)
GROUP BY o.order_no, o.total HAVING o.total <> sum(i.quantity * i.price) ORDER BY o.order_no
-- customers of the same name
SELECT name, count(*) AS namesakes, string_agg(email, ', ' ORDER BY email) AS emails
FROM users GROUP BY name HAVING count(*) > 1 ORDER BY namesakes DESC, name LIMIT 10
-- baskets above the average
SELECT date_trunc('week', created_at) AS week, count(*) FILTER (WHERE total > (SELECT avg(total) FROM orders)) AS large,
    count(*) AS orders FROM orders GROUP BY 1 ORDER BY 1
-- who bought the first two products but not the third
SELECT user_id FROM order_items JOIN products p ON p.id = product_id WHERE p.sku = 'P-001' AND user_id IS NOT NULL
INTERSECT SELECT user_id FROM order_items JOIN products p ON p.id = product_id WHERE p.sku = 'P-002'
EXCEPT SELECT user_id FROM order_items JOIN products p ON p.id = product_id WHERE p.sku = 'P-003' ORDER BY 1
