//! The numbers that a publisher gives its updates (`publisher_sequence`), within one
//! session on one source and channel.
//!
//! An update whose answer was lost is sent again under its number, and must neither be
//! delivered twice nor be acknowledged when it was never accepted. So every number up to
//! the highest accepted one is remembered as accepted or not. Those that are not are few
//! and lie together: they are kept as ranges, at most [`RANGES`] of them. When there are
//! more, the lowest is given up, and what lies up to its end is not known any more.

use super::id::SessionId;
use super::invariant::{BrokenInvariant, LARGEST, ensure};

/// The most ranges of numbers that were not accepted, for one source and channel.
pub(super) const RANGES: usize = 64;

/// The highest number that a publisher may give: a positive 64-bit integer also where
/// integers are signed, and the server can go on counting after it.
pub const MAX_GIVEN: u64 = i64::MAX as u64;

/// Numbers that were not accepted: `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Range {
    pub(super) first: u64,
    pub(super) last: u64,
    /// The publisher was told; otherwise the numbers were never used.
    pub(super) rejected: bool,
}

/// What a number says about the update that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberVerdict {
    /// It may be accepted.
    Fresh,
    /// It was accepted before.
    Repeat,
    /// It was not accepted, and a higher one was.
    OutOfOrder,
    /// It is too old to tell.
    Unknown,
}

/// What became of the numbers of one session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Numbers {
    pub(super) session: Option<SessionId>,
    /// The highest one accepted; 0 = none.
    pub(super) accepted: u64,
    /// The highest one accepted or rejected, from which the server counts on.
    pub(super) highest: u64,
    /// What is not accepted, in order. Below `accepted` these are all numbers but the
    /// accepted ones; above it, those that were rejected.
    pub(super) missing: Vec<Range>,
    /// What became of the numbers up to this one is forgotten, where no range says it.
    pub(super) forgotten: u64,
    /// The session before, and the highest number accepted from it.
    pub(super) previous: Option<(SessionId, u64)>,
}

impl Numbers {
    /// Begins to count for a session; goes on when it is the one of before.
    pub fn begin(&mut self, session: SessionId) {
        if self.session == Some(session) {
            return;
        }
        let previous = self.session.map(|old| (old, self.accepted)).or(self.previous);
        *self = Self { session: Some(session), previous, ..Self::default() };
    }

    /// The session whose numbers these are.
    pub const fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// The session before, and the highest number accepted from it.
    pub const fn previous(&self) -> Option<(SessionId, u64)> {
        self.previous
    }

    /// The highest number accepted; 0 = none.
    pub const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// The number of an update whose publisher gives none. Never a repeat.
    pub const fn next(&self) -> u64 {
        // Given numbers end at MAX_GIVEN: there are 2^63 more.
        self.highest + 1
    }

    /// Bytes that its ranges have room for.
    pub const fn range_bytes(&self) -> usize {
        self.missing.capacity() * size_of::<Range>()
    }

    /// How many ranges there are: the same wherever the same numbers came.
    pub(super) const fn ranges(&self) -> usize {
        self.missing.len()
    }

    /// What a number says about its update. O(log ranges).
    pub fn judge(&self, number: u64) -> NumberVerdict {
        if number > self.accepted {
            NumberVerdict::Fresh
        } else if self.range_of(number).is_ok() {
            NumberVerdict::OutOfOrder
        } else if number <= self.forgotten {
            NumberVerdict::Unknown
        } else {
            NumberVerdict::Repeat
        }
    }

    /// True when every number between the last accepted one and this one was rejected:
    /// the publisher has left nothing out. False before the first one.
    pub fn continues_at(&self, number: u64) -> bool {
        let mut expected = self.accepted + 1;
        while expected < number {
            match self.range_of(expected) {
                Ok(at) if self.missing[at].rejected => expected = self.missing[at].last + 1,
                Ok(_) | Err(_) => return false,
            }
        }
        self.accepted > 0 && number > self.accepted
    }

