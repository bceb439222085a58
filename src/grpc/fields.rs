//! Fields of requests: parsed once, here, or refused by name.

use std::collections::HashSet;
use std::hash::Hash;

use bytes::Bytes;
use prost::Message;
use prost_types::Duration;

use super::Settings;
use crate::feed::{Draft, Gap, GapReason, MAX_GIVEN, Position, Proof, SIGNATURE_BYTES, Start, Timestamp};
use crate::identity::MAX_TOKEN_BYTES;
use crate::pb::swarm::v1 as pb;
use crate::service::subscribe::ResumePoint;
use crate::service::watch::EventSelection;
use starling_core::SharedCommand;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::command::{By, MemberUpdate, SwarmUpdate};
use starling_core::event::EventKind;
use starling_core::hash::FixedHasher;
use starling_core::id::{NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::interest::{Interest, InterestChange};
use starling_core::member::View;
use starling_core::request::RequestId;

/// The longest metadata of a swarm, in bytes.
pub(super) const SWARM_METADATA: usize = 1_024;
/// The longest endpoint or metadata of a member, in bytes.
pub(super) const MEMBER_BYTES: usize = 256;
/// The shortest lease of a session, in milliseconds.
pub(super) const MIN_LEASE_MS: u32 = 1_000;
/// The longest lease of a session, in milliseconds.
pub(super) const MAX_LEASE_MS: u32 = 300_000;
/// The lease of a session that names none, in milliseconds.
pub(super) const DEFAULT_LEASE_MS: u32 = 30_000;
/// The shortest ban, in milliseconds.
const MIN_BAN_MS: u64 = 1_000;
/// The longest ban, in milliseconds: 30 days.
const MAX_BAN_MS: u32 = 30 * 86_400_000;
/// The most ids or nodes that a list may be asked for by name.
pub(super) const NAMED: usize = 1_000;
/// The most states to select by, for which enumerations have room.
const STATES: usize = 8;
/// The most kinds of events to select, for which enumerations have room.
const KINDS: usize = 32;
/// The longest request_id, in characters.
const REQUEST_ID: usize = 64;
/// The most interests in one request: every channel of every source of the
/// largest group.
const INTERESTS: usize = 5 * 256;
/// The most sources of a subscription: the largest group.
const SOURCES: usize = 256;

/// A field that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InvalidField {
    pub(super) field: String,
    pub(super) problem: String,
}

impl InvalidField {
    /// The same in a message that is the field `parent` of another.
    pub(super) fn below(self, parent: &str) -> Self {
        Self { field: format!("{parent}.{}", self.field), ..self }
    }
}

pub(super) type Parsed<T> = Result<T, InvalidField>;

pub(super) fn invalid<T>(field: impl Into<String>, problem: impl Into<String>) -> Parsed<T> {
    Err(InvalidField { field: field.into(), problem: problem.into() })
}

pub(super) fn swarm_id(kind: SwarmKind, number: u64) -> Parsed<SwarmId> {
    let field = match kind {
        SwarmKind::Livestream => "livestream_id",
        SwarmKind::Group => "group_id",
    };
    SwarmId::new(kind, number).map_or_else(|| invalid(field, "must not be 0"), Ok)
}

pub(super) fn node(field: &str, number: u64) -> Parsed<NodeId> {
    NodeId::new(number).map_or_else(|| invalid(field, "must not be 0"), Ok)
}

/// Who acts. `whole` is the request that this is read from: its digest tells a
/// repeat from another request of the same name.
pub(super) fn by(node_id: u64, session_id: u64, request_id: &str, whole: &impl Message) -> Parsed<By> {
    Ok(By { request: request(request_id, whole)?, ..unnamed(node_id, session_id)? })
}

/// Who asks, of a request that has no name.
pub(super) fn unnamed(node_id: u64, session_id: u64) -> Parsed<By> {
    Ok(By { node: node("node_id", node_id)?, session: SessionId::new(session_id), request: None })
}

