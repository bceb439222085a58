use std::collections::BTreeSet;

use super::*;

mod draw;
mod golden;

use draw::Draw;
use golden::golden;

/// How many variants [`Command`] has; their tags are 1 to this.
const COMMANDS: u8 = 34;

/// What precedes the command in most of the bytes here: version 1, livestream 5, time 6.
const HEADER: [u8; 4] = [1, 1, 5, 6];

#[test]
fn every_command_round_trips() {
    let mut draw = Draw::new(1);
    let mut tags = BTreeSet::new();
    for _ in 0..20_000 {
        let (id, at, command) = draw.entry();
        let bytes = encode(id, at, &command);
        assert_eq!(decode(&bytes), Ok((id, at, command.clone())), "{bytes:02x?}");
        let mut tag = Vec::new();
        command.put(&mut tag);
        tags.insert(tag[0]);
    }
    assert_eq!(tags, known_tags(), "the generator draws every command that has bytes");
    for (what, (choices, seen)) in draw.seen {
        assert_eq!(seen.len(), choices, "{what}: every choice has been made");
    }
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let id = SwarmId::new(SwarmKind::Livestream, 5).unwrap();
    let mut tags = BTreeSet::new();
    for (hex, command) in golden() {
        let bytes = [HEADER.as_slice(), &from_hex(hex)].concat();
        assert_eq!(to_hex(&encode(id, 6, &command)), to_hex(&bytes), "{command:?}");
        assert_eq!(decode(&bytes), Ok((id, 6, command)));
        tags.insert(bytes[HEADER.len()]);
    }
    assert_eq!(tags, known_tags(), "every command is pinned");
}

#[test]
fn the_header_of_version_1_does_not_change() {
    let id = SwarmId::new(SwarmKind::Group, u64::MAX).unwrap();
    let bytes = encode(id, 1_800_000_000_000, &SharedCommand::Expire.into());
    assert_eq!(to_hex(&bytes), "0102ffffffffffffffffff0180a0f1c2b13409");
    assert_eq!(decode(&bytes), Ok((id, 1_800_000_000_000, SharedCommand::Expire.into())));
}

#[test]
fn tags_are_numbered_without_a_hole() {
    assert_eq!(known_tags(), (1..=COMMANDS).collect());
}

#[test]
fn a_typical_join_takes_64_bytes_at_most() {
    let mut draw = Draw::new(2);
    for _ in 0..1_000 {
        let join = SharedCommand::Join(Join {
            node: NodeId::drawn(draw.next()),
            session: SessionId::drawn(draw.next()),
            request: None,
            ttl_ms: 30_000,
            mode: Some(ViewerMode::Active),
            can_relay: Some(true),
            endpoint: Some(b"203.0.113.77:50000".as_slice().into()),
            metadata: None,
            interests: Vec::new(),
            listens: None,
        })
        .into();
        let id = SwarmId::drawn(SwarmKind::Livestream, draw.next());
        let bytes = encode(id, 1_800_000_000_000, &join);
        assert!(bytes.len() <= 64, "{} bytes", bytes.len());
    }
}

#[test]
fn bytes_cut_off_anywhere_are_refused() {
    for bytes in samples() {
        for end in 0..bytes.len() {
            let error = decode(&bytes[..end]).unwrap_err();
            assert!(error.offset <= end, "{error} in {bytes:02x?} cut at {end}");
            assert!(
                matches!(error.fault, Fault::Truncated | Fault::Length { .. }),
                "{error} in {bytes:02x?} cut at {end}"
            );
        }
    }
}

#[test]
fn bytes_after_the_command_are_refused() {
    for mut bytes in samples() {
        let offset = bytes.len();
        bytes.extend([0, 0]);
        let fault = Fault::Trailing { count: 2 };
        assert_eq!(decode(&bytes), Err(WireError { offset, what: "end", fault }));
    }
}

