//! How much work is done under locks, counted in steps; in debug builds alone.
//!
//! The collections of [`counted`](crate::counted) count a step for each entry that is visited, moved or copied, and
//! whatever takes a lock says so with [`hold`]. A test reads what one thread has done since it began (`tests/counting`
//! of the server): nothing depends on it, and in release builds nothing is left of it.

#[cfg(debug_assertions)]
use std::cell::Cell;

/// What one thread has done under locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Entries that were visited, moved or copied, and locks that were taken.
    pub steps: usize,
    /// The same while a lock was held without a break, at the most.
    pub longest: usize,
    /// Bytes that were allocated while a lock was held without a break, beyond those that were there when it was
    /// taken, at the most; as the [`Probe`] tells.
    pub bytes: usize,
}

/// How a test learns of allocations: called when a lock is taken, and when the last one is given back. The second one
/// answers the bytes that there were at most in between, beyond those at the first.
#[derive(Clone, Copy, Debug)]
pub struct Probe {
    /// The first lock is taken.
    pub begin: fn(),
    /// The last lock is given back.
    pub end: fn() -> usize,
}

#[cfg(debug_assertions)]
struct Thread {
    /// Locks that are held.
    depth: Cell<usize>,
    /// Nothing is counted while this is not 0.
    paused: Cell<usize>,
    /// Steps since the first of them was taken.
    held: Cell<usize>,
    work: Cell<Work>,
    probe: Cell<Option<Probe>>,
}

#[cfg(debug_assertions)]
thread_local! {
    static THREAD: Thread = const {
        Thread {
            depth: Cell::new(0),
            paused: Cell::new(0),
            held: Cell::new(0),
            work: Cell::new(Work { steps: 0, longest: 0, bytes: 0 }),
            probe: Cell::new(None),
        }
    };
}

/// Counts steps of whoever holds a lock.
#[cfg(debug_assertions)]
pub fn count(steps: usize) {
    // Where a thread ends nothing is counted any more.
    let _ended = THREAD.try_with(|thread| {
        if thread.depth.get() > 0 && thread.paused.get() == 0 {
            thread.held.set(thread.held.get() + steps);
        }
    });
}

/// Counts nothing in release builds.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub const fn count(_: usize) {}

/// A lock that is held: from [`hold`] on until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Hold(());

/// Says that a lock is taken.
#[cfg(debug_assertions)]
pub fn hold() -> Hold {
    let _ended = THREAD.try_with(|thread| {
        let depth = thread.depth.get();
        thread.depth.set(depth + 1);
        if depth == 0 {
            thread.held.set(0);
            if let Some(probe) = thread.probe.get() {
                (probe.begin)();
            }
        }
    });
    count(1);
    Hold(())
}

#[cfg(debug_assertions)]
impl Drop for Hold {
    fn drop(&mut self) {
        let _ended = THREAD.try_with(|thread| {
            let depth = thread.depth.get() - 1;
            thread.depth.set(depth);
            if depth > 0 {
                return;
            }
            let Work { steps, longest, bytes } = thread.work.get();
            let (held, allocated) = (thread.held.get(), thread.probe.get().map_or(0, |probe| (probe.end)()));
            let (longest, bytes) = (longest.max(held), bytes.max(allocated));
            thread.work.set(Work { steps: steps + held, longest, bytes });
        });
    }
}

/// Begins to count anew on this thread, and to ask `probe`.
#[cfg(debug_assertions)]
pub fn begin(probe: Option<Probe>) {
    THREAD.with(|thread| {
        thread.work.set(Work::default());
        thread.probe.set(probe);
    });
}

/// What this thread has done since [`begin`].
#[cfg(debug_assertions)]
pub fn done() -> Work {
    THREAD.with(|thread| thread.work.get())
}

/// Does what release builds do not do: it is not counted.
#[cfg(debug_assertions)]
pub fn uncounted<R>(act: impl FnOnce() -> R) -> R {
    THREAD.with(|thread| thread.paused.set(thread.paused.get() + 1));
    let result = act();
    THREAD.with(|thread| thread.paused.set(thread.paused.get() - 1));
    result
}

/// Does what release builds do not do.
#[cfg(not(debug_assertions))]
pub fn uncounted<R>(act: impl FnOnce() -> R) -> R {
    act()
}
