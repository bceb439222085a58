//! A token bucket.

use crate::clock::Micros;

/// Tokens that come at a steady rate and pile up to a limit. The balance may fall
/// below zero, so that one large item passes and is paid for after.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    /// Millionths of a token.
    balance: i128,
    per_second: u64,
    burst: u64,
    at: Micros,
}

const MILLIONTHS: i128 = 1_000_000;

impl TokenBucket {
    /// A full one: `per_second` tokens come, at most `burst` pile up.
    pub(super) const fn full(per_second: u64, burst: u64, now: Micros) -> Self {
        Self { balance: burst as i128 * MILLIONTHS, per_second, burst, at: now }
    }

    /// What there is now, in tokens.
    pub(super) fn balance(&mut self, now: Micros) -> i128 {
        let passed = i128::from(now.saturating_sub(self.at).get());
        self.at = self.at.max(now);
        let full = i128::from(self.burst) * MILLIONTHS;
        self.balance = (self.balance + passed * i128::from(self.per_second)).min(full);
        self.balance.div_euclid(MILLIONTHS)
    }

    pub(super) fn take(&mut self, tokens: u64) {
        self.balance -= i128::from(tokens) * MILLIONTHS;
    }

    pub(super) const fn burst(&self) -> u64 {
        self.burst
    }

    pub(super) fn is_full(&mut self, now: Micros) -> bool {
        self.balance(now) >= i128::from(self.burst)
    }
}
