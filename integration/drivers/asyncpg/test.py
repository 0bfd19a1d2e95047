"""asyncpg against the server that the PG* variables name: weir, or plain PostgreSQL as the oracle.

asyncpg speaks binary throughout, prepares every statement, and asks the catalog about types it does not know.
"""

import asyncio
import datetime
import decimal
import json
import os
import uuid

import asyncpg

WEIR = os.environ["WEIR_PEER"] == "weir"
CLIENTS = 8  # more than weir may open connections to a shard
USERS = range(6000, 6000 + CLIENTS)


async def crud_by_user():
    connection = await asyncpg.connect()
    for user in USERS:
        await connection.execute(
            "INSERT INTO users (id, email, name) VALUES ($1, $2, $3)", user, f"user{user}@example.com", f"User {user}"
        )
        await connection.executemany(
            "INSERT INTO orders (user_id, order_no, total) VALUES ($1, $2, $3)",
            [(user, f"Y-{user}-{line}", decimal.Decimal(10 + line)) for line in range(3)],
        )
    for user in USERS:
        rows = await connection.fetch(
            "SELECT u.name, o.order_no, o.total, o.status FROM users u JOIN orders o ON o.user_id = u.id"
            " WHERE u.id = $1 ORDER BY o.order_no",
            user,
        )
        expected = [(f"User {user}", f"Y-{user}-{line}", decimal.Decimal(10 + line), "new") for line in range(3)]
        assert [tuple(row) for row in rows] == expected, rows
    user = USERS[0]
    row = await connection.fetchrow(
        "UPDATE orders SET status = $3 WHERE user_id = $1 AND order_no = $2 RETURNING status", user, f"Y-{user}-0", "paid"
    )
    assert row["status"] == "paid"
    tag = await connection.execute("DELETE FROM orders WHERE user_id = $1 AND order_no = $2", user, f"Y-{user}-2")
    assert tag == "DELETE 1", tag
    assert await connection.fetchval("SELECT count(*) FROM orders WHERE user_id = $1", user) == 2
    await connection.close()


async def name(connection, user):
    return await connection.fetchval("SELECT name FROM users WHERE id = $1", user)


async def transactions_and_savepoints():
    user = USERS[1]
    connection = await asyncpg.connect()
    async with connection.transaction():
        await connection.execute("UPDATE users SET name = 'Committed' WHERE id = $1", user)
    assert await name(connection, user) == "Committed"

    transaction = connection.transaction(isolation="repeatable_read")
    await transaction.start()
    await connection.execute("UPDATE users SET name = 'Lost' WHERE id = $1", user)
    assert await connection.fetchval("SELECT current_setting('transaction_isolation') FROM users WHERE id = $1", user) == (
        "repeatable read"
    )
    await transaction.rollback()
    assert await name(connection, user) == "Committed"

    async with connection.transaction():
        await connection.execute("UPDATE users SET name = 'Outer' WHERE id = $1", user)
        try:
            async with connection.transaction():
                await connection.execute("UPDATE users SET name = NULL WHERE id = $1", user)
            raise AssertionError("a NOT NULL column took NULL")
        except asyncpg.NotNullViolationError:
            pass
        assert await name(connection, user) == "Outer"
    assert await name(connection, user) == "Outer"
    await connection.close()


async def prepared_statements_over_fewer_servers():
    async def client(user, connection):
        statement = await connection.prepare("SELECT id, email FROM users WHERE id = $1")
        for turn in range(25):
            assert tuple(await statement.fetchrow(user)) == (user, f"user{user}@example.com")
            async with connection.transaction():
                await connection.execute(
                    "UPDATE orders SET note = $3 WHERE user_id = $1 AND order_no = $2", user, f"Y-{user}-1", f"turn {turn}"
                )
                note = await connection.fetchval(
                    "SELECT note FROM orders WHERE user_id = $1 AND order_no = $2", user, f"Y-{user}-1"
                )
                assert note == f"turn {turn}", note
        await connection.close()

    # All are connected before the first begins.
    connections = await asyncio.gather(*(asyncpg.connect() for _ in USERS))
    await asyncio.gather(*map(client, USERS, connections))


