//! A publisher and a subscriber, as far as tests need them.

use std::collections::VecDeque;

use bytes::Bytes;
use prost::Message as _;
use starling::pb::livestream::v1::SubscribeUpdatesResponse as EncodedDeliveries;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{self as pb, publish_updates_request::Message};
use starling_client::pb::swarm::v1::{self as shared, delivery::Item};
use starling_client::{Client, SwarmRef, TokenChannel};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

use crate::harness::{Fault, soon};

/// An update of 8 bytes that names itself.
pub(crate) fn delta(publisher_sequence: u64) -> shared::UpdateDraft {
    shared::UpdateDraft {
        channel: shared::UpdateChannel::Visual.into(),
        payload: Bytes::copy_from_slice(&publisher_sequence.to_be_bytes()),
        publisher_sequence,
        ..Default::default()
    }
}

pub(crate) fn keyframe(publisher_sequence: u64) -> shared::UpdateDraft {
    shared::UpdateDraft { keyframe: true, ..delta(publisher_sequence) }
}

pub(crate) fn opening(livestream_id: u64, node_id: u64) -> pb::PublishOpen {
    pb::PublishOpen {
        livestream_id,
        node_id,
        channels: vec![shared::UpdateChannel::Visual.into()],
        ..Default::default()
    }
}

pub(crate) const fn message(message: Message) -> pb::PublishUpdatesRequest {
    pb::PublishUpdatesRequest { message: Some(message) }
}

/// Publishes one update by itself; `term` 0 = the current one.
pub(crate) async fn publish_one(
    client: &Client,
    swarm: SwarmRef,
    node_id: u64,
    term: u64,
    update: shared::UpdateDraft,
) -> Result<shared::PublishReceipt, Status> {
    let Client { mut livestreams, mut groups, .. } = client.clone();
    let (session_id, update) = (0, Some(update));
    let receipt = match swarm {
        SwarmRef::Livestream(livestream_id) => {
            let request = pb::PublishUpdateRequest { livestream_id, node_id, session_id, update, term };
            livestreams.publish_update(request).await?.into_inner().receipt
        }
        SwarmRef::Group(group_id) => {
            let request = group::PublishUpdateRequest { group_id, node_id, session_id, update, term };
            groups.publish_update(request).await?.into_inner().receipt
        }
    };
    Ok(receipt.expect("a receipt"))
}

/// What the server answers to these messages, and how it ends.
pub(crate) async fn publish(
    client: &Client,
    messages: Vec<pb::PublishUpdatesRequest>,
) -> (Vec<Event>, Result<(), Status>) {
    let mut livestreams = client.livestreams.clone();
    let answers = soon(livestreams.publish_updates(tokio_stream::iter(messages))).await;
    let mut answers = match answers {
        Ok(answers) => answers.into_inner(),
        Err(status) => return (Vec::new(), Err(status)),
    };
    let mut events = Vec::new();
    loop {
        match soon(answers.message()).await {
            Ok(Some(answer)) => events.push(answer.event.expect("an event says something")),
            Ok(None) => return (events, Ok(())),
            Err(status) => return (events, Err(status)),
        }
    }
}

/// An open publish stream on VISUAL.
#[derive(Debug)]
pub(crate) struct Publisher {
    outbox: mpsc::Sender<pb::PublishUpdatesRequest>,
    answers: Streaming<pb::PublishUpdatesResponse>,
    pub(crate) opened: shared::PublishOpened,
}

impl Publisher {
    pub(crate) async fn open(client: &Client, livestream_id: u64, node_id: u64) -> Self {
        Self::open_with(client, opening(livestream_id, node_id)).await
    }

    pub(crate) async fn open_with(client: &Client, open: pb::PublishOpen) -> Self {
        let (outbox, requests) = mpsc::channel(64);
        outbox.send(message(Message::Open(open))).await.expect("there is room");
        let mut livestreams = client.livestreams.clone();
        let answers = soon(livestreams.publish_updates(ReceiverStream::new(requests))).await;
        let mut publisher =
            Self { outbox, answers: answers.expect("it opens").into_inner(), opened: Default::default() };
        publisher.opened = match publisher.event().await {
            Event::Opened(opened) => opened,
            other => panic!("opened comes first, not {other:?}"),
        };
        publisher
    }

    pub(crate) fn term(&self) -> u64 {
        self.opened.channels[0].term
    }

    pub(crate) async fn send(&self, update: shared::UpdateDraft) {
        soon(self.outbox.send(message(Message::Update(update)))).await.expect("the stream is open");
    }

    /// To send while somebody else listens.
    pub(crate) fn outbox(&self) -> mpsc::Sender<pb::PublishUpdatesRequest> {
        self.outbox.clone()
    }

    /// What the server says next, whatever it is.
    pub(crate) async fn heard(&mut self) -> Result<Option<Event>, Status> {
        let Some(answer) = soon(self.answers.message()).await? else { return Ok(None) };
        Ok(Some(answer.event.expect("an event says something")))
    }

    /// What the server says next; signs of life and interests are passed over.
    pub(crate) async fn said(&mut self) -> Result<Option<Event>, Status> {
        loop {
            match self.heard().await? {
                Some(Event::Heartbeat(_) | Event::Demand(_) | Event::KeyframeRequest(_) | Event::Skips(_)) => {}
                event => return Ok(event),
            }
        }
    }

    pub(crate) async fn event(&mut self) -> Event {
        self.said().await.expect("the stream goes on").expect("the stream goes on")
    }

    /// The position up to which everything is accepted, as acknowledged next.
    pub(crate) async fn acked(&mut self) -> shared::UpdatePosition {
        match self.event().await {
            Event::Ack(ack) => ack.channels[0].position.expect("an ack has a position"),
            other => panic!("an ack, not {other:?}"),
        }
    }

