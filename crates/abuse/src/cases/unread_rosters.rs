//! Watches that begin with a large roster, which nobody reads.

use std::time::Duration;

use starling_client::pb::livestream::v1::{JoinLivestreamRequest, JoinLivestreamResponse, WatchLivestreamRequest};
use starling_client::pb::swarm::v1::MemberView;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::settings::Setting;
use crate::world::{FIRST, LEASE, ask_without_reading, each, livestream, livestream_method};

/// What a viewer says of itself, and where it is, in bytes: as much as there may be.
const MEMBER: usize = 256;

pub(super) struct UnreadRosters;

impl Case for UnreadRosters {
    fn name(&self) -> &'static str {
        "unread-rosters"
    }

    fn does(&self) -> &'static str {
        "8 000 WatchLivestream (short: 1 600) of a livestream with 50 000 viewers (short: 2 000) with 512 bytes of their own, none read"
    }

    fn settings(&self) -> &'static [Setting] {
        UNREAD
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        unread_budget(budgets) + self.kept(budgets)
    }

    // The viewers are state, of at most 2 KiB each.
    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.form.pick(4 << 20, 100 << 20)
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let livestream_id = livestream(&link).await?.id;
            let viewers = attacker.form.pick(2_000, 50_000);
            let join = livestream_method("JoinLivestream");
            each(FIRST + 1..=viewers, |node_id| {
                let opaque: bytes::Bytes = vec![7; MEMBER].into();
                let (metadata, endpoint, lease_ttl) = (Some(opaque.clone()), Some(opaque), Some(LEASE));
                let request = JoinLivestreamRequest {
                    livestream_id,
                    node_id,
                    metadata,
                    endpoint,
                    lease_ttl,
                    ..Default::default()
                };
                let (link, join) = (&link, &join);
                async move { link.call::<JoinLivestreamResponse>(join, &request).await.map(drop) }
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
