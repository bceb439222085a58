//! One lane of one subscriber.

use super::filter::Filter;
use super::lane::{Lane, Point};
use super::published::Terms;
use super::stretch::{Notice, Sieve};
use super::subscriber::Got;
use super::violation::{Cause, Violation};
use starling_client::pb::swarm::v1::GapReason;

/// Where a subscriber stands on a lane, and what it was told since the last update
/// that came.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    subscriber: u64,
    lane: Lane,
    terms: Terms<'a>,
    /// The point before the first update to come; `None` when nobody named it.
    start: Option<Point>,
    last: Option<Point>,
    /// In force since then, in order; never empty.
    filters: Vec<Filter>,
    declared: bool,
    gaps: Vec<Notice>,
    /// The gap that is open, as far as the server was told of it.
    open: Option<(Option<Point>, GapReason)>,
    /// Up to where the server knows that all is told, and the gap that it knows to be open.
    named: Named,
    raise: Raise,
    /// Nothing came since the subscription resumed.
    resumed: bool,
}

/// What a resume told the server of a lane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Named {
    pub(super) position: Option<Point>,
    pub(super) open_gap: bool,
}

/// How the filter was raised since the last update that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Raise {
    No,
    /// From keyframes only, or during a cut: what follows right on the last one needs none.
    FromKeyframes,
    FromNothing,
}

impl<'a> Reader<'a> {
    pub(super) fn new(subscriber: u64, lane: Lane, terms: Terms<'a>, start: Option<Point>) -> Self {
        let filters = vec![Filter::EVERYTHING];
        Self {
            subscriber,
            lane,
            terms,
            start,
            last: None,
            filters,
            declared: false,
            gaps: Vec::new(),
            open: None,
            named: Named::default(),
            raise: Raise::No,
            resumed: false,
        }
    }

    /// `Subscribed` names where the lane starts. A resume goes on where it stopped,
    /// whatever it names.
    pub(super) const fn start(&mut self, point: Point) {
        if self.last.is_none() {
            self.start = Some(point);
        }
    }

    /// A filter is declared.
    pub(super) fn declare(&mut self, filter: Filter) {
        let old = self.filter();
        if !self.declared && self.last.is_none() {
            self.filters.clear();
        } else if old == filter {
            return;
        }
        if self.declared {
            let raise = match (old, filter) {
                (_, Filter::Nothing) => Raise::No,
                (Filter::Nothing, _) => Raise::FromNothing,
                (Filter::Keyframes, Filter::Layers(_)) => Raise::FromKeyframes,
                _ => Raise::No,
            };
            self.raise = self.raise.max(raise);
        }
        self.declared = true;
        self.filters.push(filter);
    }

    /// A subscription begins: it may go on right where the last one stopped, whatever
    /// the filter was meanwhile.
    pub(super) fn resume(&mut self) {
        self.resumed = self.last.or(self.start).is_some();
        self.raise = self.raise.min(Raise::FromKeyframes);
    }

    /// A gap is announced.
    pub(super) fn announce(&mut self, mut gap: Notice, violations: &mut Vec<Violation>) {
        let again = match gap.before {
            None => self.named.open_gap && self.open == Some((gap.after, gap.reason)),
            Some(before) => {
                // Positions that the server does not know say nothing.
                let lost = !matches!(gap.reason, GapReason::EpochChanged | GapReason::UnknownPosition);
                lost && self.named.position.is_some_and(|position| before <= position.next())
            }
        };
        if again {
            let (subscriber, lane, reason) = (self.subscriber, self.lane, gap.reason);
            violations.push(Violation::ToldAgain { subscriber, lane, reason, after: gap.after, before: gap.before });
        }
        self.open = gap.before.is_none().then_some((gap.after, gap.reason));
        gap.blind = self.resumed;
        self.gaps.push(gap);
    }

    /// The connection ended. A lane of which nothing is known to resume from, not even
    /// where a gap ends, begins anew.
    pub(super) fn cut(&mut self, named: Named) {
        self.named = named;
        if self.last.is_none() && self.gaps.iter().all(|gap| gap.before.is_none()) {
            self.start = self.start.filter(|start| *start != Point::default());
        }
        for gap in &mut self.gaps {
            gap.stale = true;
        }
    }

    /// An update came. O(1), plus what was published since the last one.
    pub(super) fn take(&mut self, got: &Got, violations: &mut Vec<Violation>) {
        let (subscriber, lane, point) = (self.subscriber, self.lane, got.point);
        if let Some(last) = self.last.or(self.start).filter(|last| point <= *last) {
            violations.push(Violation::Order { subscriber, lane, last, point });
            return;
        }
        let Some(print) = self.terms.get(point) else {
            violations.push(Violation::Unknown { subscriber, lane, point });
            return;
        };
        let complete = self.last.or(self.start).is_some();
        let told = !self.gaps.is_empty();
        let broken_by = if self.gaps.is_empty() && (!complete || self.follows(point)) {
            None
        } else {
            self.review(Some(point), complete, violations)
        };
        if let Some(difference) = got.print.difference(print) {
            violations.push(Violation::Altered { subscriber, lane, point, difference });
        }
        if !self.filter().passes(print) {
            violations.push(Violation::Filtered { subscriber, lane, point });
        }
        if let Some(cause) = self.wants_keyframe(point, told, broken_by).filter(|_| !print.keyframe) {
            violations.push(Violation::NotAKeyframe { subscriber, lane, point, cause });
        }
        (self.last, self.resumed) = (Some(point), false);
        (self.open, self.named) = (None, Named::default());
        self.filters.drain(..self.filters.len() - 1);
        self.raise = Raise::No;
    }

