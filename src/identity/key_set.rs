//! The keys of now, and the tokens that they have verified.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use super::Identity;
use super::key::Key;

/// What the tokens that were verified may take, in bytes: some 40,000 ordinary ones.
pub const VERIFIED_BYTES: u64 = 16 << 20;
/// What a verified token takes beside its ranges: entry, identity and its allocations.
const ENTRY_BYTES: usize = 400;
/// An id or a range of it.
const RANGE_BYTES: usize = 24;

/// SHA-256 of a token: who reads the memory of the process finds no tokens there.
pub(super) type TokenHash = [u8; 32];

/// The keys of now. A reload makes another set, with which the tokens that this one has verified are gone.
pub(super) struct KeySet {
    by_id: HashMap<String, Arc<Key>>,
    verified: Cache<TokenHash, Verified, ByBytes>,
}

/// A token whose signature and claims were found right; its times are looked at each time.
#[derive(Clone)]
pub(super) struct Verified {
    pub(super) identity: Arc<Identity>,
    /// In milliseconds since the Unix epoch, the leeway included.
    pub(super) valid_from: u64,
    pub(super) expires_at: u64,
    /// Ids and ranges that it names.
    pub(super) ranges: usize,
    /// The length of the name of a back-end.
    pub(super) name_bytes: usize,
}

#[derive(Clone)]
pub(super) struct ByBytes;

impl Weighter<TokenHash, Verified> for ByBytes {
    fn weight(&self, _hash: &TokenHash, verified: &Verified) -> u64 {
        (ENTRY_BYTES + RANGE_BYTES * verified.ranges + verified.name_bytes) as u64
    }
}

impl KeySet {
    pub(super) fn new(by_id: HashMap<String, Arc<Key>>) -> Self {
        // Room for the table is made as it fills.
        Self { by_id, verified: Cache::with_weighter(1_024, VERIFIED_BYTES, ByBytes) }
    }

    /// The key that a token names; one that names none means the only one.
    pub(super) fn key(&self, id: Option<&str>) -> Option<&Key> {
        match id {
            Some(id) => self.by_id.get(id).map(Arc::as_ref),
            None if self.by_id.len() == 1 => self.by_id.values().next().map(Arc::as_ref),
            None => None,
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &str> {
        self.by_id.keys().map(String::as_str)
    }

    pub(super) fn verified(&self, hash: &TokenHash) -> Option<Verified> {
        self.verified.get(hash)
    }

    pub(super) fn remember(&self, hash: TokenHash, verified: Verified) {
        self.verified.insert(hash, verified);
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet").field("ids", &self.by_id.keys()).finish_non_exhaustive()
    }
}
