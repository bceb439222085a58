//! `starling-bench`: load on a server in a process of its own, beside baselines under the same
//! load. One file per measurement; what they share lies beside them.

mod access;
mod child;
mod churn;
mod cost;
mod credentials;
mod descriptors;
mod error;
mod fanout;
mod features;
mod go_viewer;
mod handshakes;
mod idle;
mod interests;
mod join;
mod join_times;
mod latencies;
mod link;
mod livestream;
mod load;
mod meter;
mod nats;
mod plain;
mod progress;
mod publisher;
mod rate;
mod raw;
mod report;
mod scan;
mod scraper;
mod stamp;
mod system;
mod table;
mod terminal;
mod viewer;
mod viewer_pool;
mod watch;
mod watchers;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::BenchError;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Measure a Starling server: fan-out beside plain tonic, raw TCP and NATS; idle viewers, joins, watches.
///
/// The server that is measured is the program `starling` beside this one, or that of STARLING_BIN.
#[derive(Debug, Parser)]
#[command(name = "starling-bench", version)]
struct Bench {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Updates of one livestream to many viewers.
    Fanout(fanout::Fanout),
    /// Memory of subscribers to whom nothing comes.
    Idle(idle::Idle),
    /// Viewers that come and go.
    Join(join::Join),
    /// Target lists of relays, while viewers come and go.
    Watch(watch::Watch),
    /// What metrics, tokens, TLS and signatures cost, each and together, beside plain tonic without and with TLS.
    Cost(cost::Cost),
    /// The server of a baseline, started by the others.
    #[command(hide = true)]
    Serve {
        /// Which one.
        baseline: Baseline,
        #[command(flatten)]
        certificate: plain::Certificate,
    },
}

/// What Starling is compared with and is served here. NATS is somebody else's to serve.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Baseline {
    /// One `send` per viewer and update.
    Raw,
    /// tonic's streams of a `tokio::sync::broadcast`.
    Tonic,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Bench::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            terminal::remark(&format!("starling-bench: {failure}"));
            ExitCode::FAILURE
        }
    }
}

impl Bench {
    async fn run(self) -> Result<(), BenchError> {
        match self.what {
            What::Fanout(fanout) => unless_stopped(Box::pin(fanout.run())).await,
            What::Idle(idle) => unless_stopped(idle.run()).await,
            What::Join(join) => unless_stopped(join.run()).await,
            What::Watch(watch) => unless_stopped(watch.run()).await,
            What::Cost(cost) => unless_stopped(Box::pin(cost.run())).await,
            What::Serve { baseline: Baseline::Raw, .. } => raw::serve(),
            What::Serve { baseline: Baseline::Tonic, certificate } => plain::serve(certificate).await,
        }
    }
}

/// Ends a measurement at a signal in good order: the server that it started goes with it.
async fn unless_stopped(measurement: impl Future<Output = Result<(), BenchError>>) -> Result<(), BenchError> {
    let (mut terminate, mut hangup) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    tokio::select! {
        measured = measurement => measured,
        interrupted = tokio::signal::ctrl_c() => Err(interrupted.err().map_or_else(|| BenchError("interrupted".into()), Into::into)),
        _ = terminate.recv() => Err(BenchError("told to end".into())),
        _ = hangup.recv() => Err(BenchError("the terminal is gone".into())),
    }
}
