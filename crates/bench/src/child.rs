//! The server that is measured: a process of its own, so that what it uses is its own.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use super::access::Access;
use crate::error::BenchError;

/// How often memory is looked at, and how many times at most.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS: u32 = 50;
/// Memory is at rest when it has changed by less than so many bytes, so many times.
const STILL: u64 = 64 * 1024;
const ENOUGH: u32 = 5;

/// The server that is measured, when it is not beside this program.
const PROGRAM: &str = "STARLING_BIN";

/// A server that was started; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    /// Where its metrics are, if they are to be scraped.
    pub(crate) admin: Option<SocketAddr>,
    /// Kept open: a server that logs must not fail for it.
    _says: BufReader<ChildStdout>,
}

/// What a process has used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Processor time, user and system, of all threads.
    pub(crate) cpu: Duration,
    /// Memory now, and at most so far, in bytes.
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

impl Server {
    /// Starts Starling.
    pub(crate) fn starling(access: &Access) -> Result<Self, BenchError> {
        let beside = || Ok::<_, BenchError>(std::env::current_exe()?.with_file_name("starling"));
        let program = std::env::var_os(PROGRAM).map_or_else(beside, |program| Ok(PathBuf::from(program)))?;
        if !program.is_file() {
            let program = program.display();
            return Err(BenchError(format!(
                "there is no {program}: build it (`cargo build`), or name it by {PROGRAM}"
            )));
        }
        let admin = if access.features.metrics { Some(free_address()?) } else { None };
        let mut command = Command::new(&program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--log-format", "human"]);
        Self::start(command, access.settings(admin), admin)
    }

    /// Starts a baseline, which this executable serves.
    pub(crate) fn baseline(name: &str, access: &Access) -> Result<Self, BenchError> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["serve", name]).args(access.arguments());
        Self::start(command, Vec::new(), None)
    }

    /// Starts a program with these settings of the environment and no others. Its first line ends with the address.
    fn start(
        mut command: Command,
        settings: Vec<(&'static str, OsString)>,
        admin: Option<SocketAddr>,
    ) -> Result<Self, BenchError> {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("STARLING") {
                command.env_remove(name);
            }
        }
        // Its end tells the baselines that nobody measures any more.
        command.envs(settings).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut says = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let mut first = String::new();
        says.read_line(&mut first)?;
        match first.trim_end().rsplit(' ').next().and_then(|address| address.parse().ok()) {
            Some(address) => Ok(Self { child, address, admin, _says: says }),
            None => {
                child.kill()?;
                child.wait()?;
                Err(BenchError(format!("the server does not name its address: {first:?}")))
            }
        }
    }

    pub(crate) fn usage(&self) -> Option<Usage> {
        usage(&self.child.id().to_string())
    }

    /// What it has used when its memory has come to rest, or has not for long.
    pub(crate) async fn settled(&self) -> Option<Usage> {
        let (mut last, mut still) = (self.usage()?, 0);
        for _ in 0..LOOKS {
            sleep(LOOK).await;
            let now = self.usage()?;
            still = if now.resident.abs_diff(last.resident) < STILL { still + 1 } else { 0 };
            last = now;
            if still == ENOUGH {
                break;
            }
        }
        Some(last)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that is gone already is as good.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// An address that is free now. Whoever takes it meanwhile is told of: the server does not start then.
fn free_address() -> Result<SocketAddr, BenchError> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// What a process has used, by its id or `self`; `None` without a Linux /proc.
pub(crate) fn usage(process: &str) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let ticks = ticks(&stat)?;
    let per_second = rustix::param::clock_ticks_per_second();
    let cpu = Duration::from_nanos(ticks.saturating_mul(1_000_000_000 / per_second.max(1)));
    Some(Usage { cpu, resident: kibibytes(&status, "VmRSS:")?, peak: kibibytes(&status, "VmHWM:")? })
}

/// Processor time between two looks, in seconds.
pub(crate) fn spent(from: Option<Usage>, to: Option<Usage>) -> Option<f64> {
    Some(to?.cpu.saturating_sub(from?.cpu).as_secs_f64())
}

/// Clock ticks in user and system mode, of a /proc/PID/stat.
fn ticks(stat: &str) -> Option<u64> {
    // The name of the program may hold anything, also spaces and parentheses.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
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
    fn processor_time_is_parsed_after_any_process_name() {
        let stat = "12 (a ) (b) S 1 12 12 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 3 0 100 1 2 3";
        assert_eq!(ticks(stat), Some(300));
        assert_eq!(ticks("12 (a) S 1"), None);
    }

    #[test]
    fn sizes_are_in_bytes() {
        let status = "Name:\tstarling\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(kibibytes(status, "VmRSS:"), Some(1 << 20));
        assert_eq!(kibibytes(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kibibytes(status, "VmSwap:"), None);
    }
}
