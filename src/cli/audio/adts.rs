//! AAC in the Audio Data Transport Stream.

use std::io;

use adts_reader::{AdtsHeader, AdtsHeaderError};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::frame::{AudioFrame, invalid};

/// Samples in a block of AAC.
const BLOCK: u32 = 1_024;
/// Room made for one read. A frame is at most 8 191 bytes long.
const READ_SIZE: usize = 16 * 1024;

/// Cuts what it reads into frames, headers included.
#[derive(Debug)]
pub(in crate::cli) struct AdtsFrames<R> {
    reader: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> AdtsFrames<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: BytesMut::new() }
    }

    pub(super) async fn next(&mut self) -> io::Result<Option<AudioFrame>> {
        loop {
            if let Some((length, samples, rate)) = frame(&self.buffer)?
                && self.buffer.len() >= length
            {
                return Ok(Some(AudioFrame { data: self.buffer.split_to(length).freeze(), samples, rate }));
            }
            self.buffer.reserve(READ_SIZE);
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(invalid("the AAC ends in the middle of a frame")),
                };
            }
        }
    }
}

/// The length, the samples and the sampling rate of the frame that begins here; `None` when that cannot be told yet.
pub(super) fn frame(bytes: &[u8]) -> io::Result<Option<(usize, u32, u32)>> {
    if bytes.is_empty() {
        return Ok(None);
    }
    match AdtsHeader::from_bytes(bytes) {
        Ok(header) => {
            let rate = header.sampling_frequency().freq();
            let rate = rate.ok_or_else(|| invalid("a frame of AAC has a sampling rate that is not defined"))?;
            let samples = BLOCK * u32::from(header.number_of_raw_data_blocks_in_frame());
            Ok(Some((usize::from(header.frame_length()), samples, rate)))
        }
        Err(AdtsHeaderError::NotEnoughData { .. }) => Ok(None),
        Err(error) => Err(invalid(format!("what follows is no frame of AAC in ADTS: {error:?}"))),
    }
}
