//! The limits by their names, and how often each was hit.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

macro_rules! client_limits {
    ($($(#[$doc:meta])* $Name:ident => $setting:literal;)*) => {
        /// A limit of one client.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ClientLimit {
            $($(#[$doc])* $Name,)*
        }

        impl ClientLimit {
            /// Every one, in the order of their numbers.
            pub const ALL: [Self; [$($setting),*].len()] = [$(Self::$Name),*];

            /// The key of its setting.
            pub const fn setting(self) -> &'static str {
                match self {
                    $(Self::$Name => $setting,)*
                }
            }
        }
    };
}

client_limits! {
    /// Open streams of an address.
    AddressStreams => "limits.address_streams";
    /// Swarms that an address made.
    AddressSwarms => "limits.address_swarms";
    /// Joins of an address.
    AddressJoins => "limits.address_joins_per_second";
    /// Updates of an address.
    AddressPublishes => "limits.address_publishes_per_second";
    /// Payloads of an address.
    AddressPublishedBytes => "limits.address_published_bytes_per_second";
    /// Tokens of an address that are not accepted.
    AddressFailedTokens => "limits.address_failed_authentications_per_second";
    /// Handshakes of TLS of an address.
    AddressHandshakes => "limits.address_handshakes_per_second";
    /// Connections with calls of an identity.
    IdentityConnections => "limits.identity_connections";
    /// Open streams of an identity.
    IdentityStreams => "limits.identity_streams";
    /// Swarms that an identity made.
    IdentitySwarms => "limits.identity_swarms";
    /// Joins of an identity.
    IdentityJoins => "limits.identity_joins_per_second";
    /// Updates of an identity.
    IdentityPublishes => "limits.identity_publishes_per_second";
    /// Payloads of an identity.
    IdentityPublishedBytes => "limits.identity_published_bytes_per_second";
    /// Tokens by which an identity renews its streams.
    IdentityRenewals => "limits.identity_renewals_per_second";
}

/// A client has as much as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has as much as {} lets it have, {max}", limit.setting())]
pub struct Exceeded {
    /// Of what.
    pub limit: ClientLimit,
    /// How much that is: of a count in all, of a rate in a second.
    pub max: u64,
    /// Of a rate: when there is room again.
    pub wait: Option<Duration>,
}

/// How often each limit was hit.
#[derive(Debug, Default)]
pub(super) struct LimitHits([AtomicU64; ClientLimit::ALL.len()]);

impl LimitHits {
    pub(super) fn count(&self, limit: ClientLimit) {
        self.0[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (ClientLimit, u64)> {
        ClientLimit::ALL.into_iter().zip(&self.0).map(|(limit, hits)| (limit, hits.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_are_counted_by_limit() {
        let hits = LimitHits::default();
        for limit in ClientLimit::ALL {
            (0..=limit as usize).for_each(|_| hits.count(limit));
        }
        assert!(hits.all().all(|(limit, hits)| hits == limit as u64 + 1));
    }
}
