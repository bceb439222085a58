//! Updates of a group: everybody publishes, and hears the others.

use std::collections::VecDeque;

use starling_client::pb::group::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::swarm::v1::{
    Delivery, PublishOpened, PublishReceipt, RejectReason, UpdateChannel, UpdateDraft, UpdatePosition, delivery::Item,
};
use starling_client::{Client, SwarmRef};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code::{FailedPrecondition, NotFound};
use tonic::{Status, Streaming};

use crate::edge::updates::{delta, keyframe, publish_one};
use crate::edge::world::{answered, join_group, make_group};
use crate::harness::{Fault, Server, fault, metadata, soon};

const PARTICIPANTS: [u64; 5] = [1, 2, 3, 4, 5];
const STRANGER: u64 = 99;

async fn in_call() -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 16).await;
    for node_id in PARTICIPANTS {
        join_group(&client, 7, node_id).await;
    }
    (server, client)
}

fn on(channel: UpdateChannel, publisher_sequence: u64) -> UpdateDraft {
    UpdateDraft { channel: channel.into(), ..delta(publisher_sequence) }
}

const fn place(source_node_id: u64, channel: UpdateChannel, term: u64, sequence: u64) -> UpdatePosition {
    UpdatePosition { source_node_id, channel: channel as i32, term, sequence, track: 0 }
}

/// An open publish stream.
struct Speaker {
    outbox: mpsc::Sender<pb::PublishUpdatesRequest>,
    answers: Streaming<pb::PublishUpdatesResponse>,
    opened: PublishOpened,
}

impl Speaker {
    async fn open(client: &Client, node_id: u64, channel: UpdateChannel) -> Result<Self, Status> {
        let (outbox, requests) = mpsc::channel(64);
        let channels = vec![channel.into()];
        let open = Message::Open(pb::PublishOpen { group_id: 7, node_id, channels, ..Default::default() });
        outbox.send(pb::PublishUpdatesRequest { message: Some(open) }).await.expect("there is room");
        let mut groups = client.groups.clone();
        let answers = soon(groups.publish_updates(ReceiverStream::new(requests))).await?.into_inner();
        let mut speaker = Self { outbox, answers, opened: PublishOpened::default() };
        match speaker.event().await? {
            Event::Opened(opened) => speaker.opened = opened,
            other => panic!("opened comes first, not {other:?}"),
        }
        Ok(speaker)
    }

    fn term(&self) -> u64 {
        self.opened.channels[0].term
    }

    async fn send(&self, update: UpdateDraft) {
        let message = Some(Message::Update(update));
        soon(self.outbox.send(pb::PublishUpdatesRequest { message })).await.expect("the stream is open");
    }

    /// What comes next; interests are passed over.
    async fn event(&mut self) -> Result<Event, Status> {
        loop {
            let answer = soon(self.answers.message()).await?.expect("the stream goes on");
            match answer.event.map(Event::from).expect("an event says something") {
                Event::Demand(_) | Event::KeyframeRequest(_) => {}
                event => return Ok(event),
            }
        }
    }

    async fn acked(&mut self) -> UpdatePosition {
        match self.event().await.unwrap() {
            Event::Ack(ack) => ack.channels[0].position.expect("an ack has a position"),
            other => panic!("an ack, not {other:?}"),
        }
    }

    async fn rejected(&mut self) -> (RejectReason, u64) {
        match self.event().await.unwrap() {
            Event::Rejected(rejected) => (rejected.reason(), rejected.publisher_sequence),
            other => panic!("a rejection, not {other:?}"),
        }
    }
}

/// An open subscription.
struct GroupSubscriber {
    messages: Streaming<pb::SubscribeUpdatesResponse>,
    ready: VecDeque<Delivery>,
}

impl GroupSubscriber {
    async fn open(client: &Client, node_id: u64, channel: UpdateChannel, source_node_ids: Vec<u64>) -> Self {
        let channels = vec![channel.into()];
        let request =
            pb::SubscribeUpdatesRequest { group_id: 7, node_id, channels, source_node_ids, ..Default::default() };
        let messages = answered(soon(client.clone().groups.subscribe_updates(request)).await);
        let mut subscriber = Self { messages, ready: VecDeque::new() };
        assert!(matches!(subscriber.item().await, Item::Subscribed(_)), "subscribed comes first");
        subscriber
    }

    async fn item(&mut self) -> Item {
        while self.ready.is_empty() {
            let message = soon(self.messages.message()).await.unwrap().expect("the stream goes on");
            self.ready.extend(message.deliveries);
        }
        let delivery = self.ready.pop_front().expect("there is one");
        delivery.item.expect("a delivery delivers something")
    }

