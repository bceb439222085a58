//! `starling watch`: join a livestream or a group, and write what comes.

mod counters;
mod place;
mod recording;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::counters::Counters;
use self::place::Place;
use self::recording::{Recording, Stop};
use super::error::{CliError, told};
use super::format::{Format, print_json};
use super::interrupt::Interrupt;
use super::message::Message;
use super::selector::Selector;
use super::server::Server;
use super::signing_key;
use super::terminal::remark;
use starling_client::pb::swarm::v1::{self as shared, delivery::Item};
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_client::{
    Client, Join, PublicKey, Retry, SubscribeOptions, Subscriber, SubscriptionEvent, SwarmRef, Trust,
    Watch as Following,
};

/// How often the counters on a terminal are refreshed.
const REFRESH: Duration = Duration::from_millis(250);
/// How long a goodbye may take that nobody waits for.
const GOODBYE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(super) struct Watch {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    swarm: Selector,
    /// The node that watches; by default one that hardly anybody else has.
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..))]
    node: Option<u64>,
    /// Livestreams: join as a lurker, relay nothing and, of video, get keyframes only.
    #[arg(long, conflicts_with = "group")]
    lurk: bool,
    /// What to watch; may be given several times. By default visual, and audio if it is written.
    #[arg(long = "channel", value_name = "CHANNEL", value_parser = channels())]
    channels: Vec<shared::UpdateChannel>,
    /// Groups: whom to watch; may be given several times. By default everybody.
    #[arg(long = "source", value_name = "NODE", requires = "group", value_parser = clap::value_parser!(u64).range(1..))]
    sources: Vec<u64>,
    /// Where to write the payloads, of the first channel only, and in a group of one source only: the first that is
    /// asked for, else the first that sends. Created when something comes; - for standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Where to write the sound: AAC as ADTS, Opus as Ogg; - for standard output.
    #[arg(long, value_name = "FILE")]
    audio: Option<PathBuf>,
    /// Wait until there is such a swarm.
    #[arg(long)]
    wait: bool,
    /// Livestreams: the public key by which its updates are verified, whatever the server says; may be given several
    /// times, for the broadcasters to come. By default the key that the server shows, if there is one.
    #[arg(long = "pin-key", value_name = "HEX", conflicts_with = "group", value_parser = signing_key::public_key)]
    pin_keys: Vec<PublicKey>,
    #[command(flatten)]
    format: Format,
}

/// Channels, as one types them.
fn channels() -> impl TypedValueParser<Value = shared::UpdateChannel> {
    PossibleValuesParser::new(["visual", "audio", "screen", "chat", "data"]).map(|word| {
        let name = format!("UPDATE_CHANNEL_{}", word.to_uppercase());
        shared::UpdateChannel::from_str_name(&name).expect("the words are those of the schema")
    })
}

impl Watch {
    pub(super) async fn run(self) -> Result<ExitCode, CliError> {
        let mut interrupt = Interrupt::catch()?;
        let channels = self.channels();
        let recordings = self.recordings(channels[0])?;
        let mut client = self.server.connect().await?;
        let swarm = self.swarm.swarm();
        if self.wait {
            tokio::select! {
                there = wait_until_there(&client, swarm) => there?,
                status = interrupt.came() => return status,
            }
        }
        let node_id = self.node.unwrap_or_else(Client::random_node);
        let (join, session_id, place) = self.join(&mut client, swarm, node_id).await?;
        let subscription = SubscribeOptions {
            channels,
            sources: self.sources,
            join: Some(join),
            trust: if self.pin_keys.is_empty() { Trust::Server } else { Trust::Pinned(self.pin_keys) },
            ..SubscribeOptions::new(swarm, node_id, session_id)
        };
        let counters = Counters::new(wall_clock());
        let mut subscriber = Subscriber::open(client.clone(), subscription).await?;
        // On a terminal only; it hides itself elsewhere.
        let style = ProgressStyle::with_template("{wide_msg}").expect("the template is right");
        let line = ProgressBar::no_length().with_style(style);
        let mut viewing = Viewing { recordings, counters, line, format: self.format };
        let outcome = viewing.run(&mut subscriber, place, &mut interrupt).await;
        viewing.line.finish_and_clear();
        // Also when it broke off.
        let finished = viewing.finish().await;
        if let Some(latency) = viewing.counters.latency() {
            remark!("{latency}");
        }
        if let Some(channels) = viewing.counters.channels() {
            remark!("{channels}");
        }
        remark!("{}", viewing.counters.summary());
        if self.format.json {
            print_json(&viewing.counters.json())?;
        }
        let ended = match (outcome, finished) {
            (Err(Stop::Failed(failure)), _) | (_, Err(Stop::Failed(failure))) => return Err(failure),
            (Err(Stop::Closed), _) | (_, Err(Stop::Closed)) => Some(ExitCode::SUCCESS),
            (Ok(ended), Ok(())) => ended,
        };
        // Whoever goes before the end gives the place back at once, if that can be done.
        match ended {
            None => Ok(ExitCode::SUCCESS),
            Some(status) => {
                timeout(GOODBYE, client.leave(swarm, node_id, subscriber.session_id())).await.ok();
                Ok(status)
            }
        }
    }

