//! `weir import`: PgBouncer's configuration as weir's own files.
use super::Failure;
use crate::server::config::Config;
use crate::server::pgbouncer::{self, Translation};
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  weir import /etc/pgbouncer/pgbouncer.ini --output /etc/weir     writes weir.toml and a rules file for each database
  weir serve --config /etc/weir/weir.toml                         serves them
`weir serve pgbouncer.ini` does the same without writing anything. docs/pgbouncer.md says what becomes of each setting.")]
pub struct Args {
    /// PgBouncer's configuration.
    #[arg(value_name = "PGBOUNCER.INI")]
    file: PathBuf,
    /// Where to write.
    #[arg(long, short, default_value = ".", value_name = "FOLDER")]
    output: PathBuf,
    /// Replace files that are there.
    #[arg(long)]
    force: bool,
}

pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Translation { weir_toml, rules, warnings } =
        pgbouncer::translate(&args.file).map_err(|problems| {
            let place = args.file.display();
            Failure::new(format!("{place} cannot be imported as it is\n{problems}"))
                .hint("docs/pgbouncer.md says what weir does instead")
        })?;
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    let files: Vec<(PathBuf, &str)> = std::iter::once(("weir.toml", weir_toml.as_str()))
        .chain(rules.iter().map(|file| (file.name.as_str(), file.text.as_str())))
        .map(|(name, text)| (args.output.join(name), text))
        .collect();
    if let Some((there, _)) = files.iter().find(|(path, _)| !args.force && path.exists()) {
        return Err(Failure::new(format!("{} is there already", there.display()))
            .hint("--force replaces it, --output FOLDER writes elsewhere"));
    }
    fs::create_dir_all(&args.output)?;
    for (path, text) in &files {
        write(path, text).map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        println!("wrote {}", path.display());
    }
    let written = args.output.join("weir.toml");
    Config::load(&written)
        .map_err(|problems| Failure::new(format!("what was written has problems\n{problems}")))?;
    println!("serve it with: weir serve --config {}", written.display());
    Ok(ExitCode::SUCCESS)
}

/// Nobody else reads it: it may hold passwords. It is there as a whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}
