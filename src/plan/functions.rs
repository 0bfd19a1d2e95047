//! What calling a function means for where a statement may run.
//!
//! `builtins.txt` lists the functions of pg_catalog (PostgreSQL 15's pg_proc, later versions' additions, and
//! the special forms of the grammar) that are immutable or stable. The volatile ones are classified
//! here. What is in neither list must be known from the catalog, or is refused.
use super::Tie;
use super::catalog::{Function, Volatility};

/// Immutable and stable functions of pg_catalog: sorted, one a line.
const STEADY: &str = include_str!("builtins.txt");

/// What a call does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Reads nothing but its arguments and the transaction's settings.
    None,
    /// Reads the system catalogs or what the server is: OIDs are the home shard's.
    Catalog,
    /// Reads what the server does now: another one does something else, a replica, too.
    State,
    /// Another value each time, no trace left.
    Random,
    /// Sets a parameter of the session.
    Setting,
    /// Draws from a sequence.
    Sequence,
    /// Takes a lock that others on the home shard must meet.
    Lock,
    /// Takes a lock that the session keeps.
    SessionLock,
    /// Changes something outside of tables, on the home shard.
    Home,
    /// Remembers something of the session's earlier statements.
    Remembers,
    /// Runs text as SQL, or reads whole tables that the statement does not name.
    HiddenTables,
}

/// The effect of a pg_catalog function; `None`: there is no such function.
pub fn builtin(name: &str) -> Option<Effect> {
    if let Some(effect) = volatile(name) {
        return Some(effect);
    }
    steady(name).then(|| match reads_catalog(name) {
        true => Effect::Catalog,
        false => Effect::None,
    })
}

/// A user's function, as the catalog knows it. `None`: it may read or write any table.
pub fn user(function: &Function) -> Option<Effect> {
    match function.volatility {
        Volatility::Immutable => Some(Effect::None),
        // Functions of extensions: they compute, and do not run SQL, as far as they are stable.
        Volatility::Stable if function.compiled => Some(Effect::None),
        Volatility::Volatile if function.compiled && GENERATORS.contains(&&*function.name) => {
            Some(Effect::Random)
        }
        Volatility::Stable | Volatility::Volatile => None,
    }
}

impl Effect {
    /// What the call ties the session to.
    pub fn tie(self) -> Option<Tie> {
        match self {
            Effect::SessionLock => Some(Tie::AdvisoryLock),
            Effect::None
            | Effect::Catalog
            | Effect::State
            | Effect::Random
            | Effect::Setting
            | Effect::Sequence
            | Effect::Lock
            | Effect::Home
            | Effect::Remembers
            | Effect::HiddenTables => None,
        }
    }
}

/// Volatile functions of well-known extensions (uuid-ossp, pgcrypto) that only make a value.
const GENERATORS: &[&str] = &[
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
];

