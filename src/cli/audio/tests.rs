use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use bytes::Bytes;

use super::*;

/// A frame of AAC-LC, stereo, at 48 000 Hz, of so many bytes.
fn aac(length: u16, fill: u8) -> Vec<u8> {
    // The length lies across three bytes, behind two bits of the number of channels.
    let [first, second, third, fourth] = ((u32::from(length) << 5) | 0x8000_001f).to_be_bytes();
    assert_eq!(first, 0x80);
    let mut frame = vec![0xff, 0xf1, 0x4c, 0x80 | second, third, fourth, 0xfc];
    frame.resize(usize::from(length), fill);
    frame
}

/// A packet of 20 ms of stereo Opus.
fn opus(fill: u8) -> Vec<u8> {
    vec![0xfc, fill, fill]
}

fn ogg(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut file = OpusFile::new(7);
    packets.iter().for_each(|packet| file.add(packet.clone().into()).unwrap());
    file.finish().unwrap();
    file.bytes()
}

/// A reader that gives a few bytes at a time.
struct Slow {
    rest: Bytes,
    at_a_time: usize,
}

impl AsyncRead for Slow {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let step = self.at_a_time.min(self.rest.len()).min(out.remaining());
        out.put_slice(&self.rest.split_to(step));
        Poll::Ready(Ok(()))
    }
}

async fn frames(bytes: Vec<u8>, at_a_time: usize) -> io::Result<Vec<AudioFrame>> {
    let mut frames = AudioFrames::open(Box::new(Slow { rest: bytes.into(), at_a_time })).await?;
    let mut found = Vec::new();
    while let Some(frame) = frames.next().await? {
        found.push(frame);
    }
    Ok(found)
}

#[tokio::test]
async fn aac_is_cut_into_frames_with_their_headers() {
    let whole = [aac(300, 1), aac(7, 0), aac(8_191, 0xff)];
    for at_a_time in [1, 5, 100_000] {
        let found = frames(whole.concat(), at_a_time).await.unwrap();
        assert_eq!(found.iter().map(|frame| frame.data.to_vec()).collect::<Vec<_>>(), whole);
        assert!(found.iter().all(|frame| (frame.samples, frame.rate) == (1_024, 48_000)));
    }
}

#[tokio::test]
async fn opus_packets_are_extracted_from_ogg() {
    let whole: Vec<_> = (0..100).map(opus).collect();
    for at_a_time in [1, 1_000] {
        let found = frames(ogg(&whole), at_a_time).await.unwrap();
        assert_eq!(found.iter().map(|frame| frame.data.to_vec()).collect::<Vec<_>>(), whole);
        assert!(found.iter().all(|frame| (frame.samples, frame.rate) == (960, 48_000)));
    }
}

#[tokio::test]
async fn unsupported_audio_is_refused_with_a_reason() {
    let mut surround = Vec::new();
    let mut pages = ogg::PacketWriter::new(&mut surround);
    let head = b"OpusHead\x01\x06\x38\x01\x80\xbb\0\0\0\0\x01\x04\x02\0\x04\x01\x02\x03\x05".to_vec();
    pages.write_packet(head, 7, ogg::PacketWriteEndInfo::EndPage, 0).unwrap();
    let mut vorbis = Vec::new();
    let mut pages = ogg::PacketWriter::new(&mut vorbis);
    pages.write_packet(b"\x01vorbis".to_vec(), 7, ogg::PacketWriteEndInfo::EndPage, 0).unwrap();
    for (bytes, said) in [
        (b"RIFF....WAVE".to_vec(), "neither AAC"),
        (b"Og".to_vec(), "neither AAC"),
        (aac(300, 1)[..299].to_vec(), "in the middle of a frame"),
        ([aac(300, 1), b"no frame".to_vec()].concat(), "no frame of AAC"),
        (surround, "mono and stereo"),
        (vorbis, "something else than Opus"),
    ] {
        let refused = frames(bytes, 1_000).await.unwrap_err();
        assert!(refused.to_string().contains(said), "{said}: {refused}");
        assert_eq!(refused.kind(), io::ErrorKind::InvalidData);
    }
    assert_eq!(frames(Vec::new(), 1).await.unwrap(), []);
}

#[test]
fn aac_and_opus_payloads_are_told_apart() {
    assert!(is_adts(&aac(300, 1)));
    assert!(!is_adts(&aac(300, 1)[..299]));
    assert!(!is_adts(&opus(0xff)) && !is_adts(&[0xff, 0xf1]) && !is_adts(&[]));
}

#[test]
fn opus_file_continues_after_lost_packets() {
    let mut file = OpusFile::new(7);
    file.add(opus(1).into()).unwrap();
    file.skip(9);
    file.add(opus(2).into()).unwrap();
    file.finish().unwrap();
    let mut packets = ogg::PacketReader::new(io::Cursor::new(file.bytes()));
    let mut last = packets.read_packet_expected().unwrap();
    while let Some(packet) = packets.read_packet().unwrap() {
        last = packet;
    }
    assert!(last.last_in_stream());
    assert_eq!((last.data.clone(), last.absgp_page()), (opus(2), 11 * 960));
}

#[test]
fn invalid_packets_are_left_out_of_the_file() {
    assert_eq!(ogg(&[opus(1), Vec::new(), vec![0xff], opus(2)]), ogg(&[opus(1), opus(2)]));
}