async def many_connections_of_a_pool_at_once():
    async with asyncpg.create_pool(min_size=CLIENTS, max_size=CLIENTS) as pool:

        async def read(user):
            assert await name(pool, user) is not None

        await asyncio.gather(*(read(user) for user in USERS for _ in range(10)))


async def pipelines():
    # executemany is asyncpg's pipeline: Bind and Execute for every row before one Sync, all or nothing.
    user = USERS[2]
    connection = await asyncpg.connect()
    insert = (
        "INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES ($1, $2, $3, 1, $3, 4.90)"
    )
    await connection.executemany(insert, [(user, f"Y-{user}-0", line) for line in range(1, 101)])
    total = "SELECT sum(quantity) FROM order_items WHERE user_id = $1"
    assert await connection.fetchval(total, user) == 5050
    try:
        await connection.executemany(insert, [(user, f"Y-{user}-0", line) for line in (101, 102, 1)])
        raise AssertionError("a duplicate line was taken")
    except asyncpg.UniqueViolationError:
        pass
    assert await connection.fetchval(total, user) == 5050
    await connection.close()


async def cursors_fetch_in_parts():
    user = USERS[2]
    connection = await asyncpg.connect()
    async with connection.transaction():
        query = "SELECT line_no FROM order_items WHERE user_id = $1 ORDER BY line_no"
        cursor = await connection.cursor(query, user)
        assert [row[0] for row in await cursor.fetch(7)] == list(range(1, 8))
        assert await cursor.forward(3) == 3
        assert (await cursor.fetchrow())[0] == 11
        # A second portal open at the same time.
        seen = [row[0] async for row in connection.cursor(query, user, prefetch=33)]
        assert seen == list(range(1, 101))
        assert [row[0] for row in await cursor.fetch(1000)] == list(range(12, 101))
    await connection.close()


async def copy_where_one_shard_is_concerned():
    user = USERS[2]
    connection = await asyncpg.connect()
    received = []

    async def sink(data):
        received.append(data)

    await connection.copy_from_query(
        f"SELECT line_no, price FROM order_items WHERE user_id = {user} ORDER BY line_no LIMIT 3", output=sink, format="csv"
    )
    assert b"".join(received) == b"1,4.90\n2,4.90\n3,4.90\n", received
    transaction = connection.transaction()
    await transaction.start()
    tag = await connection.copy_records_to_table(
        "audit_log", records=[("asyncpg", f"action {n}") for n in range(1000)], columns=["actor", "action"]
    )
    assert tag == "COPY 1000", tag
    assert await connection.fetchval("SELECT count(*) FROM audit_log WHERE actor = 'asyncpg'") == 1000
    await transaction.rollback()
    assert await connection.fetchval("SELECT count(*) FROM audit_log WHERE actor = 'asyncpg'") == 0
    await connection.close()


async def copy_over_several_shards():
    connection = await asyncpg.connect()
    received = []

    async def sink(data):
        received.append(data)

    transaction = connection.transaction()
    await transaction.start()
    records = [(user, "e", f"User {user}") for user in range(22000, 23000)]
    # asyncpg sends binary.
    columns = ["id", "email", "name", "created_at"]
    made = await connection.fetchval("SELECT now()")
    rows = [(*record, made) for record in records]
    assert await connection.copy_records_to_table("users", records=rows, columns=columns) == "COPY 1000"
    tag = await connection.copy_from_query(
        "SELECT id, name FROM users WHERE id >= $1 ORDER BY id", 22998, output=sink, format="csv"
    )
    assert (tag, b"".join(received)) == ("COPY 2", b"22998,User 22998\n22999,User 22999\n"), (tag, received)
    received.clear()
    await connection.copy_from_table("users", columns=["id"], output=sink)
    assert {int(line) for line in b"".join(received).split()} >= set(range(22000, 23000))
    await transaction.rollback()
    assert await connection.fetchval("SELECT count(*) FROM users WHERE id >= 22000") == 0
    await connection.close()


