//! Values: `wire::value` against PostgreSQL's own input and output functions.
use crate::cluster::{Cluster, DATABASE};
use proptest::strategy::{Strategy, ValueTree};
use proptest::string::string_regex;
use proptest::test_runner::TestRunner;
use weir::error::Error;
use weir::ids::Oid;
use weir::wire::params::Value;
use weir::wire::value::{Decoded, ValueError, decode, key_text, oid};

/// A type's OID and name, its function from value to binary, and texts that look like its values.
const TYPES: &[(Oid, &str, &str, &str)] = &[
    (oid::INT2, "int2", "int2send", "[ \t]?[+-]?0{0,2}([0-9]{1,4}|3276[0-9])[ .x]?"),
    (oid::INT4, "int4", "int4send", "[ \t]?[+-]?([0-9]{1,9}|214748364[0-9]|9{11,30}x?)[ .]?"),
    (oid::INT8, "int8", "int8send", "[+ -]{0,2}([0-9]{1,18}|922337203685477580[0-9])[ \r\n]?"),
    (oid::OID, "oid", "oidsend", "[+-]?([1-9][0-9]{0,8}|42949672[0-9]{2}|2147483648|0)[ a]?"),
    (
        oid::NUMERIC,
        "numeric",
        "numeric_send",
        " ?[+-]?[0-9]{0,6}\\.?[0-9]{0,6}([eE][+-]?[0-9]{0,2})? ?",
    ),
    (oid::NUMERIC, "numeric", "numeric_send", "[+-]?0{0,5}\\.?0{0,5}[0-9]{0,12}(e-?[0-9]{1,2})?"),
    (oid::NUMERIC, "numeric", "numeric_send", " ?[+-]?(nan|NaN|inf|Infinity|infinit|infinityx) ?"),
    (oid::TEXT, "text", "textsend", " ?[a-zé'\\\\]{0,5} {0,2}"),
    (oid::VARCHAR, "varchar", "varcharsend", " ?[a-zé]{0,5} {0,2}"),
    (oid::BPCHAR, "bpchar", "bpcharsend", " ?[a-zé]{0,5}[ \t]{0,3}"),
    (oid::NAME, "name", "namesend", "[aé€]{0,70} ?"),
    (oid::UUID, "uuid", "uuid_send", "\\{?[0-9a-fA-F]{8}-?([0-9a-f]{4}-){3}[0-9a-f]{12}[}-]?"),
    (oid::UUID, "uuid", "uuid_send", "([0-9a-f]{4}-?){8}g?"),
    (
        oid::BOOL,
        "bool",
        "boolsend",
        " ?(t|TR|true|truex|y|yes|o|on|of|off|OFF|f|fals|n|no|1|0|10) ?",
    ),
    (oid::DATE, "date", "date_send", " ?[0-9]{4}-[01][0-9]-[0-3][0-9]( [+-]0[0-9])?"),
    (oid::DATE, "date", "date_send", "(19|20)[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"),
    (
        oid::TIMESTAMPTZ,
        "timestamptz",
        "timestamptz_send",
        "[0-9]{3}[1-9]-(0[1-9]|1[0-2])-[0-2][1-9][ T][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\\.[0-9]{1,7})?)? ?(Z|[+-][01][0-9](:?[0-5][0-9])?(:[0-5][0-9])?)",
    ),
];
const TEXTS_PER_LINE: usize = 200;

/// What PostgreSQL makes of a text: `!` and the SQLSTATE if it refuses.
const READ: &str = "
    CREATE FUNCTION pg_temp.read(text, type text, send text, OUT printed text, OUT sent bytea)
    LANGUAGE plpgsql AS $$ BEGIN
        EXECUTE format('SELECT v::text, %s(v) FROM (SELECT %L::%s AS v) AS t', send, $1, type)
            INTO printed, sent;
    EXCEPTION WHEN OTHERS THEN printed := '!' || SQLSTATE;
    END $$;
    SET datestyle = iso; SET timezone = utc";

#[tokio::test]
async fn values_are_read_as_postgresql_reads_them_or_left_to_it() {
    let cluster = Cluster::start(1);
    let config = cluster.shard(0).dsn(DATABASE);
    let (client, connection) =
        tokio_postgres::connect(&config, tokio_postgres::NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(READ).await.unwrap();

    let mut random = TestRunner::deterministic();
    let (mut compared, mut left_to_server) = (0, 0);
    for (type_oid, type_name, send, pattern) in TYPES {
        let strategy = string_regex(pattern).unwrap();
        let texts: Vec<String> = (0..TEXTS_PER_LINE)
            .map(|_| strategy.new_tree(&mut random).unwrap().current())
            .collect();
        let query = "SELECT (pg_temp.read(t, $2, $3)).* FROM unnest($1::text[]) AS t";
        let rows = client.query(query, &[&texts, type_name, send]).await.unwrap();
        assert_eq!(rows.len(), texts.len());
        for (text, row) in texts.iter().zip(rows) {
            let (printed, sent) = (row.get::<_, String>(0), row.get::<_, Option<Vec<u8>>>(1));
            match decode(Value::Text(text.as_bytes()), *type_oid) {
                Err(ValueError::NeedsServer { .. }) => left_to_server += 1,
                ours => {
                    compared += 1;
                    assert_eq!(printed_by_us(ours), printed, "{text:?} as {type_name}");
                }
            }
            if let Some(sent) = sent {
                let ours = decode(Value::Binary(&sent), *type_oid);
                assert_eq!(printed_by_us(ours), printed, "{sent:?} as {type_name}");
            }
        }
    }
    assert!(compared > 3 * left_to_server, "{compared} compared, {left_to_server} left out");
    drop(client);
    connection.await.unwrap().unwrap();
}

fn printed_by_us(decoded: Result<Decoded, ValueError>) -> String {
    match decoded {
        Ok(Decoded::Bool(value)) => value.to_string(),
        Ok(decoded) => key_text(&decoded).unwrap().into_owned(),
        Err(wrong) => format!("!{}", Error::from(wrong).code.as_str()),
    }
}
