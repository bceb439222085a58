//! What the log has said, as a chain of hashes: by it, two pods know whether they have read the same log.

use std::collections::VecDeque;
use std::hash::Hasher;

use starling_core::hash::FixedHasher;

use crate::batch::{LogMessage, LogPosition};

/// How many of the newest hashes are kept: 64 KiB of every snapshot. A batch whose base is older is void.
pub const HISTORY_ENTRIES: usize = 8_192;

/// The newest part of the chain. The last one is that of the last entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogHistory {
    /// The sequence of the first that is kept.
    first: u64,
    hashes: VecDeque<u64>,
}

/// The history before the first entry of a log.
impl Default for LogHistory {
    fn default() -> Self {
        Self { first: 0, hashes: VecDeque::from([0]) }
    }
}

/// The next of the chain: sequence and time are part of it, for the state follows from both.
fn chained(before: u64, message: &LogMessage) -> u64 {
    let mut hasher = FixedHasher::default();
    hasher.write_u64(before);
    hasher.write_u64(message.sequence);
    hasher.write_u64(message.timestamp);
    hasher.write(&message.bytes);
    hasher.finish()
}

impl LogHistory {
    /// The history that begins with an entry, whatever was before it.
    pub(crate) fn beginning_with(message: &LogMessage) -> Self {
        Self { first: message.sequence, hashes: VecDeque::from([chained(0, message)]) }
    }

    /// The last entry.
    pub fn last(&self) -> LogPosition {
        let length = self.hashes.len();
        LogPosition { sequence: self.first + length as u64 - 1, hash: self.hashes[length - 1] }
    }

    /// The hash up to a sequence, while it is kept.
    pub fn at(&self, sequence: u64) -> Option<u64> {
        let index = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.hashes.get(index).copied()
    }

    /// The oldest sequence whose hash is kept.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The entry that the chain begins with, while nothing was dropped of it.
    pub(crate) fn beginning(&self) -> Option<u64> {
        (self.first > 0 && self.hashes.len() < HISTORY_ENTRIES).then_some(self.first)
    }

    /// Takes the next entry, whose sequence is one above the last.
    pub(crate) fn push(&mut self, message: &LogMessage) {
        let hash = chained(self.last().hash, message);
        self.hashes.push_back(hash);
        if self.hashes.len() > HISTORY_ENTRIES {
            self.hashes.pop_front();
            self.first += 1;
        }
    }

    /// Whether a message at or below the last is the one that was read: `None` when that is not known any more.
    pub fn has(&self, message: &LogMessage) -> Option<bool> {
        let hash = self.at(message.sequence)?;
        if message.sequence == self.first {
            // A chain from which nothing was dropped begins with this entry; else what was before it is not known.
            let is_beginning = self.hashes.len() < HISTORY_ENTRIES;
            return is_beginning.then(|| chained(0, message) == hash);
        }
        let before = self.at(message.sequence - 1)?;
        Some(chained(before, message) == hash)
    }

    /// The sequences from the first, and their hashes.
    pub(crate) fn parts(&self) -> (u64, impl ExactSizeIterator<Item = u64>) {
        (self.first, self.hashes.iter().copied())
    }

    /// The history of parts; `None` when there are none, or too many.
    pub(crate) fn from_parts(first: u64, hashes: VecDeque<u64>) -> Option<Self> {
        let end = first.checked_add(hashes.len() as u64)?;
        (end > 0 && !hashes.is_empty() && hashes.len() <= HISTORY_ENTRIES).then_some(Self { first, hashes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64, timestamp: u64) -> LogMessage {
        LogMessage { sequence, timestamp, bytes: vec![1] }
    }

    #[test]
    fn entries_that_were_read_are_known_again() {
        let mut history = LogHistory::default();
        (1..=10_000).for_each(|sequence| history.push(&message(sequence, 5)));
        assert_eq!((history.last().sequence, history.first()), (10_000, 10_001 - HISTORY_ENTRIES as u64));
        assert_eq!(history.has(&message(9_000, 5)), Some(true));
        assert_eq!(history.has(&message(9_000, 6)), Some(false));
        assert_eq!(history.has(&message(10_001, 5)), None);
        assert_eq!(history.has(&message(1_000, 5)), None, "too old");
    }

    #[test]
    fn a_difference_lasts_for_ever() {
        let (mut one, mut other) = (LogHistory::default(), LogHistory::default());
        one.push(&message(1, 5));
        other.push(&message(1, 6));
        for sequence in 2..=100 {
            one.push(&message(sequence, 5));
            other.push(&message(sequence, 5));
        }
        assert_ne!(one.last().hash, other.last().hash);
    }
}
