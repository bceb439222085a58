//! What was opened by a token ends with it.

use prost::Message as _;
use prost_reflect::{DynamicMessage, ReflectMessage, Value};
use starling::identity::Identity;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{self as shared, GoodbyeReason, UpdateChannel, UpdateDraft, delivery::Item};
use tonic::Code;

use super::fixture::{EVERY_RIGHT, LIVESTREAMS, NOW, THERE, World, methods, node, path, permission, request};
use crate::harness::Fault;
use crate::net::frames::framed;
use crate::net::rules::raw::{Exchange, Incoming};
use starling_core::channel::Channel;

/// For how long a token is good after the call that it comes with, in milliseconds: the server's wall clock stands.
const LEFT: u64 = 300;

pub(super) fn token_expired() -> Fault {
    Fault::new(Code::Unauthenticated, "TOKEN_EXPIRED")
}

/// Who may do everything here, and for how long, as node 1.
pub(super) fn until(expires_at: u64) -> Identity {
    let everywhere = permission(0..=u64::MAX, EVERY_RIGHT, &Channel::ALL);
    Identity { expires_at: Some(expires_at), ..node(1, vec![everywhere]) }
}

/// The goodbye in a message of a stream, if it has one.
fn goodbye(message: &DynamicMessage) -> Option<i32> {
    let reason = |goodbye: &Value| goodbye.as_message().unwrap().get_field_by_name("reason").unwrap().as_enum_number();
    let here = message.descriptor().get_field_by_name("goodbye").filter(|field| message.has_field(field));
    if let Some(field) = here {
        return reason(&message.get_field(&field));
    }
    let deliveries = message.get_field_by_name("deliveries")?;
    let last = deliveries.as_list()?.last()?.as_message()?.clone();
    goodbye(&last)
}

#[tokio::test]
async fn every_stream_ends_with_its_token() {
    let world = World::new().await;
    world.issue("passing", until(NOW + LEFT));
    let streams: Vec<_> = methods().into_iter().filter(prost_reflect::MethodDescriptor::is_server_streaming).collect();
    assert_eq!(streams.len(), 10);
    let mut open = Vec::new();
    for method in &streams {
        let mut exchange = world.begin("passing", &path(method)).await;
        // A publish stream stays open at its client's end.
        exchange.send(framed(&request(method, THERE, 1)), !method.is_client_streaming());
        open.push(exchange);
    }
    for (method, mut exchange) in streams.iter().zip(open) {
        let answer = exchange.answer().await;
        assert_eq!(answer.fault(), token_expired(), "{}", method.full_name());
        let last = answer.messages.last().expect("there is a goodbye").clone();
        let last = DynamicMessage::decode(method.output(), last).unwrap();
        assert_eq!(goodbye(&last), Some(GoodbyeReason::TokenExpired.into()), "{}: {last}", method.full_name());
    }
    // Those of others go on, and so does the session, for its lease.
    assert_eq!(world.call("viewer", &format!("{LIVESTREAMS}RenewLease"), &renewal(2)).await.status(), "0");
    assert_eq!(world.call("admin", &format!("{LIVESTREAMS}RenewLease"), &renewal(1)).await.status(), "0");
}

fn renewal(node_id: u64) -> pb::RenewLeaseRequest {
    pb::RenewLeaseRequest { livestream_id: THERE, node_id, session_id: 0 }
}

/// A VISUAL update; the first is a keyframe.
pub(super) fn update(publisher_sequence: u64) -> pb::PublishUpdatesRequest {
    let update = UpdateDraft {
        channel: UpdateChannel::Visual.into(),
        keyframe: publisher_sequence == 1,
        publisher_sequence,
        ..Default::default()
    };
    pb::PublishUpdatesRequest { message: Some(pb::publish_updates_request::Message::Update(update)) }
}

/// Opens a publish stream on VISUAL, and waits until it is open.
pub(super) async fn publish(world: &World, token: &str, session_id: u64) -> (Exchange, Incoming) {
    let channels = vec![UpdateChannel::Visual.into()];
    let open = pb::PublishOpen { livestream_id: THERE, session_id, channels, ..Default::default() };
    let open = pb::PublishUpdatesRequest { message: Some(pb::publish_updates_request::Message::Open(open)) };
    let mut exchange = world.begin(token, &format!("{LIVESTREAMS}PublishUpdates")).await;
    exchange.send(framed(&open), false);
    let mut incoming = exchange.answering().await;
    let opened = said(&mut incoming).await.expect("it opens");
    assert!(matches!(opened, pb::publish_updates_response::Event::Opened(_)), "{opened:?}");
    (exchange, incoming)
}

/// What a publish stream says next; signs of life and what subscribers want are passed over.
pub(crate) async fn said(incoming: &mut Incoming) -> Option<pb::publish_updates_response::Event> {
    use pb::publish_updates_response::Event;
    loop {
        let message = incoming.message().await?;
        match pb::PublishUpdatesResponse::decode(message).unwrap().event.unwrap() {
            Event::Heartbeat(_) | Event::Demand(_) | Event::KeyframeRequest(_) | Event::Skips(_) => {}
            event => return Some(event),
        }
    }
}