    /// Nothing more comes; `ended` when everything must have come.
    pub(super) fn close(&mut self, ended: bool, violations: &mut Vec<Violation>) {
        let known = self.last.or(self.start).is_some();
        if (ended && known) || !self.gaps.is_empty() {
            self.review(None, ended && known, violations);
        }
    }

    fn filter(&self) -> Filter {
        self.filters.last().copied().unwrap_or(Filter::EVERYTHING)
    }

    fn follows(&self, point: Point) -> bool {
        self.last.is_some_and(|last| {
            // Or over a change of term that the run went on over.
            let goes_on = || last < point && self.terms.go_on(last.term, point.term);
            last.precedes(point) || goes_on() && self.terms.between(last, Some(point)).next().is_none()
        })
    }

    /// Why an update must be a keyframe, if it must.
    fn wants_keyframe(&self, point: Point, told: bool, broken_by: Option<GapReason>) -> Option<Cause> {
        if !self.lane.has_runs() {
            return None;
        }
        let Some(last) = self.last else { return Some(Cause::Start) };
        if let Some(reason) = broken_by {
            return Some(Cause::Gap(reason));
        }
        if last.term != point.term && !self.terms.go_on(last.term, point.term) {
            return Some(Cause::Term);
        }
        let raised = match self.raise {
            Raise::No => false,
            // What is told lost in between does not matter if nothing depends on it.
            Raise::FromKeyframes if told => {
                self.terms.between(last, Some(point)).any(|(_, print)| !print.is_top_layer())
            }
            Raise::FromKeyframes => !self.follows(point),
            Raise::FromNothing => true,
        };
        raised.then_some(Cause::Raised)
    }

    /// Accounts for what was published since the last update that came: `until` the
    /// next one, or up to the head. `complete` when what is missing must be accounted
    /// for. Returns the gap after which only a keyframe is of use.
    fn review(&mut self, until: Option<Point>, complete: bool, violations: &mut Vec<Violation>) -> Option<GapReason> {
        let from = self.last.or(self.start).unwrap_or_default();
        let waiting = self.last.is_none() && self.lane.has_runs();
        let mut sieve = Sieve::new(&self.filters);
        let mut missing: Option<(Point, Point, u64)> = None;
        for (point, print) in self.terms.between(from, until) {
            let mut announced = false;
            for gap in self.gaps.iter_mut().filter(|gap| gap.holds(point)) {
                gap.hold(print, &self.filters);
                announced = true;
            }
            if announced || (waiting && !print.keyframe) || sieve.holds_back(print) {
                continue;
            }
            let (_, last, count) = missing.get_or_insert((point, point, 0));
            (*last, *count) = (point, *count + 1);
        }
        if let Some((first, last, count)) = missing.filter(|_| complete) {
            let (subscriber, lane) = (self.subscriber, self.lane);
            violations.push(Violation::Missing { subscriber, lane, first, last, count });
        }
        let gaps = std::mem::take(&mut self.gaps);
        for gap in gaps.iter().filter(|gap| !gap.stale) {
            self.judge(gap, from, until, complete, violations);
        }
        gaps.iter().find(|gap| gap.breaks_the_run()).map(|gap| gap.reason)
    }

    /// Whether a gap tells the truth.
    fn judge(&self, gap: &Notice, from: Point, until: Option<Point>, complete: bool, violations: &mut Vec<Violation>) {
        let (subscriber, lane) = (self.subscriber, self.lane);
        let &Notice { after, before, reason, lost, .. } = gap;
        let came = self.last.filter(|last| gap.revokes(*last)).into_iter();
        for point in came.chain(until.filter(|next| gap.denies(*next))) {
            violations.push(Violation::InsideGap { subscriber, lane, point, reason });
        }
        let head = self.terms.head();
        if until.is_none() && !complete && before.is_none_or(|before| before > head) {
            return; // its end lies beyond what this history can tell
        }
        if self.last.is_none() && after.is_some_and(|after| after < from) {
            return; // it began before this lane did, on an earlier connection
        }
        let (began, ended) = (after.unwrap_or(from).term, before.or(until).unwrap_or(head).term);
        if reason == GapReason::TermChanged && from != Point::default() && self.terms.go_on(began, ended) {
            violations.push(Violation::RunGoesOn { subscriber, lane, after, before });
            return;
        }
        let doubt = self.terms.doubt(after.unwrap_or(from), before.or(until));
        if gap.claims_a_loss() && lost + doubt == 0 {
            violations.push(Violation::NothingLost { subscriber, lane, reason, after, before });
        } else if let Some(told) = gap.wrong_count(doubt)
            && reason != GapReason::EpochChanged
        {
            violations.push(Violation::Count { subscriber, lane, reason, after, before, told, lost });
        }
    }
}
