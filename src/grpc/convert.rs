//! Domain to wire, what both services share. Requests are parsed in [`livestream_requests`]
//! and [`group_requests`], field by field with [`super::fields`].

pub(super) mod group;
pub(super) mod group_requests;
pub(super) mod livestream;
pub(super) mod livestream_requests;

use std::time::Duration;

use bytes::Bytes;

use crate::feed;
use crate::pb::swarm::v1 as pb;
use crate::service::cascade::PeerCounts;
use crate::service::watch::{Removal, ResetReason, TargetDelta};
use crate::store::snapshot::StatsSnapshot;
use starling_core::Event;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::event::{EndReason, LeaveReason};
use starling_core::id::{NodeId, SessionId, SwarmKind};
use starling_core::interest::{Interest, InterestOverride, InterestUpdate, Interests};
use starling_core::member::View;
use starling_core::propagation::{Filter, Priority};
use starling_core::topology::{Peer, Placement, Target, TargetList, Topology};

/// Milliseconds since the Unix epoch.
pub(super) fn timestamp(ms: u64) -> prost_types::Timestamp {
    let seconds = i64::try_from(ms / 1_000).unwrap_or(i64::MAX);
    prost_types::Timestamp { seconds, nanos: i32::try_from(ms % 1_000).unwrap_or(0) * 1_000_000 }
}

/// An event of a swarm of a kind, encoded. `revision` is the term of a grant.
pub(super) fn event(kind: SwarmKind, event: &Event, revision: u64, view: View) -> Bytes {
    match (event, kind) {
        (Event::Shared(event), SwarmKind::Livestream) => {
            livestream::encoded(livestream::shared_event(event, revision, view))
        }
        (Event::Shared(event), SwarmKind::Group) => group::encoded(group::shared_event(event, revision, view)),
        (Event::Livestream(event), _) => livestream::encoded(livestream::livestream_event(event, view)),
        (Event::Group(event), _) => group::encoded(group::group_event(event)),
    }
}

fn member_left(node: NodeId, session: SessionId, reason: LeaveReason) -> pb::MemberLeft {
    let reason = pb::LeaveReason::from(reason).into();
    pb::MemberLeft { node_id: node.get(), session_id: session.get(), reason }
}

fn authority_granted(node: NodeId, on: ChannelSet, term: u64) -> pb::AuthorityGranted {
    pb::AuthorityGranted { node_id: node.get(), channels: channels(on), term, track: 0 }
}

fn ban_changed(node: NodeId, until: Option<u64>) -> pb::BanChanged {
    pb::BanChanged { node_id: node.get(), expire_time: until.map(timestamp) }
}

/// Nodes that must stay out, and until when.
pub(super) fn bans(bans: Vec<(NodeId, u64)>) -> Vec<pb::Ban> {
    let ban = |(node, until): (NodeId, u64)| pb::Ban { node_id: node.get(), expire_time: Some(timestamp(until)) };
    bans.into_iter().map(ban).collect()
}

fn interest_changed(node: NodeId, updates: &[InterestUpdate]) -> pb::InterestChanged {
    let told = |update: &InterestUpdate| match *update {
        InterestUpdate::Standing(channel, level) => channel_interest(channel, level),
        InterestUpdate::Override(one) => interest_override(&one),
        InterestUpdate::Gone(source, channel) => pb::ChannelInterest {
            channel: pb::UpdateChannel::from(channel).into(),
            source_node_id: source.map_or(0, NodeId::get),
            ..Default::default()
        },
    };
    pb::InterestChanged { node_id: node.get(), interests: updates.iter().map(told).collect() }
}

/// Why a swarm ended; UNSPECIFIED = it has not.
fn end_reason(ended: Option<(u64, EndReason)>) -> i32 {
    ended.map_or(pb::EndReason::Unspecified, |(_, reason)| reason.into()).into()
}

