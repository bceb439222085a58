//! A waker that remembers what it was woken for.
//!
//! One task polls several things. What has no news is not looked at again: with
//! thousands of connections each look is a walk through cold memory.

use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The task is at it: it will find what is rung without being woken.
const BUSY: u64 = 1 << 63;

/// Wakes its task, and remembers for which of several things; one cache line.
#[derive(Debug)]
pub(super) struct Signal {
    /// The bells that were rung, and [`BUSY`].
    state: AtomicU64,
    task: Mutex<Option<Waker>>,
}

impl Signal {
    /// How many bells it has.
    pub(super) const BELLS: u32 = 63;

    /// All bells are rung at first, so that nothing is missed.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { state: AtomicU64::new(!BUSY), task: Mutex::new(None) })
    }

    /// The bells that were rung since the last call, a bit each. The task is not woken
    /// before it [rests](Self::rest).
    pub(super) fn take(&self) -> u64 {
        self.state.swap(BUSY, Ordering::AcqRel) & !BUSY
    }

    /// From now on `task` is woken. Ready when something was rung meanwhile.
    pub(super) fn rest(&self, task: &Waker) -> Poll<()> {
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

    /// Rings a bell: the lowest is 0.
    pub(super) fn ring(&self, bell: u32) {
        if self.state.fetch_or(1 << bell, Ordering::AcqRel) == 0
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }

    /// Takes it back that a bell was rung. To be called by the task, for a bell that
    /// nobody else rings.
    pub(super) fn hush(&self, bell: u32) {
        if self.state.load(Ordering::Relaxed) & (1 << bell) != 0 {
            self.state.fetch_and(!(1 << bell), Ordering::AcqRel);
        }
    }

    /// Rings a bell when it is woken. That of the lowest takes no memory.
    pub(super) fn bell(self: &Arc<Self>, bell: u32) -> Waker {
        let signal = Arc::clone(self);
        if bell == 0 { signal.into() } else { Arc::new(Bell { signal, bell }).into() }
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.ring(0);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring(0);
    }
}

struct Bell {
    signal: Arc<Signal>,
    bell: u32,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal.ring(self.bell);
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
    fn resting() -> (Arc<Signal>, Arc<Woken>, Waker) {
        let (signal, task) = (Signal::new(), Arc::<Woken>::default());
        let waker = Waker::from(Arc::clone(&task));
        assert_eq!(signal.take(), !BUSY, "nothing is missed");
        assert!(signal.rest(&waker).is_pending());
        (signal, task, waker)
    }

    #[test]
    fn bells_are_told_apart_and_wake_once() {
        let (signal, task, waker) = resting();
        signal.bell(0).wake_by_ref();
        signal.bell(5).wake();
        signal.ring(5);
        assert_eq!(task.take(), 1);
        assert_eq!(signal.take(), 0b10_0001);
        assert!(signal.rest(&waker).is_pending());
    }

    #[test]
    fn what_is_rung_while_the_task_is_at_it_wakes_nobody_and_keeps_it_from_resting() {
        let (signal, task, waker) = resting();
        signal.take();
        signal.ring(2);
        assert!(signal.rest(&waker).is_ready());
        assert_eq!((task.take(), signal.take()), (0, 0b100));
        assert!(signal.rest(&waker).is_pending());
        signal.ring(2);
        assert_eq!(task.take(), 1);
    }

    #[test]
    fn a_hushed_bell_leaves_the_others() {
        let (signal, _, waker) = resting();
        signal.take();
        signal.ring(3);
        signal.ring(4);
        signal.hush(3);
        signal.hush(6);
        assert!(signal.rest(&waker).is_ready());
        assert_eq!(signal.take(), 1 << 4);
    }

    #[test]
    fn the_task_that_rested_last_is_woken() {
        let (signal, before, _) = resting();
        let after = Arc::<Woken>::default();
        signal.take();
        assert!(signal.rest(&Arc::clone(&after).into()).is_pending());
        signal.ring(1);
        assert_eq!((before.take(), after.take()), (0, 1));
    }
}
