//! Swarms, and the updates in them.

use std::time::Duration;

use prometheus_client::registry::Unit;

use super::families::Families;
use crate::feed::{self, FeedTotals, GapReason};
use crate::store::counts::SwarmCounts;
use starling_core::event::LeaveReason;
use starling_core::id::SwarmKind;
use starling_core::livestream::State;

const KINDS: [(SwarmKind, &str); 2] = [(SwarmKind::Livestream, "livestream"), (SwarmKind::Group, "group")];

const fn state(state: State) -> &'static str {
    match state {
        State::Initializing => "initializing",
        State::Active => "active",
        State::Paused => "paused",
        State::Ended => "ended",
    }
}

const fn leave(reason: LeaveReason) -> &'static str {
    match reason {
        LeaveReason::Left => "left",
        LeaveReason::Replaced => "replaced",
        LeaveReason::Removed => "removed",
        LeaveReason::Timeout => "timeout",
        LeaveReason::Ended => "ended",
    }
}

const fn gap(reason: GapReason) -> &'static str {
    match reason {
        GapReason::Lagging => "lagging",
        GapReason::Bandwidth => "bandwidth",
        GapReason::Evicted => "evicted",
        GapReason::TermChanged => "term_changed",
        GapReason::EpochChanged => "epoch_changed",
        GapReason::UnknownPosition => "unknown_position",
        GapReason::Upstream => "upstream",
    }
}

/// Who is in which swarms.
pub(super) fn swarms(families: &mut Families, counts: &SwarmCounts) {
    let mut swarms = families.gauge("starling_swarms", None, "Swarms, those included that have ended and are kept");
    for (kind, name) in KINDS {
        for (of, count) in counts.kind(kind).swarms() {
            // A group is never in one of the others.
            if kind == SwarmKind::Livestream || matches!(of, State::Active | State::Ended) {
                swarms.put(&[("kind", name), ("state", state(of))], count);
            }
        }
    }
    let mut members = families.gauge("starling_members", None, "Members of all swarms");
    for (kind, name) in KINDS {
        members.put(&[("kind", name)], counts.kind(kind).members);
    }
    let mut joins = families.counter("starling_joins", None, "Sessions of members that began");
    for (kind, name) in KINDS {
        joins.put(&[("kind", name)], counts.kind(kind).joins);
    }
    let mut leaves = families.counter("starling_leaves", None, "Sessions of members that ended, by why");
    for (kind, name) in KINDS {
        for (reason, count) in counts.kind(kind).leaves() {
            leaves.put(&[("kind", name), ("reason", leave(reason))], count);
        }
    }
}

/// What was published, and who got it.
pub(super) fn updates(families: &mut Families, totals: &FeedTotals) {
    let counts = totals.counts();
    families.counter("starling_updates_published", None, "Updates taken").put(&[], counts.published);
    let help = "Payloads of the updates taken";
    families.counter("starling_published", Some(Unit::Bytes), help).put(&[], counts.published_bytes);
    let mut rejected = families.counter("starling_updates_rejected", None, "Updates not taken, by why");
    for (reason, updates) in totals.rejected() {
        rejected.put(&[("reason", reason)], updates);
    }
    families.counter("starling_deliveries", None, "Updates handed to subscribers").put(&[], counts.delivered);
    let help = "Records of the updates handed to subscribers";
    families.counter("starling_delivered", Some(Unit::Bytes), help).put(&[], counts.delivered_bytes);
    let mut gaps = families.counter("starling_gaps", None, "Gaps told to subscribers, by why");
    for (reason, count) in GapReason::ALL.into_iter().zip(counts.gaps) {
        gaps.put(&[("reason", gap(reason))], count);
    }
    let mut dropped = families.counter("starling_updates_dropped", None, "Updates that subscribers lost, by why");
    for (reason, updates) in GapReason::ALL.into_iter().zip(counts.dropped) {
        dropped.put(&[("reason", gap(reason))], updates);
    }
    let help = "Keyframes that publishers were asked for";
    families.counter("starling_keyframe_requests", None, help).put(&[], counts.keyframe_requests);
    let help = "Time from the acceptance of an update to its handing to a subscriber that was up to date";
    let bound = |bucket| feed::bucket_bound(bucket).map(|bound| Duration::from(bound).as_secs_f64());
    let buckets = (0..).map(bound).zip(counts.latency).collect();
    let sum = Duration::from(counts.latency_sum).as_secs_f64();
    families.histogram("starling_delivery_latency", Unit::Seconds, help).put_times(&[], sum, buckets);
}
