//! Signed updates, as the client publishes and verifies them: over a wire that is cut, and from a
//! server that lies.

use std::sync::Arc;
use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{self as shared, UpdateChannel, UpdateDraft, delivery::Item};
use starling_client::{
    Client, Error, Forgery, PublishEvent, PublishOptions, Publisher, Retry, SigningKey, SubscribeOptions, Subscriber,
    SubscriptionEvent, SwarmRef, Trust,
};
use starling_signing::{SignedUpdate, SwarmTag};
use tonic::Status;

use crate::edge::identity::refusal::{Refusal, Row};
use crate::edge::scripted::{Script, Scripted, Wire};
use crate::edge::signatures::{key, signed_on_air};
use crate::edge::updates::keyframe;
use crate::harness::soon;

const EPOCH: u64 = 9;
const SESSION: u64 = 20;
/// Waits next to nothing.
const RETRY: Retry =
    Retry { first: Duration::from_millis(1), longest: Duration::from_millis(1), patience: Duration::from_secs(30) };

fn delivery(item: Item) -> shared::Delivery {
    shared::Delivery { item: Some(item) }
}

fn subscribed() -> shared::Delivery {
    delivery(Item::Subscribed(shared::Subscribed { epoch: EPOCH, ..Default::default() }))
}

fn goodbye() -> shared::Delivery {
    let reason = shared::GoodbyeReason::Ended.into();
    delivery(Item::Goodbye(shared::Goodbye { reason, retry_after: None }))
}

/// What a livestream on air says of itself.
fn shown(key: &SigningKey) -> pb::Livestream {
    pb::Livestream {
        livestream_id: 7,
        epoch: EPOCH,
        broadcaster_node_id: key.public_key().node_id(),
        broadcaster_public_key: key.public_key().bytes().to_vec().into(),
        ..Default::default()
    }
}

/// An update as its broadcaster published it.
fn update(key: &SigningKey, session_id: u64, number: u64) -> shared::Update {
    let source_node_id = key.public_key().node_id();
    let channel = UpdateChannel::Visual.into();
    let draft = keyframe(number);
    let signature = key.sign(&SignedUpdate {
        kind: SwarmTag::Livestream,
        swarm: 7,
        epoch: EPOCH,
        session: session_id,
        source: source_node_id,
        channel: 1,
        track: 0,
        publisher_sequence: number,
        publish_time: None,
        urgent: false,
        keyframe: true,
        temporal_layer: 0,
        payload: &draft.payload,
    });
    shared::Update {
        position: Some(shared::UpdatePosition { source_node_id, channel, term: 2, sequence: number, track: 0 }),
        payload: draft.payload,
        keyframe: true,
        session_id,
        publisher_sequence: number,
        signature: signature.to_vec().into(),
        ..Default::default()
    }
}

/// What is handed out of this script, by its numbers, and how it ends.
async fn handed_out(
    trust: Trust,
    livestreams: Vec<pb::Livestream>,
    scripts: Vec<Script>,
) -> (Vec<u64>, Result<(), Error>) {
    let server = Scripted::showing(livestreams, scripts).await;
    let client = Client::connect(&server.url()).await.unwrap();
    let options = SubscribeOptions { trust, retry: RETRY, ..SubscribeOptions::new(SwarmRef::Livestream(7), 2, 5) };
    let mut subscriber = match soon(Subscriber::open(client, options)).await {
        Ok(subscriber) => subscriber,
        Err(error) => return (Vec::new(), Err(error)),
    };
    let mut numbers = Vec::new();
    loop {
        match soon(subscriber.next()).await {
            Ok(Some(SubscriptionEvent::Item(Item::Update(update)))) => numbers.push(update.position.unwrap().sequence),
            Ok(Some(_)) => {}
            Ok(None) => return (numbers, Ok(())),
            Err(error) => {
                let after = soon(subscriber.next()).await;
                assert!(matches!(after, Ok(None)), "nothing comes after a forgery: {after:?}");
                return (numbers, Err(error));
            }
        }
    }
}

fn script(updates: Vec<shared::Update>) -> Script {
    let updates = updates.into_iter().map(|update| delivery(Item::Update(update)));
    (std::iter::once(subscribed()).chain(updates).chain([goodbye()]).collect(), Ok(()))
}

fn forgery(outcome: (Vec<u64>, Result<(), Error>)) -> (Vec<u64>, Forgery) {
    match outcome {
        (numbers, Err(Error::Forged { why, .. })) => (numbers, why),
        other => panic!("a forgery, not {other:?}"),
    }
}

