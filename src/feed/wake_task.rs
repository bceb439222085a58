//! The task that wakes the subscriptions of one feed when the schedule says so.

use std::sync::Arc;
use std::time::Duration;

use super::Feed;
use super::subscriber::ParkedSubscriber;
use super::wake_schedule::NextStep;
use crate::clock;

/// Subscriptions that are woken before the task yields: each costs a few hundred
/// nanoseconds, so that others of the worker wait some 50 us at most.
const WAKES_PER_YIELD: usize = 128;

impl Feed {
    /// Starts the wake task unless it runs. It ends after the last subscription.
    pub fn start_wake_task(self: &Arc<Self>) {
        if self.needs_wake_task() {
            #[expect(clippy::disallowed_methods, reason = "it ends after the last subscription")]
            tokio::spawn(run(Arc::clone(self)));
        }
    }
}

async fn run(feed: Arc<Feed>) {
    let changed = feed.schedule_changed();
    loop {
        match feed.next_step(clock::uptime()) {
            NextStep::Wake(parked) => {
                for some in parked.chunks(WAKES_PER_YIELD) {
                    some.iter().for_each(ParkedSubscriber::wake);
                    tokio::task::yield_now().await;
                }
            }
            NextStep::SleepUntil(at) => {
                let wait = Duration::from_micros(at.saturating_sub(clock::uptime()));
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
