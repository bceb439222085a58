//! Use cases: what a client can ask for, in terms of the domain.
//!
//! No transport and no wire format here. [`Service`] is what the edge talks to;
//! the long-lived ones are objects: [`watch::EventWatch`], [`watch::TargetWatch`],
//! [`watch::CensusWatch`], [`publish::PublishHandle`], [`subscribe::Subscription`].

pub mod attachment;
pub mod cascade;
mod chat;
mod cluster;
mod error;
mod homes;
mod moderation;
pub mod mutation;
pub mod publish;
mod revocation;
pub mod settled;
mod signature;
pub mod subscribe;
pub mod watch;

use std::sync::Arc;

use crate::clock::Clock;
use crate::cluster::{CommandLog, LogError};
use crate::feed::Counts;
use crate::limits::ClientId;
use crate::store::SwarmPermit;
use crate::store::entry::Entry;
use crate::store::snapshot::{Outcome, Projection, StatsSnapshot, SwarmSnapshot};
use crate::store::state::{Creator, CreatorPermit};
use cascade::Cascade;
pub use error::ServiceError;
pub use moderation::{BanPage, MutedPage};
use mutation::Mutation;
pub use revocation::TokenTimes;
use starling_core::command::{CreateGroup, CreateLivestream};
use starling_core::hash::FixedHasher;
use starling_core::id::{Epoch, NodeId, SessionId, SwarmId, SwarmKind};
use starling_core::key::BroadcasterKey;
use starling_core::member::{Member, MemberView, View};
use starling_core::request::RequestId;
use starling_core::{Command, GroupCommand, LivestreamCommand, Rejection, SharedCommand, Swarm, group, livestream};

/// Limits and times that the use cases need.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The most swarms of this process.
    pub max_swarms: usize,
    /// How long an ended swarm is kept, in milliseconds.
    pub retention_ms: u64,
    /// How long an empty group lives, in milliseconds.
    pub empty_group_ms: u64,
    /// What is known of tokens; `None` = there are none.
    pub tokens: Option<TokenTimes>,
}

/// A livestream or group to be.
#[derive(Clone, Debug)]
pub struct New<Config> {
    /// Its number; `None` = let the server choose.
    pub number: Option<u64>,
    /// The acting node, if there is one.
    pub node: Option<NodeId>,
    /// The client's name for the request.
    pub request: Option<RequestId>,
    /// How it behaves.
    pub config: Config,
    /// Opaque.
    pub metadata: Box<[u8]>,
}

/// A page of the members of a swarm.
#[derive(Debug)]
pub struct MemberPage {
    /// In slab order.
    pub members: Vec<MemberView>,
    /// The slot where the next page begins, or the index of its first node, if there is one.
    pub next: Option<u64>,
    /// The incarnation that they are members of.
    pub epoch: Epoch,
    /// The revision that they are seen at.
    pub revision: u64,
}

/// Everything that the service can do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Service {
    log: CommandLog,
    settings: Settings,
    /// Incarnation of the set of swarms.
    epoch: Epoch,
    /// The other servers of a cluster; `None` in one process.
    cascade: Option<Arc<dyn Cascade>>,
}

/// A member, with this session if it names one, of a swarm that goes on at `now`.
fn member(swarm: &Swarm, node: NodeId, session: Option<SessionId>, now: u64) -> Result<&Member, Rejection> {
    if swarm.is_over() {
        return Err(Rejection::Ended);
    }
    let member = swarm.roster().find(node).ok_or_else(|| swarm.absence(node, now))?;
    match session.filter(|given| *given != member.session) {
        Some(given) => Err(Rejection::SessionReplaced { node, given }),
        None => Ok(member),
    }
}

/// True when less than half of a member's lease is left.
fn is_due(member: &Member, now: u64) -> bool {
    let half = u64::from(member.lease.ttl_ms) / 2;
    member.lease.deadline().is_some_and(|at| at.saturating_sub(now) < half)
}

/// A page of a list ends before the entry that would make it longer than this, in bytes on the wire; one
/// entry may be longer.
const PAGE_BYTES: usize = 64 * 1024;

/// How often a drawn id may collide before we give up: never, with 2^53 of them.
const DRAWS: usize = 8;

impl Service {
    /// A service over the swarms behind `log`.
    pub fn new(log: CommandLog, settings: Settings) -> Self {
        Self { log, settings, epoch: Epoch::drawn(rand::random()), cascade: None }
    }