/// The volatile functions of pg_catalog.
fn volatile(name: &str) -> Option<Effect> {
    Some(match name {
        "random" | "random_normal" | "clock_timestamp" | "timeofday" | "gen_random_uuid"
        | "uuidv4" | "uuidv7" | "array_sample" | "array_shuffle" | "setseed" | "pg_sleep"
        | "pg_sleep_for" | "pg_sleep_until" | "current_query" => Effect::Random,
        "set_config" => Effect::Setting,
        "nextval" | "setval" => Effect::Sequence,
        "currval" | "lastval" => Effect::Remembers,
        "pg_advisory_xact_lock"
        | "pg_advisory_xact_lock_shared"
        | "pg_try_advisory_xact_lock"
        | "pg_try_advisory_xact_lock_shared"
        // Heard when the transaction commits, and undone with it.
        | "pg_notify"
        // Giving back what the session does not hold ties it to nothing; drivers' pools do it to
        // each connection that they get back.
        | "pg_advisory_unlock"
        | "pg_advisory_unlock_shared"
        | "pg_advisory_unlock_all" => Effect::Lock,
        "pg_advisory_lock"
        | "pg_advisory_lock_shared"
        | "pg_try_advisory_lock"
        | "pg_try_advisory_lock_shared" => Effect::SessionLock,
        "query_to_xml"
        | "query_to_xmlschema"
        | "query_to_xml_and_xmlschema"
        | "cursor_to_xml"
        | "cursor_to_xmlschema"
        | "table_to_xml"
        | "table_to_xmlschema"
        | "table_to_xml_and_xmlschema"
        | "schema_to_xml"
        | "schema_to_xmlschema"
        | "schema_to_xml_and_xmlschema"
        | "database_to_xml"
        | "database_to_xmlschema"
        | "database_to_xml_and_xmlschema"
        | "ts_stat" => Effect::HiddenTables,
        // Also runs a query, in one of its forms.
        "ts_rewrite" => Effect::HiddenTables,
        "pg_blocking_pids"
        | "pg_safe_snapshot_blocking_pids"
        | "pg_collation_actual_version"
        | "pg_database_collation_actual_version"
        | "pg_database_size"
        | "pg_indexes_size"
        | "pg_relation_size"
        | "pg_table_size"
        | "pg_total_relation_size"
        | "pg_tablespace_size"
        | "pg_is_in_recovery"
        | "pg_is_wal_replay_paused"
        | "pg_current_wal_lsn"
        | "pg_current_wal_insert_lsn"
        | "pg_current_wal_flush_lsn"
        | "pg_last_wal_receive_lsn"
        | "pg_last_wal_replay_lsn"
        | "pg_last_xact_replay_timestamp"
        | "pg_last_committed_xact"
        | "pg_lock_status"
        | "pg_partition_ancestors"
        | "pg_partition_tree"
        | "pg_prepared_xact"
        | "pg_sequence_last_value"
        | "pg_show_all_file_settings"
        | "pg_hba_file_rules"
        | "pg_ident_file_mappings"
        | "pg_xact_commit_timestamp"
        | "pg_xact_status"
        | "txid_status"
        | "pg_jit_available"
        | "pg_current_logfile"
        | "pg_notification_queue_usage"
        // Stable, but only where transactions get ids.
        | "pg_current_xact_id"
        | "txid_current" => Effect::State,
        name if HOME_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => Effect::Home,
        "pg_cancel_backend"
        | "pg_terminate_backend"
        | "pg_reload_conf"
        | "pg_rotate_logfile"
        | "pg_export_snapshot"
        | "pg_promote"
        | "pg_switch_wal"
        | "pg_backup_start"
        | "pg_backup_stop"
        | "pg_create_restore_point"
        | "pg_log_backend_memory_contexts"
        | "pg_logical_emit_message"
        | "pg_import_system_collations"
        | "loread"
        | "lowrite"
        | "gin_clean_pending_list"
        | "brin_desummarize_range"
        | "brin_summarize_new_values"
        | "brin_summarize_range" => Effect::Home,
        _ => return None,
    })
}

/// Families of volatile functions that concern the server they run on.
const HOME_PREFIXES: &[&str] = &[
    "lo_",
    "pg_stat_",
    "pg_replication_",
    "pg_logical_",
    "pg_create_logical",
    "pg_create_physical",
    "pg_copy_logical",
    "pg_copy_physical",
    "pg_drop_replication",
    "pg_wal_replay_",
    "pg_read_",
    "pg_ls_",
    "pg_control_",
];

fn steady(name: &str) -> bool {
    let lines: &[&str] = steady_names();
    lines.binary_search(&name).is_ok()
}

fn steady_names() -> &'static [&'static str] {
    static NAMES: std::sync::LazyLock<Vec<&'static str>> =
        std::sync::LazyLock::new(|| STEADY.lines().collect());
    &NAMES
}

/// Names of functions whose answers are about the server's catalogs, connections or identity.
fn reads_catalog(name: &str) -> bool {
    const PREFIXES: &[&str] =
        &["pg_", "has_", "to_reg", "inet_server", "inet_client", "txid_", "current_schema"];
    const NAMES: &[&str] = &[
        "version",
        "current_database",
        "current_catalog",
        "current_setting",
        "col_description",
        "obj_description",
        "shobj_description",
        "format_type",
        "row_security_active",
        "getdatabaseencoding",
    ];
    const PLAIN: &[&str] = &["pg_typeof", "pg_column_size", "pg_client_encoding", "pg_size_pretty"];
    !PLAIN.contains(&name)
        && (NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_free_of_volatile_functions() {
        assert!(steady_names().is_sorted());
        for name in steady_names() {
            if let Some(effect) = volatile(name) {
                assert_ne!(effect, Effect::Random, "{name}");
                assert_ne!(effect, Effect::Sequence, "{name}");
            }
        }
    }

    #[test]
    fn well_known_functions_have_their_effects() {
        for (name, effect) in [
            ("lower", Some(Effect::None)),
            ("count", Some(Effect::None)),
            ("now", Some(Effect::None)),
            ("coalesce", Some(Effect::None)),
            ("pg_typeof", Some(Effect::None)),
            ("version", Some(Effect::Catalog)),
            ("pg_get_viewdef", Some(Effect::Catalog)),
            ("random", Some(Effect::Random)),
            ("nextval", Some(Effect::Sequence)),
            ("pg_advisory_lock", Some(Effect::SessionLock)),
            ("lo_unlink", Some(Effect::Home)),
            ("pg_notify", Some(Effect::Lock)),
            ("query_to_xml", Some(Effect::HiddenTables)),
            ("my_function", None),
        ] {
            assert_eq!(builtin(name), effect, "{name}");
        }
    }
}
