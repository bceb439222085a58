//! What every swarm has, of either kind, and one command at work on it.

use super::bans::Bans;
use super::channel::PerChannel;
use super::command::{By, Join};
use super::error::Rejection;
use super::event::{Applied, Event, SharedEvent};
use super::id::{Epoch, MemberKey, NodeId, SessionId};
use super::interest::{Interest, InterestChange, InterestUpdate, Interests, MAX_OVERRIDES};
use super::invariant::{BrokenInvariant, LARGEST, ensure};
use super::last_members::LastMembers;
use super::member::{Lease, Member, MemberView};
use super::request::Requests;
use super::role::Role;
use super::roster::Roster;
use super::state::{EndReason, LeaveReason};
use super::stats::Stats;
use super::topology::relay_tree::Place;

/// What every swarm has.
#[derive(Clone, Debug, Hash)]
pub(super) struct Base {
    pub(super) epoch: Epoch,
    /// Goes up by one with each command that changes anything visible.
    pub(super) revision: u64,
    /// The time of the last command: time never runs backwards here.
    pub(super) now: u64,
    pub(super) metadata: Box<[u8]>,
    pub(super) retention_ms: u64,
    pub(super) roster: Roster,
    pub(super) bans: Bans,
    pub(super) requests: Requests,
    pub(super) stats: Stats,
    pub(super) created_at: u64,
    pub(super) ended: Option<(u64, EndReason)>,
    pub(super) last_members: LastMembers,
}

impl Base {
    pub(super) fn new(epoch: Epoch, metadata: Box<[u8]>, retention_ms: u64, now: u64) -> Self {
        Self {
            epoch,
            revision: 1,
            now,
            metadata,
            retention_ms,
            roster: Roster::default(),
            bans: Bans::default(),
            requests: Requests::default(),
            stats: Stats::default(),
            created_at: now,
            ended: None,
            last_members: LastMembers::default(),
        }
    }

