//! One broadcaster with authority, and viewers who watch.
//!
//! Invariants (`validate`): the tree holds exactly the viewers, as relays those
//! that can forward; the shape follows the thresholds; the broadcaster is no viewer.

mod chat;
mod lifecycle;
mod membership;
mod moderation;
mod placement;

use super::base::{Base, Transaction};
use super::channel::{Channel, ChannelSet, PerChannel};
use super::chat::{self as messages, Chat};
use super::command::{By, CreateLivestream, Join, LivestreamCommand, SwarmUpdate};
use super::config::Configured;
pub use super::config::LivestreamConfig as Config;
use super::counted::Set;
use super::error::Rejection;
use super::event::{Applied, Event, Gate, Grant, LivestreamEvent, SharedEvent};
use super::id::{MemberKey, NodeId, PodId, SessionId};
use super::interest::InterestUpdate;
use super::invariant::{BrokenInvariant, LARGEST, ensure};
use super::key::BroadcasterKey;
use super::member::{Member, MemberView, View};
use super::request::Method;
use super::role::{Role, ViewerMode};
use super::rules::{RuleSet, act};
pub use super::state::State;
use super::state::{EndReason, LeaveReason};
use super::term::Term;
use super::topology::relay_tree::Parent;
use super::topology::{Forwarder, RelayTree, TargetList, Topology};

/// The most mutes of a livestream.
pub const MAX_MUTES: u32 = 10_000;
/// The most moderators of a livestream.
pub const MAX_MODERATORS: u32 = 1_000;

/// What only livestreams have.
#[derive(Clone, Debug, Hash)]
pub struct Livestream {
    pub(super) state: State,
    pub(super) config: Configured<Config>,
    /// Who had authority at first: what a repeated Create names.
    pub(super) named_broadcaster: NodeId,
    pub(super) broadcaster: NodeId,
    /// By which the broadcaster signs; for good none where there was none at first.
    pub(super) keys: Option<Box<Keys>>,
    /// Since when the broadcaster has had no session.
    pub(super) absent_since: Option<u64>,
    /// Current term per channel.
    pub(super) terms: PerChannel<Term>,
    pub(super) tree: RelayTree,
    pub(super) topology: Topology,
    pub(super) moderators: Set<NodeId>,
    pub(super) muted: Set<NodeId>,
    pub(super) started_at: Option<u64>,
    /// What members write, where that goes through a replicated log.
    pub(super) chat: Option<Box<Chat>>,
}

/// Keys of broadcasters.
#[derive(Clone, Debug, Hash)]
pub(super) struct Keys {
    /// That of who had authority at first: what a repeated Create names.
    pub(super) named: BroadcasterKey,
    pub(super) current: BroadcasterKey,
}

impl Livestream {
    pub(super) fn create(command: CreateLivestream, key: Option<BroadcasterKey>, now: u64) -> (Base, Self, Event) {
        let CreateLivestream { epoch, broadcaster, config, metadata, retention_ms } = command;
        let livestream = Self {
            state: State::Initializing,
            tree: RelayTree::new(config.tree_fanout),
            config: Configured::new(config),
            named_broadcaster: broadcaster,
            broadcaster,
            keys: key.map(|key| Box::new(Keys { named: key, current: key })),
            absent_since: Some(now),
            terms: PerChannel::default(),
            topology: Topology::Star,
            moderators: Set::new(),
            muted: Set::new(),
            started_at: None,
            chat: None,
        };
        let created = LivestreamEvent::StateChanged { state: State::Initializing, reason: None };
        (Base::new(epoch, metadata, retention_ms, now), livestream, created.into())
    }

