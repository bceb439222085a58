//! Sound, cut into frames: one frame is one update on AUDIO.
//!
//! AAC comes as ADTS, whose frames say themselves what they are: the payload of an update is a frame with its header,
//! and the frames one behind the other are a file again. Opus comes in Ogg: the payload of an update is a packet as
//! encoders make and decoders take it, without the container.

mod adts;
mod frame;
mod opus;

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use self::adts::AdtsFrames;
pub(super) use self::frame::AudioFrame;
use self::frame::invalid;
pub(super) use self::opus::OpusFile;
use self::opus::OpusPackets;

/// A stream whose format is told by its first bytes.
pub(super) type Input = Box<dyn AsyncRead + Send + Unpin>;

/// Cuts what it reads into frames.
pub(super) enum AudioFrames {
    Adts(AdtsFrames<Input>),
    Opus(Box<OpusPackets<Input>>),
    /// There was nothing.
    Empty,
}

impl AudioFrames {
    /// Looks at the beginning of a stream.
    ///
    /// # Errors
    ///
    /// Those of the reader, and [`io::ErrorKind::InvalidData`] when it is neither of the two formats.
    pub(super) async fn open(mut input: Input) -> io::Result<Self> {
        let mut start = Vec::with_capacity(4);
        while start.len() < 4 {
            let missing = 4 - start.len() as u64;
            if (&mut input).take(missing).read_buf(&mut start).await? == 0 {
                break;
            }
        }
        let begins_adts = matches!(start[..], [0xff, second, ..] if second & 0xf6 == 0xf0);
        let (begins_ogg, empty) = (start == b"OggS", start.is_empty());
        let whole: Input = Box::new(io::Cursor::new(start).chain(input));
        match () {
            () if empty => Ok(Self::Empty),
            () if begins_adts => Ok(Self::Adts(AdtsFrames::new(whole))),
            () if begins_ogg => Ok(Self::Opus(Box::new(OpusPackets::new(whole)))),
            () => Err(invalid("neither AAC in ADTS nor Opus in Ogg: ffmpeg makes both, by -f adts and -f ogg")),
        }
    }

    /// The next frame; `None` at the end.
    ///
    /// Cancel safe: nothing that was read is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// Those of the reader, and [`io::ErrorKind::InvalidData`] when what follows is no frame.
    pub(super) async fn next(&mut self) -> io::Result<Option<AudioFrame>> {
        match self {
            Self::Adts(frames) => frames.next().await,
            Self::Opus(packets) => packets.next().await,
            Self::Empty => Ok(None),
        }
    }
}

/// Whether the payload of an update is a frame of AAC with its header. An Opus packet is not taken for one: the length
/// in the header would have to be its own.
pub(super) fn is_adts(payload: &[u8]) -> bool {
    adts::frame(payload).is_ok_and(|frame| frame.is_some_and(|(length, ..)| length == payload.len()))
}

#[cfg(test)]
mod tests;
