//! Limits in bytes that many connections share.
//!
//! A [`Budget`] is what all may hold together for one purpose, an [`Account`] what one connection
//! holds of it, up to its share, and a [`Reservation`] is a piece of that, given back when it is
//! dropped. Bytes are reserved before the memory is set aside, or as soon as it is known.
//!
//! When a budget is full, whoever holds most of it is cut: of the peer address or the identity that holds most,
//! the connection that holds most. What a connection that was cut holds no longer counts, although
//! its memory is free only when its tasks have ended, a moment later: so others are served at once.

use std::collections::HashMap;
use std::fmt;
use std::iter;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Whoever an [`Account`] belongs to.
pub(crate) trait Holder: Send + Sync {
    /// Where it comes from.
    fn peer(&self) -> IpAddr;

    /// A number that stands for the identity whose calls it carries; `None` = it has carried none of an identity, or
    /// those of several.
    fn caller(&self) -> Option<u64>;

    /// Ends it, because it holds most of a budget that is full.
    fn cut(&self, budget: &'static str);
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The connection holds its share.
    Share,
    /// The budget is full, and nobody holds more of it than this connection, which is cut.
    Budget,
}

/// What all connections may hold for one purpose.
pub(crate) struct Budget {
    name: &'static str,
    limit: usize,
    share: usize,
    used: AtomicUsize,
    /// Connections that were cut for it.
    cut: AtomicU64,
    accounts: Mutex<Vec<Weak<Account>>>,
    /// Accounts that are gone and still in the list, which keeps their memory.
    gone: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes, of which one connection may hold `share`. The name is the key of
    /// its setting.
    pub(crate) fn new(name: &'static str, limit: usize, share: usize) -> Arc<Self> {
        let (used, cut, gone) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        Arc::new(Self { name, limit, share, used, cut, accounts: Mutex::default(), gone })
    }

    /// Opens the account of a connection.
    pub(crate) fn open(self: &Arc<Self>, holder: Weak<dyn Holder>) -> Arc<Account> {
        let account = Arc::new(Account { budget: Arc::clone(self), holder, held: Mutex::default() });
        self.accounts.lock().push(Arc::downgrade(&account));
        account
    }

    /// Counts an account that is gone. When those are half of the list it is cleared of them: amortised O(1).
    fn forget(&self) {
        let gone = self.gone.fetch_add(1, Ordering::Relaxed) + 1;
        // Whoever makes room holds the lock, and may be the last to hold an account.
        let Some(mut accounts) = self.accounts.try_lock() else { return };
        if 2 * gone > accounts.len() {
            accounts.retain(|account| account.strong_count() > 0);
            accounts.shrink_to_fit();
            self.gone.store(0, Ordering::Relaxed);
        }
    }

    /// The key of its setting.
    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes that may be held.
    pub(crate) const fn limit(&self) -> usize {
        self.limit
    }

    /// Connections that were cut for it.
    pub(crate) fn cut(&self) -> u64 {
        self.cut.load(Ordering::Relaxed)
    }

