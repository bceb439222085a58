//! Events that are far larger than the requests that make them.

use starling_client::pb::swarm::v1::{Interest, UpdateChannel};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::settings::Setting;
use crate::world::{FIRST, GROUP, OVERRIDES, each, group, interest, join_group, leave_group, set_interests};

/// The first node of those that the overrides are about.
const OTHERS: u64 = 1_000;

pub(super) struct EventLog;

impl Case for EventLog {
    fn name(&self) -> &'static str {
        "event-log"
    }

    fn does(&self) -> &'static str {
        "255 participants with overrides about 1 280 nodes that are not there, which join and leave one by one (short: 40)"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.event_logs_bytes", "33554432"), ("store.event_log_bytes", "8388608")]
    }

    // The members and their interests are state: 255 x 1 280 overrides, at most 96 B each.
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
            let group = group(&link, GROUP - 1).await?;
            let about = |node| interest(node, UpdateChannel::Visual, Interest::Low);
            let overrides = || (OTHERS..OTHERS + OVERRIDES).map(about).collect();
            each(FIRST..FIRST + GROUP - 1, |node| set_interests(&link, group, node, overrides())).await?;
            attacker.begin();
            let mut left = 0;
            while left < attacker.form.pick(40, OVERRIDES) && !attacker.is_over() {
                join_group(&link, group, OTHERS + left).await?;
                leave_group(&link, group, OTHERS + left).await?;
                left += 1;
            }
            attacker.figure(format!("{left} came and left"));
            Ok(())
        })
    }
}
