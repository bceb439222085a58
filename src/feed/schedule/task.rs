//! The task that wakes the subscriptions of one feed when the schedule says so.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::waiting::NextStep;
use crate::clock;
use crate::clock::Micros;
use crate::feed::subscriber::ParkedSubscriber;

/// Subscriptions that are woken before the task yields: each costs a few hundred
/// nanoseconds, so that others of the worker wait some 50 us at most.
const WAKES_PER_YIELD: usize = 128;

/// Starts a wake task that asks `next_step` what to do at a time, and again when `changed` is
/// notified. It ends with [`NextStep::Stop`], which comes after the last subscription.
pub(in crate::feed) fn spawn(changed: Arc<Notify>, next_step: impl Fn(Micros) -> NextStep + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "it ends after the last subscription")]
    tokio::spawn(run(changed, next_step));
}

async fn run(changed: Arc<Notify>, next_step: impl Fn(Micros) -> NextStep) {
    loop {
        match next_step(clock::uptime()) {
            NextStep::Wake(parked) => {
                for some in parked.chunks(WAKES_PER_YIELD) {
                    some.iter().for_each(ParkedSubscriber::wake);
                    tokio::task::yield_now().await;
                }
            }
            NextStep::SleepUntil(at) => {
                let wait = Duration::from(at.saturating_sub(clock::uptime()));
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = changed.notified() => {}
                }
            }
            NextStep::AwaitChange => changed.notified().await,
            NextStep::Stop => return,
        }
    }
}
