//! Keys by which broadcasters sign their updates.

use std::fmt;

/// An Ed25519 public key. The core compares it and hands it on; whether it is one, and whether its
/// node is the broadcaster, is checked before a command reaches the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BroadcasterKey([u8; 32]);

impl BroadcasterKey {
    /// The key with these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Its first bytes tell keys apart.
impl fmt::Debug for BroadcasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "BroadcasterKey({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}
