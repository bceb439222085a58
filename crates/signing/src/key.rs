//! Keys: who signs, and the node that this is.

use std::fmt;

use ed25519_dalek::{Signature, Signer};
use sha2::{Digest, Sha256};

use crate::hexadecimal::to_hex;
use crate::message::SignedUpdate;

/// Bytes of a signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Bits of the digest of a key that are its node id.
const NODE_BITS: u32 = 53;

/// Why bytes are no key that signs updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There are other than 32.
    #[error("a key has 32 bytes, not {0}")]
    Length(usize),
    /// They encode no point of the curve.
    #[error("is no Ed25519 public key")]
    NoPoint,
    /// The point is of small order: anybody can sign for it.
    #[error("is a key of small order, for which anybody can sign")]
    SmallOrder,
    /// Its node id would be 0, which is nobody.
    #[error("has the node id 0")]
    NodeZero,
}

/// A signature that is not that of the key over the update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct SignatureError;

/// An Ed25519 public key that may sign updates.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: ed25519_dalek::VerifyingKey,
    node: u64,
}

impl PublicKey {
    /// The key with these bytes.
    ///
    /// # Errors
    ///
    /// Why they are none; see [`KeyError`].
    pub fn new(bytes: &[u8]) -> Result<Self, KeyError> {
        let bytes: &[u8; 32] = bytes.try_into().map_err(|_| KeyError::Length(bytes.len()))?;
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NoPoint)?;
        if key.is_weak() {
            return Err(KeyError::SmallOrder);
        }
        match node_of(bytes) {
            0 => Err(KeyError::NodeZero),
            node => Ok(Self { key, node }),
        }
    }

    /// Its 32 bytes.
    pub fn bytes(&self) -> [u8; 32] {
        self.key.to_bytes()
    }

    /// The node whose key it is: the first 53 bits of the SHA-256 of its 32 bytes, as an unsigned
    /// number whose highest bit comes first; 1 to 2^53 - 1.
    pub const fn node_id(&self) -> u64 {
        self.node
    }

    /// Verifies a signature over an update, as RFC 8032 has it, and strictly: S is canonical, and
    /// neither key nor R is of small order. So a signature is the only one of its update.
    ///
    /// # Errors
    ///
    /// [`SignatureError`] whatever is wrong with it.
    pub fn verify(&self, update: &SignedUpdate<'_>, signature: &[u8]) -> Result<(), SignatureError> {
        self.verify_bytes(&update.bytes(), signature)
    }

    fn verify_bytes(&self, message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
        let signature = Signature::from_slice(signature).map_err(|_| SignatureError)?;
        self.key.verify_strict(message, &signature).map_err(|_| SignatureError)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// In hexadecimal digits.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.bytes()))
    }
}

fn node_of(key: &[u8; 32]) -> u64 {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> (u64::BITS - NODE_BITS)
}

/// An Ed25519 secret key. It is not shown, and wiped from memory when it goes.
#[derive(Clone)]
pub struct SigningKey {
    secret: ed25519_dalek::SigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// The key of a seed: the 32 secret bytes of RFC 8032, which must be drawn at random.
    ///
    /// # Errors
    ///
    /// [`KeyError::NodeZero`], for one of 2^53 seeds.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, KeyError> {
        let secret = ed25519_dalek::SigningKey::from_bytes(seed);
        let public = PublicKey::new(&secret.verifying_key().to_bytes())?;
        Ok(Self { secret, public })
    }

    /// What others verify with.
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs an update.
    pub fn sign(&self, update: &SignedUpdate<'_>) -> [u8; SIGNATURE_BYTES] {
        self.sign_bytes(&update.bytes())
    }

    fn sign_bytes(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.secret.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
