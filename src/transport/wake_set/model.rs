//! Threads that set flags and the task, in every order of their steps that a scheduler draws.

use shuttle::thread;

use super::*;
use crate::sync::model::{Task, check};

/// How often each of two flags was set; not seen by the scheduler.
#[derive(Default)]
struct SetCounts([std::sync::atomic::AtomicU64; 2]);

impl SetCounts {
    fn set(&self, wakes: &WakeSet, flag: u32) {
        self.0[flag as usize].fetch_add(1, Ordering::Relaxed);
        wakes.set(flag);
    }

    fn seen(&self, flags: u64, seen: &mut [u64; 2]) {
        for flag in (0..2).filter(|flag| flags & (1 << flag) != 0) {
            seen[flag] = self.0[flag].load(Ordering::Relaxed);
        }
    }
}

/// Two threads set flags and a task takes them: another task each time that it looks, or the same.
fn check_setters(moves: bool) {
    check(move || {
        let (wakes, counts) = (&WakeSet::new(), &SetCounts::default());
        let mut task = Arc::<Task>::default();
        let mut seen = [0; 2];
        thread::scope(|scope| {
            for flag in 0..2 {
                scope.spawn(move || (0..2).for_each(|_| counts.set(wakes, flag)));
            }
            while seen != [2; 2] {
                counts.seen(wakes.take(), &mut seen);
                // A flag of its own, which it takes back.
                wakes.set(2);
                wakes.clear(2);
                if moves {
                    task = Arc::default();
                }
                if seen != [2; 2] && wakes.park(&Arc::clone(&task).into()).is_pending() {
                    task.wait();
                }
            }
        });
    });
}

#[test]
fn every_flag_is_taken_or_wakes_the_task() {
    check_setters(false);
}

#[test]
fn moved_task_is_woken_where_it_last_parked() {
    check_setters(true);
}

#[test]
fn two_flags_are_never_lost_in_any_order() {
    let model = || {
        let (wakes, task) = (WakeSet::new(), Arc::<Task>::default());
        wakes.take();
        let flags = [wakes.waker(0), wakes.waker(1)];
        let setter = thread::spawn(move || flags.into_iter().for_each(Waker::wake));
        let mut seen = 0;
        while seen != 0b11 {
            if wakes.park(&Arc::clone(&task).into()).is_pending() {
                task.wait();
            }
            seen |= wakes.take();
        }
        setter.join().unwrap();
    };
    shuttle::check_dfs(model, None);
}
