//! Logging: set up once, to standard error, for people on a terminal and as JSON everywhere else.
//!
//! The log never blocks, kills or floods: lines pass a [`limit`] for each kind and a bounded [`queue`] with a thread
//! of its own.

mod limit;
mod notice;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::{Dispatch, Subscriber};
use tracing_subscriber::filter::{Directive, LevelFilter, ParseError};
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{EnvFilter, Layer, Registry};

use crate::config::{LogConfig, LogFormat};
use limit::{Limit, LimitLayer};
pub use notice::NOTICE;
use notice::Notices;
use queue::Queue;

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TelemetryError {
    /// The process already has a subscriber.
    #[error("logging is already set up: {0}")]
    AlreadySet(#[from] TryInitError),
    /// The filter does not parse.
    #[error("log.filter: {0}")]
    Filter(#[from] ParseError),
    /// The thread that writes the log could not be started.
    #[error("the log cannot be written: {0}")]
    Writer(#[from] io::Error),
}

/// The log of this process. Cloning it is shallow.
#[derive(Clone, Debug)]
pub struct Log {
    queue: Queue,
    notices: Arc<Notices>,
    form: Form,
}

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// For people, with colours or without.
    Human { colours: bool },
    /// One JSON object each.
    Json,
}

/// How long the end of the process waits for the log's reader.
const LAST_FLUSH: Duration = Duration::from_secs(1);

/// How long a thread that panicked waits for it: the process may end with the panic.
const PANIC_FLUSH: Duration = Duration::from_millis(250);

/// The longest text, and the longest backtrace, of a panic that is logged, in bytes.
const PANIC_TEXT: usize = 16 << 10;

/// Sets up logging for the process, panics included.
///
/// # Errors
/// When the filter does not parse, the writing thread cannot be started, or on a second call; then nothing changes.
pub fn init(config: &LogConfig) -> Result<Log, TelemetryError> {
    let form = Form::of(config.format, io::stderr().is_terminal());
    let (limit, notices) = (Arc::<Limit>::default(), Arc::new(Notices::new(form)));
    let queue = Queue::start(standard_error()?, Arc::clone(&limit), Arc::clone(&notices))?;
    dispatch(config, form, limit, queue.clone())?.try_init()?;

    let log = Log { queue, notices, form };
    let queue = log.queue.clone();
    panic::set_hook(Box::new(move |info| {
        log_panic(info);
        queue.flush(PANIC_FLUSH);
    }));
    Ok(log)
}

/// Standard error without its lock, which a write that blocks would keep from everybody else.
#[cfg(unix)]
fn standard_error() -> io::Result<File> {
    use std::os::fd::AsFd;
    Ok(io::stderr().as_fd().try_clone_to_owned()?.into())
}

#[cfg(windows)]
fn standard_error() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(io::stderr().as_handle().try_clone_to_owned()?.into())
}

fn dispatch<W>(config: &LogConfig, form: Form, limit: Arc<Limit>, writer: W) -> Result<Dispatch, ParseError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // No filter hides a panic: where the log is all there is, that would be a silent death.
    let panics: Directive = format!("{PANIC_TARGET}={}", LevelFilter::ERROR).parse()?;
    let filter = EnvFilter::try_new(&config.filter)?.add_directive(panics);
    let subscriber = Registry::default().with(filter).with(LimitLayer::new(limit));
    Ok(Dispatch::new(subscriber.with(lines(form, writer))))
}

/// Forms the lines of whatever passes a filter.
fn lines<S, W>(form: Form, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // Its own remarks about lines that cannot be formed would go to standard error directly.
    let lines = fmt::layer().with_writer(writer).log_internal_errors(false);
    match form {
        Form::Json => lines.json().flatten_event(true).with_current_span(false).boxed(),
        Form::Human { colours } => lines.with_ansi(colours).boxed(),
    }
}

/// Takes the place of the default hook, whose plain lines would break up a JSON log; like it, shows the backtrace when
/// `RUST_BACKTRACE` asks for it.
fn log_panic(info: &PanicHookInfo<'_>) {
    let payload = info.payload();
    let message = payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a value that is not text");
    // No more than the queue keeps room for.
    let message = beginning(message);
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let backtrace = backtrace.as_deref().map(beginning);
    tracing::error!(
        target: PANIC_TARGET,
        location = info.location().map(tracing::field::display),
        thread = thread::current().name().unwrap_or("unnamed"),
        backtrace = backtrace.as_deref(),
        "panicked: {message}"
    );
}

/// As much of a text as is logged of it; a character that is cut is shown as such.
fn beginning(text: &str) -> Cow<'_, str> {
    String::from_utf8_lossy(&text.as_bytes()[..text.len().min(PANIC_TEXT)])
}

const PANIC_TARGET: &str = "starling::panic";

impl Log {
    /// Whether its lines are JSON.
    #[must_use]
    pub fn is_json(&self) -> bool {
        self.form == Form::Json
    }

