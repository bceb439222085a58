//! The secret by which servers of one cluster know each other.

use std::fmt;

use sha2::{Digest, Sha256};
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::service::Interceptor;
use tonic::{Request, Status};

/// The header that carries it.
const HEADER: &str = "starling-peer-secret-bin";

/// The secret by which servers of one cluster know each other.
#[derive(Clone)]
pub struct PeerSecret {
    bytes: Box<[u8]>,
    digest: [u8; 32],
}

impl PeerSecret {
    /// One of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), digest: Sha256::digest(bytes).into() }
    }

    /// Whether a call carries it. The time that this takes does not depend on what it carries.
    fn is_carried(&self, metadata: &MetadataMap) -> bool {
        let Some(given) = metadata.get_bin(HEADER).and_then(|value| value.to_bytes().ok()) else { return false };
        let given: [u8; 32] = Sha256::digest(&given).into();
        // Digests are of one length, and no byte is left out, whatever those before it are.
        let differs = given.iter().zip(&self.digest).fold(0, |differs, (a, b)| differs | (a ^ b));
        std::hint::black_box(differs) == 0
    }
}

impl fmt::Debug for PeerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerSecret").finish_non_exhaustive()
    }
}

/// Lets only calls pass that carry the secret.
#[derive(Clone, Debug)]
pub(super) struct CheckSecret(pub(super) PeerSecret);

impl Interceptor for CheckSecret {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match self.0.is_carried(request.metadata()) {
            true => Ok(request),
            false => Err(Status::unauthenticated("the call does not carry the secret of this cluster")),
        }
    }
}

/// Adds the secret to each call.
#[derive(Clone, Debug)]
pub(super) struct CarrySecret(pub(super) PeerSecret);

impl Interceptor for CarrySecret {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert_bin(HEADER, BinaryMetadataValue::from_bytes(&self.0.bytes));
        Ok(request)
    }
}
