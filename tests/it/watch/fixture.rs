//! A livestream on a server, and the calls that the tests make about it.

use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_service_client::LivestreamServiceClient;
use starling_client::pb::swarm::v1 as shared;
use starling_client::{BearerToken, Client, TokenChannel};
use tonic::transport::Endpoint;
use tonic::{Status, Streaming};

use crate::harness::{Server, soon};

/// The broadcaster of every livestream here.
pub(crate) const ROOT: u64 = 1;
/// Longer than any test: what comes in time comes without a heartbeat.
pub(crate) const NEVER: Duration = Duration::from_secs(600);

/// Every kind of event of a livestream.
pub(crate) const ALL: [pb::LivestreamEventKind; 8] = [
    pb::LivestreamEventKind::Membership,
    pb::LivestreamEventKind::Lifecycle,
    pb::LivestreamEventKind::Broadcaster,
    pb::LivestreamEventKind::Moderation,
    pb::LivestreamEventKind::Topology,
    pb::LivestreamEventKind::Authority,
    pb::LivestreamEventKind::Interest,
    pb::LivestreamEventKind::Placement,
];

/// One livestream, seen through one connection.
#[derive(Clone, Debug)]
pub(crate) struct LivestreamFixture {
    pub(crate) client: LivestreamServiceClient<TokenChannel>,
    pub(crate) id: u64,
}

/// A server with a livestream that has no viewers yet.
pub(crate) async fn livestream(config: pb::LivestreamConfig) -> (Server, LivestreamFixture) {
    let server = Server::start().await;
    let livestream = LivestreamFixture::create(server.client().await, 7, config).await;
    (server, livestream)
}

/// A star up to `threshold` viewers, then a tree of this `fanout`.
pub(crate) fn shape(threshold: u32, fanout: u32) -> pb::LivestreamConfig {
    pb::LivestreamConfig {
        star_to_tree_threshold: Some(threshold),
        tree_fanout: Some(fanout),
        // Most tests have no broadcaster in it.
        broadcaster_timeout: Some(seconds(0)),
        ..pb::LivestreamConfig::default()
    }
}

const fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

/// A connection that takes no more than `window` bytes of a stream that is not
/// read: a client that stops reading is felt at once.
pub(crate) async fn narrow(server: &Server, window: u32) -> TokenChannel {
    let endpoint = Endpoint::from_shared(server.url()).unwrap();
    let channel = endpoint.initial_stream_window_size(window).tcp_nodelay(true).connect().await.unwrap();
    TokenChannel::new(channel, BearerToken::none())
}

/// The next message of a stream that goes on.
pub(crate) async fn next<M>(stream: &mut Streaming<M>) -> M {
    soon(stream.message()).await.expect("the stream goes on").expect("the stream goes on")
}

/// The end of a stream: OK or an error, and nothing more before it.
pub(crate) async fn end<M: std::fmt::Debug>(stream: &mut Streaming<M>) -> Result<(), Status> {
    match soon(stream.message()).await {
        Ok(None) => Ok(()),
        Ok(Some(message)) => panic!("the stream goes on: {message:?}"),
        Err(status) => Err(status),
    }
}

/// The events of a message.
pub(crate) fn events(message: &pb::WatchLivestreamResponse) -> Vec<pb::livestream_event::Change> {
    let decode = |event: &pb::LivestreamEvent| event.change.clone().expect("an event");
    match &message.event {
        Some(pb::watch_livestream_response::Event::Batch(events)) => events.events.iter().map(decode).collect(),
        _ => Vec::new(),
    }
}

impl LivestreamFixture {
    /// Creates a livestream of [`ROOT`].
    pub(crate) async fn create(client: Client, id: u64, config: pb::LivestreamConfig) -> Self {
        let livestream = Self { client: client.livestreams, id };
        livestream.create_again(config).await;
        livestream
    }

    /// The same livestream through another connection.
    pub(crate) fn through(&self, client: Client) -> Self {
        Self { client: client.livestreams, id: self.id }
    }

    /// The same livestream through a channel of the test's making.
    pub(crate) fn through_channel(&self, channel: TokenChannel) -> Self {
        Self { client: LivestreamServiceClient::new(channel).max_decoding_message_size(16 << 20), id: self.id }
    }

