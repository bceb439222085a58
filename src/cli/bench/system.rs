//! What is measured, or compared with.

use super::child::Server;
use crate::cli::CliError;

/// Something that fans out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum System {
    Starling,
    Tonic,
    Raw,
    Nats,
}

impl System {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Tonic => "tonic",
            Self::Raw => "raw",
            Self::Nats => "nats",
        }
    }

    /// Starts one; a NATS server is somebody else's to start.
    pub(super) fn start(self) -> Result<Server, CliError> {
        match self {
            Self::Starling => {
                Server::start(&["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--log-format", "human"])
            }
            Self::Tonic => Server::start(&["bench", "serve", "tonic"]),
            Self::Raw => Server::start(&["bench", "serve", "raw"]),
            Self::Nats => Err(CliError("a NATS server is not started here".into())),
        }
    }
}
