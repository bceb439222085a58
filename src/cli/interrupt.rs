//! Ctrl-C: a command that runs for long ends in good order and prints its totals.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::process::ExitCode;

use super::error::CliError;
use crate::shutdown::{Shutdown, Signal};

/// Waits for the first signal that asks the process to end; a second one exits at once.
pub(super) struct Interrupt(Pin<Box<dyn Future<Output = io::Result<Signal>> + Send>>);

impl Interrupt {
    /// From here on a signal does not end the process by itself.
    pub(super) fn catch() -> Result<Self, CliError> {
        let signals = Shutdown::signals().map_err(|error| CliError(format!("cannot catch signals: {error}")))?;
        Ok(Self(Box::pin(signals)))
    }

    /// The status to exit with, once a signal has come: what shells report of a process that it ended. Safe to drop
    /// and call again until then.
    pub(super) async fn came(&mut self) -> Result<ExitCode, CliError> {
        let signal = (&mut self.0).await.map_err(|error| CliError(format!("cannot catch signals: {error}")))?;
        Ok(ExitCode::from(if signal == Signal::Interrupt { 130 } else { 143 }))
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}
