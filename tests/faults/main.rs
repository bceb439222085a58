//! The faults of `elara-diffusion` 0.2.0, E1 to E44 of `docs/seed-faults.md`: the seed
//! wrong where that is cheap to show, and ours right.
//!
//! Elsewhere: E44 (a README about types that do not exist) is a matter of documents:
//! `tests/tidy/documents.rs` holds `docs/api.md` against the schema (every RPC, and no
//! other), `tests/it/edge/configuration.rs` the table of settings against the code.
//! E4, an endless loop of the seed, is not called. E2 and E9 are about time: the
//! benchmarks measure it, here the number of changes stands for it.

mod authority;
mod fixture;
mod group;
mod livestream;
mod topology;
mod updates;
