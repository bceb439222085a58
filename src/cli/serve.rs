//! `starling serve`.

use std::io::Write;
use std::path::PathBuf;

use super::Failure;
use crate::app::App;
use crate::config::{Config, Overrides, environment};
use crate::shutdown::Shutdown;
use crate::telemetry;

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
    pub(super) async fn run(self) -> Result<(), Failure> {
        let config = Config::load(self.config.as_deref(), environment(), self.overrides)
            .map_err(|faults| Failure(format!("the configuration is not valid:\n{faults}")))?;
        if self.print_config {
            std::io::stdout().write_all(config.to_toml().as_bytes())?;
            return Ok(());
        }
        telemetry::init(&config.log)?;
        let wanted = config.server.listen;
        // Before the address is told: whoever reads it may stop us at once.
        let signals = Shutdown::signals()?;
        let app = App::bind(config).await.map_err(|error| Failure(format!("cannot listen on {wanted}: {error}")))?;
        let address = app.address();
        // On standard output, so that a script that asked for port 0 can read it.
        writeln!(
            std::io::stdout(),
            "starling {} listens on {address}\ntry: grpcurl -plaintext {address} list",
            env!("CARGO_PKG_VERSION"),
        )?;
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
}
