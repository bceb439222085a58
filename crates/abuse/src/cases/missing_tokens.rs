//! Calls of nobody.

use tokio::time::Instant;

use super::call_flood::call_again;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};

pub(super) struct MissingTokens;

impl Case for MissingTokens {
    fn name(&self) -> &'static str {
        "missing-tokens"
    }

    fn does(&self) -> &'static str {
        "calls as fast as it can, 64 at a time, without a token"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let rate = call_again(attacker, Instant::now() + attacker.left(), |_| None).await?;
            attacker.figure(format!("{rate}/s"));
            Ok(())
        })
    }
}
