//! What lies between one update that came and the next, and who answers for it.

use super::filter::Filter;
use super::lane::Point;
use super::print::Print;
use starling_client::pb::swarm::v1::{self as pb, GapReason};

/// A gap as announced, and what turned out to lie inside.
#[derive(Clone, Debug)]
pub(super) struct Notice {
    pub(super) after: Option<Point>,
    pub(super) before: Option<Point>,
    pub(super) reason: GapReason,
    pub(super) count: Option<u64>,
    /// Announced on an earlier connection: a resume may bring after all what it
    /// declared lost.
    pub(super) stale: bool,
    /// The first word of a subscription that resumed.
    pub(super) blind: bool,
    /// Inside, passed by every filter in force meanwhile.
    surely_lost: u64,
    /// Inside, passed by any of them.
    pub(super) lost: u64,
    /// Of these, such as others depend on.
    needed: u64,
    /// All inside, whatever passes.
    inside: u64,
}

impl Notice {
    pub(super) fn new(gap: &pb::Gap) -> Self {
        let reason = gap.reason();
        // The point to resume from is of another history.
        let after = gap.after.filter(|_| reason != GapReason::EpochChanged).map(Point::from);
        let before = gap.before.map(Point::from);
        Self {
            after,
            before,
            reason,
            count: gap.count,
            stale: false,
            blind: false,
            surely_lost: 0,
            lost: 0,
            needed: 0,
            inside: 0,
        }
    }

    /// True when the gap declares a point lost.
    pub(super) fn holds(&self, point: Point) -> bool {
        self.after.is_none_or(|after| after < point) && self.before.is_none_or(|before| point < before)
    }

    /// True when the gap declares lost what had come before it. A gap that does not
    /// say where it begins goes on from there.
    pub(super) fn revokes(&self, last: Point) -> bool {
        self.after.is_some() && self.holds(last)
    }

    /// True when the gap declares lost what comes after it. One that does not say where
    /// it ends reaches up to there.
    pub(super) fn denies(&self, next: Point) -> bool {
        self.before.is_some() && self.holds(next)
    }

    /// Notes an update that lies inside.
    pub(super) fn hold(&mut self, print: Print, filters: &[Filter]) {
        self.inside += 1;
        self.surely_lost += u64::from(filters.iter().all(|filter| filter.passes(print)));
        if filters.iter().any(|filter| filter.passes(print)) {
            self.lost += 1;
            self.needed += u64::from(!print.is_top_layer());
        }
    }

    /// True when a loss must have happened for this reason to be given. Who resumes at
    /// what the ring has lost may be told so without a count: nobody knows any more what
    /// the filter would have passed of it.
    pub(super) const fn claims_a_loss(&self) -> bool {
        let unknown = self.blind && self.count.is_none() && self.inside > 0;
        !unknown
            && matches!(
                self.reason,
                GapReason::Unspecified | GapReason::Lagging | GapReason::Bandwidth | GapReason::Evicted
            )
    }

    /// The count if it is wrong; `doubt` more may have been lost than is known. A gap
    /// that did not say where it ends was counted before its end.
    pub(super) fn wrong_count(&self, doubt: u64) -> Option<u64> {
        let least = if self.before.is_some() { self.surely_lost } else { 0 };
        self.count.filter(|count| !(least..=self.lost + doubt).contains(count))
    }

    /// True when what follows cannot be understood without what was lost.
    pub(super) const fn breaks_the_run(&self) -> bool {
        if self.stale { self.needed > 0 } else { !matches!(self.reason, GapReason::Bandwidth) || self.needed > 0 }
    }
}

/// Decides which updates the filters answer for. Filters change at points nobody
/// names, but in order: it goes on to the next one only where it must.
#[derive(Debug)]
pub(super) struct Sieve<'a> {
    filters: &'a [Filter],
}

impl<'a> Sieve<'a> {
    /// Through these filters, in order of their declaration; not empty.
    pub(super) const fn new(filters: &'a [Filter]) -> Self {
        Self { filters }
    }

    /// True when a filter leaves the update out. Asked in order of the updates.
    pub(super) fn holds_back(&mut self, print: Print) -> bool {
        match self.filters.iter().position(|filter| !filter.passes(print)) {
            Some(at) => {
                self.filters = &self.filters[at..];
                true
            }
            None => {
                self.filters = &self.filters[self.filters.len() - 1..];
                false
            }
        }
    }
}
