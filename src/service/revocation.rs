//! Tokens that are refused.

use std::sync::Arc;

use super::{Service, ServiceError};
use crate::store::revoked::RevokedTokens;
use starling_core::command::RevokeTokens;
use starling_core::id::NodeId;
use starling_core::revocations::Revocation;

/// What is known of tokens, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct TokenTimes {
    /// How old one may be at most.
    pub max_age_ms: u64,
    /// How far the clocks of those who issue them may be from this one.
    pub leeway_ms: u64,
}

impl Service {
    /// Which tokens are refused: to be asked with each call that brings one, and again by each stream that was opened
    /// with one.
    pub fn revocations(&self) -> &Arc<RevokedTokens> {
        self.log.store().revoked()
    }

    /// The latest time that tokens can be revoked up to now: what was issued until then, by a clock that is ahead.
    ///
    /// # Errors
    ///
    /// [`ServiceError::IdentityOff`].
    pub fn latest_revocation(&self) -> Result<u64, ServiceError> {
        let tokens = self.settings.tokens.ok_or(ServiceError::IdentityOff)?;
        Ok(self.clock().wall().saturating_add(tokens.leeway_ms))
    }

    /// Refuses the tokens of a node that were issued before a time, at most [`Self::latest_revocation`]; `None` = now.
    /// In milliseconds since the Unix epoch. Answers with what is in force of it then.
    ///
    /// # Errors
    ///
    /// [`ServiceError::IdentityOff`]; `Quota` when the tokens of as many nodes are revoked as may be.
    pub async fn revoke_tokens(&self, node: NodeId, issued_before: Option<u64>) -> Result<Revocation, ServiceError> {
        let latest = self.latest_revocation()?;
        let TokenTimes { max_age_ms, leeway_ms } = self.settings.tokens.ok_or(ServiceError::IdentityOff)?;
        let (now, wall) = (self.log.server_now(), self.clock().wall());
        let issued_before = issued_before.unwrap_or(wall).min(latest);
        // Who issues goes by the wall clock, commands by one that goes on evenly.
        let oldest = issued_before.saturating_add(max_age_ms).saturating_add(leeway_ms).saturating_sub(wall);
        let command = RevokeTokens { node, issued_before, forget_at: now.saturating_add(oldest) };
        Ok(self.log.revoke(command).await?)
    }

    /// Up to `limit` revocations in the order of their nodes, from `from` on; and where the next page begins.
    ///
    /// # Errors
    ///
    /// [`ServiceError::IdentityOff`].
    #[expect(clippy::type_complexity, reason = "a page and where the next one begins, as other lists have it")]
    pub fn list_revocations(
        &self,
        from: Option<NodeId>,
        limit: usize,
    ) -> Result<(Vec<(NodeId, Revocation)>, Option<NodeId>), ServiceError> {
        self.settings.tokens.ok_or(ServiceError::IdentityOff)?;
        Ok(self.revocations().list(from, limit, self.log.server_now()))
    }
}
