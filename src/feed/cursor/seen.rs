//! What one cursor knows of one lane.

use super::{Batch, Delivery, FilterChange, GapReason};
use crate::feed::lane::{Key, Lane, Point, Tally, has_runs};
use crate::feed::record::Record;
use crate::swarm::interest::{Channel, Interest};
use crate::swarm::propagation::Filter;

/// Whether records of a lane come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    /// As they are, if they pass.
    Flowing,
    /// Not before the next keyframe.
    Waiting,
}

/// What one cursor knows of one lane.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) key: Key,
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
    pub(super) last: Option<Point>,
    /// What the lane had carried with that one; `None` = not known.
    pub(super) tally: Option<Tally>,
    /// The last update that came.
    pub(super) delivered: Option<Point>,
    pub(super) flow: Flow,
    /// The wait is for something that was lost, for the reason in `loss`.
    pub(super) lossy: bool,
    pub(super) loss: GapReason,
}

impl Seen {
    /// Of a lane of which nothing was seen yet.
    pub(super) fn new(lane: &Lane, interest: Interest, wanted: bool) -> Self {
        Self {
            key: lane.key,
            birth: lane.birth,
            wanted,
            interest,
            raised: None,
            declared: Some((interest, lane.layers)),
            last: None,
            tally: Some(Tally::default()),
            delivered: None,
            flow: Flow::Flowing,
            lossy: false,
            loss: GapReason::Evicted,
        }
    }

    /// True when updates depend on those since their keyframe.
    pub(super) const fn is_choosy(&self) -> bool {
        has_runs(self.key.1)
    }

    pub(super) const fn filter(&self) -> Filter {
        self.interest.filter(self.key.1)
    }

    /// Notes that a record was dealt with.
    pub(super) const fn went_over(&mut self, record: &Record) {
        self.last = Some(record.position.point());
        self.tally = Some(record.tally_after());
    }

    /// Goes on at this record, whatever came before.
    pub(super) const fn follow(&mut self, record: &Record) {
        self.last = record.previous;
        self.tally = Some(record.tally);
        self.lossy = false;
    }

    /// How many that pass the filter are missing before a record; `None` = not known.
    pub(super) fn missing_before(&self, record: &Record) -> Option<u64> {
        let (term, sequence) = record.position.point();
        if self.last == record.previous || sequence == 1 && self.last == Some((term, 0)) {
            return Some(0);
        }
        self.tally.map(|tally| record.tally.since(tally, self.filter()))
    }

    /// Puts the raised interest in force.
    pub(super) fn raise(&mut self, batch: &mut Batch<'_>) {
        let Some(interest) = self.raised.take() else { return };
        self.interest = interest;
        let layers = self.declared.map_or(1, |(_, layers)| layers);
        self.declare(layers, batch);
    }

    /// Tells the subscriber what passes, when that is news.
    pub(super) fn declare(&mut self, layers: u32, batch: &mut Batch<'_>) {
        let interest = self.interest;
        // The number of layers matters only to those who do not get all of them.
        let same_layers = interest.filter(self.key.1) != Filter::WithoutTopLayer;
        let known = self.declared.is_some_and(|(told, of)| told == interest && (same_layers || of == layers));
        if !known {
            self.declared = Some((interest, layers));
            batch.deliveries.push(Delivery::Filter(FilterChange { lane: self.key, interest, layers }));
        }
    }

    /// The balance of bytes below which a record is not delivered. What goes first:
    /// the top temporal layer, then runs of VISUAL and SCREEN, then AUDIO, at last
    /// what is urgent; CHAT and DATA are never given up.
    pub(super) fn least_balance(&self, record: &Record, burst: u64) -> i128 {
        let burst = i128::from(burst);
        match self.key.1 {
            Channel::Chat | Channel::Data => i128::MIN,
            _ if record.urgent => -burst,
            Channel::Visual | Channel::Screen if record.top => burst / 4,
            Channel::Visual | Channel::Screen => burst / 8,
            Channel::Audio => 0,
        }
    }
}
