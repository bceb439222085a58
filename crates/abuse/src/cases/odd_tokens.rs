//! Tokens as large as they may be, larger, and in forms that take long to read.

use http::HeaderValue;
use tokio::time::Instant;

use super::call_flood::call_again;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::credentials::{encoded, noise};
use crate::link::bearer;

/// The largest token that a server reads, in bytes.
const LARGEST: usize = 8_192;
/// More than all headers of a call may have, in bytes.
const HEADERS: usize = 60_000;

pub(super) struct OddTokens;

impl Case for OddTokens {
    fn name(&self) -> &'static str {
        "odd-tokens"
    }

    fn does(&self) -> &'static str {
        "calls as fast as it can, 64 at a time, with tokens of 8 192, 8 193 and 60 000 bytes, of claims and of lists in lists"
    }

    // HTTP/2 takes larger lists of headers than calls may have, to say so.
    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        64 * (320 << 10)
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let tokens = tokens();
            let count = tokens.len() as u64;
            let token = |number: u64| tokens.get(usize::try_from(number % count).ok()?).cloned();
            let rate = call_again(attacker, Instant::now() + attacker.left(), token).await?;
            attacker.figure(format!("{rate}/s"));
            Ok(())
        })
    }
}

/// Each once.
fn tokens() -> Vec<HeaderValue> {
    let good = encoded(br#"{"alg":"RS256","kid":"RS256"}"#);
    // Lists in lists, in the header and in the claims, which are read only where the signature is right.
    let nested = encoded(format!(r#"{{"alg":"EdDSA","kid":"EdDSA","x":{}"#, "[".repeat(5_000)).as_bytes());
    let filled = |head: &str, size: usize| {
        let signature = encoded(&noise(7, 510));
        format!("{head}.{}.{signature}", "e".repeat(size - head.len() - signature.len() - 2))
    };
    let made = [
        filled(&good, LARGEST),
        filled(&good, LARGEST + 1),
        filled(&nested, LARGEST),
        filled(&good, HEADERS),
        ".".repeat(LARGEST),
    ];
    made.iter().map(|token| bearer(token)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_as_large_as_they_say() {
        let sizes: Vec<usize> = tokens().iter().map(|token| token.len() - "Bearer ".len()).collect();
        assert_eq!(sizes, [8_192, 8_193, 8_192, 60_000, 8_192]);
    }
}
