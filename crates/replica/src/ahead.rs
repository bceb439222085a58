//! Messages whose turn has not come: an earlier one is missing, or is being waited for.
//!
//! Some may be of an earlier life of the log: on their way when it was lost, they have sequences that the next life gives
//! to others much later. Hence each is kept with whether it was read from the log by its sequence.

use std::collections::BTreeMap;

use crate::batch::LogMessage;

/// A message, and how it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AheadMessage {
    pub(crate) message: LogMessage,
    /// Whether it was read from the log that this pod follows, and not only heard of.
    pub(crate) is_fetched: bool,
}

/// Messages by their sequence, bounded in number and bytes.
#[derive(Debug)]
pub(crate) struct Ahead {
    messages: BTreeMap<u64, AheadMessage>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

impl Ahead {
    pub(crate) const fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, max_entries, max_bytes }
    }

    /// Keeps a message while there is room; the one that comes next always has some. What is not kept is fetched again.
    pub(crate) fn insert(&mut self, message: LogMessage, is_fetched: bool, next: u64) {
        let has_room = self.messages.len() < self.max_entries && self.bytes < self.max_bytes;
        if has_room || message.sequence == next {
            self.bytes += message.bytes.len();
            if let Some(old) = self.messages.insert(message.sequence, AheadMessage { message, is_fetched }) {
                self.bytes -= old.message.bytes.len();
            }
        }
    }

    /// The message of a sequence; those before it are dropped.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<AheadMessage> {
        while let Some(first) = self.messages.first_entry().filter(|first| *first.key() <= sequence) {
            let ahead = first.remove();
            self.bytes -= ahead.message.bytes.len();
            if ahead.message.sequence == sequence {
                return Some(ahead);
            }
        }
        None
    }

    /// Another life of the log begins: whatever was read may be of the one before.
    pub(crate) fn distrust(&mut self) {
        self.messages.values_mut().for_each(|ahead| ahead.is_fetched = false);
    }

    pub(crate) fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sequence: u64) -> LogMessage {
        LogMessage { sequence, timestamp: 0, bytes: vec![0; 10] }
    }

    #[test]
    fn messages_wait_within_their_bounds() {
        let mut ahead = Ahead::new(100, 50);
        (5..20).for_each(|sequence| ahead.insert(message(sequence), false, 4));
        assert_eq!((ahead.messages.len(), ahead.bytes), (5, 50), "in bytes");
        ahead.insert(message(4), false, 4);
        ahead.insert(message(4), true, 4);
        assert_eq!(ahead.bytes, 60, "the next has room always");
        let taken = |sequence, is_fetched| Some(AheadMessage { message: message(sequence), is_fetched });
        assert_eq!(ahead.take(4), taken(4, true), "the later one");
        assert_eq!(ahead.take(7), taken(7, false), "what is before it is of no use");
        assert_eq!((ahead.take(8), ahead.take(8)), (taken(8, false), None));
        assert_eq!(ahead.bytes, 10);
        let mut ahead = Ahead::new(3, 1_000);
        (5..20).for_each(|sequence| ahead.insert(message(sequence), false, 4));
        assert_eq!(ahead.messages.len(), 3, "in number");
    }
}
