//! A log and its object store in memory, which fail on demand: for simulation, and for several pods in one process.
//!
//! It is passive as a replica is: it is told the time, takes what pods ask for, and hands out what reaches them and when.
//! Which messages are late, lost or repeated is said by whoever asks ([`PublishFate`]), so that a run is made of its seed.

use std::collections::{BTreeMap, VecDeque};

use crate::batch::{LogMessage, PodIncarnation};
use crate::output::SnapshotChoice;
use crate::replica::PublishFault;

/// What becomes of one publish. Times are milliseconds from now.
#[derive(Clone, Debug, Default)]
pub struct PublishFate {
    /// When each copy reaches the log: none is a publish that never arrives, two one that arrives twice.
    pub copies: Vec<u64>,
    /// How long after the first copy its sender hears of it; `None` when the acknowledgement is lost.
    pub acknowledged: Option<u64>,
}

/// What a pod hears of the log.
#[derive(Clone, Debug)]
pub enum LogEvent {
    /// The answer to a publish.
    Published(Result<u64, PublishFault>),
    /// A message was written.
    Written(LogMessage),
}

/// A copy of a batch on its way to the log.
#[derive(Debug)]
struct Copy {
    from: PodIncarnation,
    bytes: Vec<u8>,
    expect_last: Option<u64>,
    /// For the first copy, when its sender hears of it.
    acknowledged: Option<u64>,
}

/// A log with an object store, in memory.
#[derive(Debug, Default)]
pub struct MemoryLog {
    now: u64,
    first: u64,
    messages: VecDeque<LogMessage>,
    copies: BTreeMap<(u64, u64), Copy>,
    copied: u64,
    /// What was written since it was asked for last.
    written: Vec<LogMessage>,
    answers: Vec<(u64, PodIncarnation, Result<u64, PublishFault>)>,
    objects: Vec<(String, Vec<u8>)>,
    is_full: bool,
    no_leader_until: u64,
    timestamp_offset: i64,
    /// What a replica of the log that is cut off has.
    stale: Option<(u64, VecDeque<LogMessage>)>,
}

impl MemoryLog {
    /// An empty log. Its first message has the sequence 1.
    pub fn new() -> Self {
        Self { first: 1, ..Self::default() }
    }

    /// Takes a batch; `delivery` says what becomes of it.
    pub fn publish(&mut self, from: PodIncarnation, bytes: &[u8], expect_last: Option<u64>, delivery: &PublishFate) {
        for (at, delay) in delivery.copies.iter().enumerate() {
            self.copied += 1;
            let acknowledged = delivery.acknowledged.filter(|_| at == 0);
            let copy = Copy { from, bytes: bytes.to_vec(), expect_last, acknowledged };
            self.copies.insert((self.now + delay, self.copied), copy);
        }
    }

    /// Goes on to a time: copies arrive, messages are written.
    pub fn advance(&mut self, now: u64) {
        while let Some(copy) = self.copies.first_entry().filter(|copy| copy.key().0 <= now) {
            let ((at, _), copy) = copy.remove_entry();
            self.now = self.now.max(at);
            if self.now < self.no_leader_until {
                // Nobody takes it, and nobody says so.
                continue;
            }
            let result = self.write(&copy);
            if let Some(delay) = copy.acknowledged {
                self.answers.push((self.now + delay, copy.from, result));
            }
        }
        self.now = self.now.max(now);
    }

    fn write(&mut self, copy: &Copy) -> Result<u64, PublishFault> {
        if self.is_full {
            return Err(PublishFault::Full);
        }
        if copy.expect_last.is_some_and(|expected| expected != self.last()) {
            return Err(PublishFault::OtherLast);
        }
        let sequence = self.last() + 1;
        let message = LogMessage { sequence, timestamp: self.timestamp(), bytes: copy.bytes.clone() };
        self.messages.push_back(message.clone());
        self.written.push(message);
        Ok(sequence)
    }

    fn timestamp(&self) -> u64 {
        self.now.saturating_add_signed(self.timestamp_offset)
    }

    /// What was written since the last call: to be handed to the pods, but for what is lost on the way.
    pub fn take_written(&mut self) -> Vec<LogMessage> {
        std::mem::take(&mut self.written)
    }

