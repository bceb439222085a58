use starling_testkit::Rng;

use super::*;

fn stream() -> StreamSession {
    StreamSession {
        swarm: SwarmId::new(SwarmKind::Group, 300).unwrap(),
        node: NodeId::new(7).unwrap(),
        session: SessionId::new(9).unwrap(),
    }
}

fn one_of_each() -> Vec<BatchItem> {
    vec![
        BatchItem::Command(vec![1, 2, 3]),
        BatchItem::Attach(stream()),
        BatchItem::Detach(stream()),
        BatchItem::Alive { level: 1, address: b"a:1".to_vec() },
        BatchItem::PodGone { incarnation: PodIncarnation(5), last_sign: 6 },
        BatchItem::Activate { level: 200 },
        BatchItem::Compare,
        BatchItem::Digest { sequence: 8, digest: 9 },
        BatchItem::Born { log: LogId(10) },
        BatchItem::Open,
        BatchItem::Reseed { log: LogId(11), name: b"n".to_vec(), digest: 12 },
    ]
}

fn header() -> BatchHeader {
    let base = LogPosition { sequence: 4, hash: 0x0605 };
    BatchHeader { log: LogId(1), incarnation: PodIncarnation(2), number: 3, base, not_after: 128 }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_format_1_do_not_change() {
    let batch = Batch { header: header(), items: one_of_each() };
    let bytes = batch.encode();
    let wanted = concat!(
        "01",
        "0100000000000000",
        "0200000000000000",
        "03",
        "04",
        "0506000000000000",
        "8001",
        "0103010203",
        "0202ac020709",
        "0302ac020709",
        "040103613a31",
        "05050000000000000006",
        "06c801",
        "07",
        "08080900000000000000",
        "090a00000000000000",
        "0a",
        "0b0b00000000000000016e0c00000000000000",
    );
    assert_eq!(hex(&bytes), wanted);
    assert_eq!(Batch::decode(&bytes), Ok(batch));
}

#[test]
fn every_cut_is_refused_or_a_shorter_batch() {
    let bytes = Batch { header: header(), items: one_of_each() }.encode();
    let mut shorter = 0;
    for end in 0..bytes.len() {
        if let Ok(batch) = Batch::decode(&bytes[..end]) {
            assert_eq!(batch.encode(), bytes[..end]);
            shorter += 1;
        }
    }
    assert_eq!(shorter, one_of_each().len(), "only between items");
}

#[test]
fn changed_bytes_are_refused_or_canonical() {
    let original = Batch { header: header(), items: one_of_each() }.encode();
    let mut refused = 0;
    for at in 0..original.len() {
        for change in 1..=u8::MAX {
            let mut bytes = original.clone();
            bytes[at] ^= change;
            match Batch::decode(&bytes) {
                Ok(batch) => assert_eq!(batch.encode(), bytes),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 1_000, "{refused} refused");
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = Rng::new(1);
    let mut accepted = 0;
    for _ in 0..200_000 {
        let mut bytes = Batch { header: header(), items: Vec::new() }.encode();
        let noise = rng.below(24);
        bytes.extend((0..noise).map(|_| rng.bits().to_le_bytes()[0] & 0x1f));
        if let Ok(batch) = Batch::decode(&bytes) {
            assert_eq!(batch.encode(), bytes);
            accepted += 1;
        }
    }
    assert!(accepted > 1_000, "{accepted} accepted");
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let good = Batch { header: header(), items: Vec::new() }.encode();
    let with = |bytes: &[u8]| [&good[..], bytes].concat();
    for (bytes, message) in [
        (Vec::new(), "byte 0, format: the bytes end too early"),
        (vec![2], "byte 0, format: format 2 is unknown"),
        (with(&[12]), "byte 30, item: tag 12 is unknown"),
        (with(&[1, 0x80, 0]), "byte 32, command: a number that is not in its shortest form"),
        (with(&[1, 9, 0]), "byte 31, command: the bytes end too early"),
        (with(&[2, 3, 1, 1, 1]), "byte 31, kind: tag 3 is unknown"),
        (with(&[2, 1, 0, 1, 1]), "byte 34, stream: a value out of its range"),
        (with(&[6, 0xff, 0xff, 0xff, 0xff, 0x7f]), "byte 35, level: a value out of its range"),
    ] {
        assert_eq!(Batch::decode(&bytes).unwrap_err().to_string(), message);
    }
}
