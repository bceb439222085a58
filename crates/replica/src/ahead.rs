//! Messages whose turn has not come: an earlier one is missing, or is being waited for.

use std::collections::BTreeMap;

use crate::batch::LogMessage;

/// Messages by their sequence, bounded in number and bytes.
#[derive(Debug)]
pub(crate) struct Ahead {
    messages: BTreeMap<u64, LogMessage>,
    bytes: usize,
    max_entries: usize,
    max_bytes: usize,
}

impl Ahead {
    pub(crate) const fn new(max_entries: usize, max_bytes: usize) -> Self {
        Self { messages: BTreeMap::new(), bytes: 0, max_entries, max_bytes }
    }

    /// Keeps a message while there is room; the one that comes next always has some. What is not kept is fetched again.
    pub(crate) fn insert(&mut self, message: LogMessage, next: u64) {
        let has_room = self.messages.len() < self.max_entries && self.bytes < self.max_bytes;
        if has_room || message.sequence == next {
            self.bytes += message.bytes.len();
            if let Some(old) = self.messages.insert(message.sequence, message) {
                self.bytes -= old.bytes.len();
            }
        }
    }

    /// The message of a sequence; those before it are dropped.
    pub(crate) fn take(&mut self, sequence: u64) -> Option<LogMessage> {
        while let Some(first) = self.messages.first_entry().filter(|first| *first.key() <= sequence) {
            let message = first.remove();
            self.bytes -= message.bytes.len();
            if message.sequence == sequence {
                return Some(message);
            }
        }
        None
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
        (5..20).for_each(|sequence| ahead.insert(message(sequence), 4));
        assert_eq!((ahead.messages.len(), ahead.bytes), (5, 50), "in bytes");
        ahead.insert(message(4), 4);
        ahead.insert(message(4), 4);
        assert_eq!(ahead.bytes, 60, "the next has room always");
        assert_eq!(ahead.take(4), Some(message(4)));
        assert_eq!(ahead.take(7), Some(message(7)), "what is before it is of no use");
        assert_eq!((ahead.take(8), ahead.take(8)), (Some(message(8)), None));
        assert_eq!(ahead.bytes, 10);
        let mut ahead = Ahead::new(3, 1_000);
        (5..20).for_each(|sequence| ahead.insert(message(sequence), 4));
        assert_eq!(ahead.messages.len(), 3, "in number");
    }
}
