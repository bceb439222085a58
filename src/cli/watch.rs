//! `starling watch`: join a livestream and write what comes.

mod counters;
mod place;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncWrite, AsyncWriteExt, BufWriter};
use tokio::time::{MissedTickBehavior, interval};

use self::counters::Counters;
use self::place::Place;
use super::{Failure, Server, told};
use crate::client::{Client, Join, Retry, Subscriber, Subscription, SubscriptionEvent, Swarm, Watch as Following};
use crate::pb::livestream::v1::{self as pb, watch_livestreams_response::Event};
use crate::pb::swarm::v1::{self as shared, delivery::Item};

/// How often the counters on a terminal are refreshed.
const REFRESH: Duration = Duration::from_millis(250);

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    server: Server,
    /// The livestream.
    #[arg(long, value_name = "ID")]
    livestream: u64,
    /// The viewer's node; by default one that hardly anybody else has.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Join as a lurker: relay nothing and, of video, get keyframes only.
    #[arg(long)]
    lurk: bool,
    /// What to watch; may be given several times.
    #[arg(long = "channel", value_name = "CHANNEL", default_value = "visual", value_parser = channels())]
    channels: Vec<shared::Channel>,
    /// Where to write the payloads, of the first channel only; - for standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Wait until there is such a livestream.
    #[arg(long)]
    wait: bool,
}

/// Channels, as one types them.
fn channels() -> impl TypedValueParser<Value = shared::Channel> {
    PossibleValuesParser::new(["visual", "audio", "screen", "chat", "data"]).map(|word| {
        let name = format!("CHANNEL_{}", word.to_uppercase());
        shared::Channel::from_str_name(&name).expect("the words are those of the schema")
    })
}

impl Watch {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut client = self.server.connect().await?;
        if self.wait {
            self.wait_until_there(&client).await?;
        }
        let output = self.open().await?;
        let (livestream_id, node_id) = (self.livestream, self.node.unwrap_or_else(Client::random_node));
        let mode = if self.lurk { pb::ViewerMode::Lurker } else { pb::ViewerMode::Unspecified };
        let join = pb::JoinLivestreamRequest { livestream_id, node_id, mode: mode.into(), ..Default::default() };
        let joined = client.livestreams.join_livestream(join.clone()).await;
        let joined = joined.map_err(|status| told(&status))?.into_inner();
        eprintln!("node {node_id} watches livestream {livestream_id}");
        let placement = joined.viewer.and_then(|viewer| viewer.placement);
        let place = Place::follow(client.clone(), livestream_id, node_id, placement).await;

        // Repeats would be refused.
        let mut channels: Vec<shared::Channel> = Vec::new();
        for channel in self.channels.iter().copied() {
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        let written = channels[0];
        let subscription = Subscription {
            channels,
            join: Some(Join::Livestream(join)),
            ..Subscription::new(Swarm::Livestream(livestream_id), node_id, joined.session_id)
        };
        let counters = Counters::new(wall_clock());
        let subscriber = Subscriber::open(client, subscription).await?;
        // On a terminal only; it hides itself elsewhere.
        let style = ProgressStyle::with_template("{wide_msg}").expect("the template is right");
        let line = ProgressBar::no_length().with_style(style);
        let mut viewing = Viewing { written, output, written_some: false, counters, line };
        let outcome = viewing.run(subscriber, place).await;
        viewing.line.finish_and_clear();
        // Also when it broke off.
        viewing.output.flush().await?;
        if let Some(latency) = viewing.counters.latency() {
            eprintln!("{latency}");
        }
        eprintln!("{}", viewing.counters.summary());
        outcome
    }

    async fn open(&self) -> Result<Output, Failure> {
        let output: Box<dyn AsyncWrite + Send + Unpin> = match &self.output {
            None => Box::new(tokio::io::sink()),
            Some(path) if path.as_os_str() == "-" => Box::new(tokio::io::stdout()),
            Some(path) => {
                let created = tokio::fs::File::create(path).await;
                Box::new(created.map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?)
            }
        };
        Ok(BufWriter::new(output))
    }

    /// Waits until the livestream is there and has not ended.
    async fn wait_until_there(&self, client: &Client) -> Result<(), Failure> {
        let watch = |client: Client, _| async move {
            let Client { mut livestreams, .. } = client;
            livestreams.watch_livestreams(pb::WatchLivestreamsRequest::default()).await
        };
        let mut livestreams = Following::open(client.clone(), 0, None, Retry::default(), watch).await?;
        while let Some(message) = livestreams.next().await? {
            if let Some(Event::Livestream(livestream)) = message.event
                && livestream.livestream_id == self.livestream
                && livestream.state() != pb::LivestreamState::Ended
            {
                return Ok(());
            }
        }
        Err(Failure("the server stopped before the livestream began".into()))
    }
}

type Output = BufWriter<Box<dyn AsyncWrite + Send + Unpin>>;

/// A subscription under way.
struct Viewing {
    /// The channel whose payloads are written.
    written: shared::Channel,
    output: Output,
    /// Since the last flush.
    written_some: bool,
    counters: Counters,
    line: ProgressBar,
}

impl Viewing {
    /// Takes what comes until the livestream ends.
    async fn run(&mut self, mut subscriber: Subscriber, mut place: Place) -> Result<(), Failure> {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = refresh.tick(), if !self.line.is_hidden() => self.line.set_message(self.counters.line()),
                news = place.changed() => self.line.suspend(|| eprintln!("{news}")),
                event = subscriber.next() => match event? {
                    Some(event) => self.take(event).await?,
                    None => break,
                },
                // Nothing more is there: a reader of a pipe sees what has come so far.
                () = std::future::ready(()), if self.written_some => {
                    self.written_some = false;
                    self.output.flush().await?;
                }
            }
        }
        Ok(())
    }

    async fn take(&mut self, event: SubscriptionEvent) -> Result<(), Failure> {
        match event {
            SubscriptionEvent::Item(Item::Update(update)) => {
                self.counters.update(&update, wall_clock());
                if update.position.is_some_and(|position| position.channel() == self.written) {
                    self.output.write_all(&update.payload).await?;
                    self.written_some = true;
                }
            }
            SubscriptionEvent::Item(Item::Gap(gap)) => {
                self.counters.gap();
                self.line.suspend(|| eprintln!("gap: {}", gap.reason().as_str_name()));
            }
            SubscriptionEvent::Item(Item::Subscribed(_) | Item::Filter(_) | Item::Heartbeat(_) | Item::Goodbye(_)) => {}
            SubscriptionEvent::Cut(why) => self.line.suspend(|| eprintln!("cut: {why}")),
            SubscriptionEvent::Resumed { rejoined, .. } => {
                let how = if rejoined { "joined again and resumed" } else { "resumed" };
                self.line.suspend(|| eprintln!("{how}"));
            }
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "latencies are against the clocks of others")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
