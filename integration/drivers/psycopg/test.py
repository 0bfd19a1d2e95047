"""psycopg 3 against the server that the PG* variables name: weir, or plain PostgreSQL as the oracle."""

import datetime
import decimal
import os
import threading
import uuid

import psycopg
from psycopg.types.json import Jsonb

WEIR = os.environ["WEIR_PEER"] == "weir"
CLIENTS = 8  # more than weir may open connections to a shard
USERS = range(5000, 5000 + CLIENTS)


def connect(**options):
    return psycopg.connect(**options)


def add_user(connection, user):
    connection.execute(
        "INSERT INTO users (id, email, name) VALUES (%s, %s, %s)",
        (user, f"user{user}@example.com", f"User {user}"),
    )


def crud_by_user():
    with connect(autocommit=True) as connection:
        for user in USERS:
            add_user(connection, user)
            for line in range(3):
                connection.execute(
                    "INSERT INTO orders (user_id, order_no, total) VALUES (%s, %s, %s)",
                    (user, f"P-{user}-{line}", decimal.Decimal("12.50") + line),
                )
        for user in USERS:
            rows = connection.execute(
                "SELECT u.name, o.order_no, o.total, o.status FROM orders o JOIN users u ON u.id = o.user_id"
                " WHERE o.user_id = %s ORDER BY o.order_no",
                (user,),
            ).fetchall()
            assert rows == [
                (f"User {user}", f"P-{user}-{line}", decimal.Decimal("12.50") + line, "new") for line in range(3)
            ], rows
        user = USERS[0]
        updated = connection.execute(
            "UPDATE orders SET status = 'paid', total = total * 2 WHERE user_id = %s AND order_no = %s"
            " RETURNING total, status",
            (user, f"P-{user}-0"),
        )
        assert updated.fetchall() == [(decimal.Decimal("25.00"), "paid")]
        deleted = connection.execute("DELETE FROM orders WHERE user_id = %s AND order_no = %s", (user, f"P-{user}-2"))
        assert deleted.rowcount == 1 and deleted.statusmessage == "DELETE 1"
        count = connection.execute("SELECT count(*) FROM orders WHERE user_id = %s", (user,)).fetchone()
        assert count == (2,), count


def names(connection, user):
    return connection.execute("SELECT name FROM users WHERE id = %s", (user,)).fetchall()


