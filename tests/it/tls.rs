//! TLS: who is refused and who is served, certificates that change, and that what holds without it holds over it.
//!
//! [`authority`] makes certificates and clients of them.

pub(crate) mod authority;

mod admin;
mod command_line;
mod handshakes;
pub(crate) mod identities;
mod rotation;
mod streams;
pub(crate) mod tokens;
