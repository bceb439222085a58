//! The faults of `elara-diffusion` 0.2.0, E1 to E44 of our survey: the seed wrong
//! where that is cheap to show, and ours right.
//!
//! Elsewhere: E21, E23, E25 and E38 to E40 belong to the path of updates (keyframes,
//! bandwidth, payloads, the scheduler), which the core has no part in; E44 (a README
//! about types that do not exist) is a matter of documentation. E4, an endless loop
//! of the seed, is not called. E2 and E9 are about time: the benchmarks measure it,
//! here the number of changes stands for it.

mod authority;
mod group;
mod livestream;
mod stage;
mod topology;