def transactions_and_savepoints():
    user = USERS[1]
    with connect() as connection:
        with connection.transaction():
            connection.execute("UPDATE users SET name = 'Committed' WHERE id = %s", (user,))
        assert names(connection, user) == [("Committed",)]
        connection.rollback()

        connection.execute("UPDATE users SET name = 'Rolled back' WHERE id = %s", (user,))
        assert names(connection, user) == [("Rolled back",)]
        connection.rollback()
        assert names(connection, user) == [("Committed",)]
        connection.rollback()

        with connection.transaction():
            connection.execute("UPDATE users SET name = 'Outer' WHERE id = %s", (user,))
            try:
                with connection.transaction():
                    connection.execute("UPDATE users SET name = NULL WHERE id = %s", (user,))
                raise AssertionError("a NOT NULL column took NULL")
            except psycopg.errors.NotNullViolation:
                pass
            assert names(connection, user) == [("Outer",)]
            with connection.transaction(force_rollback=True):
                connection.execute("UPDATE users SET name = 'Inner' WHERE id = %s", (user,))
        assert names(connection, user) == [("Outer",)]
        connection.rollback()

        # After an error nothing runs until the transaction ends.
        try:
            connection.execute("SELECT 1/0 FROM users WHERE id = %s", (user,))
        except psycopg.errors.DivisionByZero:
            pass
        try:
            names(connection, user)
            raise AssertionError("a failed transaction went on")
        except psycopg.errors.InFailedSqlTransaction:
            pass
        connection.rollback()
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def prepared_statements_over_fewer_servers():
    failures = []
    together = threading.Barrier(CLIENTS)

    def client(user):
        try:
            with connect(autocommit=True, prepare_threshold=0) as connection:
                together.wait()
                for turn in range(25):
                    assert connection.execute(
                        "SELECT id, email FROM users WHERE id = %s", (user,), prepare=True
                    ).fetchall() == [(user, f"user{user}@example.com")]
                    with connection.transaction():
                        connection.execute(
                            "UPDATE orders SET note = %s WHERE user_id = %s AND order_no = %s",
                            (f"turn {turn}", user, f"P-{user}-1"),
                        )
                        assert connection.execute(
                            "SELECT note FROM orders WHERE user_id = %s AND order_no = %s", (user, f"P-{user}-1")
                        ).fetchone() == (f"turn {turn}",)
        except BaseException as error:  # a failed thread must fail the test, whatever it was
            failures.append((user, error))

    threads = [threading.Thread(target=client, args=(user,)) for user in USERS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def pipelines():
    user = USERS[2]
    with connect(autocommit=True) as connection:
        # Reads of many users: each goes to its own shard, answers come in order.
        with connection.pipeline():
            cursors = [connection.execute("SELECT id FROM users WHERE id = %s", (one,)) for one in USERS]
            assert [cursor.fetchone() for cursor in cursors] == [(one,) for one in USERS]
        # Writes of one user between reads that see them.
        with connection.pipeline() as pipeline:
            for quantity in range(1, 4):
                connection.execute(
                    "INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price)"
                    " VALUES (%s, %s, %s, 1, %s, 4.90)",
                    (user, f"P-{user}-0", quantity, quantity),
                )
            total = connection.execute("SELECT sum(quantity) FROM order_items WHERE user_id = %s", (user,))
            pipeline.sync()
            assert total.fetchone() == (6,)
        # An error takes back everything up to its Sync, and only that.
        try:
            with connection.pipeline() as pipeline:
                connection.execute("UPDATE users SET name = 'Lost' WHERE id = %s", (user,))
                connection.execute("SELECT 1/0 FROM users WHERE id = %s", (user,))
                pipeline.sync()
            raise AssertionError("a pipeline swallowed an error")
        except psycopg.errors.DivisionByZero:
            pass
        assert names(connection, user) == [(f"User {user}",)]


def cursors_fetch_in_parts():
    user = USERS[3]
    with connect() as connection:
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO payments (user_id, order_no, amount) VALUES (%s, %s, %s)",
                [(user, f"P-{user}-0", amount) for amount in range(1, 26)],
            )
        connection.commit()
        with connection.cursor(name="amounts") as cursor:
            cursor.itersize = 10
            cursor.execute("SELECT amount FROM payments WHERE user_id = %s ORDER BY amount", (user,))
            assert [int(row[0]) for row in cursor.fetchmany(7)] == list(range(1, 8))
            assert [int(row[0]) for row in cursor] == list(range(8, 26))
        connection.rollback()
        # Of all shards, with a parameter, while other statements run.
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO payments (user_id, order_no, amount) VALUES (%s, %s, %s)",
                [(one, f"P-{one}-0", 1000 + number) for number, one in enumerate(list(USERS) * 5)],
            )
        with connection.cursor(name="all of them") as cursor:
            cursor.itersize = 6
            cursor.execute(
                "SELECT amount, user_id FROM payments WHERE amount >= %s ORDER BY amount DESC", (1000,)
            )
            assert cursor.fetchone() == (decimal.Decimal("1039.00"), USERS[-1])
            assert names(connection, user) == [(f"User {user}",)]
            connection.execute("DELETE FROM payments WHERE user_id = %s", (USERS[0],))
            assert [int(row[0]) for row in cursor.fetchmany(9)] == list(range(1038, 1029, -1))
            cursor.scroll(10)
            assert [int(row[0]) for row in cursor] == list(range(1019, 999, -1))
        connection.rollback()