    /// Notes that a fresh number was accepted.
    pub fn accept(&mut self, number: u64) {
        debug_assert_eq!(self.judge(number), NumberVerdict::Fresh);
        self.remove(number);
        let mut from = self.accepted + 1;
        let mut at = self.missing.partition_point(|range| range.last < from);
        // Whatever lies below and was not rejected was never used.
        while from < number {
            let rejected = self.missing.get(at).filter(|range| range.first < number).copied();
            let until = rejected.map_or(number, |range| range.first);
            if from < until {
                self.missing.insert(at, Range { first: from, last: until - 1, rejected: false });
                at += 1;
            }
            from = rejected.map_or(number, |range| range.last + 1);
            at += 1;
        }
        self.accepted = number;
        self.highest = self.highest.max(number);
        self.forget_surplus();
    }

    /// Notes that a fresh number was rejected. It may come again before a higher one is
    /// accepted.
    pub fn reject(&mut self, number: u64) {
        debug_assert_eq!(self.judge(number), NumberVerdict::Fresh);
        self.highest = self.highest.max(number);
        let Err(at) = self.range_of(number) else { return };
        let joins_last = at.checked_sub(1).is_some_and(|before| {
            let before = self.missing[before];
            before.rejected && before.last + 1 == number
        });
        let joins_next = self.missing.get(at).is_some_and(|next| next.rejected && next.first == number + 1);
        match (joins_last, joins_next) {
            (true, true) => self.missing[at - 1].last = self.missing.remove(at).last,
            (true, false) => self.missing[at - 1].last = number,
            (false, true) => self.missing[at].first = number,
            (false, false) => self.missing.insert(at, Range { first: number, last: number, rejected: true }),
        }
        self.forget_surplus();
    }

    /// The range that holds a number, or where one would stand.
    fn range_of(&self, number: u64) -> Result<usize, usize> {
        let at = self.missing.partition_point(|range| range.last < number);
        if self.missing.get(at).is_some_and(|range| range.first <= number) { Ok(at) } else { Err(at) }
    }

    fn remove(&mut self, number: u64) {
        let Ok(at) = self.range_of(number) else { return };
        let Range { first, last, rejected } = self.missing.remove(at);
        if number < last {
            self.missing.insert(at, Range { first: number + 1, last, rejected });
        }
        if first < number {
            self.missing.insert(at, Range { first, last: number - 1, rejected });
        }
    }

    /// Refuses what no numbers come to.
    pub(super) fn validate(&self) -> Result<(), BrokenInvariant> {
        let Self { session: _, accepted, highest, missing, forgotten, previous } = self;
        ensure(missing.len() <= RANGES, "ranges of numbers are bounded")?;
        ensure(missing.iter().all(|range| 0 < range.first && range.first <= range.last), "a range has numbers")?;
        ensure(missing.windows(2).all(|pair| pair[0].last < pair[1].first), "ranges are in order, and apart")?;
        let passed = |range: &Range| range.last < *accepted || *accepted < range.first && range.rejected;
        ensure(missing.iter().all(passed), "what was accepted is not missing, and what was not used is below")?;
        let last = missing.last().map_or(0, |range| range.last);
        ensure(*accepted.max(&last) <= *highest && *highest <= MAX_GIVEN + LARGEST, "no number is above the highest")?;
        ensure(forgotten < accepted || *forgotten == 0, "what is forgotten was passed over")?;
        let before = previous.map_or(0, |(_, accepted)| accepted);
        ensure(before <= MAX_GIVEN + LARGEST, "no number is above the highest")
    }