    /// Sources and sequences of the next updates, sorted; filters are passed over.
    async fn heard(&mut self, count: usize) -> Vec<(u64, u64)> {
        let mut heard = Vec::new();
        while heard.len() < count {
            match self.item().await {
                Item::Update(update) => {
                    let position = update.position.expect("an update has a position");
                    assert_eq!(update.author_node_id, 0, "the source says it");
                    heard.push((position.source_node_id, position.sequence));
                }
                Item::Filter(_) => {}
                other => panic!("an update, not {other:?}"),
            }
        }
        heard.sort_unstable();
        heard
    }
}

/// Publishes one update by itself; `term` 0 = the current one.
async fn one(client: &Client, node_id: u64, term: u64, update: UpdateDraft) -> Result<PublishReceipt, Status> {
    publish_one(client, SwarmRef::Group(7), node_id, term, update).await
}

#[tokio::test]
async fn participants_receive_all_others_but_not_themselves() {
    let (_server, client) = in_call().await;
    let mut speakers = Vec::new();
    let mut subscribers = Vec::new();
    for node_id in PARTICIPANTS {
        subscribers.push(GroupSubscriber::open(&client, node_id, UpdateChannel::Audio, vec![]).await);
        speakers.push((node_id, Speaker::open(&client, node_id, UpdateChannel::Audio).await.unwrap()));
    }
    for sequence in 1..=2 {
        for (node_id, speaker) in &mut speakers {
            speaker.send(on(UpdateChannel::Audio, sequence)).await;
            assert_eq!(speaker.acked().await, place(*node_id, UpdateChannel::Audio, speaker.term(), sequence));
        }
    }
    for (subscriber, own) in subscribers.iter_mut().zip(PARTICIPANTS) {
        let others = PARTICIPANTS.into_iter().filter(|node_id| *node_id != own);
        let expected: Vec<_> = others.flat_map(|node_id| [(node_id, 1), (node_id, 2)]).collect();
        assert_eq!(subscriber.heard(8).await, expected);
    }
}

#[tokio::test]
async fn subscriber_receives_only_the_named_sources() {
    let (_server, client) = in_call().await;
    let mut subscriber = GroupSubscriber::open(&client, 1, UpdateChannel::Audio, vec![2, 4]).await;
    for sequence in 1..=2 {
        for node_id in PARTICIPANTS {
            one(&client, node_id, 0, on(UpdateChannel::Audio, sequence)).await.unwrap();
        }
    }
    assert_eq!(subscriber.heard(4).await, [(2, 1), (2, 2), (4, 1), (4, 2)]);
}

#[tokio::test]
async fn disabled_microphone_rejects_audio_until_enabled() {
    let (_server, client) = in_call().await;
    let mut subscriber = GroupSubscriber::open(&client, 1, UpdateChannel::Audio, vec![]).await;
    let mut speaker = Speaker::open(&client, 2, UpdateChannel::Audio).await.unwrap();
    let switch = async |on: bool| {
        let audio_enabled = Some(on);
        let request = pb::SetMediaRequest { group_id: 7, node_id: 2, audio_enabled, ..Default::default() };
        answered(client.clone().groups.set_media(request).await);
    };
    speaker.send(on(UpdateChannel::Audio, 1)).await;
    assert_eq!(speaker.acked().await.sequence, 1);
    switch(false).await;
    speaker.send(on(UpdateChannel::Audio, 2)).await;
    assert_eq!(speaker.rejected().await, (RejectReason::ChannelDisabled, 2));
    let disabled = Fault::new(FailedPrecondition, "CHANNEL_DISABLED");
    assert_eq!(fault(one(&client, 2, 0, on(UpdateChannel::Audio, 3)).await), disabled);
    one(&client, 2, 0, keyframe(1)).await.expect("the camera is on");
    switch(true).await;
    speaker.send(on(UpdateChannel::Audio, 4)).await;
    assert_eq!(speaker.acked().await.sequence, 2, "what was rejected has no number");
    assert_eq!(subscriber.heard(2).await, [(2, 1), (2, 2)]);
}

