//! The goodbye: a handle that everything long-lived watches, and the signals that set it off.

use std::{fmt, io, process, sync::Arc, thread};

use tokio::runtime;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Tells when the server drains, and counts the streams that are still open. Cloning it is shallow.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    shared: Arc<Shared>,
}

/// One open stream; dropping it, for whatever reason the stream ended, takes it off the count.
#[derive(Debug)]
#[must_use = "a stream counts as open for as long as its guard lives"]
pub struct StreamGuard {
    shared: Arc<Shared>,
}

/// A request to end the process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// What service managers and Kubernetes send.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

#[derive(Debug, Default)]
struct Shared {
    draining: CancellationToken,
    /// A watch rather than a counter and a notification: a waiter reads the count and subscribes to it in one step, so
    /// that no change falls in between.
    open_streams: watch::Sender<usize>,
}

/// Installed before the first signal is awaited, so that a second one right behind it is not lost.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    /// `None` where whoever started the process has it ignored, as `nohup` does.
    #[cfg(unix)]
    hangup: Option<tokio::signal::unix::Signal>,
}

impl Shutdown {
    /// A handle that does not drain yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts the drain. Doing so again changes nothing.
    pub fn begin(&self) {
        self.shared.draining.cancel();
    }

    /// Counts a stream as open until the guard is dropped.
    pub fn track(&self) -> StreamGuard {
        self.shared.open_streams.send_modify(|open| *open += 1);
        StreamGuard { shared: Arc::clone(&self.shared) }
    }

    /// Resolves when the drain starts, at once if it has. The future borrows nothing, so that a stream can own it.
    pub fn draining(&self) -> WaitForCancellationFutureOwned {
        self.shared.draining.clone().cancelled_owned()
    }

    /// Whether the drain has started.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shared.draining.is_cancelled()
    }

    /// The number of streams that are open now.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        *self.shared.open_streams.borrow()
    }

    /// Resolves when no stream is open, at once if none is.
    pub async fn idle(&self) {
        let mut open_streams = self.shared.open_streams.subscribe();
        // An error would mean that the sender is gone, and it lives in `self`.
        open_streams.wait_for(|open| *open == 0).await.ok();
    }

    /// From now on hears SIGTERM, SIGINT and SIGHUP (Ctrl-C where there are no such signals): the answer resolves on
    /// the first one. From then on a second one exits the process at once, with status 130.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn signals() -> io::Result<impl Future<Output = io::Result<Signal>>> {
        Self::signals_with(|| ())
    }

    /// [`Self::signals`], with something to be done before the second one exits the process.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub fn signals_with(last: impl FnOnce() + Send + 'static) -> io::Result<impl Future<Output = io::Result<Signal>>> {
        let signals = Signals::install()?;
        Ok(Self::first(signals, last))
    }

    async fn first(mut signals: Signals, last: impl FnOnce() + Send + 'static) -> io::Result<Signal> {
        let first = signals.next().await?;

        // A thread with a runtime of its own: the second signal is for when everything else is stuck.
        let runtime = runtime::Builder::new_current_thread().enable_io().build()?;
        thread::Builder::new().name("second-signal".to_owned()).spawn(move || {
            if let Ok(second) = runtime.block_on(signals.next()) {
                tracing::warn!(signal = %second, "second signal: exiting without draining");
                last();
                process::exit(EXIT_INTERRUPTED);
            }
        })?;
        Ok(first)
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.shared.open_streams.send_if_modified(|open| {
            *open -= 1;
            *open == 0
        });
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
            Self::Hangup => "SIGHUP",
        })
    }
}

#[cfg(unix)]
impl Signals {
    fn install() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let hangup = SignalKind::hangup();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: if is_ignored(hangup) { None } else { Some(signal(hangup)?) },
        })
    }

    async fn next(&mut self) -> io::Result<Signal> {
        let Self { interrupt, terminate, hangup } = self;
        let hung_up = async {
            match hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        Ok(tokio::select! {
            _ = interrupt.recv() => Signal::Interrupt,
            _ = terminate.recv() => Signal::Terminate,
            _ = hung_up => Signal::Hangup,
        })
    }
}

