//! Streams that are reset once they are open: nothing that HTTP/2 counts as an attack.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use starling_client::pb::livestream::v1::WatchLivestreamRequest;
use tokio::time::Instant;

use crate::attacker::{Attacker, rate};
use crate::case::{Attack, Budgets, Case, Limit};
use crate::world::{livestream, livestream_method};

/// Streams at the same time.
const AT_ONCE: usize = 64;

pub(super) struct CancelledCalls;

impl Case for CancelledCalls {
    fn name(&self) -> &'static str {
        "cancelled-calls"
    }

    fn does(&self) -> &'static str {
        "opens WatchLivestream, and resets it when it is open, as fast as it can, 64 at a time"
    }

    // Streams that were reset and are not gone yet, of at most 16 KiB each.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("server.max_local_error_reset_streams", 1_024) * (16 << 10)
    }

    // It is what clients do, only often.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link().await?;
            let livestream_id = livestream(link).await?.id;
            let watch = &livestream_method("WatchLivestream");
            let request = &WatchLivestreamRequest { livestream_id, ..Default::default() };
            attacker.begin();
            let (began, opened) = (Instant::now(), AtomicU64::new(0));
            let again = async || {
                while !attacker.is_over() {
                    match link.unread(watch, request).await {
                        Ok(body) => {
                            drop(body);
                            opened.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(ending) => {
                            if !attacker.may_go_on(ending) {
                                break;
                            }
                        }
                    }
                }
            };
            join_all((0..AT_ONCE).map(|_| again())).await;
            attacker.figure(format!("{}/s", rate(opened.into_inner(), began)));
            Ok(())
        })
    }
}
