//! Events that are far larger than the requests that make them.

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::settings::Setting;
use crate::world::{FIRST, GROUP, full_group, join_group, leave_group};

pub(super) struct EventLog;

impl Case for EventLog {
    fn name(&self) -> &'static str {
        "event-log"
    }

    fn does(&self) -> &'static str {
        "256 participants with overrides about all others, then 1 280 times (short: 48) join and leave of one node"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.event_logs_bytes", "33554432"), ("store.event_log_bytes", "8388608")]
    }

    // The members and their interests are state: 256 x 1 275 overrides, at most 96 B each.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.event_logs_bytes", 256 << 20) + (32 << 20)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        self.budget(budgets)
    }

    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let group = full_group(&link).await?;
            let last = FIRST + GROUP - 1;
            let mut rounds = 0;
            while rounds < attacker.form.pick(48, 1_280) && !attacker.is_over() {
                leave_group(&link, group, last).await?;
                join_group(&link, group, last).await?;
                rounds += 1;
            }
            attacker.figure(format!("{rounds} rounds"));
            Ok(())
        })
    }
}
