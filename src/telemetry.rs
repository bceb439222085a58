//! Logging: set up once, to standard error, for people on a terminal and as JSON everywhere else.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::{self, PanicHookInfo};
use std::thread;

use tracing::Dispatch;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{Directive, LevelFilter, ParseError};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::config::{LogConfig, LogFormat};

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
}

/// Sets up logging for the process, panics included.
///
/// # Errors
/// When the filter does not parse, or on a second call; then nothing changes.
pub fn init(log: &LogConfig) -> Result<(), TelemetryError> {
    let terminal = io::stderr().is_terminal();
    dispatch(log, terminal, io::stderr)?.try_init()?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn dispatch<W>(log: &LogConfig, terminal: bool, writer: W) -> Result<Dispatch, ParseError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let json = match log.format {
        LogFormat::Auto => !terminal,
        LogFormat::Human => false,
        LogFormat::Json => true,
    };
    // No filter hides a panic: where the log is all there is, that would be a silent death.
    let panics: Directive = format!("{PANIC_TARGET}={}", LevelFilter::ERROR).parse()?;
    let filter = EnvFilter::try_new(&log.filter)?.add_directive(panics);

    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(if json {
        Dispatch::new(builder.json().flatten_event(true).with_current_span(false).finish())
    } else {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Dispatch::new(builder.with_ansi(colours).finish())
    })
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
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        target: PANIC_TARGET,
        location = info.location().map(tracing::field::display),
        thread = thread::current().name().unwrap_or("unnamed"),
        backtrace = backtrace.map(tracing::field::display),
        "panicked: {message}"
    );
}

const PANIC_TARGET: &str = "starling::panic";

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

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
        let dispatch = dispatch(&LogConfig { filter, format }, terminal, move || writer.clone()).unwrap();
        dispatcher::with_default(&dispatch, act);
        buffer.text()
    }

    fn is_json(text: &str) -> bool {
        text.starts_with('{') && text.ends_with("}\n")
    }

    #[test]
    fn auto_is_for_people_on_a_terminal_and_json_elsewhere() {
        let hello = || tracing::info!(swarm = 7, "hello");
        assert!(!is_json(&logged("info", LogFormat::Auto, true, hello)));

        let json = logged("info", LogFormat::Auto, false, hello);
        assert!(is_json(&json), "{json}");
        assert!(json.contains(r#""message":"hello","swarm":7"#), "{json}");
    }

    #[test]
    fn a_format_that_was_asked_for_is_used_everywhere() {
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
    fn a_filter_that_does_not_parse_is_an_error() {
        let log = LogConfig { filter: "starling=loud".to_owned(), format: LogFormat::Json };
        assert!(dispatch(&log, false, io::stderr).is_err());
    }

    #[test]
    fn a_panic_is_one_json_line_with_location_and_thread_whatever_the_filter() {
        let before = panic::take_hook();
        panic::set_hook(Box::new(log_panic));
        let text = logged("off", LogFormat::Json, false, || {
            let number = 7;
            assert!(panic::catch_unwind(|| panic!("out of luck {number}")).is_err());
        });
        panic::set_hook(before);

        assert!(is_json(&text) && text.lines().count() == 1, "{text}");
        assert!(text.contains(r#""message":"panicked: out of luck 7""#), "{text}");
        assert!(text.contains(r#""location":"src/telemetry.rs:"#), "{text}");
        assert!(text.contains(r#""thread":""#), "{text}");
    }
}
