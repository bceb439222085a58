//! A log in memory that the pods of one process share: for a demonstration, and for tests of what drives a replica.
//!
//! It is [`MemoryLog`] with a clock, tokio's, and with what each pod hears of it. Its faults are asked for: of the log by
//! [`SharedMemoryLog::with_log`], of what lies between it and a pod by [`MemoryCommandLog`].

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use starling_replica::memory_log::PublishFate;
use starling_replica::output::SnapshotChoice;
use starling_replica::replica::{ObjectStoreUnreachable, PublishFault};
use starling_replica::{LogMessage, MemoryLog, PodIncarnation};
use tokio::time::Instant;

use super::{FETCH_BYTES, FetchedMessages, LogUnreachable, PartitionLog};

/// How long it takes a pod to find that nobody answers.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// What waits for a follower at most. What comes beyond it is lost to that follower.
const FOLLOW_BYTES: usize = 16 << 20;

/// The room that a message takes beside its bytes, roughly.
const MESSAGE_BYTES: usize = size_of::<LogMessage>();

/// The log of one partition and its object store, in the memory of this process.
#[derive(Clone, Debug)]
pub struct SharedMemoryLog {
    shared: Arc<SharedLog>,
}

#[derive(Debug)]
struct SharedLog {
    since: Instant,
    unix_ms: u64,
    max_bytes: usize,
    contents: Mutex<Contents>,
}

#[derive(Debug)]
struct Contents {
    log: MemoryLog,
    /// The room that each message of the log takes, from the first on.
    sizes: VecDeque<usize>,
    bytes: usize,
    object_sizes: Vec<(String, usize)>,
    /// Publishes so far: by this number the log names the one that it answers.
    publishes: u64,
    followers: Vec<Weak<Follower>>,
}

impl SharedMemoryLog {
    /// An empty log. It is full at `max_bytes`, and so is its object store at as many again. Its messages are stamped as
    /// if it were `unix_ms` now, in milliseconds since the Unix epoch.
    pub fn new(unix_ms: u64, max_bytes: usize) -> Self {
        let contents = Contents {
            log: MemoryLog::new(),
            sizes: VecDeque::new(),
            bytes: 0,
            object_sizes: Vec::new(),
            publishes: 0,
            followers: Vec::new(),
        };
        let shared = SharedLog { since: Instant::now(), unix_ms, max_bytes, contents: Mutex::new(contents) };
        Self { shared: Arc::new(shared) }
    }

    /// The log as a further pod has it.
    pub fn for_pod(&self) -> MemoryCommandLog {
        MemoryCommandLog { shared: Arc::clone(&self.shared), faults: Arc::default() }
    }

    /// Has the log fail in the ways that it has, or be looked at.
    pub fn with_log<R>(&self, change: impl FnOnce(&mut MemoryLog) -> R) -> R {
        let mut contents = self.shared.contents.lock();
        contents.log.advance(self.shared.now());
        let result = change(&mut contents.log);
        contents.recount();
        result
    }
}

impl SharedLog {
    fn now(&self) -> u64 {
        let elapsed = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.unix_ms.saturating_add(elapsed)
    }
}

impl Contents {
    /// Answers the publish, unless there is no leader to do it.
    fn publish(&mut self, bytes: &[u8], expect_last: Option<u64>, now: u64) -> Option<Result<u64, PublishFault>> {
        self.log.advance(now);
        self.publishes += 1;
        let from = PodIncarnation(self.publishes);
        let fate = PublishFate { copies: vec![0], acknowledged: Some(0) };
        self.log.publish(from, bytes, expect_last, &fate);
        self.log.advance(now);
        for message in self.log.take_written() {
            let size = size_of_message(&message);
            self.sizes.push_back(size);
            self.bytes += size;
            self.followers.retain(|follower| follower.upgrade().is_some_and(|follower| follower.take(&message)));
        }
        self.log.take_answers().into_iter().find(|(to, _)| *to == from).map(|(_, answer)| answer)
    }

    fn recount(&mut self) {
        let (messages, _) = self.log.get(self.log.first(), self.log.last());
        self.sizes = messages.iter().map(size_of_message).collect();
        self.bytes = self.sizes.iter().sum();
    }

    fn purge(&mut self, below: u64) {
        self.log.purge(below);
        let kept = self.log.last() + 1 - self.log.first();
        while self.sizes.len() as u64 > kept {
            self.bytes -= self.sizes.pop_front().unwrap_or_default();
        }
    }

    fn store(&mut self, name: &str, bytes: Vec<u8>, max_bytes: usize) -> Result<(), ObjectStoreUnreachable> {
        let kept = self.log.object_names();
        self.object_sizes.retain(|(own, _)| own != name && kept.contains(&own.as_str()));
        let others: usize = self.object_sizes.iter().map(|(_, size)| size).sum();
        if others + bytes.len() > max_bytes {
            return Err(ObjectStoreUnreachable);
        }
        self.object_sizes.push((name.to_owned(), bytes.len()));
        self.log.store(name, bytes);
        Ok(())
    }

    fn load(&self, choice: &SnapshotChoice) -> Option<(String, Vec<u8>)> {
        let name = match choice {
            SnapshotChoice::Named(name) => name.clone(),
            SnapshotChoice::Newest(skipped) => {
                let names = self.log.object_names();
                let mut newest_first = names.iter().rev().filter(|name| SnapshotChoice::sequence_of(name).is_some());
                (*newest_first.nth(*skipped)?).to_owned()
            }
        };
        let bytes = self.log.load(&SnapshotChoice::Named(name.clone()))?;
        Some((name, bytes))
    }
}

