//! The CHAT of a livestream that several pods have in common: its order, the numbers of its authors, and how much they
//! may write.
//!
//! A message that is taken gets its position here, the same on every pod; what it says is handed on, and is no part of
//! the state. Nothing of one pod refuses it. In one process CHAT needs none of this: there the feed numbers it, and
//! judges by [`Author`] too.
//!
//! Of authors those are remembered that wrote last, whether they are members or not, as many as [`MOST_BYTES`] hold: an
//! author that is forgotten has not written for as long as some 60 000 others take, and repeats nothing any more.
//!
//! Invariants ([`Chat::check`], `validate`): both sides of the table hold the same; the weight and the digest are those
//! of all authors.

use std::hash::{Hash, Hasher};

use super::config::{AUTHOR_CHAT_RATE, CHAT_RATE};
use super::counted::Map;
use super::hash::WordHasher;
use super::id::{NodeId, SessionId};
use super::invariant::{BrokenInvariant, LARGEST, ensure};
use super::numbers::{MAX_GIVEN, NumberVerdict, Numbers, Range};
use super::token_bucket::TokenBucket;

/// What all authors together may take, in bytes.
pub const MOST_BYTES: usize = 16 << 20;

/// What one author takes, its ranges apart: itself, and its places in two trees whose nodes are half full at least.
const AUTHOR_BYTES: usize = size_of::<Heard>() + 2 * 3 * size_of::<(NodeId, usize)>();

/// What a range of its numbers takes, with the room beside it.
const RANGE_BYTES: usize = 2 * size_of::<Range>();

/// Why a message was not taken. It changes nothing but what is known of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChatRefusal {
    /// The author is muted.
    Muted,
    /// The author writes too much: [`AUTHOR_CHAT_RATE`].
    Quota,
    /// All authors together write too much: [`CHAT_RATE`].
    SwarmQuota,
    /// The number was rejected or left out, and a higher one was accepted since.
    OutOfOrder,
    /// The number is so old that nobody knows any more whether it was accepted.
    OutcomeUnknown,
}

impl ChatRefusal {
    /// True when the number counts as rejected. Otherwise it is known already what it is.
    const fn rejects(self) -> bool {
        match self {
            Self::Muted | Self::Quota | Self::SwarmQuota => true,
            Self::OutOfOrder | Self::OutcomeUnknown => false,
        }
    }
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatPosition {
    /// Its number in the CHAT, from 1; for a repeat, that of the newest message.
    pub sequence: u64,
    /// True when it was there already, and dropped.
    pub duplicate: bool,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChatOutcome {
    /// The author's number of it, or the one that it was counted as; for a repeat, the highest one accepted.
    pub publisher_sequence: u64,
    /// Where it stands, or why it was not taken.
    pub result: Result<ChatPosition, ChatRefusal>,
}

/// A message that was taken, for those who read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedMessage {
    /// Who wrote it.
    pub author: NodeId,
    /// Its number in the CHAT, from 1.
    pub sequence: u64,
    /// The number that its author gave it; 0 = none.
    pub publisher_sequence: u64,
    /// Opaque to the core.
    pub content: Box<[u8]>,
}

/// What a message is to its author's numbers and quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may be accepted.
    Fresh,
    /// It was accepted before.
    Repeat,
    /// It may not.
    Refused(ChatRefusal),
}

/// What is known of one author.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Author {
    /// What became of the numbers that it gave.
    pub numbers: Numbers,
    /// How much it may write.
    pub quota: TokenBucket,
}

impl Author {
    /// One of whom nothing is known, at `now` microseconds.
    pub fn new(now: u64) -> Self {
        let quota = TokenBucket::full(AUTHOR_CHAT_RATE.per_second, AUTHOR_CHAT_RATE.burst, now);
        Self { numbers: Numbers::default(), quota }
    }

    /// The number of a message (`given`, unless that is 0), and what it is, at `now` microseconds. O(log ranges).
    pub fn judge(&mut self, given: u64, muted: bool, now: u64) -> (u64, Judgement) {
        let number = if given == 0 { self.numbers.next() } else { given };
        let judgement = match self.numbers.judge(number) {
            // Nobody could count on after it.
            _ if given > MAX_GIVEN => Judgement::Refused(ChatRefusal::OutOfOrder),
            NumberVerdict::Repeat => Judgement::Repeat,
            NumberVerdict::OutOfOrder => Judgement::Refused(ChatRefusal::OutOfOrder),
            NumberVerdict::Unknown => Judgement::Refused(ChatRefusal::OutcomeUnknown),
            NumberVerdict::Fresh if muted => Judgement::Refused(ChatRefusal::Muted),
            NumberVerdict::Fresh if self.quota.balance(now) < 1 => Judgement::Refused(ChatRefusal::Quota),
            NumberVerdict::Fresh => Judgement::Fresh,
        };
        (number, judgement)
    }
}

