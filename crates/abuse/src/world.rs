//! Swarms that cases attack with: what any client may build by ordinary calls.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use prost::Message;
use starling_client::Client;
use starling_client::pb::group::v1 as groups;
use starling_client::pb::livestream::v1::{self as livestreams, publish_updates_request::Message as Publish};
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, UpdateChannel};
use tokio::time::sleep;

use crate::attacker::Attacker;
use crate::ending::Ending;
use crate::link::{GROUPS, LIVESTREAMS, Link, unread_ending};

/// Calls under way at the same time.
const AT_ONCE: usize = 64;
/// How long one waits that was beyond the limit of a rate.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);
/// The longest lease that there is, in seconds: members without a stream stay.
pub(crate) const LEASE: prost_types::Duration = prost_types::Duration { seconds: 300, nanos: 0 };
/// The most participants of a group.
pub(crate) const GROUP: u64 = 256;
/// The most overrides of a member.
pub(crate) const OVERRIDES: u64 = 1_280;

/// The broadcaster of livestreams, and the owner of groups.
pub(crate) const FIRST: u64 = 1;

/// All channels.
pub(crate) const CHANNELS: [UpdateChannel; 5] =
    [UpdateChannel::Visual, UpdateChannel::Audio, UpdateChannel::Screen, UpdateChannel::Chat, UpdateChannel::Data];

pub(crate) fn livestream_method(name: &str) -> String {
    format!("{LIVESTREAMS}{name}")
}

pub(crate) fn group_method(name: &str) -> String {
    format!("{GROUPS}{name}")
}

/// A livestream on air, and the session of its broadcaster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Livestream {
    pub(crate) id: u64,
    pub(crate) session: u64,
}

impl Livestream {
    /// What opens a publish stream of its broadcaster, for data.
    pub(crate) fn publish_open(self) -> livestreams::PublishUpdatesRequest {
        let open = livestreams::PublishOpen {
            livestream_id: self.id,
            node_id: FIRST,
            session_id: self.session,
            channels: vec![UpdateChannel::Data.into()],
            ..Default::default()
        };
        livestreams::PublishUpdatesRequest { message: Some(Publish::Open(open)) }
    }
}

/// Puts a livestream on air.
pub(crate) async fn livestream(link: &Link) -> Result<Livestream, Ending> {
    let (livestream_id, node_id) = (Client::random_node(), FIRST);
    let create = livestreams::CreateLivestreamRequest { livestream_id, node_id, ..Default::default() };
    link.call::<livestreams::CreateLivestreamResponse>(&livestream_method("CreateLivestream"), &create).await?;
    let start = livestreams::StartLivestreamRequest { livestream_id, node_id, ..Default::default() };
    link.call::<livestreams::StartLivestreamResponse>(&livestream_method("StartLivestream"), &start).await?;
    let session = join_livestream(link, livestream_id, node_id).await?;
    Ok(Livestream { id: livestream_id, session })
}

/// Creates a livestream whose broadcaster forwards to up to 1 000 viewers itself.
pub(crate) async fn starred_livestream(link: &Link) -> Result<u64, Ending> {
    let (livestream_id, node_id) = (Client::random_node(), FIRST);
    let config = Some(livestreams::LivestreamConfig { star_to_tree_threshold: Some(1_000), ..Default::default() });
    let create = livestreams::CreateLivestreamRequest { livestream_id, node_id, config, ..Default::default() };
    link.call::<livestreams::CreateLivestreamResponse>(&livestream_method("CreateLivestream"), &create).await?;
    Ok(livestream_id)
}

/// Joins a node; its session.
pub(crate) async fn join_livestream(link: &Link, livestream_id: u64, node_id: u64) -> Result<u64, Ending> {
    let lease_ttl = Some(LEASE);
    let join = livestreams::JoinLivestreamRequest { livestream_id, node_id, lease_ttl, ..Default::default() };
    let joined: livestreams::JoinLivestreamResponse = link.call(&livestream_method("JoinLivestream"), &join).await?;
    Ok(joined.session_id)
}

/// Makes calls for these numbers, some at the same time; fails with the first that fails. One beyond the limit of a rate
/// is made again, as any client does: a crowd may take its time to come.
pub(crate) async fn each<F: Future<Output = Result<(), Ending>>>(
    numbers: impl Iterator<Item = u64>,
    call: impl Fn(u64) -> F,
) -> Result<(), Ending> {
    let call = &call;
    let patient = async |number| loop {
        match call(number).await {
            Err(ending) if ending.is_rate_limit() => sleep(PAUSE).await,
            called => return called,
        }
    };
    let mut calls = stream::iter(numbers.map(patient)).buffer_unordered(AT_ONCE);
    while let Some(called) = calls.next().await {
        called?;
    }
    Ok(())
}