pub(super) fn request(name: &str, whole: &impl Message) -> Parsed<Option<RequestId>> {
    if name.is_empty() {
        return Ok(None);
    }
    if name.len() > REQUEST_ID || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return invalid("request_id", format!("must be at most {REQUEST_ID} visible ASCII characters"));
    }
    let fingerprint = FixedHasher::digest(&whole.encode_to_vec());
    Ok(Some(RequestId { name: name.into(), fingerprint }))
}

pub(super) fn opaque(field: &str, bytes: &Bytes, max: usize) -> Parsed<Box<[u8]>> {
    if bytes.len() > max {
        return invalid(field, format!("must be at most {max} bytes, not {}", bytes.len()));
    }
    Ok(bytes.as_ref().into())
}

/// What a member says of itself; it must say something.
pub(super) fn member_update(
    metadata: Option<&Bytes>,
    endpoint: Option<&Bytes>,
    can_relay: Option<bool>,
) -> Parsed<MemberUpdate> {
    if metadata.is_none() && endpoint.is_none() && can_relay.is_none() {
        return invalid("metadata", "or another field must say something");
    }
    Ok(MemberUpdate {
        metadata: metadata.map(|bytes| opaque("metadata", bytes, MEMBER_BYTES)).transpose()?,
        endpoint: endpoint.map(|bytes| opaque("endpoint", bytes, MEMBER_BYTES)).transpose()?,
        can_relay,
    })
}

pub(super) fn within<T: PartialOrd + std::fmt::Display + Copy>(field: &str, value: T, least: T, most: T) -> Parsed<T> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        invalid(field, format!("must be {least} to {most}, not {value}"))
    }
}

/// A duration in milliseconds, rounded up, within bounds in milliseconds.
pub(super) fn millis(field: &str, duration: &Duration, least: u64, most: u64) -> Parsed<u64> {
    let (seconds, nanos) = (u64::try_from(duration.seconds), u64::try_from(duration.nanos));
    let (Ok(seconds), Ok(nanos @ 0..=999_999_999)) = (seconds, nanos) else {
        return invalid(field, "is not a duration of zero or more");
    };
    // Up: a short time must not become none, which often means never.
    let millis = seconds.saturating_mul(1_000).saturating_add(nanos.div_ceil(1_000_000));
    if (least..=most).contains(&millis) {
        Ok(millis)
    } else {
        invalid(field, format!("must be {least} ms to {most} ms, not {millis} ms"))
    }
}

/// The same for an optional one, of which 32 bits are enough.
pub(super) fn millis_or(field: &str, duration: Option<&Duration>, least: u64, most: u32, default: u32) -> Parsed<u32> {
    let Some(duration) = duration else { return Ok(default) };
    Ok(u32::try_from(millis(field, duration, least, u64::from(most))?).unwrap_or(most))
}

/// The lease of a session: 1 s to 5 min, 30 s unless said.
pub(super) fn lease(ttl: Option<&Duration>) -> Parsed<u32> {
    millis_or("lease_ttl", ttl, u64::from(MIN_LEASE_MS), MAX_LEASE_MS, DEFAULT_LEASE_MS)
}

/// A token, before it is looked at.
pub(super) fn token(field: &str, token: &str) -> Parsed<()> {
    match token.len() {
        0 => invalid(field, "must not be empty"),
        1..=MAX_TOKEN_BYTES => Ok(()),
        long => invalid(field, format!("must be at most {MAX_TOKEN_BYTES} bytes, not {long}")),
    }
}

/// A removal; with a ban, for 1 s to 30 days.
pub(super) fn removal(by: By, node: NodeId, ban: Option<&Duration>) -> Parsed<SharedCommand> {
    let Some(ban) = ban else { return Ok(SharedCommand::Remove(by, node)) };
    let ttl_ms = millis("ban", ban, MIN_BAN_MS, MAX_BAN_MS.into())?;
    Ok(SharedCommand::Ban { by, node, ttl_ms: u32::try_from(ttl_ms).unwrap_or(MAX_BAN_MS) })
}

