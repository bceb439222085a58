//! Target lists of a full group, read and watched by many.

use std::time::Duration;

use starling_client::pb::group::v1::{GetTargetsRequest, GetTargetsResponse, WatchTargetsRequest};
use starling_client::pb::swarm::v1::{Interest, UpdateChannel};
use tokio::time::{Instant, interval};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::settings::Setting;
use crate::world::{FIRST, full_group, group_method, interest as wanted, set_interests};

/// Between two GetTargets.
const INTERVAL: Duration = Duration::from_millis(5);

pub(super) struct TargetWork;

impl Case for TargetWork {
    fn name(&self) -> &'static str {
        "target-work"
    }

    fn does(&self) -> &'static str {
        "1 000 WatchTargets (short: 200) of one participant in a full group with overrides, GetTargets at 200/s, and \
         changes of interests"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.streams_bytes", "33554432"), ("memory.sending_bytes", "33554432")]
    }

    // As for the case event-log, whose group it is.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.streams_bytes", 128 << 20) + budgets.bytes("memory.sending_bytes", 256 << 20) + (32 << 20)
    }

    fn kept(&self, _budgets: &Budgets<'_>) -> u64 {
        32 << 20
    }

    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let (link, watcher) = tokio::try_join!(attacker.link(), attacker.narrow_link())?;
            let group_id = full_group(&link).await?;
            let request = WatchTargetsRequest { group_id, of_node_id: FIRST, ..Default::default() };
            let watch = group_method("WatchTargets");
            let mut watches = Vec::new();
            for _ in 0..attacker.form.pick(200, 1_000) {
                watches.push(watcher.unread(&watch, &request).await?);
            }
            let get = group_method("GetTargets");
            let request = GetTargetsRequest { group_id, of_node_id: FIRST, ..Default::default() };
            attacker.begin();
            let mut ticks = interval(INTERVAL);
            let mut slowest = Duration::ZERO;
            for number in 0_u64.. {
                if attacker.is_over() {
                    break;
                }
                ticks.tick().await;
                let began = Instant::now();
                link.call::<GetTargetsResponse>(&get, &request).await?;
                slowest = slowest.max(began.elapsed());
                if number.is_multiple_of(100) {
                    let level = if number.is_multiple_of(200) { Interest::Medium } else { Interest::Low };
                    set_interests(&link, group_id, FIRST + 1, vec![wanted(FIRST, UpdateChannel::Visual, level)])
                        .await?;
                }
            }
            attacker.figure(format!("slowest GetTargets {} ms", slowest.as_millis()));
            Ok(())
        })
    }
}