    /// What it takes outside itself, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        let (roster, bans, requests) = (self.roster.bytes(), self.bans.heap_bytes(), self.requests.bytes());
        self.metadata.len() + roster + bans + requests + self.stats.unique.heap_bytes() + self.last_members.heap_bytes()
    }

    /// The answer to a command that changed nothing visible.
    pub(super) fn unchanged(&self) -> Applied {
        Applied { revision: self.revision, ..Applied::default() }
    }

    pub(super) const fn not_ended(&self) -> Result<(), Rejection> {
        if self.ended.is_some() { Err(Rejection::Ended) } else { Ok(()) }
    }

    /// The slot of the actor, who must be a member.
    pub(super) fn member(&self, by: &By) -> Result<MemberKey, Rejection> {
        self.roster.key(by.node).ok_or_else(|| self.absence(by.node, self.now))
    }

    /// Why a node that is not in may not act at `now`.
    pub(super) fn absence(&self, node: NodeId, now: u64) -> Rejection {
        match self.bans.end(node, now) {
            Some(until) => Rejection::Banned { node, until },
            None => Rejection::NotAMember(node),
        }
    }

    /// Refuses who is banned.
    pub(super) fn lets_in(&self, node: NodeId) -> Result<(), Rejection> {
        self.bans.end(node, self.now).map_or(Ok(()), |until| Err(Rejection::Banned { node, until }))
    }

    /// The slot of a node that an action is about.
    pub(super) fn target(&self, node: NodeId) -> Result<MemberKey, Rejection> {
        self.roster.key(node).ok_or(Rejection::NoSuchMember(node))
    }

    /// The actor is a member, or `authority`, who may act without a session; a session
    /// that it names is its current one.
    pub(super) fn admit(&self, by: &By, authority: Option<NodeId>) -> Result<(), Rejection> {
        match (self.roster.find(by.node), by.session) {
            (Some(member), Some(given)) if member.session != given => {
                Err(Rejection::SessionReplaced { node: by.node, given })
            }
            (Some(_), _) => Ok(()),
            (None, None) if Some(by.node) == authority => Ok(()),
            // A session that it names is over, and no other one has begun.
            (None, _) => Err(self.absence(by.node, self.now)),
        }
    }

    /// The answer to a Join that repeats the request that made the current session.
    pub(super) fn repeated_join(&self, join: &Join) -> Result<Option<Applied>, Rejection> {
        let Some(member) = self.roster.find(join.node) else { return Ok(None) };
        match (member.join_request.as_deref(), &join.request) {
            (Some((made_by, revision)), Some(request)) if made_by.name == request.name => {
                if made_by.fingerprint == request.fingerprint {
                    Ok(Some(Applied { revision: *revision, session: Some(member.session), ..Applied::default() }))
                } else {
                    Err(Rejection::RequestReused)
                }
            }
            _ => Ok(None),
        }
    }

    /// Refuses more overrides than a member, or one to be, may hold.
    pub(super) fn has_room_for(&self, changes: &[InterestChange], of: NodeId) -> Result<(), Rejection> {
        let none = Interests::default();
        let interests = self.roster.find(of).map_or(&none, |member| &member.interests);
        if interests.has_room_for(changes) {
            Ok(())
        } else {
            Err(Rejection::Quota { what: "interests of a member", max: MAX_OVERRIDES })
        }
    }

    /// Changes the lease of a current session; nothing visible.
    pub(super) fn renew(
        &mut self,
        node: NodeId,
        session: SessionId,
        change: impl FnOnce(&mut Lease, u64),
    ) -> Result<(), Rejection> {
        let key = self.roster.key(node).ok_or_else(|| self.absence(node, self.now))?;
        if self.roster.at(key).session != session {
            return Err(Rejection::SessionReplaced { node, given: session });
        }
        let now = self.now;
        self.roster.update(key, |member| change(&mut member.lease, now));
        Ok(())
    }

    /// Members by channel and interest, counted anew. O(n).
    pub(super) fn interests(&self) -> PerChannel<[u64; Interest::ALL.len()]> {
        let mut interests = PerChannel::<[u64; Interest::ALL.len()]>::default();
        for levels in self.roster.iter().map(|(_, member)| member.levels()) {
            levels.iter().for_each(|(channel, level)| interests[channel][*level as usize] += 1);
        }
        interests
    }

    /// Panics when what is derived is not what it is derived from. O(n).
    pub(super) fn check(&self) {
        self.roster.check();
        assert_eq!(self.interests(), self.stats.interests, "members by interest add up");
        self.bans.check();
    }

    /// Refuses what no command makes, apart from what is derived. O(n).
    pub(super) fn validate(&self) -> Result<(), BrokenInvariant> {
        let Self { revision, now, retention_ms, stats, .. } = self;
        let numbers = [*revision, *now, *retention_ms, stats.joins, stats.peak, stats.active_ms, stats.reparentings];
        let mut numbers = numbers.into_iter().chain(stats.leaves).chain([stats.peer_reports]);
        ensure(numbers.all(|number| number <= LARGEST), "times, revisions and counters are below 2^60")?;
        let times = [Some(self.created_at), stats.active_since, self.ended.map(|(at, _)| at)];
        ensure(times.into_iter().flatten().all(|at| at <= *now), "nothing was done after the last command")?;
        let left: u64 = stats.leaves.iter().sum();
        let members = self.roster.len() as u64;
        ensure(stats.joins == left + members, "each join has at most one leave")?;
        ensure(stats.peak >= members, "there were never more members than at the peak")?;
        ensure(members > 0 || self.roster.slot_count() == 0, "slots go with the last member")?;
        let (over, last) = (self.ended.is_some(), &self.last_members);
        ensure(!over || self.roster.is_empty() && self.bans.is_empty(), "an ended swarm is empty")?;
        ensure(over || *last == LastMembers::default(), "the last members are those of an ended swarm")?;
        self.bans.validate()?;
        let mut banned = self.bans.iter_from(None).filter(|(_, end)| *end > self.now);
        ensure(banned.all(|(node, _)| self.roster.key(node).is_none()), "nobody is in who is banned")?;
        self.requests.validate(*revision, *now)?;
        self.roster.iter().try_for_each(|(_, member)| member.validate(*revision, *now))
    }
}

