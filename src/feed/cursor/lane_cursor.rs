//! What one cursor knows of one lane.
//!
//! ```text
//!                 keyframe, if it can be afforded
//!        Live ◄─────────────────────────────────── AwaitingKeyframe
//!         │  ▲                                        ▲
//!         │  │ keyframe: Gap with its end            │ interest from NONE, nothing cached;
//!         ▼  │                                        │ a lane without a keyframe
//!        Broken (the Gap is told, its end is not known yet)
//! ```
//!
//! A lane without runs (AUDIO, CHAT, DATA) is always `Live`: its losses have an end at once.

use super::{Batch, Delivery, FilterChange, Gap, GapReason};
use crate::feed::keyframe_requests::{KeyframeRequests, KeyframeWait};
use crate::feed::lane::{Lane, Tally, has_runs};
use crate::feed::position::{LaneId, TermSeq};
use crate::feed::record::Record;
use crate::feed::skips::Counted;
use crate::feed::time::Micros;
use crate::feed::token_bucket::TokenBucket;
use starling_core::interest::{Channel, Interest};
use starling_core::propagation::Filter;

/// Whether records of a lane come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LaneState {
    /// As they are, if they pass.
    Live,
    /// Not before the next keyframe; nothing was lost.
    AwaitingKeyframe,
    /// Not before the next keyframe: the run was lost, and the subscriber knows it. Boxed,
    /// for it is rare and every subscriber has one of these for each lane.
    Broken(Box<Loss>),
}

impl LaneState {
    pub(super) fn broken(loss: Loss) -> Self {
        Self::Broken(Box::new(loss))
    }

    /// True when nothing but a keyframe comes.
    pub(super) const fn waits(&self) -> bool {
        matches!(self, Self::AwaitingKeyframe | Self::Broken(_))
    }
}

/// A loss that the subscriber was told of without its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) reason: GapReason,
    /// Where it begins, as told.
    pub(super) after: Option<TermSeq>,
    /// How many were lost when it was told; `None` = not known.
    pub(super) lost: Option<u64>,
    /// What the lane had carried by then.
    pub(super) tally: Tally,
    /// How many were lost since, as far as the statistics know.
    pub(super) counted: u64,
}

/// What one cursor knows of one lane.
#[derive(Debug)]
pub(super) struct LaneCursor {
    pub(super) lane: LaneId,
    pub(super) birth: u64,
    /// Asked for.
    pub(super) wanted: bool,
    /// The interest in force.
    pub(super) interest: Interest,
    /// The one to be in force from the next keyframe on.
    pub(super) raised: Option<Interest>,
    /// The filter that the subscriber knows of: interest and layers.
    pub(super) declared: Option<(Interest, u32)>,
    /// The last update that came, was left out, or was told lost.
    pub(super) last: Option<TermSeq>,
    /// What the lane had carried with that one; `None` = not known.
    pub(super) tally: Option<Tally>,
    /// The last update that came.
    pub(super) delivered: Option<TermSeq>,
    pub(super) state: LaneState,
    /// While it waits.
    wait: Option<KeyframeWait>,
    pub(super) skips: Counted,
}

impl LaneCursor {
    /// Of a lane of which nothing was seen yet.
    pub(super) fn new(lane: &Lane, interest: Interest, wanted: bool) -> Self {
        Self {
            lane: lane.id,
            birth: lane.birth,
            wanted,
            interest,
            raised: None,
            declared: Some((interest, lane.layers)),
            last: None,
            tally: Some(Tally::default()),
            delivered: None,
            state: LaneState::Live,
            wait: None,
            skips: Counted::default(),
        }
    }

    /// Waits for a keyframe from now on; one that came meanwhile is gone. True when the
    /// publisher is to hear of it.
    pub(super) fn await_keyframe(&mut self, requests: &mut KeyframeRequests) -> bool {
        let waits = self.wait.is_some_and(|wait| requests.is_for(wait));
        if !waits {
            self.wait = Some(requests.add_waiter());
        }
        !waits
    }

    /// Waits no more.
    pub(super) fn stop_waiting(&mut self, requests: &mut KeyframeRequests) {
        if let Some(wait) = self.wait.take() {
            requests.remove_waiter(wait);
        }
    }

    /// True when updates depend on those since their keyframe.
    pub(super) const fn has_runs(&self) -> bool {
        has_runs(self.lane.1)
    }

    /// True when what passes depends on what came before.
    pub(super) fn needs_runs(&self) -> bool {
        self.has_runs() && self.filter() != Filter::Keyframes
    }

