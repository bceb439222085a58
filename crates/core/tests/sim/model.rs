//! A second opinion: what a watcher knows who has seen every event and nothing else.
//!
//! Two things the events do not tell, by design, and the model takes as given: who
//! the broadcaster of a BROADCASTER_JOINED is beyond its node and session, and
//! every placement after a TOPOLOGY_SWITCHED, which the watcher reads again.

mod compare;

use std::collections::{BTreeMap, BTreeSet};

use starling_core::MemberKey;
use starling_core::channel::Channel;
use starling_core::command::{CreateGroup, CreateLivestream};
use starling_core::event::{EndReason, Grant, LeaveReason};
use starling_core::key::BroadcasterKey;
use starling_core::livestream::State;
use starling_core::member::{MemberView, Role, ViewerMode};
use starling_core::topology::Topology;
use starling_core::{
    Applied, Epoch, Event, GroupEvent, LivestreamEvent, NodeId, SessionId, SharedEvent, Swarm, group, livestream,
};

use crate::bans::Bans;
use crate::ownership::Ownership;
use crate::tree_slots::TreeSlots;

/// What the events told of one member.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Its current session.
    pub(crate) session: SessionId,
    /// The rest; `None` for a broadcaster that was no viewer in this session.
    pub(crate) view: Option<(MemberKey, MemberView)>,
}

/// The configuration of a swarm of either kind.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Config {
    Livestream(livestream::Config),
    Group(group::Config),
}

/// A swarm as its events describe it.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    /// The incarnation.
    pub(crate) epoch: Epoch,
    /// The last revision.
    pub(crate) revision: u64,
    /// Who is in.
    pub(crate) members: BTreeMap<NodeId, Known>,
    /// Livestreams: who has authority.
    pub(crate) broadcaster: Option<NodeId>,
    /// Livestreams: by which the broadcaster signs.
    pub(crate) key: Option<BroadcasterKey>,
    /// Livestreams: where it is in its life.
    pub(crate) state: State,
    /// Why it ended.
    pub(crate) ended: Option<EndReason>,
    /// The shape.
    pub(crate) topology: Topology,
    /// Livestreams: who may moderate.
    pub(crate) moderators: BTreeSet<NodeId>,
    /// Livestreams: who must be silent.
    pub(crate) muted: BTreeSet<NodeId>,
    /// Who must stay out.
    pub(crate) bans: Bans,
    /// Groups: who owns it.
    pub(crate) owner: Option<NodeId>,
    /// Groups: who shares its screen.
    pub(crate) sharing: Option<NodeId>,
    metadata: Box<[u8]>,
    config: Option<Config>,
    /// The most viewers or participants.
    pub(crate) capacity: u32,
    /// Livestreams: the array of the relay tree.
    pub(crate) tree_slots: TreeSlots,
    /// Groups: who owns it next.
    ownership: Ownership,
    /// Viewers whose session was replaced and whose next one is not told yet.
    replaced: BTreeMap<NodeId, Role>,
    /// Livestreams: more viewers than this make a tree.
    threshold: usize,
    /// The table that the feed would enforce.
    grants: BTreeMap<(NodeId, Channel), (u64, bool)>,
    /// The key of the last grant.
    granted_key: Option<BroadcasterKey>,
    /// The highest term ever granted.
    terms: BTreeMap<(NodeId, Channel), u64>,
    /// Every session that ever began.
    begun: BTreeSet<SessionId>,
    peak: u64,
    joins: u64,
    leaves: [u64; 5],
    /// Whose interests the last command changed.
    interested: BTreeSet<NodeId>,
}

impl Model {
    /// A livestream that was just made.
    pub(crate) fn of_livestream(create: &CreateLivestream, key: Option<BroadcasterKey>) -> Self {
        let model = Self::new(create.epoch, &create.metadata, Topology::Star);
        let threshold = create.config.star_to_tree_threshold as usize;
        let (config, capacity) = (Some(Config::Livestream(create.config.clone())), create.config.max_viewers);
        Self { broadcaster: Some(create.broadcaster), key, threshold, config, capacity, ..model }
    }

