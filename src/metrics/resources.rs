//! Connections, budgets and limits.

use std::sync::Arc;

use prometheus_client::registry::Unit;

use super::Sources;
use super::families::Families;
use crate::limits::ClientLimit;
use crate::store::Store;
use crate::transport::Monitor;

/// Reasons of errors that say that a limit was hit.
const LIMITS: [&str; 9] = [
    "TOO_MANY_SWARMS",
    "STATE_MEMORY",
    "TOO_MANY_CONNECTIONS",
    "CONNECTION_MEMORY",
    "MESSAGE_TOO_LARGE",
    "HEADERS_TOO_LARGE",
    "SWARM_FULL",
    "QUOTA",
    "CLIENT_LIMIT",
];

/// Connections of each listener.
pub(super) fn connections(families: &mut Families, listeners: &[(&'static str, Arc<Monitor>)]) {
    let mut open = families.gauge("starling_connections", None, "Connections that are open");
    for (name, listener) in listeners {
        open.put(&[("listener", name)], listener.open());
    }
    let mut accepted = families.counter("starling_connections_accepted", None, "Connections that were taken in");
    for (name, listener) in listeners {
        accepted.put(&[("listener", name)], listener.accepted());
    }
    let help = "Connections that were refused, because all that may be open carry calls";
    let mut refused = families.counter("starling_connections_refused", None, help);
    for (name, listener) in listeners {
        refused.put(&[("listener", name)], listener.refused());
    }
    let mut closed = families.counter("starling_connections_closed", None, "Connections that have ended, by why");
    for (name, listener) in listeners {
        for (reason, connections) in listener.closed() {
            closed.put(&[("listener", name), ("reason", reason.name())], connections);
        }
    }
    let help = "Times that the system did not let a connection be accepted";
    let mut failed = families.counter("starling_accept_failures", None, help);
    for (name, listener) in listeners {
        failed.put(&[("listener", name)], listener.failed());
    }
}

/// What is held of everything that has a limit in bytes.
pub(super) fn budgets(families: &mut Families, store: &Store, listeners: &[(&'static str, Arc<Monitor>)]) {
    let shared = listeners.first().map(|(_, listener)| listener.budgets()).unwrap_or_default();
    let (feeds, logs) = (store.feed_memory(), store.log_memory());
    let own = [
        ("feed.memory_bytes", feeds.used(), feeds.limit()),
        ("memory.state_bytes", store.state_bytes(), store.state_limit()),
        ("memory.event_logs_bytes", logs.used(), logs.limit()),
    ];
    let all = own.into_iter().chain(shared.iter().map(|budget| (budget.name, budget.used, budget.limit)));
    let all: Vec<_> = all.collect();
    let mut used = families.gauge("starling_budget", Some(Unit::Bytes), "Bytes held, by the budget's setting");
    for (name, bytes, _) in &all {
        used.put(&[("budget", name)], *bytes as u64);
    }
    let help = "Bytes that may be held, by the budget's setting";
    let mut limits = families.gauge("starling_budget_limit", Some(Unit::Bytes), help);
    for (name, _, bytes) in &all {
        limits.put(&[("budget", name)], *bytes as u64);
    }
    let help = "Connections that were closed because a budget was full, by its setting";
    let mut cut = families.counter("starling_budget_cut", None, help);
    for budget in &shared {
        cut.put(&[("budget", budget.name)], budget.cut);
    }
    let help = "Revisions that event logs gave up because all together held too much";
    families.counter("starling_event_log_evicted_revisions", None, help).put(&[], logs.evicted() as u64);
}

/// What was refused or cut because of a limit.
pub(super) fn limits(families: &mut Families, of: &Sources) {
    let Sources { store, calls, listeners, clients } = of;
    let totals = store.feed_memory().totals();
    let updates = |kind: &str| totals.rejected().find(|(name, _)| *name == kind).map_or(0, |(_, updates)| updates);
    let listener = |count: fn(&Monitor) -> u64| listeners.first().map_or(0, |(_, listener)| count(listener));
    let mut hits = families.counter("starling_limit_hits", None, "What was refused or cut because of a limit");
    for (reason, calls) in calls.reasons().filter(|(reason, _)| LIMITS.contains(reason)) {
        hits.put(&[("limit", reason)], calls);
    }
    hits.put(&[("limit", "RATE_LIMITED")], updates("rate_limited"));
    hits.put(&[("limit", "FEED_MEMORY")], updates("feed_memory") + totals.readers_refused());
    hits.put(&[("limit", "RECEIVE_TIMEOUT")], listener(Monitor::late_senders));
    hits.put(&[("limit", "SLOW_READER")], listener(Monitor::slow_readers));
    hits.put(&[("limit", "CONNECTIONS")], listener(Monitor::refused));
    let help = "Times that a client was refused or made to wait because of a limit of its own, by its setting";
    let mut hits = families.counter("starling_client_limit_hits", None, help);
    for (limit, times) in clients.hits() {
        let of_transport = match limit {
            ClientLimit::AddressHandshakes => listener(Monitor::refused_handshakes),
            _ => 0,
        };
        hits.put(&[("limit", limit.setting())], times + of_transport);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::server::Figures;

    #[test]
    fn limits_are_reasons_of_errors() {
        let figures = Figures::new();
        for limit in LIMITS {
            assert!(figures.calls.reasons().any(|(reason, _)| reason == limit), "{limit}");
        }
    }
}