    /// The channels to ask for, each once: repeats would be refused.
    fn channels(&self) -> Vec<shared::UpdateChannel> {
        let mut channels: Vec<shared::UpdateChannel> = Vec::new();
        let first = if self.channels.is_empty() { vec![shared::UpdateChannel::Visual] } else { self.channels.clone() };
        for channel in first.into_iter().chain(self.audio.as_ref().map(|_| shared::UpdateChannel::Audio)) {
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        channels
    }

    fn recordings(&self, first: shared::UpdateChannel) -> Result<Vec<Recording>, CliError> {
        let to_stdout = |path: &Option<PathBuf>| path.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let users = [to_stdout(&self.output), to_stdout(&self.audio), self.format.json];
        if users.iter().filter(|used| **used).count() > 1 {
            return Err(CliError("standard output takes one of --output -, --audio - and --json".into()));
        }
        let source = self.sources.first().copied();
        let output = self.output.iter().map(|path| Recording::new(path, first, source));
        output.chain(self.audio.iter().map(|path| Recording::sound(path, source))).collect()
    }

    /// Joins; answers with how, the session, and the place in the tree if there is one.
    async fn join(&self, client: &mut Client, swarm: SwarmRef, node_id: u64) -> Result<(Join, u64, Place), CliError> {
        match swarm {
            SwarmRef::Livestream(livestream_id) => {
                let mode = if self.lurk { livestream::ViewerMode::Lurker } else { livestream::ViewerMode::Unspecified };
                let join = livestream::JoinLivestreamRequest {
                    livestream_id,
                    node_id,
                    mode: mode.into(),
                    ..Default::default()
                };
                let joined = client.livestreams.join_livestream(join.clone()).await;
                let joined = joined.map_err(|status| told(&status))?.into_inner();
                remark!("node {node_id} watches livestream {livestream_id}");
                let placement = joined.viewer.and_then(|viewer| viewer.placement);
                let place = Place::follow(client.clone(), livestream_id, node_id, placement).await;
                Ok((Join::Livestream(join), joined.session_id, place))
            }
            SwarmRef::Group(group_id) => {
                let join = group::JoinGroupRequest { group_id, node_id, ..Default::default() };
                let joined = client.groups.join_group(join.clone()).await.map_err(|status| told(&status))?.into_inner();
                remark!("node {node_id} watches group {group_id}");
                Ok((Join::Group(join), joined.session_id, Place::none()))
            }
        }
    }
}

/// Waits until the swarm is there and has not ended.
async fn wait_until_there(client: &Client, swarm: SwarmRef) -> Result<(), CliError> {
    match swarm {
        SwarmRef::Livestream(id) => {
            use livestream::watch_livestreams_response::Event;
            let open = |client: Client, _| async move {
                let Client { mut livestreams, .. } = client;
                livestreams.watch_livestreams(livestream::WatchLivestreamsRequest::default()).await
            };
            let mut set = Following::open(client.clone(), 0, None, Retry::default(), open).await?;
            while let Some(message) = set.next().await? {
                if let Some(Event::Livestream(found)) = message.event
                    && found.livestream_id == id
                    && found.state() != livestream::LivestreamState::Ended
                {
                    return Ok(());
                }
            }
        }
        SwarmRef::Group(id) => {
            use group::watch_groups_response::Event;
            let open = |client: Client, _| async move {
                let Client { mut groups, .. } = client;
                groups.watch_groups(group::WatchGroupsRequest::default()).await
            };
            let mut set = Following::open(client.clone(), 0, None, Retry::default(), open).await?;
            while let Some(message) = set.next().await? {
                if let Some(Event::Group(found)) = message.event
                    && found.group_id == id
                    && found.state() != group::GroupState::Ended
                {
                    return Ok(());
                }
            }
        }
    }
    Err(CliError("the server stopped before it began".into()))
}

/// A subscription under way.
struct Viewing {
    recordings: Vec<Recording>,
    counters: Counters,
    line: ProgressBar,
    format: Format,
}

impl Viewing {
    /// Takes what comes until the swarm ends, or a signal comes: then answers with the status to exit with.
    async fn run(
        &mut self,
        subscriber: &mut Subscriber,
        mut place: Place,
        interrupt: &mut Interrupt,
    ) -> Result<Option<ExitCode>, Stop> {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let dirty = self.recordings.iter().any(Recording::is_dirty);
            tokio::select! {
                biased;
                status = interrupt.came() => return Ok(Some(status?)),
                _ = refresh.tick(), if !self.line.is_hidden() => self.line.set_message(self.counters.line()),
                changed = place.changed() => self.line.suspend(|| remark!("{changed}")),
                event = subscriber.next() => match event? {
                    Some(event) => self.take(event).await?,
                    None => return Ok(None),
                },
                // Nothing more is there: a reader of a pipe sees what has come so far.
                () = std::future::ready(()), if dirty => {
                    for recording in &mut self.recordings {
                        recording.flush().await?;
                    }
                }
            }
        }
    }

