//! The core: what a swarm is and what every command does to it.
//!
//! A deterministic state machine over plain data: no clock, no lock, no await,
//! no wire format, no source of randomness. [`apply`] is the only way to change
//! a swarm; it answers with the changes, or refuses and changes nothing.
//!
//! In reading order: [`id`] and [`interest`] are the vocabulary, [`command`] and
//! [`event`] the interface, [`livestream`] and [`group`] the two kinds,
//! [`topology`] the relay tree, [`member`] and [`roster`] who is in.

// Order of iteration must be the same in every process.
#![warn(clippy::iter_over_hash_type)]

pub mod command;
pub mod error;
pub mod event;
pub mod group;
pub mod hash;
pub mod id;
pub mod interest;
pub mod last_members;
pub mod livestream;
pub mod member;
pub mod propagation;
pub mod request;
pub mod roster;
pub mod stats;
pub mod summary;
pub mod topology;
pub mod wire;

pub use command::Command;
pub use error::Rejection;
pub use event::{Applied, Event};
pub use group::Group;
pub use id::{Epoch, NodeId, SessionId, SwarmId, SwarmKind};
pub use livestream::Livestream;

use event::Grant;
use hash::FixedHasher;
use last_members::LastMembers;
use roster::Roster;
use topology::TargetList;

/// A livestream or a group.
#[derive(Clone, Debug, Hash)]
pub enum Swarm {
    /// One broadcaster, many viewers.
    Livestream(Livestream),
    /// A call among peers.
    Group(Group),
}

/// Applies a command to the swarm in `slot`, at `at` milliseconds since the Unix
/// epoch (never earlier than any command before).
///
/// Create fills the slot; the last Expire of an ended swarm empties it.
pub fn apply(slot: &mut Option<Box<Swarm>>, command: Command, at: u64) -> Result<Applied, Rejection> {
    match (slot.as_deref_mut(), command) {
        (None, Command::CreateLivestream(create)) => Ok(make_livestream(slot, create, at)),
        (None, Command::CreateGroup(create)) => Ok(make_group(slot, create, at)),
        // What is due for a swarm that is gone has been done.
        (None, Command::Expire) => Ok(Applied::default()),
        (None, _) => Err(Rejection::NoSuchSwarm),
        (Some(Swarm::Livestream(old)), Command::CreateLivestream(create)) => {
            if old.ended().is_some() {
                Ok(make_livestream(slot, create, at))
            } else if old.is_made_by(&create) {
                Ok(Applied { revision: old.revision(), ..Applied::default() })
            } else {
                Err(Rejection::Exists)
            }
        }
        (Some(Swarm::Group(old)), Command::CreateGroup(create)) => {
            if old.ended().is_some() {
                Ok(make_group(slot, create, at))
            } else if old.is_made_by(&create) {
                Ok(Applied { revision: old.revision(), ..Applied::default() })
            } else {
                Err(Rejection::Exists)
            }
        }
        (Some(swarm), command) => {
            let mut applied = match swarm {
                Swarm::Livestream(livestream) => livestream.apply(command, at),
                Swarm::Group(group) => group.apply(command, at),
            }?;
            if applied.removed {
                applied.gone = slot.take();
            }
            Ok(applied)
        }
    }
}

fn make_livestream(slot: &mut Option<Box<Swarm>>, create: command::CreateLivestream, at: u64) -> Applied {
    let (livestream, applied) = Livestream::create(create, at);
    Applied { gone: slot.replace(Box::new(Swarm::Livestream(livestream))), ..applied }
}

fn make_group(slot: &mut Option<Box<Swarm>>, create: command::CreateGroup, at: u64) -> Applied {
    let (group, applied) = Group::create(create, at);
    Applied { gone: slot.replace(Box::new(Swarm::Group(group))), ..applied }
}

macro_rules! either {
    ($self:ident, $swarm:ident => $call:expr) => {
        match $self {
            Self::Livestream($swarm) => $call,
            Self::Group($swarm) => $call,
        }
    };
}

impl Swarm {
    /// The incarnation.
    pub fn epoch(&self) -> Epoch {
        either!(self, swarm => swarm.epoch())
    }

    /// Number of the last visible change.
    pub fn revision(&self) -> u64 {
        either!(self, swarm => swarm.revision())
    }

    /// All sessions.
    pub fn roster(&self) -> &Roster {
        either!(self, swarm => swarm.roster())
    }

    /// A member as others see it.
    pub fn view(&self, key: roster::Key) -> Option<member::MemberView> {
        either!(self, swarm => swarm.view(key))
    }

    /// A page of those who are listed: viewers or participants. The broadcaster has
    /// a session and is not among them. See [`Roster::page`].
    pub fn page(&self, from: usize, limit: usize) -> (Vec<member::MemberView>, Option<usize>) {
        let listed = |member: &member::Member| !matches!(member.role, member::Role::Broadcaster { .. });
        let (keys, next) = self.roster().page(from, limit, listed);
        (keys.into_iter().filter_map(|key| self.view(key)).collect(), next)
    }

    /// A viewer or participant; `None` for everybody else, the broadcaster too.
    pub fn listed(&self, node: NodeId) -> Option<member::MemberView> {
        let view = self.view(self.roster().key(node)?)?;
        (!matches!(view.role, member::Role::Broadcaster { .. })).then_some(view)
    }

    /// When something falls due next, in milliseconds since the Unix epoch.
    pub fn next_expiry(&self) -> Option<u64> {
        either!(self, swarm => swarm.next_expiry())
    }

    /// True when it has ended and is only kept for a while.
    pub fn is_over(&self) -> bool {
        either!(self, swarm => swarm.ended().is_some())
    }

    /// Who was in when it ended; nobody before.
    pub fn last_members(&self) -> &LastMembers {
        either!(self, swarm => swarm.last_members())
    }

    /// Whom a node forwards to; `None` stands for the broadcaster. `None` when
    /// there is no such member.
    pub fn targets(&self, node: Option<NodeId>) -> Option<TargetList> {
        match self {
            Self::Livestream(livestream) => livestream.targets(node),
            Self::Group(group) => group.targets(node?),
        }
    }

    /// The rights to publish that are in force.
    pub fn grants(&self) -> Vec<Grant> {
        either!(self, swarm => swarm.grants().collect())
    }

    /// A digest of the whole state: equal on every pod after the same commands.
    pub fn digest(&self) -> u64 {
        FixedHasher::digest(self)
    }

    /// Panics when an invariant does not hold. O(n); for tests.
    pub fn check(&self) {
        either!(self, swarm => swarm.check());
    }
}
