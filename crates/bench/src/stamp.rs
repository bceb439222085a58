//! When an update was due, carried in its payload.

use tokio::time::Instant;

/// Bytes of a stamp, at the beginning of the payload.
pub(crate) const STAMP: usize = 16;
const MAGIC: [u8; 8] = *b"starling";

/// The clock of publisher and viewers, which are one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(self) -> u64 {
        self.at(Instant::now())
    }

    /// An instant in nanoseconds since the start.
    pub(crate) fn at(self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.0).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A payload of `size` bytes, at least [`STAMP`], that was due at `nanos`.
pub(crate) fn payload(size: usize, nanos: u64) -> Vec<u8> {
    let mut payload = Vec::with_capacity(size.max(STAMP));
    payload.extend_from_slice(&MAGIC);
    payload.extend_from_slice(&nanos.to_le_bytes());
    payload.resize(size.max(STAMP), 0xa5);
    payload
}

/// When a payload was due, in nanoseconds; `None` when it has no stamp.
pub(crate) fn due(payload: &[u8]) -> Option<u64> {
    let (magic, rest) = payload.split_first_chunk::<8>()?;
    let (nanos, _) = rest.split_first_chunk::<8>()?;
    (*magic == MAGIC).then(|| u64::from_le_bytes(*nanos))
}