/// A group with so many participants, the first of which owns it.
pub(crate) async fn group(link: &Link, participants: u64) -> Result<u64, Ending> {
    let (group_id, owner_node_id) = (Client::random_node(), FIRST);
    let config = Some(groups::GroupConfig { max_participants: Some(256), ..Default::default() });
    let create = groups::CreateGroupRequest { group_id, owner_node_id, config, ..Default::default() };
    link.call::<groups::CreateGroupResponse>(&group_method("CreateGroup"), &create).await?;
    each(FIRST..FIRST + participants, |node| async move { join_group(link, group_id, node).await.map(drop) }).await?;
    Ok(group_id)
}

/// A full group in which every participant has overrides about every other one on each channel.
pub(crate) async fn full_group(link: &Link) -> Result<u64, Ending> {
    let group_id = group(link, GROUP).await?;
    each(FIRST..FIRST + GROUP, |node| set_interests(link, group_id, node, overrides(node))).await?;
    Ok(group_id)
}

/// Joins a participant; its session.
pub(crate) async fn join_group(link: &Link, group_id: u64, node_id: u64) -> Result<u64, Ending> {
    join_group_for(link, group_id, node_id, LEASE).await
}

/// The same with a lease of its own. Who joins again keeps what was set.
pub(crate) async fn join_group_for(
    link: &Link,
    group_id: u64,
    node_id: u64,
    lease: prost_types::Duration,
) -> Result<u64, Ending> {
    let join = groups::JoinGroupRequest { group_id, node_id, lease_ttl: Some(lease), ..Default::default() };
    Ok(link.call::<groups::JoinGroupResponse>(&group_method("JoinGroup"), &join).await?.session_id)
}

pub(crate) async fn leave_group(link: &Link, group_id: u64, node_id: u64) -> Result<(), Ending> {
    let leave = groups::LeaveGroupRequest { group_id, node_id, ..Default::default() };
    link.call::<groups::LeaveGroupResponse>(&group_method("LeaveGroup"), &leave).await.map(drop)
}

pub(crate) async fn set_interests(
    link: &Link,
    group_id: u64,
    node_id: u64,
    interests: Vec<ChannelInterest>,
) -> Result<(), Ending> {
    let set = groups::SetInterestRequest { group_id, node_id, interests, ..Default::default() };
    link.call::<groups::SetInterestResponse>(&group_method("SetInterest"), &set).await.map(drop)
}

/// Interests of a participant in all others, other than the default.
fn overrides(of: u64) -> Vec<ChannelInterest> {
    let others = (FIRST..FIRST + GROUP).filter(move |node| *node != of);
    others.flat_map(|source| CHANNELS.map(|channel| interest(source, channel, Interest::Low))).collect()
}

pub(crate) fn interest(source_node_id: u64, channel: UpdateChannel, interest: Interest) -> ChannelInterest {
    ChannelInterest { channel: channel.into(), interest: interest.into(), source_node_id, ..Default::default() }
}

/// Makes so many calls on each of some connections and reads no answer, until the attack is over.
pub(crate) async fn ask_without_reading(
    attacker: &Attacker,
    connections: u64,
    calls: u64,
    method: &str,
    message: &impl Message,
) -> Result<(), Ending> {
    attacker.begin();
    let mut links = Vec::new();
    for _ in 0..connections {
        links.push(attacker.narrow_link().await?);
    }
    ask_on_without_reading(attacker, &links, calls, method, message).await
}

/// The same on connections that are there.
pub(crate) async fn ask_on_without_reading(
    attacker: &Attacker,
    links: &[Link],
    calls: u64,
    method: &str,
    message: &impl Message,
) -> Result<(), Ending> {
    let link_calls = links.iter().flat_map(|link| (0..calls).map(move |_| link));
    let mut asked: FuturesUnordered<_> = link_calls
        .map(|link| async move {
            match link.unread(method, message).await {
                Ok(body) => unread_ending(body).await,
                Err(ending) => (ending, None),
            }
        })
        .collect();
    // An answer that is let go gives its part of the window back: all are kept.
    let mut kept = Vec::new();
    while let Some(Some((ending, body))) = attacker.in_time(asked.next()).await {
        attacker.note(ending);
        kept.push(body);
    }
    attacker.over().await;
    Ok(())
}
