//! Signed updates, as the server takes them.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_event::Change;
use starling_client::pb::swarm::v1::{RejectReason, UpdateChannel, UpdateDraft};
use starling_client::{Client, PublicKey, SigningKey, SwarmRef};
use starling_signing::{SignedUpdate, SwarmTag};
use tonic::Code::{AlreadyExists, FailedPrecondition, PermissionDenied};

use crate::edge::identity::refusal::{Refusal, Row};
use crate::edge::updates::{Publisher, Subscriber, delta, keyframe, opening, publish_one};
use crate::edge::world::{answered, everything, go_live, join_group, join_livestream, livestream, make_group};
use crate::harness::{Fault, Server, fault, soon};

const VIEWER: u64 = 2;
/// A point of small order.
const WEAK: [u8; 32] = [0; 32];

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn create(key: &PublicKey) -> pb::CreateLivestreamRequest {
    pb::CreateLivestreamRequest {
        livestream_id: 7,
        broadcaster_public_key: key.bytes().to_vec().into(),
        ..Default::default()
    }
}

/// Livestream 7 on air, whose broadcaster has this key, and a viewer.
pub(crate) async fn signed_on_air(key: &SigningKey) -> (Server, Client) {
    let server = Server::start().await;
    let client = server.client().await;
    let mut livestreams = client.livestreams.clone();
    answered(livestreams.create_livestream(create(key.public_key())).await);
    let node_id = key.public_key().node_id();
    let start = pb::StartLivestreamRequest { livestream_id: 7, node_id, ..Default::default() };
    answered(livestreams.start_livestream(start).await);
    join_livestream(&client, 7, VIEWER).await;
    (server, client)
}

/// What an update is signed for.
#[derive(Clone, Copy, Debug)]
struct Place {
    swarm: u64,
    epoch: u64,
    session: u64,
    source: u64,
}

impl Place {
    fn of(publisher: &Publisher, key: &SigningKey) -> Self {
        let (epoch, session) = (publisher.opened.epoch, publisher.opened.session_id);
        Self { swarm: 7, epoch, session, source: key.public_key().node_id() }
    }

    fn sign(self, key: &SigningKey, draft: UpdateDraft) -> UpdateDraft {
        let signature = key.sign(&SignedUpdate {
            kind: SwarmTag::Livestream,
            swarm: self.swarm,
            epoch: self.epoch,
            session: self.session,
            source: self.source,
            channel: draft.channel.unsigned_abs(),
            track: draft.track,
            publisher_sequence: draft.publisher_sequence,
            publish_time: draft.publish_time.map(|time| (time.seconds, time.nanos)),
            urgent: draft.urgent,
            keyframe: draft.keyframe,
            temporal_layer: draft.temporal_layer,
            payload: &draft.payload,
        });
        UpdateDraft { signature: signature.to_vec().into(), ..draft }
    }
}

fn timed(publisher_sequence: u64) -> UpdateDraft {
    let publish_time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 5 });
    UpdateDraft { publish_time, temporal_layer: 1, ..keyframe(publisher_sequence) }
}

