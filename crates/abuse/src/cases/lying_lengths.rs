//! Messages whose length is not what they say.

use bytes::Bytes;

use super::oversize_messages::send;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::link::prefix;
use crate::world::livestream_method;

/// Calls at the same time.
const AT_ONCE: usize = 16;
/// Lengths that are announced; ten bytes follow each.
const ANNOUNCED: [usize; 4] = [u32::MAX as usize, 60_000, 11, 3];

pub(super) struct LyingLengths;

impl Case for LyingLengths {
    fn name(&self) -> &'static str {
        "lying-lengths"
    }

    fn does(&self) -> &'static str {
        "announces messages of 4 GiB, 60 000, 11 and 3 bytes and sends ten, on calls of both kinds, 16 at a time"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let rest = Bytes::from_static(&[0; 10]);
            let calls = async |number: usize| {
                let method = livestream_method(["PublishUpdates", "GetLivestream"][number % 2]);
                let announced = prefix(ANNOUNCED[number / 2 % ANNOUNCED.len()]);
                while !attacker.is_over() {
                    if !attacker.may_go_on(send(&link, &method, &announced, rest.clone()).await) {
                        break;
                    }
                }
            };
            futures_util::future::join_all((0..AT_ONCE).map(calls)).await;
            Ok(())
        })
    }
}
