//! A swarm of either kind, and the one way to change it.

use super::bans::Bans;
use super::base::Base;
use super::channel::Channel;
use super::command::{Command, CreateLivestream, SharedCommand};
use super::error::Rejection;
use super::event::{Applied, Event, Gate, Grant};
use super::group::{self, Group};
use super::hash::FixedHasher;
use super::id::{Epoch, MemberKey, NodeId, SessionId, SwarmKind};
use super::invariant::BrokenInvariant;
use super::key::BroadcasterKey;
use super::last_members::LastMembers;
use super::livestream::Livestream;
use super::member::{MemberView, View};
use super::role::Role;
use super::roster::Roster;
use super::rules::{self, RuleSet, next_expiry};
use super::state::EndReason;
use super::stats::Stats;
use super::summary::{Detail, Summary};
use super::topology::{Forwarder, TargetList};

pub use upkeep::{Upkeep, Upkept, upkeep};

mod upkeep;

/// A livestream or a group.
#[derive(Clone, Debug, Hash)]
pub struct Swarm {
    base: Base,
    rules: Rules,
}

/// What only one kind of swarm has.
#[derive(Clone, Debug, Hash)]
#[expect(clippy::large_enum_variant, reason = "a swarm has one, and is boxed itself")]
pub enum Rules {
    /// One broadcaster, many viewers.
    Livestream(Livestream),
    /// A call among peers.
    Group(Group),
}

impl Rules {
    fn set(&self) -> &dyn RuleSet {
        match self {
            Self::Livestream(livestream) => livestream,
            Self::Group(group) => group,
        }
    }

    fn set_mut(&mut self) -> &mut dyn RuleSet {
        match self {
            Self::Livestream(livestream) => livestream,
            Self::Group(group) => group,
        }
    }
}

/// A swarm that is in its slot no more. It may be large: to be dropped outside any lock.
pub type Former = Option<Box<Swarm>>;

/// Applies a command to the swarm in `slot`, at `at` milliseconds since the Unix
/// epoch (never earlier than any command before).
///
/// Create fills the slot; the last Expire of an ended swarm, or a Forget, empties it. The swarm that was
/// there before, and is not now, comes beside what the command did.
///
/// # Errors
///
/// A [`Rejection`]; then nothing is changed, not even the time.
pub fn apply(slot: &mut Option<Box<Swarm>>, command: Command, at: u64) -> Result<(Applied, Former), Rejection> {
    let is_free = |kind| slot.as_deref().is_none_or(|old| old.is_over() && old.kind() == kind);
    match command {
        Command::CreateLivestream(create) if is_free(SwarmKind::Livestream) => {
            Ok(fill_with_livestream(slot, create, None, at))
        }
        Command::CreateSignedLivestream(create, key) if is_free(SwarmKind::Livestream) => {
            Ok(fill_with_livestream(slot, create, Some(key), at))
        }
        Command::CreateGroup(create) if is_free(SwarmKind::Group) => {
            let (base, group, created) = Group::create(create, at);
            Ok(fill(slot, Swarm { base, rules: Rules::Group(group) }, created))
        }
        command => match slot.as_deref_mut() {
            Some(swarm) => {
                let applied = swarm.apply(command, at)?;
                let former = if applied.removed { slot.take() } else { None };
                Ok((applied, former))
            }
            // What is due for a swarm that is gone has been done.
            None if matches!(command, Command::Shared(SharedCommand::Expire | SharedCommand::Forget)) => {
                Ok((Applied::default(), None))
            }
            None => Err(Rejection::NoSuchSwarm),
        },
    }
}

fn fill_with_livestream(
    slot: &mut Option<Box<Swarm>>,
    create: CreateLivestream,
    key: Option<BroadcasterKey>,
    at: u64,
) -> (Applied, Former) {
    let (base, livestream, created) = Livestream::create(create, key, at);
    fill(slot, Swarm { base, rules: Rules::Livestream(livestream) }, created)
}

fn fill(slot: &mut Option<Box<Swarm>>, swarm: Swarm, created: Event) -> (Applied, Former) {
    let applied = Applied { events: vec![created], created: true, ..swarm.base.unchanged() };
    (applied, slot.replace(Box::new(swarm)))
}

