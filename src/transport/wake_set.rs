//! A waker that remembers for which of several things it was woken.
//!
//! One task polls several things. Those for which it was not woken are not polled: with
//! thousands of connections each poll is a walk through cold memory.
//!
//! ```text
//!            take: the flags, BUSY set           park: no flag set meanwhile
//!   flags ──────────────────────────► BUSY ────────────────────────────────► 0 (parked)
//!     ▲                                 │ set                                  │ set: wakes
//!     └──── park fails: poll again ◄────┘                                      ▼ the task
//!                                                                            flags
//! ```
//!
//! While BUSY is set, setting a flag wakes nobody: the task finds it when it parks.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The task polls: it will find the flags that are set without being woken.
const BUSY: u64 = 1 << 63;

/// Wakes its task, and remembers for which of several things; one cache line.
#[derive(Debug)]
pub(crate) struct WakeSet {
    /// The flags that are set, and [`BUSY`].
    state: AtomicU64,
    task: Mutex<Option<Waker>>,
}

impl WakeSet {
    /// The number of flags.
    pub(crate) const FLAGS: u32 = 63;

    /// All flags are set at first, so that everything is polled once.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU64::new(!BUSY), task: Mutex::new(None) })
    }

    /// Takes the flags that were set since the last call, a bit each. The task is not woken
    /// before it [parks](Self::park).
    pub(crate) fn take(&self) -> u64 {
        self.state.swap(BUSY, Ordering::AcqRel) & !BUSY
    }

    /// Has `task` woken from now on. Ready when a flag was set meanwhile.
    pub(crate) fn park(&self, task: &Waker) -> Poll<()> {
        {
            let mut noted = self.task.lock();
            if !noted.as_ref().is_some_and(|noted| noted.will_wake(task)) {
                *noted = Some(task.clone());
            }
        }
        match self.state.compare_exchange(BUSY, 0, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Poll::Pending,
            Err(_) => Poll::Ready(()),
        }
    }

    /// Sets a flag, from 0, and wakes the task if it is parked.
    pub(crate) fn set(&self, flag: u32) {
        if self.state.fetch_or(1 << flag, Ordering::AcqRel) == 0
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }

    /// Clears one flag. Only its one setter may call it, from the task itself: anybody else's
    /// wake-up would be lost.
    pub(crate) fn clear(&self, flag: u32) {
        if self.state.load(Ordering::Relaxed) & (1 << flag) != 0 {
            self.state.fetch_and(!(1 << flag), Ordering::AcqRel);
        }
    }

    /// A waker that sets a flag. That of flag 0 allocates nothing.
    pub(crate) fn waker(self: &Arc<Self>, flag: u32) -> Waker {
        let wakes = Arc::clone(self);
        if flag == 0 { wakes.into() } else { Arc::new(FlagWaker { wakes, flag }).into() }
    }
}

impl Wake for WakeSet {
    fn wake(self: Arc<Self>) {
        self.set(0);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.set(0);
    }
}

struct FlagWaker {
    wakes: Arc<WakeSet>,
    flag: u32,
}

impl Wake for FlagWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wakes.set(self.flag);
    }
}

#[cfg(test)]
#[cfg(feature = "shuttle")]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::woken::Woken;

    /// A signal that rests, and its task.
    fn parked() -> (Arc<WakeSet>, Arc<Woken>, Waker) {
        let (wakes, task) = (WakeSet::new(), Arc::<Woken>::default());
        let waker = Waker::from(Arc::clone(&task));
        assert_eq!(wakes.take(), !BUSY, "nothing is missed");
        assert!(wakes.park(&waker).is_pending());
        (wakes, task, waker)
    }

    #[test]
    fn flags_are_told_apart_and_wake_once() {
        let (wakes, task, waker) = parked();
        wakes.waker(0).wake_by_ref();
        wakes.waker(5).wake();
        wakes.set(5);
        assert_eq!(task.take(), 1);
        assert_eq!(wakes.take(), 0b10_0001);
        assert!(wakes.park(&waker).is_pending());
    }

    #[test]
    fn flag_set_while_busy_prevents_parking() {
        let (wakes, task, waker) = parked();
        wakes.take();
        wakes.set(2);
        assert!(wakes.park(&waker).is_ready());
        assert_eq!((task.take(), wakes.take()), (0, 0b100));
        assert!(wakes.park(&waker).is_pending());
        wakes.set(2);
        assert_eq!(task.take(), 1);
    }

    #[test]
    fn cleared_flag_leaves_the_others() {
        let (wakes, _, waker) = parked();
        wakes.take();
        wakes.set(3);
        wakes.set(4);
        wakes.clear(3);
        wakes.clear(6);
        assert!(wakes.park(&waker).is_ready());
        assert_eq!(wakes.take(), 1 << 4);
    }

    #[test]
    fn task_that_parked_last_is_woken() {
        let (wakes, before, _) = parked();
        let after = Arc::<Woken>::default();
        wakes.take();
        assert!(wakes.park(&Arc::clone(&after).into()).is_pending());
        wakes.set(1);
        assert_eq!((before.take(), after.take()), (0, 1));
    }
}
