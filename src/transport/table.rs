//! The open connections of one listener: who must make room for a new one, what each is told because
//! of its age, and what their peer addresses may hold.
//!
//! A connection without a stream keeps nobody out: when there are as many as there may be, the one
//! that has been without for longest is closed for the new one. Only where all carry streams is the
//! new one refused. Those with streams have a share per peer address. It is streams that are refused
//! beyond it and not connections: who may still ask for health, or whose share is free again when its
//! first call comes, cannot be told apart when the connection is made, and a client that is refused a
//! connection is not told why. A connection whose streams are all refused stays idle, and is the next
//! to go.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::Instant;

use super::Settings;
use super::accounts::Budgets;
use super::connection::{CloseRequest, ConnectionShared};
use super::monitor::{Closed, Monitor};
use super::stream_count::{Common, StreamCount};

/// How long a client may take to say what it speaks.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(10);

/// The least that a client says: the preface of HTTP/2; requests of HTTP/1 have a
/// deadline of their own.
const PREFACE: usize = 24;

/// Connections that are looked at before others run.
const LOOKS: usize = 1_024;

/// A connection that is open, and what becomes of it.
#[derive(Debug)]
struct OpenConnection {
    shared: Arc<ConnectionShared>,
    /// Where it stands in [`Table::idle`], if it does.
    listed: Option<u32>,
    /// It must have said something by then.
    first_bytes_by: Option<Instant>,
    /// What it is asked next because of its age, and when.
    next: Option<(Instant, CloseRequest)>,
}

impl OpenConnection {
    fn new(shared: Arc<ConnectionShared>, now: Instant, settings: &Settings) -> Self {
        // +- 10 %, as for streams, which have an age of their own.
        let age = (!settings.max_age.is_zero()).then(|| settings.max_age.mul_f64(rand::random_range(0.9..1.1)));
        let leaves_at = age.and_then(|age| now.checked_add(age));
        let first_bytes_by = now.checked_add(HANDSHAKE);
        Self { shared, listed: None, first_bytes_by, next: leaves_at.map(|at| (at, CloseRequest::Graceful)) }
    }

    /// Tells the connection what is due.
    fn look(&mut self, now: Instant, settings: &Settings) {
        if self.first_bytes_by.take_if(|at| *at <= now).is_some() && self.shared.received() < PREFACE {
            tracing::info!("closed a connection that said nothing");
            self.shared.closes_for(Closed::Silent);
            self.shared.request(CloseRequest::Now);
        }
        if let Some((_, request)) = self.next.take_if(|(at, _)| *at <= now) {
            self.shared.closes_for(Closed::Age);
            self.shared.request(request);
            self.next = after(request, settings).and_then(|(wait, request)| Some((now.checked_add(wait)?, request)));
        }
    }
}

/// What follows a request, and after how long. Streams have the grace but for its last
/// part, in which they say goodbye, then what has none is ended, then all is closed.
fn after(request: CloseRequest, settings: &Settings) -> Option<(Duration, CloseRequest)> {
    let grace = settings.max_age_grace;
    let spread = settings.goodbye_spread.min(grace / 4);
    match request {
        CloseRequest::None | CloseRequest::Now => None,
        CloseRequest::Graceful => Some((grace.saturating_sub(3 * spread), CloseRequest::SayGoodbye(spread))),
        CloseRequest::SayGoodbye(spread) => Some((2 * spread, CloseRequest::EndStreams)),
        CloseRequest::EndStreams => Some((spread, CloseRequest::Now)),
    }
}

/// All open connections of one listener.
#[derive(Debug)]
pub(super) struct Table {
    settings: Settings,
    budgets: Arc<Budgets>,
    common: Arc<Common>,
    monitor: Arc<Monitor>,
    open: HashMap<u64, OpenConnection>,
    /// Connections by the sweep in which they were idle last, as far as known: no connection is idle since
    /// an earlier one. Who was found busy is not here, and comes back by [`Common::idle_again`].
    idle: BTreeSet<(u32, u64)>,
    /// How many have come so far.
    came: u64,
    /// Since the last sweep.
    refused: u64,
    closed_idle: u64,
}

