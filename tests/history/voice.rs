//! One who publishes, and the log of it.

use starling::client::{Client, Error, Publication, PublishEvent, Publisher, Swarm};
use starling::history::PublisherLog;
use starling::pb::swarm::v1::{Channel, GoodbyeReason, UpdateDraft};

use crate::Rng;

const LAYERS: u32 = 3;

/// One who publishes, and the log of it.
pub(crate) struct Voice {
    swarm: Swarm,
    pub(crate) node: u64,
    pub(crate) log: PublisherLog,
    publisher: Option<Publisher>,
}

impl Voice {
    pub(crate) const fn new(swarm: Swarm, node: u64) -> Self {
        Self { swarm, node, log: PublisherLog::new(node), publisher: None }
    }

    /// Claims these channels, in place of a stream that it may have; what that one was not
    /// answered is told now.
    pub(crate) async fn open(&mut self, client: &Client, channels: Vec<Channel>) {
        let publication = Publication { temporal_layers: LAYERS, ..Publication::new(self.swarm, self.node, channels) };
        let publisher = Publisher::open(client.clone(), publication).await.unwrap();
        self.log.opened(publisher.opened(), LAYERS);
        self.publisher = Some(publisher);
    }

    pub(crate) async fn say(&mut self, mut draft: UpdateDraft) {
        while self.publisher.as_ref().unwrap().room() == 0 {
            assert!(self.hear().await, "the stream goes on");
        }
        draft.publisher_sequence = self.publisher.as_mut().unwrap().send(draft.clone()).unwrap();
        self.log.sent(&draft);
    }

    /// Hears one answer; false when there is nothing more to hear, because it left.
    async fn hear(&mut self) -> bool {
        match self.publisher.as_mut().unwrap().next().await {
            Ok(Some(PublishEvent::Accepted(ack))) => self.log.acked(&ack),
            Ok(Some(PublishEvent::Rejected(rejected))) => self.log.rejected(&rejected),
            Ok(Some(PublishEvent::Demand(_) | PublishEvent::KeyframeRequest(_))) => {}
            Err(Error::Goodbye { reason: GoodbyeReason::Left | GoodbyeReason::Removed, .. }) => return false,
            other => panic!("{other:?}"),
        }
        true
    }

    /// Hears what became of all that was said.
    pub(crate) async fn settle(&mut self) {
        while self.publisher.is_some() && self.log.unanswered() > 0 {
            assert!(self.hear().await, "the stream goes on");
        }
    }

    /// It has left or was removed: hears what was answered before.
    pub(crate) async fn fall_silent(&mut self) {
        while self.publisher.is_some() && self.hear().await {}
        self.publisher = None;
    }
}

/// Any update on a channel.
pub(crate) fn draft(rng: &mut Rng, channel: Channel) -> UpdateDraft {
    let runs = matches!(channel, Channel::Visual | Channel::Screen);
    let keyframe = runs && rng.one_in(15) || channel == Channel::Data && rng.one_in(30);
    UpdateDraft {
        channel: channel.into(),
        payload: vec![u8::try_from(rng.below(256)).unwrap(); usize::try_from(rng.below(800)).unwrap()].into(),
        keyframe,
        temporal_layer: if runs && !keyframe { u32::try_from(rng.below(LAYERS.into())).unwrap() } else { 0 },
        priority: if rng.one_in(20) { 4 } else { 0 },
        ..Default::default()
    }
}
