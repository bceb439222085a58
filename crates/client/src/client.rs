//! A connection, and the calls that every program makes.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use tonic::{Response, Status};

use crate::backoff::Retry;
use crate::connect_error::ConnectError;
use crate::connect_options::ConnectOptions;
use crate::error::{Error, RetryDecision};
use crate::pb::group::v1::group_service_client::GroupServiceClient;
use crate::pb::group::v1::{self as group};
use crate::pb::livestream::v1::livestream_service_client::LivestreamServiceClient;
use crate::pb::livestream::v1::{self as livestream};
use crate::swarm_ref::{Join, SwarmRef};
use crate::token::BearerToken;
use crate::token_channel::TokenChannel;
use crate::tries::Tries;

/// Larger than any message of the server.
const MAX_MESSAGE: usize = 16 << 20;
/// Room for a few keyframes under way on each stream.
const WINDOW: u32 = 4 << 20;
/// As much as there is: streams that are not read must not use up the room of those
/// that are.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A connection to a server, and its services. Cheap to clone; clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    /// LivestreamService.
    pub livestreams: LivestreamServiceClient<TokenChannel>,
    /// GroupService.
    pub groups: GroupServiceClient<TokenChannel>,
    /// For other services: health. Its calls show no token.
    pub channel: Channel,
    servers: Servers,
    token: BearerToken,
    options: Arc<ConnectOptions>,
}

/// The servers of a cluster, of which any will do, or a single one.
#[derive(Clone, Debug)]
struct Servers {
    urls: Arc<[String]>,
    /// Where the connection leads.
    current: usize,
}

impl Servers {
    fn url(&self) -> &str {
        &self.urls[self.current]
    }

    fn next(&self) -> Self {
        Self { urls: Arc::clone(&self.urls), current: (self.current + 1) % self.urls.len() }
    }

    /// Connects to the first that answers, from the current one on.
    async fn connect(self, options: Arc<ConnectOptions>) -> Result<Client, ConnectError> {
        let mut left = self.urls.len();
        let mut servers = self;
        loop {
            match Client::connect_to(servers.clone(), Arc::clone(&options)).await {
                Err(_) if left > 1 => (servers, left) = (servers.next(), left - 1),
                answer => return answer,
            }
        }
    }
}

impl Client {
    /// A node id that hardly anybody else has: 1 to 2^53 - 1.
    pub fn random_node() -> u64 {
        rand::random_range(1..1 << 53)
    }

