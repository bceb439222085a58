//! `starling demo --pods N`: several servers on one log, of which one is killed in the middle; closed with a table of
//! what survived.

mod cluster;
mod judge;
mod viewer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::cluster::DemoCluster;
use self::viewer::Viewing;
use super::clip::{self, PICTURE};
use super::ids::{BROADCASTER, LIVESTREAM};
use super::log_place::LogPlace;
use super::progress::soon;
use super::verdict::Verdict;
use crate::cli::annexb::AccessUnit;
use crate::cli::error::{CliError, told};
use crate::cli::terminal::remark;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1 as shared;
use starling_client::{Client, PublishEvent, PublishOptions, Publisher, SwarmRef};
use starling_verify::PublisherLog;

/// How often the clip is played.
const TIMES: usize = 3;

/// The first viewer's node.
const FIRST: u64 = 1_000;

/// Shows that a livestream outlives the death of a server.
pub(super) async fn run(pods: usize, viewers: u64, place: LogPlace) -> Result<(), CliError> {
    let units = clip::played(TIMES).await?;
    remark!("{pods} servers start on one log");
    let mut cluster = DemoCluster::start(pods, place).await?;
    let mut client = Client::connect(&cluster.urls(0)).await?;
    go_live(&mut client).await?;
    let publication =
        PublishOptions::new(SwarmRef::Livestream(LIVESTREAM), BROADCASTER, vec![shared::UpdateChannel::Visual]);
    let publisher = Publisher::open(client.clone(), publication).await?;
    let (joined, picture) = (Arc::new(Semaphore::new(0)), watch::Sender::new(0));
    let mut watching = JoinSet::new();
    remark!("{viewers} viewers join, on all of them");
    for number in 0..viewers {
        let urls = cluster.urls(usize::try_from(number).unwrap_or(0) % pods);
        let last = units.len() as u64;
        let viewing = Viewing { urls, node_id: FIRST + number, last, joined: Arc::clone(&joined) };
        watching.spawn(viewing.run(picture.subscribe()));
    }
    drop(soon("the viewers", joined.acquire_many(u32::try_from(viewers).unwrap_or(u32::MAX))).await??);
    let before = cluster.livestream(0).await?;
    let (log, publisher, interruption) = play(publisher, &units, &picture, &mut cluster).await?;
    remark!("all is published; a new server starts, and the checks");
    cluster.add().await?;
    let mut verdict = Verdict::default();
    let mut seen = Vec::new();
    while let Some(one) = soon("the viewers to have it all", watching.join_next()).await? {
        seen.push(one??);
    }
    seen.sort_unstable_by_key(|one| one.node_id);
    let after = cluster.livestreams().await?;
    judge::cluster(&mut verdict, &before, &after, viewers);
    judge::lists(&mut verdict, &cluster, &mut seen).await?;
    judge::viewers(&mut verdict, units.len() as u64, &log, &seen, interruption);
    drop((seen, publisher));
    cluster.stop().await;
    verdict.print()
}

async fn go_live(client: &mut Client) -> Result<(), CliError> {
    let create = pb::CreateLivestreamRequest { livestream_id: LIVESTREAM, node_id: BROADCASTER, ..Default::default() };
    client.livestreams.create_livestream(create).await.map_err(|status| told(&status))?;
    let start = pb::StartLivestreamRequest { livestream_id: LIVESTREAM, node_id: BROADCASTER, ..Default::default() };
    client.livestreams.start_livestream(start).await.map_err(|status| told(&status))?;
    Ok(())
}

/// Publishes every picture in its time, and kills the server of the publisher at a third of them. Answers how long no
/// picture was taken, too.
async fn play(
    mut publisher: Publisher,
    units: &[AccessUnit],
    picture: &watch::Sender<u64>,
    cluster: &mut DemoCluster,
) -> Result<(PublisherLog, Publisher, Duration), CliError> {
    let mut log = SentLog { log: PublisherLog::new(BROADCASTER).at_servers_that_die(), unanswered: VecDeque::new() };
    log.log.opened(publisher.opened(), 1);
    let mut ticks = interval(PICTURE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut last_taken, mut longest) = (Instant::now(), Duration::ZERO);
    let mut note = |log: &mut SentLog, event: Option<PublishEvent>| {
        if matches!(event, Some(PublishEvent::Accepted(_) | PublishEvent::Resumed(_))) {
            longest = longest.max(last_taken.elapsed());
            last_taken = Instant::now();
        }
        log.note(event)
    };
    for (number, unit) in (1..).zip(units) {
        loop {
            tokio::select! {
                _ = ticks.tick(), if publisher.room() > 0 => break,
                event = publisher.next() => note(&mut log, event?)?,
            }
        }
        if number == units.len() as u64 / 3 {
            remark!("picture {number} of {}: the server of the publisher is killed", units.len());
            cluster.kill(0);
        }
        let draft = shared::UpdateDraft {
            channel: shared::UpdateChannel::Visual.into(),
            payload: unit.data.clone(),
            keyframe: unit.keyframe,
            publisher_sequence: number,
            ..Default::default()
        };
        log.log.sent(&draft);
        log.unanswered.push_back(draft.clone());
        publisher.send(draft).map_err(|error| CliError(error.to_string()))?;
        picture.send_replace(number);
    }
    while !log.unanswered.is_empty() {
        note(&mut log, soon("the acknowledgements", publisher.next()).await??)?;
    }
    Ok((log.log, publisher, longest))
}

/// What was sent, and what was not answered yet: that is sent again after a cut.
struct SentLog {
    log: PublisherLog,
    unanswered: VecDeque<shared::UpdateDraft>,
}

impl SentLog {
    /// Notes what the publisher hears. A cut is what this is about.
    fn note(&mut self, event: Option<PublishEvent>) -> Result<(), CliError> {
        match event {
            Some(PublishEvent::Accepted(ack)) => {
                self.log.acked(&ack);
                self.unanswered.retain(|draft| draft.publisher_sequence > ack.accepted_through);
            }
            Some(PublishEvent::Rejected(rejected)) => {
                self.log.rejected(&rejected);
                self.unanswered.retain(|draft| draft.publisher_sequence != rejected.publisher_sequence);
            }
            Some(PublishEvent::Resumed(opened)) => {
                self.log.opened(&opened, 1);
                let accepted = opened.channels.first().map_or(0, |granted| granted.last_publisher_sequence);
                self.unanswered.retain(|draft| draft.publisher_sequence > accepted);
                self.unanswered.iter().for_each(|draft| self.log.sent(draft));
            }
            Some(_) => {}
            None => return Err(CliError("the livestream ended too early".into())),
        }
        Ok(())
    }
}
