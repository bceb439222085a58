//! Readers that take a trickle of what is published: always something, and never enough.

use std::time::Duration;

use starling_client::pb::livestream::v1::{PublishUpdateRequest, PublishUpdateResponse, SubscribeUpdatesRequest};
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use tokio::time::interval;

use super::unread_rosters::{UNREAD, unread_budget};
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::ending::Ending;
use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, WINDOW_UPDATE, frame};
use crate::link::{Link, framed};
use crate::settings::Setting;
use crate::world::{FIRST, Livestream, join_livestream, livestream, livestream_method};

/// Between two updates, and between two sips.
const INTERVAL: Duration = Duration::from_millis(20);
const SIP_INTERVAL: Duration = Duration::from_millis(250);
/// Bytes of an update, and of a sip.
const PAYLOAD: usize = 10_000;
const SIP: [u8; 4] = [0, 0, 4, 0];
/// A window for all streams together that is never full.
const WIDE: [u8; 4] = [0x7f, 0, 0, 0];

pub(super) struct TrickleReader;

impl Case for TrickleReader {
    fn name(&self) -> &'static str {
        "trickle-reader"
    }

    fn does(&self) -> &'static str {
        "subscribes 1 000 times (short: 200) to 500 KB/s and takes 4 KB/s"
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
            let link = attacker.link().await?;
            let stream = livestream(&link).await?;
            let session = join_livestream(&link, stream.id, FIRST + 1).await?;
            attacker.begin();
            let (published, read) = tokio::join!(publish(attacker, &link, stream), read(attacker, stream.id, session));
            published.and(read)
        })
    }
}

/// Publishes 500 KB/s until the time is over.
pub(super) async fn publish(attacker: &Attacker, link: &Link, stream: Livestream) -> Result<(), Ending> {
    let update =
        UpdateDraft { channel: UpdateChannel::Data.into(), payload: vec![0; PAYLOAD].into(), ..Default::default() };
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
        link.call::<PublishUpdateResponse>(&livestream_method("PublishUpdate"), &request).await?;
    }
    Ok(())
}

async fn read(attacker: &Attacker, livestream_id: u64, session_id: u64) -> Result<(), Ending> {
    let mut link = attacker.frames().await?;
    let channels = vec![UpdateChannel::Data.into()];
    let subscribe = framed(&SubscribeUpdatesRequest {
        livestream_id,
        node_id: FIRST + 1,
        session_id,
        channels,
        ..Default::default()
    });
    let streams = || (0..attacker.form.pick(200, 1_000)).map(|number| 2 * number + 1);
    let headers = attacker.call_headers(&livestream_method("SubscribeUpdates"));
    let mut begins = Vec::new();
    frame(&mut begins, WINDOW_UPDATE, 0, 0, &WIDE);
    for stream in streams() {
        frame(&mut begins, HEADERS, END_HEADERS, stream, &headers);
        frame(&mut begins, DATA, END_STREAM, stream, &subscribe);
    }
    link.send(&begins).await?;
    let mut sips = Vec::new();
    streams().for_each(|stream| frame(&mut sips, WINDOW_UPDATE, 0, stream, &SIP));
    let mut ticks = interval(SIP_INTERVAL);
    while !attacker.is_over() && !link.told().closed {
        ticks.tick().await;
        if link.send(&sips).await.is_err() {
            link.closed().await;
        }
    }
    attacker.note_told(&link);
    Ok(())
}
