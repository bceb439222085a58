//! Numbers and lengths as bytes, for what the log and the object store keep.
//!
//! A number is what it is in the byte form of commands ([`leb128`]), so that each value has one form.

use starling_core::leb128::{self, NumberFault};
use thiserror::Error;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {offset}, {what}: {fault}")]
pub struct MalformedBytes {
    /// Where, from the first byte.
    pub offset: usize,
    /// What was being read.
    pub what: &'static str,
    /// What is wrong.
    pub fault: ByteFault,
}

/// What is wrong with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ByteFault {
    /// They end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// A format that this build does not read.
    #[error("format {found} is unknown")]
    Format {
        /// The format.
        found: u8,
    },
    /// A tag that means nothing in this format.
    #[error("tag {found} is unknown")]
    Tag {
        /// The tag.
        found: u8,
    },
    /// A number that has a shorter form, or none.
    #[error("a number that is not in its shortest form")]
    Number,
    /// A value above its bound, or against the order of its list.
    #[error("a value out of its range")]
    Range,
    /// More bytes than there should be.
    #[error("bytes left over")]
    Trailing,
}

pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    leb128::put(number, out);
}

/// Eight bytes: for what is drawn or hashed, where LEB128 would take ten.
pub(crate) fn put_word(out: &mut Vec<u8>, word: u64) {
    out.extend_from_slice(&word.to_le_bytes());
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes, and how far they are read.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(crate) const fn left(&self) -> usize {
        self.bytes.len() - self.offset
    }

    pub(crate) const fn fault(&self, what: &'static str, fault: ByteFault) -> MalformedBytes {
        MalformedBytes { offset: self.offset, what, fault }
    }

    pub(crate) fn byte(&mut self, what: &'static str) -> Result<u8, MalformedBytes> {
        let byte = self.bytes.get(self.offset).copied().ok_or_else(|| self.fault(what, ByteFault::Truncated))?;
        self.offset += 1;
        Ok(byte)
    }

    pub(crate) fn number(&mut self, what: &'static str) -> Result<u64, MalformedBytes> {
        leb128::take(self.bytes, &mut self.offset).map_err(|fault| match fault {
            NumberFault::Truncated => self.fault(what, ByteFault::Truncated),
            NumberFault::TooLarge | NumberFault::Overlong => self.fault(what, ByteFault::Number),
        })
    }

    pub(crate) fn number32(&mut self, what: &'static str) -> Result<u32, MalformedBytes> {
        u32::try_from(self.number(what)?).map_err(|_| self.fault(what, ByteFault::Range))
    }

    pub(crate) fn word(&mut self, what: &'static str) -> Result<u64, MalformedBytes> {
        let taken = self.take(8, what)?;
        let mut word = [0; 8];
        word.copy_from_slice(taken);
        Ok(u64::from_le_bytes(word))
    }

    /// A length: at most as many items as bytes are left, for none takes less than one.
    pub(crate) fn length(&mut self, what: &'static str) -> Result<usize, MalformedBytes> {
        let claimed = self.number(what)?;
        usize::try_from(claimed)
            .ok()
            .filter(|length| *length <= self.left())
            .ok_or_else(|| self.fault(what, ByteFault::Truncated))
    }

    pub(crate) fn bytes(&mut self, what: &'static str) -> Result<&'a [u8], MalformedBytes> {
        let length = self.length(what)?;
        self.take(length, what)
    }

    fn take(&mut self, length: usize, what: &'static str) -> Result<&'a [u8], MalformedBytes> {
        let end = self.offset + length;
        let taken = self.bytes.get(self.offset..end).ok_or_else(|| self.fault(what, ByteFault::Truncated))?;
        self.offset = end;
        Ok(taken)
    }

    pub(crate) fn finish(&self) -> Result<(), MalformedBytes> {
        if self.left() == 0 { Ok(()) } else { Err(self.fault("end", ByteFault::Trailing)) }
    }
}
