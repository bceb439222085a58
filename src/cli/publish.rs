//! `starling publish`: H.264 video, one update per access unit, and sound beside it.

mod budget;
mod claim;
mod tally;
mod waiting;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep_until, timeout_at};

use self::budget::{Budget, Measure};
use self::claim::Claim;
use self::tally::{Accepted, Tally};
use super::error::CliError;
use super::format::{Format, print_json};
use super::interrupt::Interrupt;
use super::media::{Media, Unit};
use super::message::Message;
use super::selector::Selector;
use super::server::Server;
use super::settings::Settings;
use super::signing_key;
use super::terminal::remark;
use starling_client::pb::swarm::v1::{GoodbyeReason, UpdateChannel, UpdateDraft};
use starling_client::{Client, PublishEvent, PublishOptions, Publisher};

/// What was published last may still wait for its viewers, whom an interest of LOW gives 200 ms: whether they skip it
/// shows then.
const SETTLING: Duration = Duration::from_millis(300);

/// Updates of each channel that are kept until they are acknowledged; more are not sent.
const WINDOW: usize = 64;

#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    #[command(flatten)]
    server: Server,
    /// What to publish in; created, and started, if need be.
    #[command(flatten)]
    swarm: Selector,
    /// The node that publishes; by default one that hardly anybody else has.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// The secret key by which the updates of a livestream are signed; the node that publishes is that of the key.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["node", "group"])]
    signing_key: Option<PathBuf>,
    /// Take over from whoever publishes there now as this node, or as the broadcaster.
    #[arg(long)]
    take_over: bool,
    /// Access units per second, such as 25, 29.97 or 30000/1001; 0 = as fast as the server acknowledges them.
    #[arg(long, value_name = "N", default_value = "25", value_parser = rate)]
    fps: f64,
    /// Sound, in step with the video: AAC in ADTS, or Opus in Ogg; - for standard input.
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    /// Play the files over and over, N times or for ever; not pipes.
    #[arg(long = "loop", value_name = "N", num_args = 0..=1, require_equals = true, value_parser = clap::value_parser!(u64).range(1..))]
    times: Option<Option<u64>>,
    /// Wait until this many viewers are in, or others in the group.
    #[arg(long, value_name = "N", default_value_t = 0)]
    wait_viewers: u64,
    /// Do not end the swarm at the end of the input although it was created for this.
    #[arg(long)]
    keep: bool,
    /// End the swarm at the end of the input although it was there before.
    #[arg(long, conflicts_with = "keep")]
    end: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    settings: Settings,
    /// The video, an H.264 Annex B stream; - for standard input.
    file: PathBuf,
}

fn rate(text: &str) -> Result<f64, String> {
    let number = |text: &str| text.parse::<f64>().map_err(|error| error.to_string());
    let fps = match text.split_once('/') {
        Some((count, seconds)) => number(count)? / number(seconds)?,
        None => number(text)?,
    };
    if (0.0..=1_000.0).contains(&fps) { Ok(fps) } else { Err("must be at least 0, at most 1000".into()) }
}

impl Publish {
    pub(super) async fn run(mut self) -> Result<ExitCode, CliError> {
        let mut interrupt = Interrupt::catch()?;
        let prepared = tokio::select! {
            prepared = self.prepare() => prepared?,
            status = interrupt.came() => return status,
        };
        let Prepared { mut client, claim, media, publisher } = prepared;
        let bar = bar(media.length());
        let mut streaming = Streaming {
            publisher,
            bar: bar.clone(),
            tally: Tally::default(),
            began: Instant::now(),
            // Without a pace an update has the time at which it is sent.
            clock: (self.fps > 0.0).then(wall_clock),
            format: self.format,
        };
        let streamed = streaming.run(media, &mut interrupt).await;
        bar.finish_and_clear();
        let took = streaming.began.elapsed();
        if streamed.is_ok() {
            streaming.settle().await;
        }
        let Streaming { publisher, mut tally, format, .. } = streaming;
        // Also when it broke off: what was accepted is accepted.
        let accepted = Accepted::by(&publisher, self.audio.is_some());
        let session_id = publisher.session_id();
        let closed = match &streamed {
            Ok(_) => publisher.close().await,
            Err(_) => Ok(Vec::new()),
        };
        for event in closed.iter().flatten() {
            if let PublishEvent::Skips(skips) = event {
                tally.skipped(skips);
            }
        }
        remark!("{}", tally.published(accepted, &claim::name(claim.swarm), took));
        remark!("{}", tally.missed(claim.budget));
        if format.json {
            print_json(&tally.json(accepted, took))?;
        }
        let status = streamed?;
        closed?;
        if self.end || (claim.created && !self.keep) {
            claim.end(&client).await?;
        } else {
            claim.leave(&mut client, session_id).await;
        }
        Ok(status)
    }