    /// What `act` logs with the target [`NOTICE`], as lines of the log that are not in it yet.
    pub fn lines(&self, act: impl FnOnce()) -> Vec<u8> {
        self.notices.lines(act)
    }

    /// Queues whole lines, whatever the filter.
    pub fn write(&self, lines: &[u8]) {
        self.queue.push(lines);
    }

    /// Waits until what was logged is written, but not for long: the log's reader may have stalled.
    pub fn flush(&self) {
        self.queue.flush(LAST_FLUSH);
    }
}

impl Form {
    fn of(format: LogFormat, terminal: bool) -> Self {
        let json = match format {
            LogFormat::Auto => !terminal,
            LogFormat::Human => false,
            LogFormat::Json => true,
        };
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        if json { Self::Json } else { Self::Human { colours } }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing::dispatcher;

    use super::*;

    #[derive(Clone, Debug, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Buffer {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, format: LogFormat, terminal: bool, act: impl FnOnce()) -> String {
        let filter = filter.to_owned();
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let form = Form::of(format, terminal);
        let config = LogConfig { filter, format };
        let dispatch = dispatch(&config, form, Arc::default(), move || writer.clone()).unwrap();
        dispatcher::with_default(&dispatch, act);
        buffer.text()
    }

    fn is_json(text: &str) -> bool {
        text.starts_with('{') && text.ends_with("}\n")
    }

    #[test]
    fn auto_format_is_human_on_a_terminal_only() {
        let hello = || tracing::info!(swarm = 7, "hello");
        assert!(!is_json(&logged("info", LogFormat::Auto, true, hello)));

        let json = logged("info", LogFormat::Auto, false, hello);
        assert!(is_json(&json), "{json}");
        assert!(json.contains(r#""message":"hello","swarm":7"#), "{json}");
    }

    #[test]
    fn explicit_format_is_used_everywhere() {
        let hello = || tracing::info!("hello");
        let human = logged("info", LogFormat::Human, false, hello);
        assert!(human.contains("hello"), "{human}");
        assert!(!human.contains('\u{1b}'), "colours are for terminals: {human}");
        assert!(is_json(&logged("info", LogFormat::Json, true, hello)));
    }

    #[test]
    fn the_filter_decides_what_is_logged() {
        let act = || {
            tracing::info!("quiet");
            tracing::warn!("loud");
        };
        let text = logged("warn", LogFormat::Human, false, act);
        assert!(!text.contains("quiet") && text.contains("loud"), "{text}");
    }

    #[test]
    fn invalid_filter_is_an_error() {
        let log = LogConfig { filter: "starling=loud".to_owned(), format: LogFormat::Json };
        assert!(dispatch(&log, Form::Json, Arc::default(), io::stderr).is_err());
    }

    /// Runs itself again as the process that ends.
    #[test]
    fn a_panic_is_logged_before_an_abort() {
        use std::process::{Command, Stdio};

        const ROLE: &str = "STARLING_TEST_ABORTED";
        if std::env::var_os(ROLE).is_some() {
            return abort();
        }
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "telemetry::tests::a_panic_is_logged_before_an_abort"])
            .env(ROLE, "1")
            .env_remove("RUST_BACKTRACE")
            .stdout(Stdio::null())
            .output()
            .unwrap();
        assert!(!child.status.success());
        let log = String::from_utf8(child.stderr).unwrap();
        for text in ["panicked: the first", "panicked: the second"] {
            let line = log.lines().find(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text} in {log}"));
            assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        }
    }

    /// A panic while another one unwinds ends a process at once.
    fn abort() {
        struct Second;

        impl Drop for Second {
            fn drop(&mut self) {
                panic!("the second");
            }
        }

        init(&LogConfig { filter: "off".to_owned(), format: LogFormat::Json }).unwrap();
        let _second = Second;
        panic!("the first");
    }

    /// What is logged of a panic with this text.
    fn panicked(text: &str) -> String {
        // The hook is the process's.
        static HOOK: Mutex<()> = Mutex::new(());
        let _hook = HOOK.lock().unwrap();
        let before = panic::take_hook();
        panic::set_hook(Box::new(log_panic));
        let log = logged("off", LogFormat::Json, false, || {
            let text = text.to_owned();
            assert!(panic::catch_unwind(move || panic!("{text}")).is_err());
        });
        panic::set_hook(before);
        log
    }

    #[test]
    fn text_of_a_panic_is_truncated() {
        let text = panicked(&"ü".repeat(PANIC_TEXT));
        assert!(is_json(&text) && text.len() < 3 * PANIC_TEXT, "{}", text.len());
    }

    #[test]
    fn a_panic_is_one_line_whatever_the_filter() {
        let text = panicked("out of luck 7");
        assert!(is_json(&text) && text.lines().count() == 1, "{text}");
        assert!(text.contains(r#""message":"panicked: out of luck 7""#), "{text}");
        assert!(text.contains(r#""location":"src/telemetry.rs:"#), "{text}");
        assert!(text.contains(r#""thread":""#), "{text}");
    }
}