/// What is altered, and how.
type Altered = (&'static str, fn(&mut UpdateDraft));

/// What was signed as `genuine`, and then altered, and for which the signature does not hold.
fn forgeries(key: &SigningKey, at: Place, genuine: &UpdateDraft) -> Vec<(&'static str, UpdateDraft)> {
    let altered: [Altered; 9] = [
        ("another payload", |draft| draft.payload = b"another".as_slice().into()),
        ("no payload", |draft| draft.payload.clear()),
        ("no keyframe any more", |draft| draft.keyframe = false),
        ("another temporal_layer", |draft| draft.temporal_layer = 2),
        ("made urgent", |draft| draft.urgent = true),
        ("no publish_time", |draft| draft.publish_time = None),
        ("another publish_time", |draft| {
            draft.publish_time = Some(prost_types::Timestamp { seconds: 1_700_000_000, nanos: 6 })
        }),
        ("another publisher_sequence", |draft| draft.publisher_sequence += 1),
        ("another signature", |draft| draft.signature = vec![1; 64].into()),
    ];
    let mut forgeries: Vec<_> = altered
        .into_iter()
        .map(|(what, alter)| {
            let mut draft = at.sign(key, genuine.clone());
            alter(&mut draft);
            (what, draft)
        })
        .collect();
    let elsewhere = [
        ("signed for another swarm", Place { swarm: 8, ..at }),
        ("signed for another epoch", Place { epoch: at.epoch + 1, ..at }),
        ("signed for another session", Place { session: at.session + 1, ..at }),
        ("signed for another source", Place { source: VIEWER, ..at }),
    ];
    forgeries.extend(elsewhere.map(|(what, place)| (what, place.sign(key, genuine.clone()))));
    forgeries.push(("signed by another key", at.sign(&self::key(99), genuine.clone())));
    let channel = UpdateChannel::Data.into();
    let moved = at.sign(key, UpdateDraft { channel, temporal_layer: 0, ..genuine.clone() });
    forgeries.push(("moved to another channel", UpdateDraft { channel: genuine.channel, ..moved }));
    forgeries
}

/// What comes of a forgery on a publish stream, and of one that comes by itself.
const ON_A_STREAM: Refusal = Refusal::Rejected(RejectReason::BadSignature);
const ALONE: Refusal = Refusal::Status(PermissionDenied, "BAD_SIGNATURE");
const UNSIGNED_ON_A_STREAM: Row = Row { attack: "not signed", refusal: Refusal::Rejected(RejectReason::Unsigned) };
const UNSIGNED_ALONE: Row = Row { attack: "not signed", refusal: Refusal::Status(PermissionDenied, "UNSIGNED") };
const OLD_SESSION: Row = Row { attack: "signed for the session before", refusal: ALONE };

fn rows(refusal: Refusal) -> Vec<Row> {
    let at = Place { swarm: 7, epoch: 8, session: 9, source: 10 };
    forgeries(&key(1), at, &timed(1)).into_iter().map(|(attack, _)| Row { attack, refusal }).collect()
}

pub(crate) fn stream_rows() -> Vec<Row> {
    [rows(ON_A_STREAM), vec![UNSIGNED_ON_A_STREAM]].concat()
}

pub(crate) fn alone_rows() -> Vec<Row> {
    [rows(ALONE), vec![UNSIGNED_ALONE, OLD_SESSION]].concat()
}

#[tokio::test]
async fn key_is_checked_before_the_livestream_is_made() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let key = key(1);
    let node = key.public_key().node_id();
    let with = |broadcaster_public_key: &[u8]| pb::CreateLivestreamRequest {
        broadcaster_public_key: broadcaster_public_key.to_vec().into(),
        ..create(key.public_key())
    };
    let own = key.public_key().bytes();
    let refused = [
        with(&own[..31]),
        with(&[&own[..], &[0]].concat()),
        with(&[2; 32]),
        with(&WEAK),
        pb::CreateLivestreamRequest { broadcaster_node_id: node + 1, ..with(&own) },
        pb::CreateLivestreamRequest { node_id: 1, ..with(&own) },
    ];
    for request in refused {
        let found = fault(client.livestreams.create_livestream(request.clone()).await);
        assert_eq!(found, Fault::field("broadcaster_public_key"), "{request:?}");
    }
    assert_eq!(everything(&client).await, "");

    let made = answered(client.livestreams.create_livestream(create(key.public_key())).await);
    let shown = made.livestream.unwrap();
    assert!(made.created);
    assert_eq!((shown.broadcaster_node_id, &shown.broadcaster_public_key[..]), (node, &own[..]));
    let again = pb::CreateLivestreamRequest { node_id: 1, broadcaster_node_id: node, ..create(key.public_key()) };
    assert!(!answered(client.livestreams.create_livestream(again).await).created);
    let unsigned = pb::CreateLivestreamRequest { livestream_id: 7, node_id: node, ..Default::default() };
    for other in [unsigned, create(self::key(2).public_key())] {
        assert_eq!(fault(client.livestreams.create_livestream(other).await), Fault::new(AlreadyExists, "SWARM_EXISTS"));
    }
    assert_eq!(livestream(&client, 7).await, shown);
}

#[tokio::test]
async fn an_update_arrives_with_its_signature() {
    let key = key(1);
    let (_server, client) = signed_on_air(&key).await;
    let node = key.public_key().node_id();
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let publisher = Publisher::open_with(&client, pb::PublishOpen { temporal_layers: 4, ..opening(7, node) }).await;
    let at = Place::of(&publisher, &key);
    let sent = at.sign(&key, timed(40));
    publisher.send(sent.clone()).await;
    let got = viewer.update().await;
    assert_eq!((got.session_id, got.publisher_sequence, &got.signature), (at.session, 40, &sent.signature));
    let handed_on = UpdateDraft {
        channel: got.position.unwrap().channel,
        payload: got.payload,
        keyframe: got.keyframe,
        temporal_layer: got.temporal_layer,
        publisher_sequence: got.publisher_sequence,
        publish_time: got.publish_time,
        urgent: got.urgent,
        track: got.position.unwrap().track,
        signature: got.signature,
    };
    assert_eq!(handed_on, sent, "all that is signed is handed on unchanged");
}

