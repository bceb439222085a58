//! Those who ring and the task in every order of their steps that a scheduler draws.

use shuttle::thread;

use super::*;
use crate::sync::model::{Task, check};

/// What two flags were rung for; not seen by the scheduler.
#[derive(Default)]
struct Rung([std::sync::atomic::AtomicU64; 2]);

impl Rung {
    fn set(&self, wakes: &WakeSet, flag: u32) {
        self.0[flag as usize].fetch_add(1, Ordering::Relaxed);
        wakes.set(flag);
    }

    fn heard(&self, flags: u64, heard: &mut [u64; 2]) {
        for flag in (0..2).filter(|flag| flags & (1 << flag) != 0) {
            heard[flag] = self.0[flag].load(Ordering::Relaxed);
        }
    }
}

/// Two ring, and a task hears them, one each time that it looks or the same.
fn check_ringers(moves: bool) {
    check(move || {
        let (wakes, rung) = (&WakeSet::new(), &Rung::default());
        let mut task = Arc::<Task>::default();
        let mut heard = [0; 2];
        thread::scope(|scope| {
            for flag in 0..2 {
                scope.spawn(move || (0..2).for_each(|_| rung.set(wakes, flag)));
            }
            while heard != [2; 2] {
                rung.heard(wakes.take(), &mut heard);
                // A flag of its own, which it takes back.
                wakes.set(2);
                wakes.clear(2);
                if moves {
                    task = Arc::default();
                }
                if heard != [2; 2] && wakes.park(&Arc::clone(&task).into()).is_pending() {
                    task.wait();
                }
            }
        });
    });
}

#[test]
fn every_bell_is_taken_or_wakes_the_task() {
    check_ringers(false);
}

#[test]
fn a_task_that_moves_is_woken_where_it_rested_last() {
    check_ringers(true);
}

#[test]
fn two_bells_are_taken_or_wake_the_task_in_all_orders_that_there_are() {
    let model = || {
        let (wakes, task) = (WakeSet::new(), Arc::<Task>::default());
        wakes.take();
        let flags = [wakes.waker(0), wakes.waker(1)];
        let ringer = thread::spawn(move || flags.into_iter().for_each(Waker::wake));
        let mut heard = 0;
        while heard != 0b11 {
            if wakes.park(&Arc::clone(&task).into()).is_pending() {
                task.wait();
            }
            heard |= wakes.take();
        }
        ringer.join().unwrap();
    };
    shuttle::check_dfs(model, None);
}
