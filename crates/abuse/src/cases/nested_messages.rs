//! Messages in messages in messages.

use bytes::Bytes;
use futures_util::future::join_all;

use super::oversize_messages::send;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::link::prefix;
use crate::world::livestream_method;

/// Calls at the same time.
const AT_ONCE: usize = 16;
/// How deep they are nested.
const DEPTH: usize = 60_000;
/// The begin of a group in field 15, which no message has.
const BEGIN: u8 = 15 << 3 | 3;

pub(super) struct NestedMessages;

impl Case for NestedMessages {
    fn name(&self) -> &'static str {
        "nested-messages"
    }

    fn does(&self) -> &'static str {
        "sends messages of 60 000 groups, each in the one before, on calls of both kinds, 16 at a time"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    // gRPC itself refuses what cannot be decoded: INTERNAL, whose reason is in its text alone.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link().await?;
            let nested = &Bytes::from(vec![BEGIN; DEPTH]);
            let calls = async |number: usize| {
                let method = livestream_method(["PublishUpdates", "GetLivestream"][number % 2]);
                while !attacker.is_over() {
                    if !attacker.may_go_on(send(link, &method, &prefix(DEPTH), nested.clone()).await) {
                        break;
                    }
                }
            };
            join_all((0..AT_ONCE).map(calls)).await;
            Ok(())
        })
    }
}