    /// What it takes outside itself, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        // Sets of entries of 8 bytes, whose nodes are half full at least.
        let keys = if self.keys.is_some() { size_of::<Keys>() } else { 0 };
        let chat = self.chat.as_ref().map_or(0, |chat| chat.heap_bytes());
        self.tree.heap_bytes() + (self.moderators.len() + self.muted.len()) * 16 + keys + chat
    }

    /// True when creating with `command` and `key` would make the same livestream.
    pub(super) fn is_made_by(&self, command: &CreateLivestream, key: Option<BroadcasterKey>) -> bool {
        *self.config.first() == command.config
            && self.named_broadcaster == command.broadcaster
            && self.keys.as_ref().map(|keys| keys.named) == key
    }

    /// Carries out a command that only livestreams know.
    pub(super) fn apply(&mut self, base: &mut Base, command: LivestreamCommand) -> Result<Applied, Rejection> {
        match command {
            LivestreamCommand::Start(by) => {
                act(base, self, by, Method::Start, |l, tx, by| l.go(tx, by, State::Active, State::Initializing))
            }
            LivestreamCommand::Pause(by) => {
                act(base, self, by, Method::Pause, |l, tx, by| l.go(tx, by, State::Paused, State::Active))
            }
            LivestreamCommand::Resume(by) => {
                act(base, self, by, Method::Resume, |l, tx, by| l.go(tx, by, State::Active, State::Paused))
            }
            LivestreamCommand::AddModerator(by, node) => {
                act(base, self, by, Method::AddModerator, |l, tx, by| l.set_moderator(tx, by, node, true))
            }
            LivestreamCommand::RemoveModerator(by, node) => {
                act(base, self, by, Method::RemoveModerator, |l, tx, by| l.set_moderator(tx, by, node, false))
            }
            LivestreamCommand::Mute(by, node) => {
                act(base, self, by, Method::Mute, |l, tx, by| l.set_mute(tx, by, node, true))
            }
            LivestreamCommand::Unmute(by, node) => {
                act(base, self, by, Method::Unmute, |l, tx, by| l.set_mute(tx, by, node, false))
            }
            LivestreamCommand::Transfer(by, node) => {
                act(base, self, by, Method::Transfer, |l, tx, by| l.transfer(tx, by, node, None))
            }
            LivestreamCommand::TransferSigned(by, node, key) => {
                act(base, self, by, Method::Transfer, |l, tx, by| l.transfer(tx, by, node, Some(key)))
            }
            LivestreamCommand::Chat { by, publisher_sequence, content } => {
                self.write(base, &by, publisher_sequence, content)
            }
        }
    }

    fn as_moderator(&self, by: &By) -> Result<(), Rejection> {
        if self.is_moderator(by.node) { Ok(()) } else { Err(Rejection::NotModerator { node: by.node }) }
    }

    /// The slot of a viewer that an action is about.
    fn viewer(&self, base: &Base, node: NodeId) -> Result<MemberKey, Rejection> {
        if node == self.broadcaster { Err(Rejection::TargetIsBroadcaster) } else { base.target(node) }
    }

    /// Whether a channel takes updates.
    pub const fn gate(&self, channel: Channel) -> Gate {
        match (self.state, channel) {
            (State::Active, _) | (State::Initializing | State::Paused, Channel::Chat | Channel::Data) => Gate::Open,
            (State::Paused, _) => Gate::Paused,
            (State::Initializing | State::Ended, _) => Gate::NotActive,
        }
    }

    fn grant(&self, base: &Base, channel: Channel) -> Grant {
        let (term, gate) = (self.terms[channel], self.gate(channel));
        Grant {
            source: self.broadcaster,
            channel,
            term: term.number,
            home: term.home,
            session: self.broadcaster_session(base),
            gate,
            key: self.key(),
        }
    }

    /// Ends all terms.
    fn revoke(&mut self, tx: &mut Transaction<'_>) {
        self.terms = PerChannel::default();
        tx.applied.grants.extend(Channel::ALL.map(|channel| self.grant(tx.base, channel)));
    }

    fn validate_member(&self, key: MemberKey, member: &Member) -> Result<(), BrokenInvariant> {
        let broadcasts = member.node == self.broadcaster;
        match member.role {
            Role::Broadcaster { .. } => {
                ensure(broadcasts, "the broadcaster alone has its role")?;
                ensure(!self.tree.contains(key), "the broadcaster is not in the tree")?;
            }
            Role::Viewer { can_relay, .. } => {
                ensure(!broadcasts, "the broadcaster is no viewer")?;
                ensure(self.tree.contains(key), "every viewer is in the tree")?;
                ensure(self.tree.is_relay(key) == can_relay, "relays are those that can forward")?;
            }
            Role::Participant(_) | Role::Listener => ensure(false, "a livestream has no participants")?,
        }
        ensure(member.terms.is_none(), "terms are the livestream's")?;
        let mut overrides = member.interests.overrides().iter();
        ensure(overrides.all(|one| one.source.is_none()), "a livestream has one source")
    }

    fn broadcaster_session(&self, base: &Base) -> Option<SessionId> {
        base.roster.find(self.broadcaster).map(|member| member.session)
    }

    /// Where it is in its life.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How it behaves.
    pub const fn config(&self) -> &Config {
        self.config.current()
    }

    /// Who has authority.
    pub const fn broadcaster(&self) -> NodeId {
        self.broadcaster
    }

    /// The key by which the broadcaster signs its updates, if there is one.
    pub fn key(&self) -> Option<BroadcasterKey> {
        self.keys.as_ref().map(|keys| keys.current)
    }

    /// How many nodes watch, lurkers included.
    pub fn viewer_count(&self) -> usize {
        self.tree.len()
    }

    /// The shape: star or tree.
    pub const fn topology(&self) -> Topology {
        self.topology
    }

    /// Hops to the farthest viewer that peers serve.
    pub fn depth(&self) -> u32 {
        match self.topology {
            Topology::Star | Topology::Mesh => u32::from(!self.tree.is_empty()),
            Topology::Tree => self.tree.depth(),
        }
    }

    /// Nodes that may moderate, without the broadcaster, who always may.
    pub const fn moderators(&self) -> &Set<NodeId> {
        &self.moderators
    }

    /// Nodes kept from CHAT.
    pub const fn muted(&self) -> &Set<NodeId> {
        &self.muted
    }

    /// True for moderators and for the broadcaster.
    pub fn is_moderator(&self, node: NodeId) -> bool {
        node == self.broadcaster || self.moderators.contains(&node)
    }

    /// When it first went on air, in milliseconds since the Unix epoch.
    pub const fn started_at(&self) -> Option<u64> {
        self.started_at
    }
}

