//! `starling serve`.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use super::error::CliError;
use super::format::print_text;
use crate::app::{self, App};
use crate::config::{Config, ConfigError, LogConfig, LogFormat, Overrides, environment};
use crate::shutdown::Shutdown;
use crate::telemetry::{self, Log, NOTICE, TelemetryError};

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Configuration file: .toml, .yaml or .yml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Print the configuration in force and exit.
    #[arg(long)]
    print_config: bool,
}

impl Serve {
    /// Serves until told to stop. What goes wrong is told in the form of the log, so that
    /// where that is JSON nothing else is written.
    pub(super) async fn run(self) -> ExitCode {
        let config = match Config::load(self.config.as_deref(), environment(), self.overrides) {
            Ok(config) => config,
            Err(error) => return refuse(&error),
        };
        if self.print_config {
            return match print_text(&(config.to_toml() + &app::memory::comment(&config))) {
                Ok(()) => ExitCode::SUCCESS,
                Err(CliError(text)) => fail(config.log.format, |log| tell(log, &text)),
            };
        }
        let log = match telemetry::init(&config.log) {
            Ok(log) => log,
            Err(error) => return unheard(&error),
        };
        let served = Box::pin(serve(config, &log)).await;
        if let Err(CliError(text)) = &served {
            tell(&log, text);
        }
        log.flush();
        served.map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
    }
}

/// Answers a command line with which nothing is served: one at fault, or one that asks for
/// help.
pub(super) fn misused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() || io::stderr().is_terminal() {
        error.exit();
    }
    // The rest is advice on several lines.
    let text = error.to_string();
    let text = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
    fail(LogFormat::Auto, |log| tell(log, text));
    ExitCode::from(2)
}

/// Tells what is wrong with the configuration: a line for each fault.
fn refuse(error: &ConfigError) -> ExitCode {
    const TEXT: &str = "the configuration is not valid";
    fail(error.log_format(), |log| {
        if !log.is_json() {
            return tell(log, &format!("{TEXT}:\n{error}"));
        }
        for fault in error.faults() {
            let (key, problem) = (&fault.key, &fault.problem);
            log.write(&log.lines(|| tracing::error!(target: NOTICE, key, problem, "{TEXT}")));
        }
    })
}

/// Fails before the log of the configuration is set up.
fn fail(format: LogFormat, tell: impl FnOnce(&Log)) -> ExitCode {
    match telemetry::init(&LogConfig { format, ..Config::default().log }) {
        Ok(log) => {
            tell(&log);
            log.flush();
            ExitCode::FAILURE
        }
        Err(error) => unheard(&error),
    }
}

/// Fails without a log.
fn unheard(error: &TelemetryError) -> ExitCode {
    writeln!(io::stderr(), "starling: {error}").ok();
    ExitCode::FAILURE
}

/// Tells why nothing is served.
fn tell(log: &Log, text: &str) {
    if log.is_json() {
        log.write(&log.lines(|| tracing::error!(target: NOTICE, "{text}")));
    } else {
        log.write(format!("starling: {text}\n").as_bytes());
    }
}

async fn serve(config: Config, log: &Log) -> Result<(), CliError> {
    // Before the address is told: whoever reads it may stop us at once.
    let last = log.clone();
    let signals = Shutdown::signals_with(move || last.flush())?;
    let over = if config.tls.is_on() { "-cacert CA.pem" } else { "-plaintext" };
    let app = App::bind(config).await?;
    tell_address(log, app.address(), over)?;
    let shutdown = Shutdown::new();
    let serving = app.run(shutdown.clone());
    let signalled = async {
        match signals.await {
            Ok(signal) => tracing::info!(%signal, "told to stop"),
            Err(error) => tracing::error!(%error, "cannot hear signals"),
        }
        shutdown.begin();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = serving => Ok(()),
        () = signalled => unreachable!("whoever signals waits for the server"),
    }
}

/// Tells the address on standard output, so that a script that asked for port 0 can read
/// it. It is told from a thread of its own: nobody may read it.
fn tell_address(log: &Log, address: SocketAddr, over: &str) -> io::Result<()> {
    let told = if log.is_json() {
        log.lines(|| tracing::info!(target: NOTICE, %address, version = VERSION, "listening"))
    } else {
        format!("starling {VERSION} listens on {address}\ntry: grpcurl {over} {address} list\n").into_bytes()
    };
    let tell = move || {
        if let Err(error) = io::stdout().write_all(&told) {
            tracing::warn!(%error, "the address cannot be told on standard output");
        }
    };
    thread::Builder::new().name("address".to_owned()).spawn(tell)?;
    Ok(())
}
