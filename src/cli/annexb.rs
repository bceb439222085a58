//! An H.264 elementary stream (Annex B byte stream format), cut into access units: one encoded
//! picture each, with the parameter sets that precede it. One access unit is one update.
//!
//! Nothing is decoded and nothing is changed: the units, put together, are the input byte for byte.
//! That holds for broken streams too; what is not recognised stays in the unit it was found in.
//!
//! A unit begins (H.264, 7.4.1.2.3 and 7.4.1.2.4) where, after a slice, comes
//! - an access unit delimiter, a parameter set, an SEI message or one of the types 14 to 18, or
//! - a slice whose `first_mb_in_slice` is 0: the top left corner of the next picture.
//!
//! The last rule stands in for the standard's comparison of slice headers (frame number, picture
//! order count, ...), for which one must keep every parameter set. The price: arbitrary slice
//! order, redundant slices, and the prefix units of scalable multi-slice streams are cut wrongly,
//! and a picture that lost its first slice is taken for a part of the one before it. The first
//! three are hardly ever met outside conformance suites, and the last is a broken stream.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Largest access unit taken, unless [`AccessUnits::with_limit`] says otherwise: what the server
/// takes as one payload by default.
pub const DEFAULT_LIMIT: usize = 1024 * 1024;

const START_CODE: [u8; 3] = [0, 0, 1];
/// Room made for one read.
const READ_SIZE: usize = 64 * 1024;
/// Below this much room more is made: a nearly full buffer would cause many short reads.
const READ_SIZE_MIN: usize = 4 * 1024;
/// Longest end of the buffer that may belong to the next unit: the zero byte that makes a start
/// code four bytes long, the start code itself, and the header of a slice that is still to come.
const UNDECIDED_MAX: usize = 5;

/// One encoded picture, as it stood in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// All bytes from the unit's first start code up to the next unit's.
    pub data: Bytes,
    /// Whether it holds a slice of an IDR picture, from which a decoder can start.
    /// The recovery points of open GOPs do not count: pictures after one may need some before it.
    pub keyframe: bool,
}

/// Cuts what it reads into access units.
///
/// Memory is bounded by the limit and one read, and the work by the length of the stream, however
/// short the reads are. The end of a unit is known when the next one begins: a live stream comes out
/// one picture late.
#[derive(Debug)]
pub struct AccessUnits<R> {
    reader: R,
    limit: usize,
    /// The unit under way, and what was read after it. Whatever has been handed out is gone.
    buffer: BytesMut,
    /// No start code that is still to be looked at begins before this.
    scanned: usize,
    /// What the unit under way holds so far.
    held: Held,
    /// A stream without any start code is not Annex B.
    start_code_seen: bool,
    ended: bool,
}

/// What is known of the unit under way.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    slice: bool,
    idr: bool,
}

