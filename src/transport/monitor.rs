//! What one listener counts, for whoever asks.
//!
//! Everything here changes when a connection comes or goes, or a limit is hit, never by request or by
//! delivery: plain atomics, one for each figure.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use super::accounts::Budgets;

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It carried no call, and another one needed its place.
    Idle,
    /// It said nothing.
    Silent,
    /// Its handshake of TLS failed, or its preamble of the PROXY protocol was refused.
    Handshake,
    /// It had reached its age.
    Age,
    /// It held most of a budget that was full.
    Memory,
    /// It carried HTTP/1, and its client did not read.
    Stalled,
    /// Its peer address has made too many handshakes of TLS.
    Limited,
    /// Its client broke a rule of HTTP or a limit of it, or was gone without a word.
    Broken,
    /// Its client closed it, or the process drained.
    Other,
}

impl Closed {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::Silent,
        Self::Handshake,
        Self::Age,
        Self::Memory,
        Self::Stalled,
        Self::Limited,
        Self::Broken,
        Self::Other,
    ];

    /// Its name in figures.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Silent => "silent",
            Self::Handshake => "handshake",
            Self::Age => "age",
            Self::Memory => "memory",
            Self::Stalled => "stalled",
            Self::Limited => "limited",
            Self::Broken => "broken",
            Self::Other => "other",
        }
    }
}

/// How much of a budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetUse {
    /// The key of its setting.
    pub name: &'static str,
    /// Bytes that are held.
    pub used: usize,
    /// Bytes that may be held.
    pub limit: usize,
    /// Connections that were closed because it was full.
    pub cut: u64,
}

/// What one listener has counted since it began.
#[derive(Debug, Default)]
pub struct Monitor {
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
    refused_streams: AtomicU64,
    refused_handshakes: AtomicU64,
    closed: [AtomicU64; Closed::ALL.len()],
    watched: OnceLock<(Arc<Budgets>, Arc<StallCounts>)>,
}

/// Streams of one listener that were ended from outside.
#[derive(Debug, Default)]
pub(super) struct StallCounts {
    /// Their client did not read.
    pub(super) cut: AtomicU64,
    /// Their message did not come in time.
    pub(super) late: AtomicU64,
}

fn get(figure: &AtomicU64) -> u64 {
    figure.load(Ordering::Relaxed)
}

fn count(figure: &AtomicU64) {
    figure.fetch_add(1, Ordering::Relaxed);
}

impl Monitor {
    /// Names what else the listener counts, once it serves.
    pub(super) fn watch(&self, budgets: Arc<Budgets>, stalls: Arc<StallCounts>) {
        self.watched.get_or_init(|| (budgets, stalls));
    }

    pub(super) fn count_accepted(&self) {
        count(&self.accepted);
    }

    pub(super) fn count_refused(&self) {
        count(&self.refused);
    }

    pub(super) fn count_failed(&self) {
        count(&self.failed);
    }

    pub(super) fn count_refused_stream(&self) {
        count(&self.refused_streams);
    }

    pub(super) fn count_refused_handshake(&self) {
        count(&self.refused_handshakes);
    }

    pub(super) fn count_closed(&self, reason: Closed) {
        count(&self.closed[reason as usize]);
    }

    /// Connections that were taken in.
    pub fn accepted(&self) -> u64 {
        get(&self.accepted)
    }

    /// Connections that were refused, because there are as many as there may be and all carry calls.
    pub fn refused(&self) -> u64 {
        get(&self.refused)
    }

    /// Times that the system refused to accept.
    pub fn failed(&self) -> u64 {
        get(&self.failed)
    }

    /// Calls that were refused, because their peer address has its share of connections with calls.
    pub fn refused_streams(&self) -> u64 {
        get(&self.refused_streams)
    }

    /// Handshakes of TLS that were refused, because their peer address had made too many.
    pub fn refused_handshakes(&self) -> u64 {
        get(&self.refused_handshakes)
    }

    /// Connections that have ended, by why.
    pub fn closed(&self) -> impl Iterator<Item = (Closed, u64)> {
        Closed::ALL.into_iter().map(|reason| (reason, get(&self.closed[reason as usize])))
    }

    /// Connections that are open.
    pub fn open(&self) -> u64 {
        // The ended ones first: whoever ends in between was accepted before.
        let closed: u64 = self.closed().map(|(_, connections)| connections).sum();
        self.accepted().saturating_sub(closed)
    }

    /// Streams that were reset because their client did not read.
    pub fn slow_readers(&self) -> u64 {
        self.watched.get().map_or(0, |(_, stalls)| get(&stalls.cut))
    }

    /// Requests whose message did not come in time.
    pub fn late_senders(&self) -> u64 {
        self.watched.get().map_or(0, |(_, stalls)| get(&stalls.late))
    }

    /// Its budgets; none before it serves.
    pub fn budgets(&self) -> Vec<BudgetUse> {
        self.watched.get().map(|(budgets, _)| budgets.uses().collect()).unwrap_or_default()
    }
}
