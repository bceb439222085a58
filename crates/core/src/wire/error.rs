//! Why bytes are no command, or no state, and where.

/// Why bytes are no command, or no state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("byte {offset}, {what}: {fault}")]
pub struct WireError {
    /// Where the faulty value begins; where the bytes end, when they end early.
    pub offset: usize,
    /// The field that was read, such as `Join.ttl_ms`.
    pub what: &'static str,
    /// What is wrong with it.
    pub fault: Fault,
}

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A version that this build does not read.
    #[error("version {found} is unknown")]
    Version {
        /// The version.
        found: u8,
    },
    /// The bytes end within the value.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes follow the command, or the state.
    #[error("bytes left over: {count}")]
    Trailing {
        /// How many.
        count: usize,
    },
    /// No variant has this tag.
    #[error("tag {found} is unknown")]
    Tag {
        /// The tag.
        found: u8,
    },
    /// An id is 0, which names nothing.
    #[error("an id is 0")]
    ZeroId,
    /// An integer that its type cannot hold.
    #[error("a number above {max}")]
    OutOfRange {
        /// The largest that it can.
        max: u64,
    },
    /// An integer in more bytes than it needs.
    #[error("a number in more bytes than it needs")]
    Overlong,
    /// A length that the bytes cannot honour.
    #[error("a length of {claimed} with {left} bytes left")]
    Length {
        /// The length.
        claimed: u64,
        /// How many bytes follow it.
        left: usize,
    },
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    Utf8,
    /// A relay tree in which nobody may feed two nodes.
    #[error("a fan-out of {found}")]
    Fanout {
        /// The fan-out.
        found: u32,
    },
    /// An entry that does not come after the one before it.
    #[error("an entry out of order")]
    Order,
    /// What may be there once is there again.
    #[error("an entry that is there already")]
    Repeated,
    /// A value is told that follows from others.
    #[error("a value that needs no telling")]
    Redundant,
}