impl<R: AsyncRead + Unpin> AccessUnits<R> {
    /// Starts at the reader's present position, with [`DEFAULT_LIMIT`].
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            limit: DEFAULT_LIMIT,
            buffer: BytesMut::new(),
            scanned: 0,
            held: Held::default(),
            start_code_seen: false,
            ended: false,
        }
    }

    /// Refuses access units of more than `bytes` bytes.
    #[must_use]
    pub fn with_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// The next access unit; `None` when the stream is at its end.
    ///
    /// Cancel safe: nothing that was read is lost when the future is dropped.
    ///
    /// # Errors
    ///
    /// Those of the reader, after which it may be called again; and [`io::ErrorKind::InvalidData`]
    /// when a unit exceeds the limit, or when a stream that is not empty ends without a start code.
    /// After these two the stream is at its end.
    pub async fn next(&mut self) -> io::Result<Option<AccessUnit>> {
        loop {
            if let Some(boundary) = self.scan() {
                return self.hand_out(boundary).map(Some);
            }
            if self.ended {
                return self.hand_out_rest();
            }
            if self.buffer.len() > self.limit.saturating_add(UNDECIDED_MAX) {
                return Err(self.refuse());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> io::Result<()> {
        if self.buffer.capacity() - self.buffer.len() < READ_SIZE_MIN {
            self.buffer.reserve(READ_SIZE);
        }
        self.ended = self.reader.read_buf(&mut self.buffer).await? == 0;
        Ok(())
    }

    /// Looks at the NAL units that came, up to the one that begins the next access unit; returns
    /// where that is.
    fn scan(&mut self) -> Option<usize> {
        while let Some(code) = find_start_code(&self.buffer, self.scanned) {
            let payload = code + START_CODE.len() + 1;
            if self.buffer.len() <= payload && !self.ended {
                // Too early to say what it is: it is found again after the next read.
                self.scanned = code;
                return None;
            }
            self.start_code_seen = true;
            let nal = Nal::parse(&self.buffer[code + START_CODE.len()..]);
            if nal.begins_unit_after(self.held) {
                return Some(start_of_code(&self.buffer, code));
            }
            self.held.add(nal);
            self.scanned = code + START_CODE.len();
        }
        // The last two bytes may be the beginning of a start code.
        self.scanned = self.scanned.max(self.buffer.len().saturating_sub(START_CODE.len() - 1));
        None
    }

    fn hand_out(&mut self, boundary: usize) -> io::Result<AccessUnit> {
        if boundary > self.limit {
            return Err(self.refuse());
        }
        let unit = AccessUnit { data: self.buffer.split_to(boundary).freeze(), keyframe: self.held.idr };
        // The NAL unit at the boundary is looked at once more, now as the first of its own unit.
        self.scanned = 0;
        self.held = Held::default();
        Ok(unit)
    }

    fn hand_out_rest(&mut self) -> io::Result<Option<AccessUnit>> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        if !self.start_code_seen {
            return Err(self.refuse());
        }
        self.hand_out(self.buffer.len()).map(Some)
    }

    /// Ends the stream: behind a unit that is refused there is no place from which to go on.
    fn refuse(&mut self) -> io::Error {
        let problem = if self.start_code_seen {
            format!("an access unit is larger than the limit of {} bytes", self.limit)
        } else {
            format!(
                "no start code (00 00 01) in {} bytes: not an H.264 Annex B stream; one in a container \
                 (MP4, MKV) must be extracted first",
                self.buffer.len()
            )
        };
        self.buffer = BytesMut::new();
        self.scanned = 0;
        self.ended = true;
        io::Error::new(io::ErrorKind::InvalidData, problem)
    }
}

/// Where the first start code at or after `from` begins. Emulation prevention keeps the three bytes
/// out of everything else, so no other context is needed.
fn find_start_code(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        match bytes.get(at..at + START_CODE.len())? {
            [0, 0, 1] => return Some(at),
            // A third byte above 1 is in no start code: the next can begin behind it.
            [_, _, 2..=255] => at += 3,
            _ => at += 1,
        }
    }
}

/// A zero byte in front of a start code makes it a long one; any more trail the NAL unit before
/// (B.1.1 of the standard).
fn start_of_code(bytes: &[u8], code: usize) -> usize {
    match code.checked_sub(1) {
        Some(before) if bytes[before] == 0 => before,
        _ => code,
    }
}

/// As much of a NAL unit as decides where access units begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nal {
    /// A coded slice, or the first partition of one.
    Slice { first_of_picture: bool, idr: bool },
    /// What may only stand in front of the slices.
    Leading,
    /// What belongs to the slices before it, or says nothing.
    Other,
}

impl Nal {
    /// `bytes` begin behind the start code. Two of them decide; fewer are the end of a stream that
    /// was cut off.
    fn parse(bytes: &[u8]) -> Self {
        let Some(header) = bytes.first() else {
            return Self::Other;
        };
        match header & 0x1f {
            nal_type @ (1 | 2 | 5) => Self::Slice {
                // It begins with first_mb_in_slice as ue(v), where a first bit 1 is the number 0.
                first_of_picture: bytes.get(1).is_some_and(|payload| payload & 0x80 != 0),
                idr: nal_type == 5,
            },
            6..=9 | 14..=18 => Self::Leading,
            _ => Self::Other,
        }
    }

    fn begins_unit_after(self, held: Held) -> bool {
        held.slice
            && match self {
                Self::Slice { first_of_picture, .. } => first_of_picture,
                Self::Leading => true,
                Self::Other => false,
            }
    }
}

impl Held {
    fn add(&mut self, nal: Nal) {
        if let Nal::Slice { idr, .. } = nal {
            self.slice = true;
            self.idr |= idr;
        }
    }
}

#[cfg(test)]
mod tests;
