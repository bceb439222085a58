//! `starling bench`: load on a server in a process of its own, beside baselines under the same
//! load. One file per measurement; what they share lies beside them.

mod child;
mod churn;
mod descriptors;
mod fanout;
mod go_viewer;
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
mod stamp;
mod system;
mod table;
mod viewer;
mod watch;
mod watchers;

use super::CliError;
use crate::shutdown::Shutdown;

#[derive(Debug, clap::Args)]
pub(super) struct Bench {
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
    /// The server of a baseline, started by the others.
    #[command(hide = true)]
    Serve {
        /// Which one.
        baseline: Baseline,
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

impl Bench {
    pub(super) async fn run(self) -> Result<(), CliError> {
        match self.what {
            What::Fanout(fanout) => unless_stopped(fanout.run()).await,
            What::Idle(idle) => unless_stopped(idle.run()).await,
            What::Join(join) => unless_stopped(join.run()).await,
            What::Watch(watch) => unless_stopped(watch.run()).await,
            What::Serve { baseline: Baseline::Raw } => raw::serve(),
            What::Serve { baseline: Baseline::Tonic } => plain::serve().await,
        }
    }
}

/// Ends a measurement at a signal in good order: the server that it started goes with it.
async fn unless_stopped(measurement: impl Future<Output = Result<(), CliError>>) -> Result<(), CliError> {
    let signals = Shutdown::signals()?;
    tokio::select! {
        measured = measurement => measured,
        signal = signals => Err(CliError(format!("stopped by {}", signal?))),
    }
}
