//! A second opinion on where terms have their homes: where they were asked for, until that pod is gone.

use std::collections::BTreeMap;

use starling_core::channel::{Channel, ChannelSet};
use starling_core::event::Grant;
use starling_core::id::{NO_HOME, PodId, SINGLE_POD};
use starling_core::{Applied, Command, NodeId, SharedCommand, Swarm};

type Right = (NodeId, Channel);

/// Terms and their homes, as whoever enforces the grants knows them.
#[derive(Debug, Default)]
pub(crate) struct Homes(BTreeMap<Right, (u64, PodId)>);

const fn right(grant: &Grant) -> Right {
    (grant.source, grant.channel)
}

impl Homes {
    /// Takes an accepted command in.
    pub(crate) fn take(&mut self, command: &Command, applied: &Applied) {
        let before = |grant: &Grant| self.0.get(&right(grant)).copied();
        match command {
            Command::Shared(SharedCommand::Claim { channels, pod, .. }) => {
                assert_at_home(applied, *channels, *pod);
            }
            Command::Shared(SharedCommand::Acquire { channels, pod, .. }) => {
                assert_at_home(applied, *channels, *pod);
                for grant in applied.grants.iter().filter(|grant| grant.term != 0) {
                    let is_free = before(grant).is_none_or(|(_, home)| home == NO_HOME && *pod != SINGLE_POD);
                    assert!(is_free, "what is held is not acquired");
                }
            }
            Command::Shared(SharedCommand::PodGone(pod)) if *pod != SINGLE_POD => {
                let left = self.0.iter().filter(|(_, (_, home))| home == pod).map(|(right, _)| *right);
                let told = applied.grants.iter().map(right).collect::<std::collections::BTreeSet<_>>();
                assert!(told.into_iter().eq(left), "who has lost its home is told, and nobody else");
                let stay = |grant: &Grant| before(grant).map(|(term, _)| (term, NO_HOME));
                assert!(applied.grants.iter().all(|grant| stay(grant) == Some((grant.term, grant.home))));
            }
            // A term stays where it is.
            _ => {
                let mut known = applied.grants.iter().filter_map(|grant| Some((grant, before(grant)?)));
                assert!(known.all(|(grant, (term, home))| grant.term != term || grant.home == home));
            }
        }
        for grant in &applied.grants {
            if grant.term == 0 {
                assert_eq!(grant.home, NO_HOME, "what is no term has no home");
                self.0.remove(&right(grant));
            } else {
                self.0.insert(right(grant), (grant.term, grant.home));
            }
        }
        if applied.over {
            self.0.clear();
        }
    }

    /// Compares with the swarm. O(n).
    pub(crate) fn compare(&self, swarm: &Swarm) {
        let grants: BTreeMap<_, _> =
            swarm.grants().iter().map(|grant| (right(grant), (grant.term, grant.home))).collect();
        assert_eq!(self.0, grants, "the grants that were told are those in force");
        let mut pods: Vec<PodId> = grants.values().map(|(_, home)| *home).filter(|home| *home != NO_HOME).collect();
        pods.dedup();
        let found = swarm.pods();
        assert!(pods.iter().all(|pod| found.contains(pod)), "who goes through what a pod leaves behind finds it");
    }
}

fn assert_at_home(applied: &Applied, channels: ChannelSet, pod: PodId) {
    let granted = applied.grants.iter().filter(|grant| grant.term != 0);
    let mut claimed = granted.filter(|grant| channels.contains(grant.channel));
    assert!(claimed.all(|grant| grant.home == pod), "a term is at home where it was asked for");
}
