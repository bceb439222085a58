//! `starling demo`: a livestream of real video to many viewers, and a group call, over real
//! connections to a server in this process; closed with a table of what was checked.

mod acknowledgements;
mod call;
mod clip;
mod ids;
mod log_place;
mod meters;
mod pods;
mod progress;
mod server;
mod targets;
mod verdict;
mod viewer;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use self::acknowledgements::note;
use self::clip::PICTURE;
use self::ids::{BROADCASTER, LIVESTREAM};
use self::log_place::LogPlace;
use self::meters::Meters;
use self::progress::{Progress, soon, while_counting};
use self::server::DemoServer;
use self::verdict::Verdict;
use self::viewer::{Part, Seen};
use super::annexb::AccessUnit;
use super::error::{CliError, told};
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1 as shared;
use starling_client::{Client, PublishOptions, Publisher, SwarmRef};
use starling_verify::PublisherLog;

/// How often it is played.
const TIMES: usize = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Demo {
    /// Viewers of the livestream, each with a connection of its own.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u64).range(60..=5_000))]
    viewers: u64,
    /// Keep what the viewers wrote in this directory.
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Show so many servers on one log instead, of which one is killed in the middle.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(2..=7), conflicts_with = "output")]
    pods: Option<u64>,
    /// With --pods: have the log in NATS, at this URL or, without one, in a nats-server of the PATH that is started for
    /// it; else it is in this process.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", requires = "pods")]
    nats: Option<String>,
}

impl Demo {
    pub(super) async fn run(self) -> Result<(), CliError> {
        if let Some(pods) = self.pods {
            let place = match self.nats {
                None => LogPlace::Memory,
                Some(url) if url.is_empty() => LogPlace::OwnNats,
                Some(url) => LogPlace::Nats(url),
            };
            return pods::run(usize::try_from(pods).unwrap_or(usize::MAX), self.viewers, place).await;
        }
        let server = DemoServer::start().await?;
        let mut verdict = Verdict::default();
        let livestream = self.livestream(&server, &mut verdict);
        let (livestream, call) = tokio::join!(livestream, call::hold(&server.url));
        livestream?;
        call?.judge(&mut verdict);
        let leaks = server.stop().await?;
        verdict.check("nobody leaked: no member, no stream is left", leaks.is_empty(), leaks.join(", "));
        verdict.print()
    }

    async fn livestream(&self, server: &DemoServer, verdict: &mut Verdict) -> Result<(), CliError> {
        let units = clip::played(TIMES).await?;
        let mut client = Client::connect(&server.url).await?;
        let create =
            pb::CreateLivestreamRequest { livestream_id: LIVESTREAM, node_id: BROADCASTER, ..Default::default() };
        client.livestreams.create_livestream(create).await.map_err(|status| told(&status))?;
        let publication =
            PublishOptions::new(SwarmRef::Livestream(LIVESTREAM), BROADCASTER, vec![shared::UpdateChannel::Visual]);
        let publisher = Publisher::open(client.clone(), publication).await?;
        let start =
            pb::StartLivestreamRequest { livestream_id: LIVESTREAM, node_id: BROADCASTER, ..Default::default() };
        client.livestreams.start_livestream(start).await.map_err(|status| told(&status))?;

        let mut progress = Progress::start(units.len() as u64);
        progress.phase(&format!("{} viewers join", self.viewers));
        let mut viewers_running = JoinSet::new();
        let joined = Arc::new(tokio::sync::Semaphore::new(0));
        for part in Part::of_each(self.viewers) {
            let (url, meters) = (server.url.clone(), Arc::clone(&server.meters));
            viewers_running.spawn(viewer::watch(url, part, meters, Arc::clone(&joined), units.len() as u64));
            if part.1 == Part::Victim {
                // First in the tree, hence a relay.
                drop(soon("the first viewer", joined.acquire()).await??);
            }
        }
        // The late joiner comes later.
        let all = u32::try_from(self.viewers - 1).unwrap_or(u32::MAX);
        let viewers = || server.meters.viewers.load(Ordering::Relaxed);
        let there = while_counting(viewers, joined.acquire_many(all)).await;
        let stopped =
            || CliError(format!("only {} of {} viewers got in, and no more did", viewers(), self.viewers - 1));
        drop(there.ok_or_else(stopped)??);

        let log = self.play(publisher, &units, &server.meters, &mut progress).await?;
        progress.phase("all is published; the last deliveries and the checks");
        let seen = self.settle(&mut client, &mut viewers_running, &server.meters, verdict).await?;
        progress.finish();
        self.write(&seen).await?;
        verdict::judge(verdict, &units, &log, &seen);
        verdict.figures(&server.meters, units.len());
        Ok(())
    }

    /// Publishes every picture in its time.
    async fn play(
        &self,
        mut publisher: Publisher,
        units: &[AccessUnit],
        meters: &Meters,
        progress: &mut Progress,
    ) -> Result<PublisherLog, CliError> {
        let mut log = PublisherLog::new(BROADCASTER);
        log.opened(publisher.opened(), 1);
        let mut ticks = interval(PICTURE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for (number, unit) in (1..).zip(units) {
            loop {
                tokio::select! {
                    due = ticks.tick(), if publisher.room() > 0 => {
                        meters.published(due);
                        break;
                    }
                    event = publisher.next() => drop(note(&mut log, event?)?),
                }
            }
            let draft = shared::UpdateDraft {
                channel: shared::UpdateChannel::Visual.into(),
                payload: unit.data.clone(),
                keyframe: unit.keyframe,
                publisher_sequence: number,
                ..Default::default()
            };
            log.sent(&draft);
            publisher.send(draft).map_err(|error| CliError(error.to_string()))?;
            meters.pictures.send_replace(number);
            progress.published(number, || meters.line());
        }
        while log.unanswered() > 0 {
            note(&mut log, soon("the acknowledgements", publisher.next()).await??)?;
        }
        meters.keep(publisher);
        Ok(log)
    }

    /// Waits until everybody has everything, looks at the tree and at the lists of
    /// targets, ends the livestream, and gathers what the viewers saw.
    async fn settle(
        &self,
        client: &mut Client,
        viewers_running: &mut JoinSet<Result<Seen, CliError>>,
        meters: &Meters,
        verdict: &mut Verdict,
    ) -> Result<Vec<Seen>, CliError> {
        let complete = meters.complete.clone();
        let expected = Part::complete(self.viewers);
        let settled = async { complete.subscribe().wait_for(|count| *count >= expected).await.is_ok() };
        let all = while_counting(|| meters.deliveries(), settled).await.unwrap_or(false);
        let count = *complete.borrow();
        verdict.check("every viewer that stayed has come to the last picture", all, format!("{count} of {expected}"));
        server::judge_tree(client, LIVESTREAM, meters, verdict).await?;
        let end = pb::EndLivestreamRequest { livestream_id: LIVESTREAM, node_id: BROADCASTER, ..Default::default() };
        client.livestreams.end_livestream(end).await.map_err(|status| told(&status))?;
        let mut seen = Vec::new();
        while let Some(one) = soon("the viewers to end", viewers_running.join_next()).await? {
            seen.push(one??);
        }
        seen.sort_unstable_by_key(|seen| seen.node);
        Ok(seen)
    }

    async fn write(&self, seen: &[Seen]) -> Result<(), CliError> {
        let Some(directory) = &self.output else { return Ok(()) };
        tokio::fs::create_dir_all(directory).await?;
        for one in seen {
            tokio::fs::write(directory.join(format!("{}-{}.h264", one.part.name(), one.node)), &one.written).await?;
        }
        Ok(())
    }
}
