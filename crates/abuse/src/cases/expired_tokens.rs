//! A token that has expired, again and again.

use tokio::time::Instant;

use super::call_flood::call_again;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::credentials::stranger_claim;
use crate::ending::Ending;
use crate::link::bearer;

pub(super) struct ExpiredTokens;

impl Case for ExpiredTokens {
    fn name(&self) -> &'static str {
        "expired-tokens"
    }

    fn does(&self) -> &'static str {
        "calls as fast as it can, 64 at a time, with a token that was good until ten minutes ago"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let issuer = &attacker.credentials().issuer;
            let expired = issuer.expired("stranger", &stranger_claim()).map_err(|_| Ending::Closed)?;
            let expired = bearer(&expired);
            let rate = call_again(attacker, Instant::now() + attacker.left(), |_| Some(expired.clone())).await?;
            attacker.figure(format!("{rate}/s"));
            Ok(())
        })
    }
}