    /// Waits until everything up to this number is acknowledged.
    pub(crate) async fn acked_through(&mut self, publisher_sequence: u64) {
        loop {
            match self.event().await {
                Event::Ack(ack) if ack.channels[0].accepted_through >= publisher_sequence => return,
                Event::Ack(_) => {}
                other => panic!("an ack, not {other:?}"),
            }
        }
    }

    /// Publishes these, numbered from `first`, K for a keyframe, and waits until they
    /// are acknowledged.
    pub(crate) async fn run(&mut self, first: u64, updates: &str) {
        for (number, update) in (first..).zip(updates.chars()) {
            self.send(if update == 'K' { keyframe(number) } else { delta(number) }).await;
        }
        self.acked_through(first + updates.len() as u64 - 1).await;
    }

    /// The reason for the next rejection, and the number of what was rejected.
    pub(crate) async fn rejected(&mut self) -> (shared::RejectReason, u64) {
        match self.event().await {
            Event::Rejected(rejected) => (rejected.reason(), rejected.publisher_sequence),
            other => panic!("a rejection, not {other:?}"),
        }
    }

    /// Expects the goodbye, and answers with what follows it.
    pub(crate) async fn goodbye(&mut self, reason: shared::GoodbyeReason) -> Result<(), Status> {
        match self.event().await {
            Event::Goodbye(goodbye) => assert_eq!(goodbye.reason(), reason),
            other => panic!("a goodbye, not {other:?}"),
        }
        self.said().await.map(|event| assert_eq!(event, None, "nothing comes after the goodbye"))
    }

    /// Expects to lose the channel, and answers with the fault that follows.
    pub(crate) async fn lost(&mut self) -> Fault {
        match self.event().await {
            Event::Revoked(revoked) => assert_eq!(revoked.channel(), shared::UpdateChannel::Visual),
            other => panic!("a revocation, not {other:?}"),
        }
        let ended = self.goodbye(shared::GoodbyeReason::StaleTerm).await;
        Fault::of(&ended.expect_err("the stream ends with an error"))
    }

    /// Says nothing more, and waits for the end.
    pub(crate) async fn finish(mut self) -> Result<(), Status> {
        drop(self.outbox);
        loop {
            match soon(self.answers.message()).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(()),
                Err(status) => return Err(status),
            }
        }
    }
}

/// An open subscription to VISUAL. It keeps each delivery as the server encoded it.
#[derive(Debug)]
pub(crate) struct Subscriber {
    messages: Streaming<EncodedDeliveries>,
    ready: VecDeque<Bytes>,
    pub(crate) subscribed: shared::Subscribed,
}

impl Subscriber {
    pub(crate) async fn open(client: &Client, livestream_id: u64, node_id: u64) -> Self {
        let channels = vec![shared::UpdateChannel::Visual.into()];
        let request = pb::SubscribeUpdatesRequest { livestream_id, node_id, channels, ..Default::default() };
        Self::open_with(client, request).await
    }

    pub(crate) async fn open_with(client: &Client, request: pb::SubscribeUpdatesRequest) -> Self {
        let mut stub = Grpc::new(TokenChannel::new(client.channel.clone(), client.token().clone()));
        stub.ready().await.expect("it is connected");
        let path = PathAndQuery::from_static("/starling.livestream.v1.LivestreamService/SubscribeUpdates");
        let codec = ProstCodec::<_, EncodedDeliveries>::default();
        let messages = soon(stub.server_streaming(Request::new(request), path, codec)).await;
        let mut subscriber = Self {
            messages: messages.expect("it opens").into_inner(),
            ready: VecDeque::new(),
            subscribed: Default::default(),
        };
        subscriber.subscribed = match subscriber.item().await {
            Item::Subscribed(subscribed) => subscribed,
            other => panic!("subscribed comes first, not {other:?}"),
        };
        subscriber
    }

    /// The next item as it was encoded.
    pub(crate) async fn encoded(&mut self) -> Result<Option<Bytes>, Status> {
        while self.ready.is_empty() {
            match soon(self.messages.message()).await? {
                Some(message) => self.ready.extend(message.deliveries),
                None => return Ok(None),
            }
        }
        Ok(self.ready.pop_front())
    }

    /// The next item.
    pub(crate) async fn item(&mut self) -> Item {
        let bytes = self.encoded().await.expect("the stream goes on").expect("the stream goes on");
        let delivery = shared::Delivery::decode(bytes).expect("a delivery is well-formed");
        delivery.item.expect("a delivery delivers something")
    }

    /// The next update; heartbeats are passed over.
    pub(crate) async fn update(&mut self) -> shared::Update {
        loop {
            match self.item().await {
                Item::Update(update) => return update,
                Item::Heartbeat(_) => {}
                other => panic!("an update, not {other:?}"),
            }
        }
    }

    /// The places of the next updates: (term, sequence).
    pub(crate) async fn places(&mut self, count: usize) -> Vec<(u64, u64)> {
        let mut places = Vec::new();
        for _ in 0..count {
            let position = self.update().await.position.expect("an update has a position");
            places.push((position.term, position.sequence));
        }
        places
    }

    /// Expects the goodbye, and answers with what follows it.
    pub(crate) async fn goodbye(&mut self, reason: shared::GoodbyeReason) -> Result<(), Status> {
        loop {
            match self.item().await {
                Item::Goodbye(goodbye) => break assert_eq!(goodbye.reason(), reason),
                Item::Heartbeat(_) => {}
                other => panic!("a goodbye, not {other:?}"),
            }
        }
        self.encoded().await.map(|item| assert_eq!(item, None, "nothing comes after the goodbye"))
    }
}
