//! A call among peers: everybody forwards to everybody.
//!
//! The mesh is read from the roster; no edge is stored. Invariants (`validate`):
//! the screen is shared by a member or by nobody; a group with participants has an owner.

mod media;

use super::base::{Base, Transaction};
use super::channel::{Channel, ChannelSet, PerChannel};
use super::command::{By, CreateGroup, GroupCommand, Join, SwarmUpdate};
use super::config::Configured;
pub use super::config::GroupConfig as Config;
use super::error::Rejection;
use super::event::{Applied, Event, Gate, Grant, GroupEvent, SharedEvent};
use super::id::{MemberKey, NO_HOME, NodeId, PodId};
use super::interest::InterestUpdate;
use super::invariant::{BrokenInvariant, LARGEST, ensure};
use super::member::{MemberView, View};
use super::request::Method;
use super::role::{Media, Role};
use super::rules::{RuleSet, act};
use super::state::{EndReason, LeaveReason};
use super::topology::{Forwarder, Target, TargetList, Topology};

/// The most listeners of a group.
pub const MAX_LISTENERS: u32 = 256;

/// What only groups have.
#[derive(Clone, Debug, Hash)]
pub struct Group {
    pub(super) config: Configured<Config>,
    pub(super) empty_ms: u64,
    /// Who owned it at first; ownership returns there when nobody is in.
    pub(super) named_owner: Option<NodeId>,
    pub(super) owner: Option<NodeId>,
    pub(super) sharing: Option<NodeId>,
    pub(super) participants: u32,
    pub(super) listeners: u32,
    /// Since when nobody but listeners has been in: a recorder keeps no call alive.
    pub(super) empty_since: Option<u64>,
}

impl Group {
    pub(super) fn create(command: CreateGroup, now: u64) -> (Base, Self, Event) {
        let CreateGroup { epoch, owner, config, metadata, retention_ms, empty_ms } = command;
        let group = Self {
            config: Configured::new(config),
            empty_ms,
            named_owner: owner,
            owner,
            sharing: None,
            participants: 0,
            listeners: 0,
            empty_since: Some(now),
        };
        let mut base = Base::new(epoch, metadata, retention_ms, now);
        base.stats.set_active(true, now);
        (base, group, GroupEvent::OwnerChanged { owner }.into())
    }

    /// True when creating with `command` would make the same group.
    pub(super) fn is_made_by(&self, command: &CreateGroup) -> bool {
        *self.config.first() == command.config && self.named_owner == command.owner
    }

    /// Carries out a command that only groups know.
    pub(super) fn apply(&mut self, base: &mut Base, command: GroupCommand) -> Result<Applied, Rejection> {
        match command {
            GroupCommand::SetMedia { by, audio, video } => {
                act(base, self, by, Method::SetMedia, |g, tx, by| g.set_media(tx, by, audio, video))
            }
            GroupCommand::StartShare(by) => act(base, self, by, Method::StartShare, Self::start_share),
            GroupCommand::StopShare(by) => act(base, self, by, Method::StopShare, Self::stop_share),
        }
    }

    /// Counts a member in that plays this role.
    const fn count(&mut self, role: Role) -> &mut u32 {
        if matches!(role, Role::Listener) { &mut self.listeners } else { &mut self.participants }
    }

    fn note_emptiness(&mut self, now: u64) {
        if self.participants == 0 {
            self.empty_since.get_or_insert(now);
        } else {
            self.empty_since = None;
        }
    }

    fn set_owner(&mut self, tx: &mut Transaction<'_>, owner: Option<NodeId>) {
        if self.owner != owner {
            self.owner = owner;
            tx.event(GroupEvent::OwnerChanged { owner });
        }
    }

    /// What ends with a session, whatever becomes of the member: its terms.
    fn end_session(tx: &mut Transaction<'_>, key: MemberKey, reason: LeaveReason) {
        tx.end_session(key, reason);
        Self::revoke(tx, key);
    }

    fn revoke(tx: &mut Transaction<'_>, key: MemberKey) {
        let (source, terms) = tx.base.roster.update(key, |member| (member.node, member.terms.take()));
        if terms.is_some() {
            let (session, home, gate, key) = (None, NO_HOME, Gate::Off, None);
            let none = |channel| Grant { source, channel, term: 0, session, home, gate, key };
            tx.applied.grants.extend(Channel::ALL.map(none));
        }
    }

    /// How it behaves.
    pub const fn config(&self) -> &Config {
        self.config.current()
    }

    /// How many take part, without those who only listen.
    pub const fn participant_count(&self) -> u32 {
        self.participants
    }

    /// How many only listen.
    pub const fn listener_count(&self) -> u32 {
        self.listeners
    }

    /// Who alone may end it and remove others.
    pub const fn owner(&self) -> Option<NodeId> {
        self.owner
    }

    /// Who shares its screen.
    pub const fn sharing(&self) -> Option<NodeId> {
        self.sharing
    }
}

impl RuleSet for Group {
    fn authority(&self) -> Option<NodeId> {
        self.owner
    }

    fn absent_peer(&self) -> Option<NodeId> {
        None
    }