/// Whether the process was started with a signal ignored; false where there is no Linux /proc.
#[cfg(unix)]
fn is_ignored(signal: tokio::signal::unix::SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    ignored >> (signal.as_raw_value() - 1) & 1 == 1
}

#[cfg(not(unix))]
impl Signals {
    fn install() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) -> io::Result<Signal> {
        tokio::signal::ctrl_c().await?;
        Ok(Signal::Interrupt)
    }
}

/// What shells report for a process that SIGINT ended.
const EXIT_INTERRUPTED: i32 = 130;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn every_clone_sees_the_drain() {
        let shutdown = Shutdown::new();
        let early = shutdown.draining();
        assert!(!shutdown.is_draining());

        shutdown.clone().begin();
        shutdown.begin();

        assert!(shutdown.is_draining());
        timeout(PATIENCE, early).await.unwrap();
        timeout(PATIENCE, shutdown.draining()).await.unwrap();
    }

    #[tokio::test]
    async fn stream_is_open_until_its_guard_drops() {
        let shutdown = Shutdown::new();
        let first = shutdown.track();
        let second = shutdown.track();
        assert_eq!(shutdown.open_streams(), 2);
        drop(first);
        assert_eq!(shutdown.open_streams(), 1);
        drop(second);
        assert_eq!(shutdown.open_streams(), 0);
    }

    #[tokio::test]
    async fn idle_waits_exactly_for_the_last_stream() {
        let shutdown = Shutdown::new();
        timeout(PATIENCE, shutdown.idle()).await.unwrap();

        let first = shutdown.track();
        let last = shutdown.track();
        let mut idle = std::pin::pin!(shutdown.idle());
        tokio::select! {
            biased;
            () = &mut idle => panic!("two streams are open"),
            () = std::future::ready(()) => drop(first),
        }
        tokio::select! {
            biased;
            () = &mut idle => panic!("one stream is open"),
            () = std::future::ready(()) => drop(last),
        }
        timeout(PATIENCE, idle).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn idle_never_misses_the_last_stream() {
        for _ in 0..2_000 {
            let shutdown = Shutdown::new();
            let guards = [shutdown.track(), shutdown.track()];
            let closing = tokio::task::spawn_blocking(move || drop(guards));
            timeout(PATIENCE, shutdown.idle()).await.unwrap();
            closing.await.unwrap();
        }
    }

    /// Runs itself again as the process that gets the signals.
    #[cfg(unix)]
    #[test]
    fn first_signal_resolves_second_exits_with_130() {
        use std::io::{BufRead, BufReader};
        use std::process::{Command, Stdio};

        const ROLE: &str = "STARLING_TEST_SIGNALLED";
        if std::env::var_os(ROLE).is_some() {
            return be_signalled();
        }

        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("shutdown::tests::first_signal_resolves_second_exits_with_130")
            .env(ROLE, "1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id().to_string();
        let signal = |name| Command::new("kill").args([name, pid.as_str()]).status().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut says = |expected: &str| lines.any(|line| line.unwrap() == expected);

        assert!(says("listening"));
        assert!(signal("-TERM").success());
        assert!(says("got SIGTERM"));
        assert!(signal("-INT").success());
        assert!(says("last"));
        assert_eq!(child.wait().unwrap().code(), Some(EXIT_INTERRUPTED));
    }

    #[cfg(unix)]
    fn be_signalled() {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let signals = Shutdown::signals_with(|| eprintln!("last")).unwrap();
            eprintln!("listening");
            eprintln!("got {}", signals.await.unwrap());
        });
        // Stuck on purpose, outside any runtime: the second signal must get through all the same.
        thread::sleep(PATIENCE);
    }
}