    /// The clock of what it decides and shows.
    pub const fn clock(&self) -> &Clock {
        self.log.clock()
    }

    /// Makes a livestream, whose broadcaster signs its updates when there is a `key`. What it takes is booked on those
    /// that it comes `from`, an address or an identity or both.
    ///
    /// # Errors
    ///
    /// [`ServiceError::TooManySwarms`], [`ServiceError::StateMemory`] and [`ServiceError::Exceeded`]; `Exists` for an id that names a livestream of another configuration;
    /// `RequestReused` for a request that named another one.
    pub async fn create_livestream(
        &self,
        new: New<livestream::Config>,
        broadcaster: NodeId,
        key: Option<BroadcasterKey>,
        from: &[ClientId],
    ) -> Result<Outcome, ServiceError> {
        let command = |new: &New<livestream::Config>| {
            let create = CreateLivestream {
                epoch: Epoch::drawn(rand::random()),
                broadcaster,
                config: new.config.clone(),
                metadata: new.metadata.clone(),
                retention_ms: self.settings.retention_ms,
            };
            match key {
                Some(key) => Command::CreateSignedLivestream(create, key),
                None => Command::CreateLivestream(create),
            }
        };
        self.create(SwarmKind::Livestream, &new, from, command).await
    }

    /// Makes a group.
    ///
    /// # Errors
    ///
    /// As [`Self::create_livestream`].
    pub async fn create_group(
        &self,
        new: New<group::Config>,
        owner: Option<NodeId>,
        from: &[ClientId],
    ) -> Result<Outcome, ServiceError> {
        let command = |new: &New<group::Config>| {
            Command::CreateGroup(CreateGroup {
                epoch: Epoch::drawn(rand::random()),
                owner,
                config: new.config.clone(),
                metadata: new.metadata.clone(),
                retention_ms: self.settings.retention_ms,
                empty_ms: self.settings.empty_group_ms,
            })
        };
        self.create(SwarmKind::Group, &new, from, command).await
    }

    async fn create<C: Sync>(
        &self,
        kind: SwarmKind,
        new: &New<C>,
        from: &[ClientId],
        command: impl Fn(&New<C>) -> Command + Send + Sync,
    ) -> Result<Outcome, ServiceError> {
        let max = self.settings.max_swarms;
        let given = new.number.and_then(|number| SwarmId::new(kind, number));
        for _ in 0..DRAWS {
            let id = given.unwrap_or_else(|| match &new.request {
                // The same request finds what it made.
                Some(request) => SwarmId::drawn(kind, FixedHasher::digest(&(new.node, &request.name))),
                None => SwarmId::drawn(kind, rand::random()),
            });
            let creators: Vec<_> = from.iter().map(|client| self.log.store().state().creator(client.clone())).collect();
            // One that has ended is replaced, which adds nothing to what those have who made it.
            let adds = |entry: &Entry| entry.swarm().is_over() && !entry.booked().is_of(&creators);
            let known = self.log.store().read(id, adds);
            if known.is_some() && given.is_none() && new.request.is_none() {
                continue;
            }
            let (permit, permits) = match known {
                None => self.room_for_one(&creators).await.map(|(permit, permits)| (Some(permit), permits))?,
                Some(true) => (None, self.room_of(&creators).await?),
                Some(false) => (None, self.log.store().state().replace(&creators)),
            };
            let outcome = match self.log.submit(id, command(new), Projection::SWARM).await {
                Err(LogError::Rejected(Rejection::Exists)) if given.is_none() => {
                    return Err(Rejection::RequestReused.into());
                }
                outcome => outcome?,
            };
            drop(permit);
            if outcome.created {
                self.log.store().watchers(id, |entry| entry.book_on(permits));
            }
            return Ok(outcome);
        }
        Err(ServiceError::TooManySwarms { max })
    }

    /// Room for one more swarm, until the permit is dropped, and for those who make it.
    async fn room_for_one(
        &self,
        creators: &[Arc<Creator>],
    ) -> Result<(SwarmPermit<'_>, Vec<CreatorPermit>), ServiceError> {
        let (store, max) = (self.log.store(), self.settings.max_swarms);
        loop {
            let permits = self.room_of(creators).await?;
            let permit = store.permit();
            if store.len() + permit.number() <= max {
                return Ok((permit, permits));
            }
            drop((permit, permits));
            self.forget(store.state().oldest_ended().ok_or(ServiceError::TooManySwarms { max })?).await;
        }
    }

