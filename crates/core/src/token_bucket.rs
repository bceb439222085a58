//! A token bucket. Times are in microseconds.

/// Tokens that come at a steady rate and pile up to a limit. The balance may fall
/// below zero, so that one large item passes and is paid for after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenBucket {
    /// Millionths of a token.
    balance: i128,
    per_second: u64,
    burst: u64,
    at: u64,
}

const PER_TOKEN: u64 = 1_000_000;
const MILLIONTHS: i128 = PER_TOKEN as i128;

impl TokenBucket {
    /// A full one: `per_second` tokens come, at most `burst` pile up.
    pub const fn full(per_second: u64, burst: u64, now: u64) -> Self {
        Self { balance: burst as i128 * MILLIONTHS, per_second, burst, at: now }
    }

    /// What there is now, in tokens.
    pub fn balance(&mut self, now: u64) -> i128 {
        let passed = i128::from(now.saturating_sub(self.at));
        self.at = self.at.max(now);
        let full = i128::from(self.burst) * MILLIONTHS;
        self.balance = (self.balance + passed * i128::from(self.per_second)).min(full);
        self.balance.div_euclid(MILLIONTHS)
    }

    /// Takes some, also when there are not so many.
    pub fn take(&mut self, tokens: u64) {
        self.balance -= i128::from(tokens) * MILLIONTHS;
    }

    /// How many pile up.
    pub const fn burst(&self) -> u64 {
        self.burst
    }

    /// True when no more pile up.
    pub fn is_full(&mut self, now: u64) -> bool {
        self.balance(now) >= i128::from(self.burst)
    }

    /// What it holds in millionths of a token, and when that was so. Only of one that never falls below zero.
    pub(super) fn level(&self) -> (u64, u64) {
        (u64::try_from(self.balance).unwrap_or_default(), self.at)
    }

    /// The most of that.
    pub(super) const fn most(&self) -> u64 {
        self.burst.saturating_mul(PER_TOKEN)
    }

    /// One that held so much at a time; `None` when that is more than may pile up.
    pub(super) fn at_level(self, level: u64, at: u64) -> Option<Self> {
        (level <= self.most()).then(|| Self { balance: level.into(), at, ..self })
    }
}
