//! Replicas of a throwaway server: a base backup that streams from it, until it is promoted.
use super::{Farm, POLL_INTERVAL, Postgres, START_TIMEOUT, Starting};
use crate::cli::Failure;
use std::{
    thread,
    time::{Duration, Instant},
};

impl Farm {
    /// Copies a running server and begins to start the copy as its streaming replica, on a free port.
    /// Its name must be new. The primary knows it under this name (pg_stat_replication).
    pub fn start_replica(&self, name: &str, of: &Postgres) -> Result<Starting, Failure> {
        let primary = format!(
            "host={} port={} user=postgres application_name={name}",
            self.folder.display(),
            of.port
        );
        let output = self
            .programs
            .command("pg_basebackup")
            .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "-d", &primary, "-D"])
            .arg(self.folder.join(name))
            .current_dir("/")
            .output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("pg_basebackup of {} failed: {text}", of.name)));
        }
        self.start(name, None)
    }
}

impl Postgres {
    /// Makes a replica a primary on a timeline of its own; returns when it may be written to.
    pub fn promote(&self) -> Result<(), Failure> {
        let limit = START_TIMEOUT.as_secs();
        match self.sql("postgres", &format!("SELECT pg_promote(true, {limit})"))?.as_str() {
            "t" => Ok(()),
            _ => Err(Failure::new(format!("PostgreSQL {} was not promoted in time", self.name))),
        }
    }

    /// Waits until a replica has replayed everything that its primary has written so far.
    pub fn catch_up(&self, primary: &Postgres) -> Result<(), Failure> {
        let written = primary.sql("postgres", "SELECT pg_current_wal_flush_lsn()")?;
        let caught_up = format!("SELECT pg_last_wal_replay_lsn() >= '{written}'");
        let deadline = Instant::now() + START_TIMEOUT;
        while self.sql("postgres", &caught_up)? != "t" {
            if Instant::now() > deadline {
                let message = format!("PostgreSQL {} has not replayed {written}", self.name);
                return Err(Failure::new(message));
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }

    /// From now on a replica applies nothing of what it receives. Returns when that is so.
    pub fn pause_replay(&self) -> Result<(), Failure> {
        self.sql("postgres", "SELECT pg_wal_replay_pause()")?;
        let deadline = Instant::now() + START_TIMEOUT;
        while self.sql("postgres", "SELECT pg_get_wal_replay_pause_state()")? != "paused" {
            if Instant::now() > deadline {
                return Err(Failure::new(format!("PostgreSQL {} still replays", self.name)));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    pub fn resume_replay(&self) -> Result<(), Failure> {
        self.sql("postgres", "SELECT pg_wal_replay_resume()").map(drop)
    }
}
