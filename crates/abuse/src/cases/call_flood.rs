//! Calls again and again on one connection, and on another when that is closed.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use http::HeaderValue;
use starling_client::pb::livestream::v1::GetLivestreamRequest;
use tokio::time::{Instant, timeout_at};

use crate::attacker::{Attacker, rate};
use crate::credentials::HEALTHY_LIVESTREAM;
use crate::ending::Ending;
use crate::world::livestream_method;

/// Calls at the same time.
const AT_ONCE: usize = 64;

/// Asks for the healthy livestream until `ends`, each time with the token that is made for the number of the call; notes
/// how each call ended. Answers with how many were made in a second.
pub(super) async fn call_again(
    attacker: &Attacker,
    ends: Instant,
    token: impl Fn(u64) -> Option<HeaderValue>,
) -> Result<u64, Ending> {
    let (began, next) = (Instant::now(), AtomicU64::new(0));
    let (method, request) = (
        livestream_method("GetLivestream"),
        GetLivestreamRequest { livestream_id: HEALTHY_LIVESTREAM, ..Default::default() },
    );
    while Instant::now() < ends {
        let link = attacker.link_of(None).await?;
        let again = || async {
            while Instant::now() < ends {
                let token = token(next.fetch_add(1, Ordering::Relaxed));
                let Ok(ending) = timeout_at(ends, link.ending_as(&method, token, &request)).await else { break };
                let goes_on = matches!(ending, Ending::Served | Ending::Refused(..));
                attacker.note(ending);
                if !goes_on {
                    break;
                }
            }
        };
        join_all((0..AT_ONCE).map(|_| again())).await;
    }
    Ok(rate(next.into_inner(), began))
}