/// Milliseconds.
pub(super) fn duration(ms: impl Into<u64>) -> prost_types::Duration {
    prost_types::Duration::try_from(Duration::from_millis(ms.into())).unwrap_or_default()
}

impl From<Channel> for pb::UpdateChannel {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Visual => Self::Visual,
            Channel::Audio => Self::Audio,
            Channel::Screen => Self::Screen,
            Channel::Chat => Self::Chat,
            Channel::Data => Self::Data,
        }
    }
}

pub(super) fn channels(channels: ChannelSet) -> Vec<i32> {
    channels.iter().map(|channel| pb::UpdateChannel::from(channel).into()).collect()
}

impl From<Interest> for pb::Interest {
    fn from(interest: Interest) -> Self {
        match interest {
            Interest::None => Self::None,
            Interest::Low => Self::Low,
            Interest::Medium => Self::Medium,
            Interest::High => Self::High,
            Interest::Critical => Self::Critical,
        }
    }
}

impl From<Priority> for pb::Priority {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Background => Self::Background,
            Priority::Normal => Self::Normal,
            Priority::High => Self::High,
            Priority::Urgent => Self::Urgent,
        }
    }
}

impl From<Topology> for pb::Topology {
    fn from(topology: Topology) -> Self {
        match topology {
            Topology::Star => Self::Star,
            Topology::Tree => Self::Tree,
            Topology::Mesh => Self::Mesh,
        }
    }
}

impl From<LeaveReason> for pb::LeaveReason {
    fn from(reason: LeaveReason) -> Self {
        match reason {
            LeaveReason::Left => Self::Left,
            LeaveReason::Replaced => Self::Replaced,
            LeaveReason::Removed => Self::Removed,
            LeaveReason::Timeout => Self::Timeout,
            LeaveReason::Ended => Self::Ended,
        }
    }
}

impl From<EndReason> for pb::EndReason {
    fn from(reason: EndReason) -> Self {
        match reason {
            EndReason::Requested => Self::Requested,
            EndReason::BroadcasterTimeout => Self::BroadcasterTimeout,
            EndReason::Empty => Self::Empty,
        }
    }
}

impl From<ResetReason> for pb::ResetReason {
    fn from(reason: ResetReason) -> Self {
        match reason {
            ResetReason::Fresh => Self::Fresh,
            ResetReason::EpochChanged => Self::EpochChanged,
            ResetReason::Lapped => Self::Lapped,
            ResetReason::UnknownPosition => Self::UnknownPosition,
        }
    }
}

impl From<feed::GapReason> for pb::GapReason {
    fn from(reason: feed::GapReason) -> Self {
        match reason {
            feed::GapReason::Lagging => Self::Lagging,
            feed::GapReason::Bandwidth => Self::Bandwidth,
            feed::GapReason::Evicted => Self::Evicted,
            feed::GapReason::TermChanged => Self::TermChanged,
            feed::GapReason::EpochChanged => Self::EpochChanged,
            feed::GapReason::UnknownPosition => Self::UnknownPosition,
            feed::GapReason::Upstream => Self::Upstream,
        }
    }
}

/// The standing level of every channel, then the overrides.
pub(super) fn interests(interests: &Interests) -> Vec<pb::ChannelInterest> {
    let standing = interests.standing();
    let levels = standing.iter().map(|(channel, level)| channel_interest(channel, *level));
    levels.chain(interests.overrides().iter().map(interest_override)).collect()
}

fn channel_interest(channel: Channel, level: Interest) -> pb::ChannelInterest {
    pb::ChannelInterest {
        channel: pb::UpdateChannel::from(channel).into(),
        interest: pb::Interest::from(level).into(),
        ..Default::default()
    }
}

fn interest_override(one: &InterestOverride) -> pb::ChannelInterest {
    pb::ChannelInterest {
        source_node_id: one.source.map_or(0, NodeId::get),
        expire_time: one.expires_at.map(timestamp),
        ..channel_interest(one.channel, one.level)
    }
}

