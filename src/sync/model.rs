//! What models are made of.

use std::sync::Arc;
use std::task::Wake;

use shuttle::sync::{Condvar, Mutex};

/// In how many orders a model runs by each of two ways to draw them.
const ORDERS: usize = 1_000;

/// Switches between threads at the places that matter: enough for most faults.
const SWITCHES: usize = 3;

/// Runs a model in many orders of its threads: some at random, and some with few
/// switches. `MODELS` says how many. A failure prints its schedule, for
/// `shuttle::replay`; that nobody can go on is one.
pub(crate) fn check(model: impl Fn() + Copy + Send + Sync + 'static) {
    let orders = std::env::var("MODELS").map_or(ORDERS, |orders| orders.parse().expect("MODELS is a number"));
    shuttle::check_random(model, orders);
    shuttle::check_pct(model, orders, SWITCHES);
}

/// A task that a thread of the model polls.
#[derive(Debug, Default)]
pub(crate) struct Task {
    woken: Mutex<bool>,
    condvar: Condvar,
}

impl Task {
    /// Waits until it is woken. That it was woken before is remembered, once.
    pub(crate) fn wait(&self) {
        let woken = self.woken.lock().unwrap();
        *self.condvar.wait_while(woken, |woken| !*woken).unwrap() = false;
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        *self.woken.lock().unwrap() = true;
        self.condvar.notify_one();
    }
}
