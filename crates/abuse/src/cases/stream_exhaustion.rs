//! More streams than a connection may have.

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::frames::{END_HEADERS, HEADERS, frame};
use crate::link::LIVESTREAMS;
use crate::settings::Setting;

pub(super) struct StreamExhaustion;

impl Case for StreamExhaustion {
    fn name(&self) -> &'static str {
        "stream-exhaustion"
    }

    fn does(&self) -> &'static str {
        "opens a million streams on a connection and ends none"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.streams_bytes", "33554432")]
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.streams_bytes", 128 << 20)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        let headers = attacker.call_headers(&format!("{LIVESTREAMS}PublishUpdates"));
        Box::pin(async move {
            hold_floods(attacker, &[], |out, number| frame(out, HEADERS, END_HEADERS, 2 * number + 1, &headers)).await
        })
    }
}
