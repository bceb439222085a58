//! The stream on which this server takes updates of one swarm from one home.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::Homes;
use super::convert::{self, lane_update, point};
use super::network::PeerNetwork;
use crate::clock::{self, Micros};
use crate::feed::{Demand, Feed, Ingested, LaneUpdate, Seal, TermSeq, WantedLane};
use crate::pb::peer::v1::{FollowRequest, FollowResponse, KeyframeWanted, LaneRequest};
use starling_core::channel::Channel;
use starling_core::id::{Epoch, NodeId, PodId, SwarmId};

/// How long a home may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// The first pause after a failure; each is twice as long as the one before.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a lane is sent after the last subscriber that wants it.
const LINGER: Duration = Duration::from_secs(10);

/// What is wanted is looked at so often at most.
const LOOK_PAUSE: Duration = Duration::from_millis(5);

/// How often what waits for a grant is tried again without a sign of one.
const RETRY: Micros = Micros::from_millis(500);

/// Messages to the home that wait to be sent.
const WAITING_REQUESTS: usize = 8;

/// What the stream is about.
pub(super) struct HomeStream {
    network: PeerNetwork,
    homes: Arc<dyn Homes>,
    id: SwarmId,
    epoch: Epoch,
    feed: Arc<Feed>,
    home: PodId,
}

type LaneKey = (NodeId, Channel);

/// A lane that the home was asked for.
struct AskedLane {
    /// Nothing of it was here when it was asked for.
    fresh: bool,
    demand: Demand,
    /// The message with which it was asked for.
    number: u64,
    unwanted_since: Option<Instant>,
    /// Only the end of a term was wanted.
    is_former: bool,
}

/// What is wanted of a lane.
struct Wanted {
    after: Option<TermSeq>,
    demand: Demand,
    is_former: bool,
}

/// One connection of the stream.
struct Connected<'a> {
    of: &'a HomeStream,
    asked: BTreeMap<LaneKey, AskedLane>,
    number: u64,
    /// What has come and waits to be taken.
    waiting: VecDeque<Item>,
    requests: mpsc::Sender<FollowRequest>,
    inbound: Streaming<FollowResponse>,
    /// What is wanted may be otherwise than what was asked for; looked at from this time on.
    is_due: bool,
    look_at: Instant,
    keyframes_at: Option<Micros>,
}

enum Item {
    Update(LaneUpdate),
    Seal(NodeId, Channel, Seal),
    Complete(u64),
}

/// What ends a connection, or the stream.
enum End {
    /// Nobody wants anything of this home any more.
    Unwanted,
    /// The connection is lost.
    Lost,
}

impl HomeStream {
    pub(super) fn new(
        network: PeerNetwork,
        homes: Arc<dyn Homes>,
        id: SwarmId,
        epoch: Epoch,
        feed: &Arc<Feed>,
        home: PodId,
    ) -> Self {
        Self { network, homes, id, epoch, feed: Arc::clone(feed), home }
    }

    /// What is wanted of the home now.
    fn wanted(&self) -> BTreeMap<LaneKey, Wanted> {
        let wanted = self.feed.wanted_lanes().into_iter().filter(|lane| lane.home == self.home);
        wanted
            .map(|WantedLane { source, channel, after, demand, is_former, .. }| {
                // What is published elsewhere by now is demanded there.
                let demand = if is_former { Demand::default() } else { demand };
                ((source, channel), Wanted { after, demand, is_former })
            })
            .collect()
    }

    async fn connect(&self) -> Result<Connected<'_>, Status> {
        let gone = || Status::unavailable("the home has no address");
        let address = self.homes.peer(self.id, self.home).ok_or_else(gone)?;
        let mut client = self.network.client(&address.address).ok_or_else(gone)?;
        let (requests, outbound) = mpsc::channel(WAITING_REQUESTS);
        let swarm = Some(convert::swarm_name(self.id, self.epoch));
        let opening = FollowRequest { swarm, ..FollowRequest::default() };
        requests.try_send(opening).map_err(|_| gone())?;
        let answer = timeout(ANSWER, client.follow(ReceiverStream::new(outbound))).await;
        let inbound = answer.map_err(|_| Status::deadline_exceeded("no answer"))??.into_inner();
        let (asked, waiting, look_at) = (BTreeMap::new(), VecDeque::new(), Instant::now());
        let (number, is_due, keyframes_at) = (0, true, None);
        Ok(Connected { of: self, asked, number, waiting, requests, inbound, is_due, look_at, keyframes_at })
    }
}

