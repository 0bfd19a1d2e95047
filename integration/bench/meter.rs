//! What a process has used: processor time, memory, system calls.
use crate::drive::Done;
use crate::weir::processor_time;
use std::fmt;
use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// What one case gave in one round.
pub struct Sample {
    pub done: Done,
    /// Unless nothing stands between.
    pub used: Option<Used>,
    /// Bytes for each client that said nothing, if there were any.
    pub idle_memory: Option<f64>,
}

impl Sample {
    /// Microseconds of processor time for each transaction, login or MB.
    pub fn cost(&self) -> Option<f64> {
        self.used.as_ref().map(|used| used.processor.as_secs_f64() * 1e6 / self.done.units)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.0}/s", self.done.each_second())?;
        match self.cost() {
            Some(cost) => write!(f, ", {cost:.1} µs each"),
            None => Ok(()),
        }
    }
}

/// In one round.
pub struct Used {
    pub processor: Duration,
    /// The most memory, in KiB.
    pub memory: u64,
}

/// A process while its round runs.
pub struct Usage {
    process: u32,
    before: Duration,
}

impl Usage {
    pub fn begin(process: u32) -> Self {
        // Documented in proc(5): the mark of most memory starts anew at what is in use.
        fs::write(format!("/proc/{process}/clear_refs"), "5").unwrap();
        Self { process, before: processor_time(process) }
    }

    pub fn end(self) -> Used {
        Used {
            processor: processor_time(self.process) - self.before,
            memory: memory(self.process, "VmHWM:"),
        }
    }
}

/// A process's own line on its memory, in KiB.
pub fn memory(process: u32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let size = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    size.trim().trim_end_matches(" kB").parse().unwrap()
}

/// strace, which counts.
pub struct CallCounter(Child);

impl CallCounter {
    const ATTACHING: Duration = Duration::from_millis(300);

    pub fn attach(process: u32) -> Self {
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-q", "-U", "calls,name", "-p", &process.to_string()]);
        let counting = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let counting = counting.spawn().expect("strace is installed");
        thread::sleep(Self::ATTACHING);
        Self(counting)
    }

    /// How many calls there were.
    pub fn detach(mut self) -> u64 {
        let told = Command::new("kill").args(["-s", "INT", &self.0.id().to_string()]).status();
        assert!(told.is_ok_and(|status| status.success()), "strace has ended");
        let mut summary = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut summary).unwrap();
        self.0.wait().unwrap();
        let total = summary.lines().rev().find_map(|line| line.trim().strip_suffix("total"));
        let total = total.unwrap_or_else(|| panic!("strace counted nothing:\n{summary}"));
        total.trim().parse().unwrap()
    }
}
