//! A livestream on air, those who read it whatever happens, and what the checker says of them.

use std::time::Duration;

use bytes::Bytes;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{
    Delivery, GapReason, SubscriptionPosition, UpdateChannel, UpdateDraft, delivery::Item,
};
use starling_client::{
    Client, Error, Join, PublishEvent, PublishOptions, Publisher, Retry, SubscribeOptions, Subscriber,
    SubscriptionEvent, SwarmRef,
};
use starling_verify::{History, PublisherLog, Report, check};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tonic_types::StatusExt;

use crate::harness::{PATIENCE, soon};

/// The livestream of every test.
pub(crate) const LIVESTREAM: u64 = 7;
/// Its broadcaster.
const BROADCASTER: u64 = 1;
/// The longest that there is.
const LEASE: Option<prost_types::Duration> = Some(prost_types::Duration { seconds: 300, nanos: 0 });
/// A keyframe and what depends on it.
const RUN: u64 = 20;

/// Comes back soon.
pub(crate) const RETRY: Retry =
    Retry { first: Duration::from_millis(20), longest: Duration::from_millis(200), patience: PATIENCE };

/// Makes the livestream, on air, of any bandwidth; nobody may be later than `max_lag`.
pub(crate) async fn go_live(client: &Client, max_lag: Duration) {
    let config = pb::LivestreamConfig {
        subscriber_bytes_per_second: Some(1_000_000_000),
        max_lag: Some(max_lag.try_into().unwrap()),
        ..Default::default()
    };
    let mut livestreams = client.livestreams.clone();
    let create = pb::CreateLivestreamRequest {
        livestream_id: LIVESTREAM,
        node_id: BROADCASTER,
        config: Some(config),
        ..Default::default()
    };
    livestreams.create_livestream(create).await.unwrap();
    let start = pb::StartLivestreamRequest { livestream_id: LIVESTREAM, node_id: BROADCASTER, ..Default::default() };
    livestreams.start_livestream(start).await.unwrap();
}

/// Ends the livestream.
pub(crate) async fn end(client: &Client) {
    let end = pb::EndLivestreamRequest { livestream_id: LIVESTREAM, node_id: BROADCASTER, ..Default::default() };
    client.clone().livestreams.end_livestream(end).await.unwrap();
}

/// How a node joins.
pub(crate) fn join_request(node_id: u64) -> pb::JoinLivestreamRequest {
    pb::JoinLivestreamRequest { livestream_id: LIVESTREAM, node_id, lease_ttl: LEASE, ..Default::default() }
}

/// Joins; the session.
pub(crate) async fn join(client: &Client, node_id: u64) -> u64 {
    client.clone().livestreams.join_livestream(join_request(node_id)).await.unwrap().into_inner().session_id
}

/// VISUAL of the livestream for a member.
pub(crate) fn subscribe(node_id: u64, session_id: u64) -> pb::SubscribeUpdatesRequest {
    let channels = vec![UpdateChannel::Visual.into()];
    pb::SubscribeUpdatesRequest { livestream_id: LIVESTREAM, node_id, session_id, channels, ..Default::default() }
}

/// Waits for what nothing tells of.
pub(crate) async fn until(mut condition: impl FnMut() -> bool) {
    let mut looks = interval(Duration::from_millis(10));
    soon(async {
        while !condition() {
            looks.tick().await;
        }
    })
    .await;
}

/// An update that names itself, of this many bytes at least.
pub(crate) fn draft(number: u64, bytes: usize) -> UpdateDraft {
    let mut payload = number.to_be_bytes().to_vec();
    payload.resize(bytes.max(8), u8::try_from(number % 251).unwrap());
    UpdateDraft {
        channel: UpdateChannel::Visual.into(),
        payload: payload.into(),
        keyframe: number % RUN == 1,
        ..Default::default()
    }
}

/// Publishes on VISUAL, at a period, comes back after each cut, until it is told to stop.
#[derive(Debug)]
pub(crate) struct PacedPublisher {
    stop: watch::Sender<bool>,
    published: watch::Receiver<u64>,
    running: JoinSet<PublisherLog>,
}

impl PacedPublisher {
    /// Publishes updates of `bytes`, one each `period`.
    pub(crate) async fn start(client: Client, bytes: usize, period: Duration) -> Self {
        let publication = PublishOptions {
            retry: RETRY,
            ..PublishOptions::new(SwarmRef::Livestream(LIVESTREAM), BROADCASTER, vec![UpdateChannel::Visual])
        };
        let publisher = Publisher::open(client, publication).await.unwrap();
        let (stop, stopped) = watch::channel(false);
        let (tell, published) = watch::channel(0);
        let mut running = JoinSet::new();
        running.spawn(publish_regularly(publisher, bytes, period, stopped, tell));
        Self { stop, published, running }
    }

    /// How many updates were published.
    pub(crate) fn published(&self) -> u64 {
        *self.published.borrow()
    }

    /// Waits until so many more are published.
    pub(crate) async fn wait_for_more(&mut self, updates: u64) {
        let goal = self.published() + updates;
        soon(self.published.wait_for(|published| *published >= goal)).await.unwrap();
    }

    /// Stops, and hears what became of everything.
    pub(crate) async fn finish(mut self) -> PublisherLog {
        self.stop.send_replace(true);
        soon(self.running.join_next()).await.unwrap().unwrap()
    }
}

