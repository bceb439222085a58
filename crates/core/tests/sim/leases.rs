//! A second opinion on liveness: which session is attached where, and when each
//! detached one is due.

use std::collections::{BTreeMap, BTreeSet};

use starling_core::event::LeaveReason;
use starling_core::id::PodId;
use starling_core::{Applied, Command, SessionId, SharedCommand, Swarm};

#[derive(Debug)]
struct Lease {
    ttl_ms: u64,
    pods: BTreeSet<PodId>,
    since: u64,
}

impl Lease {
    fn is_due(&self, now: u64) -> bool {
        self.pods.is_empty() && self.since + self.ttl_ms <= now
    }
}

/// The leases of all sessions that go on.
#[derive(Debug, Default)]
pub(crate) struct Leases(BTreeMap<SessionId, Lease>);

impl Leases {
    /// Takes an accepted command in; `now` is the swarm's time after it.
    pub(crate) fn take(&mut self, command: &Command, applied: &Applied, now: u64) {
        for (session, reason) in &applied.ended {
            let lease = self.0.remove(session).expect("only a session that began can end");
            let due = lease.is_due(now);
            assert!(
                *reason != LeaveReason::Timeout || due,
                "a lease runs out when it is due, and never while attached"
            );
        }
        if applied.over {
            self.0.clear();
        }
        match command {
            Command::Shared(SharedCommand::Join(join)) if !applied.events.is_empty() => {
                self.open(join.session, join.ttl_ms, now)
            }
            Command::Shared(
                SharedCommand::Claim { session, ttl_ms, .. } | SharedCommand::Acquire { session, ttl_ms, .. },
            ) if applied.session == Some(*session) => {
                self.open(*session, *ttl_ms, now);
            }
            Command::Shared(SharedCommand::Attach(_, session, pod)) => {
                self.lease(*session).pods.insert(*pod);
            }
            Command::Shared(SharedCommand::Detach(_, session, pod)) => {
                let lease = self.lease(*session);
                if lease.pods.remove(pod) {
                    lease.since = now;
                }
            }
            Command::Shared(SharedCommand::Touch(_, session)) => self.lease(*session).since = now,
            Command::Shared(SharedCommand::PodGone(pod)) => {
                for lease in self.0.values_mut().filter(|lease| lease.pods.contains(pod)) {
                    lease.pods.remove(pod);
                    lease.since = now;
                }
            }
            _ => {}
        }
    }

    /// Compares with the swarm: who is attached, and when the next one is due. O(n).
    pub(crate) fn compare(&self, swarm: &Swarm) {
        assert_eq!(self.0.len(), swarm.roster().len());
        for (key, member) in swarm.roster().iter() {
            let attached = !self.0[&member.session].pods.is_empty();
            let view = swarm.view(key).expect("a member has a view");
            assert_eq!((view.attached, u64::from(view.ttl_ms)), (attached, self.0[&member.session].ttl_ms));
        }
        let detached = self.0.values().filter(|lease| lease.pods.is_empty());
        if let Some(first) = detached.map(|lease| lease.since + lease.ttl_ms).min() {
            assert!(swarm.next_expiry().is_some_and(|next| next <= first), "the sweeper is woken for every lease");
        }
    }

    /// Panics when a lease is overdue. O(n).
    pub(crate) fn assert_none_is_due(&self, now: u64) {
        assert!(self.0.values().all(|lease| !lease.is_due(now)), "every due lease has ended");
    }

    fn open(&mut self, session: SessionId, ttl_ms: u32, now: u64) {
        self.0.insert(session, Lease { ttl_ms: u64::from(ttl_ms), pods: BTreeSet::new(), since: now });
    }

    fn lease(&mut self, session: SessionId) -> &mut Lease {
        self.0.get_mut(&session).expect("the session was found current")
    }
}
