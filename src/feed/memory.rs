//! What all feeds of the process may hold together, and how they let go of it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use super::ring::LET_GO_AT_ONCE;
use super::totals::FeedTotals;
use crate::clock::Micros;
use crate::sync::Mutex;
use starling_core::counted::Queue;

/// After a look at all feeds that has found no room, nobody looks for this time.
const PAUSE: Micros = Micros::from_millis(100);

/// Feeds that one publisher looks through for room at most.
const FEEDS_AT_ONCE: usize = 64;

/// Records that go for one publisher at most: some 200 us.
const RECORDS_AT_ONCE: usize = 2_048;

/// Feeds that are asked at once for what they have counted: some 50 us.
const COUNTED_AT_ONCE: usize = 256;

/// What a feed that was asked to let go has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LetGo {
    /// So many records went, and there may be more that can go, now or with time.
    Some(usize),
    /// Nothing is left that could go; the feed enrols anew with its next record.
    All,
}

/// Whoever holds records, and can let go of those that nobody reads.
///
/// A feed has its memory, and the memory all feeds: by this trait it need not know what a feed
/// is. It is called through a vtable, but only when memory runs out or time has passed; what each
/// publish and each read does is a plain atomic addition.
pub(super) trait Reclaim: Send + Sync {
    /// Lets go of what nobody reads, and of what is more than `share` bytes, some of it at a time, and
    /// books it.
    fn reclaim(&self, share: usize) -> LetGo;

    /// Lets go of what is too old, some of it at a time, and books it.
    fn age(&self, now: Micros) -> LetGo;

    /// Adds what it has counted to the sums of all.
    fn count(&self);
}

/// Bytes that all feeds hold, and their limit.
#[derive(Debug)]
pub struct Memory {
    limit: usize,
    used: AtomicUsize,
    /// Those that may have something to let go of. The next one to be asked is in front.
    feeds: Mutex<Queue<Weak<dyn Reclaim>>>,
    /// When the feeds may be looked through again for room.
    reclaim_at: AtomicU64,
    /// Feeds that were asked for room, one after the other, and had none.
    barren: AtomicUsize,
    totals: FeedTotals,
}

impl Memory {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            feeds: Mutex::default(),
            reclaim_at: AtomicU64::new(0),
            barren: AtomicUsize::new(0),
            totals: FeedTotals::default(),
        })
    }

    /// Bytes that may be held.
    pub const fn limit(&self) -> usize {
        self.limit
    }

    /// What all feeds have counted together, as of when each was asked last: 10 s ago at most.
    pub const fn totals(&self) -> &FeedTotals {
        &self.totals
    }

    /// Asks [`COUNTED_AT_ONCE`] of the feeds that hold something, from the one at `from` on, what they have counted.
    /// Where the next ones begin, if there are more. Those that come and go meanwhile may be passed over or asked
    /// twice, which leaves the sums older or as they are.
    pub fn sum_up(&self, from: usize) -> Option<usize> {
        let mut asked = Vec::with_capacity(COUNTED_AT_ONCE);
        {
            let feeds = self.feeds.lock();
            asked.extend(feeds.iter().skip(from).take(COUNTED_AT_ONCE).cloned());
        }
        for feed in asked.iter().filter_map(Weak::upgrade) {
            feed.count();
        }
        (asked.len() == COUNTED_AT_ONCE).then_some(from + COUNTED_AT_ONCE)
    }

    /// Bytes held now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        // Whoever adds nothing is not kept from going on.
        bytes == 0 || self.used() + bytes <= self.limit
    }

    /// Books what a feed holds now against what it held before.
    pub(super) fn book(&self, before: usize, now: usize) {
        if now >= before {
            self.used.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.used.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    /// A feed holds something that can go.
    pub(super) fn enrol(&self, feed: Weak<dyn Reclaim>) {
        self.feeds.lock().push_back(feed);
    }

    /// Feeds that may have something to let go of.
    pub fn enrolled(&self) -> usize {
        self.feeds.lock().len()
    }

    /// What each feed may hold when there is no more: an equal part for all.
    pub(super) fn share(&self) -> usize {
        self.limit / self.enrolled().max(1)
    }

    /// Has rings that nobody reads let go of all but their newest runs, and others of what is more
    /// than their share, one feed after the other, until there is room for `bytes`. One call looks at [`FEEDS_AT_ONCE`] feeds, or lets go of
    /// [`RECORDS_AT_ONCE`] records, and the next goes on. False when there is no room then, or
    /// when all feeds were looked through in vain a moment ago.
    pub(super) fn reclaim(&self, bytes: usize, now: Micros) -> bool {
        if self.reclaim_at.load(Ordering::Relaxed) > now.get() {
            return false;
        }
        let (mut records, share) = (0, self.share());
        for _ in 0..FEEDS_AT_ONCE {
            let went = match self.ask_next(|feed| feed.reclaim(share)) {
                Some(LetGo::Some(went)) => went,
                Some(LetGo::All) => 1,
                None => 0,
            };
            if self.has_room_for(bytes) {
                self.barren.store(0, Ordering::Relaxed);
                return true;
            }
            let barren = if went == 0 { self.barren.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
            if went > 0 {
                self.barren.store(0, Ordering::Relaxed);
            } else if barren > self.enrolled() {
                self.barren.store(0, Ordering::Relaxed);
                self.reclaim_at.store((now + PAUSE).get(), Ordering::Relaxed);
                return false;
            }
            records += went;
            if records >= RECORDS_AT_ONCE {
                break;
            }
        }
        false
    }

    /// Has the next feed let go of what is too old, so much as goes under one lock. False when that
    /// feed has more of it: it is the next one again. To be done with every feed that is
    /// [enrolled](Self::enrolled) every few seconds: then rings that nobody reads or writes get empty
    /// too.
    pub fn age_next(&self, now: Micros) -> bool {
        self.ask_next(|feed| feed.age(now)) != Some(LetGo::Some(LET_GO_AT_ONCE))
    }

    /// Asks the feed in front to let go. It stays there if it has more at once, and stands at the end if
    /// it may have more with time.
    fn ask_next(&self, ask: impl Fn(&dyn Reclaim) -> LetGo) -> Option<LetGo> {
        let feed = {
            let mut feeds = self.feeds.lock();
            let next = feeds.pop_front()?;
            if feeds.len() <= feeds.capacity() / 4 {
                let room = feeds.len() * 2;
                feeds.shrink_to(room);
            }
            next
        };
        // Without the lock: a feed enrols while it holds its own, which `ask` takes.
        let answer = ask(&*feed.upgrade()?);
        match answer {
            LetGo::All => {}
            LetGo::Some(LET_GO_AT_ONCE) => self.feeds.lock().push_front(feed),
            LetGo::Some(_) => self.feeds.lock().push_back(feed),
        }
        Some(answer)
    }
}