    /// Connects to `url`, such as `http://127.0.0.1:50051`, within 5 s. With `https://` the system's authorities vouch for
    /// the server. Several URLs of one cluster, divided by commas, are tried in turn.
    ///
    /// # Errors
    ///
    /// When `url` is malformed, when nobody answers there in time, or when it is not the server that is meant.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::connect_with(url, ConnectOptions::default()).await
    }

    /// The same with options.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`], and when the options are of no use.
    pub async fn connect_with(url: &str, options: impl Into<Arc<ConnectOptions>>) -> Result<Self, ConnectError> {
        let servers = Servers { urls: url.split(',').map(str::to_owned).collect(), current: 0 };
        servers.connect(options.into()).await
    }

    async fn connect_to(servers: Servers, options: Arc<ConnectOptions>) -> Result<Self, ConnectError> {
        let url = servers.url();
        let failed = |error: tonic::transport::Error| ConnectError::new(url, &error);
        let mut endpoint = Endpoint::from_shared(url.to_owned()).map_err(failed)?;
        if endpoint.uri().scheme_str() == Some("https") {
            endpoint = endpoint.tls_config(options.tls(url)?).map_err(failed)?;
        } else if options.needs_tls() {
            return Err(ConnectError::without_tls(url));
        }
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
        Ok(Self::over(channel, servers, options, BearerToken::none()))
    }

    fn over(channel: Channel, servers: Servers, options: Arc<ConnectOptions>, token: BearerToken) -> Self {
        let shown = TokenChannel::new(channel.clone(), token.clone());
        Self {
            livestreams: LivestreamServiceClient::new(shown.clone()).max_decoding_message_size(MAX_MESSAGE),
            groups: GroupServiceClient::new(shown).max_decoding_message_size(MAX_MESSAGE),
            channel,
            servers,
            token,
            options,
        }
    }

    /// The same connection, each of whose calls shows a token; so do those of [`Self::again`].
    #[must_use]
    pub fn with_token(self, token: BearerToken) -> Self {
        Self::over(self.channel, self.servers, self.options, token)
    }

    /// The token that calls show.
    pub const fn token(&self) -> &BearerToken {
        &self.token
    }

    /// Another connection with the same options, whose files are read again, and the same token: to the next of several
    /// URLs, or to the same, behind a balancer perhaps to another server.
    ///
    /// # Errors
    ///
    /// As [`Self::connect`].
    pub async fn again(&self) -> Result<Self, ConnectError> {
        let client = self.servers.next().connect(Arc::clone(&self.options)).await?;
        Ok(client.with_token(self.token.clone()))
    }

    /// Makes a call until the server answers it: when the connection breaks, or the server asks
    /// to come back, again after a wait, on a connection of its own if need be; and when it refuses
    /// the token and there is a newer one. Any other refusal is final, like a server that cannot be reached in time.
    ///
    /// The server may have done what a lost answer told of: `call` must be harmless to repeat,
    /// which a `request_id` makes it.
    ///
    /// # Errors
    ///
    /// The server's refusal, [`Error::TokenRefused`], or [`Error::GaveUp`] after [`Retry::patience`].
    pub async fn until_answered<T, F>(&self, retry: Retry, call: impl Fn(Self) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut tries = Tries::new(retry);
        let (mut client, mut anew, mut token, mut refused) = (self.clone(), false, 0, None);
        loop {
            let answer = async {
                if let Some(reason) = refused.take()
                    && !client.token.has_newer(token).await?
                {
                    return Err(Error::TokenRefused { reason });
                }
                token = client.token.ready().await?;
                if anew {
                    client = client.again().await?;
                }
                Ok::<T, Error>(call(client.clone()).await?.into_inner())
            };
            let why = match answer.await {
                Ok(answer) => return Ok(answer),
                Err(why) => why,
            };
            let asked = match why.verdict() {
                RetryDecision::Retry { asked, reconnect } => {
                    anew = reconnect;
                    asked
                }
                RetryDecision::OtherToken(reason) => {
                    (anew, refused) = (false, Some(reason));
                    Some(Duration::ZERO)
                }
                RetryDecision::Over | RetryDecision::Rejoin | RetryDecision::Final => return Err(why),
            };
            let (again_at, why) = tries.next(asked, why)?;
            tracing::debug!(%why, "a call is made again");
            tokio::time::sleep_until(again_at).await;
        }
    }

    /// Joins, and answers with the new session.
    ///
    /// # Errors
    ///
    /// The server's status; `JoinLivestream` and `JoinGroup` in the schema list them.
    pub async fn join(&mut self, join: Join) -> Result<u64, Status> {
        match join {
            Join::Livestream(join) => Ok(self.livestreams.join_livestream(join).await?.into_inner().session_id),
            Join::Group(join) => Ok(self.groups.join_group(join).await?.into_inner().session_id),
        }
    }

    /// Touches a session, so that its lease runs anew.
    ///
    /// # Errors
    ///
    /// When the node has left, or when `session_id` is not its session any more.
    pub async fn renew_lease(&mut self, swarm: SwarmRef, node_id: u64, session_id: u64) -> Result<(), Status> {
        match swarm {
            SwarmRef::Livestream(livestream_id) => {
                let request = livestream::RenewLeaseRequest { livestream_id, node_id, session_id };
                self.livestreams.renew_lease(request).await.map(drop)
            }
            SwarmRef::Group(group_id) => {
                let request = group::RenewLeaseRequest { group_id, node_id, session_id };
                self.groups.renew_lease(request).await.map(drop)
            }
        }
    }

    /// Ends a session.
    ///
    /// # Errors
    ///
    /// When the node has left, or when `session_id` is given and is not its session any more.
    pub async fn leave(&mut self, swarm: SwarmRef, node_id: u64, session_id: u64) -> Result<(), Status> {
        match swarm {
            SwarmRef::Livestream(livestream_id) => {
                let request =
                    livestream::LeaveLivestreamRequest { livestream_id, node_id, session_id, ..Default::default() };
                self.livestreams.leave_livestream(request).await.map(drop)
            }
            SwarmRef::Group(group_id) => {
                let request = group::LeaveGroupRequest { group_id, node_id, session_id, ..Default::default() };
                self.groups.leave_group(request).await.map(drop)
            }
        }
    }
}
