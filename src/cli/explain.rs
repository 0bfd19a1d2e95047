//! `weir explain`: where a statement would go and why, without any server.
use super::Failure;
use super::check::load;
use crate::plan::{Catalog, Context, explain};
use crate::wire::params::{Params, Value};
use std::{fs, path::PathBuf, process::ExitCode};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weir explain --rules rules/shop/rules.toml \"SELECT * FROM orders WHERE user_id = 42\"
  weir explain --rules rules/shop/rules.toml --schema rules/shop/schema.sql \\
      'INSERT INTO users VALUES ($1, $2, $3)' 42 ada@example.org Ada
EXPLAIN (WEIR) says the same on a client's connection.")]
pub struct Args {
    /// The rules file.
    #[arg(long, value_name = "FILE")]
    rules: PathBuf,
    /// CREATE statements (pg_dump --schema-only): then names are resolved as PostgreSQL would.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// The search_path that names are looked up in.
    #[arg(long, value_name = "SCHEMAS", default_value = "\"$user\", public")]
    search_path: String,
    /// The user that "$user" in the search_path stands for.
    #[arg(long, value_name = "NAME", default_value = "postgres")]
    user: String,
    /// The statement.
    #[arg(value_name = "SQL")]
    statement: String,
    /// The values of $1, $2 …, as text; NULL is NULL.
    #[arg(value_name = "PARAMETER", allow_negative_numbers = true)]
    parameters: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let rules = load(&args.rules)?;
    let catalog = match &args.schema {
        None => Catalog::default(),
        Some(file) => {
            let name = file.display();
            let text = fs::read_to_string(file)
                .map_err(|error| Failure::new(format!("{name}: {error}")))?;
            Catalog::from_ddl(&text).map_err(|error| {
                Failure::new(format!("{name}: {}", crate::error::Error::from(error).message))
            })?
        }
    };
    let values: Vec<Value<'_>> = args
        .parameters
        .iter()
        .map(|text| match text.as_str() {
            "NULL" => Value::Null,
            text => Value::Text(text.as_bytes()),
        })
        .collect();
    let context = Context {
        rules: &rules,
        catalog: &catalog,
        search_path: &args.search_path,
        user: &args.user,
        standard_conforming_strings: true,
        temporary: &[],
        named_shard: None,
    };
    let statement = args.statement.trim_end().trim_end_matches(';');
    println!("{}", explain(statement, &context, &Params { types: &[], values: &values }));
    Ok(ExitCode::SUCCESS)
}
