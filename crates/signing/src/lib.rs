//! Signed updates: what is signed byte for byte, with which keys, and how it is verified.
//!
//! The server verifies what is published with it, `starling-client` signs and verifies. Other
//! languages need Ed25519 (RFC 8032), SHA-256 and the table in [`message`]; `tests/vectors.txt`
//! has examples to test against.

mod hexadecimal;
mod key;
pub mod message;

pub use hexadecimal::{HexError, from_hex, to_hex};
pub use key::{KeyError, PublicKey, SIGNATURE_BYTES, SignatureError, SigningKey};
pub use message::{SignedUpdate, SwarmTag};
