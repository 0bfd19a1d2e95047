//! The source's schema as pg_dump writes it: what comes before the rows, and what after them.
use super::Load;
use crate::backend::load::source::Source;
use crate::cli::Failure;
use crate::cli::throwaway::client_program;
use crate::sql::lexer::{Lexer, Token, name, tokens};
use crate::sql::split::split;
use std::process::Command;

/// pg_dump's sections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Section {
    /// Schemas, types, functions, tables, views, sequences.
    Before,
    /// Indexes, constraints, triggers, policies.
    After,
}

/// A statement of the section behind the rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Statement {
    pub text: String,
    pub kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// How the session is to read the others.
    Setting,
    /// An index, a primary key, a unique constraint: in any order, with others of its kind.
    Index,
    /// What may need everything before it.
    Other,
}

/// Why the schema cannot be read: there is no pg_dump, or one that is too old.
pub(super) fn missing(source: &Source) -> Option<String> {
    let install = format!("install it (apt-get install postgresql-client-{})", source.major);
    let ways = "or make the schema yourself and load with --data-only";
    let output = Command::new(client_program("pg_dump")).arg("--version").output();
    let Some(output) = output.ok().filter(|output| output.status.success()) else {
        return Some(format!("pg_dump is not found: {install}, {ways}"));
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let major = major(&text);
    match major {
        Some(major) if major >= source.major => None,
        Some(_) | None => Some(format!(
            "{} cannot read a PostgreSQL {} server: {install}, {ways}",
            text.trim(),
            source.major
        )),
    }
}

/// Of `pg_dump (PostgreSQL) 15.20 (Debian …)`, `… 19beta1`.
fn major(version: &str) -> Option<u32> {
    let number = version.split_once(") ")?.1;
    let end = number.find(|c: char| !c.is_ascii_digit()).unwrap_or(number.len());
    number.get(..end)?.parse().ok()
}

/// What pg_dump says of the snapshot that all rows are read in.
pub(super) fn dump(load: &Load, source: &Source, section: Section) -> Result<String, Failure> {
    let mut command = load.servers.command(client_program("pg_dump"));
    command.args(["--schema-only", "--encoding=UTF8", "--no-tablespaces", "--no-publications"]);
    command.args(["--no-subscriptions", "--exclude-schema=weir"]).args(&load.dump_options);
    command.arg(match section {
        Section::Before => "--section=pre-data",
        Section::After => "--section=post-data",
    });
    command.arg(format!("--snapshot={}", source.exported)).args(["--dbname", &load.from]);
    let output = command
        .output()
        .map_err(|error| Failure::new(format!("pg_dump cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim_end()));
    }
    let text = String::from_utf8(output.stdout)
        .map_err(|_| Failure::new("pg_dump wrote something that is not UTF-8"))?;
    Ok(for_servers(&text))
}

/// Without what is meant for psql, and fit for a database that has its `public` already.
fn for_servers(dump: &str) -> String {
    let mut text = dump.to_owned();
    // `\restrict KEY` … `\unrestrict KEY`: no line of a literal can be the first and the last of these.
    if let Some(start) = text.find("\n\\restrict ") {
        let end = text.get(start + 1..).and_then(|rest| rest.find('\n')).map(|at| start + 1 + at);
        let line = end.and_then(|end| text.get(start + 1..end)).unwrap_or_default().to_owned();
        let closing = line.replacen("restrict", "unrestrict", 1);
        text = text.replacen(&format!("\n{line}\n"), "\n", 1);
        if let Some(at) = text.rfind(&format!("\n{closing}\n")) {
            text.replace_range(at..at + closing.len() + 1, "");
        }
    }
    text.replacen("\nCREATE SCHEMA public;\n", "\nCREATE SCHEMA IF NOT EXISTS public;\n", 1)
}

/// The statements of the section behind the rows, without the foreign keys that are left out.
pub(super) fn statements(dump: &str, leave_out: &[String]) -> Result<Vec<Statement>, Failure> {
    let wrong = |error: crate::sql::lexer::SyntaxError| {
        Failure::new(format!("pg_dump's statements cannot be told apart: {}", error.message))
    };
    let mut found = Vec::new();
    for range in split(dump, true).map_err(wrong)? {
        let text = dump.get(range).unwrap_or_default();
        let words = tokens(text, true).map_err(wrong)?;
        if left_out(text, &words, leave_out) {
            continue;
        }
        // Comments say nothing to a server, and may change when nothing else does.
        let start = words.first().map_or(0, |word| word.start);
        let text = text.get(start..).unwrap_or_default().to_owned();
        let kind = kind(&text);
        found.push(Statement { text, kind });
    }
    Ok(found)
}

fn kind(text: &str) -> Kind {
    let words: Vec<String> = Lexer::new(text, true)
        .filter_map(Result::ok)
        .filter_map(|token| name(token, text))
        .collect();
    let has = |word: &str| words.iter().any(|it| it == word);
    match words.first().map(String::as_str) {
        Some("set") => Kind::Setting,
        Some("select") if has("set_config") => Kind::Setting,
        Some("create") if words.iter().take(3).any(|word| word == "index") => Kind::Index,
        // The word behind the constraint's name says what it is.
        Some("alter") => match is_key(text) {
            true => Kind::Index,
            false => Kind::Other,
        },
        Some(_) | None => Kind::Other,
    }
}

/// `ALTER TABLE ONLY t ADD CONSTRAINT c PRIMARY KEY …` or `UNIQUE …`
fn is_key(text: &str) -> bool {
    let words = tokens(text, true).unwrap_or_default();
    let behind = added(text, &words).and_then(|(at, _)| words.get(at + 1));
    behind.is_some_and(|word| word.is(text, "primary") || word.is(text, "unique"))
}

/// The name of the constraint that the statement adds, and which token it is.
fn added(text: &str, words: &[Token]) -> Option<(usize, String)> {
    let begins = words.first()?.is(text, "alter") && words.get(1)?.is(text, "table");
    let at = words.windows(2).position(|pair| match pair {
        [add, constraint] => add.is(text, "add") && constraint.is(text, "constraint"),
        _ => false,
    })?;
    let name = name(*words.get(at + 2)?, text)?;
    begins.then_some((at + 2, name))
}

/// Is it a foreign key of these names, or a comment on one?
fn left_out(text: &str, words: &[Token], names: &[String]) -> bool {
    let foreign = |at: usize| words.get(at + 1).is_some_and(|word| word.is(text, "foreign"));
    if let Some((at, name)) = added(text, words) {
        return foreign(at) && names.contains(&name);
    }
    let comment = ["comment", "on", "constraint"];
    let on = words.iter().zip(comment).filter(|(word, wanted)| word.is(text, wanted)).count() == 3;
    let of = words.get(3).and_then(|word| name(*word, text));
    on && of.is_some_and(|name| names.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUMP: &str = "--\n-- PostgreSQL database dump\n--\n\n\\restrict abc\n\nSET statement_timeout = 0;\n\
        SELECT pg_catalog.set_config('search_path', '', false);\n\n\
        -- Name: orders orders_pkey; Type: CONSTRAINT\n\
        ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);\n\
        CREATE UNIQUE INDEX \"add;constraint\" ON public.orders USING btree (lower(no));\n\
        ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT \"Fk\" FOREIGN KEY (a) REFERENCES public.t(id);\n\
        COMMENT ON CONSTRAINT \"Fk\" ON public.orders IS 'x\n\\restrict y\n';\n\
        ALTER TABLE ONLY public.orders\n    ADD CONSTRAINT other_fk FOREIGN KEY (b) REFERENCES public.t(id);\n\
        CREATE TRIGGER t BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION f();\n\n\
        \\unrestrict abc\n\n";

    #[test]
    fn statements_are_told_apart_by_what_they_need() {
        let text = for_servers(DUMP);
        assert!(!text.contains("restrict abc"), "{text}");
        let kinds = |leave_out: &[String]| -> Vec<(Kind, String)> {
            let statements = statements(&text, leave_out).unwrap_or_else(|e| panic!("{e}"));
            let begin = |text: &str| text.chars().take(20).collect::<String>();
            statements.iter().map(|it| (it.kind, begin(&it.text))).collect()
        };
        let all = kinds(&[]);
        let expected = [
            (Kind::Setting, "SET statement_timeou"),
            (Kind::Setting, "SELECT pg_catalog.se"),
            (Kind::Index, "ALTER TABLE ONLY pub"),
            (Kind::Index, "CREATE UNIQUE INDEX "),
            (Kind::Other, "ALTER TABLE ONLY pub"),
            (Kind::Other, "COMMENT ON CONSTRAIN"),
            (Kind::Other, "ALTER TABLE ONLY pub"),
            (Kind::Other, "CREATE TRIGGER t BEF"),
        ];
        let expected = expected.map(|(kind, text)| (kind, text.to_owned()));
        assert_eq!(all, expected);
        let some = kinds(&["Fk".to_owned(), "orders_pkey".to_owned()]);
        assert_eq!(some.len(), 6, "only the foreign key and its comment: {some:?}");
    }

    #[test]
    fn versions_are_read_as_pg_dump_writes_them() {
        assert_eq!(major("pg_dump (PostgreSQL) 15.20 (Debian 15.20-0+deb12u1)\n"), Some(15));
        assert_eq!(major("pg_dump (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major("something else"), None);
    }
}