def copy_where_one_shard_is_concerned():
    user = USERS[3]
    with connect() as connection:
        with connection.cursor() as cursor:
            query = f"COPY (SELECT amount FROM payments WHERE user_id = {user} ORDER BY amount) TO STDOUT"
            with cursor.copy(query) as copy:
                assert [row for row in copy.rows()] == [(f"{amount}.00",) for amount in range(1, 26)]
            with cursor.copy("COPY audit_log (actor, action, facts) FROM STDIN") as copy:
                for number in range(1000):
                    copy.write_row(("psycopg", f"action {number}", Jsonb({"number": number})))
            assert cursor.rowcount == 1000
            cursor.execute("SELECT count(*), sum((facts->>'number')::int) FROM audit_log WHERE actor = 'psycopg'")
            assert cursor.fetchone() == (1000, 499500)
        connection.rollback()
        # A COPY that the client breaks off leaves nothing and a usable session.
        try:
            with connection.cursor() as cursor, cursor.copy("COPY audit_log (actor, action) FROM STDIN") as copy:
                copy.write_row(("psycopg", "never"))
                raise KeyError("the client changes its mind")
        except KeyError:
            pass
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM audit_log WHERE actor = 'psycopg'").fetchone() == (0,)


def copy_over_several_shards():
    users = range(21000, 22000)
    with connect() as connection:
        with connection.cursor() as cursor:
            with cursor.copy("COPY users (id, email, name) FROM STDIN") as copy:
                for user in users:
                    copy.write_row((user, f"u{user}@example.com", f"User\t\\{user}\n" if user % 2 else ""))
            assert cursor.rowcount == len(users)
            cursor.execute("SELECT count(*), count(DISTINCT created_at) FROM users WHERE id >= 21000")
            assert cursor.fetchone() == (len(users), 1)
            query = "COPY (SELECT id, name FROM users WHERE id >= 21000 ORDER BY id) TO STDOUT (FORMAT binary)"
            with cursor.copy(query) as copy:
                copy.set_types(["int8", "text"])
                rows = list(copy.rows())
            assert [row[0] for row in rows] == list(users), rows
            assert (rows[0][1], rows[1][1]) == ("", "User\t\\21001\n"), rows[:2]
            with cursor.copy("COPY users (id) TO STDOUT") as copy:
                assert {int(row[0]) for row in copy.rows()} >= set(users)
        connection.rollback()
        # The last row is wrong.
        try:
            with (
                connection.cursor() as cursor,
                cursor.copy("COPY users (id, email, name) FROM STDIN") as copy,
            ):
                for user in users:
                    copy.write_row((user, "e", None if user == users[-1] else "n"))
        except psycopg.errors.NotNullViolation:
            pass
        else:
            raise AssertionError("name is NULL")
        connection.rollback()
        assert connection.execute("SELECT count(*) FROM users WHERE id >= 21000").fetchone() == (0,)


def cancel_meets_only_the_own_statement():
    user = USERS[4]
    with connect(autocommit=True) as connection, connect(autocommit=True) as bystander:
        outcome = []

        def sleep():
            try:
                connection.execute("SELECT pg_sleep(60) FROM users WHERE id = %s", (user,))
                outcome.append(None)
            except psycopg.Error as error:
                outcome.append(error.sqlstate)

        thread = threading.Thread(target=sleep)
        thread.start()
        while thread.is_alive():  # a cancel before the statement runs does nothing: ask again
            connection.cancel_safe()
            assert names(bystander, user) == [(f"User {user}",)]
            thread.join(0.1)
        assert outcome == ["57014"], outcome
        assert names(connection, user) == [(f"User {user}",)]


def errors_keep_their_fields():
    user = USERS[5]
    with connect(autocommit=True) as connection:
        try:
            connection.execute("INSERT INTO orders (user_id, order_no) VALUES (%s, %s)", (user, f"P-{user}-0"))
            raise AssertionError("a duplicate was taken")
        except psycopg.errors.UniqueViolation as error:
            assert error.diag.constraint_name == "orders_order_no_key", error.diag.constraint_name
            assert error.diag.table_name == "orders" and error.diag.schema_name == "public"
            assert error.diag.severity_nonlocalized == "ERROR"
            assert f"(order_no)=(P-{user}-0) already exists" in error.diag.message_detail
        try:
            connection.execute("SELEC 1")
            raise AssertionError("nonsense was run")
        except psycopg.errors.SyntaxError as error:
            assert error.diag.statement_position == "1", error.diag.statement_position
        if WEIR:
            try:
                connection.execute("SELECT id FROM orders FOR UPDATE")
                raise AssertionError("locks on all shards were granted")
            except psycopg.errors.FeatureNotSupported as error:
                assert error.diag.message_hint, "a refusal has a hint"
        assert names(connection, user) == [(f"User {user}",)]


