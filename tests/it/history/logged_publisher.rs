//! One who publishes, and the log of it.

use std::collections::VecDeque;

use starling_client::pb::swarm::v1::{GoodbyeReason, UpdateChannel, UpdateDraft};
use starling_client::{Client, Error, PublishEvent, PublishOptions, Publisher, SwarmRef};
use starling_verify::PublisherLog;

use starling_testkit::Rng;

const LAYERS: u32 = 3;

/// One who publishes, and the log of it.
pub(crate) struct LoggedPublisher {
    swarm: SwarmRef,
    pub(crate) node: u64,
    pub(crate) log: PublisherLog,
    publisher: Option<Publisher>,
    channels: Vec<UpdateChannel>,
    /// Its session; 0 = whichever the node has.
    session_id: u64,
    /// Sent and not answered.
    unanswered: VecDeque<UpdateDraft>,
    /// The next update leaves a number out.
    leaves_one_out: bool,
}

impl LoggedPublisher {
    pub(crate) const fn new(swarm: SwarmRef, node: u64) -> Self {
        Self {
            swarm,
            node,
            log: PublisherLog::new(node),
            publisher: None,
            channels: Vec::new(),
            session_id: 0,
            unanswered: VecDeque::new(),
            leaves_one_out: false,
        }
    }

    /// Claims these channels for the first time in a session, in place of a stream that it may
    /// have; what that one was not answered is told now.
    pub(crate) async fn open(&mut self, client: &Client, channels: Vec<UpdateChannel>) {
        (self.channels, self.session_id) = (channels, 0);
        self.claim(client).await;
        self.unanswered.clear();
    }

    /// Its stream ends, in one way or another, and it opens the next one at once in the same
    /// session. Says whether the publisher goes on where it stopped.
    pub(crate) async fn reopen(&mut self, client: &Client, rng: &mut Rng) {
        let how = rng.below(4);
        if how == 0 {
            // In good order.
            self.settle().await;
            if let Some(publisher) = self.publisher.take() {
                publisher.close().await.unwrap();
            }
        } else if how == 1 {
            // Broken off.
            self.publisher = None;
        }
        // Otherwise in place of the old one.
        self.claim(client).await;
        let publisher = self.publisher.as_mut().unwrap();
        // Whoever begins anew instead of sending again what was not answered leaves a hole, or
        // has nothing to send again.
        let gives_up = how == 3;
        for draft in std::mem::take(&mut self.unanswered).into_iter().filter(|_| !gives_up) {
            let accepted = publisher.granted(draft.channel()).unwrap().last_publisher_sequence;
            if draft.publisher_sequence > accepted {
                publisher.send(draft.clone()).unwrap();
                self.log.sent(&draft);
                self.unanswered.push_back(draft);
            }
        }
        self.leaves_one_out = gives_up;
    }

    async fn claim(&mut self, client: &Client) {
        let publication = PublishOptions {
            temporal_layers: LAYERS,
            session_id: self.session_id,
            ..PublishOptions::new(self.swarm, self.node, self.channels.clone())
        };
        let publisher = Publisher::open(client.clone(), publication).await.unwrap();
        self.session_id = publisher.session_id();
        self.log.opened(publisher.opened(), LAYERS);
        self.publisher = Some(publisher);
    }

    pub(crate) async fn publish(&mut self, mut draft: UpdateDraft) {
        while self.publisher.as_ref().unwrap().room() == 0 {
            assert!(self.receive().await, "the stream goes on");
        }
        let publisher = self.publisher.as_mut().unwrap();
        if std::mem::take(&mut self.leaves_one_out) {
            let last = self.unanswered.iter().rev().find(|sent| sent.channel == draft.channel);
            let last = last.map(|sent| sent.publisher_sequence);
            let last = last.or_else(|| publisher.granted(draft.channel()).map(|held| held.last_publisher_sequence));
            draft.publisher_sequence = last.unwrap_or(0) + 2;
        }
        draft.publisher_sequence = publisher.send(draft.clone()).unwrap();
        self.log.sent(&draft);
        self.unanswered.push_back(draft);
    }

    /// Hears one answer; false when there is nothing more to receive, because it left.
    async fn receive(&mut self) -> bool {
        match self.publisher.as_mut().unwrap().next().await {
            Ok(Some(PublishEvent::Accepted(ack))) => {
                let channel = ack.position.unwrap().channel;
                self.unanswered
                    .retain(|draft| draft.channel != channel || draft.publisher_sequence > ack.accepted_through);
                self.log.acked(&ack);
            }
            Ok(Some(PublishEvent::Rejected(rejected))) => {
                let number = rejected.publisher_sequence;
                self.unanswered.retain(|draft| draft.channel != rejected.channel || draft.publisher_sequence != number);
                self.log.rejected(&rejected);
            }
            Ok(Some(PublishEvent::Demand(_) | PublishEvent::KeyframeRequest(_) | PublishEvent::Skips(_))) => {}
            Err(Error::Goodbye { reason: GoodbyeReason::Left | GoodbyeReason::Removed, .. }) => return false,
            other => panic!("{other:?}"),
        }
        true
    }

    /// Hears what became of all that was said.
    pub(crate) async fn settle(&mut self) {
        while self.publisher.is_some() && self.log.unanswered() > 0 {
            assert!(self.receive().await, "the stream goes on");
        }
    }

    /// It has left or was removed: hears what was answered before.
    pub(crate) async fn read_to_the_end(&mut self) {
        while self.publisher.is_some() && self.receive().await {}
        self.publisher = None;
    }

    /// Its connection is gone, and nobody comes back in time.
    pub(crate) fn disconnect(&mut self) {
        self.publisher = None;
    }
}

/// Any update on a channel.
pub(crate) fn draft(rng: &mut Rng, channel: UpdateChannel) -> UpdateDraft {
    let runs = matches!(channel, UpdateChannel::Visual | UpdateChannel::Screen);
    let keyframe = runs && rng.one_in(15) || channel == UpdateChannel::Data && rng.one_in(30);
    UpdateDraft {
        channel: channel.into(),
        payload: vec![u8::try_from(rng.below(256)).unwrap(); usize::try_from(rng.below(800)).unwrap()].into(),
        keyframe,
        temporal_layer: if runs && !keyframe { u32::try_from(rng.below(LAYERS.into())).unwrap() } else { 0 },
        urgent: rng.one_in(20),
        ..Default::default()
    }
}