    /// Room for one more swarm of these.
    async fn room_of(&self, creators: &[Arc<Creator>]) -> Result<Vec<CreatorPermit>, ServiceError> {
        loop {
            let full = match self.log.store().state().reserve(creators) {
                Ok(permits) => return Ok(permits),
                Err(full) => full,
            };
            let refusal = full.exceeded.map_or(ServiceError::StateMemory, ServiceError::Exceeded);
            self.forget(full.oldest_ended.ok_or(refusal)?).await;
        }
    }

    /// Forgets an ended swarm, so that there is room. Who is as quick as this one may have done so.
    async fn forget(&self, id: SwarmId) {
        drop(self.log.submit(id, SharedCommand::Forget.into(), Projection::NOTHING).await);
    }

    /// Submits a change of a swarm, and shows the swarm as the change left it.
    ///
    /// # Errors
    ///
    /// The swarm's refusal; then nothing is changed.
    pub async fn submit(
        &self,
        id: SwarmId,
        mutation: impl Into<Mutation> + Send,
        projection: Projection,
    ) -> Result<Outcome, ServiceError> {
        let command = mutation.into().into_command(draw_session);
        while may_grow(&command) {
            let room = self.log.store().read(id, |entry| entry.booked().has_room());
            let Some(Err(full)) = room else { break };
            self.forget(full.oldest_ended.ok_or(ServiceError::StateMemory)?).await;
        }
        Ok(self.log.submit(id, command, projection).await?)
    }

    /// Looks at a swarm while its shard is locked: for copies of plain data.
    fn read<R>(&self, id: SwarmId, look: impl FnOnce(&Swarm) -> R) -> Result<R, ServiceError> {
        self.log.store().read(id, |entry| look(entry.swarm())).ok_or_else(|| Rejection::NoSuchSwarm.into())
    }

    /// A swarm as it is now.
    ///
    /// # Errors
    ///
    /// When there is no such swarm.
    pub fn swarm(&self, id: SwarmId) -> Result<SwarmSnapshot, ServiceError> {
        self.read(id, |swarm| SwarmSnapshot::new(id, swarm))
    }

    /// True when a swarm has ended and is only kept for a while.
    ///
    /// # Errors
    ///
    /// When there is no such swarm.
    pub fn is_over(&self, id: SwarmId) -> Result<bool, ServiceError> {
        self.read(id, Swarm::is_over)
    }

    /// Up to `limit` swarms of a kind in a fixed order, after `after`, and up to 64 KiB of them; and where
    /// the next page begins, if there may be one.
    pub fn list(&self, kind: SwarmKind, after: Option<SwarmId>, limit: usize) -> (Vec<SwarmSnapshot>, Option<SwarmId>) {
        self.log.store().list(kind, after, limit, PAGE_BYTES)
    }

    /// Those of these swarms that are there, in this order, from the one at `from` on, and up to 64 KiB of
    /// them; and where the next page begins, if there may be one.
    pub fn named(&self, kind: SwarmKind, numbers: &[u64], from: u64) -> (Vec<SwarmSnapshot>, Option<u64>) {
        let (mut found, mut bytes) = (Vec::new(), 0);
        for (index, number) in (0..).zip(numbers).skip_while(|(index, _)| *index < from) {
            let Some(swarm) = SwarmId::new(kind, *number).and_then(|id| self.swarm(id).ok()) else { continue };
            bytes += swarm.wire_bytes();
            if bytes > PAGE_BYTES && !found.is_empty() {
                return (found, Some(index));
            }
            found.push(swarm);
        }
        (found, None)
    }

    /// Up to `limit` members in slab order, from slot `from` on, and up to 64 KiB of them.
    ///
    /// # Errors
    ///
    /// When there is no such swarm, or it has ended.
    pub fn list_members(
        &self,
        id: SwarmId,
        from: Option<u64>,
        limit: usize,
        view: View,
    ) -> Result<MemberPage, ServiceError> {
        let from = from.map_or(0, |from| usize::try_from(from).unwrap_or(usize::MAX));
        self.read(id, |swarm| {
            if swarm.is_over() {
                return Err(Rejection::Ended.into());
            }
            let (members, next) = swarm.page(from, limit, PAGE_BYTES, view);
            let next = next.map(|slot| slot as u64);
            Ok(MemberPage { members, next, epoch: swarm.epoch(), revision: swarm.revision() })
        })?
    }

