//! The process: what it is, whether it serves, and what it takes of the machine, as the clients of Prometheus name it.

use std::fs;

use prometheus_client::registry::Unit;
use tokio::runtime::Handle;

use super::families::{Families, float};

/// Parts of a second in which Linux tells processor time, on every machine that it runs on (`USER_HZ`).
const TICKS: f64 = 100.0;

/// Which program this is, and whether it takes calls.
pub(super) fn about(families: &mut Families, is_ready: bool) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    families.info("starling_build", "The version that runs").put_text(&version);
    families
        .gauge("starling_ready", None, "1 while calls are taken, 0 while it starts or drains")
        .put(&[], is_ready.into());
}

/// The threads that everything runs on.
pub(super) fn runtime(families: &mut Families) {
    let metrics = Handle::current().metrics();
    let workers = metrics.num_workers();
    families.gauge("starling_runtime_workers", None, "Threads that run tasks").put(&[], workers as u64);
    let help = "Tasks: connections, most streams, and some besides";
    families.gauge("starling_runtime_tasks", None, help).put(&[], metrics.num_alive_tasks() as u64);
    let help = "Tasks that wait for a thread in the queue of all threads";
    families.gauge("starling_runtime_queued", None, help).put(&[], metrics.global_queue_depth() as u64);
    let busy: f64 = (0..workers).map(|worker| metrics.worker_total_busy_duration(worker).as_secs_f64()).sum();
    let help = "Time that threads were not waiting for work, all together";
    families.counter("starling_runtime_busy", Some(Unit::Seconds), help).put_float(&[], busy);
}

/// What Linux says of the process; nothing elsewhere.
pub(super) fn process(families: &mut Families) {
    let (Some(stat), Some(status)) = (read("/proc/self/stat"), read("/proc/self/status")) else { return };
    let Some(stat) = Stat::parse(&stat) else { return };
    let cpu = (stat.user + stat.system) / TICKS;
    families.counter("process_cpu", Some(Unit::Seconds), "Processor time").put_float(&[], cpu);
    if let Some(boot) = read("/proc/stat").and_then(|stat| field(&stat, "btime ")) {
        let help = "When the process began, in seconds since the Unix epoch";
        let start = float(boot) + stat.start / TICKS;
        families.gauge("process_start_time", Some(Unit::Seconds), help).put_float(&[], start);
    }
    let memory =
        [("VmRSS:", "process_resident_memory", "Memory"), ("VmSize:", "process_virtual_memory", "Address space")];
    for (name, family, help) in memory {
        let bytes = field(&status, name).unwrap_or_default() * 1_024;
        families.gauge(family, Some(Unit::Bytes), help).put(&[], bytes);
    }
    families.gauge("process_threads", None, "Threads").put(&[], field(&status, "Threads:").unwrap_or_default());
    families.gauge("process_open_fds", None, "Files that are open, connections included").put(&[], open_files());
    let allowed = rlimit::getrlimit(rlimit::Resource::NOFILE).map_or(0, |(allowed, _)| allowed);
    families.gauge("process_max_fds", None, "Files that may be open").put(&[], allowed);
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// The number in the line that begins with `name`.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Files that the process has open. Newer kernels tell their number as the size of the directory; to walk it would take
/// milliseconds where there are many.
fn open_files() -> u64 {
    const PATH: &str = "/proc/self/fd";
    match fs::metadata(PATH).map_or(0, |directory| directory.len()) {
        0 => fs::read_dir(PATH).map_or(0, |files| files.count() as u64),
        files => files,
    }
}

/// What `/proc/self/stat` says, in parts of a second.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stat {
    user: f64,
    system: f64,
    start: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The name of the program, in parentheses, may hold anything.
        let (_, rest) = text.rsplit_once(')')?;
        // The state is the third field of the whole.
        let fields: Vec<_> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse().ok();
        Some(Self { user: field(14)?, system: field(15)?, start: field(22)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_fields_are_found_behind_strange_names() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 3 0 1234 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { user: 250.0, system: 50.0, start: 1_234.0 }));
        assert_eq!(Stat::parse("7 (a) S 1"), None);
        assert_eq!(field("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
    }
}
