//! A second opinion on bans: who is kept out until when, by the commands alone.

use std::collections::BTreeMap;

use starling_core::{Applied, Command, Event, NodeId, Rejection, SharedCommand, SharedEvent, Swarm};

/// What one Expire forgets at most.
const AT_ONCE: usize = 1_024;

/// The bans of a swarm.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bans {
    ends: BTreeMap<NodeId, u64>,
    /// The swarm's time as of the command at work.
    now: u64,
}

impl Bans {
    /// A command is at work at this time.
    pub(crate) fn pass_time(&mut self, now: u64) {
        self.now = now;
    }

    /// When the ban of a node ends, while it holds.
    pub(crate) fn end(&self, node: NodeId) -> Option<u64> {
        self.ends.get(&node).copied().filter(|end| *end > self.now)
    }

    /// Why a node that is not in may not act.
    pub(crate) fn absence(&self, node: NodeId) -> Rejection {
        match self.end(node) {
            Some(until) => Rejection::Banned { node, until },
            None => Rejection::NotAMember(node),
        }
    }

    /// Someone who is banned, or was and is not forgotten yet; nobody when nobody is.
    pub(crate) fn first(&self) -> Option<NodeId> {
        self.ends.first_key_value().map(|(node, _)| *node)
    }

    /// Takes an accepted command in: what its events say of bans is what it came to.
    pub(crate) fn take(&mut self, command: &Command, applied: &Applied) {
        let told = applied.events.iter().filter_map(|event| match event {
            Event::Shared(SharedEvent::BanChanged { node, until }) => Some((*node, *until)),
            _ => None,
        });
        let told: Vec<_> = told.collect();
        let expected: Vec<_> = match command {
            Command::Shared(SharedCommand::Ban { node, ttl_ms, .. }) => {
                let until = self.now + u64::from(*ttl_ms);
                let before = self.ends.insert(*node, until);
                (before != Some(until)).then_some((*node, Some(until))).into_iter().collect()
            }
            Command::Shared(SharedCommand::Unban(_, node)) => {
                self.ends.remove(node).map(|_| (*node, None)).into_iter().collect()
            }
            Command::Shared(SharedCommand::Expire) => {
                let mut due: Vec<_> = self.ends.iter().filter(|(_, end)| **end <= self.now).collect();
                due.sort_unstable_by_key(|(node, end)| (**end, **node));
                let due: Vec<_> = due.into_iter().take(AT_ONCE).map(|(node, _)| (*node, None)).collect();
                due.iter().for_each(|(node, _)| assert!(self.ends.remove(node).is_some()));
                due
            }
            _ => Vec::new(),
        };
        assert_eq!(told, expected, "bans begin and end when they are to, and are told");
        if applied.over || applied.created {
            self.ends.clear();
        }
    }

    /// Compares with the swarm. O(bans).
    pub(crate) fn compare(&self, swarm: &Swarm) {
        assert!(swarm.bans().iter_from(None).eq(self.ends.iter().map(|(node, end)| (*node, *end))));
        if let Some(first) = self.ends.values().min() {
            assert!(swarm.next_expiry().is_some_and(|next| next <= *first), "the sweeper is woken for every ban");
        }
        for (node, end) in &self.ends {
            let is_in = swarm.roster().key(*node).is_some();
            assert!(!is_in || *end <= swarm.now(), "{node:?} is banned and in");
        }
    }
}
