//! What all feeds of the process may hold together.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::clock::Micros;

/// Looking through all feeds is for one publisher in this time.
const PAUSE: Micros = Micros::from_millis(100);

/// Whoever holds records, and can let go of those that nobody reads.
///
/// A feed has its memory, and the memory all feeds: by this trait it need not know what a feed
/// is. It is called through a vtable, but only when memory runs out, and once in [`PAUSE`]
/// at most; what each publish and each read does is a plain atomic addition.
pub(super) trait Reclaim: Send + Sync {
    /// Lets go of what nobody reads, and books it.
    fn reclaim(&self);
}

/// Bytes of records in all rings, and their limit.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: AtomicUsize,
    feeds: Mutex<Vec<Weak<dyn Reclaim>>>,
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
    pub(super) fn enrol(&self, feed: Weak<dyn Reclaim>) {
        let mut feeds = self.feeds.lock();
        if feeds.len() == feeds.capacity() {
            feeds.retain(|feed| feed.strong_count() > 0);
        }
        feeds.push(feed);
    }

    /// Shrinks the rings that nobody reads to their newest runs. O(feeds); one
    /// thread at a time does it, and not again right after. False when it did not.
    pub(super) fn reclaim(&self, now: Micros) -> bool {
        let Some(mut feeds) = self.feeds.try_lock().filter(|_| self.reclaim_at.load(Ordering::Relaxed) <= now.get())
        else {
            return false;
        };
        self.reclaim_at.store((now + PAUSE).get(), Ordering::Relaxed);
        feeds.retain(|feed| feed.strong_count() > 0);
        let all: Vec<_> = feeds.iter().filter_map(Weak::upgrade).collect();
        drop(feeds);
        // After the lock: a feed enrols while it holds its own, which `reclaim` takes.
        all.iter().for_each(|feed| feed.reclaim());
        true
    }
}
