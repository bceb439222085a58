//! A livestream on air, on a server that was started for it or runs elsewhere.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::access::Access;
use super::child::{Server, Usage};
use super::scraper::Scraper;
use super::system::System;
use crate::error::{BenchError, told};
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, UpdateChannel};
use starling_client::{Client, SigningKey};

/// The broadcaster; viewers come after it.
pub(crate) const BROADCASTER: u64 = 1;
/// The most bytes per second that a viewer can be allowed.
pub(crate) const BUDGET: u64 = 1_000_000_000;
/// Joins at the same time.
const JOINS: usize = 64;
/// Longer than any measurement leaves a viewer without a stream; the longest there is.
pub(crate) const LEASE: prost_types::Duration = prost_types::Duration { seconds: 300, nanos: 0 };

/// The server, and the livestream on it.
pub(crate) struct TestLivestream {
    /// By which its updates are signed, if they are.
    pub(crate) key: Option<Arc<SigningKey>>,
    /// `None` = it runs elsewhere.
    server: Option<Server>,
    scraper: Option<Scraper>,
    pub(crate) access: Access,
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    pub(crate) livestream: u64,
}

/// Who broadcasts: with a key, the node of that.
fn broadcaster(key: Option<&SigningKey>) -> u64 {
    key.map_or(BROADCASTER, |key| key.public_key().node_id())
}

/// The node of a viewer, by its number from 0.
pub(crate) const fn node(viewer: u64) -> u64 {
    BROADCASTER + 1 + viewer
}

impl TestLivestream {
    /// Puts a livestream on air whose viewers may get so many bytes per second, and switches on what `access` says.
    pub(crate) async fn open(elsewhere: Option<&str>, budget: u64, access: &Access) -> Result<Self, BenchError> {
        let (server, address, url) = match elsewhere {
            Some(url) => (None, resolve(url, "http", 50_051).await?, url.to_owned()),
            None => {
                let server = System::Starling.start(access)?;
                let address = server.address;
                (Some(server), address, access.url(address))
            }
        };
        let scraper = server.as_ref().and_then(|server| server.admin).map(Scraper::start);
        let mut client = access.client(&url).await?;
        let livestream_id = Client::random_node();
        let config = pb::LivestreamConfig { subscriber_bytes_per_second: Some(budget), ..Default::default() };
        let key = access.features.signed.then(|| SigningKey::from_seed(&rand::random())).transpose()?.map(Arc::new);
        let node_id = broadcaster(key.as_deref());
        let create = pb::CreateLivestreamRequest {
            livestream_id,
            node_id,
            config: Some(config),
            broadcaster_public_key: key.as_ref().map_or_else(Vec::new, |key| key.public_key().bytes().to_vec()).into(),
            ..Default::default()
        };
        client.livestreams.create_livestream(create).await.map_err(|status| told(&status))?;
        let start = pb::StartLivestreamRequest { livestream_id, node_id, ..Default::default() };
        client.livestreams.start_livestream(start).await.map_err(|status| told(&status))?;
        Ok(Self { key, server, scraper, access: access.clone(), address, client, livestream: livestream_id })
    }

    /// Joins these viewers; answers with their sessions, in order.
    pub(crate) async fn join(
        &self,
        viewers: Range<u64>,
        interest: impl Fn(u64) -> Interest,
    ) -> Result<Vec<u64>, BenchError> {
        let joins = viewers.map(|viewer| {
            let mut client = self.client.clone();
            let visual = UpdateChannel::Visual.into();
            let interest = ChannelInterest { channel: visual, interest: interest(viewer).into(), ..Default::default() };
            let join = pb::JoinLivestreamRequest {
                livestream_id: self.livestream,
                node_id: node(viewer),
                interests: vec![interest],
                lease_ttl: Some(LEASE),
                ..Default::default()
            };
            async move {
                let joined = client.livestreams.join_livestream(join).await;
                joined.map(|joined| joined.into_inner().session_id).map_err(|status| told(&status))
            }
        });
        stream::iter(joins).buffered(JOINS).try_collect().await
    }

    /// Who broadcasts.
    pub(crate) fn broadcaster(&self) -> u64 {
        broadcaster(self.key.as_deref())
    }

    /// Fails when the metrics could not be scraped.
    pub(crate) fn check(&mut self) -> Result<(), BenchError> {
        self.scraper.as_mut().map_or(Ok(()), Scraper::check)
    }

    /// What the server has used; `None` when it runs elsewhere.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.server.as_ref()?.usage()
    }

    /// The server, when it was started here.
    pub(crate) fn server(&self) -> Result<&Server, BenchError> {
        self.server.as_ref().ok_or_else(|| BenchError("the server was not started here".into()))
    }

    /// Ends the livestream when the server is not ours to end.
    pub(crate) async fn close(mut self) -> Result<(), BenchError> {
        if self.server.is_none() {
            let livestream_id = self.livestream;
            let node_id = self.broadcaster();
            let end = pb::EndLivestreamRequest { livestream_id, node_id, ..Default::default() };
            self.client.livestreams.end_livestream(end).await.map_err(|status| told(&status))?;
        }
        Ok(())
    }
}

/// The address in a URL such as `http://target:port`.
pub(crate) async fn resolve(url: &str, scheme: &str, port: u16) -> Result<SocketAddr, BenchError> {
    let uri: http::Uri = url.parse()?;
    let target = uri.host().filter(|_| uri.scheme_str().is_none_or(|given| given == scheme));
    let target = target.ok_or_else(|| BenchError(format!("{url} is not like {scheme}://target:port")))?;
    let mut found = tokio::net::lookup_host((target, uri.port_u16().unwrap_or(port))).await?;
    found.next().ok_or_else(|| BenchError(format!("{target} has no address")))
}
