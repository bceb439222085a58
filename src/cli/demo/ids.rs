//! The swarms of the demo, and who broadcasts.

pub(super) const LIVESTREAM: u64 = 1;
pub(super) const BROADCASTER: u64 = 1;
pub(super) const GROUP: u64 = 1;