/// An author, and with which message it was heard last.
#[derive(Clone, Debug)]
struct Heard {
    author: Author,
    at: u64,
}

/// Those who wrote last.
#[derive(Clone, Debug, Default)]
pub struct Authors {
    by_node: Map<NodeId, Box<Heard>>,
    /// By the message with which they were heard last.
    by_message: Map<u64, NodeId>,
    /// Ranges of the numbers of all.
    ranges: usize,
    /// Of each of them, added up.
    digest: u64,
}

impl Authors {
    /// Has an author changed that is heard with a message, made if need be. O(log authors).
    fn hear<R>(&mut self, node: NodeId, message: u64, now: u64, change: impl FnOnce(&mut Author) -> R) -> R {
        let mut heard = match self.by_node.remove(&node) {
            Some(heard) => {
                self.leave_out(node, &heard);
                heard
            }
            None => Box::new(Heard { author: Author::new(now), at: message }),
        };
        heard.at = message;
        let result = change(&mut heard.author);
        self.put(node, heard);
        result
    }

    fn put(&mut self, node: NodeId, heard: Box<Heard>) {
        self.ranges += heard.author.numbers.ranges();
        self.digest = self.digest.wrapping_add(digest(node, &heard));
        self.by_message.insert(heard.at, node);
        self.by_node.insert(node, heard);
    }

    /// Takes out what is told of one that is in the table no more.
    fn leave_out(&mut self, node: NodeId, heard: &Heard) {
        self.ranges -= heard.author.numbers.ranges();
        self.digest = self.digest.wrapping_sub(digest(node, heard));
        self.by_message.remove(&heard.at);
    }

    /// Forgets those that have not been heard for longest while all take more than so much: some ten at most, for what
    /// one message adds.
    fn forget(&mut self, most_bytes: usize) {
        while self.heap_bytes() > most_bytes {
            let Some(node) = self.by_message.iter().next().map(|(_, node)| *node) else { return };
            if let Some(heard) = self.by_node.remove(&node) {
                self.leave_out(node, &heard);
            }
        }
    }

    /// What is known of an author.
    pub fn get(&self, node: NodeId) -> Option<&Author> {
        self.by_node.get(&node).map(|heard| &heard.author)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_node.len()
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }

    /// Authors by the message with which they were heard last, from this message on.
    pub(super) fn heard_from(&self, message: u64) -> impl Iterator<Item = (u64, NodeId, &Author)> {
        self.by_message.range(message..).filter_map(|(message, node)| Some((*message, *node, self.get(*node)?)))
    }

    /// Adds one that was heard after all others. False, and nothing is done, when it is there already.
    pub(super) fn restore(&mut self, node: NodeId, author: Author, at: u64) -> bool {
        let is_new = !self.by_node.contains_key(&node);
        if is_new {
            self.put(node, Box::new(Heard { author, at }));
        }
        is_new
    }

    /// A digest of all. O(1).
    pub(super) const fn digest(&self) -> u64 {
        self.digest
    }

    /// What they take, in bytes: the same wherever the same was written. O(1).
    fn heap_bytes(&self) -> usize {
        self.by_node.len() * AUTHOR_BYTES + self.ranges * RANGE_BYTES
    }
}

/// What is derived is left out, and how much room there is.
impl Hash for Authors {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.heard_from(0).for_each(|heard| heard.hash(state));
    }
}

/// A digest of one author, the same in every build. O(ranges).
fn digest(node: NodeId, heard: &Heard) -> u64 {
    let Heard { author: Author { numbers, quota }, at } = heard;
    let Numbers { session, accepted, highest, missing, forgotten, previous } = numbers;
    let mut digest = WordHasher::new(node.get());
    let (level, since) = quota.level();
    let session = session.map_or(0, SessionId::get);
    let (before, accepted_before) = previous.map_or((0, 0), |(session, accepted)| (session.get(), accepted));
    [*at, session, *accepted, *highest, *forgotten, before, accepted_before, level, since]
        .into_iter()
        .for_each(|word| digest.word(word));
    for Range { first, last, rejected } in missing {
        [*first, *last, u64::from(*rejected)].into_iter().for_each(|word| digest.word(word));
    }
    digest.finish()
}

