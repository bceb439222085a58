//! Messages that are larger than allowed.

use bytes::Bytes;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::link::{Call, Link, prefix};
use crate::world::livestream_method;

/// Calls at the same time.
const AT_ONCE: usize = 16;
/// Bytes of a message of a publish stream, and of another call.
const PUBLISH: usize = 16 << 20;
const UNARY: usize = 1 << 20;

pub(super) struct OversizeMessages;

impl Case for OversizeMessages {
    fn name(&self) -> &'static str {
        "oversize-messages"
    }

    fn does(&self) -> &'static str {
        "sends messages of 16 MiB when publishing and of 1 MiB otherwise, 16 at a time"
    }

    // What is refused is not kept; HTTP/2's window of a connection may be full of it.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.receiving_connection_bytes", 8 << 20)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let zeros = Bytes::from(vec![0; PUBLISH]);
            let calls = async |number: usize| {
                let (method, size) = [("PublishUpdates", PUBLISH), ("GetLivestream", UNARY)][number % 2];
                while !attacker.is_over() {
                    if !attacker
                        .may_go_on(send(&link, &livestream_method(method), &prefix(size), zeros.slice(..size)).await)
                    {
                        break;
                    }
                }
            };
            futures_util::future::join_all((0..AT_ONCE).map(calls)).await;
            Ok(())
        })
    }
}

/// Sends a message of two parts; how the call ended.
pub(super) async fn send(link: &Link, method: &str, begin: &[u8], rest: Bytes) -> Ending {
    let begun = async {
        let mut call = link.begin(method).await?;
        call.body.send_data(Bytes::copy_from_slice(begin), false).map_err(|error| Ending::of_h2(&error))?;
        call.body.send_data(rest, true).map_err(|error| Ending::of_h2(&error))?;
        Ok(call)
    };
    match begun.await {
        Ok(Call { response, .. }) => Call::ending(response).await,
        Err(ending) => ending,
    }
}