impl RuleSet for Livestream {
    fn authority(&self) -> Option<NodeId> {
        Some(self.broadcaster)
    }

    fn absent_peer(&self) -> Option<NodeId> {
        Some(self.broadcaster)
    }

    fn leads(&self, by: &By) -> Result<(), Rejection> {
        if by.node == self.broadcaster { Ok(()) } else { Err(Rejection::NotBroadcaster { node: by.node }) }
    }

    fn join(&mut self, tx: &mut Transaction<'_>, mut join: Join) -> Result<(), Rejection> {
        join.interests.retain(|change| change.source.is_none());
        let broadcasts = join.node == self.broadcaster;
        if broadcasts && join.mode.is_some() {
            return Err(Rejection::BroadcasterCannotView);
        }
        tx.base.has_room_for(&join.interests, join.node)?;
        let max = self.config().max_viewers;
        if !broadcasts && self.viewer_count() >= max as usize && tx.base.roster.key(join.node).is_none() {
            return Err(Rejection::Full { max });
        }
        self.begin_session(tx, join);
        Ok(())
    }

    fn dismiss(&mut self, tx: &mut Transaction<'_>, key: MemberKey, reason: LeaveReason) {
        self.end_session(tx, key, reason);
        if tx.base.roster.at(key).is_viewer() {
            self.leave_tree(tx, key);
        }
        let member = tx.remove(key, reason);
        let (node, session) = (member.node, member.session);
        if node == self.broadcaster {
            self.absent_since = Some(tx.base.now);
            tx.applied.touched.root = true;
            self.touch_served(tx, Parent::Root);
            tx.event(LivestreamEvent::BroadcasterLost { node, session, reason });
        } else {
            tx.event(SharedEvent::Left { key, node, session, reason });
        }
    }

