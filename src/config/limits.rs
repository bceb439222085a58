//! The section `limits`.

use serde::{Deserialize, Serialize};

use super::text_forms::number_text;

/// Sizes of request messages, and what one client may do. Zero of a client is no limit.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Largest request message, publishing apart.
    pub receive_bytes: usize,
    /// Largest message of a publish stream; always holds the largest payload.
    pub publish_receive_bytes: usize,
    /// Largest id of a swarm or a node that a client may choose.
    #[serde(with = "number_text")]
    pub max_id: u64,
    /// Connections of one identity that carry calls.
    pub identity_connections: usize,
    /// Open streams of one identity.
    pub identity_streams: usize,
    /// Swarms that one identity made.
    pub identity_swarms: usize,
    /// Joins of one identity.
    pub identity_joins_per_second: u32,
    /// Updates that one identity publishes.
    pub identity_publishes_per_second: u32,
    /// Their payloads.
    pub identity_published_bytes_per_second: u64,
    /// Tokens by which one identity renews its streams.
    pub identity_renewals_per_second: u32,
    /// Open streams of one address.
    pub address_streams: usize,
    /// Swarms that one address made.
    pub address_swarms: usize,
    /// Joins of one address.
    pub address_joins_per_second: u32,
    /// Updates that one address publishes.
    pub address_publishes_per_second: u32,
    /// Their payloads.
    pub address_published_bytes_per_second: u64,
    /// Tokens of one address that are not accepted.
    pub address_failed_authentications_per_second: u32,
    /// Handshakes of TLS of one address.
    pub address_handshakes_per_second: u32,
}
