//! Those who ring and the task in every order of their steps that a scheduler draws.

use shuttle::thread;

use super::*;
use crate::sync::model::{Task, check};

/// What two bells were rung for; not seen by the scheduler.
#[derive(Default)]
struct Rung([std::sync::atomic::AtomicU64; 2]);

impl Rung {
    fn ring(&self, signal: &Signal, bell: u32) {
        self.0[bell as usize].fetch_add(1, Ordering::Relaxed);
        signal.ring(bell);
    }

    fn heard(&self, bells: u64, heard: &mut [u64; 2]) {
        for bell in (0..2).filter(|bell| bells & (1 << bell) != 0) {
            heard[bell] = self.0[bell].load(Ordering::Relaxed);
        }
    }
}

/// Two ring, and a task hears them, one each time that it looks or the same.
fn check_ringers(moves: bool) {
    check(move || {
        let (signal, rung) = (&Signal::new(), &Rung::default());
        let mut task = Arc::<Task>::default();
        let mut heard = [0; 2];
        thread::scope(|scope| {
            for bell in 0..2 {
                scope.spawn(move || (0..2).for_each(|_| rung.ring(signal, bell)));
            }
            while heard != [2; 2] {
                rung.heard(signal.take(), &mut heard);
                // A bell of its own, which it takes back.
                signal.ring(2);
                signal.hush(2);
                if moves {
                    task = Arc::default();
                }
                if heard != [2; 2] && signal.rest(&Arc::clone(&task).into()).is_pending() {
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
        let (signal, task) = (Signal::new(), Arc::<Task>::default());
        signal.take();
        let bells = [signal.bell(0), signal.bell(1)];
        let ringer = thread::spawn(move || bells.into_iter().for_each(Waker::wake));
        let mut heard = 0;
        while heard != 0b11 {
            if signal.rest(&Arc::clone(&task).into()).is_pending() {
                task.wait();
            }
            heard |= signal.take();
        }
        ringer.join().unwrap();
    };
    shuttle::check_dfs(model, None);
}