/// Takes updates from a home for as long as they are wanted; answers which one it was.
pub(super) async fn run(stream: HomeStream) -> PodId {
    let (feed, home) = (&stream.feed, stream.home);
    let mut pause = PAUSE;
    while !stream.wanted().is_empty() {
        if stream.homes.peer(stream.id, home).is_none() {
            // It may have begun just now.
            stream.homes.refresh().await;
            if stream.homes.peer(stream.id, home).is_none() {
                // Nobody will ever say where its terms ended.
                feed.abandon(home);
                if stream.wanted().is_empty() {
                    return home;
                }
            }
        }
        match stream.connect().await {
            Ok(mut connected) => {
                let began = Instant::now();
                let end = connected.serve().await;
                if began.elapsed() > LONGEST_PAUSE {
                    pause = PAUSE;
                }
                feed.note_cut(home);
                match end {
                    End::Unwanted => return home,
                    End::Lost => tracing::debug!(home, swarm = stream.id.get(), "a home is not reached any more"),
                }
            }
            Err(error) => tracing::debug!(home, error = error.message(), "a home is not reached"),
        }
        let changed = feed.producers().notified_owned();
        tokio::select! {
            () = changed => sleep(PAUSE).await,
            () = sleep(pause) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
    home
}

impl Connected<'_> {
    async fn serve(&mut self) -> End {
        let feed = &self.of.feed;
        loop {
            let changed = feed.producers().notified_owned();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let now = Instant::now();
            if self.is_due && self.look_at <= now {
                (self.is_due, self.look_at) = (false, now + LOOK_PAUSE);
                match self.ask(now) {
                    Ok(true) => {}
                    Ok(false) => return End::Unwanted,
                    Err(()) => return End::Lost,
                }
            }
            let Ok(retry_at) = self.take_waiting() else { return End::Lost };
            let wait = |at: Micros| now + Duration::from(at.saturating_sub(clock::uptime()));
            let lingers = self.asked.values().filter_map(|asked| asked.unwanted_since).min();
            let timers = [
                retry_at.map(wait),
                self.keyframes_at.map(wait),
                lingers.map(|since| since + LINGER),
                self.is_due.then_some(self.look_at),
            ];
            let next = timers.into_iter().flatten().min();
            tokio::select! {
                // Whatever may have become otherwise is looked at when the pause is over, or at once.
                () = changed => self.is_due = true,
                message = self.inbound.message(), if self.waiting.is_empty() => match message {
                    Ok(Some(response)) => if self.note(response).is_err() { return End::Lost },
                    Ok(None) | Err(_) => return End::Lost,
                },
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => self.is_due = true,
            }
        }
    }

    /// Tells the home what is wanted otherwise than before. False when nothing is wanted any more.
    fn ask(&mut self, now: Instant) -> Result<bool, ()> {
        let Ok(slot) = self.requests.try_reserve() else {
            // What was said last is not sent yet: this is found again.
            self.is_due = true;
            return if self.requests.is_closed() { Err(()) } else { Ok(true) };
        };
        let (feed, home) = (&self.of.feed, self.of.home);
        let wanted = self.of.wanted();
        let (mut lanes, number) = (Vec::new(), self.number + 1);
        for (key, Wanted { after, demand, is_former }) in &wanted {
            // It may have been published elsewhere in between.
            let anew = self.asked.get(key).is_none_or(|asked| asked.is_former && !is_former);
            if anew {
                let (fresh, demand) = (after.is_none(), Demand::default());
                let lane = AskedLane { fresh, demand, number, unwanted_since: None, is_former: *is_former };
                self.asked.insert(*key, lane);
            }
            let Some(asked) = self.asked.get_mut(key) else { continue };
            (asked.unwanted_since, asked.is_former) = (None, *is_former);
            if anew || asked.demand != *demand {
                asked.demand = *demand;
                let after = after.filter(|_| anew).map(point);
                lanes.push(LaneRequest { follow: true, anew, after, ..lane_request(*key, *demand) });
            }
        }
        self.asked.retain(|key, asked| {
            if wanted.contains_key(key) {
                return true;
            }
            asked.is_former |= feed.holder(key.0, key.1).is_none_or(|(_, now)| now != home);
            let over = *asked.unwanted_since.get_or_insert(now) + LINGER <= now;
            if over {
                // Whoever wants it again has to wait for what comes meanwhile.
                feed.note_complete(&[*key], false);
                lanes.push(lane_request(*key, Demand::default()));
            } else if asked.demand != Demand::default() {
                asked.demand = Demand::default();
                lanes.push(LaneRequest { follow: true, ..lane_request(*key, Demand::default()) });
            }
            !over
        });
        if self.asked.is_empty() {
            return Ok(false);
        }
        let (keyframes, next) = feed.keyframes_wanted(home, clock::uptime());
        self.keyframes_at = next;
        if !lanes.is_empty() || !keyframes.is_empty() {
            let wanted = |(source, channel): (NodeId, Channel)| KeyframeWanted {
                source_node_id: source.get(),
                channel: convert::channel_number(channel),
            };
            let keyframes = keyframes.into_iter().map(wanted).collect();
            self.number = number;
            slot.send(FollowRequest { swarm: None, number, lanes, keyframes });
        }
        Ok(true)
    }

    /// Notes what has come.
    fn note(&mut self, response: FollowResponse) -> Result<(), Status> {
        for update in response.updates {
            let mut update = lane_update(update)?;
            let key = update.position.source.map(|source| (source, update.position.channel));
            let Some(asked) = key.and_then(|key| self.asked.get(&key)) else { continue };
            update.history &= asked.fresh;
            self.waiting.push_back(Item::Update(update));
        }
        for seal in response.seals {
            let (source, channel, seal) = convert::seal(self.of.home, seal)?;
            self.waiting.push_back(Item::Seal(source, channel, seal));
        }
        if response.complete > 0 {
            self.waiting.push_back(Item::Complete(response.complete));
        }
        Ok(())
    }

    /// Takes what has come, as far as it can be taken now. Answers when to try again.
    fn take_waiting(&mut self) -> Result<Option<Micros>, Status> {
        let (feed, home, now) = (&self.of.feed, self.of.home, clock::uptime());
        while let Some(item) = self.waiting.front() {
            match item {
                Item::Update(update) => match feed.ingest(home, update, now) {
                    Ingested::Taken | Ingested::Repeat | Ingested::Stale | Ingested::NoMemory => {}
                    Ingested::Malformed => return Err(Status::invalid_argument("no update")),
                    // The log brings the grant; whatever else comes waits at the home, by flow control.
                    Ingested::Ahead => return Ok(Some(now + RETRY)),
                    Ingested::AwaitsSeal(until) => return Ok(Some(until)),
                },
                Item::Seal(source, channel, seal) => feed.seal(*source, *channel, seal),
                Item::Complete(number) => {
                    let complete = self.asked.iter().filter(|(_, asked)| asked.number <= *number);
                    feed.note_complete(&complete.map(|(key, _)| *key).collect::<Vec<_>>(), true);
                }
            }
            self.waiting.pop_front();
        }
        Ok(None)
    }
}

fn lane_request((source, channel): LaneKey, demand: Demand) -> LaneRequest {
    LaneRequest {
        source_node_id: source.get(),
        channel: convert::channel_number(channel),
        follow: false,
        after: None,
        anew: false,
        highest_interest: demand.highest as u32,
        subscribers: demand.subscribers,
    }
}
