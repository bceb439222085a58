//! The other side of the wire: a thin client for the command line and for tests.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::pb::group::v1::group_service_client::GroupServiceClient;
use crate::pb::livestream::v1::livestream_service_client::LivestreamServiceClient;

/// Larger than any message of the server.
const MAX_MESSAGE: usize = 16 << 20;
/// Room for a few keyframes under way on each stream.
const WINDOW: u32 = 4 << 20;
/// As much as there is: streams that are not read must not use up the room of those
/// that are.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A connection to a server, and its services.
#[derive(Clone, Debug)]
pub struct Client {
    /// LivestreamService.
    pub livestreams: LivestreamServiceClient<Channel>,
    /// GroupService.
    pub groups: GroupServiceClient<Channel>,
    /// For other services: health.
    pub channel: Channel,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {url}: {source}")]
pub struct ConnectError {
    url: String,
    source: Box<dyn std::error::Error + Send + Sync>,
}

impl Client {
    /// A node id that hardly anybody else has: 1 to 2^53 - 1.
    pub fn random_node() -> u64 {
        rand::random_range(1..1 << 53)
    }

    /// Connects to `url`, such as `http://127.0.0.1:50051`.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        let failed = |source: tonic::transport::Error| ConnectError {
            url: url.to_owned(),
            // tonic says "transport error"; the reason lies below.
            source: std::error::Error::source(&source).map_or_else(|| source.to_string(), ToString::to_string).into(),
        };
        let endpoint = Endpoint::from_shared(url.to_owned()).map_err(failed)?;
        let channel = endpoint
            .connect_timeout(Duration::from_secs(5))
            .tcp_nodelay(true)
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(10))
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .connect()
            .await
            .map_err(failed)?;
        Ok(Self {
            livestreams: LivestreamServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            groups: GroupServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE),
            channel,
        })
    }
}