/// A point in time at most `latest`, in milliseconds since the Unix epoch, rounded up.
pub(super) fn time(field: &str, time: &prost_types::Timestamp, latest: u64) -> Parsed<u64> {
    let (seconds, nanos) = (u64::try_from(time.seconds), u64::try_from(time.nanos));
    let (Ok(seconds), Ok(nanos @ 0..=999_999_999)) = (seconds, nanos) else {
        return invalid(field, "is no point in time since 1970");
    };
    // Up: what was issued just before is to be in.
    let millis = seconds.saturating_mul(1_000).saturating_add(nanos.div_ceil(1_000_000));
    if millis <= latest { Ok(millis) } else { invalid(field, "is in the future") }
}

pub(super) fn channel(field: &str, number: i32) -> Parsed<Channel> {
    Ok(match pb::UpdateChannel::try_from(number) {
        Ok(pb::UpdateChannel::Visual) => Channel::Visual,
        Ok(pb::UpdateChannel::Audio) => Channel::Audio,
        Ok(pb::UpdateChannel::Screen) => Channel::Screen,
        Ok(pb::UpdateChannel::Chat) => Channel::Chat,
        Ok(pb::UpdateChannel::Data) => Channel::Data,
        Ok(pb::UpdateChannel::Unspecified) => return invalid(field, "must be given"),
        Err(_) => return invalid(field, format!("{number} is no channel")),
    })
}

pub(super) fn channels(field: &str, numbers: &[i32]) -> Parsed<ChannelSet> {
    at_most(field, numbers, Channel::ALL.len())?;
    distinct(field, numbers.iter())?;
    let parse = |(index, number): (usize, &i32)| channel(&format!("{field}[{index}]"), *number);
    numbers.iter().enumerate().map(parse).collect()
}

/// Refuses a list that is too long before any of it is looked at.
pub(super) fn at_most<T>(field: &str, list: &[T], most: usize) -> Parsed<()> {
    if list.len() <= most { Ok(()) } else { invalid(field, format!("must be at most {most}, not {}", list.len())) }
}

/// Refuses a list that has something twice. O(n).
fn distinct<T: Hash + Eq>(field: &str, mut list: impl Iterator<Item = T>) -> Parsed<()> {
    let mut seen = HashSet::new();
    list.position(|item| !seen.insert(item))
        .map_or(Ok(()), |index| invalid(format!("{field}[{index}]"), "was given before"))
}

fn level(field: &str, number: i32) -> Parsed<Interest> {
    Ok(match pb::Interest::try_from(number) {
        Ok(pb::Interest::None) => Interest::None,
        Ok(pb::Interest::Low) => Interest::Low,
        Ok(pb::Interest::Medium) => Interest::Medium,
        Ok(pb::Interest::High) => Interest::High,
        Ok(pb::Interest::Critical) => Interest::Critical,
        Ok(pb::Interest::Unspecified) => return invalid(field, "must be given"),
        Err(_) => return invalid(field, format!("{number} is no interest")),
    })
}

/// Interests of a Join or SetInterest; sources are for groups only.
pub(super) fn interests(kind: SwarmKind, wanted: &[pb::ChannelInterest]) -> Parsed<Vec<InterestChange>> {
    at_most("interests", wanted, INTERESTS)?;
    let parse = |(index, change): (usize, &pb::ChannelInterest)| {
        let pb::ChannelInterest { channel: number, interest, source_node_id, ttl, expire_time: _, track: of } = change;
        let field = |name: &str| format!("interests[{index}].{name}");
        if *source_node_id != 0 && kind == SwarmKind::Livestream {
            return invalid(field("source_node_id"), "is for groups only");
        }
        let ttl_ms = ttl.as_ref().map(|ttl| millis_or(&field("ttl"), Some(ttl), 1_000, 86_400_000, 0)).transpose()?;
        track(&field("track"), *of)?;
        Ok(InterestChange {
            channel: channel(&field("channel"), *number)?,
            source: NodeId::new(*source_node_id),
            level: level(&field("interest"), *interest)?,
            ttl_ms,
        })
    };
    let changes: Vec<_> = wanted.iter().enumerate().map(parse).collect::<Parsed<_>>()?;
    distinct("interests", changes.iter().map(|change| (change.source, change.channel)))?;
    Ok(changes)
}

