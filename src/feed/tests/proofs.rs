//! Signed updates: what was verified for another right does not enter.

use super::*;
use starling_core::key::BroadcasterKey;

const KEY: BroadcasterKey = BroadcasterKey::new([1; 32]);
const NEXT_KEY: BroadcasterKey = BroadcasterKey::new([2; 32]);

fn signed(number: u64, session: u64, key: BroadcasterKey) -> Draft {
    let verified = SessionId::new(session).map(|session| Verified { session, key });
    Draft { proof: Some(Box::new(Proof { signature: [9; SIGNATURE_BYTES], verified })), ..draft(true, number) }
}

fn grant(fixture: &FeedFixture, session: u64, term: u64, key: Option<BroadcasterKey>) {
    let (channel, session, gate) = (Channel::Visual, SessionId::new(session), Gate::Open);
    fixture.feed.enforce(&[Grant { source: source(), channel, term, session, home: NO_HOME, gate, key }], &[], false);
}

#[test]
fn only_the_key_and_session_in_force_admit() {
    let fixture = FeedFixture::new(shape(1 << 20));
    grant(&fixture, SESSION, 4, Some(KEY));
    let unverified =
        Draft { proof: Some(Box::new(Proof { signature: [9; SIGNATURE_BYTES], verified: None })), ..draft(true, 1) };
    let refused = [
        (draft(true, 1), AppendError::Unsigned),
        (draft(true, 0), AppendError::Unsigned),
        (unverified, AppendError::BadSignature),
        (signed(1, SESSION + 1, KEY), AppendError::BadSignature),
        (signed(1, SESSION, NEXT_KEY), AppendError::BadSignature),
    ];
    for (draft, refusal) in refused {
        assert_eq!(fixture.publish(4, draft), Err(refusal));
    }
    let PublisherState { accepted, .. } = fixture.feed.publisher(source(), SessionId::new(SESSION), Channel::Visual);
    assert_eq!(accepted, 0, "they have left no trace");
    assert_eq!(fixture.publish(4, signed(1, SESSION, KEY)).unwrap().publisher_sequence, 1);

    // Another session of the same node, and then another key.
    grant(&fixture, SESSION + 1, 5, Some(KEY));
    assert_eq!(fixture.publish(5, signed(2, SESSION, KEY)), Err(AppendError::BadSignature));
    fixture.publish(5, signed(1, SESSION + 1, KEY)).unwrap();
    grant(&fixture, SESSION + 2, 6, Some(NEXT_KEY));
    assert_eq!(fixture.publish(6, signed(1, SESSION + 2, KEY)), Err(AppendError::BadSignature));
    fixture.publish(6, signed(1, SESSION + 2, NEXT_KEY)).unwrap();
}

#[test]
fn without_a_key_no_signature_is_taken() {
    let fixture = FeedFixture::new(shape(1 << 20));
    assert_eq!(fixture.publish(3, signed(1, SESSION, KEY)), Err(AppendError::BadSignature));
    let chat = Message { draft: Draft { channel: Channel::Chat, ..signed(1, 5, KEY) }, ..message(5, 1) };
    let refused = fixture.feed.chat(chat, fixture.now, true).unwrap_err();
    assert_eq!((refused.refusal, refused.publisher_sequence), (AppendError::BadSignature, 1));
    fixture.feed.chat(message(5, 1), fixture.now, true).unwrap();
}

#[test]
fn only_signed_records_pay_for_signatures() {
    let plain = FeedFixture::new(shape(1 << 20));
    let keyed = FeedFixture::new(shape(1 << 20));
    grant(&keyed, SESSION, 4, Some(KEY));
    for number in 1..=1_000 {
        plain.publish(3, draft(true, number)).unwrap();
        keyed.publish(4, signed(number, SESSION, KEY)).unwrap();
    }
    let more = (keyed.feed.ring_bytes() - plain.feed.ring_bytes()) / 1_000;
    // A signature of 64 bytes, a session and a number, rounded as allocators do.
    assert!((64..=112).contains(&more), "{more}");
    let message = |fixture: &FeedFixture| fixture.viewer(Start::Keyframe).0.read(fixture.now);
    let length = |fixture: &FeedFixture| {
        let updates: Vec<_> = message(fixture).into_iter().filter_map(Delivery::into_update).collect();
        updates.iter().map(Encoded::length).max().unwrap()
    };
    assert!(length(&keyed) - length(&plain) <= signed(1, SESSION, KEY).weight() - draft(true, 1).weight());
}