/// What a server or a relay between does to the updates of a broadcaster with this key: what it is, what it hands on,
/// how many of that a subscriber gets, and what it finds then.
fn forged(key: &SigningKey) -> Vec<(&'static str, Vec<shared::Update>, usize, Forgery)> {
    let genuine = |number| update(key, SESSION, number);
    let altered = shared::Update { payload: b"another".as_slice().into(), ..genuine(2) };
    let stripped = shared::Update { signature: Default::default(), ..genuine(2) };
    let nowhere = shared::Update { position: None, ..genuine(2) };
    let stranger = self::key(3);
    let unknown = Forgery::UnknownSource(stranger.public_key().node_id());
    vec![
        ("an update is altered on its way", vec![genuine(1), altered, genuine(3)], 1, Forgery::BadSignature),
        ("a signature is taken off", vec![genuine(1), stripped], 1, Forgery::Unsigned),
        ("a position is taken off", vec![genuine(1), nowhere], 1, Forgery::Nowhere),
        (
            "an update is replayed",
            vec![genuine(1), genuine(2), genuine(2)],
            2,
            Forgery::OutOfOrder { number: 2, last: 2 },
        ),
        (
            "updates are reordered",
            vec![genuine(1), genuine(3), genuine(2)],
            2,
            Forgery::OutOfOrder { number: 2, last: 3 },
        ),
        (
            "an update of a replaced session comes again",
            vec![genuine(1), update(key, 21, 2), genuine(3)],
            2,
            Forgery::ReplacedSession(SESSION),
        ),
        ("a stranger's update is put in", vec![genuine(1), update(&stranger, SESSION, 2)], 1, unknown),
    ]
}

const REPLAY_AFTER_A_CUT: Row =
    Row { attack: "an update is replayed after a cut", refusal: Refusal::Forgery("OutOfOrder") };
const ANOTHER_BROADCASTER: Row = Row {
    attack: "a server names another broadcaster than the pinned one",
    refusal: Refusal::Forgery("UnknownSource"),
};
const ANOTHERS_KEY: Row =
    Row { attack: "a server shows a key that is not its broadcaster's", refusal: Refusal::Forgery("BadKey") };

/// The name of a variant.
fn kind(forgery: &Forgery) -> &'static str {
    match forgery {
        Forgery::Nowhere => "Nowhere",
        Forgery::Unsigned => "Unsigned",
        Forgery::UnknownSource(_) => "UnknownSource",
        Forgery::BadSignature => "BadSignature",
        Forgery::OutOfOrder { .. } => "OutOfOrder",
        Forgery::ReplacedSession(_) => "ReplacedSession",
        Forgery::BadKey => "BadKey",
    }
}

pub(crate) fn relay_rows() -> Vec<Row> {
    let forged = forged(&key(1));
    forged.into_iter().map(|(attack, .., found)| Row { attack, refusal: Refusal::Forgery(kind(&found)) }).collect()
}

pub(crate) fn replay_rows() -> Vec<Row> {
    vec![REPLAY_AFTER_A_CUT]
}

pub(crate) fn pinned_rows() -> Vec<Row> {
    vec![ANOTHER_BROADCASTER, ANOTHERS_KEY]
}

#[tokio::test]
async fn forging_relay_is_found_out() {
    let key = key(1);
    let genuine = |number| update(&key, SESSION, number);
    let with = |updates: Vec<shared::Update>| handed_out(Trust::Server, vec![shown(&key)], vec![script(updates)]);
    let (numbers, end) = with(vec![genuine(1), genuine(2), update(&key, 21, 1)]).await;
    end.expect("what was published is no forgery");
    assert_eq!(numbers, [1, 2, 1]);
    for (attack, updates, before, found) in forged(&key) {
        let genuine: Vec<_> = updates[..before].iter().map(|update| update.position.unwrap().sequence).collect();
        assert_eq!(forgery(with(updates).await), (genuine, found), "{attack}");
    }
}

#[tokio::test]
async fn replay_after_a_cut_is_found_out() {
    let key = key(1);
    let first = (vec![subscribed(), delivery(Item::Update(update(&key, SESSION, 4)))], Err(Status::unavailable("cut")));
    let replayed = script(vec![update(&key, SESSION, 3)]);
    let outcome = handed_out(Trust::Server, vec![shown(&key)], vec![first, replayed]).await;
    let found = Forgery::OutOfOrder { number: 3, last: 4 };
    assert_eq!(Refusal::Forgery(kind(&found)), REPLAY_AFTER_A_CUT.refusal);
    assert_eq!(forgery(outcome), (vec![4], found));
}

#[tokio::test]
async fn pinned_key_is_stronger_than_the_server() {
    let (key, liar) = (key(1), key(2));
    let pinned = || Trust::Pinned(vec![key.public_key().clone()]);
    // A server that says that there is another broadcaster, or none who signs.
    for said in [shown(&liar), pb::Livestream { broadcaster_public_key: Default::default(), ..shown(&key) }] {
        let forged = handed_out(pinned(), vec![said.clone()], vec![script(vec![update(&liar, SESSION, 1)])]).await;
        let (numbers, found) = forgery(forged);
        assert_eq!(Refusal::Forgery(kind(&found)), ANOTHER_BROADCASTER.refusal);
        assert_eq!((numbers, found), (vec![], Forgery::UnknownSource(liar.public_key().node_id())));
        let bare = shared::Update { signature: Default::default(), ..update(&key, SESSION, 1) };
        let forged = handed_out(pinned(), vec![said.clone()], vec![script(vec![bare])]).await;
        assert_eq!(forgery(forged), (vec![], Forgery::Unsigned));
        let (numbers, end) = handed_out(pinned(), vec![said], vec![script(vec![update(&key, SESSION, 1)])]).await;
        end.expect("what the pinned key signed is handed out");
        assert_eq!(numbers, [1]);
    }
    let foreign = pb::Livestream { broadcaster_node_id: 1, ..shown(&key) };
    let refused = handed_out(Trust::Server, vec![foreign], vec![script(vec![])]).await;
    let (numbers, found) = forgery(refused);
    assert_eq!((numbers, Refusal::Forgery(kind(&found))), (vec![], ANOTHERS_KEY.refusal));
}