impl From<Placement> for pb::Placement {
    fn from(placement: Placement) -> Self {
        let Placement { parent, backup, depth, can_relay } = placement;
        Self {
            parent_node_id: parent.map_or(0, NodeId::get),
            backup_parent_node_id: backup.map_or(0, NodeId::get),
            depth,
            can_relay,
            edge_served: placement.edge_served(),
        }
    }
}

impl From<Filter> for pb::Quality {
    fn from(filter: Filter) -> Self {
        match filter {
            Filter::Nothing => Self::Nothing,
            Filter::Keyframes => Self::Keyframes,
            Filter::WithoutTopLayer => Self::NoTopLayer,
            Filter::Everything => Self::Full,
        }
    }
}

impl From<Peer> for pb::Peer {
    fn from(peer: Peer) -> Self {
        let Peer { node, session, endpoint } = peer;
        Self { node_id: node.get(), session_id: session.map_or(0, SessionId::get), endpoint: endpoint.into() }
    }
}

impl From<Target> for pb::Target {
    fn from(target: Target) -> Self {
        let Target { node, session, endpoint, can_relay, interests } = target;
        let channels = interests.iter().map(|(channel, level)| pb::TargetChannel {
            channel: pb::UpdateChannel::from(channel).into(),
            interest: pb::Interest::from(*level).into(),
            quality: pb::Quality::from(level.filter(channel)).into(),
            track: 0,
        });
        Self {
            node_id: node.get(),
            session_id: session.get(),
            endpoint: Bytes::from(endpoint),
            can_relay,
            channels: channels.collect(),
        }
    }
}

impl From<TargetList> for pb::TargetList {
    fn from(list: TargetList) -> Self {
        let TargetList { topology, placement, parent, backup, targets } = list;
        Self {
            topology: pb::Topology::from(topology).into(),
            placement: placement.map(Into::into),
            targets: targets.into_iter().map(Into::into).collect(),
            parent: parent.map(Into::into),
            backup_parent: backup.map(Into::into),
        }
    }
}

impl From<TargetDelta> for pb::TargetDelta {
    fn from(delta: TargetDelta) -> Self {
        let TargetDelta { topology, placement, parent, backup, added, updated, removed } = delta;
        let removed = removed.into_iter().map(|(node, removal)| {
            let reason = match removal {
                Removal::Gone => pb::TargetRemovalReason::Gone,
                Removal::Reassigned => pb::TargetRemovalReason::Reassigned,
            };
            pb::RemovedTarget { node_id: node.get(), reason: reason.into() }
        });
        Self {
            topology: pb::Topology::from(topology).into(),
            placement: placement.map(Into::into),
            added: added.into_iter().map(Into::into).collect(),
            updated: updated.into_iter().map(Into::into).collect(),
            removed: removed.collect(),
            parent: parent.map(Into::into),
            backup_parent: backup.map(Into::into),
        }
    }
}

impl From<feed::Position> for pb::UpdatePosition {
    fn from(position: feed::Position) -> Self {
        let feed::Position { source, channel, term, sequence } = position;
        Self {
            source_node_id: source.map_or(0, NodeId::get),
            channel: pb::UpdateChannel::from(channel).into(),
            term,
            sequence,
            track: 0,
        }
    }
}

impl From<feed::Gap> for pb::Gap {
    fn from(gap: feed::Gap) -> Self {
        let feed::Gap { lane: (source, channel), after, before, reason, count } = gap;
        let point = |(term, sequence)| pb::TermSequence { term, sequence };
        Self {
            source_node_id: source.map_or(0, NodeId::get),
            channel: pb::UpdateChannel::from(channel).into(),
            after: after.map(point),
            before: before.map(point),
            reason: pb::GapReason::from(reason).into(),
            count,
            track: 0,
        }
    }
}

/// The highest temporal layer that there may be.
const TOP_LAYER: u32 = 7;

