//! Where the log of the demo of several servers is.

/// Where the log of the demo is.
#[derive(Clone, Debug)]
pub(super) enum LogPlace {
    /// In this process.
    Memory,
    /// In a NATS that runs.
    Nats(String),
    /// In a NATS that is started for it: `nats-server` from the PATH.
    OwnNats,
}
