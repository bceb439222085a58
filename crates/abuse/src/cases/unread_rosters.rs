//! Watches that begin with a large roster, which nobody reads.

use starling_client::pb::livestream::v1::WatchLivestreamRequest;
use starling_client::pb::swarm::v1::MemberView;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::settings::Setting;
use crate::world::{FIRST, ask_without_reading, each, join_livestream, livestream, livestream_method};

pub(super) struct UnreadRosters;

impl Case for UnreadRosters {
    fn name(&self) -> &'static str {
        "unread-rosters"
    }

    fn does(&self) -> &'static str {
        "8 000 WatchLivestream (short: 1 600) of a livestream with 50 000 viewers (short: 2 000), none read"
    }

    fn settings(&self) -> &'static [Setting] {
        UNREAD
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        // The viewers are state, of at most 1 KiB each.
        unread_budget(budgets) + budgets.form.pick(2 << 20, 50 << 20)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.form.pick(2 << 20, 50 << 20)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let livestream_id = livestream(&link).await?.id;
            let viewers = attacker.form.pick(2_000, 50_000);
            each(FIRST + 1..=viewers, |node| {
                let link = &link;
                async move { join_livestream(link, livestream_id, node).await.map(drop) }
            })
            .await?;
            let request = WatchLivestreamRequest { livestream_id, view: MemberView::Full.into(), ..Default::default() };
            let (connections, calls) = attacker.form.pick((2, 800), (8, 1_000));
            ask_without_reading(attacker, connections, calls, &livestream_method("WatchLivestream"), &request).await
        })
    }
}

/// Settings of the cases that do not read.
pub(super) const UNREAD: &[Setting] = &[
    ("memory.sending_bytes", "33554432"),
    ("memory.sending_connection_bytes", "8388608"),
    ("memory.streams_bytes", "33554432"),
    ("streams.stall_timeout", "2s"),
];

/// What such a case may hold: what waits to be sent, and the open streams.
pub(super) fn unread_budget(budgets: &Budgets<'_>) -> u64 {
    budgets.bytes("memory.sending_bytes", 256 << 20) + budgets.bytes("memory.streams_bytes", 128 << 20)
}
