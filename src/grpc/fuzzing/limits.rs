//! The documented limits of what a client may ask for, said a second time.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use starling_core::command::{
    By, Command, CreateGroup, CreateLivestream, Join, LivestreamCommand, MemberUpdate, SharedCommand, SwarmUpdate,
};
use starling_core::id::SwarmKind;
use starling_core::interest::InterestChange;
use starling_core::member::ViewerMode;
use starling_core::numbers::MAX_GIVEN;
use starling_core::request::RequestId;

const BANDWIDTH: RangeInclusive<u64> = 1_000..=1_000_000_000;
const KEYFRAME_INTERVAL_MS: RangeInclusive<u32> = 100..=60_000;
const MAX_LAG_MS: RangeInclusive<u32> = 100..=600_000;
const BROADCASTER_TIMEOUT_MS: RangeInclusive<u64> = 0..=7 * 86_400_000;
const LEASE_MS: RangeInclusive<u32> = 1_000..=300_000;
const BAN_MS: RangeInclusive<u32> = 1_000..=30 * 86_400_000;
const INTEREST_MS: RangeInclusive<u32> = 1_000..=86_400_000;

/// What of a command is beyond the documented limits, the first thing that is; `None` = nothing.
pub fn beyond_limits(kind: SwarmKind, command: &Command) -> Option<&'static str> {
    if command.by().is_some_and(|by| !name_fits(by)) {
        return Some("request_id");
    }
    match command {
        Command::CreateLivestream(create) | Command::CreateSignedLivestream(create, _) => livestream(create),
        Command::CreateGroup(create) => group(create),
        Command::Shared(command) => shared(kind, command),
        Command::Livestream(LivestreamCommand::Chat { publisher_sequence, .. }) => {
            first([(*publisher_sequence <= MAX_GIVEN, "publisher_sequence")])
        }
        Command::Livestream(
            LivestreamCommand::Start(_)
            | LivestreamCommand::Pause(_)
            | LivestreamCommand::Resume(_)
            | LivestreamCommand::AddModerator(..)
            | LivestreamCommand::RemoveModerator(..)
            | LivestreamCommand::Mute(..)
            | LivestreamCommand::Unmute(..)
            | LivestreamCommand::Transfer(..)
            | LivestreamCommand::TransferSigned(..),
        )
        | Command::Group(_) => None,
    }
}

fn first(rules: impl IntoIterator<Item = (bool, &'static str)>) -> Option<&'static str> {
    rules.into_iter().find_map(|(holds, name)| (!holds).then_some(name))
}

fn livestream(create: &CreateLivestream) -> Option<&'static str> {
    let config = &create.config;
    first([
        ((1..=1_000).contains(&config.star_to_tree_threshold), "star_to_tree_threshold"),
        ((2..=64).contains(&config.tree_fanout), "tree_fanout"),
        (BANDWIDTH.contains(&config.subscriber_bytes_per_second), "subscriber_bytes_per_second"),
        (KEYFRAME_INTERVAL_MS.contains(&config.keyframe_interval_ms), "keyframe_interval"),
        ((1..=10_000_000).contains(&config.max_viewers), "max_viewers"),
        (MAX_LAG_MS.contains(&config.max_lag_ms), "max_lag"),
        (BROADCASTER_TIMEOUT_MS.contains(&config.broadcaster_timeout_ms), "broadcaster_timeout"),
        (create.metadata.len() <= 1_024, "metadata"),
    ])
}

fn group(create: &CreateGroup) -> Option<&'static str> {
    let config = &create.config;
    first([
        ((1..=256).contains(&config.max_participants), "max_participants"),
        (BANDWIDTH.contains(&config.subscriber_bytes_per_second), "subscriber_bytes_per_second"),
        (KEYFRAME_INTERVAL_MS.contains(&config.keyframe_interval_ms), "keyframe_interval"),
        (MAX_LAG_MS.contains(&config.max_lag_ms), "max_lag"),
        (create.metadata.len() <= 1_024, "metadata"),
    ])
}