impl Swarm {
    /// Carries a command out, or refuses it and changes nothing, not even the time. A Create
    /// finds what it would make, or is refused.
    fn apply(&mut self, command: Command, at: u64) -> Result<Applied, Rejection> {
        let Self { base, rules } = self;
        let before = base.now;
        base.now = before.max(at);
        let result = match (rules, command) {
            (rules, Command::Shared(command)) => rules::apply(base, rules.set_mut(), command),
            (Rules::Livestream(livestream), Command::Livestream(command)) => livestream.apply(base, command),
            (Rules::Group(group), Command::Group(command)) => group.apply(base, command),
            (Rules::Livestream(_), Command::Group(_)) | (Rules::Group(_), Command::Livestream(_)) => {
                Err(Rejection::NoSuchSwarm)
            }
            (Rules::Livestream(old), Command::CreateLivestream(create)) if old.is_made_by(&create, None) => {
                base.now = before;
                Ok(base.unchanged())
            }
            (Rules::Livestream(old), Command::CreateSignedLivestream(create, key))
                if old.is_made_by(&create, Some(key)) =>
            {
                base.now = before;
                Ok(base.unchanged())
            }
            (Rules::Group(old), Command::CreateGroup(create)) if old.is_made_by(&create) => {
                base.now = before;
                Ok(base.unchanged())
            }
            (_, Command::CreateLivestream(_) | Command::CreateSignedLivestream(..) | Command::CreateGroup(_)) => {
                Err(Rejection::Exists)
            }
        };
        if result.is_err() {
            base.now = before;
        }
        result
    }

    /// What it takes in memory, in bytes, as far as its collections tell. Not part of its state: two
    /// that are equal may have grown differently. O(1).
    pub fn bytes(&self) -> usize {
        let rules = match &self.rules {
            Rules::Livestream(livestream) => livestream.heap_bytes(),
            Rules::Group(_) => 0,
        };
        size_of::<Self>() + self.base.heap_bytes() + rules
    }

    /// Livestream or group.
    pub const fn kind(&self) -> SwarmKind {
        match self.rules {
            Rules::Livestream(_) => SwarmKind::Livestream,
            Rules::Group(_) => SwarmKind::Group,
        }
    }

    /// What only its kind has.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Who broadcasts; `None` for a group.
    pub const fn broadcaster(&self) -> Option<NodeId> {
        match &self.rules {
            Rules::Livestream(livestream) => Some(livestream.broadcaster()),
            Rules::Group(_) => None,
        }
    }

    /// The broadcaster's session, if it has one.
    pub fn broadcaster_session(&self) -> Option<SessionId> {
        self.base.roster.find(self.broadcaster()?).map(|member| member.session)
    }

    /// The key by which the broadcaster signs its updates, if there is one.
    pub fn broadcaster_key(&self) -> Option<BroadcasterKey> {
        match &self.rules {
            Rules::Livestream(livestream) => livestream.key(),
            Rules::Group(_) => None,
        }
    }

    /// The incarnation.
    pub const fn epoch(&self) -> Epoch {
        self.base.epoch
    }

    /// Number of the last visible change.
    pub const fn revision(&self) -> u64 {
        self.base.revision
    }

    /// The time of the last command, in milliseconds since the Unix epoch.
    pub const fn now(&self) -> u64 {
        self.base.now
    }

    /// Opaque to us.
    pub const fn metadata(&self) -> &[u8] {
        &self.base.metadata
    }

    /// When it was made, in milliseconds since the Unix epoch.
    pub const fn created_at(&self) -> u64 {
        self.base.created_at
    }

    /// When and why it ended.
    pub const fn ended(&self) -> Option<(u64, EndReason)> {
        self.base.ended
    }

    /// True when it has ended and is only kept for a while.
    pub const fn is_over(&self) -> bool {
        self.base.ended.is_some()
    }

    /// All sessions, the broadcaster's included.
    pub const fn roster(&self) -> &Roster {
        &self.base.roster
    }

    /// Who must stay out.
    pub const fn bans(&self) -> &Bans {
        &self.base.bans
    }

    /// Why a node that is no member may not act at `now`, in milliseconds since the Unix epoch.
    pub fn absence(&self, node: NodeId, now: u64) -> Rejection {
        self.base.absence(node, self.base.now.max(now))
    }

    /// What it counts.
    pub const fn stats(&self) -> &Stats {
        &self.base.stats
    }

    /// Who was in when it ended; nobody before.
    pub const fn last_members(&self) -> &LastMembers {
        &self.base.last_members
    }

