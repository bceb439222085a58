//! What one cursor knows of one lane.

use super::context::{Batch, Read};
use super::lane_state::{LaneState, Loss};
use crate::clock::Micros;
use crate::feed::delivery::{Delivery, FilterChange};
use crate::feed::gap::{Gap, GapReason};
use crate::feed::lane::{Lane, Tally, has_runs};
use crate::feed::position::{LaneId, TermSeq};
use crate::feed::record::{Flags, Record};
use crate::feed::skips::Counted;
use starling_core::channel::Channel;
use starling_core::interest::Interest;
use starling_core::propagation::Filter;
use starling_core::token_bucket::TokenBucket;

/// What one cursor knows of one lane.
#[derive(Debug)]
pub(super) struct LaneCursor {
    pub(super) lane: LaneId,
    /// That of the lane: another one in the same slot is another lane.
    pub(super) birth: u64,
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
    /// `last` was read at another pod, and what this one has begins or ends elsewhere.
    pub(super) from_elsewhere: bool,
    pub(super) state: LaneState,
    pub(super) skips: Counted,
}

impl LaneCursor {
    /// Of a lane of which nothing was seen yet.
    pub(super) fn new(lane: &Lane, interest: Interest, wanted: bool) -> Self {
        Self {
            lane: lane.id,
            birth: lane.birth,
            interest,
            raised: None,
            declared: Some((interest, lane.layers)),
            last: None,
            tally: Some(Tally::default()),
            delivered: None,
            from_elsewhere: false,
            state: LaneState::start(wanted, interest),
            skips: Counted::default(),
        }
    }

    /// True when the subscription asked for the lane.
    pub(super) const fn is_wanted(&self) -> bool {
        !matches!(self.state, LaneState::Unwanted)
    }

    /// Asks the publisher for a keyframe, unless one was asked for already.
    pub(super) fn request_keyframe(&mut self, slot: usize, read: &mut Read<'_>) {
        read.notify_publishers |= self.state.request_keyframe(&mut read.lanes.at_mut(slot).requests);
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
        self.from_elsewhere = false;
    }

    /// Goes on at this record, whatever came before.
    pub(super) const fn continue_at(&mut self, record: &Record) {
        self.last = record.previous();
        self.tally = Some(record.tally);
        self.from_elsewhere = false;
    }

    /// The run is lost after `self.last`, and nothing comes before the next keyframe: tells
    /// so. `tally` is what the lane has carried by now, `lost` how many that pass are lost.
    pub(super) fn break_run(&mut self, reason: GapReason, lost: Option<u64>, tally: Tally, batch: &mut Batch<'_>) {
        let after = self.last;
        batch.tell(Gap { lane: self.lane, after, before: None, reason, count: None });
        batch.dropped(self.lane, reason, lost.unwrap_or(1));
        self.state.on_run_lost(Loss { reason, after, lost, tally, counted: 0 });
    }

    /// What was lost ends before `end`, when the lane had carried `tally`: tells it, if
    /// anything was. Waits for a keyframe from here on.
    pub(super) fn end_loss(&mut self, end: TermSeq, tally: Tally, batch: &mut Batch<'_>) {
        let Some(loss) = self.state.on_loss_ended() else { return };
        let Loss { reason, after, lost, tally: then, counted } = loss;
        // Counted while they passed by, as far as the ring still had them; the lane knows them all.
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
        // What the filter leaves out would not have come either.
        let reason = if record.passes(self.filter()) { self.state.on_more_lost(1) } else { None };
        if let Some(reason) = reason {
            batch.dropped(self.lane, reason, 1);
        }
    }

    /// How many that pass the filter are missing before a record; `None` = not known.
    pub(super) fn missing_before(&self, record: &Record) -> Option<u64> {
        let (term, sequence) = record.position.point();
        // Told by positions where that is possible: `tally` may not be known. Whoever resumes before
        // the first update of a term (sequence 0) has missed nothing of that term.
        if self.last == record.previous() || sequence == 1 && self.last == Some((term, 0)) {
            return Some(0);
        }
        self.tally.map(|tally| record.tally.since(tally, self.filter()))
    }

    /// Why updates are missing before one whose publisher began anew in the term `origin`.
    pub(super) fn loss_before(&self, origin: u64) -> GapReason {
        match self.last {
            // Nobody here can say what came after it.
            Some(_) if self.from_elsewhere => GapReason::Upstream,
            // What was read last is of an earlier publisher: authority passed on before the rest was.
            Some((term, _)) if term < origin => GapReason::TermChanged,
            Some(_) | None => GapReason::Evicted,
        }
    }

    /// Why updates are missing before a record.
    pub(super) fn loss_at(&self, record: &Record) -> GapReason {
        if record.flags().has(Flags::AFTER_LOSS) { GapReason::Upstream } else { self.loss_before(record.origin) }
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
        // A reserve for each kind: what is given up first must leave room for what goes last.
        let least = match self.lane.1 {
            Channel::Chat | Channel::Data => return true,
            _ if record.is_urgent() => -burst,
            Channel::Visual | Channel::Screen if record.is_top() => burst / 4,
            Channel::Visual | Channel::Screen => burst / 8,
            Channel::Audio => 0,
        };
        bucket.balance(now.get()) > least
    }
}
