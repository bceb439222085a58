//! What servers of one cluster tell each other: how far each has applied the log, and the updates that each accepts.
//!
//! ```text
//!   service ── Cascade ──► cascade ──► followers ──► home_stream ══ Follow ══► follow ──► the feed of the home
//!                             │            one task per swarm and home
//!                             └── forward, stats ═══ Publish, Stats ═════════► server ──► service
//!   replicas ── Peers ───► exchange ═════════════════ Exchange ══════════════► server
//!   network: who the peers are, and the connections to them; listener: theirs to this server; secret: theirs alone
//! ```
//!
//! Nothing here is reachable on the port of clients. A peer that does not answer costs nobody else anything: each is asked
//! by tasks of its own, and every call has a bounded time.

mod cascade;
mod convert;
mod exchange;
mod follow;
mod followers;
mod home_stream;
mod listener;
mod network;
mod network_peers;
mod secret;
mod server;
#[cfg(test)]
mod tests;

use std::fmt;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

pub use cascade::PeerCascade;
pub use listener::serve;
pub use network::{Admission, PeerNetwork, PeerSettings, PeerTls};
pub use network_peers::NetworkPeers;
pub use secret::PeerSecret;
pub use server::PeerHost;
use starling_core::id::{PodId, SwarmId};

/// The largest message among peers, in bytes: the largest update, and what surrounds it.
const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// Where a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddress {
    /// The life of its process.
    pub incarnation: u64,
    /// `HOST:PORT`.
    pub address: String,
}

/// Who is the home of what, as the log says.
pub trait Homes: fmt::Debug + Send + Sync + 'static {
    /// This server's number in the partition of a swarm; [`NO_HOME`](starling_core::id::NO_HOME) = none now.
    fn own(&self, id: SwarmId) -> PodId;

    /// Where the server with this number in the partition of a swarm is; `None` when it is gone.
    fn peer(&self, id: SwarmId, home: PodId) -> Option<PeerAddress>;

    /// Asks the log anew who is where.
    fn refresh(&self) -> BoxFuture<'_, ()> {
        std::future::ready(()).boxed()
    }
}