#[tokio::test]
async fn expiry_between_two_updates_stops_the_second() {
    use pb::publish_updates_response::Event;
    let world = World::new().await;
    world.issue("passing", until(NOW + LEFT));
    let (mut exchange, mut incoming) = publish(&world, "passing", 0).await;
    exchange.send(framed(&update(1)), false);
    let Some(Event::Ack(ack)) = said(&mut incoming).await else { panic!("the first is accepted") };
    assert_eq!(ack.channels[0].accepted_through, 1);
    let Some(Event::Goodbye(goodbye)) = said(&mut incoming).await else { panic!("the token expires") };
    assert_eq!(goodbye.reason(), GoodbyeReason::TokenExpired);
    let before = world.seen().await;
    exchange.send_if_open(framed(&update(2)));
    assert_eq!(incoming.whole().await.fault(), token_expired());
    assert!(before == world.seen().await, "the second changes nothing");
    // Neither does a new stream, by the clock of the wall.
    world.set_clock(NOW + LEFT);
    let refused = world.call("passing", &format!("{LIVESTREAMS}PublishUpdates"), &update(2)).await;
    assert_eq!(refused.fault(), token_expired());
}

#[tokio::test]
async fn token_that_expires_before_the_message_opens_nothing() {
    let world = World::new().await;
    world.issue("passing", until(NOW + LEFT));
    let before = world.seen().await;
    for method in methods().iter().filter(|method| method.name() != "GetServerInfo") {
        world.set_clock(NOW);
        let mut exchange = world.begin("passing", &path(method)).await;
        // Whoever is answered has been let in by then.
        world
            .done("admin", LIVESTREAMS, "GetStats", &pb::GetStatsRequest { livestream_id: THERE, ..Default::default() })
            .await;
        world.set_clock(NOW + LEFT);
        exchange.send(framed(&request(method, THERE, 1)), true);
        assert_eq!(exchange.answer().await.fault(), token_expired(), "{}", method.full_name());
    }
    assert!(before == world.seen().await, "no refused call changes anything");
}

/// What a subscription brings: its deliveries, to the goodbye.
struct Subscription {
    incoming: Incoming,
    places: Vec<u64>,
    gaps: usize,
    resume: shared::SubscriptionPosition,
}

impl Subscription {
    async fn open(
        world: &World,
        token: &str,
        session_id: u64,
        resume_from: Option<shared::SubscriptionPosition>,
    ) -> Self {
        let request = pb::SubscribeUpdatesRequest {
            livestream_id: THERE,
            session_id,
            channels: vec![UpdateChannel::Visual.into()],
            resume_from,
            ..Default::default()
        };
        let mut exchange = world.begin(token, &format!("{LIVESTREAMS}SubscribeUpdates")).await;
        exchange.send(framed(&request), true);
        let incoming = exchange.answering().await;
        let resume = shared::SubscriptionPosition::default();
        Self { incoming, places: Vec::new(), gaps: 0, resume }
    }

    /// Reads up to this update, or to the end; true at the update.
    async fn read_to(&mut self, sequence: u64) -> bool {
        while self.places.last().is_none_or(|last| *last < sequence) {
            let Some(message) = self.incoming.message().await else { return false };
            for delivery in pb::SubscribeUpdatesResponse::decode(message).unwrap().deliveries {
                match delivery.item.unwrap() {
                    Item::Subscribed(subscribed) => self.resume.epoch = subscribed.epoch,
                    Item::Update(update) => {
                        let position = update.position.unwrap();
                        self.places.push(position.sequence);
                        self.resume.positions = vec![position];
                    }
                    Item::Gap(_) => self.gaps += 1,
                    Item::Goodbye(goodbye) => assert_eq!(goodbye.reason(), GoodbyeReason::TokenExpired),
                    Item::Filter(_) | Item::Heartbeat(_) => {}
                }
            }
        }
        true
    }
}

#[tokio::test]
async fn subscription_goes_on_with_a_new_token() {
    let world = World::new().await;
    let join = pb::JoinLivestreamRequest { livestream_id: THERE, ..Default::default() };
    let joined = world.done("viewer", LIVESTREAMS, "JoinLivestream", &join).await;
    let session = pb::JoinLivestreamResponse::decode(joined).unwrap().session_id;
    let passing = Identity { expires_at: Some(NOW + LEFT), ..super::fixture::viewer(2) };
    world.issue("first", passing);
    let (mut exchange, mut incoming) = publish(&world, "owner", 0).await;
    let mut subscription = Subscription::open(&world, "first", session, None).await;
    let mut sent = 0;
    let mut publish_one = async || {
        sent += 1;
        exchange.send(framed(&update(sent)), false);
        assert!(said(&mut incoming).await.is_some(), "it is acknowledged");
        sent
    };
    // Until the token is over in the middle of it.
    loop {
        let last = publish_one().await;
        if !subscription.read_to(last).await {
            break;
        }
    }
    assert_eq!(subscription.gaps, 0);
    let mut places = subscription.places.clone();
    let resume = subscription.resume.clone();
    assert_eq!(subscription.incoming.whole().await.fault(), token_expired());
    let mut last = 0;
    for _ in 0..10 {
        last = publish_one().await;
    }
    let mut again = Subscription::open(&world, "viewer", session, Some(resume)).await;
    assert!(again.read_to(last).await);
    places.extend(again.places);
    assert_eq!((places, again.gaps), ((1..=last).collect(), 0), "nothing is lost and nothing comes twice");
}
