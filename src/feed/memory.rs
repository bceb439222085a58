//! What all feeds of the process may hold together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::{Feed, Micros};

/// Looking through all feeds is for one publisher in this time.
const PAUSE: Micros = 100_000;

/// Bytes of records in all rings, and their limit.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: AtomicUsize,
    feeds: Mutex<Vec<Weak<Feed>>>,
    /// When the feeds may be looked through again.
    reclaim_at: AtomicU64,
}

impl Memory {
    /// Room for `limit` bytes of records.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), feeds: Mutex::default(), reclaim_at: AtomicU64::new(0) })
    }

    /// Bytes of records held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.used() + bytes <= self.limit
    }

    /// Books what a ring holds now against what it held before.
    pub(super) fn book(&self, before: usize, now: usize) {
        if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// A feed holds something for the first time.
    pub(super) fn enrol(&self, feed: Weak<Feed>) {
        let mut feeds = self.feeds.lock();
        if feeds.len() == feeds.capacity() {
            feeds.retain(|feed| feed.strong_count() > 0);
        }
        feeds.push(feed);
    }

    /// Shrinks the rings that nobody reads to their newest runs. O(feeds); one
    /// thread at a time does it, and not again right after. False when it did not.
    pub(super) fn reclaim(&self, now: Micros) -> bool {
        let Some(mut feeds) = self.feeds.try_lock().filter(|_| self.reclaim_at.load(Ordering::Relaxed) <= now) else {
            return false;
        };
        self.reclaim_at.store(now + PAUSE, Ordering::Relaxed);
        feeds.retain(|feed| feed.strong_count() > 0);
        let all: Vec<_> = feeds.iter().filter_map(Weak::upgrade).collect();
        drop(feeds);
        all.iter().for_each(|feed| feed.shrink());
        true
    }
}
