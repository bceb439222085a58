//! Which forms of states there are.

/// A form of states. A build reads all that are here, and writes the one that it is told: while pods of two builds run,
/// the one that both of them read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum StateVersion {
    /// The first one.
    V1 = 1,
}

impl StateVersion {
    /// The newest one.
    pub const NEWEST: Self = Self::V1;

    /// The version with this number; `None` when this build does not read it.
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::V1),
            _ => None,
        }
    }
}