    /// A group that was just made.
    pub(crate) fn of_group(create: &CreateGroup) -> Self {
        let ownership = Ownership::of(create.owner);
        let (config, capacity) = (Some(Config::Group(create.config.clone())), create.config.max_participants);
        Self {
            owner: create.owner,
            ownership,
            config,
            capacity,
            ..Self::new(create.epoch, &create.metadata, Topology::Mesh)
        }
    }

    fn new(epoch: Epoch, metadata: &[u8], topology: Topology) -> Self {
        Self {
            epoch,
            revision: 0,
            members: BTreeMap::new(),
            broadcaster: None,
            key: None,
            state: State::Initializing,
            ended: None,
            topology,
            moderators: BTreeSet::new(),
            muted: BTreeSet::new(),
            bans: Bans::default(),
            owner: None,
            sharing: None,
            metadata: metadata.into(),
            config: None,
            capacity: 0,
            tree_slots: TreeSlots::default(),
            ownership: Ownership::default(),
            replaced: BTreeMap::new(),
            threshold: 0,
            grants: BTreeMap::new(),
            granted_key: None,
            terms: BTreeMap::new(),
            begun: BTreeSet::new(),
            peak: 0,
            joins: 0,
            leaves: [0; 5],
            interested: BTreeSet::new(),
        }
    }

    fn update(&mut self, metadata: &[u8], capacity: u32, config: Config) {
        let config = Some(config);
        assert!(*self.metadata != *metadata || self.config != config, "a change changes something");
        (self.metadata, self.config, self.capacity) = (metadata.into(), config, capacity);
    }

    /// Those who only listen.
    pub(crate) fn listeners(&self) -> usize {
        let roles = self.members.keys().filter_map(|node| self.role(*node));
        roles.filter(|role| *role == Role::Listener).count()
    }

    /// Members without the broadcaster.
    pub(crate) fn viewers(&self) -> usize {
        self.members.len() - usize::from(self.broadcaster.is_some_and(|node| self.members.contains_key(&node)))
    }

    /// The current session of a node.
    pub(crate) fn session(&self, node: NodeId) -> Option<SessionId> {
        self.members.get(&node).map(|known| known.session)
    }

    /// What a node is, as far as the events tell.
    pub(crate) fn role(&self, node: NodeId) -> Option<Role> {
        self.members.get(&node)?.view.as_ref().map(|(_, view)| view.role)
    }

    /// Takes the changes of one command in. `after` is asked for placements after
    /// a switch of shape, and for nothing else. Answers with the nodes concerned.
    pub(crate) fn fold(&mut self, applied: &Applied, after: Option<&Swarm>) -> BTreeSet<NodeId> {
        let visible = u64::from(!applied.events.is_empty());
        assert_eq!(applied.revision, self.revision + visible, "one revision per visible command");
        self.revision = applied.revision;
        self.take_grants(&applied.grants);
        let mut concerned = BTreeSet::new();
        self.interested.clear();
        let topology = self.topology;
        let mut closed = Vec::new();
        if !applied.events.iter().any(|event| matches!(event, Event::Livestream(LivestreamEvent::Transferred { .. }))) {
            // With two nodes changing roles, what was one's place may be named after
            // the other and read as before.
            self.assert_moved(&applied.events);
        }
        for event in &applied.events {
            self.take(event, applied.revision, after, &mut concerned, &mut closed);
        }
        assert!(self.broadcaster.is_some() || self.owner == self.ownership.owner(), "the longest-joined owns it");
        assert_eq!(self.topology, self.shape_after(topology), "the shape follows the number of viewers");
        closed.iter().for_each(|(_, reason)| self.leaves[*reason as usize] += 1);
        self.compare_ended(applied, closed);
        self.compare_effects(applied);
        self.peak = self.peak.max(self.members.len() as u64);
        concerned
    }

