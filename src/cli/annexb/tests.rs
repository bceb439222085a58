//! Each stream is written out by hand, and split whatever way the reads may fall.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::*;

const LONG: &[u8] = &[0, 0, 0, 1];
const SHORT: &[u8] = &[0, 0, 1];
const DELIMITER: &[u8] = &[0x09, 0xf0];
const SPS: &[u8] = &[0x67, 0x42, 0xc0, 0x1e];
const PPS: &[u8] = &[0x68, 0xce, 0x3c, 0x80];
const SEI: &[u8] = &[0x06, 0x05, 0x01, 0xaa, 0x80];
const IDR: &[u8] = &[0x65, 0x88, 0x84, 0x21];
const IDR_LATER_SLICE: &[u8] = &[0x65, 0x42, 0x11];
const P: &[u8] = &[0x41, 0x9a, 0x02];
const P_LATER_SLICE: &[u8] = &[0x41, 0x52, 0x13];
const END_OF_SEQUENCE: &[u8] = &[0x0a];

/// A reader that gives at most `step` bytes at a time.
struct Dribble<'a> {
    rest: &'a [u8],
    step: usize,
}

impl AsyncRead for Dribble<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (now, later) = self.rest.split_at(self.step.min(self.rest.len()).min(out.remaining()));
        out.put_slice(now);
        self.rest = later;
        Poll::Ready(Ok(()))
    }
}

async fn split(stream: &[u8], step: usize) -> Vec<AccessUnit> {
    let mut units = AccessUnits::new(Dribble { rest: stream, step });
    let mut all = Vec::new();
    while let Some(unit) = units.next().await.unwrap() {
        all.push(unit);
    }
    let glued: Vec<u8> = all.iter().flat_map(|unit| unit.data.to_vec()).collect();
    assert!(glued == stream, "the units are not the stream, read {step} bytes at a time");
    all
}

/// Asserts that the units, put together, are split again as they are given here, whatever the
/// reads.
async fn assert_units(expected: &[(Vec<u8>, bool)]) {
    let stream: Vec<u8> = expected.iter().flat_map(|(data, _)| data.clone()).collect();
    for step in 1..=stream.len() + 1 {
        let units: Vec<_> =
            split(&stream, step).await.into_iter().map(|unit| (unit.data.to_vec(), unit.keyframe)).collect();
        assert_eq!(units, expected, "read {step} bytes at a time");
    }
}

async fn refusal(stream: &[u8], step: usize, limit: usize) -> String {
    let mut units = AccessUnits::new(Dribble { rest: stream, step }).with_limit(limit);
    loop {
        match units.next().await {
            Ok(unit) => assert!(unit.is_some(), "nothing was refused"),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert_eq!(units.next().await.unwrap(), None, "the stream goes on after a refusal");
                return error.to_string();
            }
        }
    }
}

#[tokio::test]
async fn an_empty_stream_has_no_units() {
    assert_units(&[]).await;
}

#[tokio::test]
async fn delimiters_begin_units() {
    assert_units(&[
        ([LONG, DELIMITER, LONG, SPS, LONG, PPS, SHORT, IDR].concat(), true),
        ([LONG, DELIMITER, SHORT, P].concat(), false),
        ([LONG, DELIMITER, SHORT, SEI, SHORT, P].concat(), false),
    ])
    .await;
}

#[tokio::test]
async fn without_delimiters_the_first_slice_begins_a_unit() {
    assert_units(&[
        ([LONG, SPS, LONG, PPS, LONG, SEI, SHORT, IDR].concat(), true),
        ([LONG, P].concat(), false),
        ([SHORT, P].concat(), false),
        ([LONG, SPS, LONG, PPS, LONG, IDR].concat(), true),
        ([LONG, IDR].concat(), true),
    ])
    .await;
}

#[tokio::test]
async fn leading_nal_type_after_slice_starts_a_unit() {
    for nal_type in [6, 7, 8, 9, 14, 15, 16, 17, 18] {
        let leading: &[u8] = &[0x60 | nal_type, 0x21];
        assert_units(&[([LONG, IDR].concat(), true), ([SHORT, leading, LONG, P].concat(), false)]).await;
    }
}

#[tokio::test]
async fn other_nal_type_stays_with_previous_slices() {
    for nal_type in [0, 3, 4, 10, 11, 12, 13, 19, 20, 21, 31] {
        let other: &[u8] = &[0x60 | nal_type, 0x81];
        assert_units(&[([LONG, IDR, SHORT, other].concat(), true), ([LONG, P].concat(), false)]).await;
    }
}

#[tokio::test]
async fn the_slices_of_a_picture_stay_together() {
    assert_units(&[
        ([LONG, SPS, LONG, PPS, LONG, IDR, SHORT, IDR_LATER_SLICE, SHORT, IDR_LATER_SLICE].concat(), true),
        ([LONG, P, SHORT, P_LATER_SLICE].concat(), false),
        ([SHORT, P, LONG, P_LATER_SLICE].concat(), false),
    ])
    .await;
}

#[tokio::test]
async fn first_data_partition_starts_a_unit() {
    let (a, b): (&[u8], &[u8]) = (&[0x42, 0x9a], &[0x43, 0x9a]);
    assert_units(&[([LONG, a, SHORT, b].concat(), false), ([SHORT, a, SHORT, b].concat(), false)]).await;
}

