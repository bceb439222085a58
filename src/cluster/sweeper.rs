//! Carries out what falls due: leases, interests, timeouts, retention.

use std::time::Duration;

use super::CommandLog;
use crate::store::snapshot::Projection;
use starling_core::SharedCommand;

/// How long to sleep when nothing is due; a new deadline wakes the sweeper sooner.
const IDLE: Duration = Duration::from_secs(3600);

/// Submits Expire for each swarm that falls due, for ever: sleeps until then.
pub async fn run(log: CommandLog) {
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