/// Interests of a SetInterest, which must name one.
pub(super) fn some_interests(kind: SwarmKind, wanted: &[pb::ChannelInterest]) -> Parsed<Vec<InterestChange>> {
    if wanted.is_empty() {
        return invalid("interests", "must not be empty");
    }
    interests(kind, wanted)
}

/// An update of a swarm, which must change something.
pub(super) fn some_update(update: SwarmUpdate) -> Parsed<SwarmUpdate> {
    if update == SwarmUpdate::default() { invalid("metadata", "or config must say something") } else { Ok(update) }
}

/// How many items a page may have: 0 stands for 100, more than `max` for `max`.
pub(super) fn page_size(size: i32, max: usize) -> Parsed<usize> {
    match usize::try_from(size) {
        Ok(0) => Ok(max.min(100)),
        Ok(size) => Ok(size.min(max)),
        Err(_) => invalid("page_size", "must not be negative"),
    }
}

/// The sources of a subscription.
pub(super) fn sources(numbers: &[u64]) -> Parsed<Vec<NodeId>> {
    at_most("source_node_ids", numbers, SOURCES)?;
    distinct("source_node_ids", numbers.iter())?;
    let parse = |(index, number): (usize, &u64)| node(&format!("source_node_ids[{index}]"), *number);
    numbers.iter().enumerate().map(parse).collect()
}

/// Where a subscription begins.
pub(super) fn start(number: i32) -> Parsed<Start> {
    match pb::StartFrom::try_from(number) {
        Ok(pb::StartFrom::Unspecified | pb::StartFrom::Keyframe) => Ok(Start::Keyframe),
        Ok(pb::StartFrom::Live) => Ok(Start::Live),
        Err(_) => invalid("start_from", format!("{number} is no start")),
    }
}

/// Where an earlier subscription stopped.
pub(super) fn resume(point: Option<pb::SubscriptionPosition>) -> Parsed<Option<ResumePoint>> {
    let Some(pb::SubscriptionPosition { epoch, positions, open_gaps }) = point else { return Ok(None) };
    at_most("resume_from.positions", &positions, INTERESTS)?;
    at_most("resume_from.open_gaps", &open_gaps, INTERESTS)?;
    distinct("resume_from.positions", positions.iter().map(|position| (position.source_node_id, position.channel)))?;
    distinct("resume_from.open_gaps", open_gaps.iter().map(|gap| (gap.source_node_id, gap.channel)))?;
    let position = |(index, position): (usize, &pb::UpdatePosition)| {
        let pb::UpdatePosition { source_node_id, channel: number, term, sequence, track: of } = *position;
        let field = |name: &str| format!("resume_from.positions[{index}].{name}");
        track(&field("track"), of)?;
        let channel = channel(&field("channel"), number)?;
        Ok(Position { source: NodeId::new(source_node_id), channel, term, sequence })
    };
    let open_gap = |(index, gap): (usize, &pb::Gap)| {
        let pb::Gap { source_node_id, channel: number, after, before, reason: _, count: _, track: of } = *gap;
        let field = |name: &str| format!("resume_from.open_gaps[{index}].{name}");
        track(&field("track"), of)?;
        if before.is_some() {
            return invalid(field("before"), "must be absent: the gap is not open");
        }
        let channel = channel(&field("channel"), number)?;
        let after = after.map(|pb::TermSequence { term, sequence }| (term, sequence));
        let reason = gap_reason(&field("reason"), gap.reason)?;
        Ok(Gap { lane: (NodeId::new(source_node_id), channel), after, before: None, reason, count: None })
    };
    Ok(Some(ResumePoint {
        epoch,
        positions: positions.iter().enumerate().map(position).collect::<Parsed<_>>()?,
        open_gaps: open_gaps.iter().enumerate().map(open_gap).collect::<Parsed<_>>()?,
    }))
}