    fn leads(&self, by: &By) -> Result<(), Rejection> {
        if Some(by.node) == self.owner { Ok(()) } else { Err(Rejection::NotOwner { node: by.node }) }
    }

    fn join(&mut self, tx: &mut Transaction<'_>, mut join: Join) -> Result<(), Rejection> {
        let node = join.node;
        let before = tx.base.roster.find(node).map(|member| (member.session, member.role));
        let listened = matches!(before, Some((_, Role::Listener)));
        let listens = join.listens.unwrap_or(listened);
        // Peers leave while a request is on its way: that is no error, and nothing to keep.
        join.interests.retain(|change| match change.source {
            Some(source) if source == node => !listens,
            Some(source) => self.is_source(tx.base, source),
            None => true,
        });
        tx.base.has_room_for(&join.interests, node)?;
        let role = match before {
            Some((_, role)) if listens == listened => role,
            _ if listens => Role::Listener,
            _ => Role::Participant(Media { audio: true, video: true }),
        };
        let max = if listens { MAX_LISTENERS } else { self.config().max_participants };
        let changes = before.is_none() || listens != listened;
        if changes && *self.count(role) >= max {
            return Err(Rejection::Full { max });
        }
        let key = match (before, tx.base.roster.key(node)) {
            (Some((session, before)), Some(key)) => {
                let reason = LeaveReason::Replaced;
                Self::end_session(tx, key, reason);
                tx.event(SharedEvent::Left { key, node, session, reason });
                if listens && self.sharing == Some(node) {
                    self.end_share(tx);
                }
                *self.count(before) -= 1;
                if listens && !listened {
                    tx.unwanted.push(node);
                    tx.forget_unwanted();
                }
                tx.rejoin(key, join, role);
                key
            }
            _ => tx.insert(join, role),
        };
        *self.count(role) += 1;
        if let Some(member) = self.view(tx.base, key, View::Full) {
            tx.tell_joined(key, member);
        }
        tx.applied.touched.all = true;
        self.note_emptiness(tx.base.now);
        if self.owner.is_none() && !listens {
            self.set_owner(tx, Some(node));
        }
        Ok(())
    }

    /// The member's screen share and what others want of it go with it, and ownership
    /// passes on.
    fn dismiss(&mut self, tx: &mut Transaction<'_>, key: MemberKey, reason: LeaveReason) {
        Self::end_session(tx, key, reason);
        let member = tx.remove(key, reason);
        let (node, session) = (member.node, member.session);
        *self.count(member.role) -= 1;
        tx.applied.former_sources.push(node);
        tx.applied.touched.all = true;
        tx.event(SharedEvent::Left { key, node, session, reason });
        if self.sharing == Some(node) {
            self.end_share(tx);
        }
        tx.unwanted.push(node);
        self.note_emptiness(tx.base.now);
        if self.owner == Some(node) {
            let participants = tx.base.roster.iter().map(|(_, member)| member).filter(|member| !member.is_listener());
            let longest = participants.min_by_key(|member| member.place).map(|member| member.node);
            // Whoever owns it may act without a session, which nobody may who is banned.
            let named = self.named_owner.filter(|node| tx.base.lets_in(*node).is_ok());
            self.set_owner(tx, longest.or(named));
        }
    }

    fn removable(&self, base: &Base, by: &By, node: NodeId) -> Result<MemberKey, Rejection> {
        let key = base.target(node)?;
        self.leads(by)?;
        Ok(key)
    }

    fn bannable(&self, by: &By, node: NodeId) -> Result<(), Rejection> {
        if Some(node) == self.owner { Err(Rejection::TargetIsOwner) } else { self.leads(by) }
    }

    /// Nobody relays in a mesh.
    fn updated_role(&self, role: Role, _: Option<bool>) -> Result<Role, Rejection> {
        Ok(role)
    }

    fn member_updated(&mut self, tx: &mut Transaction<'_>, _: MemberKey, _: Role, endpoint_changed: bool) {
        // It is a target of all others.
        tx.applied.touched.all |= endpoint_changed;
    }

    fn is_source(&self, base: &Base, node: NodeId) -> bool {
        base.roster.find(node).is_some_and(|member| !member.is_listener())
    }

    fn interests_changed(&self, tx: &mut Transaction<'_>, _: MemberKey, updates: &[InterestUpdate]) {
        // Each source's list says what is wanted of it.
        for update in updates {
            match update.source() {
                Some(source) => tx.applied.touched.nodes.push(source),
                None => tx.applied.touched.all = true,
            }
        }
    }

    fn reconfigure(&mut self, update: &SwarmUpdate) -> bool {
        let now = self.config();
        self.config.replace(Config {
            max_participants: update.capacity.unwrap_or(now.max_participants),
            subscriber_bytes_per_second: update.subscriber_bytes_per_second.unwrap_or(now.subscriber_bytes_per_second),
            keyframe_interval_ms: update.keyframe_interval_ms.unwrap_or(now.keyframe_interval_ms),
            max_lag_ms: update.max_lag_ms.unwrap_or(now.max_lag_ms),
        })
    }