    /// The swarm as one of a set.
    pub fn summary(&self) -> Summary {
        let Base { epoch, revision, created_at, ended, .. } = self.base;
        let detail = match &self.rules {
            Rules::Livestream(livestream) => {
                Detail::Livestream { state: livestream.state(), broadcaster: livestream.broadcaster() }
            }
            Rules::Group(_) => Detail::Group,
        };
        Summary { epoch, revision, metadata: self.base.metadata.clone(), created_at, ended, detail }
    }

    /// A member as others see it.
    pub fn view(&self, key: MemberKey) -> Option<MemberView> {
        self.view_as(key, View::Full)
    }

    /// A page of those who are listed: viewers or participants. The broadcaster has
    /// a session and is not among them. See [`Roster::page`].
    ///
    /// It ends before the member that would make it longer than `bytes` on the wire; the first one
    /// is always in it.
    pub fn page(&self, from: usize, limit: usize, bytes: usize, view: View) -> (Vec<MemberView>, Option<usize>) {
        // No more than can fit.
        let limit = limit.min(bytes / MemberView::LEAST_WIRE_BYTES + 1);
        let (keys, next) = self.roster().page(from, limit, |member| is_listed(member.role));
        let (mut members, mut size) = (Vec::new(), 0);
        for key in keys {
            let Some(member) = self.view_as(key, view) else { continue };
            size += member.wire_bytes();
            if size > bytes && !members.is_empty() {
                return (members, Some(key.index()));
            }
            members.push(member);
        }
        (members, next)
    }

    /// A viewer or participant; `None` for everybody else, the broadcaster too.
    pub fn listed(&self, node: NodeId, view: View) -> Option<MemberView> {
        self.view_as(self.roster().key(node)?, view).filter(|member| is_listed(member.role))
    }

    fn view_as(&self, key: MemberKey, view: View) -> Option<MemberView> {
        self.rules.set().view(&self.base, key, view)
    }

    /// When something falls due next, in milliseconds since the Unix epoch.
    pub fn next_expiry(&self) -> Option<u64> {
        next_expiry(&self.base, self.rules.set())
    }

    /// Whom it forwards to; `None` when there is no such member, and for the broadcaster of a
    /// group. O(targets).
    pub fn targets(&self, of: Forwarder) -> Option<TargetList> {
        self.rules.set().targets(&self.base, of)
    }

    /// The rights to publish that are in force.
    pub fn grants(&self) -> Vec<Grant> {
        self.rules.set().grants(&self.base)
    }

    /// Whether a channel of one who may publish takes updates.
    ///
    /// # Errors
    ///
    /// In a group, why the node cannot publish on the channel at all.
    pub fn gate(&self, node: NodeId, channel: Channel) -> Result<Gate, Rejection> {
        match &self.rules {
            Rules::Livestream(livestream) => Ok(livestream.gate(channel)),
            Rules::Group(group) => group.gate(&self.base, node, channel),
        }
    }

    /// A digest of the whole state: equal on every pod after the same commands.
    pub fn digest(&self) -> u64 {
        FixedHasher::digest(self)
    }

    /// Panics when an invariant does not hold. O(n); for tests.
    pub fn check(&self) {
        self.base.check();
        self.rules.set().check(&self.base);
        self.validate().unwrap_or_else(|broken| panic!("{broken}"));
    }

    /// Refuses what no command makes, apart from what is derived. O(n).
    fn validate(&self) -> Result<(), BrokenInvariant> {
        self.base.validate()?;
        self.rules.set().validate(&self.base)
    }

    /// What it is made of.
    pub(super) const fn parts(&self) -> (&Base, &Rules) {
        (&self.base, &self.rules)
    }

    /// What it is made of, to be spoiled.
    #[cfg(test)]
    pub(super) const fn parts_mut(&mut self) -> (&mut Base, &mut Rules) {
        (&mut self.base, &mut self.rules)
    }

    /// A swarm made of the parts of another one. What these leave to be derived is derived: members by interest and by
    /// role.
    ///
    /// # Errors
    ///
    /// An invariant that does not hold of the parts.
    pub(super) fn of_parts(mut base: Base, mut rules: Rules) -> Result<Self, BrokenInvariant> {
        base.stats.interests = base.interests();
        if let Rules::Group(group) = &mut rules {
            (group.participants, group.listeners) = group::count_roles(&base);
        }
        let swarm = Self { base, rules };
        swarm.validate()?;
        Ok(swarm)
    }
}

const fn is_listed(role: Role) -> bool {
    !matches!(role, Role::Broadcaster { .. })
}

#[cfg(test)]
mod tests;