#[tokio::test]
async fn trailing_zero_bytes_stay_in_their_unit() {
    assert_units(&[
        ([LONG, IDR, &[0, 0, 0]].concat(), true),
        ([LONG, P, &[0]].concat(), false),
        ([LONG, P, &[0, 0, 0, 0, 0]].concat(), false),
    ])
    .await;
}

#[tokio::test]
async fn garbage_before_first_start_code_joins_first_unit() {
    for garbage in [&[0xff_u8, 0x65, 0x88][..], &[0, 0], &[0, 0, 0, 0, 0], &[1, 0, 0, 2, 0, 1]] {
        assert_units(&[([garbage, LONG, IDR].concat(), true), ([LONG, P].concat(), false)]).await;
    }
}

#[tokio::test]
async fn emulation_prevention_hides_start_codes_in_payloads() {
    let slice: &[u8] = &[0x65, 0x88, 0, 0, 3, 1, 0x65, 0x88, 0, 0, 3, 0, 0, 3, 0, 1, 0x67, 0, 0, 3];
    assert_units(&[([LONG, slice].concat(), true), ([SHORT, P].concat(), false)]).await;
}

#[tokio::test]
async fn truncated_stream_keeps_its_last_bytes() {
    let whole = [LONG, SPS, LONG, PPS, LONG, IDR, SHORT, IDR_LATER_SLICE, LONG, P, SHORT, END_OF_SEQUENCE].concat();
    for end in SHORT.len() + 1..=whole.len() {
        for step in [1, 2, end] {
            assert!(!split(&whole[..end], step).await.is_empty());
        }
    }
    assert_units(&[([LONG, IDR].concat(), true), ([LONG, &DELIMITER[..1]].concat(), false)]).await;
}

#[tokio::test]
async fn units_are_independent_of_read_sizes() {
    // Short streams over the bytes that matter hit every state of the scanner. Xorshift needs no
    // crate, and a fixed seed fails the same way twice.
    const ALPHABET: [u8; 16] = [0, 0, 0, 0, 0, 1, 1, 1, 3, 0x09, 0x41, 0x65, 0x67, 0x80, 0x9a, 0x42];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..500 {
        let mut stream = SHORT.to_vec();
        for _ in 0..200 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            stream.push(ALPHABET[(random >> 60) as usize]);
        }
        let whole = split(&stream, stream.len()).await;
        for step in [1, 2, 3, 5, 64] {
            assert_eq!(split(&stream, step).await, whole, "{stream:02x?}, read {step} bytes at a time");
        }
    }
}

#[tokio::test]
async fn a_stream_without_start_codes_is_refused() {
    for stream in [&[0_u8][..], &[0; 100], b"....ftypisom", &[0, 0], &[0, 0, 2, 1]] {
        let message = refusal(stream, 3, DEFAULT_LIMIT).await;
        assert!(message.contains("no start code (00 00 01)"), "{message}");
    }
    let message = refusal(&[0xff; 1000], 7, 100).await;
    assert!(message.contains("no start code (00 00 01)"), "garbage beyond the limit: {message}");
}

#[tokio::test]
async fn unit_size_limit_is_inclusive() {
    let unit = |size: usize| [LONG, IDR, &vec![0x77; size - LONG.len() - IDR.len()]].concat();
    for step in [1, 10, 1000] {
        for after in [&[][..], &unit(20)] {
            let fits = [unit(30), unit(100), after.to_vec()].concat();
            let mut units = AccessUnits::new(Dribble { rest: &fits, step }).with_limit(100);
            while units.next().await.unwrap().is_some() {}

            let message = refusal(&[unit(30), unit(101), after.to_vec()].concat(), step, 100).await;
            assert!(message.contains("larger than the limit of 100 bytes"), "{message}");
        }
    }
}

#[tokio::test]
async fn an_endless_unit_is_refused_with_bounded_memory() {
    let mut units = AccessUnits::new(AsyncReadExt::chain(LONG, tokio::io::repeat(0x65))).with_limit(READ_SIZE);
    assert!(units.next().await.is_err());
    assert_eq!(units.buffer.capacity(), 0);
}

#[tokio::test]
async fn a_failed_read_loses_nothing() {
    struct Flaky<'a>(Dribble<'a>, bool);
    impl AsyncRead for Flaky<'_> {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            self.1 = !self.1;
            if self.1 {
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            } else {
                Pin::new(&mut self.0).poll_read(cx, out)
            }
        }
    }
    let stream = [LONG, IDR, LONG, P, SHORT, P_LATER_SLICE].concat();
    let mut units = AccessUnits::new(Flaky(Dribble { rest: &stream, step: 2 }, false));
    let mut glued = Vec::new();
    loop {
        match units.next().await {
            Ok(Some(unit)) => glued.extend_from_slice(&unit.data),
            Ok(None) => break,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::TimedOut),
        }
    }
    assert_eq!(glued, stream);
}

#[tokio::test]
async fn a_real_clip_is_cut_into_its_pictures() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/bigbuckbunny-360p25.h264");
    let clip = std::fs::read(path).unwrap();
    for step in [1, 7, 4096, clip.len()] {
        let units = split(&clip, step).await;
        let keyframes: Vec<_> = units.iter().enumerate().filter(|(_, unit)| unit.keyframe).map(|(at, _)| at).collect();
        assert_eq!((units.len(), keyframes), (132, vec![0, 50, 100]), "read {step} bytes at a time");
    }

    let mut from_file = AccessUnits::new(tokio::fs::File::open(path).await.unwrap());
    let mut pictures = 0;
    while from_file.next().await.unwrap().is_some() {
        pictures += 1;
    }
    assert_eq!(pictures, 132);
}
