//! Media from anywhere, for the fuzz targets.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::{AsyncRead, ReadBuf};

use super::annexb::{AccessUnit, AccessUnits};
use super::audio::{AudioFrame, AudioFrames, OpusFile, is_adts};

/// Gives a few bytes at a time, and never waits.
struct Chunks {
    rest: Bytes,
    at_a_time: usize,
}

impl AsyncRead for Chunks {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let step = self.at_a_time.min(self.rest.len()).min(out.remaining());
        out.put_slice(&self.rest.split_to(step));
        Poll::Ready(Ok(()))
    }
}

/// Cuts a video of H.264 into access units; the first two bytes are the limit of one.
///
/// # Panics
///
/// When the units, put together, are not the video, when one is beyond the limit, or when it depends on how the video
/// comes.
pub fn annexb(bytes: &[u8]) {
    let Some((limit, video)) = bytes.split_first_chunk() else { return };
    let limit = usize::from(u16::from_le_bytes(*limit));
    let whole = units(video, usize::MAX, limit);
    for at_a_time in [1, 7] {
        let (found, error) = units(video, at_a_time, limit);
        assert_eq!((&found, error.is_some()), (&whole.0, whole.1.is_some()), "{at_a_time} bytes at a time");
    }
    let (found, error) = whole;
    assert!(found.iter().all(|unit| (1..=limit).contains(&unit.data.len())), "each has a length within the limit");
    let length: usize = found.iter().map(|unit| unit.data.len()).sum();
    let joined: Vec<u8> = found.iter().flat_map(|unit| &unit.data).copied().collect();
    assert_eq!(joined, video[..length], "nothing is changed");
    assert!(error.is_some() || length == video.len(), "nothing is lost without an error");
}

fn units(video: &[u8], at_a_time: usize, limit: usize) -> (Vec<AccessUnit>, Option<io::Error>) {
    let mut units = AccessUnits::new(Chunks { rest: Bytes::copy_from_slice(video), at_a_time }).with_limit(limit);
    let mut found = Vec::new();
    loop {
        match units.next().now_or_never().expect("the reader never waits") {
            Ok(Some(unit)) => found.push(unit),
            Ok(None) => return (found, None),
            Err(error) => {
                let after = units.next().now_or_never().expect("the reader never waits");
                assert!(matches!(after, Ok(None)), "after an error the stream is at its end");
                return (found, Some(error));
            }
        }
    }
}

/// Cuts sound into frames, and puts packets of Opus into a file again.
///
/// # Panics
///
/// When frames of AAC, put together, are not the sound, or when packets of Opus come out of a file otherwise than they
/// went in.
pub fn audio(bytes: &[u8]) {
    let (found, error) = frames(bytes, usize::MAX);
    let slowly = frames(bytes, 3);
    assert_eq!((&found, error.is_some()), (&slowly.0, slowly.1.is_some()), "3 bytes at a time");
    assert!(found.iter().all(|frame| frame.samples > 0 && frame.rate > 0), "each sounds for a time");
    if bytes.starts_with(b"OggS") {
        let packets = |found: &[AudioFrame]| found.iter().map(|frame| frame.data.clone()).collect::<Vec<_>>();
        let mut file = OpusFile::new(7);
        for frame in &found {
            file.add(frame.data.clone()).expect("a file in memory");
        }
        file.finish().expect("a file in memory");
        let (again, error) = frames(&file.bytes(), usize::MAX);
        assert!(error.is_none(), "{error:?}");
        assert_eq!(packets(&again), packets(&found));
    } else {
        assert!(found.iter().all(|frame| is_adts(&frame.data)), "each is a frame by itself");
        let joined: Vec<u8> = found.iter().flat_map(|frame| &frame.data).copied().collect();
        assert!(bytes.starts_with(&joined), "nothing is changed");
        assert!(error.is_some() || joined == bytes, "nothing is lost without an error");
    }
}

fn frames(bytes: &[u8], at_a_time: usize) -> (Vec<AudioFrame>, Option<io::Error>) {
    let input = Chunks { rest: Bytes::copy_from_slice(bytes), at_a_time };
    let mut found = Vec::new();
    let open = AudioFrames::open(Box::new(input)).now_or_never().expect("the reader never waits");
    let mut frames = match open {
        Ok(frames) => frames,
        Err(error) => return (found, Some(error)),
    };
    loop {
        match frames.next().now_or_never().expect("the reader never waits") {
            Ok(Some(frame)) => found.push(frame),
            Ok(None) => return (found, None),
            Err(error) => return (found, Some(error)),
        }
    }
}
