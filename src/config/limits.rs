//! The section `limits`.

use serde::{Deserialize, Serialize};

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

/// TOML's integers end at 2^63 - 1.
mod number_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format_args!("not a number below 2^64: {error}")))
    }
}