    /// Opens everything. What is wrong with the input is found before anything is created.
    async fn prepare(&mut self) -> Result<Prepared, CliError> {
        let audio = self.audio.as_deref();
        if audio.is_some() && self.fps == 0.0 {
            return Err(CliError("--audio needs the pace of the video, which --fps 0 does not have".into()));
        }
        if audio == Some(Path::new("-")) && self.file == Path::new("-") {
            return Err(CliError("standard input holds the video or the sound, not both".into()));
        }
        let mut media = Media::open(&self.file, audio, self.fps, self.times.unwrap_or(Some(1))).await?;
        media.begin().await?;
        let measure = match media.is_file() {
            true => Some(Measure::read(&self.file, audio, self.fps).await?),
            false => None,
        };
        let first = media.first_of_video().map(|unit| unit.data.clone()).unwrap_or_default();
        let budget = match &measure {
            _ if self.fps == 0.0 => Budget::unpaced(),
            Some(measure) => measure.budget(),
            None => Budget::of_pipe(&first),
        };
        let wanted = *self.settings.subscriber_bytes_per_second.get_or_insert(budget.bytes_per_second);
        let signing_key = self.signing_key.as_deref().map(signing_key::read).transpose()?.map(Arc::new);
        let mut client = self.server.connect().await?;
        let claim = Claim::make(
            &mut client,
            self.swarm.swarm(),
            self.node,
            signing_key.as_deref(),
            self.take_over,
            &self.settings,
        )
        .await?;
        let name = claim::name(claim.swarm);
        remark!("node {} publishes on {name}", claim.node);
        match claim.created {
            true if wanted == budget.bytes_per_second => {
                remark!("each viewer is sent up to {wanted} bytes/s ({})", budget.why);
            }
            true => {}
            false => {
                remark!("{name} was there before: its configuration stays, and it is not ended");
                if claim.budget < wanted && self.fps > 0.0 {
                    let Claim { budget: least, .. } = claim;
                    remark!("it sends each viewer up to {least} bytes/s; {wanted} would be better ({})", budget.why);
                }
            }
        }
        // It keeps the session attached until the publish stream does.
        let waited =
            if self.wait_viewers > 0 { Some(claim.wait_for(&mut client, self.wait_viewers).await?) } else { None };
        let channels = if audio.is_some() {
            vec![UpdateChannel::Visual, UpdateChannel::Audio]
        } else {
            vec![UpdateChannel::Visual]
        };
        let session_id = match &waited {
            Some(waited) => waited.session_id(),
            // A broadcaster gets its session with the stream.
            None if matches!(claim.swarm, starling_client::SwarmRef::Livestream(_)) => 0,
            None => client.join(claim.join()).await.map_err(|status| super::error::told(&status))?,
        };
        let publication = PublishOptions {
            session_id,
            window: WINDOW * channels.len(),
            join: Some(claim.join()),
            signing_key,
            ..PublishOptions::new(claim.swarm, claim.node, channels)
        };
        let mut publisher = Publisher::open(client.clone(), publication).await?;
        if waited.is_some() {
            waiting::subscribed(&mut publisher, self.wait_viewers).await?;
        }
        if let Some(measure) = measure {
            check_size(&publisher, UpdateChannel::Visual, measure.largest_unit)?;
        }
        Ok(Prepared { client, claim, media, publisher })
    }
}

