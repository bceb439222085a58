//! When a token is over, and when to look for the next one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::{Rng, RngExt};
use serde_json::Value;
use tokio::time::Instant;

/// The next one is looked for when about so much of the time is over, as the kubelet renews those that it projects.
const RENEWED_AFTER: std::ops::Range<f64> = 0.75..0.85;
/// How long to wait at least when there was no newer one.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Longer than clocks need to tell.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The times of one token, by this machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TokenTimes {
    /// When it is over.
    pub(super) expires_at: Instant,
    /// When to look for the next one.
    pub(super) renew_at: Instant,
}

/// What time it is for everybody.
#[expect(clippy::disallowed_methods, reason = "a token names its end by the wall clock, and a client is told no time")]
pub(super) fn wall() -> SystemTime {
    SystemTime::now()
}

impl TokenTimes {
    /// Those that a token names; `None` when it never ends, or is no JSON Web Token.
    ///
    /// It is not verified, which is the server's business. Where clocks differ the time that it has in all is what it has at
    /// most.
    pub(super) fn read(token: &str, wall: SystemTime, now: Instant, random: &mut impl Rng) -> Option<Self> {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
        let claims: Value = serde_json::from_slice(&claims).ok()?;
        let date = |name: &str| claims.get(name)?.as_f64();
        let expires = date("exp")?;
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let issued = date("iat").unwrap_or(f64::NEG_INFINITY);
        let left = (expires - wall).min(expires - issued).max(0.0);
        let left = Duration::try_from_secs_f64(left).unwrap_or(LONGEST).min(LONGEST);
        Some(Self { expires_at: now + left, renew_at: now + left.mul_f64(random.random_range(RENEWED_AFTER)) })
    }

    /// There was no newer one: it is looked for again in a fifth of the time that is left, but not sooner than in 1 s.
    pub(super) fn look_again(&mut self, now: Instant) {
        self.renew_at = now + (self.expires_at.saturating_duration_since(now) / 5).max(LOOK_AGAIN);
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2lnbmF0dXJl", URL_SAFE_NO_PAD.encode(claims))
    }

    /// In how many seconds a token is over, and looked for again, 1 000 s after 1970.
    fn seconds(token: &str) -> Option<(f64, f64)> {
        let (now, wall) = (Instant::now(), UNIX_EPOCH + Duration::from_secs(1_000));
        let times = TokenTimes::read(token, wall, now, &mut StdRng::seed_from_u64(7))?;
        let [expires, renew] = [times.expires_at, times.renew_at].map(|at| (at - now).as_secs_f64());
        Some((expires, renew))
    }

    #[test]
    fn times_are_those_of_the_claims() {
        for (claims, left) in [
            (r#"{"iat":900,"exp":1100}"#, 100.0),
            (r#"{"exp":1000.5}"#, 0.5),
            (r#"{"iat":0,"exp":999}"#, 0.0),
            // The clock here is behind that of the issuer.
            (r#"{"iat":5000,"exp":5060}"#, 60.0),
            (r#"{"exp":1e300}"#, 366.0 * 86_400.0),
        ] {
            let (expires, renew) = seconds(&token(claims)).expect(claims);
            assert!((expires - left).abs() < 1e-3, "{claims}: {expires}");
            assert!(renew >= left * 0.75 - 1e-3 && renew <= left * 0.85 + 1e-3, "{claims}: {renew}");
        }
    }

    #[test]
    fn token_without_an_end_has_no_times() {
        for text in ["", "opaque", "a.b.c", "a.e30.c", &token(r#"{"exp":"1100"}"#), &token("[1]")] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn later_looks_come_more_often() {
        let now = Instant::now();
        let mut times = TokenTimes { expires_at: now + Duration::from_secs(100), renew_at: now };
        times.look_again(now);
        assert_eq!(times.renew_at, now + Duration::from_secs(20));
        let end = times.expires_at;
        times.look_again(end);
        assert_eq!(times.renew_at, end + LOOK_AGAIN);
    }
}