    pub(crate) async fn create_again(&self, config: pb::LivestreamConfig) -> pb::Livestream {
        let request = pb::CreateLivestreamRequest {
            livestream_id: self.id,
            node_id: ROOT,
            config: Some(config),
            ..Default::default()
        };
        let created = self.client.clone().create_livestream(request).await.unwrap().into_inner();
        created.livestream.unwrap()
    }

    pub(crate) async fn get(&self) -> pb::Livestream {
        let request = pb::GetLivestreamRequest { livestream_id: self.id, ..Default::default() };
        self.client.clone().get_livestream(request).await.unwrap().into_inner().livestream.unwrap()
    }

    /// What a viewer says when it joins, for longer than any test.
    pub(crate) fn join_request(&self, node: u64) -> pb::JoinLivestreamRequest {
        let lease_ttl = Some(seconds(300));
        pb::JoinLivestreamRequest { livestream_id: self.id, node_id: node, lease_ttl, ..Default::default() }
    }

    pub(crate) async fn join_as(&self, join_request: pb::JoinLivestreamRequest) -> pb::JoinLivestreamResponse {
        self.client.clone().join_livestream(join_request).await.unwrap().into_inner()
    }

    pub(crate) async fn join(&self, node: u64) -> pb::JoinLivestreamResponse {
        self.join_as(self.join_request(node)).await
    }

    pub(crate) async fn join_all(&self, nodes: impl IntoIterator<Item = u64>) {
        for node in nodes {
            self.join(node).await;
        }
    }

    /// Joins viewers that say as much of themselves as they may: a page of them is more
    /// than the server has under way at once.
    pub(crate) async fn join_all_at_length(&self, nodes: impl IntoIterator<Item = u64>) {
        for node in nodes {
            let long = || Some(vec![0; 256].into());
            self.join_as(pb::JoinLivestreamRequest { endpoint: long(), metadata: long(), ..self.join_request(node) })
                .await;
        }
    }

    /// Joins with the shortest lease that there is.
    pub(crate) async fn join_briefly(&self, node: u64) -> pb::JoinLivestreamResponse {
        let lease_ttl = Some(seconds(1));
        self.join_as(pb::JoinLivestreamRequest { lease_ttl, ..self.join_request(node) }).await
    }

    /// Answers with the revision.
    pub(crate) async fn leave(&self, node: u64) -> u64 {
        let request = pb::LeaveLivestreamRequest { livestream_id: self.id, node_id: node, ..Default::default() };
        self.client.clone().leave_livestream(request).await.unwrap().into_inner().revision
    }

    /// False when the node is not in.
    pub(crate) async fn leave_if_in(&self, node: u64) -> bool {
        let request = pb::LeaveLivestreamRequest { livestream_id: self.id, node_id: node, ..Default::default() };
        self.client.clone().leave_livestream(request).await.is_ok()
    }

    pub(crate) async fn remove(&self, target: u64) -> u64 {
        let request = pb::RemoveViewerRequest {
            livestream_id: self.id,
            node_id: ROOT,
            viewer_node_id: target,
            ..Default::default()
        };
        self.client.clone().remove_viewer(request).await.unwrap().into_inner().revision
    }