#[tokio::test]
async fn only_the_share_holder_publishes_its_screen() {
    let (_server, client) = in_call().await;
    let mut groups = client.groups.clone();
    let screen = |number| UpdateDraft { keyframe: true, ..on(UpdateChannel::Screen, number) };
    let disabled = Fault::new(FailedPrecondition, "CHANNEL_DISABLED");
    assert_eq!(Fault::of(&Speaker::open(&client, 2, UpdateChannel::Screen).await.err().unwrap()), disabled);
    assert_eq!(fault(one(&client, 2, 0, screen(1)).await), disabled);

    let share = pb::StartScreenShareRequest { group_id: 7, node_id: 2, ..Default::default() };
    answered(groups.start_screen_share(share).await);
    let mut sharing = Speaker::open(&client, 2, UpdateChannel::Screen).await.unwrap();
    sharing.send(screen(1)).await;
    assert_eq!(sharing.acked().await, place(2, UpdateChannel::Screen, sharing.term(), 1));
    for refused in [
        Speaker::open(&client, 3, UpdateChannel::Screen).await.err().unwrap(),
        one(&client, 3, 0, screen(1)).await.unwrap_err(),
    ] {
        assert_eq!(Fault::of(&refused), Fault::new(FailedPrecondition, "SCREEN_SHARE_HELD"));
        assert_eq!(metadata(&refused, "holderNodeId").as_deref(), Some("2"));
    }

    let stop = pb::StopScreenShareRequest { group_id: 7, node_id: 2, ..Default::default() };
    answered(groups.stop_screen_share(stop).await);
    sharing.send(screen(2)).await;
    assert_eq!(sharing.rejected().await, (RejectReason::ChannelDisabled, 2));
    assert_eq!(fault(one(&client, 2, 0, screen(3)).await), disabled);
}

#[tokio::test]
async fn single_update_claims_only_an_unclaimed_channel() {
    let (_server, client) = in_call().await;
    for channel in [UpdateChannel::Chat, UpdateChannel::Data, UpdateChannel::Audio] {
        let first = one(&client, 2, 0, on(channel, 1)).await.unwrap();
        let term = first.position.unwrap().term;
        assert_ne!(term, 0, "also CHAT has its participant's term");
        assert_eq!((first.position, first.duplicate), (Some(place(2, channel, term, 1)), false));
        let again = one(&client, 2, 0, on(channel, 1)).await.unwrap();
        assert_eq!((again.position, again.duplicate), (first.position, true));
        let next = one(&client, 2, term, on(channel, 2)).await.unwrap();
        assert_eq!((next.position, next.duplicate), (Some(place(2, channel, term, 2)), false));
        let stale = one(&client, 2, term + 1, on(channel, 3)).await;
        assert_eq!(fault(stale), Fault::new(FailedPrecondition, "STALE_TERM"));
    }
    let mut speaker = Speaker::open(&client, 3, UpdateChannel::Audio).await.unwrap();
    let receipt = one(&client, 3, 0, on(UpdateChannel::Audio, 1)).await.unwrap();
    assert_eq!(receipt.position, Some(place(3, UpdateChannel::Audio, speaker.term(), 1)));
    speaker.send(on(UpdateChannel::Audio, 2)).await;
    assert_eq!(speaker.acked().await, place(3, UpdateChannel::Audio, speaker.term(), 2));

    let not_a_member = Fault::new(FailedPrecondition, "NOT_A_MEMBER");
    assert_eq!(fault(one(&client, STRANGER, 0, on(UpdateChannel::Chat, 1)).await), not_a_member);
    assert_eq!(fault(one(&client, STRANGER, 5, on(UpdateChannel::Chat, 1)).await), not_a_member);
}

#[tokio::test]
async fn participant_learns_that_a_keyframe_is_wanted() {
    let (_server, client) = in_call().await;
    let mut viewer = GroupSubscriber::open(&client, 1, UpdateChannel::Visual, vec![]).await;
    assert!(!one(&client, 2, 0, delta(1)).await.unwrap().keyframe_wanted, "nobody knew of it");
    assert!(matches!(viewer.item().await, Item::Filter(_)), "the source is told when it appears");
    assert!(one(&client, 2, 0, delta(2)).await.unwrap().keyframe_wanted, "now somebody waits");
    assert!(!one(&client, 2, 0, keyframe(3)).await.unwrap().keyframe_wanted);
    assert_eq!(viewer.heard(1).await, [(2, 3)]);

    let ask = async |node_id, source_node_id| {
        let channel = UpdateChannel::Visual.into();
        let request =
            pb::RequestKeyframeRequest { group_id: 7, node_id, channel, source_node_id, ..Default::default() };
        client.clone().groups.request_keyframe(request).await
    };
    assert!(!one(&client, 2, 0, delta(4)).await.unwrap().keyframe_wanted);
    ask(3, 2).await.unwrap();
    assert!(one(&client, 2, 0, delta(5)).await.unwrap().keyframe_wanted);
    assert_eq!(fault(ask(3, 0).await), Fault::field("source_node_id"));
    assert_eq!(fault(ask(3, STRANGER).await), Fault::new(NotFound, "MEMBER_NOT_FOUND"));
    assert_eq!(fault(ask(STRANGER, 2).await), Fault::new(FailedPrecondition, "NOT_A_MEMBER"));
}
