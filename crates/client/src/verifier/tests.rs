use starling_signing::SigningKey;

use super::*;
use crate::pb::swarm::v1::{Subscribed, UpdatePosition};

const LIVESTREAM: u64 = 7;
const EPOCH: u64 = 8;
const SESSION: u64 = 9;
const VISUAL: i32 = 1;
const AUDIO: i32 = 2;

/// What was altered, how, and what it is found to be.
type Altered = (&'static str, fn(&mut Update), Forgery);

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32]).unwrap()
}

fn shown(key: Option<&SigningKey>, epoch: u64) -> Livestream {
    Livestream {
        livestream_id: LIVESTREAM,
        epoch,
        broadcaster_node_id: key.map_or(1, |key| key.public_key().node_id()),
        broadcaster_public_key: key.map_or_else(Default::default, |key| key.public_key().bytes().to_vec().into()),
        ..Default::default()
    }
}

fn signed(key: &SigningKey, epoch: u64, session_id: u64, channel: i32, number: u64) -> Update {
    let source = key.public_key().node_id();
    let mut update = Update {
        position: Some(UpdatePosition { source_node_id: source, channel, term: 2, sequence: number, track: 0 }),
        payload: b"hello".as_slice().into(),
        keyframe: true,
        temporal_layer: 3,
        publish_time: Some(prost_types::Timestamp { seconds: 5, nanos: 6 }),
        urgent: true,
        session_id,
        publisher_sequence: number,
        ..Default::default()
    };
    let signature = key.sign(&SignedUpdate {
        kind: SwarmTag::Livestream,
        swarm: LIVESTREAM,
        epoch,
        session: session_id,
        source,
        channel: channel.unsigned_abs(),
        track: 0,
        publisher_sequence: number,
        publish_time: Some((5, 6)),
        urgent: true,
        keyframe: true,
        temporal_layer: 3,
        payload: b"hello",
    });
    update.signature = signature.to_vec().into();
    update
}

fn begin(verifier: &mut Verifier, epoch: u64) -> Judgement {
    verifier.judge(&Item::Subscribed(Subscribed { epoch, ..Default::default() })).unwrap()
}

/// One that knows the key, and has subscribed.
fn verifier(key: &SigningKey) -> Verifier {
    let mut verifier = Verifier::new(SwarmRef::Livestream(LIVESTREAM), Trust::Server);
    verifier.learn(&shown(Some(key), EPOCH)).unwrap();
    assert_eq!(begin(&mut verifier, EPOCH), Judgement::Genuine);
    verifier
}

fn judge(verifier: &mut Verifier, update: Update) -> Result<Judgement, Forgery> {
    verifier.judge(&Item::Update(update))
}

