//! What a case is.

use std::pin::Pin;
use std::time::Duration;

use crate::attacker::{Attacker, Form};
use crate::ending::Ending;
use crate::settings::{KnownSettings, Setting};

/// What the allocator, the connections' own buffers and the tables may take beside a budget: 32 MiB.
pub(crate) const SLACK: u64 = 32 << 20;

/// What one connection may cost, in bytes, and what TLS adds to it: what is not sent, a record of which the end is missing,
/// keys and certificates.
const CONNECTION: u64 = 40 << 10;
const TLS_CONNECTION: u64 = 48 << 10;

/// For how long the short form attacks where the server waits for 2 s before it limits.
pub(crate) const OUTLASTING: Duration = Duration::from_secs(4);

/// What an attack is while it runs.
pub(crate) type Attack<'a> = Pin<Box<dyn Future<Output = Result<(), Ending>> + Send + 'a>>;

/// How the server must limit an attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// It refuses or ends something, with its reason: in a status, in a frame of HTTP/2, or in its log.
    Told,
    /// What it asks for is cheap, or the oldest of it is given up: nothing has to be refused.
    Cheap,
    /// It does nothing wrong: it must neither be refused nor cut.
    Never,
}

/// An attack, and what holds while it runs and after it.
pub(crate) trait Case: Sync {
    fn name(&self) -> &'static str;

    /// What one client does, in a line.
    fn does(&self) -> &'static str;

    /// Settings with which the short form strikes its budget within seconds. Those that a server does not know are
    /// left out.
    fn settings(&self) -> &'static [Setting] {
        &[]
    }

    /// For how long the short form attacks, unless it is done before.
    fn short_time(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// The budgets that it strikes, in bytes together, by their settings or as the bound that holds instead.
    fn budget(&self, budgets: &Budgets<'_>) -> u64;

    /// Bytes of them that stay in use when the attacker has gone.
    fn kept(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn limit(&self) -> Limit {
        Limit::Told
    }

    /// Whether it is about TLS, tokens, or the healthy livestream, and can be run only where there are credentials.
    fn needs_credentials(&self) -> bool {
        false
    }

    /// Attacks until the attacker's time is over, or nothing is left to do. An error is how the server ended all
    /// of it.
    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a>;
}

/// The budgets of the server that is attacked.
#[derive(Debug)]
pub(crate) struct Budgets<'a> {
    pub(crate) form: Form,
    /// Whether the server has TLS.
    pub(crate) secure: bool,
    pub(crate) known: &'a KnownSettings,
    /// What is set instead of the defaults.
    pub(crate) set: &'a [Setting],
}

impl Budgets<'_> {
    /// The value of a setting, in bytes; `otherwise`, in bytes, where the server does not have it.
    pub(crate) fn bytes(&self, key: &str, otherwise: u64) -> u64 {
        let set = self.set.iter().find(|(name, _)| *name == key).and_then(|(_, value)| value.parse().ok());
        set.or_else(|| self.known.number(key)).unwrap_or(otherwise)
    }

    /// What so many connections may cost, in bytes (benches/README.md has what one does).
    pub(crate) const fn connections(&self, count: u64) -> u64 {
        count * (CONNECTION + if self.secure { TLS_CONNECTION } else { 0 })
    }
}

/// The growth of memory that a budget allows, in bytes.
pub(crate) fn allowed(budget: u64) -> u64 {
    budget + budget / 5 + SLACK
}