    pub(super) const fn filter(&self) -> Filter {
        self.interest.filter(self.lane.1)
    }

    /// Notes that a record was dealt with.
    pub(super) const fn advance_past(&mut self, record: &Record) {
        self.last = Some(record.position.point());
        self.tally = Some(record.tally_after());
    }

    /// Goes on at this record, whatever came before.
    pub(super) const fn continue_at(&mut self, record: &Record) {
        self.last = record.previous;
        self.tally = Some(record.tally);
    }

    /// The run is lost after `self.last`, and nothing comes before the next keyframe: tells
    /// so. `tally` is what the lane has carried by now, `lost` how many that pass are lost.
    pub(super) fn break_run(&mut self, reason: GapReason, lost: Option<u64>, tally: Tally, batch: &mut Batch<'_>) {
        let after = self.last;
        batch.tell(Gap { lane: self.lane, after, before: None, reason, count: None });
        batch.dropped(self.lane, reason, lost.unwrap_or(1));
        self.state = LaneState::broken(Loss { reason, after, lost, tally, counted: 0 });
    }

    /// What was lost ends before `end`, when the lane had carried `tally`: tells it, if
    /// anything was. Waits for a keyframe from here on.
    pub(super) fn end_loss(&mut self, end: TermSeq, tally: Tally, batch: &mut Batch<'_>) {
        let LaneState::Broken(loss) = &mut self.state else { return };
        let Loss { reason, after, lost, tally: then, counted } = **loss;
        self.state = LaneState::AwaitingKeyframe;
        let since = tally.since(then, self.filter());
        batch.dropped(self.lane, reason, since.saturating_sub(counted));
        let count = lost.map(|lost| lost + since);
        // A resume may find that nothing was lost after all, or begin before the gap that it
        // names; what follows ends the gap then.
        if count != Some(0) && after < Some(end) {
            batch.tell(Gap { lane: self.lane, after, before: Some(end), reason, count });
        }
    }

    /// A record is passed over while its run is broken.
    pub(super) fn count_lost(&mut self, record: &Record, batch: &mut Batch<'_>) {
        let passes = record.passes(self.filter());
        if let LaneState::Broken(loss) = &mut self.state
            && passes
        {
            loss.counted += 1;
            batch.dropped(self.lane, loss.reason, 1);
        }
    }

    /// How many that pass the filter are missing before a record; `None` = not known.
    pub(super) fn missing_before(&self, record: &Record) -> Option<u64> {
        let (term, sequence) = record.position.point();
        if self.last == record.previous || sequence == 1 && self.last == Some((term, 0)) {
            return Some(0);
        }
        self.tally.map(|tally| record.tally.since(tally, self.filter()))
    }

    /// Why updates are missing before one whose publisher began anew in the term `origin`.
    pub(super) fn loss_before(&self, origin: u64) -> GapReason {
        match self.last {
            Some((term, _)) if term < origin => GapReason::TermChanged,
            Some(_) | None => GapReason::Evicted,
        }
    }

    /// Puts the raised interest in force.
    pub(super) fn raise(&mut self, batch: &mut Batch<'_>) {
        let Some(interest) = self.raised.take() else { return };
        self.interest = interest;
        let layers = self.declared.map_or(1, |(_, layers)| layers);
        self.declare(layers, batch);
    }

    /// Tells the subscriber what passes, when that is appended.
    pub(super) fn declare(&mut self, layers: u32, batch: &mut Batch<'_>) {
        let interest = self.interest;
        // The number of layers matters only to those who do not get all of them.
        let same_layers = interest.filter(self.lane.1) != Filter::WithoutTopLayer;
        let known = self.declared.is_some_and(|(told, of)| told == interest && (same_layers || of == layers));
        if !known {
            self.declared = Some((interest, layers));
            batch.deliveries.push(Delivery::Filter(FilterChange { lane: self.lane, interest, layers }));
        }
    }

    /// True when a budget of bytes suffices for a record. What goes first when it does not:
    /// the top temporal layer, then runs of VISUAL and SCREEN, then AUDIO, at last what is
    /// urgent; CHAT and DATA are never given up.
    pub(super) fn can_afford(&self, record: &Record, bucket: &mut TokenBucket, now: Micros) -> bool {
        let burst = i128::from(bucket.burst());
        let least = match self.lane.1 {
            Channel::Chat | Channel::Data => return true,
            _ if record.urgent => -burst,
            Channel::Visual | Channel::Screen if record.top => burst / 4,
            Channel::Visual | Channel::Screen => burst / 8,
            Channel::Audio => 0,
        };
        bucket.balance(now) > least
    }
}