#[tokio::test]
async fn forged_updates_on_a_stream_leave_no_trace() {
    let key = key(1);
    let (_server, client) = signed_on_air(&key).await;
    let node = key.public_key().node_id();
    let mut publisher = Publisher::open_with(&client, pb::PublishOpen { temporal_layers: 4, ..opening(7, node) }).await;
    let at = Place::of(&publisher, &key);
    let mut number = 1;
    for (sequence, round) in (1..).zip(0..forgeries(&key, at, &timed(1)).len()) {
        let genuine = timed(number);
        let (what, forged) = forgeries(&key, at, &genuine).swap_remove(round);
        publisher.send(forged.clone()).await;
        let (reason, number_of) = publisher.rejected().await;
        assert_eq!((Refusal::Rejected(reason), number_of), (ON_A_STREAM, forged.publisher_sequence), "{what}");
        publisher.send(genuine.clone()).await;
        let (reason, number_of) = publisher.rejected().await;
        assert_eq!((Refusal::Rejected(reason), number_of), (UNSIGNED_ON_A_STREAM.refusal, number), "{what}");
        let uncounted = UpdateDraft { publisher_sequence: 0, ..genuine.clone() };
        publisher.send(uncounted).await;
        assert_eq!(publisher.rejected().await, (RejectReason::Unsigned, 0), "{what}");
        publisher.send(at.sign(&key, genuine)).await;
        assert_eq!(publisher.acked().await.sequence, sequence, "{what}: the number is still free");
        number += 1;
    }
    // What was accepted before is a repeat, and no second update.
    publisher.send(at.sign(&key, timed(1))).await;
    publisher.acked_through(number - 1).await;
}

#[tokio::test]
async fn forged_updates_by_themselves_leave_no_trace() {
    let key = key(1);
    let (_server, client) = signed_on_air(&key).await;
    let node = key.public_key().node_id();
    let one = |draft| publish_one(&client, SwarmRef::Livestream(7), node, 0, draft);
    // Nobody can have signed for a session that publishing would make.
    assert_eq!(fault(one(keyframe(1)).await), Fault::new(FailedPrecondition, "NOT_A_MEMBER"));
    assert!(!livestream(&client, 7).await.broadcaster_present);
    let session = join_livestream(&client, 7, node).await;
    let at = Place { swarm: 7, epoch: livestream(&client, 7).await.epoch, session, source: node };
    let before = everything(&client).await;
    for (what, forged) in forgeries(&key, at, &timed(1)) {
        assert_eq!(fault(one(forged).await), ALONE.fault(), "{what}");
    }
    assert_eq!(fault(one(timed(1)).await), UNSIGNED_ALONE.refusal.fault());
    assert_eq!(everything(&client).await, before, "no term was granted, nothing was counted");
    let receipt = one(at.sign(&key, timed(1))).await.unwrap();
    assert_eq!((receipt.position.unwrap().sequence, receipt.duplicate), (1, false));
    assert!(one(at.sign(&key, timed(1))).await.unwrap().duplicate);

    // Another session: what was signed for the one before is over.
    let session = join_livestream(&client, 7, node).await;
    assert_eq!(fault(one(at.sign(&key, timed(2))).await), OLD_SESSION.refusal.fault());
    one(Place { session, ..at }.sign(&key, timed(2))).await.unwrap();
}

#[tokio::test]
async fn malformed_signature_is_refused_by_its_field() {
    let key = key(1);
    let (_server, client) = signed_on_air(&key).await;
    let node = key.public_key().node_id();
    let cases = [
        ("update.signature", UpdateDraft { signature: vec![1; 63].into(), ..keyframe(1) }),
        ("update.signature", UpdateDraft { signature: vec![1; 65].into(), ..keyframe(1) }),
        ("update.publisher_sequence", UpdateDraft { signature: vec![1; 64].into(), ..keyframe(0) }),
    ];
    for (field, draft) in cases {
        let alone = publish_one(&client, SwarmRef::Livestream(7), node, 0, draft.clone()).await;
        assert_eq!(fault(alone), Fault::field(field));
        let mut publisher = Publisher::open(&client, 7, node).await;
        publisher.send(draft).await;
        assert_eq!(Fault::of(&publisher.said().await.unwrap_err()), Fault::field(field));
    }
}