    fn updated(&self, metadata: Box<[u8]>) -> Event {
        GroupEvent::Updated { metadata, config: Box::new(self.config().clone()) }.into()
    }

    fn unclaimed(&self, base: &Base, node: NodeId, channels: ChannelSet, pod: PodId) -> ChannelSet {
        let held = base.roster.find(node).and_then(|member| member.terms.as_deref());
        channels.iter().filter(|channel| held.is_none_or(|terms| terms[*channel].is_free_for(pod))).collect()
    }

    fn claim(
        &mut self,
        tx: &mut Transaction<'_>,
        by: &By,
        channels: ChannelSet,
        pod: PodId,
        _: Join,
    ) -> Result<(), Rejection> {
        let key = tx.base.member(by)?;
        // It acquires what it holds.
        if channels.is_empty() {
            return Ok(());
        }
        tx.base.admit(by, None)?;
        self.grant_anew(tx, key, channels, pod)
    }

    /// The terms are the members'.
    fn homes(&self) -> PerChannel<PodId> {
        PerChannel::default()
    }

    fn clear_homes(&mut self, _: &mut Transaction<'_>, _: PodId) -> bool {
        false
    }

    fn tell_grants(&self, tx: &mut Transaction<'_>, key: MemberKey) {
        self.tell_all_grants(tx, key);
    }

    fn finish(&mut self, tx: &mut Transaction<'_>, reason: EndReason) {
        tx.base.roster.keys().into_iter().for_each(|key| Self::revoke(tx, key));
        self.sharing = None;
        (self.participants, self.listeners) = (0, 0);
        tx.event(GroupEvent::Ended { reason });
        // Nobody is left to read of it.
        tx.applied.removed = reason == EndReason::Empty;
    }

    fn ends_at(&self) -> Option<(u64, EndReason)> {
        self.empty_since.map(|since| (since + self.empty_ms, EndReason::Empty))
    }

    fn settle(&mut self, _: &mut Transaction<'_>) {}

    fn view(&self, base: &Base, key: MemberKey, view: View) -> Option<MemberView> {
        let member = base.roster.get(key)?;
        Some(MemberView { sharing: self.sharing == Some(member.node), ..member.view(view) })
    }

    /// All other participants; a listener feeds nobody, and nobody feeds a listener.
    /// O(participants).
    fn targets(&self, base: &Base, of: Forwarder) -> Option<TargetList> {
        let Forwarder::Node(node) = of else { return None };
        let listens = base.roster.find(node)?.is_listener();
        let others = base.roster.iter().map(|(_, member)| member);
        let fed = others.filter(|member| !listens && member.node != node && !member.is_listener());
        let targets = fed.map(|member| Target {
            node: member.node,
            session: member.session,
            endpoint: member.endpoint.clone(),
            can_relay: false,
            interests: PerChannel::from_fn(|channel| member.interests.level(Some(node), channel)),
        });
        let targets = targets.collect();
        Some(TargetList { topology: Topology::Mesh, placement: None, parent: None, backup: None, targets })
    }

    fn grants(&self, base: &Base) -> Vec<Grant> {
        base.roster.iter().flat_map(|(_, member)| self.grants_of(member)).collect()
    }

    fn check(&self, base: &Base) {
        assert_eq!((self.participants, self.listeners), count_roles(base), "members by role add up");
    }

    fn validate(&self, base: &Base) -> Result<(), BrokenInvariant> {
        ensure(self.empty_ms <= LARGEST, "the time of an empty group is below 2^60")?;
        ensure(self.empty_since.is_none_or(|at| at <= base.now), "nothing happened after the last command")?;
        for (_, member) in base.roster.iter() {
            let listens = member.is_listener();
            ensure(listens || matches!(member.role, Role::Participant(_)), "a group has no viewers")?;
            ensure(!listens || member.terms.is_none(), "a listener has no terms")?;
        }
        let is_source = |node| self.is_source(base, node);
        ensure(self.sharing.is_none_or(is_source), "a participant shares its screen")?;
        let wanted = base.roster.iter().flat_map(|(_, member)| member.interests.overrides());
        let mut sources = wanted.filter_map(|one| one.source);
        ensure(sources.all(is_source), "nobody wants what is not published")?;
        ensure(self.listeners <= MAX_LISTENERS, "listeners are bounded")?;
        let empty = self.participants == 0;
        ensure(empty || self.owner.is_some(), "a group with participants has an owner")?;
        ensure((self.empty_since.is_some() || base.ended.is_some()) == empty, "a group is empty since a time")?;
        ensure(base.stats.active_since.is_some() == base.ended.is_none(), "a group is active until it ends")?;
        ensure(self.owner.is_none_or(|owner| base.lets_in(owner).is_ok()), "the owner is not banned")
    }
}

/// How many take part, and how many only listen.
pub(super) fn count_roles(base: &Base) -> (u32, u32) {
    base.roster.iter().fold((0, 0), |(participants, listeners), (_, member)| {
        if member.is_listener() { (participants, listeners + 1) } else { (participants + 1, listeners) }
    })
}