#[tokio::test]
async fn the_next_broadcasters_key_is_asked_for() {
    let (first, second) = (key(1), key(2));
    let updates = vec![update(&first, SESSION, 1), update(&second, 21, 1), update(&second, 21, 2)];
    let livestreams = vec![shown(&first), shown(&second)];
    let (numbers, end) = handed_out(Trust::Server, livestreams, vec![script(updates.clone())]).await;
    end.expect("a transfer is no forgery");
    assert_eq!(numbers, [1, 1, 2]);
    // Who does not want to be asked about says so.
    let bare = updates.into_iter().map(|update| shared::Update { signature: Default::default(), ..update }).collect();
    let (numbers, end) = handed_out(Trust::Nobody, vec![shown(&first)], vec![script(bare)]).await;
    end.expect("nothing is verified");
    assert_eq!(numbers, [1, 1, 2]);
}

async fn accepted(publisher: &mut Publisher) {
    while publisher.unacknowledged() > 0 {
        match soon(publisher.next()).await.unwrap() {
            Some(PublishEvent::Rejected(rejected)) => panic!("{rejected:?}"),
            Some(_) => {}
            None => panic!("it ended"),
        }
    }
}

/// The payloads of the updates to come.
async fn payloads(subscriber: &mut Subscriber, count: usize) -> Vec<bytes::Bytes> {
    let mut payloads = Vec::new();
    while payloads.len() < count {
        if let Some(SubscriptionEvent::Item(Item::Update(update))) = soon(subscriber.next()).await.unwrap() {
            payloads.push(update.payload);
        }
    }
    payloads
}

#[tokio::test]
async fn signed_updates_survive_cuts_and_new_sessions() {
    let key = Arc::new(key(1));
    let node = key.public_key().node_id();
    let (server, client) = signed_on_air(&key).await;
    let wire = Wire::to(server.address()).await;
    let through = Client::connect(&wire.url()).await.unwrap();
    let viewing = SubscribeOptions {
        trust: Trust::Pinned(vec![key.public_key().clone()]),
        retry: RETRY,
        ..SubscribeOptions::new(SwarmRef::Livestream(7), 2, 0)
    };
    let mut pinning = soon(Subscriber::open(client.clone(), viewing.clone())).await.unwrap();
    let asking = SubscribeOptions { trust: Trust::Server, ..viewing };
    let mut asking = soon(Subscriber::open(through.clone(), asking)).await.unwrap();
    let join = pb::JoinLivestreamRequest { livestream_id: 7, node_id: node, ..Default::default() };
    let publication = PublishOptions {
        signing_key: Some(Arc::clone(&key)),
        join: Some(starling_client::Join::Livestream(join)),
        retry: RETRY,
        ..PublishOptions::new(SwarmRef::Livestream(7), node, vec![UpdateChannel::Visual, UpdateChannel::Chat])
    };
    let mut publisher = soon(Publisher::open(through, publication)).await.unwrap();
    let send = |publisher: &mut Publisher, number| {
        publisher.send(UpdateDraft { publisher_sequence: 0, ..keyframe(number) }).unwrap();
    };
    send(&mut publisher, 1);
    publisher.send(UpdateDraft { channel: UpdateChannel::Chat.into(), ..UpdateDraft::default() }).unwrap();
    accepted(&mut publisher).await;
    for subscriber in [&mut pinning, &mut asking] {
        let mut got = payloads(subscriber, 2).await;
        got.retain(|payload| !payload.is_empty());
        assert_eq!(got, [keyframe(1).payload], "beside the message to the chat");
    }

    // What is sent during a cut is signed anew when the stream is open again, for the session of then.
    wire.stop().await;
    let cut = loop {
        match soon(publisher.next()).await.unwrap() {
            Some(PublishEvent::Cut(why)) => break why,
            other => assert!(other.is_some(), "a cut comes"),
        }
    };
    assert!(!matches!(cut, Error::StaleTerm));
    let before = publisher.session_id();
    send(&mut publisher, 2);
    let leave = pb::LeaveLivestreamRequest { livestream_id: 7, node_id: node, ..Default::default() };
    client.livestreams.clone().leave_livestream(leave).await.unwrap();
    wire.go_on();
    accepted(&mut publisher).await;
    assert_ne!(publisher.session_id(), before);
    send(&mut publisher, 3);
    accepted(&mut publisher).await;
    let sent = [2, 3].map(|number| keyframe(number).payload);
    for subscriber in [&mut pinning, &mut asking] {
        assert_eq!(payloads(subscriber, 2).await, sent);
    }
}