impl Table {
    pub(super) fn new(settings: Settings, budgets: Arc<Budgets>, monitor: Arc<Monitor>) -> Self {
        Self {
            budgets,
            settings,
            common: Arc::new(Common::new(Arc::clone(&monitor), settings.max_connections_per_address)),
            monitor,
            open: HashMap::new(),
            idle: BTreeSet::new(),
            came: 0,
            refused: 0,
            closed_idle: 0,
        }
    }

    /// True when there is room for one more connection; closes the one that has been idle for longest
    /// if need be.
    ///
    /// Amortised O(log n): beside the one that goes it looks only at connections on which a call has
    /// ended since it looked last, and counts those calls by the sweep.
    pub(super) async fn make_room(&mut self) -> bool {
        if self.open.len() < self.settings.max_connections {
            return true;
        }
        let idle_again = std::mem::take(&mut *self.common.idle_again.lock());
        idle_again.into_iter().for_each(|id| self.list(id));
        let mut looks = 0;
        while let Some((since, id)) = self.idle.pop_first() {
            let found = self.open.get_mut(&id).expect("who is listed is open");
            found.listed = None;
            match found.shared.streams().idle_since() {
                Some(now) if now == since => {
                    found.shared.closes_for(Closed::Idle);
                    found.shared.request(CloseRequest::Now);
                    self.open.remove(&id);
                    self.closed_idle += 1;
                    return true;
                }
                Some(_) => self.list(id),
                None => {}
            }
            looks += 1;
            if looks % LOOKS == 0 {
                yield_now().await;
            }
        }
        self.refused += 1;
        self.monitor.count_refused();
        false
    }

    /// Lists an open connection among the idle ones.
    fn list(&mut self, id: u64) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let since = open.shared.streams().last_idle();
        debug_assert_eq!(open.listed, None, "the list has it once");
        open.listed = Some(since);
        self.idle.insert((since, id));
    }

    /// Takes a connection in, with its number, by the other end of its socket. It has its place from here on; from
    /// which address it comes is said later ([`ConnectionShared::comes_from`]), for a proxy may have to tell it first.
    /// O(log n).
    pub(super) fn add(&mut self, socket: IpAddr, now: Instant) -> (u64, Arc<ConnectionShared>) {
        self.monitor.count_accepted();
        let id = self.came;
        self.came += 1;
        let shared = ConnectionShared::new(socket, &self.budgets, StreamCount::new(id, Arc::clone(&self.common)));
        self.open.insert(id, OpenConnection::new(Arc::clone(&shared), now, &self.settings));
        self.list(id);
        (id, shared)
    }

    /// Forgets a connection that has ended.
    pub(super) fn remove(&mut self, id: u64) {
        if let Some(since) = self.open.remove(&id).and_then(|open| open.listed) {
            self.idle.remove(&(since, id));
        }
    }

    /// Asks all connections to end.
    pub(super) fn request(&self, request: CloseRequest) {
        self.open.values().for_each(|open| open.shared.request(request));
    }

    /// Tells connections what is due, and the log what was refused since the last time. O(n).
    pub(super) fn sweep(&mut self, now: Instant) {
        self.common.sweeps.fetch_add(1, Ordering::Relaxed);
        self.open.values_mut().for_each(|open| open.look(now, &self.settings));
        self.common.forget_addresses();
        let (refused, closed_idle) = (std::mem::take(&mut self.refused), std::mem::take(&mut self.closed_idle));
        let refused_streams = self.common.refused_streams.swap(0, Ordering::Relaxed);
        if refused + closed_idle + refused_streams > 0 {
            let connections = self.open.len();
            tracing::warn!(connections, closed_idle, refused, refused_streams, "a limit of connections is reached");
        }
    }
}

#[cfg(test)]
mod tests;
