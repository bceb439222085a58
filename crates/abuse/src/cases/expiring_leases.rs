//! A full group whose leases fall due together.

use std::time::Duration;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit, OUTLASTING};
use crate::world::{FIRST, GROUP, each, full_group, join_group_for};

/// Groups at the same time.
const GROUPS: usize = 4;
/// The lease of everybody in the end: all join again within less.
const LEASE: prost_types::Duration = prost_types::Duration { seconds: 2, nanos: 0 };

pub(super) struct ExpiringLeases;

impl Case for ExpiringLeases {
    fn name(&self) -> &'static str {
        "expiring-leases"
    }

    fn does(&self) -> &'static str {
        "four full groups with overrides about everybody, whose leases all fall due within a second"
    }

    // The groups are state, and their last events are kept.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        4 * ((32 << 20) + budgets.bytes("store.event_log_bytes", 4 << 20))
    }

    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link().await?;
            let mut groups = Vec::new();
            for _ in 0..GROUPS {
                groups.push(full_group(link).await?);
            }
            attacker.begin();
            for group in groups {
                each(
                    FIRST..FIRST + GROUP,
                    |node| async move { join_group_for(link, group, node, LEASE).await.map(drop) },
                )
                .await?;
            }
            attacker.over().await;
            Ok(())
        })
    }
}