def settings_stay_with_their_client():
    with connect(autocommit=True) as connection, connect(autocommit=True) as other:
        default = other.execute("SHOW TimeZone").fetchone()
        connection.execute("SET TIME ZONE 'Asia/Tokyo'")
        connection.execute("SET statement_timeout = '12345ms'")
        assert connection.info.parameter_status("TimeZone") == "Asia/Tokyo"
        for user in USERS:  # on whichever shard and server
            query = "SELECT current_setting('TimeZone'), current_setting('statement_timeout') FROM users WHERE id = %s"
            assert connection.execute(query, (user,)).fetchone() == ("Asia/Tokyo", "12345ms")
            assert other.execute(query, (user,)).fetchone() == default + ("0",)
        with connection.transaction():
            connection.execute("SET LOCAL statement_timeout = '1min'")
            assert connection.execute("SHOW statement_timeout").fetchone() == ("1min",)
        assert connection.execute("SHOW statement_timeout").fetchone() == ("12345ms",)
        connection.execute("RESET ALL")
        assert connection.execute("SHOW TimeZone").fetchone() == default
    with connect(autocommit=True, options="-c statement_timeout=7s") as connection:
        assert connection.execute("SHOW statement_timeout").fetchone() == ("7s",)


def types_in_text_and_binary():
    user = USERS[6]
    moment = datetime.datetime(2026, 2, 28, 23, 59, 59, 123456, tzinfo=datetime.timezone.utc)
    values = {
        "int2": -7,
        "int8": 2**62,
        "numeric": decimal.Decimal("12345678901234567890.0001"),
        "float8": 0.1,
        "text": "naïve 'quotes' \\ and \u2603",
        "bytea": bytes(range(256)),
        "bool": True,
        "uuid": uuid.UUID("12345678-1234-5678-1234-567812345678"),
        "date": datetime.date(1999, 12, 31),
        "timestamptz": moment,
        "interval": datetime.timedelta(days=3, seconds=4, microseconds=5),
        "int4[]": [1, None, 3],
        "text[]": ["a,b", 'c"d', ""],
    }
    with connect(autocommit=True) as connection:
        for binary in (False, True):
            with connection.cursor(binary=binary) as cursor:
                for name, value in values.items():
                    placeholder = "%b" if binary else "%t"
                    cursor.execute(f"SELECT {placeholder}::{name}, NULL::{name} FROM users WHERE id = %s", (value, user))
                    assert cursor.fetchone() == (value, None), (name, binary)
                cursor.execute("SELECT %s::jsonb FROM users WHERE id = %s", (Jsonb({"a": [1, None]}), user))
                assert cursor.fetchone() == ({"a": [1, None]},)
        # The sharding key itself in both formats.
        for placeholder in ("%t", "%b"):
            assert connection.execute(f"SELECT id FROM users WHERE id = {placeholder}", (user,)).fetchone() == (user,)
        row = connection.execute(
            "SELECT 'paid'::order_status, status FROM orders WHERE user_id = %s AND order_no = %s",
            (user, f"P-{user}-0"),
        ).fetchone()
        assert row == ("paid", "new"), row


for part in (
    crud_by_user,
    transactions_and_savepoints,
    prepared_statements_over_fewer_servers,
    pipelines,
    cursors_fetch_in_parts,
    copy_where_one_shard_is_concerned,
    copy_over_several_shards,
    cancel_meets_only_the_own_statement,
    errors_keep_their_fields,
    settings_stay_with_their_client,
    types_in_text_and_binary,
):
    part()
    print(f"ok {part.__name__}", flush=True)