    fn take(
        &mut self,
        event: &Event,
        revision: u64,
        after: Option<&Swarm>,
        concerned: &mut BTreeSet<NodeId>,
        closed: &mut Vec<(SessionId, LeaveReason)>,
    ) {
        match event {
            Event::Shared(SharedEvent::Joined { key, member }) => {
                concerned.insert(member.node);
                assert_ne!(Some(member.node), self.broadcaster);
                self.interested.insert(member.node);
                let listened = self.replaced.get(&member.node) == Some(&Role::Listener);
                if member.role == Role::Listener && !listened {
                    self.forget(member.node);
                }
                self.begin(member.node, member.session, Some((*key, (**member).clone())));
                self.take_slot(member.node, member.role);
                self.ownership.join(member.node, member.role, revision);
            }
            Event::Livestream(LivestreamEvent::BroadcasterJoined { node, session }) => {
                assert_eq!(Some(*node), self.broadcaster);
                self.begin(*node, *session, None);
            }
            Event::Shared(SharedEvent::Left { key, node, session, reason }) => {
                concerned.insert(*node);
                assert_ne!(Some(*node), self.broadcaster);
                let known = self.close(*node, *session, *reason, closed);
                let (slot, view) = known.view.expect("a viewer or participant was told in full");
                assert_eq!(slot, *key, "a member leaves the slot that it took");
                if *reason == LeaveReason::Replaced {
                    self.replaced.insert(*node, view.role);
                } else if self.broadcaster.is_some() {
                    self.tree_slots.leave(*node);
                } else {
                    self.ownership.leave(*node, &self.bans);
                    self.forget(*node);
                    // Of those who leave together none is told what the others were to it.
                    self.interested.remove(node);
                }
            }
            Event::Livestream(LivestreamEvent::BroadcasterLost { node, session, reason }) => {
                assert_eq!(Some(*node), self.broadcaster);
                self.close(*node, *session, *reason, closed);
            }
            Event::Livestream(LivestreamEvent::StateChanged { state, reason }) => {
                assert_eq!(reason.is_some(), *state == State::Ended);
                self.state = *state;
                if let Some(reason) = reason {
                    self.finish(*reason, closed);
                    self.topology = Topology::Star;
                }
            }
            Event::Group(GroupEvent::Ended { reason }) => self.finish(*reason, closed),
            Event::Livestream(LivestreamEvent::Updated { metadata, config }) => {
                self.update(metadata, config.max_viewers, Config::Livestream((**config).clone()));
            }
            Event::Group(GroupEvent::Updated { metadata, config }) => {
                self.update(metadata, config.max_participants, Config::Group((**config).clone()));
            }
            Event::Livestream(LivestreamEvent::Transferred { from, to, to_key, viewer, key }) => {
                concerned.extend([*from, *to]);
                assert_eq!(key.is_some(), self.key.is_some(), "a livestream is signed for life or not at all");
                self.key = key.as_deref().copied();
                self.transfer(*from, *to, *to_key, viewer.as_ref());
            }
            Event::Livestream(LivestreamEvent::ModeratorChanged { node, moderator }) => {
                concerned.insert(*node);
                let changed = if *moderator { self.moderators.insert(*node) } else { self.moderators.remove(node) };
                assert!(changed, "a change changes something");
                self.edit(*node, |view| view.moderator = *moderator);
            }
            Event::Livestream(LivestreamEvent::MuteChanged { node, muted }) => {
                concerned.insert(*node);
                let changed = if *muted { self.muted.insert(*node) } else { self.muted.remove(node) };
                assert!(changed, "a change changes something");
                self.edit(*node, |view| view.muted = *muted);
            }
            Event::Livestream(LivestreamEvent::TopologySwitched { topology }) => {
                assert_ne!(self.topology, *topology, "a switch switches");
                self.topology = *topology;
                for known in self.members.values_mut() {
                    if let Some((key, view)) = &mut known.view {
                        view.placement = after.and_then(|swarm| swarm.view(*key)).and_then(|now| now.placement);
                    }
                }
            }
            Event::Shared(SharedEvent::AuthorityGranted { node, channels }) => {
                assert!(!channels.is_empty(), "a grant is about something");
                for channel in channels.iter() {
                    let term = self.grants.get(&(*node, channel)).map(|(term, _)| *term);
                    assert_eq!(term, Some(revision), "a term is the revision that granted it");
                }
            }
            // Known by the commands.
            Event::Shared(SharedEvent::BanChanged { .. }) => {}
            Event::Shared(SharedEvent::InterestChanged { key, node, updates }) => {
                concerned.insert(*node);
                self.interested.insert(*node);
                assert!(!updates.is_empty(), "a change changes something");
                self.edit_at(*key, *node, |view| {
                    for update in updates {
                        let before = view.interests.clone();
                        view.interests.update(*update);
                        assert_ne!(view.interests, before, "each update changes something");
                    }
                });
            }
            Event::Livestream(LivestreamEvent::PlacementChanged { key, node, placement }) => {
                concerned.insert(*node);
                self.edit_at(*key, *node, |view| view.placement = Some(*placement));
            }
            Event::Shared(SharedEvent::MemberUpdated { key, member }) => {
                concerned.insert(member.node);
                let before = self.role(member.node);
                self.edit_at(*key, member.node, |view| {
                    assert_ne!(*view, **member, "a change changes something");
                    view.clone_from(member);
                });
                if self.broadcaster.is_some() && before != Some(member.role) {
                    self.tree_slots.leave(member.node);
                    self.take_slot(member.node, member.role);
                }
            }
            Event::Group(GroupEvent::OwnerChanged { owner }) => {
                assert!(self.owner != *owner || revision == 1, "a change changes something");
                self.owner = *owner;
            }
            Event::Group(GroupEvent::MediaChanged { key, node, media }) => {
                concerned.insert(*node);
                self.edit_at(*key, *node, |view| view.role = Role::Participant(*media));
            }
            Event::Group(GroupEvent::ShareStarted { node }) => {
                concerned.insert(*node);
                assert_eq!(self.sharing.replace(*node), None, "one screen at a time");
                self.edit(*node, |view| view.sharing = true);
            }
            Event::Group(GroupEvent::ShareStopped { node }) => {
                concerned.insert(*node);
                assert_eq!(self.sharing.take(), Some(*node), "only a shared screen is taken down");
                self.edit(*node, |view| view.sharing = false);
            }
        }
    }

