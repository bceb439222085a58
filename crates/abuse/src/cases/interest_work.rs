//! Changes of interests that many subscriptions depend on.

use std::time::Duration;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use starling_client::pb::group::v1::publish_updates_request::Message as Publish;
use starling_client::pb::group::v1::{PublishOpen, PublishUpdatesRequest, SubscribeUpdatesRequest};
use starling_client::pb::swarm::v1::{Interest, UpdateChannel};
use tokio::time::Instant;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::ending::Ending;
use crate::link::Link;
use crate::settings::Setting;
use crate::world::{CHANNELS, FIRST, GROUP, full_group, group_method, interest, set_interests};

pub(super) struct InterestWork;

impl Case for InterestWork {
    fn name(&self) -> &'static str {
        "interest-work"
    }

    fn does(&self) -> &'static str {
        "1 275 overrides and 1 000 subscriptions of one participant (short: 200), a publish stream of every one, nine \
         SetInterest of 25 bytes"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.streams_bytes", "33554432")]
    }

    // As for the case event-log, whose group it is.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.streams_bytes", 128 << 20) + (32 << 20)
    }

    fn kept(&self, _budgets: &Budgets<'_>) -> u64 {
        32 << 20
    }

    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let (link, subscriber, publisher) = tokio::try_join!(attacker.link(), attacker.link(), attacker.link())?;
            let group_id = full_group(&link).await?;
            let channels = CHANNELS.map(Into::into).to_vec();
            let request = SubscribeUpdatesRequest { group_id, node_id: FIRST, channels, ..Default::default() };
            let subscribe = group_method("SubscribeUpdates");
            let mut subscriptions = Vec::new();
            for _ in 0..attacker.form.pick(200, 1_000) {
                subscriptions.push(subscriber.unread(&subscribe, &request).await?);
            }
            let mut publications = Vec::new();
            for node_id in FIRST..FIRST + GROUP {
                publications.push(publish(&publisher, group_id, node_id).await?);
            }
            attacker.begin();
            let mut slowest = Duration::ZERO;
            for number in 0..9 {
                let wanted = if number % 2 == 0 { Interest::Medium } else { Interest::Low };
                let began = Instant::now();
                set_interests(&link, group_id, FIRST, vec![interest(FIRST + 1, UpdateChannel::Visual, wanted)]).await?;
                slowest = slowest.max(began.elapsed());
            }
            attacker.figure(format!("slowest SetInterest {} ms", slowest.as_millis()));
            // What follows from the changes is not done when they are answered.
            attacker.over().await;
            Ok(())
        })
    }
}

/// Opens a publish stream of a participant, who is told the demand for it after each change.
async fn publish(link: &Link, group_id: u64, node_id: u64) -> Result<(SendStream<Bytes>, RecvStream), Ending> {
    let channels = [UpdateChannel::Visual, UpdateChannel::Audio, UpdateChannel::Chat, UpdateChannel::Data];
    let channels = channels.map(Into::into).to_vec();
    let open = PublishOpen { group_id, node_id, channels, ..Default::default() };
    let open = PublishUpdatesRequest { message: Some(Publish::Open(open)) };
    link.open(&group_method("PublishUpdates"), &open).await
}
