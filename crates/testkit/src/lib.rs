//! What tests of several crates share. It depends on none of them.

mod program;
mod rng;

pub use program::{program, text};
pub use rng::Rng;