    /// Bytes that are held.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Cuts connections until no more than the limit is held. O(accounts) for each that is cut.
    /// False when `asking` is one of them.
    fn make_room(&self, asking: &Arc<Account>) -> bool {
        // One at a time: two at once would cut two where one is enough.
        let accounts = self.accounts.lock();
        while self.used() > self.limit {
            let Some(largest) = largest(accounts.iter().filter_map(Weak::upgrade)) else { return true };
            largest.close();
            let cut = self.cut.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(
                budget = self.name,
                limit = self.limit,
                cut,
                "a budget is full: cut the connection that holds most"
            );
            if Arc::ptr_eq(&largest, asking) {
                return false;
            }
        }
        true
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("name", &self.name)
            .field("limit", &self.limit)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

/// Whoever connections are of.
#[derive(PartialEq, Eq, Hash)]
enum Client {
    Address(IpAddr),
    Identity(u64),
}

/// Of the client that holds most, the account that holds most. An account is of its address, and of its identity too:
/// nobody has more room for coming from many addresses.
fn largest(accounts: impl Iterator<Item = Arc<Account>>) -> Option<Arc<Account>> {
    let mut clients = HashMap::<Client, (usize, usize, Arc<Account>)>::new();
    for account in accounts {
        let held = account.held();
        let Some(holder) = account.holder.upgrade().filter(|_| held > 0) else { continue };
        let address = Client::Address(network(holder.peer()));
        for client in iter::once(address).chain(holder.caller().map(Client::Identity)) {
            let (total, most, largest) = clients.entry(client).or_insert_with(|| (0, held, Arc::clone(&account)));
            *total += held;
            if held > *most {
                (*most, *largest) = (held, Arc::clone(&account));
            }
        }
    }
    clients.into_values().max_by_key(|(total, most, _)| (*total, *most)).map(|(_, _, account)| account)
}

/// What counts as one address: of IPv6 the first 64 bits, which one customer has to himself.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(peer) => IpAddr::V4(peer),
        IpAddr::V6(peer) => IpAddr::V6(Ipv6Addr::from_bits(peer.to_bits() & !u128::from(u64::MAX))),
    }
}

/// So many may wait for room of one account. A stream that ended leaves its waker behind, and with that the memory of
/// its task: beyond this all are woken, and those that still wait come back.
const WAITING: usize = 1_024;

/// What one connection holds of a budget.
pub(crate) struct Account {
    budget: Arc<Budget>,
    holder: Weak<dyn Holder>,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    bytes: usize,
    /// It was cut: what it holds does not count any more.
    closed: bool,
    /// Who waits for room.
    waiting: Vec<Waker>,
}

impl Account {
    /// Sets `bytes` aside.
    ///
    /// # Errors
    ///
    /// When there is no room: [`Full::Share`] changes nothing, after [`Full::Budget`] the
    /// connection ends.
    pub(crate) fn reserve(self: &Arc<Self>, bytes: usize) -> Result<Reservation, Full> {
        self.take(bytes)?;
        Ok(Reservation { account: Arc::clone(self), bytes })
    }

