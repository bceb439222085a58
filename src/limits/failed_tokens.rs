//! Tokens that were not accepted, by address: a signature costs a hundred times what forging one does.
//!
//! A token is looked at before it is known whether it counts. So an address that has used up what it may is not listened
//! to until there is room for one more.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::client::ClientId;
use super::exceeded::{ClientLimit, Exceeded};
use super::rate::RateLimit;
use super::table::ClientTable;
use crate::clock::Micros;

/// How long it takes until an empty bucket is full again.
const REFILL: Micros = Micros::from_millis(2_000);

#[derive(Debug)]
struct Failures {
    rate: RateLimit,
    /// Tokens are not looked at before, in microseconds of the clock that never goes back.
    refused_until: AtomicU64,
}

/// The tokens of all addresses that were not accepted.
#[derive(Debug)]
pub(super) struct FailedTokens(ClientTable<Failures>);

impl FailedTokens {
    /// None yet. `None` where they are not limited.
    pub(super) fn new(per_second: u32) -> Option<Self> {
        let refill = RateLimit::refill(per_second, 0);
        (per_second > 0).then(|| {
            let make = move |now| {
                let rate = RateLimit::new(per_second, 0, now).expect("the rate is not zero");
                Failures { rate, refused_until: AtomicU64::new(0) }
            };
            Self(ClientTable::new(refill, make))
        })
    }

    /// Refuses to look at a token.
    pub(super) fn admit(&self, address: IpAddr, now: Micros) -> Result<(), Exceeded> {
        let Some(failures) = self.0.find(&ClientId::Address(address)) else { return Ok(()) };
        let until = failures.refused_until.load(Ordering::Relaxed);
        let max = u64::from(failures.rate.per_second());
        match until.checked_sub(now.get()) {
            None | Some(0) => Ok(()),
            Some(wait) => {
                let wait = Some(Duration::from_micros(wait));
                Err(Exceeded { limit: ClientLimit::AddressFailedTokens, max, wait })
            }
        }
    }

    /// Counts one.
    pub(super) fn count(&self, address: IpAddr, now: Micros) {
        let failures = self.0.get(ClientId::Address(address), now);
        let has_room = failures.rate.take(1, now).is_ok();
        let until = failures.refused_until.load(Ordering::Relaxed);
        // Once it was refused it has one at a time, until its bucket may be full again.
        if has_room && (until == 0 || now.get() >= until.saturating_add(REFILL.get())) {
            return;
        }
        let wait = 1_000_000 / u64::from(failures.rate.per_second());
        failures.refused_until.fetch_max(now.get().saturating_add(wait.max(1)), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::clock::uptime;

    fn address(host: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, host).into()
    }

    #[test]
    fn address_is_refused_beyond_its_rate() {
        let failed = FailedTokens::new(10).unwrap();
        let start = uptime();
        let mut looked_at = 0;
        // One a millisecond, for ten seconds.
        for millis in 0..10_000 {
            let now = start + Micros::from_millis(millis);
            if failed.admit(address(1), now).is_ok() {
                failed.count(address(1), now);
                looked_at += 1;
            }
        }
        // Twenty at once, and ten each second.
        assert!((110..=122).contains(&looked_at), "{looked_at}");
        let refused = failed.admit(address(1), start + Micros::from_millis(9_999)).unwrap_err();
        assert!(refused.max == 10 && refused.wait.is_some_and(|wait| wait <= Duration::from_millis(100)));
        assert_eq!(failed.admit(address(2), start), Ok(()), "others are not concerned");
        assert_eq!(failed.admit(address(1), start + Micros::from_millis(10_200)), Ok(()));
    }

    #[test]
    fn no_rate_limits_nothing() {
        assert!(FailedTokens::new(0).is_none());
    }
}
