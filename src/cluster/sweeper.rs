//! Carries out what falls due: leases, interests, timeouts, retention; and the age of updates that
//! nobody reads.

use std::time::Duration;

use super::CommandLog;
use crate::clock;
use crate::store::snapshot::Projection;
use starling_core::SharedCommand;

/// How long to sleep when nothing is due; a new deadline wakes the sweeper sooner.
const IDLE: Duration = Duration::from_secs(3600);

/// Time between two looks at the age of updates.
const AGING: Duration = Duration::from_secs(10);

/// Feeds that are looked at before others get a turn: each is looked at for 100 us at most, and
/// mostly for less than one.
const FEEDS_PER_YIELD: usize = 8;

/// Submits Expire for each swarm that falls due, and has feeds let go of what is too old, for ever. The log of a cluster
/// carries out by itself what falls due.
pub async fn run(log: CommandLog) {
    let expire = async {
        if log.cluster().is_none() {
            expire(&log).await;
        }
    };
    tokio::join!(expire, age(&log));
}

/// Submits Expire for each swarm that falls due: sleeps until then.
async fn expire(log: &CommandLog) {
    let (store, clock) = (log.store(), log.clock());
    loop {
        for id in store.due(clock.now()) {
            if let Err(gone) = log.submit(id, SharedCommand::Expire.into(), Projection::NOTHING).await {
                tracing::trace!(%id, %gone, "nothing is left to expire");
            }
            // Many may fall due together; who serves gets a turn after each.
            tokio::task::yield_now().await;
        }
        let next = store.next_expiry();
        let wait = next.map_or(IDLE, |at| Duration::from_millis(at.saturating_sub(clock.now())));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = store.sooner_than(next.unwrap_or(u64::MAX)) => {}
        }
    }
}

/// Has every feed that holds something let go of what is too old: publishing does so too, but some
/// publish no more.
async fn age(log: &CommandLog) {
    let memory = log.store().feed_memory();
    loop {
        tokio::time::sleep(AGING).await;
        let (mut left, mut looks) = (memory.enrolled(), 0);
        while left > 0 {
            left -= usize::from(memory.age_next(clock::uptime()));
            looks += 1;
            if looks % FEEDS_PER_YIELD == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}
