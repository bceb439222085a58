//! How many swarms there are and who is in them, kept up with each command, so that nobody has to walk over them.

use starling_core::event::LeaveReason;
use starling_core::id::SwarmKind;
use starling_core::livestream::State;
use starling_core::{Rules, Swarm};

/// The states of a swarm, in the order of their numbers.
const STATES: [State; 4] = [State::Initializing, State::Active, State::Paused, State::Ended];

/// The swarms of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    swarms: [u64; STATES.len()],
    /// Members now.
    pub members: u64,
    /// Sessions begun.
    pub joins: u64,
    leaves: [u64; LeaveReason::ALL.len()],
}

impl KindCounts {
    /// Swarms by state. A group has no other states than ACTIVE and ENDED.
    pub fn swarms(&self) -> impl Iterator<Item = (State, u64)> {
        STATES.into_iter().zip(self.swarms)
    }

    /// Sessions ended, by why.
    pub fn leaves(&self) -> impl Iterator<Item = (LeaveReason, u64)> {
        LeaveReason::ALL.into_iter().zip(self.leaves)
    }
}

/// The swarms of a shard, or of all of them. Joins and leaves are those since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SwarmCounts {
    kinds: [KindCounts; 2],
}

/// What is counted of one swarm: its state and its members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted(Option<(State, u64)>);

impl Counted {
    pub(super) fn of(swarm: &Swarm) -> Self {
        let state = match swarm.rules() {
            Rules::Livestream(livestream) => livestream.state(),
            Rules::Group(_) if swarm.is_over() => State::Ended,
            Rules::Group(_) => State::Active,
        };
        Self(Some((state, swarm.roster().len() as u64)))
    }
}

/// What a swarm has counted of its sessions.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sessions {
    joins: u64,
    leaves: [u64; LeaveReason::ALL.len()],
}

impl Sessions {
    pub(super) fn of(swarm: &Swarm) -> Self {
        let stats = swarm.stats();
        Self { joins: stats.joins, leaves: stats.leaves }
    }
}

impl SwarmCounts {
    /// The swarms of a kind.
    pub const fn kind(&self, kind: SwarmKind) -> &KindCounts {
        &self.kinds[kind as usize]
    }

    /// Counts a swarm as it is now, in place of what it was before.
    pub(super) fn replace(&mut self, kind: SwarmKind, before: &mut Counted, now: Counted) {
        if *before == now {
            return;
        }
        let counts = &mut self.kinds[kind as usize];
        if let Some((state, members)) = before.0 {
            counts.swarms[state as usize] -= 1;
            counts.members -= members;
        }
        if let Some((state, members)) = now.0 {
            counts.swarms[state as usize] += 1;
            counts.members += members;
        }
        *before = now;
    }

    /// Counts the sessions that a swarm has had more than before.
    pub(super) fn add_sessions(&mut self, kind: SwarmKind, before: &Sessions, now: &Sessions) {
        let counts = &mut self.kinds[kind as usize];
        counts.joins += now.joins - before.joins;
        for (sum, (now, before)) in counts.leaves.iter_mut().zip(now.leaves.into_iter().zip(before.leaves)) {
            *sum += now - before;
        }
    }

    /// Adds those of another shard.
    pub(super) fn add(&mut self, other: &Self) {
        for (sum, more) in self.kinds.iter_mut().zip(&other.kinds) {
            sum.members += more.members;
            sum.joins += more.joins;
            sum.swarms.iter_mut().zip(more.swarms).for_each(|(sum, more)| *sum += more);
            sum.leaves.iter_mut().zip(more.leaves).for_each(|(sum, more)| *sum += more);
        }
    }
}
