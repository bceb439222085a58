//! What the fuzz targets run: for each a function over bytes from anywhere, which panics when what must hold does not.
//!
//! Built by cargo-fuzz, whose targets in `fuzz/` call these functions, and in tests, which call them with each file of
//! the corpus beside the targets.

mod certificates;
mod commands;
mod configuration;
#[cfg(test)]
mod corpus;
mod deliveries;
mod http2;
mod requests;
mod signatures;
mod states;
mod swarms;
mod tokens;

pub use certificates::certificates;
pub use commands::commands;
pub use configuration::configuration;
pub use deliveries::deliveries;
pub use http2::http2;
pub use requests::requests;
pub use signatures::signatures;
pub use states::states;
pub use swarms::{revocations, swarms};
pub use tokens::tokens;

pub use crate::cli::fuzzing::{annexb, audio};
pub use crate::grpc::fuzzing::positions;
pub use crate::identity::fuzzing::keys;

/// Runs one target over an input.
pub type FuzzTarget = fn(&[u8]);

/// Every target, by the name of its file in `fuzz/fuzz_targets` and of its directory in `fuzz/corpus`.
pub const TARGETS: &[(&str, FuzzTarget)] = &[
    ("annexb", annexb),
    ("audio", audio),
    ("certificates", certificates),
    ("commands", commands),
    ("configuration", configuration),
    ("deliveries", deliveries),
    ("http2", http2),
    ("keys", keys),
    ("positions", positions),
    ("requests", requests),
    ("revocations", revocations),
    ("signatures", signatures),
    ("states", states),
    ("swarms", swarms),
    ("tokens", tokens),
];
