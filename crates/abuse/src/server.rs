//! The server under attack: a process of its own, what it uses and what it says.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::error::AbuseError;
use crate::settings::without_settings;

/// The server under attack, when it is not beside this program.
const PROGRAM: &str = "STARLING_BIN";
/// Different lines of the log that are kept.
const LINES: usize = 64;
/// Characters that are kept of an error.
const WHY: usize = 40;

/// Where the server is: named by the environment, or beside this program.
pub(crate) fn program() -> Result<PathBuf, AbuseError> {
    let beside = || Ok::<_, AbuseError>(std::env::current_exe()?.with_file_name("starling"));
    let program = std::env::var_os(PROGRAM).map_or_else(beside, |program| Ok(PathBuf::from(program)))?;
    if program.is_file() {
        return Ok(program);
    }
    let program = program.display();
    Err(AbuseError(format!("there is no {program}: build it (`cargo build`), or name it by {PROGRAM}")))
}

/// What the server has logged since it was last asked: how often each line came.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<BTreeMap<String, u64>>>);

impl Log {
    fn note(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES || lines.contains_key(&line) {
            *lines.entry(line).or_default() += 1;
        }
    }

    fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A server that was started; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: Log,
    /// Kept open: a server that speaks must not fail for it.
    _says: BufReader<ChildStdout>,
}

/// Memory of a process in bytes: now, and at most since [`Server::forget_peak`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Server {
    /// Starts the program with these variables, on a free port.
    pub(crate) fn start(program: &Path, environment: &[(String, String)]) -> Result<Self, AbuseError> {
        let mut command = without_settings(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "info", "--log-format", "json"]);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut says = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let logs = BufReader::new(child.stderr.take().expect("standard error is a pipe"));
        let log = Log::default();
        let kept = log.clone();
        // Ends with the server. A log that nobody takes would stop it.
        std::thread::spawn(move || keep(logs, &kept));
        match address(&mut says)? {
            Some(address) => Ok(Self { child, address, log, _says: says }),
            None => {
                child.kill()?;
                child.wait()?;
                let why: Vec<_> = log.take().into_keys().collect();
                Err(AbuseError(format!("the server did not start: {}", why.join(", "))))
            }
        }
    }

    /// How it ended; `None` while it lives.
    pub(crate) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }

    /// What it uses; `None` when it is gone.
    pub(crate) fn memory(&self) -> Option<Memory> {
        memory(&std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?)
    }

    /// Has the kernel count the peak from now on. Where it does not, the peak is that since the start.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").ok();
    }

    /// What it has logged since the last call: how often each line came.
    pub(crate) fn logged(&self) -> BTreeMap<String, u64> {
        self.log.take()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Reads up to the line that names the address; `None` at the end.
fn address(says: &mut BufReader<ChildStdout>) -> Result<Option<SocketAddr>, AbuseError> {
    let mut line = String::new();
    while says.read_line(&mut line)? > 0 {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if entry["message"] == "listening" {
            return Ok(entry["address"].as_str().and_then(|address| address.parse().ok()));
        }
        line.clear();
    }
    Ok(None)
}

fn keep(mut says: impl BufRead, log: &Log) {
    let mut line = String::new();
    while says.read_line(&mut line).is_ok_and(|read| read > 0) {
        if let Some(line) = shortened(&line) {
            log.note(line);
        }
        line.clear();
    }
}

/// Level, message and reason of a line of the log; what differs from line to line is left out.
fn shortened(line: &str) -> Option<String> {
    let entry: Value = serde_json::from_str(line).ok()?;
    let text = |key: &str| entry[key].as_str();
    let key = text("key").map_or_else(String::new, |key| format!(" {key}"));
    let message = format!("{} {}{key}", text("level")?, text("message")?);
    let why = ["reason", "error", "problem", "budget"].into_iter().find_map(text);
    let first = |why: &str| why.chars().take(WHY).collect::<String>();
    Some(why.map_or_else(|| message.clone(), |why| format!("{message}: {}", first(why))))
}

fn memory(status: &str) -> Option<Memory> {
    Some(Memory { resident: kibibytes(status, "VmRSS:")?, peak: kibibytes(status, "VmHWM:")? })
}

/// A size in a /proc/PID/status, in bytes.
fn kibibytes(status: &str, name: &str) -> Option<u64> {
    let size = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_bytes() {
        let read = memory("Name:\tstarling\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n").unwrap();
        assert_eq!((read.resident, read.peak), (1 << 20, 2 << 20));
        assert!(memory("Name:\tstarling\n").is_none());
    }

    #[test]
    fn lines_of_the_log_are_shortened() {
        let line = r#"{"level":"WARN","message":"a reader was cut","reason":"SENDING_MEMORY","peer":"127.0.0.1:1"}"#;
        assert_eq!(shortened(line).as_deref(), Some("WARN a reader was cut: SENDING_MEMORY"));
        assert_eq!(shortened(r#"{"level":"INFO","message":"drained"}"#).as_deref(), Some("INFO drained"));
        assert_eq!(shortened("not JSON"), None);
    }

    #[test]
    fn same_lines_are_counted_together() {
        let log = Log::default();
        ["a", "b", "a"].into_iter().for_each(|line| log.note(line.into()));
        assert_eq!(log.take(), BTreeMap::from([("a".into(), 2), ("b".into(), 1)]));
        assert!(log.take().is_empty());
    }
}