    /// Ready when so many bytes more would be within the share. Whoever waits is woken when there is room
    /// again, once a quarter of the share is free. An account that was cut never has any.
    pub(crate) fn poll_room(&self, bytes: usize, cx: &Context<'_>) -> Poll<()> {
        let mut held = self.held.lock();
        if !held.closed && held.bytes.saturating_add(bytes) <= self.budget.share {
            return Poll::Ready(());
        }
        let mut woken = Vec::new();
        if !held.waiting.iter().any(|waiting| waiting.will_wake(cx.waker())) {
            if held.waiting.len() >= WAITING {
                woken = std::mem::take(&mut held.waiting);
            }
            held.waiting.push(cx.waker().clone());
        }
        drop(held);
        woken.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Bytes that it holds.
    pub(crate) fn held(&self) -> usize {
        let held = self.held.lock();
        if held.closed { 0 } else { held.bytes }
    }

    fn take(self: &Arc<Self>, bytes: usize) -> Result<(), Full> {
        {
            let mut held = self.held.lock();
            if held.closed {
                return Err(Full::Budget);
            }
            if held.bytes.saturating_add(bytes) > self.budget.share {
                return Err(Full::Share);
            }
            held.bytes += bytes;
        }
        let used = self.budget.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.budget.limit && !self.budget.make_room(self) {
            self.give_back(bytes);
            return Err(Full::Budget);
        }
        Ok(())
    }

    fn give_back(&self, bytes: usize) {
        let woken = {
            let mut held = self.held.lock();
            held.bytes -= bytes;
            if !held.closed {
                self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
            }
            let share = self.budget.share;
            if held.bytes <= share - share / 4 { std::mem::take(&mut held.waiting) } else { Vec::new() }
        };
        woken.into_iter().for_each(Waker::wake);
    }

    fn close(&self) {
        {
            let mut held = self.held.lock();
            if std::mem::replace(&mut held.closed, true) {
                return;
            }
            self.budget.used.fetch_sub(held.bytes, Ordering::Relaxed);
        }
        if let Some(holder) = self.holder.upgrade() {
            holder.cut(self.budget.name);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        debug_assert_eq!(self.held.get_mut().bytes, 0, "each reservation holds its account");
        self.budget.forget();
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("budget", &self.budget.name).field("held", &self.held()).finish_non_exhaustive()
    }
}

/// Bytes that are set aside, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    account: Arc<Account>,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::sync::woken::Woken;

    struct Connection {
        peer: IpAddr,
        caller: Option<u64>,
        cut: AtomicBool,
    }

    impl Holder for Connection {
        fn peer(&self) -> IpAddr {
            self.peer
        }

        fn caller(&self) -> Option<u64> {
            self.caller
        }

        fn cut(&self, budget: &'static str) {
            assert_eq!(budget, "memory.test_bytes");
            assert!(!self.cut.swap(true, Ordering::Relaxed), "once");
        }
    }

    /// A connection from 10.0.0.`host`.
    fn connection(budget: &Arc<Budget>, host: u8) -> (Arc<Connection>, Arc<Account>) {
        connection_of(budget, host, None)
    }

    /// One whose calls are of this identity.
    fn connection_of(budget: &Arc<Budget>, host: u8, caller: Option<u64>) -> (Arc<Connection>, Arc<Account>) {
        let peer = Ipv4Addr::new(10, 0, 0, host).into();
        let connection = Arc::new(Connection { peer, caller, cut: AtomicBool::new(false) });
        let holder: Weak<dyn Holder> = Arc::<Connection>::downgrade(&connection);
        let account = budget.open(holder);
        (connection, account)
    }

    fn is_cut(connection: &Connection) -> bool {
        connection.cut.load(Ordering::Relaxed)
    }

    #[test]
    fn reservations_are_given_back_when_dropped() {
        let budget = Budget::new("memory.test_bytes", 100, 50);
        let (_connection, account) = connection(&budget, 1);
        let first = account.reserve(30).unwrap();
        let second = account.reserve(20).unwrap();
        assert_eq!((budget.used(), account.held()), (50, 50));
        drop(first);
        assert_eq!(budget.used(), 20);
        drop(second);
        assert_eq!((budget.used(), account.held()), (0, 0));
    }

    #[test]
    fn share_refuses_and_cuts_nobody() {
        let budget = Budget::new("memory.test_bytes", 100, 50);
        let (connection, account) = connection(&budget, 1);
        let _held = account.reserve(40).unwrap();
        assert_eq!(account.reserve(11).unwrap_err(), Full::Share);
        assert_eq!(account.reserve(usize::MAX).unwrap_err(), Full::Share);
        assert_eq!((budget.used(), is_cut(&connection)), (40, false));
    }

    #[test]
    fn full_budget_cuts_its_largest_holder() {
        let budget = Budget::new("memory.test_bytes", 100, 60);
        let (alone, on_its_own) = connection(&budget, 1);
        let (smaller, third) = connection(&budget, 2);
        let (larger, second) = connection(&budget, 2);
        let held = (on_its_own.reserve(40).unwrap(), second.reserve(31).unwrap(), third.reserve(20).unwrap());
        let (other, asking) = connection(&budget, 3);
        let more = asking.reserve(20).unwrap();
        assert_eq!([&alone, &smaller, &larger, &other].map(|one| is_cut(one)), [false, false, true, false]);
        assert_eq!((budget.used(), second.held()), (80, 0), "what was cut does not count");
        assert_eq!(second.reserve(1).unwrap_err(), Full::Budget);
        drop((held, more));
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn identity_counts_with_all_its_addresses() {
        let budget = Budget::new("memory.test_bytes", 100, 60);
        let (alone, other) = connection_of(&budget, 1, Some(1));
        let (spread, first) = connection_of(&budget, 2, Some(2));
        let (thinner, second) = connection_of(&budget, 3, Some(2));
        let held = (other.reserve(40).unwrap(), first.reserve(30).unwrap(), second.reserve(20).unwrap());
        let (asking, last) = connection(&budget, 4);
        let more = last.reserve(20).unwrap();
        assert_eq!([&alone, &spread, &thinner, &asking].map(|one| is_cut(one)), [false, true, false, false]);
        drop((held, more));
    }

    #[test]
    fn largest_holder_that_asks_is_cut() {
        let budget = Budget::new("memory.test_bytes", 100, 90);
        let (other, small) = connection(&budget, 1);
        let (greedy, large) = connection(&budget, 2);
        let held = (small.reserve(30).unwrap(), large.reserve(60).unwrap());
        assert_eq!(large.reserve(20).unwrap_err(), Full::Budget);
        assert_eq!((is_cut(&other), is_cut(&greedy), budget.used()), (false, true, 30));
        drop(held);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn whoever_waits_is_woken_when_there_is_room() {
        let budget = Budget::new("memory.test_bytes", 1_000, 100);
        let (_connection, account) = connection(&budget, 1);
        let woken = Arc::<Woken>::default();
        let waker = Waker::from(Arc::clone(&woken));
        let cx = Context::from_waker(&waker);
        let [held, last, more] = [75, 1, 14].map(|bytes| account.reserve(bytes).unwrap());
        assert!(account.poll_room(10, &cx).is_ready());
        assert!(account.poll_room(11, &cx).is_pending() && account.poll_room(11, &cx).is_pending());
        drop(more);
        assert_eq!(woken.take(), 0, "less than a quarter is free");
        drop(last);
        assert_eq!(woken.take(), 1, "once");
        drop(held);
    }

    #[test]
    fn ended_waiters_are_not_kept_for_ever() {
        let budget = Budget::new("memory.test_bytes", 100, 50);
        let (_connection, account) = connection(&budget, 1);
        let held = account.reserve(50).unwrap();
        let waiters: Vec<_> = (0..2 * WAITING).map(|_| Arc::<Woken>::default()).collect();
        for waiter in &waiters {
            let waker = Arc::clone(waiter).into();
            assert!(account.poll_room(1, &Context::from_waker(&waker)).is_pending());
        }
        assert_eq!(account.held.lock().waiting.len(), WAITING);
        assert!(waiters[..WAITING].iter().all(|waiter| waiter.take() == 1), "they may come back");
        drop(held);
        assert!(waiters[WAITING..].iter().all(|waiter| waiter.take() == 1), "there is room");
    }

    #[test]
    fn list_of_accounts_shrinks_with_them() {
        let budget = Budget::new("memory.test_bytes", 100, 50);
        let mut open: Vec<_> = (0..1_000).map(|_| connection(&budget, 1)).collect();
        open.truncate(10);
        let accounts = budget.accounts.lock();
        assert!(accounts.len() <= 20 && accounts.capacity() <= 20, "{} of {}", accounts.len(), accounts.capacity());
        assert_eq!(accounts.iter().filter(|account| account.strong_count() > 0).count(), 10);
    }

    #[test]
    fn one_customer_of_ipv6_is_one_address() {
        let parse = |text: &str| network(text.parse().unwrap());
        assert_eq!(parse("2001:db8:1:2:3:4:5:6"), parse("2001:db8:1:2::1"));
        assert_ne!(parse("2001:db8:1:2::1"), parse("2001:db8:1:3::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
        assert_ne!(parse("10.0.0.1"), parse("10.0.0.2"));
    }
}
