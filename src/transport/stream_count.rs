//! How many streams each connection carries, since when it carries none, and how many connections
//! of one peer address carry any.
//!
//! A call takes no lock for it: it changes an atomic of its connection, and the first and the last
//! stream of a connection one of their peer address. Only a connection that the
//! [table](super::table) has found busy when it looked for an idle one says when it becomes idle.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;

use super::monitor::Monitor;
use crate::budget::network;

/// In [`StreamCount::state`], beside the number of streams: the table found the connection busy, and
/// is to be told when it is not.
const TELL: u32 = 1 << 31;

/// What the connections of one listener share with its table.
#[derive(Debug, Default)]
pub(super) struct Common {
    monitor: Arc<Monitor>,
    /// How many connections of one address may carry streams.
    most_of_address: usize,
    addresses: Mutex<HashMap<IpAddr, Weak<AddressShare>>>,
    /// The clock of idleness: the sweeps so far. Coarse, so that a busy connection changes its
    /// place among the idle ones once in a sweep at most, however many calls it makes.
    pub(super) sweeps: AtomicU32,
    /// Connections of which the table is to know that they are idle again.
    pub(super) idle_again: Mutex<Vec<u64>>,
    /// Streams refused for the share of their address since the last sweep.
    pub(super) refused_streams: AtomicU64,
}

impl Common {
    pub(super) fn new(monitor: Arc<Monitor>, most_of_address: usize) -> Self {
        Self { monitor, most_of_address, ..Self::default() }
    }

    /// What the connections from one address share; with IPv6, from one network.
    fn share_of(&self, address: IpAddr) -> Arc<AddressShare> {
        let mut addresses = self.addresses.lock();
        let entry = addresses.entry(network(address)).or_default();
        entry.upgrade().unwrap_or_else(|| {
            let share = Arc::new(AddressShare::new(self.most_of_address));
            *entry = Arc::downgrade(&share);
            share
        })
    }

    /// Forgets addresses without connections. O(addresses).
    pub(super) fn forget_addresses(&self) {
        self.addresses.lock().retain(|_, share| share.strong_count() > 0);
    }

    /// How many addresses are known.
    #[cfg(test)]
    pub(super) fn addresses(&self) -> usize {
        self.addresses.lock().len()
    }
}

/// The connections of one peer address that carry streams.
#[derive(Debug)]
pub(super) struct AddressShare {
    most: usize,
    carrying: AtomicUsize,
}

impl AddressShare {
    pub(super) const fn new(most: usize) -> Self {
        Self { most, carrying: AtomicUsize::new(0) }
    }

    fn take(&self) -> bool {
        let more = |carrying| (carrying < self.most).then_some(carrying + 1);
        self.carrying.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn give_back(&self) {
        self.carrying.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The open streams of one connection. While there are any it has one of its address's share.
#[derive(Debug)]
pub(super) struct StreamCount {
    id: u64,
    /// The number of streams, and [`TELL`].
    state: AtomicU32,
    /// The sweep in which the last stream ended, or the connection came.
    idle_since: AtomicU32,
    /// Set before the first stream.
    address: OnceLock<Arc<AddressShare>>,
    common: Arc<Common>,
}

impl StreamCount {
    pub(super) fn new(id: u64, common: Arc<Common>) -> Arc<Self> {
        let idle_since = AtomicU32::new(common.sweeps.load(Ordering::Relaxed));
        Arc::new(Self { id, state: AtomicU32::new(0), idle_since, address: OnceLock::new(), common })
    }

    /// One that nothing bounds.
    #[cfg(test)]
    pub(super) fn unbounded() -> Arc<Self> {
        Self::new(0, Arc::new(Common::new(Arc::default(), usize::MAX)))
    }

    /// Says from which address the connection comes.
    pub(super) fn belongs_to(&self, address: IpAddr) {
        self.address.get_or_init(|| self.common.share_of(address));
    }

    fn address(&self) -> &AddressShare {
        self.address.get().expect("where a connection comes from is known before its first stream")
    }

    /// True when a stream may be opened: there are others, or the address has its share left.
    fn open(&self) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let first = state & !TELL == 0;
            if first && !self.address().take() {
                return false;
            }
            match self.state.compare_exchange_weak(state, state + 1, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                // The last of the others ended meanwhile.
                Err(now) => state = now,
            }
            if first {
                self.address().give_back();
            }
        }
    }

    fn close(&self) {
        // Before the count, so that nobody finds a connection idle since the time before.
        self.idle_since.store(self.common.sweeps.load(Ordering::Relaxed), Ordering::Relaxed);
        let less = |state| Some(if state == TELL + 1 { 0 } else { state - 1 });
        let before = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less).unwrap_or_else(|state| state);
        if before & !TELL == 1 {
            self.address().give_back();
            if before & TELL != 0 {
                self.common.idle_again.lock().push(self.id);
            }
        }
    }

    /// Counts a stream that was refused.
    pub(super) fn count_refused(&self) {
        self.common.refused_streams.fetch_add(1, Ordering::Relaxed);
        self.common.monitor.count_refused_stream();
    }

    /// True when no stream is open.
    pub(super) fn is_idle(&self) -> bool {
        self.state.load(Ordering::Acquire) & !TELL == 0
    }

    /// Since which sweep no stream is open. When one is, `None`, and the table is told when that is over.
    pub(super) fn idle_since(&self) -> Option<u32> {
        let tell = |state| (state & !TELL != 0).then_some(state | TELL);
        let idle = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, tell).is_err();
        idle.then(|| self.last_idle())
    }

    /// The sweep in which a stream ended last, or the connection came. It is never idle since an earlier one.
    pub(super) fn last_idle(&self) -> u32 {
        self.idle_since.load(Ordering::Relaxed)
    }
}

/// One open stream of a connection, from the head of its request to the end of its answer.
#[derive(Debug)]
pub(super) struct OpenStream(Arc<StreamCount>);

impl OpenStream {
    /// Counts one more stream of a connection; `None` when its peer address has its share of
    /// connections with streams, and this would be one more.
    pub(super) fn new(connection: &Arc<StreamCount>) -> Option<Self> {
        connection.open().then(|| Self(Arc::clone(connection)))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.close();
    }
}
