//! What one client may do, however much room there is: one identity, and one address.
//!
//! Counts ([`CallPermit`]) are of what is open, and go back when it ends. Rates ([`RateLimit`]) are token buckets that hold
//! what comes in two seconds. Who has used what is kept in tables that are bounded themselves ([`ClientTable`]). A call
//! finds its client once, and what it goes on to do costs an atomic operation for each rate, and nothing where there is none.

mod client;
mod exceeded;
mod failed_tokens;
mod permit;
mod rate;
mod table;
mod usage;

use std::net::IpAddr;
use std::sync::Arc;

use crate::clock;
pub use client::ClientId;
use exceeded::LimitHits;
pub use exceeded::{ClientLimit, Exceeded};
use failed_tokens::FailedTokens;
pub(crate) use permit::CallPermit;
pub(crate) use rate::RateLimit;
pub(crate) use table::ClientTable;
pub(crate) use usage::UpdateCharge;
pub use usage::UsageLimits;
use usage::{ADDRESS, ClientUsage, IDENTITY};

/// What the tables may hold when they are full, in bytes.
pub const TABLES_BYTES: u64 = TABLES * (table::IDLE_CLIENTS * CLIENT_BYTES) as u64;

/// Addresses, identities, tokens that were not accepted, and handshakes.
const TABLES: u64 = 4;

/// What a client takes in a table, with the longest name of a back-end, in bytes.
const CLIENT_BYTES: usize = 896;

/// How much each client may do.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// One address, of IPv6 one network of 64 bits.
    pub address: UsageLimits,
    /// One identity.
    pub identity: UsageLimits,
    /// Tokens of one address in a second that are not accepted; 0 = any number.
    pub failed_tokens: u32,
    /// The largest payload of an update, in bytes: it fits into the bucket of bytes, whatever its rate.
    pub payload_bytes: usize,
}

/// All clients, and what they use.
#[derive(Debug)]
pub struct Clients {
    addresses: Option<ClientTable<ClientUsage>>,
    identities: Option<ClientTable<ClientUsage>>,
    failed_tokens: Option<FailedTokens>,
    hits: LimitHits,
}

impl Clients {
    /// Nobody yet.
    pub fn new(settings: Settings) -> Self {
        let Settings { address, identity, failed_tokens, payload_bytes } = settings;
        let table = |limits: UsageLimits, names| {
            let refill = limits.refill(payload_bytes);
            limits
                .is_any()
                .then(|| ClientTable::new(refill, move |now| ClientUsage::new(&limits, names, payload_bytes, now)))
        };
        Self {
            addresses: table(address, &ADDRESS),
            identities: table(identity, &IDENTITY),
            failed_tokens: FailedTokens::new(failed_tokens),
            hits: LimitHits::default(),
        }
    }

    /// Counts a call, which answers with a stream or once, of a client over the connection of this number. `None` where
    /// nothing limits it.
    ///
    /// # Errors
    ///
    /// The limit that it would pass.
    pub(crate) fn begin(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        identity: Option<ClientId>,
        connection: usize,
        is_stream: bool,
    ) -> Result<Option<Arc<CallPermit>>, Exceeded> {
        let address = self.addresses.as_ref().zip(address.map(ClientId::Address));
        let identity = self.identities.as_ref().zip(identity);
        if address.is_none() && identity.is_none() {
            return Ok(None);
        }
        let now = clock::uptime();
        let clients = [address, identity].into_iter().flatten().map(|(table, id)| (id.clone(), table.get(id, now)));
        let permit = CallPermit::new(Arc::clone(self), clients, connection, is_stream);
        permit.map(|permit| Some(Arc::new(permit)))
    }

    /// Refuses to look at a token of an address of which too many were not accepted.
    ///
    /// # Errors
    ///
    /// While it is so.
    pub(crate) fn admit_token(&self, address: IpAddr) -> Result<(), Exceeded> {
        let Some(failed) = &self.failed_tokens else { return Ok(()) };
        failed.admit(address, clock::uptime()).map_err(|exceeded| self.note(&ClientId::Address(address), exceeded))
    }

    /// Counts a token of an address that was not accepted.
    pub(crate) fn count_failed_token(&self, address: IpAddr) {
        if let Some(failed) = &self.failed_tokens {
            failed.count(address, clock::uptime());
        }
    }

    /// Counts and logs that a limit held a client back, and hands it on.
    pub(crate) fn note(&self, client: &ClientId, exceeded: Exceeded) -> Exceeded {
        self.hits.count(exceeded.limit);
        let Exceeded { limit, max, .. } = exceeded;
        tracing::info!(%client, limit = limit.setting(), max, "a client is at its limit");
        exceeded
    }

    /// How often each limit held a client back.
    pub fn hits(&self) -> impl Iterator<Item = (ClientLimit, u64)> {
        self.hits.all()
    }
}
