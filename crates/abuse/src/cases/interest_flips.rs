//! A change of one interest of many.

use starling_client::pb::swarm::v1::{Interest, UpdateChannel};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::settings::Setting;
use crate::world::{FIRST, each, full_group, interest, set_interests};

pub(super) struct InterestFlips;

impl Case for InterestFlips {
    fn name(&self) -> &'static str {
        "interest-flips"
    }

    fn does(&self) -> &'static str {
        "flips one of 1 275 overrides of a participant 100 000 times (short: 3 000)"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.event_logs_bytes", "33554432"), ("store.event_log_bytes", "8388608")]
    }

    // As for the case event-log.
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
            let flip = |number: u64| {
                let wanted = if number.is_multiple_of(2) { Interest::Medium } else { Interest::Low };
                let changed = vec![interest(FIRST + 1, UpdateChannel::Visual, wanted)];
                set_interests(&link, group, FIRST, changed)
            };
            attacker.begin();
            let flips = 0..attacker.form.pick(3_000, 100_000);
            each(flips.take_while(|_| !attacker.is_over()), flip).await
        })
    }
}
