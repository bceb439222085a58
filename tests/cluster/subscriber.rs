//! One who subscribes, goes on elsewhere when its server is gone, and keeps what came.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use starling_client::pb::swarm::v1::Delivery;
use starling_client::pb::swarm::v1::delivery::Item;
use starling_client::{Client, SubscribeOptions, Subscriber, SubscriptionEvent, SwarmRef};
use starling_verify::History;
use tokio::time::Instant;

use crate::cluster::RETRY;
use crate::publisher::CHANNELS;

/// The number of the last update that came, on each channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received(Arc<[AtomicU64; 2]>);

impl Received {
    pub(crate) fn numbers(&self) -> [u64; 2] {
        self.0.each_ref().map(|number| number.load(Ordering::Relaxed))
    }
}

/// What came to a subscriber.
#[derive(Debug)]
pub(crate) struct SubscriberHistory {
    pub(crate) history: History,
    /// Each time from a cut to the next update.
    pub(crate) interruptions: Vec<Duration>,
    pub(crate) cuts: u64,
    /// All that came but updates, and the updates before and after.
    pub(crate) told: Vec<String>,
}

/// Reads until the livestream ends.
pub(crate) async fn subscribe(
    client: Client,
    livestream: u64,
    node: u64,
    session: u64,
    received: Received,
) -> SubscriberHistory {
    let swarm = SwarmRef::Livestream(livestream);
    let wanted =
        SubscribeOptions { channels: CHANNELS.to_vec(), retry: RETRY, ..SubscribeOptions::new(swarm, node, session) };
    let mut subscriber = Subscriber::open(client, wanted).await.expect("a member may subscribe");
    let mut came =
        SubscriberHistory { history: History::new(node), interruptions: Vec::new(), cuts: 0, told: Vec::new() };
    let mut cut_at = None;
    while let Some(event) = subscriber.next().await.unwrap_or_else(|error| panic!("subscriber {node}: {error}")) {
        match event {
            SubscriptionEvent::Item(item) => {
                if let Item::Update(update) = &item {
                    let position = update.position.expect("an update has a position");
                    let at = CHANNELS.iter().position(|channel| i32::from(*channel) == position.channel).unwrap();
                    let number = u64::from_be_bytes(update.payload[..8].try_into().unwrap());
                    received.0[at].fetch_max(number, Ordering::Relaxed);
                    came.interruptions.extend(cut_at.take().map(|at: Instant| at.elapsed()));
                }
                came.note(&item);
                came.history.record(&Delivery { item: Some(item) });
            }
            SubscriptionEvent::Cut(why) => {
                came.told.push(format!("cut after {:?}: {why}", received.numbers()));
                came.cuts += 1;
                cut_at.get_or_insert_with(Instant::now);
                match subscriber.progress().resume_point() {
                    Some(point) => came.history.resume(&point),
                    None => came.history.cut(),
                }
            }
            SubscriptionEvent::Resumed { rejoined, .. } => assert!(!rejoined, "nobody joins again by itself"),
        }
    }
    came.history.ended();
    came
}

impl SubscriberHistory {
    /// Keeps what tells a reader of a failure how it came to it.
    fn note(&mut self, item: &Item) {
        match item {
            Item::Update(update) => {
                let position = update.position.unwrap_or_default();
                let text =
                    |place: &str| format!("{place} {}: {}.{}", position.channel, position.term, position.sequence);
                let (first, last) = (text("from"), text("to"));
                let of_channel = format!("to {}:", position.channel);
                match self.told.iter_mut().rev().take(4).find(|told| told.starts_with(&of_channel)) {
                    Some(told) if told.split('.').next() == last.split('.').next() => *told = last,
                    _ => self.told.extend([first, last]),
                }
            }
            Item::Heartbeat(_) => {}
            other => self.told.push(format!("{other:?}")),
        }
    }
}