fn size_of_message(message: &LogMessage) -> usize {
    MESSAGE_BYTES + message.bytes.len()
}

/// What goes wrong between the log and one pod.
#[derive(Debug, Default)]
struct PodFaults {
    is_cut: AtomicBool,
    /// How many messages that are published will not be heard.
    losing: AtomicUsize,
}

/// A [`SharedMemoryLog`] as one pod has it.
#[derive(Clone, Debug)]
pub struct MemoryCommandLog {
    shared: Arc<SharedLog>,
    faults: Arc<PodFaults>,
}

impl MemoryCommandLog {
    /// Fault: the pod hears nothing of the log and cannot reach it, while it is cut off.
    pub fn set_cut(&self, is_cut: bool) {
        self.faults.is_cut.store(is_cut, Ordering::Relaxed);
    }

    /// Fault: so many of the messages that are published from now on are lost on their way to this pod.
    pub fn lose_messages(&self, messages: usize) {
        self.faults.losing.store(messages, Ordering::Relaxed);
    }

    /// Does something with the log, if it can be reached and `needs_leader` is no reason against it.
    async fn reach<R>(
        &self,
        needs_leader: bool,
        act: impl FnOnce(&mut Contents, u64) -> R,
    ) -> Result<R, LogUnreachable> {
        let done = {
            let mut contents = self.shared.contents.lock();
            let now = self.shared.now();
            contents.log.advance(now);
            let is_away = self.faults.is_cut.load(Ordering::Relaxed) || (needs_leader && contents.log.is_electing());
            (!is_away).then(|| act(&mut contents, now))
        };
        match done {
            Some(done) => Ok(done),
            None => {
                tokio::time::sleep(ANSWER_TIMEOUT).await;
                Err(LogUnreachable)
            }
        }
    }
}

impl PartitionLog for MemoryCommandLog {
    type Messages = MemoryMessages;

    async fn follow(&self) -> Result<MemoryMessages, LogUnreachable> {
        let follower = Arc::new(Follower { faults: Arc::clone(&self.faults), queue: Mutex::default() });
        self.reach(false, |contents, _| contents.followers.push(Arc::downgrade(&follower))).await?;
        Ok(MemoryMessages { follower })
    }

    async fn publish(&self, bytes: Bytes, expect_last: Option<u64>) -> Result<u64, PublishFault> {
        let max_bytes = self.shared.max_bytes;
        let answer = self.reach(true, |contents, now| {
            if contents.bytes + MESSAGE_BYTES + bytes.len() > max_bytes {
                return Some(Err(PublishFault::Full));
            }
            contents.publish(&bytes, expect_last, now)
        });
        answer.await.ok().flatten().unwrap_or(Err(PublishFault::Unreachable))
    }

    async fn fetch(&self, from: u64, to: u64) -> Result<FetchedMessages, LogUnreachable> {
        let (mut messages, first) = self.reach(false, |contents, _| contents.log.get(from, to)).await?;
        let mut bytes = 0;
        let within = messages.iter().take_while(|message| {
            let is_within = bytes == 0 || bytes + message.bytes.len() <= FETCH_BYTES;
            bytes += message.bytes.len();
            is_within
        });
        let kept = within.count();
        messages.truncate(kept);
        Ok(FetchedMessages { messages, first })
    }

    async fn extent(&self) -> Result<(u64, u64), LogUnreachable> {
        self.reach(true, |contents, _| (contents.log.first(), contents.log.last())).await
    }

    async fn load(&self, choice: SnapshotChoice) -> Result<Option<(String, Vec<u8>)>, ObjectStoreUnreachable> {
        self.reach(false, |contents, _| contents.load(&choice)).await.map_err(|LogUnreachable| ObjectStoreUnreachable)
    }

    async fn store(&self, name: String, bytes: Vec<u8>) -> Result<(), ObjectStoreUnreachable> {
        let max_bytes = self.shared.max_bytes;
        let stored = self.reach(false, |contents, _| contents.store(&name, bytes, max_bytes)).await;
        stored.map_err(|LogUnreachable| ObjectStoreUnreachable)?
    }

    async fn purge(&self, below: u64) -> Result<(), LogUnreachable> {
        self.reach(true, |contents, _| contents.purge(below)).await
    }
}

/// Messages of a [`MemoryCommandLog`] as they are written.
#[derive(Debug)]
pub struct MemoryMessages {
    follower: Arc<Follower>,
}

#[derive(Debug)]
struct Follower {
    faults: Arc<PodFaults>,
    queue: Mutex<FollowQueue>,
}

#[derive(Debug, Default)]
struct FollowQueue {
    messages: VecDeque<LogMessage>,
    bytes: usize,
    waker: Option<Waker>,
}

impl Follower {
    /// Takes a message, unless it is lost. Always there to take the next.
    fn take(&self, message: &LogMessage) -> bool {
        let one_less = |losing: usize| losing.checked_sub(1);
        let is_lost = self.faults.losing.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if is_lost || self.faults.is_cut.load(Ordering::Relaxed) {
            return true;
        }
        let mut queue = self.queue.lock();
        let bytes = queue.bytes + size_of_message(message);
        if bytes <= FOLLOW_BYTES {
            queue.bytes = bytes;
            queue.messages.push_back(message.clone());
            if let Some(waker) = queue.waker.take() {
                waker.wake();
            }
        }
        true
    }
}

impl Stream for MemoryMessages {
    type Item = LogMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<LogMessage>> {
        let mut queue = self.follower.queue.lock();
        match queue.messages.pop_front() {
            Some(message) => {
                queue.bytes -= size_of_message(&message);
                Poll::Ready(Some(message))
            }
            None => {
                queue.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

#[cfg(test)]
mod tests;
