// JDBC against the server that the PG* variables name: weir, or plain PostgreSQL as the oracle.

import java.io.ByteArrayInputStream;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.time.OffsetDateTime;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.util.PSQLException;

public class Test {
    static final boolean WEIR = System.getenv("WEIR_PEER").equals("weir");
    static final int CLIENTS = 8; // more than weir may open connections to a shard
    static final List<Long> USERS = LongStream.range(8000, 8000 + CLIENTS).boxed().toList();

    static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        for (int index = 0; index < options.length; index += 2) {
            properties.setProperty(options[index], options[index + 1]);
        }
        String place = System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + System.getenv("PGDATABASE");
        return DriverManager.getConnection("jdbc:postgresql://" + place, properties);
    }

    interface Work {
        void run() throws Exception;
    }

    static void check(Object found, Object expected) {
        if (!Objects.equals(found, expected)) {
            throw new AssertionError("found " + found + ", expected " + expected);
        }
    }

    static PSQLException fails(String state, Work work) throws Exception {
        try {
            work.run();
        } catch (BatchUpdateException error) {
            check(error.getSQLState(), state);
            return (PSQLException) error.getCause();
        } catch (PSQLException error) {
            check(error.getSQLState(), state);
            return error;
        }
        throw new AssertionError("nothing failed; expected " + state);
    }

    static List<List<Object>> rows(Connection connection, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int index = 0; index < parameters.length; index++) {
                statement.setObject(index + 1, parameters[index]);
            }
            List<List<Object>> rows = new ArrayList<>();
            try (ResultSet result = statement.executeQuery()) {
                while (result.next()) {
                    List<Object> row = new ArrayList<>();
                    for (int column = 1; column <= result.getMetaData().getColumnCount(); column++) {
                        row.add(result.getObject(column));
                    }
                    rows.add(row);
                }
            }
            return rows;
        }
    }

    static int update(Connection connection, String sql, Object... parameters) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int index = 0; index < parameters.length; index++) {
                statement.setObject(index + 1, parameters[index]);
            }
            return statement.executeUpdate();
        }
    }

    static Object name(Connection connection, long user) throws SQLException {
        return rows(connection, "SELECT name FROM users WHERE id = ?", user).get(0).get(0);
    }

    static void crudByUser() throws Exception {
        try (Connection connection = connect()) {
            for (long user : USERS) {
                update(connection, "INSERT INTO users (id, email, name) VALUES (?, ?, ?)",
                    user, "user" + user + "@example.com", "User " + user);
                for (int line = 0; line < 3; line++) {
                    update(connection, "INSERT INTO orders (user_id, order_no, total) VALUES (?, ?, ?)",
                        user, "J-" + user + "-" + line, new BigDecimal("10.50"));
                }
            }
            for (long user : USERS) {
                check(
                    rows(connection, "SELECT o.order_no, o.total, o.status FROM users u JOIN orders o ON o.user_id = u.id"
                        + " WHERE u.id = ? ORDER BY o.order_no", user),
                    IntStream.range(0, 3).mapToObj(line ->
                        List.<Object>of("J-" + user + "-" + line, new BigDecimal("10.50"), "new")).toList());
            }
            long user = USERS.get(0);
            check(
                rows(connection, "UPDATE orders SET status = ?::order_status WHERE user_id = ? AND order_no = ? RETURNING status",
                    "paid", user, "J-" + user + "-0"),
                List.of(List.of("paid")));
            check(update(connection, "DELETE FROM orders WHERE user_id = ? AND order_no = ?", user, "J-" + user + "-2"), 1);
            // RETURNING through the driver's own interface.
            try (PreparedStatement insert = connection.prepareStatement(
                    "INSERT INTO orders (user_id, order_no) VALUES (?, ?)", Statement.RETURN_GENERATED_KEYS)) {
                insert.setLong(1, user);
                insert.setString(2, "J-" + user + "-2");
                insert.executeUpdate();
                ResultSet keys = insert.getGeneratedKeys();
                check(keys.next() && keys.getLong("id") > 0, true);
            }
        }
    }

    static void transactionsAndSavepoints() throws Exception {
        long user = USERS.get(1);
        String rename = "UPDATE users SET name = ? WHERE id = ?";
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            update(connection, rename, "Committed", user);
            connection.commit();
            update(connection, rename, "Lost", user);
            connection.rollback();
            check(name(connection, user), "Committed");
            connection.rollback();

            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            update(connection, rename, "Outer", user);
            Savepoint savepoint = connection.setSavepoint("inner");
            fails("23502", () -> update(connection, rename, null, user));
            fails("25P02", () -> name(connection, user));
            connection.rollback(savepoint);
            check(name(connection, user), "Outer");
            connection.commit();
            connection.setReadOnly(true);
            fails("25006", () -> update(connection, rename, "Read only", user));
            connection.rollback();
            check(name(connection, user), "Outer");
            connection.rollback();
        }
        // The driver sets and takes back a savepoint around every statement.
        try (Connection connection = connect("autosave", "always")) {
            connection.setAutoCommit(false);
            update(connection, rename, "Saved", user);
            fails("23502", () -> update(connection, rename, null, user));
            check(name(connection, user), "Saved");
            connection.rollback();
        }
    }

    static void preparedStatementsOverFewerServers() throws Exception {
        ExecutorService clients = Executors.newFixedThreadPool(CLIENTS);
        List<Future<Void>> ends = new ArrayList<>();
        for (long user : USERS) {
            ends.add(clients.submit(() -> {
                // Named statements on the server from the second execution on.
                try (Connection connection = connect("prepareThreshold", "2")) {
                    connection.setAutoCommit(false);
                    try (PreparedStatement read = connection.prepareStatement("SELECT id, email FROM users WHERE id = ?");
                         PreparedStatement note = connection.prepareStatement(
                            "UPDATE orders SET note = ? WHERE user_id = ? AND order_no = ?")) {
                        for (int turn = 0; turn < 25; turn++) {
                            read.setLong(1, user);
                            ResultSet row = read.executeQuery();
                            check(row.next() && row.getLong(1) == user, true);
                            check(row.getString(2), "user" + user + "@example.com");
                            note.setString(1, "turn " + turn);
                            note.setLong(2, user);
                            note.setString(3, "J-" + user + "-1");
                            check(note.executeUpdate(), 1);
                            connection.commit();
                        }
                    }
                    check(rows(connection, "SELECT note FROM orders WHERE user_id = ? AND note IS NOT NULL", user),
                        List.of(List.of("turn 24")));
                    connection.commit();
                }
                return null;
            }));
        }
        for (Future<Void> end : ends) {
            end.get();
        }
        clients.shutdown();
    }

    static void batches() throws Exception {
        long user = USERS.get(2);
        String insert = "INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price)"
            + " VALUES (?, ?, ?, 1, 1, 4.90)";
        for (String rewrite : List.of("false", "true")) { // true: the driver makes many rows of many statements
            try (Connection connection = connect("reWriteBatchedInserts", rewrite)) {
                connection.setAutoCommit(false);
                try (PreparedStatement batch = connection.prepareStatement(insert)) {
                    for (int line = 1; line <= 300; line++) {
                        batch.setLong(1, user);
                        batch.setString(2, "J-" + user + "-0");
                        batch.setInt(3, line);
                        batch.addBatch();
                    }
                    check(batch.executeBatch().length, 300);
                }
                check(rows(connection, "SELECT count(*), max(line_no) FROM order_items WHERE user_id = ?", user),
                    List.of(List.of(300L, 300)));
                if (rewrite.equals("false")) {
                    connection.rollback();
                } else {
                    connection.commit();
                }
            }
        }
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            try (PreparedStatement batch = connection.prepareStatement(insert)) {
                for (int line : new int[] {301, 1, 302}) {
                    batch.setLong(1, user);
                    batch.setString(2, "J-" + user + "-0");
                    batch.setInt(3, line);
                    batch.addBatch();
                }
                fails("23505", batch::executeBatch);
            }
            connection.rollback();
            check(rows(connection, "SELECT count(*) FROM order_items WHERE user_id = ?", user), List.of(List.of(300L)));
            connection.rollback();
        }
        // A batch over many users, each read on its own shard.
        try (Connection connection = connect()) {
            for (long one : USERS) {
                check(rows(connection, "SELECT id FROM users WHERE id = ?", one), List.of(List.of(one)));
            }
        }
    }

    static void cursorsFetchInParts() throws Exception {
        long user = USERS.get(2);
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            try (PreparedStatement read = connection.prepareStatement(
                    "SELECT line_no FROM order_items WHERE user_id = ? ORDER BY line_no")) {
                read.setFetchSize(17);
                read.setLong(1, user);
                List<Integer> seen = new ArrayList<>();
                ResultSet row = read.executeQuery();
                while (row.next()) {
                    seen.add(row.getInt(1));
                    if (seen.size() == 20) { // another statement while the portal is open
                        check(name(connection, user), "User " + user);
                    }
                }
                check(seen, IntStream.rangeClosed(1, 300).boxed().toList());
                read.setFetchSize(0);
                read.setMaxRows(5);
                row = read.executeQuery();
                int count = 0;
                while (row.next()) {
                    count++;
                }
                check(count, 5);
            }
            connection.commit();
        }
    }

    static void copyWhereOneShardIsConcerned() throws Exception {
        long user = USERS.get(2);
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            StringWriter out = new StringWriter();
            copy.copyOut("COPY (SELECT line_no FROM order_items WHERE user_id = " + user + " ORDER BY 1 LIMIT 3) TO STDOUT", out);
            check(out.toString(), "1\n2\n3\n");
            String lines = IntStream.range(0, 1000).mapToObj(n -> "jdbc\taction " + n + "\n").collect(Collectors.joining());
            long copied = copy.copyIn("COPY audit_log (actor, action) FROM STDIN",
                new ByteArrayInputStream(lines.getBytes(StandardCharsets.UTF_8)));
            check(copied, 1000L);
            check(rows(connection, "SELECT count(*) FROM audit_log WHERE actor = 'jdbc'"), List.of(List.of(1000L)));
            connection.rollback();
            fails("22P02", () -> copy.copyIn("COPY audit_log (id, actor) FROM STDIN",
                new ByteArrayInputStream("no number\tjdbc\n".getBytes(StandardCharsets.UTF_8))));
            connection.rollback();
            check(name(connection, user), "User " + user);
            connection.rollback();
        }
    }

    static void copyOverSeveralShards() throws Exception {
        try (Connection connection = connect()) {
            connection.setAutoCommit(false);
            CopyManager copy = connection.unwrap(PGConnection.class).getCopyAPI();
            String lines = IntStream.range(24000, 25000).mapToObj(n -> n + ",e,User " + n + "\n").collect(Collectors.joining());
            long copied = copy.copyIn("COPY users (id, email, name) FROM STDIN (FORMAT csv)",
                new ByteArrayInputStream(lines.getBytes(StandardCharsets.UTF_8)));
            check(copied, 1000L);
            StringWriter out = new StringWriter();
            check(copy.copyOut("COPY (SELECT id, name FROM users WHERE id >= 24998 ORDER BY id) TO STDOUT", out), 2L);
            check(out.toString(), "24998\tUser 24998\n24999\tUser 24999\n");
            StringWriter all = new StringWriter();
            copy.copyOut("COPY users (id) TO STDOUT", all);
            check(all.toString().lines().mapToLong(Long::parseLong).filter(n -> n >= 24000 && n < 25000).count(), 1000L);
            connection.rollback();
            fails("22P02", () -> copy.copyIn("COPY users (id, email, name) FROM STDIN (FORMAT csv)",
                new ByteArrayInputStream((lines + "no number,e,n\n").getBytes(StandardCharsets.UTF_8))));
            connection.rollback();
            check(rows(connection, "SELECT count(*) FROM users WHERE id >= 24000"), List.of(List.of(0L)));
            connection.rollback();
        }
    }

    static void cancelMeetsOnlyTheOwnStatement() throws Exception {
        long user = USERS.get(3);
        try (Connection connection = connect(); Connection bystander = connect();
             PreparedStatement sleep = connection.prepareStatement("SELECT pg_sleep(60) FROM users WHERE id = ?")) {
            sleep.setLong(1, user);
            ExecutorService thread = Executors.newSingleThreadExecutor();
            Future<?> end = thread.submit(() -> fails("57014", sleep::executeQuery));
            while (true) { // a cancel before the statement runs does nothing: ask again
                sleep.cancel();
                check(name(bystander, user), "User " + user);
                try {
                    end.get(100, TimeUnit.MILLISECONDS);
                    break;
                } catch (TimeoutException stillRunning) {
                    continue;
                }
            }
            thread.shutdown();
            check(name(connection, user), "User " + user);
        }
    }

    static void errorsKeepTheirFields() throws Exception {
        long user = USERS.get(4);
        try (Connection connection = connect()) {
            var fields = fails("23505", () -> update(connection,
                "INSERT INTO orders (user_id, order_no) VALUES (?, ?)", user, "J-" + user + "-0")).getServerErrorMessage();
            check(fields.getConstraint(), "orders_order_no_key");
            check(fields.getTable(), "orders");
            check(fields.getDetail(), "Key (order_no)=(J-" + user + "-0) already exists.");
            check(fails("42601", () -> rows(connection, "SELEC 1")).getServerErrorMessage().getPosition(), 1);
            if (WEIR) {
                var refused = fails("0A000", () -> rows(connection, "SELECT id FROM orders FOR UPDATE"));
                check(refused.getServerErrorMessage().getHint() != null, true);
            }
            check(name(connection, user), "User " + user);
        }
    }

    static void settingsStayWithTheirClient() throws Exception {
        try (Connection connection = connect("options", "-c statement_timeout=7s"); Connection other = connect()) {
            try (Statement statement = connection.createStatement()) {
                statement.execute("SET work_mem = '9MB'");
            }
            Object ordinary = rows(other, "SHOW work_mem").get(0).get(0);
            String query = "SELECT current_setting('work_mem'), current_setting('statement_timeout') FROM users WHERE id = ?";
            for (long user : USERS) {
                check(rows(connection, query, user), List.of(List.of("9MB", "7s")));
                check(rows(other, query, user), List.of(List.of(ordinary, "0")));
            }
            check(rows(connection, "SHOW work_mem"), List.of(List.of("9MB")));
            connection.setClientInfo("ApplicationName", "driver test");
            check(rows(connection, "SHOW application_name"), List.of(List.of("driver test")));
        }
    }

    static void typesInTextAndBinary() throws Exception {
        long user = USERS.get(5);
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("int4", -7);
        values.put("int8", 1L << 62);
        values.put("numeric", new BigDecimal("12345678901234567890.0001"));
        values.put("float8", 0.1);
        values.put("text", "naïve 'quotes' \\ and \u2603");
        values.put("bool", true);
        values.put("uuid", UUID.fromString("12345678-1234-5678-1234-567812345678"));
        for (String binary : List.of("false", "true")) {
            try (Connection connection = connect("binaryTransfer", binary, "prepareThreshold", "-1")) {
                for (var entry : values.entrySet()) {
                    String query = "SELECT ?::" + entry.getKey() + ", NULL::" + entry.getKey() + " FROM users WHERE id = ?";
                    check(rows(connection, query, entry.getValue(), user), List.of(Arrays.asList(entry.getValue(), null)));
                }
                OffsetDateTime moment = OffsetDateTime.parse("2026-02-28T23:59:59.123456Z");
                try (PreparedStatement read = connection.prepareStatement(
                        "SELECT ?::timestamptz, ?::bytea, ?::int4[], status, status::text FROM orders WHERE user_id = ? LIMIT 1")) {
                    read.setObject(1, moment);
                    read.setBytes(2, new byte[] {0, 1, -2, -1});
                    read.setArray(3, connection.createArrayOf("int4", new Integer[] {1, null, 3}));
                    read.setLong(4, user);
                    ResultSet row = read.executeQuery();
                    check(row.next(), true);
                    check(row.getObject(1, OffsetDateTime.class).toInstant(), moment.toInstant());
                    check(Arrays.toString(row.getBytes(2)), "[0, 1, -2, -1]");
                    check(Arrays.asList((Integer[]) row.getArray(3).getArray()), Arrays.asList(1, null, 3));
                    check(row.getObject(4), "new");
                    check(row.getMetaData().getColumnTypeName(4), "order_status");
                }
            }
        }
    }

    static void theCatalogIsReadable() throws Exception {
        try (Connection connection = connect()) {
            ResultSet columns = connection.getMetaData().getColumns(null, "public", "orders", null);
            List<String> names = new ArrayList<>();
            while (columns.next()) {
                names.add(columns.getString("COLUMN_NAME"));
            }
            check(names, List.of("id", "user_id", "order_no", "status", "total", "note", "created_at"));
            ResultSet keys = connection.getMetaData().getPrimaryKeys(null, "public", "orders");
            check(keys.next() && keys.getString("COLUMN_NAME").equals("id"), true);
        }
    }

    public static void main(String[] arguments) throws Exception {
        Map<String, Work> parts = new LinkedHashMap<>();
        parts.put("crudByUser", Test::crudByUser);
        parts.put("transactionsAndSavepoints", Test::transactionsAndSavepoints);
        parts.put("preparedStatementsOverFewerServers", Test::preparedStatementsOverFewerServers);
        parts.put("batches", Test::batches);
        parts.put("cursorsFetchInParts", Test::cursorsFetchInParts);
        parts.put("copyWhereOneShardIsConcerned", Test::copyWhereOneShardIsConcerned);
        parts.put("copyOverSeveralShards", Test::copyOverSeveralShards);
        parts.put("cancelMeetsOnlyTheOwnStatement", Test::cancelMeetsOnlyTheOwnStatement);
        parts.put("errorsKeepTheirFields", Test::errorsKeepTheirFields);
        parts.put("settingsStayWithTheirClient", Test::settingsStayWithTheirClient);
        parts.put("typesInTextAndBinary", Test::typesInTextAndBinary);
        parts.put("theCatalogIsReadable", Test::theCatalogIsReadable);
        for (var part : parts.entrySet()) {
            part.getValue().run();
            System.out.println("ok " + part.getKey());
        }
    }
}