    async fn finish(&mut self) -> Result<(), Stop> {
        for recording in &mut self.recordings {
            recording.finish().await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: SubscriptionEvent) -> Result<(), Stop> {
        match event {
            SubscriptionEvent::Item(item) => {
                let delivery = self.format.json.then(|| shared::Delivery { item: Some(item.clone()) });
                self.item(item).await?;
                if let Some(delivery) = delivery {
                    print_json(&Message::new(&delivery)?.json()?)?;
                }
            }
            SubscriptionEvent::Cut(why) => self.line.suspend(|| remark!("cut: {why}")),
            SubscriptionEvent::Resumed { rejoined, .. } => {
                let how = if rejoined { "joined again and resumed" } else { "resumed" };
                self.line.suspend(|| remark!("{how}"));
            }
        }
        Ok(())
    }

    async fn item(&mut self, item: Item) -> Result<(), Stop> {
        match item {
            Item::Update(update) => {
                self.counters.update(&update, wall_clock());
                if let Some(position) = &update.position {
                    for recording in &mut self.recordings {
                        recording.update(position, &update.payload).await?;
                    }
                }
            }
            Item::Gap(gap) => {
                self.counters.gap(&gap);
                for recording in &mut self.recordings {
                    // One whose end is not known is told again when it is.
                    recording.lost(gap.source_node_id, gap.channel(), gap.before.and(gap.count).unwrap_or_default());
                }
                let lost = gap.count.map_or_else(String::new, |count| format!(", {count} updates lost"));
                let (channel, reason) = (gap.channel().as_str_name(), gap.reason().as_str_name());
                self.line.suspend(|| remark!("gap: {reason} on {channel}{lost}"));
            }
            Item::Subscribed(_) | Item::Filter(_) | Item::Heartbeat(_) | Item::Goodbye(_) => {}
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "latencies are against the clocks of others")]
fn wall_clock() -> SystemTime {
    SystemTime::now()
}