/// The CHAT of a livestream.
#[derive(Clone, Debug, Hash)]
pub struct Chat {
    /// The number of the newest message; 0 = there was none.
    pub(super) sequence: u64,
    /// How many messages were judged.
    pub(super) judged: u64,
    /// How much all may write.
    pub(super) quota: TokenBucket,
    pub(super) authors: Authors,
}

impl Chat {
    /// One in which nobody has written, at `now` microseconds.
    pub(super) fn new(now: u64) -> Self {
        let quota = TokenBucket::full(CHAT_RATE.per_second, CHAT_RATE.burst, now);
        Self { sequence: 0, judged: 0, quota, authors: Authors::default() }
    }

    /// Takes a message of a member, or refuses it, at `now` microseconds. O(log authors + ranges).
    pub(super) fn write(
        &mut self,
        author: NodeId,
        session: SessionId,
        given: u64,
        muted: bool,
        now: u64,
    ) -> ChatOutcome {
        let Self { sequence, judged, quota, authors } = self;
        *judged += 1;
        let outcome = authors.hear(author, *judged, now, |author| {
            author.numbers.begin(session);
            let (number, judgement) = author.judge(given, muted, now);
            let judgement = match judgement {
                Judgement::Fresh if quota.balance(now) < 1 => Judgement::Refused(ChatRefusal::SwarmQuota),
                judgement => judgement,
            };
            match judgement {
                Judgement::Fresh => {
                    quota.take(1);
                    author.quota.take(1);
                    author.numbers.accept(number);
                    *sequence += 1;
                    let position = ChatPosition { sequence: *sequence, duplicate: false };
                    ChatOutcome { publisher_sequence: number, result: Ok(position) }
                }
                Judgement::Repeat => {
                    let position = ChatPosition { sequence: *sequence, duplicate: true };
                    ChatOutcome { publisher_sequence: author.numbers.accepted(), result: Ok(position) }
                }
                Judgement::Refused(refusal) => {
                    if refusal.rejects() {
                        author.numbers.reject(number);
                    }
                    ChatOutcome { publisher_sequence: number, result: Err(refusal) }
                }
            }
        });
        authors.forget(MOST_BYTES);
        outcome
    }

    /// Why a message of an author would be refused at `now` microseconds, whatever its number is.
    pub(super) fn quota_refusal(&self, author: NodeId, now: u64) -> Option<ChatRefusal> {
        let is_empty = |mut quota: TokenBucket| quota.balance(now) < 1;
        match self.authors.get(author) {
            Some(known) if is_empty(known.quota) => Some(ChatRefusal::Quota),
            _ => is_empty(self.quota).then_some(ChatRefusal::SwarmQuota),
        }
    }

    /// What it takes, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.authors.heap_bytes()
    }

    /// Panics when what is derived is not what it is derived from. O(n).
    pub(super) fn check(&self) {
        let Authors { by_node, by_message, ranges, digest: sum } = &self.authors;
        let mut listed = by_node.iter().map(|(node, heard)| (heard.at, *node));
        assert!(listed.all(|(at, node)| by_message.get(&at) == Some(&node)), "each author has its place");
        assert_eq!(by_node.len(), by_message.len(), "and nobody else");
        let all = || by_node.iter();
        assert_eq!(all().map(|(_, heard)| heard.author.numbers.ranges()).sum::<usize>(), *ranges, "ranges add up");
        let digests = all().map(|(node, heard)| digest(*node, heard));
        assert_eq!(digests.fold(0, u64::wrapping_add), *sum, "what they are adds up");
    }

    /// Refuses what no command makes, at `now` microseconds. O(authors).
    pub(super) fn validate(&self, now: u64) -> Result<(), BrokenInvariant> {
        ensure(self.sequence <= LARGEST && self.judged <= LARGEST, "messages are below 2^60")?;
        ensure(self.quota.level().1 <= now, "nothing was written after the last command")?;
        ensure(self.authors.heap_bytes() <= MOST_BYTES, "authors are bounded")?;
        for (at, _, Author { numbers, quota }) in self.authors.heard_from(0) {
            ensure(0 < at && at <= self.judged, "authors were heard with a message")?;
            ensure(numbers.session.is_some(), "an author has written in a session")?;
            ensure(quota.level().1 <= now, "nothing was written after the last command")?;
            numbers.validate()?;
        }
        Ok(())
    }
}

/// Milliseconds of commands as microseconds.
pub(super) const fn micros(ms: u64) -> u64 {
    ms.saturating_mul(1_000)
}

#[cfg(test)]
mod tests;
