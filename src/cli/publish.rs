//! `starling publish`: an H.264 Annex B stream, one update per access unit.

use std::path::PathBuf;
use std::time::Duration;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::annexb::AccessUnit;
use super::play::Play;
use super::{Failure, Server, told};
use crate::client::{Client, Join, Publication, PublishEvent, Publisher, Retry, Swarm, Watch};
use crate::pb::livestream::v1::{self as pb, watch_livestream_response::Control};
use crate::pb::swarm::v1::{self as shared, GoodbyeReason};

/// Updates that are kept until they are acknowledged; more are not sent.
const WINDOW: usize = 64;

#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    #[command(flatten)]
    server: Server,
    /// The livestream; made and started if need be.
    #[arg(long, value_name = "ID")]
    livestream: u64,
    /// The broadcaster's node.
    #[arg(long, value_name = "NODE", default_value_t = 1)]
    node: u64,
    /// Access units per second; 0 = as fast as the server acknowledges them.
    #[arg(long, value_name = "N", default_value_t = 25.0, value_parser = rate)]
    fps: f64,
    /// Play the file over and over, N times or for ever; not standard input.
    #[arg(long = "loop", value_name = "N", num_args = 0..=1, require_equals = true, value_parser = clap::value_parser!(u64).range(1..))]
    times: Option<Option<u64>>,
    /// Wait until this many viewers are in.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wait_viewers: u64,
    /// Do not end the livestream at the end of the input.
    #[arg(long)]
    keep: bool,
    /// The stream; - for standard input.
    file: PathBuf,
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fps) if (0.0..=1_000.0).contains(&fps) => Ok(fps),
        Ok(_) => Err("must be at least 0, at most 1000".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        if self.times.is_some() && self.file.as_os_str() == "-" {
            return Err(Failure("standard input can be played only once: --loop needs a file".into()));
        }
        // Before anything else: a wrong path should change nothing.
        let play = Play::open(&self.file, self.times.unwrap_or(Some(1))).await?;
        let mut client = self.server.connect().await?;
        self.prepare(&mut client).await?;
        // It keeps the session attached until the publish stream does.
        let waited = if self.wait_viewers > 0 { Some(self.wait_for_viewers(&mut client).await?) } else { None };
        let publication = Publication {
            session_id: waited.as_ref().map_or(0, Watch::session_id),
            window: WINDOW,
            join: Some(self.join()),
            ..Publication::new(Swarm::Livestream(self.livestream), self.node, vec![shared::Channel::Visual])
        };
        let publisher = Publisher::open(client.clone(), publication).await?;
        drop(waited);
        let bar = bar(play.length());
        let streamed = Streaming { publisher, bar: bar.clone(), units: 0, bytes: 0 }.run(play, self.fps).await;
        bar.finish_and_clear();
        let summary = streamed?;
        if !self.keep {
            let request =
                pb::EndLivestreamRequest { livestream_id: self.livestream, node_id: self.node, ..Default::default() };
            // The wire may break here like anywhere; ending twice is allowed.
            let end = |mut client: Client| {
                let request = request.clone();
                async move { client.livestreams.end_livestream(request).await }
            };
            client.until_answered(Retry::default(), end).await?;
        }
        eprintln!("published {} access units on livestream {}: {}", summary.units, self.livestream, summary.rest);
        Ok(())
    }

    fn join(&self) -> Join {
        let (livestream_id, node_id) = (self.livestream, self.node);
        Join::Livestream(pb::JoinLivestreamRequest { livestream_id, node_id, ..Default::default() })
    }

    /// Makes the livestream, unless it is there, and puts it on air.
    async fn prepare(&self, client: &mut Client) -> Result<(), Failure> {
        let (livestream_id, node_id) = (self.livestream, self.node);
        let create = pb::CreateLivestreamRequest { livestream_id, node_id, ..Default::default() };
        let made = client.livestreams.create_livestream(create).await;
        match made {
            Ok(_) => {}
            // One of another configuration will do as well.
            Err(status) if status.code() == tonic::Code::AlreadyExists => {}
            Err(status) => return Err(told(&status)),
        }
        let get = pb::GetLivestreamRequest { livestream_id };
        let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?;
        let state = found.into_inner().livestream.unwrap_or_default().state();
        let outcome = if state == pb::LivestreamState::Paused {
            let resume = pb::ResumeLivestreamRequest { livestream_id, node_id, ..Default::default() };
            client.livestreams.resume_livestream(resume).await.map(drop)
        } else {
            let start = pb::StartLivestreamRequest { livestream_id, node_id, ..Default::default() };
            client.livestreams.start_livestream(start).await.map(drop)
        };
        outcome.map_err(|status| told(&status))
    }

    /// Waits on the livestream's events; looks again after each. The broadcaster has a session
    /// meanwhile, kept attached by the watch: a livestream without one ends after its
    /// `broadcaster_timeout`.
    async fn wait_for_viewers(&self, client: &mut Client) -> Result<Watch<pb::WatchLivestreamResponse>, Failure> {
        let session_id = client.join(self.join()).await.map_err(|status| told(&status))?;
        let (livestream_id, node_id) = (self.livestream, self.node);
        let watch = move |client: Client, session_id| async move {
            let request = pb::WatchLivestreamRequest {
                livestream_id,
                node_id,
                session_id,
                kinds: vec![pb::LivestreamEventKind::Membership.into(), pb::LivestreamEventKind::Lifecycle.into()],
                ..Default::default()
            };
            let Client { mut livestreams, .. } = client;
            livestreams.watch_livestream(request).await
        };
        let mut events = Watch::open(client.clone(), session_id, Some(self.join()), Retry::default(), watch).await?;
        eprintln!("waiting for {} viewers on livestream {livestream_id}", self.wait_viewers);
        while let Some(message) = events.next().await? {
            if let Some(Control::Goodbye(goodbye)) = &message.control {
                if goodbye.reason() == GoodbyeReason::Ended {
                    break;
                }
                continue;
            }
            let request = pb::GetLivestreamRequest { livestream_id };
            let get = |mut client: Client| async move { client.livestreams.get_livestream(request).await };
            let found = client.until_answered(Retry::default(), get).await?;
            if found.livestream.unwrap_or_default().viewer_count >= self.wait_viewers {
                return Ok(events);
            }
        }
        Err(Failure("the livestream ended before the viewers came".into()))
    }
}