fn gap_reason(field: &str, number: i32) -> Parsed<GapReason> {
    Ok(match pb::GapReason::try_from(number) {
        Ok(pb::GapReason::Lagging) => GapReason::Lagging,
        Ok(pb::GapReason::Bandwidth) => GapReason::Bandwidth,
        Ok(pb::GapReason::Evicted) => GapReason::Evicted,
        Ok(pb::GapReason::TermChanged) => GapReason::TermChanged,
        Ok(pb::GapReason::EpochChanged) => GapReason::EpochChanged,
        Ok(pb::GapReason::UnknownPosition) => GapReason::UnknownPosition,
        Ok(pb::GapReason::Upstream) => GapReason::Upstream,
        Ok(pb::GapReason::Unspecified) => return invalid(field, "must be given"),
        Err(_) => return invalid(field, format!("{number} is no reason of a gap")),
    })
}

/// A track of a channel: there is one.
pub(super) fn track(field: &str, number: u32) -> Parsed<()> {
    if number == 0 { Ok(()) } else { invalid(field, "must be 0: a channel has one track") }
}

/// A channel whose updates depend on those since their keyframe.
pub(super) fn picture(number: i32, of: u32) -> Parsed<Channel> {
    track("track", of)?;
    match channel("channel", number)? {
        found @ (Channel::Visual | Channel::Screen) => Ok(found),
        Channel::Audio | Channel::Chat | Channel::Data => invalid("channel", "must be VISUAL or SCREEN"),
    }
}

/// What google.protobuf.Timestamp can hold, in seconds since the Unix epoch.
const YEARS_1_TO_9999: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// An update as published, accepted at `now` (milliseconds since the Unix epoch).
/// `layers` is how many temporal layers its publisher declared.
pub(super) fn draft(update: pb::UpdateDraft, settings: &Settings, layers: u32, now: u64) -> Parsed<Draft> {
    let pb::UpdateDraft {
        channel: number,
        payload,
        keyframe,
        temporal_layer,
        publisher_sequence,
        publish_time,
        urgent,
        track: of,
        signature,
    } = update;
    let channel = channel("update.channel", number)?;
    let most = settings.max_payload(channel);
    if payload.len() > most {
        return invalid("update.payload", format!("must be at most {most} bytes, not {}", payload.len()));
    }
    track("update.track", of)?;
    if publisher_sequence > MAX_GIVEN {
        return invalid("update.publisher_sequence", format!("must be at most {MAX_GIVEN}"));
    }
    let proof = proof(&signature, publisher_sequence)?;
    let layers = if matches!(channel, Channel::Visual | Channel::Screen) { layers } else { 1 };
    let temporal_layer = within("update.temporal_layer", temporal_layer, 0, layers - 1)?;
    if let Some(t) = &publish_time
        && (!(0..1_000_000_000).contains(&t.nanos) || !YEARS_1_TO_9999.contains(&t.seconds))
    {
        return invalid("update.publish_time", "is no point in time");
    }
    let time = |t: prost_types::Timestamp| Timestamp { seconds: t.seconds, nanos: t.nanos };
    Ok(Draft {
        channel,
        payload,
        keyframe,
        urgent,
        temporal_layer,
        publisher_sequence,
        publish_time: publish_time.map(time),
        accept_time: time(super::convert::timestamp(now)),
        proof,
    })
}