#[test]
fn an_update_altered_anywhere_is_a_forgery() {
    let key = key(1);
    let genuine = signed(&key, EPOCH, SESSION, VISUAL, 4);
    let altered: [Altered; 17] = [
        ("payload", |u| u.payload = b"hellp".as_slice().into(), Forgery::BadSignature),
        ("no payload", |u| u.payload = Default::default(), Forgery::BadSignature),
        ("keyframe", |u| u.keyframe = false, Forgery::BadSignature),
        ("temporal_layer", |u| u.temporal_layer = 2, Forgery::BadSignature),
        ("publish_time", |u| u.publish_time = None, Forgery::BadSignature),
        ("publish_time", |u| u.publish_time = Some(Default::default()), Forgery::BadSignature),
        ("urgent", |u| u.urgent = false, Forgery::BadSignature),
        ("session_id", |u| u.session_id += 1, Forgery::BadSignature),
        ("no session_id", |u| u.session_id = 0, Forgery::BadSignature),
        ("publisher_sequence", |u| u.publisher_sequence += 1, Forgery::BadSignature),
        ("channel", |u| u.position.as_mut().unwrap().channel = AUDIO, Forgery::BadSignature),
        ("track", |u| u.position.as_mut().unwrap().track = 1, Forgery::BadSignature),
        ("no position", |u| u.position = None, Forgery::Nowhere),
        ("signature", |u| u.signature = vec![1; 64].into(), Forgery::BadSignature),
        ("short", |u| u.signature = u.signature.slice(..63), Forgery::BadSignature),
        ("long", |u| u.signature = [&u.signature[..], &[0]].concat().into(), Forgery::BadSignature),
        ("unsigned", |u| u.signature = Default::default(), Forgery::Unsigned),
    ];
    for (what, alter, forgery) in altered {
        let mut verifier = verifier(&key);
        let mut update = genuine.clone();
        alter(&mut update);
        assert_eq!(judge(&mut verifier, update), Err(forgery), "{what}");
        assert_eq!(judge(&mut verifier, genuine.clone()), Ok(Judgement::Genuine), "{what}: it has left no trace");
    }
    let mut verifier = verifier(&key);
    assert_eq!(judge(&mut verifier, signed(&key, EPOCH + 1, SESSION, VISUAL, 4)), Err(Forgery::BadSignature), "epoch");
    let mut other = Verifier::new(SwarmRef::Livestream(LIVESTREAM + 1), Trust::Pinned(vec![key.public_key().clone()]));
    begin(&mut other, EPOCH);
    assert_eq!(judge(&mut other, genuine), Err(Forgery::BadSignature), "another livestream");
}

#[test]
fn numbers_rise_on_each_channel() {
    let key = key(1);
    let mut verifier = verifier(&key);
    for (channel, number) in [(VISUAL, 4), (AUDIO, 2), (VISUAL, 9), (AUDIO, 3)] {
        assert_eq!(judge(&mut verifier, signed(&key, EPOCH, SESSION, channel, number)), Ok(Judgement::Genuine));
    }
    for number in [9, 8, 4] {
        let again = judge(&mut verifier, signed(&key, EPOCH, SESSION, VISUAL, number));
        assert_eq!(again, Err(Forgery::OutOfOrder { number, last: 9 }));
    }
    assert_eq!(judge(&mut verifier, signed(&key, EPOCH, SESSION, VISUAL, 10)), Ok(Judgement::Genuine));
}

#[test]
fn no_session_comes_again_after_another_one() {
    let key = key(1);
    let mut verifier = verifier(&key);
    for session in [SESSION, 20, 30] {
        assert_eq!(judge(&mut verifier, signed(&key, EPOCH, session, VISUAL, 5)), Ok(Judgement::Genuine));
    }
    for session in [SESSION, 20] {
        let replayed = judge(&mut verifier, signed(&key, EPOCH, session, VISUAL, 99));
        assert_eq!(replayed, Err(Forgery::ReplacedSession(session)));
    }
    // What was under way on another channel comes in its own order.
    assert_eq!(judge(&mut verifier, signed(&key, EPOCH, SESSION, AUDIO, 1)), Ok(Judgement::Genuine));
    for session in 100..2_000 {
        assert_eq!(judge(&mut verifier, signed(&key, EPOCH, session, VISUAL, 1)), Ok(Judgement::Genuine));
    }
    assert!(verifier.lanes.values().all(|lane| lane.replaced.len() <= REPLACED));
    // Sessions of another epoch are others.
    verifier.learn(&shown(Some(&key), EPOCH + 1)).unwrap();
    assert_eq!(begin(&mut verifier, EPOCH + 1), Judgement::NeedsKey);
    verifier.learn(&shown(Some(&key), EPOCH + 1)).unwrap();
    assert_eq!(judge(&mut verifier, signed(&key, EPOCH + 1, SESSION, VISUAL, 1)), Ok(Judgement::Genuine));
}