    fn removable(&self, base: &Base, by: &By, node: NodeId) -> Result<MemberKey, Rejection> {
        let key = self.viewer(base, node)?;
        self.as_moderator(by)?;
        Ok(key)
    }

    fn bannable(&self, by: &By, node: NodeId) -> Result<(), Rejection> {
        if node == self.broadcaster { Err(Rejection::TargetIsBroadcaster) } else { self.as_moderator(by) }
    }

    fn updated_role(&self, role: Role, can_relay: Option<bool>) -> Result<Role, Rejection> {
        match role {
            Role::Viewer { mode: ViewerMode::Lurker, .. } if can_relay == Some(true) => {
                Err(Rejection::LurkerCannotRelay)
            }
            Role::Viewer { mode, can_relay: before } => {
                Ok(Role::Viewer { mode, can_relay: can_relay.unwrap_or(before) })
            }
            // What it says of itself as a viewer it says once it is one.
            Role::Broadcaster { .. } | Role::Participant(_) | Role::Listener => Err(Rejection::BroadcasterCannotView),
        }
    }

    fn member_updated(&mut self, tx: &mut Transaction<'_>, key: MemberKey, before: Role, endpoint_changed: bool) {
        if tx.base.roster.at(key).role != before {
            self.leave_tree(tx, key);
            self.enter_tree(tx, key);
            // Where it stands now is told with the member.
            tx.moved.retain(|(moved, _)| *moved != key);
        }
        if endpoint_changed {
            self.touch_around(tx, key);
            self.touch_served(tx, Parent::Relay(key));
        }
    }

    /// There is one source, the broadcaster: nothing is said of it that is not said of all.
    fn is_source(&self, _: &Base, _: NodeId) -> bool {
        false
    }

    fn interests_changed(&self, tx: &mut Transaction<'_>, key: MemberKey, _: &[InterestUpdate]) {
        if tx.base.roster.at(key).is_viewer() {
            self.touch_around(tx, key);
        }
    }

    fn reconfigure(&mut self, update: &SwarmUpdate) -> bool {
        let now = self.config();
        self.config.replace(Config {
            subscriber_bytes_per_second: update.subscriber_bytes_per_second.unwrap_or(now.subscriber_bytes_per_second),
            keyframe_interval_ms: update.keyframe_interval_ms.unwrap_or(now.keyframe_interval_ms),
            max_viewers: update.capacity.unwrap_or(now.max_viewers),
            max_lag_ms: update.max_lag_ms.unwrap_or(now.max_lag_ms),
            broadcaster_timeout_ms: update.broadcaster_timeout_ms.unwrap_or(now.broadcaster_timeout_ms),
            ..now.clone()
        })
    }

    fn updated(&self, metadata: Box<[u8]>) -> Event {
        LivestreamEvent::Updated { metadata, config: Box::new(self.config().clone()) }.into()
    }

    fn unclaimed(&self, _: &Base, _: NodeId, channels: ChannelSet, pod: PodId) -> ChannelSet {
        channels.iter().filter(|channel| self.terms[*channel].is_free_for(pod)).collect()
    }

    fn claim(
        &mut self,
        tx: &mut Transaction<'_>,
        by: &By,
        channels: ChannelSet,
        pod: PodId,
        join: Join,
    ) -> Result<(), Rejection> {
        tx.base.admit(by, self.authority())?;
        self.leads(by)?;
        self.grant_anew(tx, channels, pod, join);
        Ok(())
    }

    fn homes(&self) -> PerChannel<PodId> {
        PerChannel::from_fn(|channel| self.terms[channel].home)
    }

    fn clear_homes(&mut self, tx: &mut Transaction<'_>, pod: PodId) -> bool {
        let cleared = Channel::ALL.into_iter().filter(|channel| self.terms[*channel].leave(pod));
        let cleared: ChannelSet = cleared.collect();
        tx.applied.grants.extend(cleared.iter().map(|channel| self.grant(tx.base, channel)));
        !cleared.is_empty()
    }

