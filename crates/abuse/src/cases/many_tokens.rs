//! Good tokens, more than a server remembers.

use serde_json::json;
use tokio::time::Instant;

use super::call_flood::call_again;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::link::bearer;

/// Ids that each token names, none of them after another: they are kept one by one.
const IDS: u64 = 500;
/// What a server keeps of tokens that it has verified, in bytes (`src/identity/key_set.rs`).
const VERIFIED: u64 = 16 << 20;

pub(super) struct ManyTokens;

impl Case for ManyTokens {
    fn name(&self) -> &'static str {
        "many-tokens"
    }

    fn does(&self) -> &'static str {
        "calls as fast as it can, 64 at a time, each with another good token that names 500 swarms"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        VERIFIED
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        self.budget(budgets)
    }

    // The oldest make room.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let ids: Vec<u64> = (1..=IDS).map(|id| 1_000_000 + 2 * id).collect();
            let claim = json!({ "grants": [{ "livestreams": ids, "may": ["join"] }] });
            let issuer = &attacker.credentials().issuer;
            let token = |number: u64| issuer.token(&(number + 1).to_string(), &claim).ok().map(|token| bearer(&token));
            let rate = call_again(attacker, Instant::now() + attacker.left(), token).await?;
            attacker.figure(format!("{rate}/s"));
            Ok(())
        })
    }
}