#[test]
fn another_broadcaster_needs_another_key() {
    let (first, second) = (key(1), key(2));
    let mut verifier = verifier(&first);
    assert_eq!(judge(&mut verifier, signed(&first, EPOCH, SESSION, VISUAL, 1)), Ok(Judgement::Genuine));
    let next = signed(&second, EPOCH, 20, VISUAL, 1);
    assert_eq!(judge(&mut verifier, next.clone()), Ok(Judgement::NeedsKey));
    verifier.learn(&shown(Some(&second), EPOCH)).unwrap();
    assert_eq!(judge(&mut verifier, next), Ok(Judgement::Genuine));
    // What the first one published may still come.
    assert_eq!(judge(&mut verifier, signed(&first, EPOCH, SESSION, VISUAL, 2)), Ok(Judgement::Genuine));
    let stranger = signed(&key(3), EPOCH, 30, VISUAL, 1);
    assert_eq!(judge(&mut verifier, stranger.clone()), Ok(Judgement::NeedsKey));
    verifier.learn(&shown(Some(&second), EPOCH)).unwrap();
    let node = key(3).public_key().node_id();
    assert_eq!(judge(&mut verifier, stranger), Err(Forgery::UnknownSource(node)));
}

#[test]
fn a_key_must_be_that_of_its_broadcaster() {
    let key = key(1);
    let mut verifier = Verifier::new(SwarmRef::Livestream(LIVESTREAM), Trust::Server);
    let other = Livestream { broadcaster_node_id: 1, ..shown(Some(&key), EPOCH) };
    assert_eq!(verifier.learn(&other), Err(Forgery::BadKey));
    let short = Livestream { broadcaster_public_key: vec![1; 31].into(), ..shown(Some(&key), EPOCH) };
    assert_eq!(verifier.learn(&short), Err(Forgery::BadKey));
}

#[test]
fn a_signed_livestream_stays_signed() {
    let key = key(1);
    let mut verifier = verifier(&key);
    verifier.learn(&shown(None, EPOCH)).unwrap();
    let unsigned = Update { signature: Default::default(), ..signed(&key, EPOCH, SESSION, VISUAL, 1) };
    assert_eq!(judge(&mut verifier, unsigned), Err(Forgery::Unsigned));
}

#[test]
fn pinned_keys_need_no_server() {
    let key = key(1);
    let mut verifier = Verifier::new(SwarmRef::Livestream(LIVESTREAM), Trust::Pinned(vec![key.public_key().clone()]));
    assert_eq!(verifier.asks_about(), None);
    assert_eq!(begin(&mut verifier, EPOCH), Judgement::Genuine);
    assert_eq!(judge(&mut verifier, signed(&key, EPOCH, SESSION, VISUAL, 1)), Ok(Judgement::Genuine));
    let stranger = self::key(2);
    let node = stranger.public_key().node_id();
    let forged = judge(&mut verifier, signed(&stranger, EPOCH, SESSION, VISUAL, 1));
    assert_eq!(forged, Err(Forgery::UnknownSource(node)));
}

#[test]
fn what_nobody_signs_is_handed_out() {
    let update =
        || Update { position: Some(UpdatePosition { channel: VISUAL, ..Default::default() }), ..Default::default() };
    let mut verifier = Verifier::new(SwarmRef::Livestream(LIVESTREAM), Trust::Server);
    verifier.learn(&shown(None, EPOCH)).unwrap();
    begin(&mut verifier, EPOCH);
    assert_eq!(judge(&mut verifier, update()), Ok(Judgement::Genuine));
    for (swarm, trust) in [(SwarmRef::Group(1), Trust::Server), (SwarmRef::Livestream(1), Trust::Nobody)] {
        let mut verifier = Verifier::new(swarm, trust);
        assert_eq!(verifier.asks_about(), None);
        begin(&mut verifier, EPOCH);
        assert_eq!(judge(&mut verifier, update()), Ok(Judgement::Genuine));
    }
    let key = key(1);
    let mut verifier = self::verifier(&key);
    let mut chat = update();
    chat.position.as_mut().unwrap().channel = UpdateChannel::Chat.into();
    assert_eq!(judge(&mut verifier, chat), Ok(Judgement::Genuine));
}