    /// Members have none: terms are the livestream's.
    fn tell_grants(&self, _: &mut Transaction<'_>, _: MemberKey) {}

    fn finish(&mut self, tx: &mut Transaction<'_>, reason: EndReason) {
        self.revoke(tx);
        self.set_state(tx, State::Ended, Some(reason));
        self.absent_since.get_or_insert(tx.base.now);
        self.tree = RelayTree::new(self.config().tree_fanout);
        self.topology = Topology::Star;
        if let Some(chat) = &mut self.chat {
            // Nobody writes any more; where it has come to stays.
            tx.applied.retired_authors = Some(Box::new(std::mem::take(&mut chat.authors)));
        }
    }

    fn ends_at(&self) -> Option<(u64, EndReason)> {
        let timeout = self.config().broadcaster_timeout_ms;
        let since = self.absent_since.filter(|_| timeout > 0)?;
        Some((since + timeout, EndReason::BroadcasterTimeout))
    }

    fn settle(&mut self, tx: &mut Transaction<'_>) {
        self.tell_moves(tx);
    }

    fn view(&self, base: &Base, key: MemberKey, view: View) -> Option<MemberView> {
        let member = base.roster.get(key)?;
        Some(MemberView {
            placement: self.placement(base, key),
            moderator: self.is_moderator(member.node),
            muted: self.muted.contains(&member.node),
            ..member.view(view)
        })
    }

    fn targets(&self, base: &Base, of: Forwarder) -> Option<TargetList> {
        self.target_list(base, of)
    }

    fn grants(&self, base: &Base) -> Vec<Grant> {
        Channel::ALL.map(|channel| self.grant(base, channel)).into_iter().filter(|grant| grant.term != 0).collect()
    }

    fn check(&self, _: &Base) {
        self.tree.check();
        self.chat.iter().for_each(|chat| chat.check());
    }

    fn validate(&self, base: &Base) -> Result<(), BrokenInvariant> {
        let (revision, now, state) = (base.revision, base.now, self.state);
        ensure(self.config().broadcaster_timeout_ms <= LARGEST, "the broadcaster's time is below 2^60")?;
        let times = [self.absent_since, self.started_at];
        ensure(times.into_iter().flatten().all(|at| at <= now), "nothing happened after the last command")?;
        self.terms.iter().try_for_each(|(_, term)| term.validate(revision))?;
        ensure(!self.terms[Channel::Chat].is_there(), "CHAT has no term")?;
        let viewers = base.roster.iter().filter(|(_, member)| member.is_viewer()).count();
        ensure(viewers == self.tree.len(), "the tree holds exactly the viewers")?;
        base.roster.iter().try_for_each(|(key, member)| self.validate_member(key, member))?;
        let present = self.broadcaster_session(base).is_some();
        ensure(self.absent_since.is_none() == (present && state != State::Ended), "who has no session is absent")?;
        let threshold = self.config().star_to_tree_threshold as usize;
        match self.topology {
            Topology::Star => ensure(viewers <= threshold, "a star has at most the threshold of viewers")?,
            Topology::Tree => ensure(5 * viewers > 4 * threshold, "a small tree becomes a star")?,
            Topology::Mesh => ensure(false, "a livestream is no mesh")?,
        }
        ensure((state == State::Ended) == base.ended.is_some(), "it has ended in both ways")?;
        ensure((state == State::Active) == base.stats.active_since.is_some(), "time on air is counted on air")?;
        ensure(present || self.terms == PerChannel::default(), "terms end with the session")?;
        ensure(base.lets_in(self.broadcaster).is_ok(), "the broadcaster is not banned")?;
        let bounded = self.moderators.len() <= MAX_MODERATORS as usize && self.muted.len() <= MAX_MUTES as usize;
        ensure(bounded, "moderators and mutes are bounded")?;
        let free = !self.moderators.contains(&self.broadcaster) && !self.muted.contains(&self.broadcaster);
        ensure(free, "the broadcaster is no moderator, and not muted")?;
        let Some(chat) = &self.chat else { return Ok(()) };
        ensure(state != State::Ended || chat.authors.is_empty(), "nobody writes to what is over")?;
        chat.validate(messages::micros(now))
    }
}
