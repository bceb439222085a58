//! A viewer of the healthy livestream that comes and goes.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use starling_client::pb::livestream::v1::{LeaveLivestreamRequest, LeaveLivestreamResponse};
use tokio::time::sleep;

use super::fellow_subscriptions::fellow_token;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::credentials::{FELLOW, HEALTHY_LIVESTREAM};
use crate::ending::Ending;
use crate::world::{PAUSE, join_livestream, livestream_method};

/// Calls at the same time.
const AT_ONCE: usize = 16;

pub(super) struct FellowRejoins;

impl Case for FellowRejoins {
    fn name(&self) -> &'static str {
        "fellow-rejoins"
    }

    fn does(&self) -> &'static str {
        "a viewer of the healthy livestream joins and leaves it as fast as it can, 16 calls at a time"
    }

    // Each time is an event.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("store.event_log_bytes", 4 << 20)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        self.budget(budgets)
    }

    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link_of(Some(&fellow_token(attacker)?)).await?;
            let leave = &livestream_method("LeaveLivestream");
            let times = &AtomicU64::new(0);
            let again = || async move {
                let request =
                    LeaveLivestreamRequest { livestream_id: HEALTHY_LIVESTREAM, node_id: FELLOW, ..Default::default() };
                while !attacker.is_over() {
                    match join_livestream(link, HEALTHY_LIVESTREAM, FELLOW).await {
                        Ok(_) => {}
                        Err(ending) if ending.is_rate_limit() => {
                            attacker.note(ending);
                            sleep(PAUSE).await;
                            continue;
                        }
                        Err(ending) => return Err(ending),
                    }
                    match link.call::<LeaveLivestreamResponse>(leave, &request).await {
                        // Another of the calls has left already.
                        Ok(_) | Err(Ending::Refused(..)) => times.fetch_add(1, Ordering::Relaxed),
                        Err(ending) => return Err(ending),
                    };
                }
                Ok(())
            };
            for came in join_all((0..AT_ONCE).map(|_| again())).await {
                if let Err(ending) = came {
                    attacker.note(ending);
                }
            }
            let times = times.load(Ordering::Relaxed);
            attacker.figure(format!("{times} came and left"));
            Ok(())
        })
    }
}