fn shared(kind: SwarmKind, command: &SharedCommand) -> Option<&'static str> {
    match command {
        SharedCommand::Join(join) => self::join(kind, join),
        SharedCommand::SetInterest(_, changes) if changes.is_empty() => Some("interests"),
        SharedCommand::SetInterest(_, changes) => interests(kind, changes),
        SharedCommand::UpdateMember(_, MemberUpdate { metadata, endpoint, can_relay }) => first([
            (metadata.is_some() || endpoint.is_some() || can_relay.is_some(), "nothing"),
            (fits(metadata.as_deref(), 256), "metadata"),
            (fits(endpoint.as_deref(), 256), "endpoint"),
        ]),
        SharedCommand::UpdateSwarm(_, update) => swarm_update(kind, update),
        SharedCommand::Ban { ttl_ms, .. } => first([(BAN_MS.contains(ttl_ms), "ban")]),
        SharedCommand::Claim { channels, ttl_ms, .. } | SharedCommand::Acquire { channels, ttl_ms, .. } => {
            first([(!channels.is_empty(), "channels"), (LEASE_MS.contains(ttl_ms), "ttl")])
        }
        SharedCommand::Leave(_)
        | SharedCommand::Touch(..)
        | SharedCommand::Attach(..)
        | SharedCommand::Detach(..)
        | SharedCommand::PodGone(_)
        | SharedCommand::Expire
        | SharedCommand::Forget
        | SharedCommand::End(_)
        | SharedCommand::Remove(..)
        | SharedCommand::Unban(..)
        | SharedCommand::ReportPeer(..) => None,
    }
}

fn join(kind: SwarmKind, join: &Join) -> Option<&'static str> {
    let relaying_lurker = join.mode == Some(ViewerMode::Lurker) && join.can_relay == Some(true);
    let of_other_kind = match kind {
        SwarmKind::Livestream => join.listens.is_some(),
        SwarmKind::Group => join.mode.is_some() || join.can_relay.is_some(),
    };
    let rules = first([
        (LEASE_MS.contains(&join.ttl_ms), "lease_ttl"),
        (fits(join.endpoint.as_deref(), 256), "endpoint"),
        (fits(join.metadata.as_deref(), 256), "metadata"),
        (request_fits(join.request.as_ref()), "request_id"),
        (!relaying_lurker, "can_relay"),
        (!of_other_kind, "mode"),
    ]);
    rules.or_else(|| interests(kind, &join.interests))
}

fn interests(kind: SwarmKind, changes: &[InterestChange]) -> Option<&'static str> {
    let mut seen = HashSet::new();
    first([
        (changes.len() <= 5 * 256, "interests"),
        (changes.iter().all(|change| seen.insert((change.source, change.channel))), "interests twice"),
        (kind == SwarmKind::Group || changes.iter().all(|change| change.source.is_none()), "interests.source"),
        (changes.iter().all(|change| change.ttl_ms.is_none_or(|ttl| INTEREST_MS.contains(&ttl))), "interests.ttl"),
    ])
}

fn swarm_update(kind: SwarmKind, update: &SwarmUpdate) -> Option<&'static str> {
    let most = match kind {
        SwarmKind::Livestream => 10_000_000,
        SwarmKind::Group => 256,
    };
    let within = |range: &RangeInclusive<u32>, value: Option<u32>| value.is_none_or(|value| range.contains(&value));
    let wide = |range: &RangeInclusive<u64>, value: Option<u64>| value.is_none_or(|value| range.contains(&value));
    first([
        (*update != SwarmUpdate::default(), "nothing"),
        (fits(update.metadata.as_deref(), 1_024), "metadata"),
        (wide(&BANDWIDTH, update.subscriber_bytes_per_second), "subscriber_bytes_per_second"),
        (within(&KEYFRAME_INTERVAL_MS, update.keyframe_interval_ms), "keyframe_interval"),
        (within(&MAX_LAG_MS, update.max_lag_ms), "max_lag"),
        (within(&(1..=most), update.capacity), "capacity"),
        (wide(&BROADCASTER_TIMEOUT_MS, update.broadcaster_timeout_ms), "broadcaster_timeout"),
        (kind == SwarmKind::Livestream || update.broadcaster_timeout_ms.is_none(), "broadcaster_timeout of a group"),
    ])
}

fn fits(bytes: Option<&[u8]>, most: usize) -> bool {
    bytes.is_none_or(|bytes| bytes.len() <= most)
}

fn name_fits(by: &By) -> bool {
    request_fits(by.request.as_ref())
}

fn request_fits(request: Option<&RequestId>) -> bool {
    request.is_none_or(|RequestId { name, .. }| {
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    })
}
