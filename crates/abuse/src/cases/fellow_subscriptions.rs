//! Subscriptions of one viewer to the healthy livestream, as many as it gets.

use std::time::Duration;

use starling_client::pb::livestream::v1::SubscribeUpdatesRequest;
use starling_client::pb::swarm::v1::UpdateChannel;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit, OUTLASTING};
use crate::credentials::{FELLOW, HEALTHY_LIVESTREAM};
use crate::ending::Ending;
use crate::link::Link;
use crate::settings::Setting;
use crate::world::{ask_on_without_reading, join_livestream, livestream_method};

pub(super) struct FellowSubscriptions;

impl Case for FellowSubscriptions {
    fn name(&self) -> &'static str {
        "fellow-subscriptions"
    }

    fn does(&self) -> &'static str {
        "a viewer of the healthy livestream subscribes to it 1 000 times on each of 8 connections (short: 200 on 2), and reads \
         nothing"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.streams_bytes", "33554432"), ("streams.stall_timeout", "2s")]
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.streams_bytes", 128 << 20)
    }

    // It may; what is one too many is refused.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let token = fellow_token(attacker)?;
            let link = attacker.link_of(Some(&token)).await?;
            let session_id = join_livestream(&link, HEALTHY_LIVESTREAM, FELLOW).await?;
            let request = SubscribeUpdatesRequest {
                livestream_id: HEALTHY_LIVESTREAM,
                node_id: FELLOW,
                session_id,
                channels: vec![UpdateChannel::Data.into()],
                ..Default::default()
            };
            let (connections, calls) = attacker.form.pick((2, 200), (8, 1_000));
            attacker.begin();
            let mut links: Vec<Link> = Vec::new();
            for _ in 0..connections {
                links.push(attacker.narrow_link_of(&token).await?);
            }
            ask_on_without_reading(attacker, &links, calls, &livestream_method("SubscribeUpdates"), &request).await
        })
    }
}

/// The token of a viewer of the healthy livestream.
pub(super) fn fellow_token(attacker: &Attacker) -> Result<String, Ending> {
    attacker.credentials().viewer(FELLOW, &["CHAT"]).map_err(|_| Ending::Closed)
}