async fn publish_regularly(
    mut publisher: Publisher,
    bytes: usize,
    period: Duration,
    stopped: watch::Receiver<bool>,
    tell: watch::Sender<u64>,
) -> PublisherLog {
    let mut log = PublisherLog::new(BROADCASTER);
    log.opened(publisher.opened(), 1);
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Sent and not answered: sent again after a cut.
    let mut unanswered: Vec<UpdateDraft> = Vec::new();
    let (mut number, mut wants_keyframe) = (0, false);
    while !*stopped.borrow() || !unanswered.is_empty() {
        tokio::select! {
            _ = ticks.tick(), if !*stopped.borrow() && publisher.room() > 0 => {
                number += 1;
                let mut draft = draft(number, bytes);
                draft.keyframe |= std::mem::take(&mut wants_keyframe);
                draft.publisher_sequence = publisher.send(draft.clone()).unwrap();
                log.sent(&draft);
                unanswered.push(draft);
                tell.send_replace(number);
            }
            event = publisher.next() => match event.unwrap().expect("it goes on") {
                PublishEvent::Accepted(ack) => {
                    unanswered.retain(|draft| draft.publisher_sequence > ack.accepted_through);
                    log.acked(&ack);
                }
                PublishEvent::Resumed(opened) => {
                    log.opened(&opened, 1);
                    let last = opened.channels[0].last_publisher_sequence;
                    unanswered.retain(|draft| draft.publisher_sequence > last);
                    unanswered.iter().for_each(|draft| log.sent(draft));
                    wants_keyframe = true;
                }
                PublishEvent::Cut(_) => {}
                PublishEvent::KeyframeRequest(_) => wants_keyframe = true,
                PublishEvent::Demand(_) | PublishEvent::Skips(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    log
}

/// What one reader has been through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) updates: u64,
    /// The `publisher_sequence` of the last one.
    pub(crate) last: u64,
    pub(crate) cuts: u64,
    pub(crate) resumes: u64,
    pub(crate) lagging: u64,
}

/// Reads to the end of the livestream, and comes back after each cut.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) seen: watch::Receiver<Seen>,
    running: JoinSet<History>,
}

impl Reader {
    /// Joins, and reads from the beginning.
    pub(crate) async fn start(client: Client, node_id: u64) -> Self {
        let session_id = join(&client, node_id).await;
        Self::resume(client, session_id, History::new(node_id), None).await
    }

    /// Goes on where another connection stopped.
    pub(crate) async fn resume(
        client: Client,
        session_id: u64,
        history: History,
        resume_from: Option<SubscriptionPosition>,
    ) -> Self {
        let node_id = history.node();
        let subscription = SubscribeOptions {
            channels: vec![UpdateChannel::Visual],
            join: Some(Join::Livestream(join_request(node_id))),
            retry: RETRY,
            resume_from,
            ..SubscribeOptions::new(SwarmRef::Livestream(LIVESTREAM), node_id, session_id)
        };
        let subscriber = soon(Subscriber::open(client, subscription)).await.unwrap();
        let (tell, seen) = watch::channel(Seen::default());
        let mut running = JoinSet::new();
        running.spawn(listen(subscriber, history, tell));
        Self { seen, running }
    }

    /// Waits until it has been through so much.
    pub(crate) async fn wait_until(&mut self, enough: impl Fn(&Seen) -> bool) -> Seen {
        tokio::select! {
            // It ends by itself only when something is wrong.
            Some(ended) = self.running.join_next() => panic!("the reader ended: {:?}", ended.map(|_| ())),
            seen = soon(self.seen.wait_for(enough)) => *seen.expect("it reads"),
        }
    }

    /// Waits until it has what is published from now on.
    pub(crate) async fn catch_up_with(&mut self, publisher: &PacedPublisher) {
        let now = publisher.published();
        self.wait_until(|seen| seen.last > now).await;
    }

    /// All that came, once the livestream is over.
    pub(crate) async fn history(mut self) -> History {
        soon(self.running.join_next()).await.unwrap().unwrap()
    }
}

async fn listen(mut subscriber: Subscriber, mut history: History, tell: watch::Sender<Seen>) -> History {
    loop {
        match subscriber.next().await {
            Ok(Some(SubscriptionEvent::Item(item))) => {
                tell.send_modify(|seen| note(seen, &item));
                history.record(&Delivery { item: Some(item) });
            }
            Ok(Some(SubscriptionEvent::Cut(_))) => {
                tell.send_modify(|seen| seen.cuts += 1);
                history.cut();
            }
            Ok(Some(SubscriptionEvent::Resumed { .. })) => tell.send_modify(|seen| seen.resumes += 1),
            Ok(None) => {
                history.ended();
                return history;
            }
            // It ended during a cut: what came last is not for this one.
            Err(Error::Status(status))
                if status.get_error_details().error_info().is_some_and(|info| info.reason == "ENDED") =>
            {
                return history;
            }
            Err(error) => panic!("reader {}: {error:?}", history.node()),
        }
    }
}

fn note(seen: &mut Seen, item: &Item) {
    match item {
        Item::Update(update) => {
            seen.updates += 1;
            seen.last = named(&update.payload);
        }
        Item::Gap(gap) if gap.reason() == GapReason::Lagging => seen.lagging += 1,
        _ => {}
    }
}

/// The number that a payload begins with.
pub(crate) fn named(payload: &Bytes) -> u64 {
    u64::from_be_bytes(payload[..8].try_into().unwrap())
}

/// The deliveries of a message.
pub(crate) fn deliveries(message: &pb::SubscribeUpdatesResponse) -> impl Iterator<Item = Delivery> {
    message.deliveries.iter().cloned()
}

/// What the checker says.
#[track_caller]
pub(crate) fn judged(log: PublisherLog, histories: &[History]) -> Report {
    check(&[log], histories).unwrap_or_else(|violations| {
        let told: Vec<_> = violations.iter().take(5).map(ToString::to_string).collect();
        panic!("{} violations:\n{}", violations.len(), told.join("\n"))
    })
}
