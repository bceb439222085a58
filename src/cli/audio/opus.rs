//! Opus: packets out of an Ogg file, and into one (RFC 6716, RFC 7845).

use std::io;

use bytes::Bytes;
use futures_util::StreamExt;
use ogg::reading::async_api::PacketReader;
use ogg::{PacketWriteEndInfo, PacketWriter};
use tokio::io::AsyncRead;

use super::frame::{AudioFrame, invalid};

/// Opus always counts 48 000 samples a second.
const RATE: u32 = 48_000;
/// What decoders drop at the beginning: the delay of libopus. The packets do not tell that of their encoder.
const PRE_SKIP: u16 = 312;
/// A page of the file that is written ends after so many samples: a player that reads along waits no longer.
const PAGE: u64 = 9_600;

/// Takes the packets out of an Ogg file.
pub(in crate::cli) struct OpusPackets<R: AsyncRead + Unpin> {
    packets: PacketReader<R>,
    /// The stream whose header came, and whether its comments came too.
    stream: Option<(u32, bool)>,
}

impl<R: AsyncRead + Unpin> OpusPackets<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { packets: PacketReader::new(reader), stream: None }
    }

    pub(super) async fn next(&mut self) -> io::Result<Option<AudioFrame>> {
        while let Some(packet) = self.packets.next().await {
            let packet = packet.map_err(|error| invalid(format!("the Ogg file cannot be read: {error}")))?;
            let serial = packet.stream_serial();
            match self.stream {
                // Another one may follow, as in recordings of radio.
                _ if packet.first_in_stream() => {
                    check_head(&packet.data)?;
                    self.stream = Some((serial, false));
                }
                Some((known, false)) if known == serial => self.stream = Some((serial, true)),
                Some((known, true)) if known == serial => {
                    let data = Bytes::from(packet.data);
                    let samples = samples(&data).ok_or_else(|| invalid("a packet of Opus is damaged"))?;
                    return Ok(Some(AudioFrame { data, samples, rate: RATE }));
                }
                _ => return Err(invalid("there is more in the Ogg file than one stream of Opus")),
            }
        }
        Ok(None)
    }
}

/// Refuses what a player could not be told by the packets alone.
fn check_head(head: &[u8]) -> io::Result<()> {
    let Some(rest) = head.strip_prefix(b"OpusHead") else {
        return Err(invalid("the Ogg file holds something else than Opus"));
    };
    match rest {
        [version, channels, .., 0] if version & 0xf0 == 0 && (1..=2).contains(channels) && rest.len() == 11 => Ok(()),
        _ => Err(invalid("only mono and stereo Opus can be published")),
    }
}

/// How many samples a packet holds, at 48 000 a second.
fn samples(packet: &[u8]) -> Option<u32> {
    let (config, code) = (packet.first()? >> 3, packet[0] & 3);
    // In units of 2.5 ms.
    let frame = match config {
        0..=11 => [4, 8, 16, 24][usize::from(config & 3)],
        12..=15 => [4, 8][usize::from(config & 1)],
        _ => [1, 2, 4, 8][usize::from(config & 3)],
    };
    let frames = match code {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1)? & 0x3f),
    };
    let length = frame * frames;
    // 120 ms is the most.
    (1..=48).contains(&length).then_some(length * RATE / 400)
}

/// Puts packets into an Ogg file again, so that players can play it.
pub(in crate::cli) struct OpusFile {
    pages: PacketWriter<'static, Vec<u8>>,
    serial: u32,
    began: bool,
    /// The packet that came last: whether it ends the stream is not known yet.
    last: Option<Bytes>,
    /// Samples up to the end of the last packet, and of the last page.
    position: u64,
    page: u64,
}

impl OpusFile {
    pub(in crate::cli) fn new(serial: u32) -> Self {
        let pages = PacketWriter::new(Vec::new());
        Self { pages, serial, began: false, last: None, position: 0, page: 0 }
    }

    /// Adds a packet; one that is none is left out.
    pub(in crate::cli) fn add(&mut self, packet: Bytes) -> io::Result<()> {
        let Some(samples) = samples(&packet) else { return Ok(()) };
        if !self.began {
            self.began = true;
            self.begin(&packet)?;
        }
        if let Some(last) = self.last.replace(packet) {
            let ends = self.position - self.page >= PAGE;
            self.page = if ends { self.position } else { self.page };
            let end = if ends { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
            self.pages.write_packet(last.to_vec(), self.serial, end, self.position)?;
        }
        self.position += u64::from(samples);
        Ok(())
    }

    /// So many packets were lost: what follows sounds at its time all the same.
    pub(in crate::cli) fn skip(&mut self, packets: u64) {
        let samples = self.last.as_ref().and_then(|last| samples(last)).unwrap_or_default();
        self.position = self.position.saturating_add(packets.saturating_mul(samples.into()));
    }

    /// Ends the stream.
    pub(in crate::cli) fn finish(&mut self) -> io::Result<()> {
        match self.last.take() {
            Some(last) => {
                self.pages.write_packet(last.to_vec(), self.serial, PacketWriteEndInfo::EndStream, self.position)
            }
            None => Ok(()),
        }
    }

    /// The bytes of the file that were made since the last call.
    pub(in crate::cli) fn bytes(&mut self) -> Vec<u8> {
        std::mem::take(self.pages.inner_mut())
    }

    /// Writes the headers: the packets tell whether they are stereo.
    fn begin(&mut self, packet: &[u8]) -> io::Result<()> {
        let channels = if packet[0] & 4 == 0 { 1 } else { 2 };
        let mut head = b"OpusHead\x01".to_vec();
        head.push(channels);
        head.extend(PRE_SKIP.to_le_bytes());
        head.extend(RATE.to_le_bytes());
        // No gain, and the mapping of mono and stereo.
        head.extend([0, 0, 0]);
        self.pages.write_packet(head, self.serial, PacketWriteEndInfo::EndPage, 0)?;
        let vendor = b"starling";
        let mut tags = b"OpusTags".to_vec();
        tags.extend(u32::try_from(vendor.len()).unwrap_or_default().to_le_bytes());
        tags.extend(vendor);
        tags.extend(0_u32.to_le_bytes());
        self.pages.write_packet(tags, self.serial, PacketWriteEndInfo::EndPage, 0)
    }
}
