//! Tokens become identities.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::key_files::{KeyFault, KeyFaults, KeyFiles, KeySources, Refreshed};
use super::key_set::{KeySet, Verified};
use super::refused::TokenRefused;
use super::token_parts::{MAX_TOKEN_BYTES, TokenParts};
use super::{Identity, Nodes, Permissions};

/// What a token must be, beside signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierSettings {
    /// Its `iss`.
    pub issuer: String,
    /// What is in its `aud`.
    pub audience: String,
    /// How far its clock and this server's may be apart.
    pub leeway: Duration,
    /// The longest time from its `iat` to its `exp`.
    pub max_age: Duration,
}

/// Makes identities of tokens, by keys that it reads again when their files change.
#[derive(Debug)]
pub struct Verifier {
    settings: VerifierSettings,
    keys: RwLock<Arc<KeySet>>,
    files: Mutex<KeyFiles>,
}

impl Verifier {
    /// Reads the keys.
    ///
    /// # Errors
    /// When a file is not right, or there is no key at all.
    pub fn load(settings: VerifierSettings, sources: KeySources) -> Result<Self, KeyFaults> {
        let mut files = KeyFiles::new(sources);
        let Refreshed { keys, mut faults } = files.refresh();
        let keys = keys.unwrap_or_default();
        if faults.is_empty() && keys.is_empty() {
            faults.push(KeyFault { file: files.any_source(), problem: "there is no key".to_owned() });
        }
        if !faults.is_empty() {
            return Err(KeyFaults(faults));
        }
        Ok(Self { settings, keys: RwLock::new(Arc::new(KeySet::new(keys))), files: Mutex::new(files) })
    }

    /// The identity that a token proves at a time, in milliseconds since the Unix epoch. It is looked at in the order of
    /// its parts: size, form, key, algorithm, signature, claims, scope of the key, times.
    ///
    /// A token that was signed right is remembered until the keys change or its room is needed: a signature costs a hundred
    /// times what the look-up does. So is one that has expired, whose client may not know it and try again and again.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn verify(&self, token: &str, now_ms: u64) -> Result<Arc<Identity>, TokenRefused> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenRefused::TooLarge);
        }
        let keys = Arc::clone(&self.keys.read());
        let hash = Sha256::digest(token).into();
        if let Some(verified) = keys.verified(&hash) {
            return verified.at(now_ms);
        }
        let verified = self.check(&keys, token)?;
        let outcome = verified.at(now_ms);
        keys.remember(hash, verified);
        outcome
    }

    /// Whether a token would be looked up, and not calculated.
    #[cfg(test)]
    pub(super) fn remembers(&self, token: &str) -> bool {
        self.keys.read().verified(&Sha256::digest(token).into()).is_some()
    }

    /// What is known of a token from a time before, without a look at its signature.
    pub fn recall(&self, token: &str, now_ms: u64) -> Option<Result<Arc<Identity>, TokenRefused>> {
        if token.len() > MAX_TOKEN_BYTES {
            return Some(Err(TokenRefused::TooLarge));
        }
        let keys = Arc::clone(&self.keys.read());
        keys.verified(&Sha256::digest(token).into()).map(|verified| verified.at(now_ms))
    }

    /// Reads the files of keys again. Tokens of keys that are gone are refused from now on.
    ///
    /// # Errors
    /// What is wrong with the files since the last time; their old keys stay.
    pub fn reload(&self) -> Result<(), KeyFaults> {
        let mut files = self.files.lock();
        let Refreshed { keys, faults } = files.refresh();
        if let Some(keys) = keys {
            let keys = KeySet::new(keys);
            tracing::info!(keys = keys.ids().count(), "the keys of tokens have changed");
            *self.keys.write() = Arc::new(keys);
        }
        if faults.is_empty() { Ok(()) } else { Err(KeyFaults(faults)) }
    }

    /// Reloads the keys again and again, for ever. What is wrong with a file is logged once.
    pub async fn keep_current(self: Arc<Self>, interval: Duration) {
        loop {
            tokio::time::sleep(interval).await;
            let verifier = Arc::clone(&self);
            // Files may lie on a network.
            match tokio::task::spawn_blocking(move || verifier.reload()).await {
                Ok(Ok(())) => {}
                Ok(Err(KeyFaults(faults))) => {
                    for KeyFault { file, problem } in faults {
                        tracing::error!(file = %file.display(), problem, "a file of keys is not right; its old keys stay");
                    }
                }
                Err(error) => tracing::error!(%error, "the keys of tokens cannot be reloaded"),
            }
        }
    }

    /// Everything about a token that does not depend on the time.
    fn check(&self, keys: &KeySet, token: &str) -> Result<Verified, TokenRefused> {
        let parts = TokenParts::of(token)?;
        let key = keys.key(parts.key_id.as_deref()).ok_or(TokenRefused::UnknownKey)?;
        if !key.is_for(&parts.algorithm) {
            return Err(TokenRefused::WrongAlgorithm);
        }
        if !key.verifies(parts.message, parts.signature) {
            return Err(TokenRefused::BadSignature);
        }
        let claims = Claims::parse(&parts.payload)?;
        if claims.issuer != self.settings.issuer {
            return Err(TokenRefused::WrongIssuer);
        }
        if !claims.audience.contains(&self.settings.audience) {
            return Err(TokenRefused::WrongAudience);
        }
        if u128::from(claims.expires_at - claims.issued_at) > self.settings.max_age.as_millis() {
            return Err(TokenRefused::TooLongLived);
        }
        let leeway = u64::try_from(self.settings.leeway.as_millis()).unwrap_or(u64::MAX);
        let expires_at = claims.expires_at.saturating_add(leeway);
        let back_end: Option<Arc<str>> =
            (!matches!(claims.nodes, Nodes::One(_))).then(|| claims.subject.as_str().into());
        let name_bytes = back_end.as_ref().map_or(0, |name| name.len());
        let identity = Identity {
            nodes: claims.nodes,
            back_end,
            permissions: Permissions::All,
            issued_at: Some(claims.issued_at),
            expires_at: Some(expires_at),
        };
        let own = identity.node().map(|node| node.get());
        if key.scope.as_ref().is_some_and(|scope| !scope.covers(&claims.authority, own)) {
            return Err(TokenRefused::BeyondScope);
        }
        let ranges = claims.authority.ranges();
        let identity = Identity { permissions: Permissions::Some(claims.authority.permissions), ..identity };
        Ok(Verified {
            identity: Arc::new(identity),
            valid_from: claims.issued_at.max(claims.not_before.unwrap_or(0)).saturating_sub(leeway),
            expires_at,
            ranges,
            name_bytes,
        })
    }
}

impl Verified {
    fn at(&self, now_ms: u64) -> Result<Arc<Identity>, TokenRefused> {
        if now_ms < self.valid_from {
            return Err(TokenRefused::NotYetValid);
        }
        if now_ms >= self.expires_at {
            return Err(TokenRefused::Expired);
        }
        Ok(Arc::clone(&self.identity))
    }
}
