//! Which swarms this server takes updates of from their homes, and from which.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::home_stream::HomeStream;
use super::network::PeerNetwork;
use super::{Homes, home_stream};
use crate::clock;
use crate::feed::Feed;
use crate::service::cascade::FollowLease;
use starling_core::id::{Epoch, NO_HOME, PodId, SwarmId};

/// How long a swarm is followed after its last subscription.
const LINGER: Duration = Duration::from_secs(10);

/// How often it is looked at what is due with time.
const TICK: Duration = Duration::from_millis(500);

/// Changes that come close together are looked at once.
const PAUSE: Duration = Duration::from_millis(5);

/// The swarms that are followed.
#[derive(Debug)]
pub(super) struct Followers {
    network: PeerNetwork,
    homes: Arc<dyn Homes>,
    swarms: Mutex<BTreeMap<(SwarmId, Epoch), Arc<Followed>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// A swarm that is followed.
#[derive(Debug)]
struct Followed {
    /// Another one may take its place, with another state of the swarm.
    feed: Arc<Feed>,
    leases: Mutex<usize>,
    /// Notified when the last of them goes.
    released: Notify,
}

/// One of those for whom a swarm is followed.
#[derive(Debug)]
struct Lease(Arc<Followed>);

impl Lease {
    fn begin(followed: &Arc<Followed>) -> FollowLease {
        *followed.leases.lock() += 1;
        FollowLease::new(Arc::new(Self(Arc::clone(followed))))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut leases = self.0.leases.lock();
        *leases -= 1;
        if *leases == 0 {
            self.0.released.notify_one();
        }
    }
}

impl Followed {
    fn is_wanted(&self) -> bool {
        *self.leases.lock() > 0
    }
}

impl Followers {
    pub(super) fn new(network: PeerNetwork, homes: Arc<dyn Homes>) -> Arc<Self> {
        let (swarms, tasks, stop) = (Mutex::default(), TaskTracker::new(), CancellationToken::new());
        Arc::new(Self { network, homes, swarms, tasks, stop })
    }

    pub(super) fn homes(&self) -> &Arc<dyn Homes> {
        &self.homes
    }

    pub(super) const fn network(&self) -> &PeerNetwork {
        &self.network
    }

    /// Follows a swarm while the lease lives, and for a while after.
    pub(super) fn follow(self: &Arc<Self>, id: SwarmId, epoch: Epoch, feed: &Arc<Feed>) -> FollowLease {
        let mut swarms = self.swarms.lock();
        if let Some(followed) = swarms.get(&(id, epoch)).filter(|followed| Arc::ptr_eq(&followed.feed, feed)) {
            return Lease::begin(followed);
        }
        let followed = Arc::new(Followed { feed: Arc::clone(feed), leases: Mutex::default(), released: Notify::new() });
        let lease = Lease::begin(&followed);
        swarms.insert((id, epoch), Arc::clone(&followed));
        let task = run(Arc::downgrade(self), id, epoch, followed);
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = stop.cancelled() => {}
            }
        });
        lease
    }

    /// Swarms that are followed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.swarms.lock().len()
    }

    /// Forgets a swarm, unless somebody wants it again. True when it is forgotten.
    fn forget(&self, id: SwarmId, epoch: Epoch, followed: &Arc<Followed>) -> bool {
        let mut swarms = self.swarms.lock();
        let over = !followed.is_wanted();
        if over && swarms.get(&(id, epoch)).is_some_and(|known| Arc::ptr_eq(known, followed)) {
            swarms.remove(&(id, epoch));
        }
        over
    }
}

impl Drop for Followers {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Follows one swarm, each of its homes by a task of its own.
async fn run(followers: Weak<Followers>, id: SwarmId, epoch: Epoch, followed: Arc<Followed>) {
    let feed = Arc::clone(&followed.feed);
    let Some((network, homes)) = followers.upgrade().map(|all| (all.network.clone(), Arc::clone(&all.homes))) else {
        return;
    };
    let mut streams: JoinSet<PodId> = JoinSet::new();
    let mut running: BTreeSet<PodId> = BTreeSet::new();
    let mut unwanted_since: Option<Instant> = None;
    loop {
        let changed = feed.producers().notified_owned();
        tokio::pin!(changed);
        changed.as_mut().enable();
        let own = homes.own(id);
        if own != NO_HOME {
            feed.follow_as(own);
        }
        for wanted in feed.wanted_lanes() {
            if own != NO_HOME && running.insert(wanted.home) {
                let stream = HomeStream::new(network.clone(), Arc::clone(&homes), id, epoch, &feed, wanted.home);
                streams.spawn(home_stream::run(stream));
            }
        }
        let ticks = feed.tend_upstream(clock::uptime());
        unwanted_since = if followed.is_wanted() { None } else { unwanted_since.or_else(|| Some(Instant::now())) };
        let until = unwanted_since.map(|since| since + LINGER);
        if until.is_some_and(|until| until <= Instant::now()) {
            let forgotten = followers.upgrade().is_none_or(|all| all.forget(id, epoch, &followed));
            if forgotten {
                return;
            }
        }
        let tick = ticks.then(|| Instant::now() + TICK);
        let next = [until, tick].into_iter().flatten().min();
        tokio::select! {
            () = changed => sleep(PAUSE).await,
            Some(ended) = streams.join_next() => {
                if let Ok(home) = ended {
                    running.remove(&home);
                }
                sleep(PAUSE).await;
            }
            () = followed.released.notified() => {}
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
    }
}