    /// What others want of a node that publishes nothing any more falls away.
    fn forget(&mut self, source: NodeId) {
        for (node, known) in &mut self.members {
            if known.view.as_mut().is_some_and(|(_, view)| view.interests.forget(&[source])) {
                self.interested.insert(*node);
            }
        }
    }

    /// Whether updates of this source, which has a right to the channel, are taken now.
    fn takes(&self, source: NodeId, channel: Channel) -> bool {
        assert!(self.members.contains_key(&source), "a right ends with its holder's session");
        match self.role(source) {
            Some(Role::Participant(media)) => match channel {
                Channel::Visual => media.video,
                Channel::Audio => media.audio,
                Channel::Screen => self.sharing == Some(source),
                Channel::Chat | Channel::Data => true,
            },
            _ => {
                assert_eq!(Some(source), self.broadcaster, "exclusive to the broadcaster");
                assert_ne!(channel, Channel::Chat, "open to all, granted to none");
                channel == Channel::Data || self.state == State::Active
            }
        }
    }

    /// A tree when viewers > threshold, a star again when 5 x viewers <= 4 x threshold.
    fn shape_after(&self, before: Topology) -> Topology {
        match before {
            Topology::Star if self.viewers() > self.threshold => Topology::Tree,
            Topology::Tree if 5 * self.viewers() <= 4 * self.threshold => Topology::Star,
            unchanged => unchanged,
        }
    }

    /// Whoever is said to stand elsewhere does.
    fn assert_moved(&self, events: &[Event]) {
        for event in events {
            if let Event::Livestream(LivestreamEvent::PlacementChanged { node, placement, .. }) = event {
                let known = self.members.get(node).and_then(|known| known.view.as_ref());
                let before = known.and_then(|(_, view)| view.placement);
                assert_ne!(before, Some(*placement), "a change changes something");
            }
        }
    }