    /// Bans a node for an hour.
    pub(crate) async fn ban(&self, target: u64) -> u64 {
        let request = pb::RemoveViewerRequest {
            livestream_id: self.id,
            node_id: ROOT,
            viewer_node_id: target,
            ban: Some(seconds(3_600)),
            ..Default::default()
        };
        self.client.clone().remove_viewer(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn start(&self) -> u64 {
        let request = pb::StartLivestreamRequest { livestream_id: self.id, node_id: ROOT, ..Default::default() };
        self.client.clone().start_livestream(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn end(&self) -> u64 {
        let request = pb::EndLivestreamRequest { livestream_id: self.id, node_id: ROOT, ..Default::default() };
        self.client.clone().end_livestream(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn describe(&self, metadata: &[u8]) -> u64 {
        let request = pb::UpdateLivestreamRequest {
            livestream_id: self.id,
            node_id: ROOT,
            metadata: Some(metadata.to_vec().into()),
            ..Default::default()
        };
        self.client.clone().update_livestream(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn transfer(&self, from: u64, to: u64) -> u64 {
        let request = pb::TransferBroadcastRequest {
            livestream_id: self.id,
            node_id: from,
            viewer_node_id: to,
            ..Default::default()
        };
        self.client.clone().transfer_broadcast(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn mute(&self, target: u64) -> u64 {
        let request = pb::MuteViewerRequest {
            livestream_id: self.id,
            node_id: ROOT,
            viewer_node_id: target,
            ..Default::default()
        };
        self.client.clone().mute_viewer(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn promote(&self, target: u64) -> u64 {
        let request = pb::AddModeratorRequest {
            livestream_id: self.id,
            node_id: ROOT,
            viewer_node_id: target,
            ..Default::default()
        };
        self.client.clone().add_moderator(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn want(&self, node: u64, channel: shared::UpdateChannel, interest: shared::Interest) -> u64 {
        let change =
            shared::ChannelInterest { channel: channel.into(), interest: interest.into(), ..Default::default() };
        let request = pb::SetInterestRequest {
            livestream_id: self.id,
            node_id: node,
            interests: vec![change],
            ..Default::default()
        };
        self.client.clone().set_interest(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn update_viewer(&self, node: u64, metadata: Vec<u8>) -> u64 {
        let request = pb::UpdateViewerRequest {
            livestream_id: self.id,
            node_id: node,
            metadata: Some(metadata.into()),
            ..Default::default()
        };
        self.client.clone().update_viewer(request).await.unwrap().into_inner().revision
    }

    pub(crate) async fn targets(&self, node: Option<u64>) -> pb::GetTargetsResponse {
        let request = pb::GetTargetsRequest {
            livestream_id: self.id,
            of_node_id: node.unwrap_or_default(),
            ..Default::default()
        };
        self.client.clone().get_targets(request).await.unwrap().into_inner()
    }

    pub(crate) async fn page(&self, page_size: i32, page_token: String) -> pb::ListViewersResponse {
        let request = pb::ListViewersRequest {
            livestream_id: self.id,
            page_size,
            page_token,
            view: shared::MemberView::Full.into(),
            ..Default::default()
        };
        self.client.clone().list_viewers(request).await.unwrap().into_inner()
    }

    /// All viewers, in the order of the list.
    pub(crate) async fn viewers(&self) -> Vec<pb::Viewer> {
        let (mut viewers, mut token) = (Vec::new(), String::new());
        loop {
            let page = self.page(1_000, token).await;
            viewers.extend(page.viewers);
            if page.next_page_token.is_empty() {
                return viewers;
            }
            token = page.next_page_token;
        }
    }

    pub(crate) async fn stats(&self) -> shared::SwarmStats {
        let request = pb::GetStatsRequest { livestream_id: self.id, ..Default::default() };
        self.client.clone().get_stats(request).await.unwrap().into_inner().stats.unwrap()
    }

    /// Watches the targets of a node as an observer.
    pub(crate) async fn watch_targets(&self, node: Option<u64>) -> Streaming<pb::WatchTargetsResponse> {
        self.watch_targets_as(node, 0).await
    }

    pub(crate) async fn watch_targets_as(
        &self,
        node: Option<u64>,
        session_id: u64,
    ) -> Streaming<pb::WatchTargetsResponse> {
        let request = pb::WatchTargetsRequest {
            livestream_id: self.id,
            of_node_id: node.unwrap_or_default(),
            session_id,
            node_id: node.unwrap_or_default(),
            ..Default::default()
        };
        self.client.clone().watch_targets(request).await.unwrap().into_inner()
    }

    /// Watches all events from now, the roster first.
    pub(crate) async fn watch(&self) -> Streaming<pb::WatchLivestreamResponse> {
        self.watch_from(&ALL, None).await
    }

    /// Watches events of these kinds from a position `(epoch, revision)`.
    pub(crate) async fn watch_from(
        &self,
        kinds: &[pb::LivestreamEventKind],
        position: Option<(u64, u64)>,
    ) -> Streaming<pb::WatchLivestreamResponse> {
        let request = pb::WatchLivestreamRequest {
            livestream_id: self.id,
            kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
            resume_from: position.map(|(epoch, revision)| shared::EventPosition { epoch, revision }),
            view: shared::MemberView::Full.into(),
            ..Default::default()
        };
        self.client.clone().watch_livestream(request).await.unwrap().into_inner()
    }

    /// Watches all events for a node with its session.
    pub(crate) async fn watch_as(&self, node_id: u64, session_id: u64) -> Streaming<pb::WatchLivestreamResponse> {
        let request = pb::WatchLivestreamRequest {
            livestream_id: self.id,
            node_id,
            session_id,
            view: shared::MemberView::Full.into(),
            ..Default::default()
        };
        self.client.clone().watch_livestream(request).await.unwrap().into_inner()
    }
}
