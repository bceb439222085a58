//! Those who publish: two who take turns as the broadcaster, and one who chats.

use starling::client::{Client, Publication, PublishEvent, Publisher, Swarm};
use starling::history::PublisherLog;
use starling::pb::livestream::v1 as pb;
use starling::pb::swarm::v1::{Channel, UpdateDraft};

use crate::{Clock, LIVESTREAM, Rng};

const CHATTER: u64 = 5;
const LAYERS: u32 = 3;

/// One who publishes, and the log of it.
struct Voice {
    node: u64,
    log: PublisherLog,
    publisher: Option<Publisher>,
}

impl Voice {
    const fn new(node: u64) -> Self {
        Self { node, log: PublisherLog::new(node), publisher: None }
    }

    async fn open(&mut self, url: &str, channels: Vec<Channel>) {
        let client = Client::connect(url).await.unwrap();
        let publication = Publication {
            temporal_layers: LAYERS,
            ..Publication::new(Swarm::Livestream(LIVESTREAM), self.node, channels)
        };
        let publisher = Publisher::open(client, publication).await.unwrap();
        self.log.opened(publisher.opened(), LAYERS);
        self.publisher = Some(publisher);
    }

    async fn say(&mut self, mut draft: UpdateDraft) {
        while self.publisher.as_ref().unwrap().room() == 0 {
            self.hear().await;
        }
        draft.publisher_sequence = self.publisher.as_mut().unwrap().send(draft.clone()).unwrap();
        self.log.sent(&draft);
    }

    async fn hear(&mut self) {
        match self.publisher.as_mut().unwrap().next().await.unwrap().expect("the livestream goes on") {
            PublishEvent::Accepted(ack) => self.log.acked(&ack),
            PublishEvent::Rejected(rejected) => self.log.rejected(&rejected),
            PublishEvent::Demand(_) | PublishEvent::KeyframeRequest(_) => {}
            other => panic!("{other:?}"),
        }
    }

    async fn settle(&mut self) {
        while self.log.unanswered() > 0 {
            self.hear().await;
        }
    }
}

fn draft(rng: &mut Rng) -> UpdateDraft {
    let channel = [Channel::Visual, Channel::Visual, Channel::Visual, Channel::Audio, Channel::Data];
    let channel = channel[usize::try_from(rng.below(5)).unwrap()];
    let keyframe = channel == Channel::Visual && rng.one_in(15) || channel == Channel::Data && rng.one_in(30);
    let picture = channel == Channel::Visual && !keyframe;
    UpdateDraft {
        channel: channel.into(),
        payload: vec![u8::try_from(rng.below(256)).unwrap(); usize::try_from(rng.below(800)).unwrap()].into(),
        keyframe,
        temporal_layer: if picture { u32::try_from(rng.below(LAYERS.into())).unwrap() } else { 0 },
        priority: if rng.one_in(20) { 4 } else { 0 },
        ..Default::default()
    }
}

/// Publishes about `updates`, with turns, pauses and mutes, and ends the livestream.
pub(crate) async fn direct(url: &str, rng: &mut Rng, updates: u64, clock: &Clock) -> Vec<PublisherLog> {
    let mut client = Client::connect(url).await.unwrap();
    let mut voices = [Voice::new(1), Voice::new(2)];
    let mut chatter = Voice::new(CHATTER);
    for node_id in [2, CHATTER] {
        let join = pb::JoinLivestreamRequest {
            livestream_id: LIVESTREAM,
            node_id,
            lease_ttl: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
            ..Default::default()
        };
        client.livestreams.join_livestream(join).await.unwrap();
    }
    chatter.open(url, vec![Channel::Chat]).await;
    let start = pb::StartLivestreamRequest { livestream_id: LIVESTREAM, node_id: 1, ..Default::default() };
    client.livestreams.start_livestream(start).await.unwrap();
    let (mut leader, mut muted, mut paused) = (0, false, false);
    while *clock.borrow() < updates {
        let node_id = voices[leader].node;
        voices[leader].open(url, vec![Channel::Visual, Channel::Audio, Channel::Data]).await;
        for _ in 0..50 + rng.below(300) {
            voices[leader].say(draft(rng)).await;
            clock.send_modify(|count| *count += 1);
            if rng.one_in(8) {
                chatter.say(UpdateDraft { channel: Channel::Chat.into(), ..Default::default() }).await;
            }
            if rng.one_in(60) {
                (muted, paused) = toggle(&mut client, rng, node_id, muted, paused).await;
            }
        }
        voices[leader].settle().await;
        chatter.settle().await;
        if rng.one_in(2) {
            let other = 1 - leader;
            let transfer = pb::TransferBroadcastRequest {
                livestream_id: LIVESTREAM,
                node_id,
                target_node_id: voices[other].node,
                ..Default::default()
            };
            client.livestreams.transfer_broadcast(transfer).await.unwrap();
            leader = other;
        }
    }
    let end =
        pb::EndLivestreamRequest { livestream_id: LIVESTREAM, node_id: voices[leader].node, ..Default::default() };
    client.livestreams.end_livestream(end).await.unwrap();
    clock.send_replace(u64::MAX);
    let [one, two] = voices;
    vec![one.log, two.log, chatter.log]
}

async fn toggle(client: &mut Client, rng: &mut Rng, node_id: u64, muted: bool, paused: bool) -> (bool, bool) {
    let livestream_id = LIVESTREAM;
    if rng.one_in(2) {
        if muted {
            let unmute =
                pb::UnmuteViewerRequest { livestream_id, node_id, target_node_id: CHATTER, ..Default::default() };
            client.livestreams.unmute_viewer(unmute).await.unwrap();
        } else {
            let mute = pb::MuteViewerRequest { livestream_id, node_id, target_node_id: CHATTER, ..Default::default() };
            client.livestreams.mute_viewer(mute).await.unwrap();
        }
        return (!muted, paused);
    }
    if paused {
        let resume = pb::ResumeLivestreamRequest { livestream_id, node_id, ..Default::default() };
        client.livestreams.resume_livestream(resume).await.unwrap();
    } else {
        let pause = pb::PauseLivestreamRequest { livestream_id, node_id, ..Default::default() };
        client.livestreams.pause_livestream(pause).await.unwrap();
    }
    (muted, !paused)
}