/// Refuses what the server would refuse.
fn check_size(publisher: &Publisher, channel: UpdateChannel, size: usize) -> Result<(), CliError> {
    match publisher.granted(channel).map(|granted| granted.max_payload_bytes as usize) {
        Some(most) if most > 0 && size > most => Err(CliError(format!(
            "an access unit has {size} bytes, and the server takes {most} at most: see feed.payload_bytes in its \
             configuration"
        ))),
        _ => Ok(()),
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

/// All that is needed to begin.
struct Prepared {
    client: Client,
    claim: Claim,
    media: Media,
    publisher: Publisher,
}

/// A publish stream under way.
struct Streaming {
    publisher: Publisher,
    bar: ProgressBar,
    tally: Tally,
    began: Instant,
    /// When the first unit is due, by the clock on the wall.
    clock: Option<SystemTime>,
    format: Format,
}

impl Streaming {
    /// Sends every unit in its time and waits for the last acknowledgement. Answers with the status to exit with.
    async fn run(&mut self, mut media: Media, interrupt: &mut Interrupt) -> Result<ExitCode, CliError> {
        let mut status = ExitCode::SUCCESS;
        while !media.is_over() {
            let due = media.next().map(|unit| self.began + unit.at);
            // The source may be live and slow: whoever loses the stream meanwhile says so at once.
            tokio::select! {
                event = self.publisher.next() => self.heard(event?)?,
                filled = media.fill() => filled?,
                () = until(due), if self.publisher.room() > 0 => {
                    if let Some(unit) = media.take() {
                        self.send(unit)?;
                    }
                }
                stopped = interrupt.came() => {
                    status = stopped?;
                    break;
                }
            }
        }
        while self.publisher.unacknowledged() > 0 {
            let event = self.publisher.next().await?;
            self.heard(event)?;
        }
        Ok(status)
    }

    /// Listens to what comes behind the last acknowledgement.
    async fn settle(&mut self) {
        let deadline = Instant::now() + SETTLING;
        while let Ok(Ok(event @ Some(_))) = timeout_at(deadline, self.publisher.next()).await {
            if let Err(failure) = self.heard(event) {
                remark!("{failure}");
            }
        }
    }

    fn send(&mut self, unit: Unit) -> Result<(), CliError> {
        check_size(&self.publisher, unit.channel, unit.data.len())?;
        self.tally.bytes += unit.data.len() as u64;
        self.bar.inc(unit.data.len() as u64);
        let publish_time = self.clock.map_or_else(wall_clock, |began| began + unit.at);
        self.publisher.send(UpdateDraft {
            channel: unit.channel.into(),
            payload: unit.data,
            keyframe: unit.keyframe,
            publish_time: Some(publish_time.into()),
            ..Default::default()
        })?;
        Ok(())
    }

    fn heard(&mut self, event: Option<PublishEvent>) -> Result<(), CliError> {
        let Some(event) = event else {
            let reason = GoodbyeReason::Ended.as_str_name();
            return Err(CliError(format!("the server ended the stream: {reason}")));
        };
        match event {
            PublishEvent::Rejected(rejected) => {
                let reason = rejected.reason().as_str_name();
                return Err(CliError(format!("the server rejected an update: {reason}")));
            }
            PublishEvent::Cut(why) => self.bar.suspend(|| remark!("cut: {why}")),
            PublishEvent::Resumed(_) => {
                let again = self.publisher.unacknowledged();
                self.bar.suspend(|| remark!("resumed; sent {again} updates again"));
            }
            PublishEvent::Skips(skips) => {
                if self.format.json {
                    print_json(&serde_json::json!({ "skips": Message::new(&skips)?.json()? }))?;
                }
                for lines in self.tally.skipped(&skips) {
                    self.bar.suspend(|| remark!("{lines}"));
                }
            }
            PublishEvent::Revoked(channel) => {
                self.bar.suspend(|| remark!("another stream took {} over", channel.as_str_name()));
            }
            // A file has its keyframes where it has them.
            PublishEvent::Accepted(_) | PublishEvent::KeyframeRequest(_) | PublishEvent::Demand(_) => {}
        }
        Ok(())
    }
}

/// Waits for the time of a unit; for ever when there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[expect(clippy::disallowed_methods, reason = "a publisher stamps its updates")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_a_ratio() {
        assert_eq!(rate("0"), Ok(0.0));
        assert_eq!(rate("29.97"), Ok(29.97));
        assert!((rate("30000/1001").unwrap() - 29.970_03).abs() < 0.000_01);
        for wrong in ["-1", "1001", "nan", "inf", "1/0", "25/", "fast"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}
