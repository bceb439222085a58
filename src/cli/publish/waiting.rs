//! The wait for viewers, before anything is published.

use std::time::Duration;

use tokio::time::timeout;

use super::claim::Claim;
use crate::cli::error::{CliError, told};
use crate::cli::terminal::remark;
use starling_client::pb::swarm::v1::{Goodbye, GoodbyeReason, UpdateChannel};
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{Client, Error, PublishEvent, Publisher, Retry, SwarmRef, Watch};

/// How long those who have joined may take to subscribe. Some never do: they are served by their peers.
const SUBSCRIBING: Duration = Duration::from_secs(2);

/// Keeps a session attached for as long as it is held.
pub(super) enum Waited {
    Livestream(Watch<livestream::WatchLivestreamResponse>),
    Group(Watch<group::WatchGroupResponse>),
}

impl Waited {
    pub(super) const fn session_id(&self) -> u64 {
        match self {
            Self::Livestream(watch) => watch.session_id(),
            Self::Group(watch) => watch.session_id(),
        }
    }
}

impl Claim {
    /// Waits on the events of the swarm, and looks again after each, until so many others are in. The publisher has a
    /// session meanwhile, kept attached by the watch: a livestream without one ends after its `broadcaster_timeout`.
    pub(super) async fn wait_for(&self, client: &mut Client, viewers: u64) -> Result<Waited, CliError> {
        let session_id = client.join(self.join()).await.map_err(|status| told(&status))?;
        let (node_id, join) = (self.node, Some(self.join()));
        match self.swarm {
            SwarmRef::Livestream(livestream_id) => {
                let open = move |client: Client, session_id| async move {
                    use livestream::LivestreamEventKind::{Lifecycle, Membership};
                    let request = livestream::WatchLivestreamRequest {
                        livestream_id,
                        node_id,
                        session_id,
                        kinds: vec![Membership.into(), Lifecycle.into()],
                        ..Default::default()
                    };
                    let Client { mut livestreams, .. } = client;
                    livestreams.watch_livestream(request).await
                };
                let watch = Watch::open(client.clone(), session_id, join, Retry::default(), open).await?;
                remark!("waiting for {viewers} viewers on livestream {livestream_id}");
                let goodbye = |message: &livestream::WatchLivestreamResponse| match &message.event {
                    Some(livestream::watch_livestream_response::Event::Goodbye(goodbye)) => Some(*goodbye),
                    _ => None,
                };
                let count = async || viewers_of(client, livestream_id).await;
                until(watch, viewers, count, goodbye).await.map(Waited::Livestream)
            }
            SwarmRef::Group(group_id) => {
                let open = move |client: Client, session_id| async move {
                    let kinds = vec![group::GroupEventKind::Membership.into(), group::GroupEventKind::Lifecycle.into()];
                    let request =
                        group::WatchGroupRequest { group_id, node_id, session_id, kinds, ..Default::default() };
                    let Client { mut groups, .. } = client;
                    groups.watch_group(request).await
                };
                let watch = Watch::open(client.clone(), session_id, join, Retry::default(), open).await?;
                remark!("waiting for {viewers} others in group {group_id}");
                let goodbye = |message: &group::WatchGroupResponse| match &message.event {
                    Some(group::watch_group_response::Event::Goodbye(goodbye)) => Some(*goodbye),
                    _ => None,
                };
                let count = async || others_in(client, group_id).await;
                until(watch, viewers, count, goodbye).await.map(Waited::Group)
            }
        }
    }
}

/// Waits until so many subscribe to the video, or until it is clear that not all do: a viewer joins before it
/// subscribes, and of the sound it would miss what is published in between.
pub(super) async fn subscribed(publisher: &mut Publisher, viewers: u64) -> Result<(), CliError> {
    let all = async {
        loop {
            match publisher.next().await? {
                Some(PublishEvent::Demand(demand)) => {
                    let mut channels = demand.channels.iter();
                    if channels.any(|one| one.channel() == UpdateChannel::Visual && one.subscribers >= viewers) {
                        return Ok(());
                    }
                }
                Some(_) => {}
                None => return Err(CliError("it ended before anything was published".into())),
            }
        }
    };
    timeout(SUBSCRIBING, all).await.unwrap_or(Ok(()))
}

async fn until<M: Send>(
    mut watch: Watch<M>,
    viewers: u64,
    count: impl AsyncFn() -> Result<u64, Error>,
    goodbye: impl Fn(&M) -> Option<Goodbye>,
) -> Result<Watch<M>, CliError> {
    while let Some(message) = watch.next().await? {
        match goodbye(&message).map(|goodbye| goodbye.reason()) {
            Some(GoodbyeReason::Ended) => break,
            Some(_) => {}
            None if count().await? >= viewers => return Ok(watch),
            None => {}
        }
    }
    Err(CliError("it ended before the viewers came".into()))
}

async fn viewers_of(client: &Client, livestream_id: u64) -> Result<u64, Error> {
    let get = |mut client: Client| async move {
        client
            .livestreams
            .get_livestream(livestream::GetLivestreamRequest { livestream_id, ..Default::default() })
            .await
    };
    let found = client.until_answered(Retry::default(), get).await?;
    Ok(found.livestream.unwrap_or_default().viewer_count)
}

/// Participants without the one that waits.
async fn others_in(client: &Client, group_id: u64) -> Result<u64, Error> {
    let get = |mut client: Client| async move {
        client.groups.get_group(group::GetGroupRequest { group_id, ..Default::default() }).await
    };
    let found = client.until_answered(Retry::default(), get).await?;
    Ok(u64::from(found.group.unwrap_or_default().participant_count.saturating_sub(1)))
}