async def cancel_meets_only_the_own_statement():
    user = USERS[3]
    connection, bystander = await asyncpg.connect(), await asyncpg.connect()
    try:
        # A timeout makes asyncpg send a cancel request.
        await connection.fetch("SELECT pg_sleep(60) FROM users WHERE id = $1", user, timeout=0.5)
        raise AssertionError("nothing was cancelled")
    except asyncio.TimeoutError:
        pass
    assert await name(bystander, user) == f"User {user}"
    assert await name(connection, user) == f"User {user}"
    await connection.close()
    await bystander.close()


async def errors_keep_their_fields():
    user = USERS[4]
    connection = await asyncpg.connect()
    try:
        await connection.execute("INSERT INTO orders (user_id, order_no) VALUES ($1, $2)", user, f"Y-{user}-0")
        raise AssertionError("a duplicate was taken")
    except asyncpg.UniqueViolationError as error:
        assert error.constraint_name == "orders_order_no_key" and error.table_name == "orders", error.as_dict()
        assert error.detail == f"Key (order_no)=(Y-{user}-0) already exists.", error.detail
    try:
        await connection.fetch("SELEC 1")
        raise AssertionError("nonsense was run")
    except asyncpg.PostgresSyntaxError as error:
        assert error.position == "1", error.position
    if WEIR:
        try:
            await connection.fetch("SELECT id FROM orders FOR UPDATE")
            raise AssertionError("locks on all shards were granted")
        except asyncpg.FeatureNotSupportedError as error:
            assert error.hint, "a refusal has a hint"
    assert await name(connection, user) == f"User {user}"
    await connection.close()


async def settings_stay_with_their_client():
    connection = await asyncpg.connect(server_settings={"application_name": "driver test", "statement_timeout": "7s"})
    other = await asyncpg.connect()
    default = await other.fetchval("SHOW TimeZone")
    await connection.execute("SET TimeZone = 'Asia/Tokyo'")
    query = "SELECT current_setting('TimeZone'), current_setting('statement_timeout') FROM users WHERE id = $1"
    for user in USERS:
        assert tuple(await connection.fetchrow(query, user)) == ("Asia/Tokyo", "7s")
        assert tuple(await other.fetchrow(query, user)) == (default, "0")
    assert connection.get_settings().TimeZone == "Asia/Tokyo"
    assert await connection.fetchval("SHOW application_name") == "driver test"
    await connection.reset()
    assert await connection.fetchval("SHOW TimeZone") == default
    await connection.close()
    await other.close()


async def types_in_binary():
    user = USERS[5]
    connection = await asyncpg.connect()
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
        "jsonb": json.dumps({"a": [1, None]}),
        # A type that the driver must look up in the catalog, alone and in an array.
        "order_status": "paid",
        "order_status[]": ["new", "cancelled"],
    }
    for kind, value in values.items():
        row = await connection.fetchrow(f"SELECT $1::{kind}, NULL::{kind} FROM users WHERE id = $2", value, user)
        assert tuple(row) == (value, None), (kind, row)
    await connection.close()


async def main():
    for part in (
        crud_by_user,
        transactions_and_savepoints,
        prepared_statements_over_fewer_servers,
        many_connections_of_a_pool_at_once,
        pipelines,
        cursors_fetch_in_parts,
        copy_where_one_shard_is_concerned,
        copy_over_several_shards,
        cancel_meets_only_the_own_statement,
        errors_keep_their_fields,
        settings_stay_with_their_client,
        types_in_binary,
    ):
        await part()
        print(f"ok {part.__name__}", flush=True)


asyncio.run(main())
