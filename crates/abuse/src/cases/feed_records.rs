//! Updates without payload: what a record costs beside it.

use bytes::{Bytes, BytesMut};
use starling_client::pb::livestream::v1::PublishUpdatesRequest;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::ending::Ending;
use crate::link::{Link, drained, framed, send_all};
use crate::settings::Setting;
use crate::world::{livestream, livestream_method};

/// Livestreams, each with its ring and its publish stream.
const RINGS: u64 = 64;
/// Updates that are sent together.
const TOGETHER: u64 = 1_024;

pub(super) struct FeedRecords;

impl Case for FeedRecords {
    fn name(&self) -> &'static str {
        "feed-records"
    }

    fn does(&self) -> &'static str {
        "18.5 million updates (short: 1 million) without payload into 64 rings"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("feed.memory_bytes", "33554432"), ("feed.ring_bytes", "2097152"), ("feed.payload_bytes", "65536")]
    }

    // Large: 64 rings of 8 MiB are less than all rings together may hold.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        let rings = RINGS * budgets.bytes("feed.ring_bytes", 8 << 20);
        budgets.bytes("feed.memory_bytes", 1 << 30).min(rings)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        self.budget(budgets)
    }

    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link().await?;
            let each = attacker.form.pick(1_000_000, 18_500_000) / RINGS;
            let streams =
                (0..RINGS).map(|_| async move { publish(attacker, link, each).await.unwrap_or_else(|ending| ending) });
            attacker.note_all(streams).await;
            Ok(())
        })
    }
}

/// Publishes so many updates into a livestream of its own; how the stream ended.
async fn publish(attacker: &Attacker, link: &Link, updates: u64) -> Result<Ending, Ending> {
    let stream = livestream(link).await?;
    let update = UpdateDraft { channel: UpdateChannel::Data.into(), ..Default::default() };
    let one = framed(&PublishUpdatesRequest { message: Some(Publish::Update(update)) });
    let many: Bytes = (0..TOGETHER)
        .fold(BytesMut::new(), |mut many, _| {
            many.extend_from_slice(&one);
            many
        })
        .freeze();
    let (mut body, answers) = link.open(&livestream_method("PublishUpdates"), &stream.publish_open()).await?;
    let mut answers = std::pin::pin!(drained(answers));
    for _ in 0..updates / TOGETHER {
        if attacker.is_over() {
            break;
        }
        tokio::select! {
            biased;
            ending = &mut answers => return Err(ending),
            sent = send_all(&mut body, many.clone()) => sent?,
        }
    }
    body.send_data(Bytes::new(), true).map_err(|error| Ending::of_h2(&error))?;
    Ok(answers.await)
}
