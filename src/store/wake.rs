//! What is to happen once a shard is unlocked again.

use std::sync::Arc;

use tokio::sync::Notify;

use super::log::{EventLog, Revision};
use crate::feed::{Feed, ParkedSubscriber};
use starling_core::chat::Authors;
use starling_core::roster::Roster;
use starling_core::steps::count;
use starling_core::{Applied, Swarm};

/// Whom to wake and what to free after a shard is unlocked: done on drop.
#[derive(Debug, Default)]
pub struct Wakes {
    changed: Vec<Arc<Notify>>,
    parked: Vec<ParkedSubscriber>,
    feeds: Vec<Arc<Feed>>,
    /// Of swarms that are there no more: their records are many allocations.
    gone: Vec<Arc<Feed>>,
    #[expect(clippy::vec_box, reason = "a roster is handed over as it comes, boxed")]
    retired: Vec<Box<Roster>>,
    #[expect(clippy::vec_box, reason = "authors are handed over as they come, boxed")]
    authors: Vec<Box<Authors>>,
    #[expect(clippy::vec_box, reason = "a swarm is handed over as it comes, boxed")]
    former: Vec<Box<Swarm>>,
    revisions: Vec<Arc<Revision>>,
    logs: Vec<EventLog>,
}

impl Wakes {
    /// Notifies everyone who waits for `changed`, after the lock.
    pub fn push(&mut self, changed: Arc<Notify>) {
        count(1);
        self.changed.push(changed);
    }

    /// Notifies these too.
    pub fn extend(&mut self, changed: impl IntoIterator<Item = Arc<Notify>>) {
        self.changed.extend(changed.into_iter().inspect(|_| count(1)));
    }

    /// Wakes these subscriptions.
    pub(super) fn wake(&mut self, parked: Vec<ParkedSubscriber>) {
        count(parked.len());
        self.parked.extend(parked);
    }

    /// Makes everybody who reads a feed look.
    pub(super) fn wake_all(&mut self, feed: Arc<Feed>) {
        self.feeds.push(feed);
    }

    /// Keeps a feed until it can be freed without hurry.
    pub(super) fn let_go(&mut self, feed: Arc<Feed>) {
        self.gone.push(feed);
    }

    /// Keeps what a command left behind until it can be freed without hurry.
    pub(super) fn retire(&mut self, applied: Applied) {
        self.retired.extend(applied.retired);
        self.authors.extend(applied.retired_authors);
    }

    /// Keeps revisions that a log has given up until they can be freed without hurry.
    pub(super) fn free(&mut self, revisions: Vec<Arc<Revision>>) {
        count(revisions.len());
        self.revisions.extend(revisions);
    }

    /// Keeps a whole log until it can be freed without hurry.
    pub(super) fn free_log(&mut self, log: EventLog) {
        self.logs.push(log);
    }

    /// Keeps a swarm that is there no more until it can be freed without hurry.
    pub(super) fn forget(&mut self, former: Option<Box<Swarm>>) {
        self.former.extend(former);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        for changed in self.changed.drain(..) {
            changed.notify_waiters();
        }
        self.parked.iter().for_each(ParkedSubscriber::wake);
        self.feeds.iter().for_each(|feed| feed.wake_all());
    }
}
