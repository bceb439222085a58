//! Tokens whose signatures are wrong: each has to be calculated before that is known.

use tokio::time::Instant;

use super::call_flood::call_again;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::credentials::{Issuer, TokenAlgorithm};
use crate::link::bearer;

pub(super) struct BadSignatures;

impl Case for BadSignatures {
    fn name(&self) -> &'static str {
        "bad-signatures"
    }

    fn does(&self) -> &'static str {
        "calls as fast as it can, 64 at a time, each with another forged token of EdDSA, then ES256, then RS256 with 4 096 bits"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            for (algorithm, parts) in TokenAlgorithm::ALL.into_iter().zip([3, 2, 1]) {
                let ends = Instant::now() + attacker.left() / parts;
                let forged = |number| Some(bearer(&Issuer::forged(algorithm, number)));
                let rate = call_again(attacker, ends, forged).await?;
                attacker.figure(format!("{rate}/s of {}", algorithm.name()));
            }
            Ok(())
        })
    }
}