    /// Those of these nodes that are listed, in this order, from the one at `from` on, and up to 64 KiB of
    /// them. O(nodes).
    ///
    /// # Errors
    ///
    /// When there is no such swarm, or it has ended.
    pub fn named_members(
        &self,
        id: SwarmId,
        nodes: &[NodeId],
        from: u64,
        view: View,
    ) -> Result<MemberPage, ServiceError> {
        self.read(id, |swarm| {
            if swarm.is_over() {
                return Err(Rejection::Ended.into());
            }
            let (mut members, mut next, mut bytes) = (Vec::new(), None, 0);
            for (index, node) in (0..).zip(nodes).skip_while(|(index, _)| *index < from) {
                let Some(member) = swarm.listed(*node, view) else { continue };
                bytes += member.wire_bytes();
                if bytes > PAGE_BYTES && !members.is_empty() {
                    next = Some(index);
                    break;
                }
                members.push(member);
            }
            Ok(MemberPage { members, next, epoch: swarm.epoch(), revision: swarm.revision() })
        })?
    }

    /// One member that is listed. The broadcaster is not.
    ///
    /// # Errors
    ///
    /// When there is no such swarm or member, the swarm has ended, or the node is the broadcaster.
    pub fn member(&self, id: SwarmId, node: NodeId, view: View) -> Result<(MemberView, Epoch, u64), ServiceError> {
        self.read(id, |swarm| {
            if swarm.is_over() {
                return Err(Rejection::Ended.into());
            }
            let missing = || match swarm.broadcaster() {
                Some(broadcaster) if broadcaster == node => Rejection::TargetIsBroadcaster,
                Some(_) | None => Rejection::NoSuchMember(node),
            };
            let member = swarm.listed(node, view).ok_or_else(missing)?;
            Ok((member, swarm.epoch(), swarm.revision()))
        })?
    }

    /// What a swarm and its feed count.
    ///
    /// # Errors
    ///
    /// When there is no such swarm.
    pub fn stats(&self, id: SwarmId) -> Result<(StatsSnapshot, Counts), ServiceError> {
        let now = self.log.now(id);
        let look = |entry: &Entry| (StatsSnapshot::new(entry.swarm(), now), entry.feed());
        let (stats, feed) = self.log.store().read(id, look).ok_or(Rejection::NoSuchSwarm)?;
        Ok((stats, feed.counts()))
    }

    /// Renews the lease of a session that has no stream, when less than half of it
    /// remains. Answers its length in milliseconds, and the swarm's epoch and revision.
    ///
    /// # Errors
    ///
    /// When the swarm has ended or does not exist, the node has left, or `session` is not its session any more.
    pub async fn renew_lease(
        &self,
        id: SwarmId,
        node: NodeId,
        session: Option<SessionId>,
    ) -> Result<(u32, Epoch, u64), ServiceError> {
        let (session, ttl_ms, due, epoch, revision) = self.read(id, |swarm| {
            let now = self.log.now(id);
            let member = member(swarm, node, session, now)?;
            Ok::<_, Rejection>((
                member.session,
                member.lease.ttl_ms,
                is_due(member, now),
                swarm.epoch(),
                swarm.revision(),
            ))
        })??;
        if due {
            self.submit(id, SharedCommand::Touch(node, session), Projection::NOTHING).await?;
        }
        Ok((ttl_ms, epoch, revision))
    }
}

/// True when a swarm may take more memory after a command: those that end something, or keep alive
/// what there is, are carried out when there is none.
const fn may_grow(command: &Command) -> bool {
    !matches!(
        command,
        Command::Shared(
            SharedCommand::Leave(_)
                | SharedCommand::Touch(..)
                | SharedCommand::Attach(..)
                | SharedCommand::Detach(..)
                | SharedCommand::PodGone(_)
                | SharedCommand::Expire
                | SharedCommand::Forget
                | SharedCommand::End(_)
                | SharedCommand::Remove(..)
                | SharedCommand::Unban(..)
        ) | Command::Livestream(LivestreamCommand::Unmute(..) | LivestreamCommand::RemoveModerator(..))
            | Command::Group(GroupCommand::StopShare(_))
    )
}

/// A session id to be.
fn draw_session() -> SessionId {
    SessionId::drawn(rand::random())
}

#[cfg(test)]
mod tests;