/// On a terminal only; it hides itself elsewhere.
fn bar(length: Option<u64>) -> ProgressBar {
    let template = match length {
        Some(_) => "{wide_bar} {bytes}/{total_bytes} {msg} {eta}",
        None => "{spinner} {bytes} {msg} {elapsed}",
    };
    let style = ProgressStyle::with_template(template).expect("the templates are right");
    length.map_or_else(ProgressBar::no_length, ProgressBar::new).with_style(style)
}

/// A publish stream under way.
struct Streaming {
    publisher: Publisher,
    bar: ProgressBar,
    units: u64,
    bytes: u64,
}

/// What was published.
struct Summary {
    units: u64,
    rest: String,
}

impl Streaming {
    /// Sends every access unit in its time and waits for the last acknowledgement.
    async fn run(mut self, mut play: Play, fps: f64) -> Result<Summary, Failure> {
        let began = Instant::now();
        let mut pace = (fps > 0.0).then(|| interval(Duration::from_secs_f64(1.0 / fps)));
        if let Some(pace) = &mut pace {
            // A late unit is sent at once, and the next ones in their time.
            pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
        }
        let mut next: Option<AccessUnit> = None;
        loop {
            // The source may be live and slow: whoever loses the stream meanwhile says so at once.
            tokio::select! {
                event = self.publisher.next() => self.heard(event?)?,
                unit = play.next(), if next.is_none() => match unit? {
                    Some(unit) => next = Some(unit),
                    None => break,
                },
                () = tick(&mut pace), if next.is_some() && self.publisher.room() > 0 => {
                    if let Some(unit) = next.take() {
                        self.send(unit)?;
                    }
                }
            }
        }
        while self.publisher.unacknowledged() > 0 {
            let event = self.publisher.next().await?;
            self.heard(event)?;
        }
        self.publisher.close().await?;
        let (took, size) = (began.elapsed().as_secs_f64(), HumanBytes(self.bytes));
        let rest = format!("{size} in {took:.1} s, {:.1} access units/s", rate_of(self.units, took));
        Ok(Summary { units: self.units, rest })
    }

    fn send(&mut self, unit: AccessUnit) -> Result<(), Failure> {
        self.units += 1;
        self.bytes += unit.data.len() as u64;
        self.bar.inc(unit.data.len() as u64);
        let elapsed = self.bar.elapsed().as_secs_f64();
        self.bar.set_message(format!("{} access units, {:.1}/s", self.units, rate_of(self.units, elapsed)));
        self.publisher.send(shared::UpdateDraft {
            channel: shared::Channel::Visual.into(),
            payload: unit.data,
            keyframe: unit.keyframe,
            timestamp: Some(wall_clock()),
            ..Default::default()
        })?;
        Ok(())
    }

    fn heard(&self, event: Option<PublishEvent>) -> Result<(), Failure> {
        let Some(event) = event else {
            let reason = GoodbyeReason::Ended.as_str_name();
            return Err(Failure(format!("the server ended the stream: {reason}")));
        };
        match event {
            PublishEvent::Rejected(rejected) => {
                let reason = rejected.reason().as_str_name();
                return Err(Failure(format!("the server rejected an update: {reason}")));
            }
            PublishEvent::Cut(why) => self.bar.suspend(|| eprintln!("cut: {why}")),
            PublishEvent::Resumed(_) => {
                let again = self.publisher.unacknowledged();
                self.bar.suspend(|| eprintln!("resumed; sent {again} access units again"));
            }
            // A file has its keyframes where it has them. When the only channel is lost, an error follows.
            PublishEvent::Accepted(_)
            | PublishEvent::Revoked(_)
            | PublishEvent::KeyframeRequest(_)
            | PublishEvent::Skips(_)
            | PublishEvent::Demand(_) => {}
        }
        Ok(())
    }
}

/// Waits for the next unit's time.
async fn tick(pace: &mut Option<Interval>) {
    if let Some(pace) = pace {
        pace.tick().await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "for reading")]
fn rate_of(units: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { units as f64 / seconds } else { 0.0 }
}

#[expect(clippy::disallowed_methods, reason = "a publisher stamps its updates")]
fn wall_clock() -> prost_types::Timestamp {
    std::time::SystemTime::now().into()
}