#[tokio::test]
async fn what_has_no_key_takes_no_signature() {
    let key = key(1);
    let (_server, client) = signed_on_air(&key).await;
    let bad = Fault::new(PermissionDenied, "BAD_SIGNATURE");
    let chat = || UpdateDraft { channel: UpdateChannel::Chat.into(), ..delta(1) };
    let at = Place { swarm: 7, epoch: livestream(&client, 7).await.epoch, session: 1, source: VIEWER };
    let write = |draft| publish_one(&client, SwarmRef::Livestream(7), VIEWER, 0, draft);
    assert_eq!(fault(write(at.sign(&key, chat())).await), bad);
    write(chat()).await.expect("the chat has many authors and no key");

    go_live(&client, 8).await;
    let unkeyed = publish_one(&client, SwarmRef::Livestream(8), 1, 0, at.sign(&key, keyframe(1))).await;
    assert_eq!(fault(unkeyed), bad);
    let mut publisher = Publisher::open(&client, 8, 1).await;
    publisher.send(at.sign(&key, keyframe(1))).await;
    assert_eq!(publisher.rejected().await, (RejectReason::BadSignature, 1));
    publisher.send(keyframe(1)).await;
    publisher.acked_through(1).await;

    make_group(&client, 9, 4).await;
    join_group(&client, 9, 1).await;
    assert_eq!(fault(publish_one(&client, SwarmRef::Group(9), 1, 0, at.sign(&key, keyframe(1))).await), bad);
}

#[tokio::test]
async fn a_transfer_hands_over_to_the_next_key() {
    let (first, second) = (key(1), key(2));
    let (_server, client) = signed_on_air(&first).await;
    let [node_id, viewer_node_id] = [&first, &second].map(|key| key.public_key().node_id());
    join_livestream(&client, 7, viewer_node_id).await;
    let mut old = Publisher::open(&client, 7, node_id).await;
    let mut livestreams = client.livestreams.clone();
    let watch = pb::WatchLivestreamRequest { livestream_id: 7, ..Default::default() };
    let mut watch = answered(livestreams.watch_livestream(watch).await);
    let transfer = |key: &[u8]| pb::TransferBroadcastRequest {
        livestream_id: 7,
        node_id,
        viewer_node_id,
        broadcaster_public_key: key.to_vec().into(),
        ..Default::default()
    };
    let before = everything(&client).await;
    let none = fault(livestreams.transfer_broadcast(transfer(&[])).await);
    assert_eq!(none, Fault::new(FailedPrecondition, "KEY_REQUIRED"));
    for wrong in [&first.public_key().bytes()[..], &WEAK, &[1; 31]] {
        let refused = fault(livestreams.transfer_broadcast(transfer(wrong)).await);
        assert_eq!(refused, Fault::field("broadcaster_public_key"));
    }
    assert_eq!(everything(&client).await, before);

    let own = second.public_key().bytes();
    let shown = answered(livestreams.transfer_broadcast(transfer(&own)).await).livestream.unwrap();
    assert_eq!((shown.broadcaster_node_id, &shown.broadcaster_public_key[..]), (viewer_node_id, &own[..]));
    assert_eq!(old.lost().await, Fault::new(FailedPrecondition, "STALE_TERM"));
    let told = loop {
        let message = soon(watch.message()).await.unwrap().unwrap();
        let Some(pb::watch_livestream_response::Event::Batch(batch)) = message.event else { continue };
        let found = batch.events.into_iter().find_map(|event| match event.change {
            Some(Change::BroadcastTransferred(transferred)) => Some(transferred),
            _ => None,
        });
        if let Some(found) = found {
            break found;
        }
    };
    assert_eq!((told.to_node_id, &told.broadcaster_public_key[..]), (viewer_node_id, &own[..]));

    let mut publisher = Publisher::open(&client, 7, viewer_node_id).await;
    let at = Place::of(&publisher, &second);
    publisher.send(at.sign(&first, keyframe(1))).await;
    assert_eq!(publisher.rejected().await, (RejectReason::BadSignature, 1), "the old key is over");
    publisher.send(at.sign(&second, keyframe(1))).await;
    publisher.acked_through(1).await;

    go_live(&client, 8).await;
    join_livestream(&client, 8, viewer_node_id).await;
    let unkeyed = pb::TransferBroadcastRequest { livestream_id: 8, node_id: 1, ..transfer(&own) };
    let refused = fault(livestreams.transfer_broadcast(unkeyed).await);
    assert_eq!(refused, Fault::new(FailedPrecondition, "KEY_NOT_EXPECTED"));
}
