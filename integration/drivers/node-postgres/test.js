// node-postgres against the server that the PG* variables name: weir, or plain PostgreSQL as the oracle.
import assert from "node:assert/strict";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import Cursor from "pg-cursor";
import copyStreams from "pg-copy-streams";

const WEIR = process.env.WEIR_PEER === "weir";
const CLIENTS = 8; // more than weir may open connections to a shard
const USERS = Array.from({ length: CLIENTS }, (_, index) => 7000 + index);

async function connected(work, options = {}) {
  const client = new pg.Client(options);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

async function name(client, user) {
  const { rows } = await client.query("SELECT name FROM users WHERE id = $1", [user]);
  return rows[0].name;
}

async function crudByUser() {
  await connected(async (client) => {
    for (const user of USERS) {
      await client.query("INSERT INTO users (id, email, name) VALUES ($1, $2, $3)", [
        user,
        `user${user}@example.com`,
        `User ${user}`,
      ]);
      // The simple protocol, literals in the text.
      await client.query(`INSERT INTO orders (user_id, order_no, total) VALUES
        (${user}, 'N-${user}-0', 10), (${user}, 'N-${user}-1', 11), (${user}, 'N-${user}-2', 12)`);
    }
    for (const user of USERS) {
      const { rows } = await client.query(
        "SELECT u.name, o.order_no, o.total FROM users u JOIN orders o ON o.user_id = u.id WHERE u.id = $1 ORDER BY 2",
        [user],
      );
      assert.deepEqual(
        rows,
        [0, 1, 2].map((line) => ({ name: `User ${user}`, order_no: `N-${user}-${line}`, total: `1${line}.00` })),
      );
    }
    const user = USERS[0];
    const updated = await client.query({
      text: "UPDATE orders SET status = 'paid' WHERE user_id = $1 AND order_no = $2 RETURNING status",
      values: [user, `N-${user}-0`],
      rowMode: "array",
    });
    assert.deepEqual(updated.rows, [["paid"]]);
    const deleted = await client.query(`DELETE FROM orders WHERE user_id = ${user} AND order_no = 'N-${user}-2'`);
    assert.equal(deleted.command, "DELETE");
    assert.equal(deleted.rowCount, 1);
  });
}

async function transactionsAndSavepoints() {
  const user = USERS[1];
  await connected(async (client) => {
    const rename = (to) => client.query("UPDATE users SET name = $2 WHERE id = $1", [user, to]);
    await client.query("BEGIN");
    await rename("Committed");
    await client.query("COMMIT");
    await client.query("BEGIN ISOLATION LEVEL SERIALIZABLE");
    await rename("Lost");
    await client.query("ROLLBACK");
    assert.equal(await name(client, user), "Committed");

    await client.query("BEGIN");
    await rename("Outer");
    await client.query("SAVEPOINT inner_one");
    await assert.rejects(rename(null), { code: "23502" });
    await assert.rejects(name(client, user), { code: "25P02" });
    await client.query("ROLLBACK TO SAVEPOINT inner_one");
    assert.equal(await name(client, user), "Outer");
    await client.query("RELEASE SAVEPOINT inner_one");
    await client.query("COMMIT");
    assert.equal(await name(client, user), "Outer");
    // Several statements in one message are one implicit transaction.
    await assert.rejects(
      client.query(`UPDATE users SET name = 'Lost' WHERE id = ${user}; SELECT 1/0 FROM users WHERE id = ${user}`),
      { code: "22012" },
    );
    assert.equal(await name(client, user), "Outer");
    const answers = await client.query(`SELECT id FROM users WHERE id = ${user}; SELECT name FROM users WHERE id = ${user}`);
    assert.deepEqual(
      answers.map((answer) => answer.rows),
      [[{ id: String(user) }], [{ name: "Outer" }]],
    );
  });
}

async function preparedStatementsOverFewerServers() {
  await Promise.all(
    USERS.map((user) =>
      connected(async (client) => {
        for (let turn = 0; turn < 25; turn += 1) {
          const read = await client.query({
            name: "read-user",
            text: "SELECT id, email FROM users WHERE id = $1",
            values: [user],
          });
          assert.deepEqual(read.rows, [{ id: String(user), email: `user${user}@example.com` }]);
          await client.query("BEGIN");
          await client.query({
            name: "note",
            text: "UPDATE orders SET note = $3 WHERE user_id = $1 AND order_no = $2",
            values: [user, `N-${user}-1`, `turn ${turn}`],
          });
          await client.query("COMMIT");
        }
        const { rows } = await client.query("SELECT note FROM orders WHERE user_id = $1 AND note IS NOT NULL", [user]);
        assert.deepEqual(rows, [{ note: "turn 24" }]);
      }),
    ),
  );
}

async function manyQueriesOfAPoolAtOnce() {
  const pool = new pg.Pool({ max: CLIENTS });
  await Promise.all(
    Array.from({ length: 80 }, (_, turn) => USERS[turn % CLIENTS]).map((user) => name(pool, user)),
  );
  await pool.end();
}

async function cursorsFetchInParts() {
  const user = USERS[2];
  await connected(async (client) => {
    await client.query("BEGIN");
    for (let line = 1; line <= 25; line += 1) {
      await client.query(
        "INSERT INTO order_items (user_id, order_no, line_no, product_id, quantity, price) VALUES ($1, $2, $3, 1, 1, 4.90)",
        [user, `N-${user}-0`, line],
      );
    }
    const text = "SELECT line_no FROM order_items WHERE user_id = $1 ORDER BY line_no";
    const cursor = client.query(new Cursor(text, [user]));
    const seen = [];
    for (let rows = await cursor.read(10); rows.length > 0; rows = await cursor.read(10)) {
      seen.push(rows.map((row) => row.line_no));
    }
    assert.deepEqual(seen.map((part) => part.length), [10, 10, 5]);
    assert.deepEqual(seen.flat(), Array.from({ length: 25 }, (_, index) => index + 1));
    const early = client.query(new Cursor(text, [user]));
    await early.read(3);
    await early.close();
    await client.query("COMMIT");
    assert.equal(await name(client, user), `User ${user}`);
  });
}

async function copyWhereOneShardIsConcerned() {
  const user = USERS[2];
  await connected(async (client) => {
    const out = client.query(
      copyStreams.to(`COPY (SELECT line_no FROM order_items WHERE user_id = ${user} ORDER BY 1 LIMIT 3) TO STDOUT`),
    );
    const chunks = [];
    for await (const chunk of out) chunks.push(chunk);
    assert.equal(Buffer.concat(chunks).toString(), "1\n2\n3\n");

    await client.query("BEGIN");
    const into = client.query(copyStreams.from("COPY audit_log (actor, action) FROM STDIN"));
    await pipeline(Readable.from(Array.from({ length: 1000 }, (_, n) => `node\taction ${n}\n`)), into);
    const { rows } = await client.query("SELECT count(*)::int AS n FROM audit_log WHERE actor = 'node'");
    assert.deepEqual(rows, [{ n: 1000 }]);
    await client.query("ROLLBACK");
  });
}

async function copyOverSeveralShards() {
  await connected(async (client) => {
    await client.query("BEGIN");
    const into = client.query(copyStreams.from("COPY users (id, email, name) FROM STDIN (FORMAT csv, HEADER)"));
    const lines = Array.from({ length: 1000 }, (_, n) => `${23000 + n},e,"User\n${23000 + n}"\n`);
    await pipeline(Readable.from(["id,email,name\n", ...lines]), into);
    assert.equal(into.rowCount, 1000);
    const chunks = [];
    const out = client.query(copyStreams.to("COPY (SELECT name FROM users WHERE id >= 23998 ORDER BY id) TO STDOUT"));
    for await (const chunk of out) chunks.push(chunk);
    assert.equal(Buffer.concat(chunks).toString(), "User\\n23998\nUser\\n23999\n");
    await client.query("ROLLBACK");
    const { rows } = await client.query("SELECT count(*)::int AS n FROM users WHERE id >= 23000");
    assert.deepEqual(rows, [{ n: 0 }]);
  });
}

async function cancelMeetsOnlyTheOwnStatement() {
  const user = USERS[3];
  await connected(async (client) =>
    connected(async (bystander) => {
      let running = true;
      const sleep = client.query("SELECT pg_sleep(60) FROM users WHERE id = $1", [user]).finally(() => {
        running = false;
      });
      const rejected = assert.rejects(sleep, { code: "57014" });
      while (running) {
        // A cancel before the statement runs does nothing: ask again.
        await new Promise((resolve) => {
          const { processID, secretKey } = client;
          const canceller = new pg.Client().connection;
          canceller.on("connect", () => canceller.cancel(processID, secretKey));
          canceller.on("error", resolve);
          canceller.on("end", resolve);
          canceller.connect(Number(process.env.PGPORT), process.env.PGHOST);
        });
        assert.equal(await name(bystander, user), `User ${user}`);
      }
      await rejected;
      assert.equal(await name(client, user), `User ${user}`);
    }),
  );
}

async function errorsKeepTheirFields() {
  const user = USERS[4];
  await connected(async (client) => {
    await assert.rejects(
      client.query("INSERT INTO orders (user_id, order_no) VALUES ($1, $2)", [user, `N-${user}-0`]),
      {
        code: "23505",
        severity: "ERROR",
        schema: "public",
        table: "orders",
        constraint: "orders_order_no_key",
        detail: `Key (order_no)=(N-${user}-0) already exists.`,
      },
    );
    await assert.rejects(client.query("SELEC 1"), { code: "42601", position: "1" });
    await assert.rejects(client.query("SELECT nothing_like_it FROM users WHERE id = $1", [user]), { code: "42703" });
    if (WEIR) {
      await assert.rejects(client.query("SELECT id FROM orders FOR UPDATE"), (error) => {
        assert.equal(error.code, "0A000");
        assert.ok(error.hint, "a refusal has a hint");
        return true;
      });
    }
    assert.equal(await name(client, user), `User ${user}`);
  });
}

async function settingsStayWithTheirClient() {
  await connected(
    async (client) =>
      connected(async (other) => {
        const settings = async (of, user) => {
          const text =
            "SELECT current_setting('search_path') AS path, current_setting('statement_timeout') AS timeout" +
            " FROM public.users WHERE id = $1";
          const { rows } = await of.query(text, [user]);
          return rows[0];
        };
        await client.query("SET search_path = pg_catalog, public");
        for (const user of USERS) {
          assert.deepEqual(await settings(client, user), { path: "pg_catalog, public", timeout: "7s" });
          assert.deepEqual(await settings(other, user), { path: '"$user", public', timeout: "0" });
        }
        assert.deepEqual((await client.query("SHOW search_path")).rows, [{ search_path: "pg_catalog, public" }]);
      }),
    { statement_timeout: 7000 },
  );
}

async function typesInTextAndBinary() {
  const user = USERS[5];
  const values = {
    int8: ["4611686018427387904", "4611686018427387904"],
    numeric: ["12345678901234567890.0001", "12345678901234567890.0001"],
    float8: [0.1, 0.1],
    text: ["naïve 'quotes' \\ and \u2603", "naïve 'quotes' \\ and \u2603"],
    bytea: [Buffer.from([0, 1, 254, 255]), Buffer.from([0, 1, 254, 255])],
    bool: [true, true],
    timestamptz: [new Date("2026-02-28T23:59:59.123Z"), new Date("2026-02-28T23:59:59.123Z")],
    "int4[]": [[1, null, 3], [1, null, 3]],
    jsonb: [{ a: [1, null] }, { a: [1, null] }],
    order_status: ["paid", "paid"],
  };
  await connected(async (client) => {
    for (const [type, [sent, expected]] of Object.entries(values)) {
      const text = `SELECT $1::${type} AS value, NULL::${type} AS nothing FROM users WHERE id = $2`;
      const { rows } = await client.query(text, [sent, user]);
      assert.deepEqual(rows, [{ value: expected, nothing: null }], type);
    }
    // Results in binary, as far as the driver reads them.
    const { rows } = await client.query({
      text: "SELECT id, true AS yes, 7::int4 AS seven FROM users WHERE id = $1",
      values: [user],
      binary: true,
    });
    assert.equal(Number(rows[0].id), user);
    assert.deepEqual([rows[0].yes, rows[0].seven], [true, 7]);
  });
}

for (const part of [
  crudByUser,
  transactionsAndSavepoints,
  preparedStatementsOverFewerServers,
  manyQueriesOfAPoolAtOnce,
  cursorsFetchInParts,
  copyWhereOneShardIsConcerned,
  copyOverSeveralShards,
  cancelMeetsOnlyTheOwnStatement,
  errorsKeepTheirFields,
  settingsStayWithTheirClient,
  typesInTextAndBinary,
]) {
  await part();
  console.log(`ok ${part.name}`);
}
