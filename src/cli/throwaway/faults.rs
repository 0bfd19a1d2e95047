//! What happens to servers: they are killed, hang, are shut down. `Postgres::restart` brings them back.
use super::Postgres;
use crate::cli::Failure;
use std::{
    fs,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

const END_TIMEOUT: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(2);

impl Postgres {
    /// kill -9 for all of the server's processes; the data stays until drop.
    pub fn kill(&mut self) -> Result<(), Failure> {
        let children = self.children()?;
        self.process.kill()?;
        self.process.wait()?;
        send("KILL", &children)?;
        wait_until_gone(&children)
    }

    /// Shuts the server down in order, with fast shutdown: clients are sent home with 57P01.
    pub fn stop(&mut self) -> Result<(), Failure> {
        self.signal("INT")?;
        self.process.wait()?;
        Ok(())
    }

    /// The server hangs: its lines stay open, new ones are taken by the kernel, and nobody answers.
    pub fn hang(&self) -> Result<(), Failure> {
        self.signal("STOP")?;
        let children = self.children()?;
        send("STOP", &children)?;
        // If we are killed, it has to go on to hear that it should end. Nobody waits for this script:
        // it is a child of init as soon as its shell has ended.
        let (us, server, children) = (std::process::id(), self.process.id(), words(&children));
        let script = format!("tail --pid={us} -f /dev/null; kill -s CONT {server} {children}");
        Command::new("sh")
            .args(["-c", &format!("({script}) &")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(())
    }

    /// A server that hangs goes on.
    pub fn go_on(&self) -> Result<(), Failure> {
        send("CONT", &self.children()?)?;
        self.signal("CONT")
    }

    /// The processes that the server has started.
    fn children(&self) -> Result<Vec<u32>, Failure> {
        let parent = self.process.id().to_string();
        let mut children = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            // It may have ended meanwhile. The name, in parentheses, may hold anything.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let after_name = stat.rsplit(')').next().unwrap_or_default();
            if after_name.split_whitespace().nth(1) == Some(&parent) {
                children.push(pid);
            }
        }
        Ok(children)
    }
}

/// Some of them may have ended meanwhile.
fn send(signal: &str, pids: &[u32]) -> Result<(), Failure> {
    if pids.is_empty() {
        return Ok(());
    }
    let pids = pids.iter().map(u32::to_string);
    Command::new("kill").args(["-s", signal]).args(pids).stderr(Stdio::null()).status()?;
    Ok(())
}

fn words(pids: &[u32]) -> String {
    pids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ")
}

/// Until then they hold the shared memory that a restarted server asks for.
fn wait_until_gone(pids: &[u32]) -> Result<(), Failure> {
    let deadline = Instant::now() + END_TIMEOUT;
    for pid in pids {
        while runs(*pid) {
            if Instant::now() > deadline {
                return Err(Failure::new(format!("process {pid} does not end")));
            }
            thread::sleep(POLL_INTERVAL);
        }
    }
    Ok(())
}

/// Whether the process does more than wait for its new parent to notice its end.
fn runs(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().split_whitespace().next();
    state.is_some_and(|state| state != "Z")
}
