//! Readers that take nothing of what is published.

use std::time::Duration;

use starling_client::pb::livestream::v1::{PublishUpdateRequest, PublishUpdateResponse, SubscribeUpdatesRequest};
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use tokio::time::interval;

use super::unread_rosters::{UNREAD, unread_budget};
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::link::unread_ending;
use crate::settings::Setting;
use crate::world::{FIRST, join_livestream, livestream, livestream_method};

/// Between two updates.
const INTERVAL: Duration = Duration::from_millis(20);
/// Bytes of an update.
const PAYLOAD: usize = 10_000;

pub(super) struct ZeroWindow;

impl Case for ZeroWindow {
    fn name(&self) -> &'static str {
        "zero-window"
    }

    fn does(&self) -> &'static str {
        "subscribes 1 000 times (short: 200) to 500 KB/s and reads nothing"
    }

    fn settings(&self) -> &'static [Setting] {
        UNREAD
    }

    // The ring of the livestream is filled besides.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        unread_budget(budgets) + self.kept(budgets)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("feed.ring_bytes", 8 << 20)
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let (link, reader) = tokio::try_join!(attacker.link(), attacker.narrow_link())?;
            let stream = livestream(&link).await?;
            let (livestream_id, node_id) = (stream.id, FIRST + 1);
            let session_id = join_livestream(&link, livestream_id, node_id).await?;
            let channels = vec![UpdateChannel::Data.into()];
            let request =
                SubscribeUpdatesRequest { livestream_id, node_id, session_id, channels, ..Default::default() };
            let subscribe = livestream_method("SubscribeUpdates");
            let mut readers = Vec::new();
            for _ in 0..attacker.form.pick(200, 1_000) {
                let body = reader.unread(&subscribe, &request).await?;
                readers.push(async { unread_ending(body).await.0 });
            }
            let publishes = async {
                let publish = livestream_method("PublishUpdate");
                let update = UpdateDraft {
                    channel: UpdateChannel::Data.into(),
                    payload: vec![0; PAYLOAD].into(),
                    ..Default::default()
                };
                let request = PublishUpdateRequest {
                    livestream_id: stream.id,
                    node_id: FIRST,
                    session_id: stream.session,
                    update: Some(update),
                    term: 0,
                };
                let mut ticks = interval(INTERVAL);
                while !attacker.is_over() {
                    ticks.tick().await;
                    link.call::<PublishUpdateResponse>(&publish, &request).await?;
                }
                Ok(())
            };
            let (published, ()) = tokio::join!(publishes, attacker.note_all(readers));
            published
        })
    }
}
