//! One who publishes pictures and data, goes on elsewhere when its server is gone, and logs what became of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use starling_client::{Client, PublishEvent, PublishOptions, Publisher, SwarmRef};
use starling_verify::PublisherLog;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cluster::RETRY;

/// The channels, in the order of counts.
pub(crate) const CHANNELS: [UpdateChannel; 2] = [UpdateChannel::Visual, UpdateChannel::Data];

/// Time between updates of a channel.
const PICTURE: Duration = Duration::from_millis(40);

/// Every so many pictures is a keyframe.
const KEYFRAMES: u64 = 25;

/// How far the publisher is, on each channel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Published(Arc<[AtomicU64; 2]>);

impl Published {
    /// The number of the last update that was accepted.
    pub(crate) fn accepted(&self) -> [u64; 2] {
        self.0.each_ref().map(|number| number.load(Ordering::Relaxed))
    }
}

/// What was published, and the longest time in which nothing was accepted.
#[derive(Debug)]
pub(crate) struct PublisherHistory {
    pub(crate) log: PublisherLog,
    pub(crate) interruption: Duration,
    pub(crate) cuts: u64,
    /// Kept, so that its session is.
    _publisher: Publisher,
}

/// Publishes until it is told to stop, and waits then until all is answered.
pub(crate) async fn publish(
    client: Client,
    livestream: u64,
    node: u64,
    published: Published,
    mut stop: watch::Receiver<bool>,
) -> PublisherHistory {
    let swarm = SwarmRef::Livestream(livestream);
    let publication = PublishOptions { retry: RETRY, ..PublishOptions::new(swarm, node, CHANNELS.to_vec()) };
    let publisher = Publisher::open(client, publication).await.expect("the right to publish");
    let mut log = PublisherLog::new(node).at_servers_that_die();
    log.opened(publisher.opened(), 1);
    let (numbers, unanswered) = ([0; 2], VecDeque::new());
    let (last_accepted, interruption) = (Instant::now(), Duration::ZERO);
    let mut publishing = Publishing {
        publisher,
        log,
        published,
        numbers,
        unanswered,
        keyframe_wanted: true,
        last_accepted,
        interruption,
        cuts: 0,
    };
    let mut ticks = interval(PICTURE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while !*stop.borrow() {
        tokio::select! {
            _ = ticks.tick() => publishing.send(),
            event = publishing.publisher.next() => publishing.hear(event.expect("publishing goes on")),
            changed = stop.changed() => changed.expect("the test goes on"),
        }
    }
    while !publishing.unanswered.is_empty() {
        let event = publishing.publisher.next().await;
        publishing.hear(event.expect("publishing goes on"));
    }
    let Publishing { publisher, log, interruption, cuts, .. } = publishing;
    PublisherHistory { log, interruption, cuts, _publisher: publisher }
}

struct Publishing {
    publisher: Publisher,
    log: PublisherLog,
    published: Published,
    /// The last number on each channel.
    numbers: [u64; 2],
    unanswered: VecDeque<UpdateDraft>,
    keyframe_wanted: bool,
    last_accepted: Instant,
    interruption: Duration,
    cuts: u64,
}

impl Publishing {
    fn send(&mut self) {
        for (at, channel) in CHANNELS.into_iter().enumerate() {
            if self.publisher.room() == 0 {
                return;
            }
            self.numbers[at] += 1;
            let number = self.numbers[at];
            let is_picture = channel == UpdateChannel::Visual;
            let keyframe = is_picture && (number % KEYFRAMES == 1 || self.keyframe_wanted);
            self.keyframe_wanted &= !is_picture;
            let mut payload = vec![u8::try_from(number % 251).unwrap(); if keyframe { 4_000 } else { 400 }];
            payload[..8].copy_from_slice(&number.to_be_bytes());
            let draft = UpdateDraft {
                channel: channel.into(),
                payload: payload.into(),
                keyframe,
                publisher_sequence: number,
                ..Default::default()
            };
            self.log.sent(&draft);
            self.unanswered.push_back(draft.clone());
            self.publisher.send(draft).expect("there is room");
        }
    }

    fn hear(&mut self, event: Option<PublishEvent>) {
        match event.expect("the livestream goes on") {
            PublishEvent::Accepted(ack) => {
                self.log.acked(&ack);
                let channel = ack.position.expect("an acknowledgement has a position").channel;
                self.accepted(channel, ack.accepted_through);
            }
            PublishEvent::Resumed(opened) => {
                self.log.opened(&opened, 1);
                for granted in &opened.channels {
                    self.accepted(granted.channel, granted.last_publisher_sequence);
                }
                // What is sent again is noted again.
                self.unanswered.iter().for_each(|draft| self.log.sent(draft));
            }
            PublishEvent::KeyframeRequest(UpdateChannel::Visual) => self.keyframe_wanted = true,
            PublishEvent::Cut(why) => {
                self.cuts += 1;
                eprintln!("the publisher was cut: {why}");
            }
            PublishEvent::Rejected(rejected) => panic!("nothing is to be rejected: {rejected:?}"),
            PublishEvent::Revoked(channel) => panic!("nobody else may publish: {channel:?}"),
            _ => {}
        }
    }

    fn accepted(&mut self, channel: i32, through: u64) {
        self.unanswered.retain(|draft| draft.channel != channel || draft.publisher_sequence > through);
        self.interruption = self.interruption.max(self.last_accepted.elapsed());
        self.last_accepted = Instant::now();
        let at = CHANNELS.iter().position(|one| i32::from(*one) == channel).expect("a channel of this publisher");
        self.published.0[at].fetch_max(through, Ordering::Relaxed);
    }
}
