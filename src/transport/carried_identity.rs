//! Whose calls a connection carries.

use std::sync::atomic::{AtomicU64, Ordering};

/// No call of an identity came so far.
const NOBODY: u64 = 0;
/// Calls of several identities came, as through a proxy.
const SEVERAL: u64 = u64::MAX;

/// The one identity whose calls a connection carries, by a number.
#[derive(Debug)]
pub(super) struct CarriedIdentity(AtomicU64);

impl CarriedIdentity {
    /// Of a connection that has carried no call yet.
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(NOBODY))
    }

    /// Notes a call of the identity with this number.
    pub(super) fn note(&self, identity: u64) {
        let identity = identity.clamp(NOBODY + 1, SEVERAL - 1);
        let next = |known| match known {
            NOBODY => Some(identity),
            known => (known != SEVERAL && known != identity).then_some(SEVERAL),
        };
        // Most calls change nothing, and write nothing.
        let _: Result<u64, u64> = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    }

    /// The number; `None` = there was no such call, or they are of several.
    pub(super) fn get(&self) -> Option<u64> {
        match self.0.load(Ordering::Relaxed) {
            NOBODY | SEVERAL => None,
            identity => Some(identity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_identities_are_none() {
        let carried = CarriedIdentity::new();
        assert_eq!(carried.get(), None);
        for _ in 0..2 {
            carried.note(7);
            assert_eq!(carried.get(), Some(7));
        }
        carried.note(8);
        assert_eq!(carried.get(), None);
        carried.note(7);
        assert_eq!(carried.get(), None, "whose it was is not forgotten");
    }

    #[test]
    fn every_number_is_an_identity() {
        for number in [0, u64::MAX] {
            let carried = CarriedIdentity::new();
            carried.note(number);
            assert!(carried.get().is_some());
        }
    }
}