/// The signature of an update; it is not verified here.
fn proof(signature: &Bytes, publisher_sequence: u64) -> Parsed<Option<Box<Proof>>> {
    if signature.is_empty() {
        return Ok(None);
    }
    let Ok(signature) = signature.as_ref().try_into() else {
        return invalid("update.signature", format!("must be {SIGNATURE_BYTES} bytes, not {}", signature.len()));
    };
    // It is part of what is signed: the server cannot count.
    match publisher_sequence {
        0 => invalid("update.publisher_sequence", "must be given with a signature"),
        _ => Ok(Some(Box::new(Proof { signature, verified: None }))),
    }
}

/// An update that comes alone.
pub(super) fn single_draft(update: Option<pb::UpdateDraft>, settings: &Settings, now: u64) -> Parsed<Draft> {
    // Layers are declared on publish streams only; here the update's own number says enough.
    let update = update.map_or_else(|| invalid("update", "must be given"), Ok)?;
    draft(update, settings, 8, now)
}

/// The term that an update must be published under; `None` = the current one.
pub(super) const fn fence(term: u64) -> Option<u64> {
    match term {
        0 => None,
        term => Some(term),
    }
}

/// The node that an event watch belongs to: none for an observer.
pub(super) fn observer(node_id: u64, session_id: u64) -> Parsed<Option<NodeId>> {
    match (NodeId::new(node_id), session_id) {
        (None, 0) => Ok(None),
        (None, _) => invalid("node_id", "must be given with session_id"),
        (node, _) => Ok(node),
    }
}

/// The kinds of events that are wanted; none stands for the default.
pub(super) fn kinds(numbers: &[i32], kind: impl Fn(i32) -> Option<EventKind>) -> Parsed<EventSelection> {
    if numbers.is_empty() {
        return Ok(EventSelection::DEFAULT);
    }
    at_most("kinds", numbers, KINDS)?;
    distinct("kinds", numbers.iter())?;
    let parse = |(index, number): (usize, &i32)| {
        kind(*number).map_or_else(|| invalid(format!("kinds[{index}]"), format!("{number} is no kind of event")), Ok)
    };
    numbers.iter().enumerate().map(parse).collect()
}

/// How much of a member is to be shown.
pub(super) fn view(number: i32) -> Parsed<View> {
    match pb::MemberView::try_from(number) {
        Ok(pb::MemberView::Unspecified | pb::MemberView::Basic) => Ok(View::Basic),
        Ok(pb::MemberView::Full) => Ok(View::Full),
        Err(_) => invalid("view", format!("{number} is no view")),
    }
}

/// Refuses events that show what the view does not.
pub(super) fn shown(selection: EventSelection, view: View) -> Parsed<EventSelection> {
    let hidden = view == View::Basic && selection.contains(EventKind::Interest);
    if hidden { invalid("kinds", "INTEREST needs the view FULL") } else { Ok(selection) }
}

/// What a list is asked for by name; `None` = by page.
pub(super) fn named<'a>(field: &str, numbers: &'a [u64], page_size: i32) -> Parsed<Option<&'a [u64]>> {
    if numbers.is_empty() {
        return Ok(None);
    }
    at_most(field, numbers, NAMED)?;
    distinct(field, numbers.iter())?;
    if let Some(index) = numbers.iter().position(|number| *number == 0) {
        return invalid(format!("{field}[{index}]"), "must not be 0");
    }
    if page_size != 0 {
        return invalid("page_size", format!("must be unset with {field}"));
    }
    Ok(Some(numbers))
}

/// States to select by; none stands for all. Zero names no state.
pub(super) fn states(numbers: &[i32], is_state: impl Fn(i32) -> bool) -> Parsed<Vec<i32>> {
    at_most("states", numbers, STATES)?;
    distinct("states", numbers.iter())?;
    match numbers.iter().position(|number| *number == 0 || !is_state(*number)) {
        Some(index) => invalid(format!("states[{index}]"), format!("{} is no state", numbers[index])),
        None => Ok(numbers.to_vec()),
    }
}
