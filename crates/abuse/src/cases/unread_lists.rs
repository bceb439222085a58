//! Large lists of livestreams, which nobody reads.

use std::time::Duration;

use starling_client::pb::livestream::v1::{AddModeratorRequest, AddModeratorResponse, ListLivestreamsRequest};

use super::unread_rosters::{UNREAD, unread_budget};
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::settings::Setting;
use crate::world::{FIRST, ask_without_reading, each, join_livestream, livestream, livestream_method};

/// The first of their ids, which all take eight bytes.
const MODERATORS: u64 = 1 << 52;

pub(super) struct UnreadLists;

impl Case for UnreadLists {
    fn name(&self) -> &'static str {
        "unread-lists"
    }

    fn does(&self) -> &'static str {
        "1 000 ListLivestreams of 100 livestreams with 1 000 moderators each (short: 500 of 8 with 250), no answer read"
    }

    fn settings(&self) -> &'static [Setting] {
        UNREAD
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        unread_budget(budgets) + self.kept(budgets)
    }

    // The viewers are state, of at most 1 KiB each.
    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.form.pick(2 << 20, 100 << 20)
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link().await?;
            let (count, moderators) = attacker.form.pick((8, 250), (100, 1_000));
            let mut livestream_ids = Vec::new();
            for _ in 0..count {
                livestream_ids.push(livestream(link).await?.id);
            }
            let add = livestream_method("AddModerator");
            for &livestream_id in &livestream_ids {
                each(MODERATORS..MODERATORS + moderators, |viewer_node_id| {
                    let add = &add;
                    async move {
                        join_livestream(link, livestream_id, viewer_node_id).await?;
                        let request =
                            AddModeratorRequest { livestream_id, node_id: FIRST, viewer_node_id, ..Default::default() };
                        link.call::<AddModeratorResponse>(add, &request).await.map(drop)
                    }
                })
                .await?;
            }
            let request = ListLivestreamsRequest { livestream_ids, ..Default::default() };
            let calls = attacker.form.pick(500, 1_000);
            ask_without_reading(attacker, 1, calls, &livestream_method("ListLivestreams"), &request).await
        })
    }
}