    fn begin(&mut self, node: NodeId, session: SessionId, view: Option<(MemberKey, MemberView)>) {
        assert!(self.begun.insert(session), "{session:?} begins once");
        assert!(self.members.insert(node, Known { session, view }).is_none(), "{node:?} has one session at a time");
        self.joins += 1;
    }

    fn close(
        &mut self,
        node: NodeId,
        session: SessionId,
        reason: LeaveReason,
        closed: &mut Vec<(SessionId, LeaveReason)>,
    ) -> Known {
        let known = self.members.remove(&node).expect("only a session that began can end");
        assert_eq!(known.session, session, "a leave names the session of its join");
        closed.push((session, reason));
        known
    }

    fn finish(&mut self, reason: EndReason, closed: &mut Vec<(SessionId, LeaveReason)>) {
        assert_eq!(self.ended.replace(reason), None, "a swarm ends once");
        closed.extend(std::mem::take(&mut self.members).values().map(|known| (known.session, LeaveReason::Ended)));
        self.sharing = None;
        self.tree_slots = TreeSlots::default();
    }

    /// A newcomer takes a slot of the tree. Who joins again keeps its own, unless it relays or
    /// watches otherwise now: that is a leave and a join.
    fn take_slot(&mut self, node: NodeId, role: Role) {
        let before = self.replaced.remove(&node);
        if self.broadcaster.is_none() || before == Some(role) {
            return;
        }
        if before.is_some() {
            self.tree_slots.leave(node);
        }
        self.tree_slots.join(node, role);
    }

    fn transfer(&mut self, from: NodeId, to: NodeId, to_key: MemberKey, viewer: Option<&(MemberKey, Box<MemberView>)>) {
        assert_eq!(self.broadcaster.replace(to), Some(from));
        assert!(
            !self.muted.contains(&to) && !self.moderators.contains(&to),
            "authority needs neither, and bears no mute"
        );
        self.tree_slots.leave(to);
        let known = self.members.get_mut(&to).expect("authority goes to a member");
        let (key, view) = known.view.as_mut().expect("authority goes to a viewer");
        let Role::Viewer { mode: ViewerMode::Active, can_relay } = view.role else {
            panic!("authority goes to an active viewer")
        };
        assert_eq!(*key, to_key);
        view.role = Role::Broadcaster { can_relay };
        view.placement = None;
        view.moderator = true;
        assert_eq!(viewer.is_some(), self.members.contains_key(&from), "a session outlives its role");
        if let Some((key, view)) = viewer {
            let known = self.members.get_mut(&from).expect("just looked at");
            assert_eq!(known.session, view.session, "a transfer ends no session");
            known.view = Some((*key, (**view).clone()));
            self.tree_slots.join(from, view.role);
        }
    }

    /// Changes what is known of a node, if it is in and known.
    fn edit(&mut self, node: NodeId, change: impl FnOnce(&mut MemberView)) {
        if let Some((_, view)) = self.members.get_mut(&node).and_then(|known| known.view.as_mut()) {
            change(view);
        }
    }

    /// The same for an event that names a member by its slot; it changes something.
    fn edit_at(&mut self, key: MemberKey, node: NodeId, change: impl FnOnce(&mut MemberView)) {
        let known = self.members.get_mut(&node).expect("an event about a member");
        if let Some((slot, view)) = &mut known.view {
            assert_eq!(*slot, key);
            change(view);
        }
    }

    fn take_grants(&mut self, grants: &[Grant]) {
        for grant in grants {
            let right = (grant.source, grant.channel);
            if grant.term == 0 {
                self.grants.remove(&right);
                continue;
            }
            self.granted_key = grant.key;
            let before = self.grants.insert(right, (grant.term, grant.is_open())).map(|(term, _)| term);
            let highest = self.terms.insert(right, grant.term).unwrap_or(0);
            assert!(before == Some(grant.term) || grant.term > highest, "a new term is higher than all before");
        }
    }
}

fn ends(event: &Event) -> bool {
    use {GroupEvent::Ended, LivestreamEvent::StateChanged};
    matches!(event, Event::Livestream(StateChanged { state: State::Ended, .. }) | Event::Group(Ended { .. }))
}
