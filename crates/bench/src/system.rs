//! What is measured, or compared with.

use super::access::Access;
use super::child::Server;
use crate::error::BenchError;

/// Something that fans out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum System {
    Starling,
    Tonic,
    Raw,
    Nats,
}

impl System {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Starling => "starling",
            Self::Tonic => "tonic",
            Self::Raw => "raw",
            Self::Nats => "nats",
        }
    }

    /// Starts one; a NATS server is somebody else's to start.
    pub(crate) fn start(self, access: &Access) -> Result<Server, BenchError> {
        match self {
            Self::Starling => Server::starling(access),
            Self::Tonic | Self::Raw => Server::baseline(self.name(), access),
            Self::Nats => Err(BenchError("a NATS server is not started here".into())),
        }
    }
}