impl From<feed::FilterChange> for pb::Filter {
    fn from(change: feed::FilterChange) -> Self {
        let feed::FilterChange { lane: (source, channel), interest, layers } = change;
        let filter = interest.filter(channel);
        Self {
            source_node_id: source.map_or(0, NodeId::get),
            channel: pb::UpdateChannel::from(channel).into(),
            interest: pb::Interest::from(interest).into(),
            max_temporal_layer: match filter {
                Filter::Nothing | Filter::Keyframes => 0,
                Filter::WithoutTopLayer if layers > 1 => layers - 2,
                Filter::WithoutTopLayer | Filter::Everything => TOP_LAYER,
            },
            keyframes_only: filter == Filter::Keyframes,
            track: 0,
        }
    }
}

fn delivery(counts: &feed::Counts) -> pb::DeliveryStats {
    let feed::Counts {
        published,
        published_bytes,
        delivered,
        delivered_bytes,
        dropped,
        latency,
        slow_readers,
        latency_sum: _,
        gaps: _,
        keyframe_requests: _,
    } = *counts;
    let dropped = feed::GapReason::ALL.into_iter().zip(dropped).filter(|(_, count)| *count > 0);
    let latency = latency.into_iter().enumerate().filter(|(_, count)| *count > 0);
    pb::DeliveryStats {
        published,
        published_bytes,
        delivered,
        delivered_bytes,
        dropped: dropped
            .map(|(reason, count)| pb::DropCount { reason: pb::GapReason::from(reason).into(), count })
            .collect(),
        latency: latency
            .map(|(bucket, count)| {
                let bound = feed::bucket_bound(bucket).map(Duration::from);
                pb::LatencyBucket { le: bound.and_then(|bound| bound.try_into().ok()), count }
            })
            .collect(),
        slow_readers,
    }
}

/// What a swarm counts, and its updates on this server and on the others that answered.
pub(super) fn stats(stats: &StatsSnapshot, mut counts: feed::Counts, peers: &PeerCounts) -> pb::SwarmStats {
    peers.answers.iter().for_each(|answer| counts.add(answer));
    let number = |peers: usize| u32::try_from(peers + 1).unwrap_or(u32::MAX);
    let servers = (peers.asked > 0).then(|| (number(peers.asked), number(peers.answers.len())));
    let (servers, servers_answered) = servers.unwrap_or_default();
    let leaves = LeaveReason::ALL.into_iter().zip(stats.leaves).filter(|(_, count)| *count > 0);
    let mut interests = Vec::new();
    for (channel, counts) in stats.interests.iter() {
        for (level, members) in Interest::ALL.into_iter().zip(*counts).filter(|(_, members)| *members > 0) {
            let (channel, interest) = (pb::UpdateChannel::from(channel).into(), pb::Interest::from(level).into());
            interests.push(pb::InterestCount { channel, interest, members, track: 0 });
        }
    }
    pb::SwarmStats {
        joins: stats.joins,
        leaves: leaves
            .map(|(reason, count)| pb::LeaveCount { reason: pb::LeaveReason::from(reason).into(), count })
            .collect(),
        members: stats.members as u64,
        peak_members: stats.peak,
        unique_members: stats.unique.get(),
        unique_members_estimated: stats.unique.is_estimate(),
        interests,
        active_time: Some(duration(stats.active_ms)),
        tree_depth: stats.depth,
        reparentings: stats.reparentings,
        peer_reports: stats.peer_reports,
        delivery: Some(delivery(&counts)),
        servers,
        servers_answered,
    }
}

impl From<feed::Accepted> for pb::PublishReceipt {
    fn from(accepted: feed::Accepted) -> Self {
        let feed::Accepted { position, publisher_sequence: _, duplicate, keyframe_wanted } = accepted;
        Self { position: Some(position.into()), duplicate, keyframe_wanted }
    }
}
