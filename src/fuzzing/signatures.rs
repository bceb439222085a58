//! Signatures of updates, and what they hold for.

use arbitrary::Unstructured;
use starling_signing::{PublicKey, SIGNATURE_BYTES, SignedUpdate, SigningKey, SwarmTag, from_hex, to_hex};

/// Whose signatures are checked.
const SEED: [u8; 32] = [7; 32];

/// The order of the group of Ed25519 (RFC 8032), little end first.
const ORDER: [u8; 32] = *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\
                           \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";

/// Reads a key, a signature and two updates.
///
/// # Panics
///
/// When a signature verifies that the key has not made, or one that it has made does not; when two updates have the same
/// bytes to sign.
pub fn signatures(bytes: &[u8]) {
    let mut input = Unstructured::new(bytes);
    let Ok(key) = input.bytes(32.min(bytes.len())) else { return };
    let own = SigningKey::from_seed(&SEED).expect("its node is not 0");
    let [one, other] = [update(&mut input), update(&mut input)];
    let Ok(signature) = input.bytes(SIGNATURE_BYTES.min(input.len())) else { return };
    if let Ok(key) = PublicKey::new(key) {
        assert_eq!(PublicKey::new(&key.bytes()).as_ref(), Ok(&key), "a key has one form");
        // Who made both may have signed: that it does not panic is all that can be said.
        let _ = key.verify(&one, signature);
    }
    let made = own.sign(&one);
    assert_eq!(own.public_key().verify(&one, signature).is_ok(), made == signature, "one signature alone is right");
    assert!(own.public_key().verify(&one, &made).is_ok());
    assert_eq!(own.public_key().verify(&other, &made).is_ok(), one == other);
    assert!(own.public_key().verify(&one, &other_form(made)).is_err(), "a signature has one form");
    assert_eq!(one.bytes() == other.bytes(), one == other, "what differs has other bytes");
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(found) = from_hex::<4>(text)
    {
        assert!(to_hex(&found).eq_ignore_ascii_case(text));
    }
}

/// The same signature to those who do not ask that S is less than the order of the group.
fn other_form(mut signature: [u8; SIGNATURE_BYTES]) -> [u8; SIGNATURE_BYTES] {
    let mut carry = 0;
    for (byte, order) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        [*byte, _] = sum.to_le_bytes();
        carry = sum >> 8;
    }
    signature
}

fn update<'a>(input: &mut Unstructured<'a>) -> SignedUpdate<'a> {
    let kind = if flag(input) { SwarmTag::Group } else { SwarmTag::Livestream };
    let [swarm, epoch, session, source, publisher_sequence] = std::array::from_fn(|_| number(input));
    let publish_time = flag(input).then(|| (number(input).cast_signed(), input.arbitrary().unwrap_or_default()));
    let [channel, track, temporal_layer] = std::array::from_fn(|_| input.arbitrary::<u8>().unwrap_or_default().into());
    let (urgent, keyframe) = (flag(input), flag(input));
    let length = usize::from(input.arbitrary::<u8>().unwrap_or_default()).min(input.len());
    let payload = input.bytes(length).unwrap_or_default();
    SignedUpdate {
        kind,
        swarm,
        epoch,
        session,
        source,
        channel,
        track,
        publisher_sequence,
        publish_time,
        urgent,
        keyframe,
        temporal_layer,
        payload,
    }
}

/// 0 and false at the end of the input.
fn flag(input: &mut Unstructured<'_>) -> bool {
    input.arbitrary::<u8>().unwrap_or_default() % 2 == 1
}

fn number(input: &mut Unstructured<'_>) -> u64 {
    input.arbitrary().unwrap_or_default()
}