#[test]
fn changed_bytes_are_refused_or_canonical() {
    let (mut accepted, mut refused) = (0, 0);
    for mut bytes in samples() {
        for at in 0..bytes.len() {
            let original = bytes[at];
            for change in 1..=u8::MAX {
                bytes[at] = original ^ change;
                if is_canonical_or_refused(&bytes) {
                    accepted += 1;
                } else {
                    refused += 1;
                }
            }
            bytes[at] = original;
        }
    }
    assert!(accepted > 10_000 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn random_bytes_are_refused_or_canonical() {
    let mut draw = Draw::new(3);
    let mut accepted = 0;
    for _ in 0..300_000 {
        // Small bytes are tags and lengths more often than large ones.
        let noise = (0..draw.below(40)).map(|_| draw.number(u64::from(u8::MAX)).to_le_bytes()[0]);
        let bytes: Vec<u8> = [VERSION, 1].into_iter().chain(noise.collect::<Vec<_>>()).collect();
        accepted += usize::from(is_canonical_or_refused(&bytes));
    }
    assert!(accepted > 100, "{accepted} accepted");
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let cases = [
        ("", "byte 0, version: the bytes end too early"),
        ("00", "byte 0, version: version 0 is unknown"),
        ("02 01 05 06 09", "byte 0, version: version 2 is unknown"),
        ("01 03 05 06 09", "byte 1, swarm: tag 3 is unknown"),
        ("01 01 00 06 09", "byte 2, swarm: an id is 0"),
        ("01 01 05", "byte 3, at: the bytes end too early"),
        ("01 01 05 86 00 09", "byte 3, at: a number in more bytes than it needs"),
        ("01 01 05 ff ff ff ff ff ff ff ff ff 02 09", "byte 3, at: a number above 18446744073709551615"),
        ("01 01 05 ff ff ff ff ff ff ff ff ff 81 00 09", "byte 3, at: a number above 18446744073709551615"),
        ("01 01 05 06 00", "byte 4, command: tag 0 is unknown"),
        ("01 01 05 06 23", "byte 4, command: tag 35 is unknown"),
        ("01 01 05 06 09 07", "byte 5, end: bytes left over: 1"),
        ("01 01 05 06 05 07 00", "byte 6, Touch.session: an id is 0"),
        ("01 01 05 06 08 80 80 80 80 10", "byte 5, PodGone.pod: a number above 4294967295"),
        ("01 01 05 06 04 07 02", "byte 6, By.session: tag 2 is unknown"),
        ("01 01 05 06 04 07 00 01 02 61 ff 00", "byte 8, RequestId.name: a string that is not UTF-8"),
        ("01 01 05 06 10 07 00 00 20 08 09", "byte 8, Claim.channels: a number above 31"),
        ("01 01 05 06 19 07 00 00 01 02 00", "byte 9, SetMedia.audio: tag 2 is unknown"),
        ("01 01 05 06 21 07 00 00 08 01 02", "byte 11, TransferSigned.key: the bytes end too early"),
        ("01 01 05 06 0a 07 00 00 01 06 00 01 00", "byte 9, InterestChange.channel: tag 6 is unknown"),
        ("01 01 05 06 0b 07 00 00 01 03 61 62", "byte 9, MemberUpdate.metadata: a length of 3 with 2 bytes left"),
        (
            "01 01 05 06 0a 07 00 00 ff ff ff ff ff ff ff ff ff 01 01 00 01 00",
            "byte 8, SetInterest.changes: a length of 18446744073709551615 with 4 bytes left",
        ),
    ];
    for (hex, message) in cases {
        assert_eq!(decode(&from_hex(hex)).unwrap_err().to_string(), message, "{hex}");
    }
}

#[test]
fn numbers_take_the_fewest_bytes_at_every_size() {
    for bits in 0..u64::BITS {
        for number in [1 << bits, (1 << bits) - 1, u64::MAX >> bits] {
            let mut bytes = Vec::new();
            number.put(&mut bytes);
            let groups = (u64::BITS - number.leading_zeros()).div_ceil(7).max(1);
            assert_eq!(bytes.len(), groups as usize, "{number}");
            assert_eq!(u64::take(&mut Reader::new(&bytes)), Ok(number));
        }
    }
}

/// True when the bytes are accepted. Panics when they are not the bytes of what
/// they are read as.
fn is_canonical_or_refused(bytes: &[u8]) -> bool {
    match decode(bytes) {
        Ok((id, at, command)) => {
            assert_eq!(encode(id, at, &command), bytes, "{command:?}");
            true
        }
        Err(error) => {
            assert!(error.offset <= bytes.len(), "{error} in {bytes:02x?}");
            false
        }
    }
}

/// The tags that a command may have: all that are not refused as tags.
fn known_tags() -> BTreeSet<u8> {
    let is_known = |tag: &u8| match decode(&[HEADER.as_slice(), &[*tag]].concat()) {
        Err(error) => !matches!(error.fault, Fault::Tag { .. }),
        Ok(_) => true,
    };
    (0..=u8::MAX).filter(is_known).collect()
}

fn samples() -> Vec<Vec<u8>> {
    let id = SwarmId::new(SwarmKind::Livestream, 5).unwrap();
    let pinned = golden().into_iter().map(|(_, command)| encode(id, 6, &command));
    let mut draw = Draw::new(4);
    let drawn = (0..200).map(|_| draw.entry()).map(|(id, at, command)| encode(id, at, &command));
    pinned.chain(drawn).collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| *digit != b' ').collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}
