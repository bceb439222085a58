//! `starling publish`: an H.264 Annex B stream, one update per access unit.

use std::path::PathBuf;
use std::time::Duration;

use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::annexb::AccessUnits;
use super::{Failure, Server, told};
use crate::client::Client;
use crate::pb::livestream::v1::{self as pb, publish_updates_request::Message, watch_livestream_response::Control};
use crate::pb::swarm::v1 as shared;
use shared::publish_event::Event;

/// Updates under way to the server.
const UNDER_WAY: usize = 16;

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
    /// Access units per second.
    #[arg(long, value_name = "N", default_value_t = 25.0, value_parser = positive)]
    fps: f64,
    /// Wait until this many viewers are in.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wait_viewers: u64,
    /// Do not end the livestream at the end of the input.
    #[arg(long)]
    keep: bool,
    /// The stream; - for standard input.
    file: PathBuf,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(fps) if fps > 0.0 && fps <= 1_000.0 => Ok(fps),
        Ok(_) => Err("must be above 0, at most 1000".into()),
        Err(error) => Err(error.to_string()),
    }
}

impl Publish {
    pub(super) async fn run(self) -> Result<(), Failure> {
        // Before anything else: a wrong path should change nothing.
        let input: Box<dyn AsyncRead + Send + Unpin> = if self.file.as_os_str() == "-" {
            Box::new(tokio::io::stdin())
        } else {
            let opened = tokio::fs::File::open(&self.file).await;
            Box::new(opened.map_err(|error| Failure(format!("cannot read {}: {error}", self.file.display())))?)
        };
        let mut client = self.server.connect().await?;
        self.prepare(&mut client).await?;
        if self.wait_viewers > 0 {
            self.wait_for_viewers(&mut client).await?;
        }
        let sent = self.stream(&mut client, AccessUnits::new(input)).await?;
        if !self.keep {
            let request =
                pb::EndLivestreamRequest { livestream_id: self.livestream, node_id: self.node, ..Default::default() };
            client.livestreams.end_livestream(request).await.map_err(|status| told(&status))?;
        }
        eprintln!("published {sent} access units on livestream {}", self.livestream);
        Ok(())
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

    /// Waits on the livestream's events; looks again after each.
    async fn wait_for_viewers(&self, client: &mut Client) -> Result<(), Failure> {
        let watch = pb::WatchLivestreamRequest {
            livestream_id: self.livestream,
            kinds: vec![pb::LivestreamEventKind::Membership.into(), pb::LivestreamEventKind::Lifecycle.into()],
            ..Default::default()
        };
        let mut events = client.livestreams.watch_livestream(watch).await.map_err(|status| told(&status))?.into_inner();
        eprintln!("waiting for {} viewers on livestream {}", self.wait_viewers, self.livestream);
        while let Some(message) = events.message().await.map_err(|status| told(&status))? {
            if let Some(Control::Goodbye(_)) = message.control {
                break;
            }
            let get = pb::GetLivestreamRequest { livestream_id: self.livestream };
            let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?;
            if found.into_inner().livestream.unwrap_or_default().viewer_count >= self.wait_viewers {
                return Ok(());
            }
        }
        Err(Failure("the livestream ended before the viewers came".into()))
    }

    /// Sends every access unit in its time and waits for the last acknowledgement.
    async fn stream<R>(&self, client: &mut Client, mut units: AccessUnits<R>) -> Result<u64, Failure>
    where
        R: AsyncRead + Send + Unpin,
    {
        let (outbox, requests) = mpsc::channel(UNDER_WAY);
        let open = pb::PublishOpen {
            livestream_id: self.livestream,
            node_id: self.node,
            channels: vec![shared::Channel::Visual.into()],
            ..Default::default()
        };
        let message = |message| pb::PublishUpdatesRequest { message: Some(message) };
        let closed = |_| Failure("the server closed the stream".into());
        outbox.send(message(Message::Open(open))).await.map_err(closed)?;
        let answers = client.livestreams.publish_updates(ReceiverStream::new(requests)).await;
        let mut answers = answers.map_err(|status| told(&status))?.into_inner();
        let last = opened(&mut answers).await?;

        let mut acknowledged = last;
        let mut sent = 0;
        let mut pace = tokio::time::interval(Duration::from_secs_f64(1.0 / self.fps));
        // A late unit is sent at once, and the next ones in their time.
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
        loop {
            // The source may be live and slow: whoever loses the stream meanwhile says so at once.
            let unit = tokio::select! {
                unit = units.next() => unit?,
                answer = answers.message() => {
                    acknowledged = heard(answer, acknowledged)?;
                    continue;
                }
            };
            let Some(unit) = unit else { break };
            loop {
                tokio::select! {
                    _ = pace.tick() => break,
                    answer = answers.message() => acknowledged = heard(answer, acknowledged)?,
                }
            }
            sent += 1;
            let update = shared::UpdateDraft {
                channel: shared::Channel::Visual.into(),
                payload: unit.data,
                keyframe: unit.keyframe,
                publisher_sequence: last + sent,
                timestamp: Some(wall_clock()),
                ..Default::default()
            };
            if outbox.send(message(Message::Update(update))).await.is_err() {
                // What the server said last tells why.
                loop {
                    heard(answers.message().await, acknowledged)?;
                }
            }
        }
        drop(outbox);
        while acknowledged < last + sent {
            acknowledged = heard(answers.message().await, acknowledged)?;
        }
        Ok(sent)
    }
}

#[expect(clippy::disallowed_methods, reason = "a publisher stamps its updates")]
fn wall_clock() -> prost_types::Timestamp {
    std::time::SystemTime::now().into()
}

/// The first answer: the last number that was accepted before.
async fn opened(answers: &mut Streaming<pb::PublishUpdatesResponse>) -> Result<u64, Failure> {
    let answer = answers.message().await.map_err(|status| told(&status))?;
    match answer.and_then(|answer| answer.event).and_then(|event| event.event) {
        Some(Event::Opened(opened)) => Ok(opened.channels.first().map_or(0, |channel| channel.last_publisher_sequence)),
        _ => Err(Failure("the server did not open the stream".into())),
    }
}

/// What an answer means for what is acknowledged.
fn heard(answer: Result<Option<pb::PublishUpdatesResponse>, tonic::Status>, acknowledged: u64) -> Result<u64, Failure> {
    let Some(answer) = answer.map_err(|status| told(&status))? else {
        return Err(Failure("the server closed the stream before it had accepted everything".into()));
    };
    match answer.event.and_then(|event| event.event) {
        Some(Event::Ack(ack)) => Ok(ack.channels.first().map_or(acknowledged, |channel| channel.accepted_through)),
        Some(Event::Rejected(rejected)) => {
            Err(Failure(format!("the server rejected an update: {}", rejected.reason().as_str_name())))
        }
        Some(Event::Revoked(_)) => Err(Failure("another stream took over the right to publish".into())),
        Some(Event::Goodbye(goodbye)) => {
            Err(Failure(format!("the server ended the stream: {}", goodbye.reason().as_str_name())))
        }
        Some(Event::Opened(_) | Event::KeyframeRequest(_) | Event::Demand(_) | Event::Heartbeat(_)) | None => {
            Ok(acknowledged)
        }
    }
}
