//! What was published, all publishers together.

use std::borrow::Cow;
use std::collections::HashMap;

use super::chat::Chat;
use super::lane::{Lane, Point};
use super::print::Print;
use super::publisher::PublisherLog;
use super::subscriber::History;

/// Every update of every lane, by epoch.
#[derive(Debug)]
pub(super) struct Published<'a> {
    lanes: HashMap<(u64, Lane), Vec<Term<'a>>>,
}

/// What was published in one term of a lane.
#[derive(Debug)]
struct Term<'a> {
    term: u64,
    /// Its first update follows on the last one of the term before.
    goes_on: bool,
    /// Sequence 1 first.
    accepted: Cow<'a, [Print]>,
    /// What follows if it was accepted, which nobody has told.
    doubtful: Vec<Print>,
    /// How many are known to be published: acknowledged, or seen by any subscriber.
    head: usize,
}

impl<'a> Published<'a> {
    /// O(published + delivered).
    pub(super) fn gather(logs: &'a [PublisherLog], chat: Chat, histories: &[History]) -> Self {
        let mut lanes: HashMap<(u64, Lane), Vec<Term<'a>>> = HashMap::new();
        for (lane, run, doubtful) in logs.iter().flat_map(PublisherLog::runs) {
            if lane != Lane::CHAT {
                let accepted = Cow::from(&run.prints);
                let goes_on = if accepted.is_empty() { doubtful.goes_on } else { run.goes_on };
                let term = Term { term: run.term, goes_on, head: accepted.len(), accepted, doubtful: doubtful.prints };
                lanes.entry((run.epoch, lane)).or_default().push(term);
            }
        }
        for (epoch, prints, head) in chat.into_orders() {
            let term = Term { term: 0, goes_on: false, accepted: Cow::from(prints), doubtful: Vec::new(), head };
            lanes.insert((epoch, Lane::CHAT), vec![term]);
        }
        for terms in lanes.values_mut() {
            terms.sort_by_key(|term| term.term);
        }
        let mut published = Self { lanes };
        for (epoch, lane, got) in histories.iter().flat_map(History::updates) {
            if let Some(terms) = published.terms_mut(epoch, lane)
                && let Ok(at) = terms.binary_search_by_key(&got.point.term, |term| term.term)
            {
                let known = usize::try_from(got.point.sequence).unwrap_or(usize::MAX);
                if known <= terms[at].len() {
                    terms[at].head = terms[at].head.max(known);
                }
            }
        }
        published
    }

    /// One lane. A log that no stream has opened is of any epoch.
    pub(super) fn lane(&self, epoch: u64, lane: Lane) -> Terms<'_> {
        let terms = self.lanes.get(&(epoch, lane)).or_else(|| self.lanes.get(&(0, lane)));
        Terms(terms.map_or(&[], Vec::as_slice))
    }

    fn terms_mut(&mut self, epoch: u64, lane: Lane) -> Option<&mut Vec<Term<'a>>> {
        let epoch = if self.lanes.contains_key(&(epoch, lane)) { epoch } else { 0 };
        self.lanes.get_mut(&(epoch, lane))
    }
}

impl Term<'_> {
    fn len(&self) -> usize {
        self.accepted.len() + self.doubtful.len()
    }

    fn get(&self, sequence: u64) -> Option<Print> {
        let index = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.accepted.get(index).or_else(|| self.doubtful.get(index - self.accepted.len())).copied()
    }
}

/// What was published on one lane, in order of terms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a>(&'a [Term<'a>]);

impl<'a> Terms<'a> {
    /// What stands at a point.
    pub(super) fn get(self, point: Point) -> Option<Print> {
        let at = self.0.binary_search_by_key(&point.term, |term| term.term).ok()?;
        self.0[at].get(point.sequence)
    }

    /// True when runs go on from one term to a later one: no publisher began anew in between.
    pub(super) fn go_on(self, from: u64, to: u64) -> bool {
        let mut later = self.0.iter().filter(|term| from < term.term && term.term <= to && term.head > 0);
        later.all(|term| term.goes_on)
    }

    /// The last update that is known.
    pub(super) fn head(self) -> Point {
        let last = self.0.iter().rfind(|term| term.head > 0);
        last.map_or_else(Point::default, |term| Point { term: term.term, sequence: term.head as u64 })
    }

    /// What is known to lie strictly between two points, the second perhaps open.
    pub(super) fn between(self, after: Point, before: Option<Point>) -> impl Iterator<Item = (Point, Print)> + 'a {
        self.within(after, before).flat_map(move |term| {
            let first = if term.term == after.term { after.sequence.saturating_add(1) } else { 1 };
            let end = before.filter(|before| before.term == term.term).map_or(u64::MAX, |before| before.sequence);
            (first..end.min(term.head as u64 + 1)).filter_map(move |sequence| {
                let point = Point { term: term.term, sequence };
                term.get(sequence).map(|print| (point, print))
            })
        })
    }

    /// How many more may lie between two points, for all that is known.
    pub(super) fn doubt(self, after: Point, before: Option<Point>) -> u64 {
        let whole = self.within(after, before).filter(|term| before.is_none_or(|before| term.term < before.term));
        whole.map(|term| (term.len() - term.head) as u64).sum()
    }

    fn within(self, after: Point, before: Option<Point>) -> impl Iterator<Item = &'a Term<'a>> {
        let first = self.0.partition_point(|term| term.term < after.term);
        self.0[first..].iter().take_while(move |term| before.is_none_or(|before| term.term <= before.term))
    }
}
