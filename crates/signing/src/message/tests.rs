use std::fmt::Write as _;

use starling_testkit::Rng;

use super::*;
use crate::hexadecimal::{from_hex, to_hex};
use crate::key::SigningKey;

/// An update, and the name of what makes it another one.
type Altered = (&'static str, fn(&mut SignedUpdate<'static>));

/// Every field, each in every way in which it may be another one.
const FIELDS: [Altered; 17] = [
    ("kind", |update| update.kind = SwarmTag::Group),
    ("swarm", |update| update.swarm += 1),
    ("swarm, high", |update| update.swarm ^= 1 << 63),
    ("epoch", |update| update.epoch += 1),
    ("session", |update| update.session += 1),
    ("source", |update| update.source += 1),
    ("channel", |update| update.channel += 1),
    ("track", |update| update.track += 1),
    ("publisher_sequence", |update| update.publisher_sequence += 1),
    ("publish_time, absent", |update| update.publish_time = None),
    ("publish_time, none", |update| update.publish_time = Some((0, 0))),
    ("publish_time, seconds", |update| update.publish_time = Some((-1, 999_999_999))),
    ("publish_time, nanos", |update| update.publish_time = Some((1_700_000_000, 999_999_998))),
    ("urgent", |update| update.urgent = !update.urgent),
    ("keyframe", |update| update.keyframe = !update.keyframe),
    ("temporal_layer", |update| update.temporal_layer += 1),
    ("payload", |update| update.payload = b"hellp"),
];

const UPDATE: SignedUpdate<'static> = SignedUpdate {
    kind: SwarmTag::Livestream,
    swarm: 7,
    epoch: 0x0010_2030_4050_6070,
    session: 0x001f_ffff_ffff_ffff,
    source: 0x0102_0304_0506_0708,
    channel: 1,
    track: 0,
    publisher_sequence: 42,
    publish_time: Some((1_700_000_000, 999_999_999)),
    urgent: false,
    keyframe: true,
    temporal_layer: 0,
    payload: b"hello",
};

/// What `tests/vectors.txt` has: a seed, and for each update its bytes and its signature.
fn vectors() -> String {
    let seed = from_hex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
    let key = SigningKey::from_seed(&seed).unwrap();
    let mut text = String::new();
    writeln!(text, "seed {}", to_hex(&seed)).unwrap();
    writeln!(text, "public_key {}", key.public_key()).unwrap();
    writeln!(text, "node_id {}", key.public_key().node_id()).unwrap();
    let mut put = |name: &str, update: &SignedUpdate<'_>| {
        let SignedUpdate { swarm, epoch, session, source, channel, track, publisher_sequence, .. } = *update;
        let time =
            update.publish_time.map_or_else(|| "none".into(), |(seconds, nanos)| format!("{seconds}.{nanos:09}"));
        let (kind, urgent, keyframe) = (update.kind as u8, u8::from(update.urgent), u8::from(update.keyframe));
        writeln!(text, "\nupdate {name}").unwrap();
        writeln!(text, "kind {kind} swarm {swarm} epoch {epoch} session {session} source {source}").unwrap();
        writeln!(text, "channel {channel} track {track} publisher_sequence {publisher_sequence}").unwrap();
        writeln!(text, "publish_time {time} urgent {urgent} keyframe {keyframe} layer {}", update.temporal_layer)
            .unwrap();
        writeln!(text, "payload {}", to_hex(update.payload)).unwrap();
        writeln!(text, "message {}", to_hex(&update.bytes())).unwrap();
        writeln!(text, "signature {}", to_hex(&key.sign(update))).unwrap();
    };
    put("whole", &UPDATE);
    put("empty", &SignedUpdate { payload: b"", ..UPDATE });
    for (name, alter) in FIELDS {
        let mut update = UPDATE;
        alter(&mut update);
        put(name, &update);
    }
    text
}

#[test]
fn the_golden_vectors_are_what_is_signed() {
    let golden = include_str!("../../tests/vectors.txt");
    assert_eq!(vectors(), golden, "what is signed once stays; another layout gets another first line");
}