    fn forget_surplus(&mut self) {
        let surplus = self.missing.len().saturating_sub(RANGES);
        let accepted = self.accepted;
        // Numbers above the accepted ones are not accepted, also where no range says so.
        let mut given_up = self.missing.drain(..surplus).filter(|range| range.last < accepted);
        self.forgotten = given_up.next_back().map_or(self.forgotten, |range| range.last);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::hash::splitmix64;

    fn session(number: u64) -> SessionId {
        SessionId::new(number).unwrap()
    }

    fn numbers() -> Numbers {
        let mut numbers = Numbers::default();
        numbers.begin(session(1));
        numbers
    }

    #[test]
    fn a_rejected_number_is_never_a_repeat() {
        let mut numbers = numbers();
        numbers.accept(1);
        numbers.reject(2);
        assert_eq!(numbers.judge(2), NumberVerdict::Fresh, "nothing above it was accepted");
        numbers.accept(3);
        assert_eq!(
            [1, 2, 3].map(|number| numbers.judge(number)),
            [NumberVerdict::Repeat, NumberVerdict::OutOfOrder, NumberVerdict::Repeat]
        );
    }

    #[test]
    fn skipped_number_is_out_of_order() {
        let mut numbers = numbers();
        numbers.accept(10);
        assert_eq!(
            [1, 9, 10, 11].map(|number| numbers.judge(number)),
            [NumberVerdict::OutOfOrder, NumberVerdict::OutOfOrder, NumberVerdict::Repeat, NumberVerdict::Fresh]
        );
    }

    #[test]
    fn rejected_numbers_do_not_break_continuity() {
        let mut numbers = numbers();
        assert!(!numbers.continues_at(1), "nothing was accepted yet");
        numbers.accept(5);
        assert!(numbers.continues_at(6));
        assert!(!numbers.continues_at(7));
        numbers.reject(6);
        numbers.reject(8);
        assert!(numbers.continues_at(6) && numbers.continues_at(7));
        assert!(!numbers.continues_at(9));
        numbers.reject(7);
        assert!(numbers.continues_at(9));
        assert!(!numbers.continues_at(5) && !numbers.continues_at(10));
    }

    #[test]
    fn server_numbers_follow_every_used_number() {
        let mut numbers = numbers();
        assert_eq!(numbers.next(), 1);
        numbers.accept(MAX_GIVEN);
        assert_eq!(numbers.judge(numbers.next()), NumberVerdict::Fresh);
        numbers.reject(MAX_GIVEN + 1);
        assert_eq!(numbers.next(), MAX_GIVEN + 2);
    }

    #[test]
    fn new_session_starts_at_zero_and_names_previous() {
        let mut numbers = numbers();
        numbers.accept(7);
        numbers.begin(session(1));
        assert_eq!((numbers.accepted(), numbers.previous()), (7, None));
        numbers.begin(session(2));
        assert_eq!((numbers.accepted(), numbers.previous()), (0, Some((session(1), 7))));
        assert_eq!(numbers.judge(1), NumberVerdict::Fresh);
        assert!(!numbers.continues_at(8));
    }

    #[test]
    fn number_beyond_the_kept_ranges_is_unknown() {
        let mut numbers = numbers();
        // Every second number is rejected.
        for number in 1..=400_u64 {
            if number % 2 == 0 { numbers.reject(number) } else { numbers.accept(number) }
        }
        assert!(numbers.missing.len() <= RANGES);
        assert_eq!(numbers.judge(3), NumberVerdict::Unknown);
        assert_eq!(numbers.judge(2), NumberVerdict::Unknown);
        assert_eq!(numbers.judge(398), NumberVerdict::OutOfOrder);
        assert_eq!(numbers.judge(399), NumberVerdict::Repeat);
    }

    /// Held against a memory without bounds: where it answers, it answers the truth.
    #[test]
    fn verdicts_agree_with_an_unbounded_memory() {
        for seed in 0..200_u64 {
            let mut numbers = numbers();
            let mut truth = BTreeMap::<u64, bool>::new();
            let mut bits = seed;
            let mut draw = |below: u64| {
                bits = splitmix64(bits.wrapping_add(1));
                bits % below
            };
            let mut accepted = 0;
            for _ in 0..400 {
                let number = (accepted + 1 + draw(4)).max(1);
                if draw(3) == 0 {
                    numbers.reject(number);
                    truth.insert(number, false);
                } else {
                    let hole = (accepted + 1..number).any(|before| truth.get(&before) != Some(&false));
                    assert!(!hole || !numbers.continues_at(number), "seed {seed}: {number}");
                    numbers.accept(number);
                    truth.insert(number, true);
                    accepted = number;
                }
                let old = 1 + draw(accepted.max(1));
                if old <= accepted {
                    match numbers.judge(old) {
                        NumberVerdict::Repeat => assert_eq!(truth.get(&old), Some(&true), "seed {seed}: {old}"),
                        NumberVerdict::OutOfOrder => assert_ne!(truth.get(&old), Some(&true), "seed {seed}: {old}"),
                        NumberVerdict::Unknown => {}
                        NumberVerdict::Fresh => panic!("seed {seed}: {old} is not above {accepted}"),
                    }
                }
                assert!(numbers.missing.len() <= RANGES);
                assert!(numbers.missing.windows(2).all(|pair| pair[0].last < pair[1].first), "in order, apart");
            }
        }
    }
}