    /// Answers to publishes whose time has come.
    pub fn take_answers(&mut self) -> Vec<(PodIncarnation, Result<u64, PublishFault>)> {
        let now = self.now;
        let due = self.answers.extract_if(.., |(at, ..)| *at <= now);
        due.map(|(_, pod, result)| (pod, result)).collect()
    }

    /// The first sequence.
    pub const fn first(&self) -> u64 {
        self.first
    }

    /// The last sequence; one below the first when the log is empty.
    pub fn last(&self) -> u64 {
        self.first + self.messages.len() as u64 - 1
    }

    /// The messages of these sequences, as many as there are, and the first sequence of the log.
    pub fn get(&self, from: u64, to: u64) -> (Vec<LogMessage>, u64) {
        (within(&self.messages, from, to), self.first)
    }

    /// The same from a replica that was cut off at [`MemoryLog::cut_replica`].
    pub fn get_stale(&self, from: u64, to: u64) -> (Vec<LogMessage>, u64) {
        match &self.stale {
            Some((first, messages)) => (within(messages, from, to), *first),
            None => self.get(from, to),
        }
    }

    /// Deletes the messages below a sequence, and the regular snapshots below it; nothing when the log ends before it.
    pub fn purge(&mut self, below: u64) {
        if below > self.last() {
            return;
        }
        while self.first < below && self.messages.pop_front().is_some() {
            self.first += 1;
        }
        self.objects.retain(|(name, _)| SnapshotChoice::sequence_of(name).is_none_or(|sequence| sequence >= below));
    }

    /// Puts an object.
    pub fn store(&mut self, name: &str, bytes: Vec<u8>) {
        self.objects.retain(|(own, _)| own != name);
        self.objects.push((name.to_owned(), bytes));
    }

    /// An object.
    pub fn load(&self, choice: &SnapshotChoice) -> Option<Vec<u8>> {
        let mut newest_first = self.objects.iter().rev();
        let found = match choice {
            SnapshotChoice::Newest(skipped) => {
                newest_first.filter(|(name, _)| SnapshotChoice::sequence_of(name).is_some()).nth(*skipped)
            }
            SnapshotChoice::Named(wanted) => newest_first.find(|(name, _)| name == wanted),
        };
        found.map(|(_, bytes)| bytes.clone())
    }

    /// The names of all objects, oldest first.
    pub fn object_names(&self) -> Vec<&str> {
        self.objects.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// Fault: the newest object cannot be read any more.
    pub fn damage_newest_object(&mut self) {
        if let Some((_, bytes)) = self.objects.last_mut()
            && let Some(byte) = bytes.last_mut()
        {
            *byte ^= 1;
        }
    }

    /// Fault: the log takes nothing while it is full.
    pub const fn set_full(&mut self, is_full: bool) {
        self.is_full = is_full;
    }

    /// Fault: the leader is gone, and nothing is taken until another one is elected.
    pub fn elect_for(&mut self, ms: u64) {
        self.no_leader_until = self.no_leader_until.max(self.now + ms);
    }

    /// Whether nothing is taken now.
    pub const fn is_electing(&self) -> bool {
        self.now < self.no_leader_until
    }

    /// Fault: the clock that stamps messages steps, in milliseconds.
    pub const fn step_timestamps(&mut self, ms: i64) {
        self.timestamp_offset = self.timestamp_offset.saturating_add(ms);
    }

    /// Fault: the newest messages are lost, and others get their sequences; the first one stays. Answers how many they
    /// were.
    pub fn rewind(&mut self, messages: usize) -> usize {
        let lost = messages.min(self.messages.len().saturating_sub(1));
        self.messages.truncate(self.messages.len() - lost);
        lost
    }

    /// Fault: all messages are lost, and sequences begin at 1 again.
    pub fn lose_all(&mut self) {
        self.messages.clear();
        self.first = 1;
    }

    /// Fault: all objects are lost too.
    pub fn lose_objects(&mut self) {
        self.objects.clear();
    }

    /// Fault: a replica of the log stays as it is now, and answers stale from then on.
    pub fn cut_replica(&mut self) {
        self.stale = Some((self.first, self.messages.clone()));
    }
}

fn within(messages: &VecDeque<LogMessage>, from: u64, to: u64) -> Vec<LogMessage> {
    messages.iter().filter(|message| (from..=to).contains(&message.sequence)).cloned().collect()
}