#[test]
fn every_field_is_at_its_place() {
    let bytes = SignedUpdate { kind: SwarmTag::Group, track: 3, temporal_layer: 5, ..UPDATE }.bytes();
    assert_eq!(&bytes[..19], b"starling update v1\0");
    assert_eq!(bytes[19], 2);
    assert_eq!(bytes[20..28], 7_u64.to_be_bytes());
    assert_eq!(bytes[28..36], UPDATE.epoch.to_be_bytes());
    assert_eq!(bytes[36..44], UPDATE.session.to_be_bytes());
    assert_eq!(bytes[44..52], [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(bytes[52..60], [0, 0, 0, 1, 0, 0, 0, 3]);
    assert_eq!(bytes[60..68], 42_u64.to_be_bytes());
    assert_eq!(bytes[68], 1);
    assert_eq!(bytes[69..77], 1_700_000_000_u64.to_be_bytes());
    assert_eq!(bytes[77..81], 999_999_999_u32.to_be_bytes());
    assert_eq!(bytes[81..87], [0, 1, 0, 0, 0, 5]);
    assert_eq!(to_hex(&bytes[87..]), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    let timeless = SignedUpdate { publish_time: None, ..UPDATE }.bytes();
    assert_eq!(timeless[68..81], [0; 13]);
}

#[test]
fn an_update_altered_in_any_field_is_refused() {
    let key = SigningKey::from_seed(&[3; 32]).unwrap();
    let signature = key.sign(&UPDATE);
    assert_eq!(key.public_key().verify(&UPDATE, &signature), Ok(()));
    for (name, alter) in FIELDS {
        let mut altered = UPDATE;
        alter(&mut altered);
        assert!(key.public_key().verify(&altered, &signature).is_err(), "{name}");
    }
}

#[test]
fn different_updates_have_different_bytes() {
    fn draw(rng: &mut Rng, payloads: &[&'static [u8]]) -> SignedUpdate<'static> {
        // Small ranges: neighbours must not be taken for one another.
        let mut number = || [0, 1, 255, 256, u64::MAX][rng.index(5)];
        let (swarm, epoch, session, source, publisher_sequence) = (number(), number(), number(), number(), number());
        SignedUpdate {
            kind: [SwarmTag::Livestream, SwarmTag::Group][rng.index(2)],
            swarm,
            epoch,
            session,
            source,
            channel: [1, 2, 256][rng.index(3)],
            track: [0, 1][rng.index(2)],
            publisher_sequence,
            publish_time: [None, Some((0, 0)), Some((-1, 1)), Some((256, 0))][rng.index(4)],
            urgent: rng.chance(50),
            keyframe: rng.chance(50),
            temporal_layer: [0, 1, 7, 256][rng.index(4)],
            payload: payloads[rng.index(payloads.len())],
        }
    }
    let mut rng = Rng::new(11);
    let payloads: [&[u8]; 4] = [b"", b"\0", b"\0\0", b"a"];
    let (mut twins, mut others) = (0, 0);
    for _ in 0..50_000 {
        let one = draw(&mut rng, &payloads);
        let mut other = one;
        // One that differs in a few fields, or in none.
        for _ in 0..rng.index(3) {
            let drawn = draw(&mut rng, &payloads);
            match rng.index(13) {
                0 => other.kind = drawn.kind,
                1 => other.swarm = drawn.swarm,
                2 => other.epoch = drawn.epoch,
                3 => other.session = drawn.session,
                4 => other.source = drawn.source,
                5 => other.channel = drawn.channel,
                6 => other.track = drawn.track,
                7 => other.publisher_sequence = drawn.publisher_sequence,
                8 => other.publish_time = drawn.publish_time,
                9 => other.urgent = drawn.urgent,
                10 => other.keyframe = drawn.keyframe,
                11 => other.temporal_layer = drawn.temporal_layer,
                _ => other.payload = drawn.payload,
            }
        }
        assert_eq!(one == other, one.bytes() == other.bytes(), "{one:?} {other:?}");
        if one == other { twins += 1 } else { others += 1 }
    }
    assert!(twins > 1_000 && others > 1_000, "{twins} {others}");
}