/// A command at work: the swarm's base, and what was done to it so far.
#[derive(Debug)]
pub(super) struct Transaction<'a> {
    pub(super) base: &'a mut Base,
    pub(super) applied: Applied,
    /// Viewers whose placement changed, perhaps more than once, and their place before;
    /// `None` when it is another one for certain.
    pub(super) moved: Vec<(MemberKey, Option<Place>)>,
    /// Nodes that publish nothing any more, of which members still want something.
    pub(super) unwanted: Vec<NodeId>,
}

impl<'a> Transaction<'a> {
    pub(super) fn new(base: &'a mut Base) -> Self {
        Self { base, applied: Applied::default(), moved: Vec::new(), unwanted: Vec::new() }
    }

    pub(super) fn event(&mut self, event: impl Into<Event>) {
        self.applied.events.push(event.into());
    }

    /// Begins the first session of a node.
    pub(super) fn insert(&mut self, join: Join, role: Role) -> MemberKey {
        let Base { roster, stats, now, revision, .. } = &mut *self.base;
        let member = Member::new(join, role, *now, *revision + 1);
        stats.joined(member.node, member.levels());
        let key = roster.insert(member);
        stats.peak = stats.peak.max(roster.len() as u64);
        key
    }

    /// Begins another session of a member whose last one was ended. What the request
    /// does not name stays.
    pub(super) fn rejoin(&mut self, key: MemberKey, join: Join, role: Role) {
        let Base { roster, stats, now, revision, .. } = &mut *self.base;
        roster.update(key, |member| member.renew(join, role, *now, *revision + 1));
        let member = roster.at(key);
        stats.joined(member.node, member.levels());
    }

    /// What ends with a session, whatever becomes of the member.
    pub(super) fn end_session(&mut self, key: MemberKey, reason: LeaveReason) {
        let member = self.base.roster.at(key);
        self.applied.ended.push((member.session, reason));
        self.base.stats.left(reason, member.levels());
    }

    /// Takes a member out whose session was ended.
    pub(super) fn remove(&mut self, key: MemberKey, reason: LeaveReason) -> Member {
        let member = self.base.roster.remove(key);
        if let Some(emptied) = self.base.roster.take_emptied() {
            self.applied.retired = Some(Box::new(emptied));
        }
        self.applied.left.push((member.node, reason));
        self.applied.touched.nodes.push(member.node);
        member
    }

    /// Keeps a node out that is not in.
    pub(super) fn ban(&mut self, node: NodeId, ttl_ms: u32) {
        let until = self.base.now.saturating_add(ttl_ms.into());
        if self.base.bans.set(node, until) {
            self.event(SharedEvent::BanChanged { node, until: Some(until) });
        }
    }

    pub(super) fn tell_joined(&mut self, key: MemberKey, member: MemberView) {
        self.applied.interests.push((member.node, member.interests.clone()));
        self.event(SharedEvent::Joined { key, member: Box::new(member) });
    }

    /// Drops what members want of nodes that publish nothing any more. No event tells of it but the nodes' own.
    /// O(members * overrides) once for all of them: what a member wants is copied when it changes, 40 KB at most,
    /// and as many leases may fall due together as there are members.
    pub(super) fn forget_unwanted(&mut self) {
        let mut nodes = std::mem::take(&mut self.unwanted);
        if nodes.is_empty() {
            return;
        }
        nodes.sort_unstable();
        for key in self.base.roster.keys() {
            if self.base.roster.update(key, |member| member.interests.forget(&nodes)) {
                let member = self.base.roster.at(key);
                self.applied.interests.push((member.node, member.interests.clone()));
            }
        }
    }

    pub(super) fn tell_interests(&mut self, key: MemberKey, updates: Vec<InterestUpdate>) {
        let member = self.base.roster.at(key);
        let node = member.node;
        self.applied.interests.push((node, member.interests.clone()));
        self.event(SharedEvent::InterestChanged { key, node, updates });
    }
}

#[cfg(test)]
mod tests;
