//! Connections of HTTP: accepted, served, watched, and told to go.
//!
//! This module knows no swarm and no protobuf. It is generic over the service that answers
//! requests and over the bodies that it answers with; what it must know of the protocol that is
//! spoken it asks a [`Protocol`].
//!
//! ```text
//!   listener ── accepts ──► connection ── hyper ──► fast_path ──► the service and its layers
//!      │  (handshake: PROXY, │    ▲                    │
//!      │   then TLS)         │    │                    │
//!      │ CloseRequest        │    └── wake_set         └─ a body that was handed over goes
//!      └────────────────────►┘ polls some streams         to hyper past all layers
//!      │ sweeps               inline
//!      ├──► stall: ends who does not read, and who does not send
//!      ├──► table: makes room, tells who is too old ◄── stream_count: who carries no stream
//!      └──► monitor: what the listener counts
//! ```

mod accounts;
mod bounded_socket;
mod byte_stream;
mod carried_identity;
mod close_request;
mod connection;
mod counted_socket;
mod data_frames;
mod fast_path;
mod forwarded_header;
mod handshake;
mod handshake_limit;
#[cfg(test)]
mod hyper_order;
mod listener;
mod listener_settings;
mod monitor;
mod origin;
mod portion;
mod proxy_protocol;
mod request_body;
mod socket;
mod stall;
mod stream_count;
mod table;
mod trusted_proxies;
mod unread;
mod wake_set;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use tower::BoxError;

pub(crate) use connection::ConnectionShared;
pub(crate) use fast_path::{AcceptsHandover, BeyondShare, Handover, StreamRefused};
pub use forwarded_header::ForwardedHeader;
pub use handshake::TLS_CONNECTION;
pub(crate) use listener::serve;
pub use listener_settings::ListenerSettings;
pub use monitor::{BudgetUse, Closed, Monitor};
pub(crate) use request_body::CompleteBody;
pub use socket::{kernel_bytes, kernel_bytes_per_connection, listen};
pub(crate) use stall::StreamProgress;
pub use trusted_proxies::TrustedProxies;
pub(crate) use wake_set::WakeSet;

/// Settings of HTTP/2 and its connections.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Connections that may be open.
    pub max_connections: usize,
    /// How many of one peer address (with IPv6: of its network of 64 bits) may carry streams.
    pub max_connections_per_address: usize,
    /// How many handshakes of TLS one peer address may make in a second; 0 = any number.
    pub handshakes_per_address: u32,
    /// How long a connection may live, +- 10 %; zero = for ever.
    pub max_age: Duration,
    /// How long it may stay after it was told to go.
    pub max_age_grace: Duration,
    /// Over how long its streams are told goodbye then, at the most.
    pub goodbye_spread: Duration,
    /// How long a reader may make no progress.
    pub stall_timeout: Duration,
    /// How long a message may take to come.
    pub receive_timeout: Duration,
    /// Streams that one connection may have open.
    pub max_concurrent_streams: u32,
    /// How often a silent connection is pinged.
    pub keepalive_interval: Duration,
    /// How long to wait for the answer.
    pub keepalive_timeout: Duration,
    /// Streams that we may reset for a client's errors before we close its
    /// connection (RUSTSEC-2024-0003; tonic's default is no limit).
    pub max_local_error_reset_streams: usize,
    /// The largest list of headers, in bytes.
    pub max_header_list_bytes: u32,
    /// What connections may hold.
    pub memory: MemorySettings,
}

/// What connections may hold, in bytes: all of them, and one.
#[derive(Clone, Copy, Debug)]
pub struct MemorySettings {
    /// Requests that have not come whole.
    pub receiving: usize,
    /// The same of one connection.
    pub receiving_connection: usize,
    /// Answers that are made and not taken.
    pub sending: usize,
    /// The same of one connection.
    pub sending_connection: usize,
    /// What streams hold by being open.
    pub streams: usize,
}

#[cfg(test)]
impl MemorySettings {
    /// Budgets that are never full.
    const UNLIMITED: Self = {
        let all = usize::MAX;
        Self { receiving: all, receiving_connection: all, sending: all, sending_connection: all, streams: all }
    };
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It is answered at once with plain text, without the service.
    Answer(StatusCode, &'static str),
    /// The service answers.
    Serve {
        /// With HTTP/2: its stream is polled by the task of its connection. For streams that do
        /// no more than to copy bytes.
        inline: bool,
        /// The service may [hand over](Handover) the body of its answer.
        handover: bool,
        /// Its client may send much.
        uploads: bool,
        /// It is served also when its peer address has its share of connections with streams.
        beyond_share: bool,
    },
}

/// The protocol that is spoken over the transport.
pub(crate) trait Protocol: Send + Sync + 'static {
    /// A body that the service hands over past its layers.
    type Body: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Unpin + Send + 'static;

    /// What becomes of a request, by its head.
    fn plan<B>(request: &Request<B>) -> Plan;

    /// What the service finds in place of the rest of a request whose stream was reset.
    fn reset() -> BoxError;
}
