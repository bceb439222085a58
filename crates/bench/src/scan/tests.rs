use bytes::Bytes;
use prost::Message;

use super::*;
use starling_client::pb::livestream::v1::SubscribeUpdatesResponse;
use starling_client::pb::swarm::v1::{Delivery, FeedHeartbeat, Gap, Update, delivery::Item};

fn update(number: u8, size: usize) -> Item {
    Item::Update(Update { payload: vec![number; size].into(), keyframe: number == 0, ..Default::default() })
}

/// Messages of these deliveries, as gRPC frames them.
fn stream(messages: Vec<Vec<Item>>) -> Vec<u8> {
    let mut stream = Vec::new();
    for items in messages {
        let encoded = |item| Delivery { item: Some(item) };
        let message = SubscribeUpdatesResponse { deliveries: items.into_iter().map(encoded).collect() }.encode_to_vec();
        stream.push(0);
        stream.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        stream.extend_from_slice(&message);
    }
    stream
}

/// Every kind of delivery, empty messages, one and several deliveries to a message.
fn mixed() -> Vec<u8> {
    stream(vec![
        vec![Item::Heartbeat(FeedHeartbeat { epoch: 7, ..Default::default() })],
        vec![update(0, 300), update(1, 20), Item::Gap(Gap::default()), update(2, 1)],
        vec![],
        vec![update(3, 0)],
        vec![Item::Gap(Gap { count: Some(4), ..Default::default() }), update(4, 40)],
    ])
}

/// What a scanner finds in parts of a stream: the sum, and the payloads it hands out.
fn scan<'a>(every: u64, phase: u64, parts: impl IntoIterator<Item = &'a [u8]>) -> (Found, Vec<Bytes>) {
    let mut scanner = Scanner::new(every, phase);
    let (mut sum, mut samples) = (Found::default(), Vec::new());
    for part in parts {
        let found = scanner.scan(part, |delivery| match Delivery::decode(delivery).unwrap().item {
            Some(Item::Update(update)) => samples.push(update.payload),
            other => panic!("{other:?} was handed out"),
        });
        let Found { updates, gaps, others } = found.unwrap();
        sum = Found { updates: sum.updates + updates, gaps: sum.gaps + gaps, others: sum.others + others };
    }
    (sum, samples)
}

const ALL: Found = Found { updates: 5, gaps: 2, others: 1 };

#[test]
fn every_delivery_is_counted_by_its_kind() {
    let (found, samples) = scan(1, 0, [mixed().as_slice()]);
    assert_eq!(found, ALL);
    let lengths: Vec<_> = samples.iter().map(Bytes::len).collect();
    assert_eq!(lengths, [300, 20, 1, 0, 40]);
}

#[test]
fn deliveries_are_counted_across_any_split() {
    let stream = mixed();
    let whole = scan(1, 0, [stream.as_slice()]);
    for at in 0..=stream.len() {
        let (before, after) = stream.split_at(at);
        assert_eq!(scan(1, 0, [before, after]), whole, "cut at {at}");
    }
    assert_eq!(scan(1, 0, stream.chunks(1)), whole, "byte by byte");
    assert_eq!(scan(1, 0, stream.chunks(7)), whole, "by seven");
}

#[test]
fn every_nth_update_is_sampled_from_the_phase() {
    let items = (0..20).map(|number| vec![update(number, 10)]).collect();
    let stream = stream(items);
    let numbers = |every, phase| {
        let (found, samples) = scan(every, phase, stream.chunks(5));
        assert_eq!(found.updates, 20);
        samples.iter().map(|payload| payload[0]).collect::<Vec<_>>()
    };
    assert_eq!(numbers(8, 0), [0, 8, 16]);
    assert_eq!(numbers(8, 3), [3, 11, 19]);
    assert_eq!(numbers(8, 13), [5, 13], "the phase wraps");
}

#[test]
fn update_larger_than_a_frame_is_reassembled() {
    let stream = stream(vec![vec![update(9, 100_000), update(8, 70_000)]]);
    let (found, samples) = scan(1, 0, stream.chunks(16_384));
    assert_eq!(found.updates, 2);
    assert_eq!(samples, [vec![9; 100_000], vec![8; 70_000]]);
}

#[test]
fn malformed_bytes_are_refused() {
    let refused = |bytes: &[u8]| Scanner::new(1, 0).scan(bytes, |_| {}).unwrap_err().0;
    assert_eq!(refused(&[1, 0, 0, 0, 1]), "a compressed message");
    assert_eq!(refused(&[0, 0, 0, 0, 1, 0x10]), "another field than deliveries");
    assert_eq!(refused(&[0, 0, 0, 0, 2, 0x0a, 1]), "a delivery that is longer than its message");
    let endless = [0, 0, 0, 0, 20, 0x0a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80];
    assert_eq!(refused(&endless), "a length without end");
}
