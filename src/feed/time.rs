//! Time as the feed counts it.

/// Microseconds on a clock of the process that never goes back.
pub type Micros = u64;
