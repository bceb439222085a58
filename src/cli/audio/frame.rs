//! What every format is cut into.

use std::io;

use bytes::Bytes;

/// A frame of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cli) struct AudioFrame {
    pub(in crate::cli) data: Bytes,
    /// How long it sounds: so many samples,
    pub(in crate::cli) samples: u32,
    /// at so many a second.
    pub(in crate::cli) rate: u32,
}

/// The error of what is no frame.
pub(super) fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}
