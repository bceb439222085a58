//! One broadcaster with authority, and viewers who watch.
//!
//! Invariants ([`Livestream::check`]): the tree holds exactly the viewers, as
//! relays those that can forward; the shape follows the thresholds; the
//! broadcaster is no viewer; when the livestream has ended nobody is in; the
//! statistics add up. Revisions go up by one with each command that changes
//! anything visible.

mod lifecycle;
mod membership;
mod moderation;
mod placement;

use std::collections::BTreeSet;
use std::fmt;

use super::command::{By, Command, CreateLivestream};
use super::error::Rejection;
use super::event::{Applied, EndReason, Event, Gate, Grant};
use super::id::{Epoch, NodeId, SessionId};
use super::interest::Channel;
use super::last_members::LastMembers;
use super::member::{Lease, Member, MemberView, Role};
use super::request::{Method, Requests};
use super::roster::{Key, Roster};
use super::stats::Stats;
use super::topology::relay_tree::Place;
use super::topology::{RelayTree, Topology};

/// The most mutes of a livestream.
pub const MAX_MUTES: u32 = 10_000;
/// The most moderators of a livestream.
pub const MAX_MODERATORS: u32 = 1_000;

/// How a livestream behaves. Shape and fan-out are fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// A tree above this many viewers; 1..1 000.
    pub star_to_tree_threshold: u32,
    /// How many nodes one node feeds in the tree; 2..64.
    pub tree_fanout: u32,
    /// What one subscriber is sent at most, in bytes per second.
    pub subscriber_bytes_per_second: u64,
    /// How often a keyframe is wanted, in milliseconds.
    pub keyframe_interval_ms: u32,
    /// Capacity.
    pub max_viewers: u32,
    /// How far a subscriber may fall behind, in milliseconds.
    pub max_lag_ms: u32,
    /// How long the broadcaster may be away, in milliseconds; 0 = for ever.
    pub broadcaster_timeout_ms: u64,
}

/// The defaults of `elara-diffusion`, and ours where it has none.
impl Default for Config {
    fn default() -> Self {
        Self {
            star_to_tree_threshold: 50,
            tree_fanout: 5,
            subscriber_bytes_per_second: 500_000,
            keyframe_interval_ms: 2_000,
            max_viewers: 1_000_000,
            max_lag_ms: 2_000,
            broadcaster_timeout_ms: 5 * 60 * 1_000,
        }
    }
}

/// The life of a livestream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Made, not started.
    Initializing,
    /// On air.
    Active,
    /// Held.
    Paused,
    /// Over.
    Ended,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initializing => "INITIALIZING",
            Self::Active => "ACTIVE",
            Self::Paused => "PAUSED",
            Self::Ended => "ENDED",
        })
    }
}

/// A livestream.
#[derive(Clone, Debug, Hash)]
pub struct Livestream {
    epoch: Epoch,
    revision: u64,
    /// The time of the last command: time never runs backwards here.
    now: u64,
    state: State,
    config: Config,
    /// The configuration that it was made with, once it has another one: what a repeated
    /// Create names.
    made_with: Option<Box<Config>>,
    metadata: Box<[u8]>,
    retention_ms: u64,
    /// Who had authority at first: what a repeated Create names.
    named_broadcaster: NodeId,
    broadcaster: NodeId,
    /// Since when the broadcaster has had no session.
    absent_since: Option<u64>,
    /// Current term per channel; 0 = none.
    terms: [u64; 5],
    roster: Roster,
    tree: RelayTree,
    topology: Topology,
    moderators: BTreeSet<NodeId>,
    muted: BTreeSet<NodeId>,
    requests: Requests,
    stats: Stats,
    created_at: u64,
    started_at: Option<u64>,
    ended: Option<(u64, EndReason)>,
    last_members: LastMembers,
}

/// A command at work: what it did so far.
#[derive(Debug, Default)]
struct Change {
    applied: Applied,
    /// Viewers whose placement changed, perhaps more than once, and their place
    /// before; `None` when it is another one for certain.
    moved: Vec<(Key, Option<Place>)>,
}

impl Change {
    fn event(&mut self, event: Event) {
        self.applied.events.push(event);
    }
}

impl Livestream {
    pub(super) fn create(command: CreateLivestream, now: u64) -> (Self, Applied) {
        let CreateLivestream { epoch, broadcaster, config, metadata, retention_ms } = command;
        let livestream = Self {
            epoch,
            revision: 1,
            now,
            state: State::Initializing,
            tree: RelayTree::new(config.tree_fanout),
            config,
            made_with: None,
            metadata,
            retention_ms,
            named_broadcaster: broadcaster,
            broadcaster,
            absent_since: Some(now),
            terms: [0; 5],
            roster: Roster::default(),
            topology: Topology::Star,
            moderators: BTreeSet::new(),
            muted: BTreeSet::new(),
            requests: Requests::default(),
            stats: Stats::default(),
            created_at: now,
            started_at: None,
            ended: None,
            last_members: LastMembers::default(),
        };
        let created = Event::StateChanged { state: State::Initializing, reason: None };
        let applied = Applied { revision: 1, events: vec![created], created: true, ..Applied::default() };
        (livestream, applied)
    }

    /// True when creating with `command` would make the same livestream.
    pub(super) fn is_made_by(&self, command: &CreateLivestream) -> bool {
        *self.made_with.as_deref().unwrap_or(&self.config) == command.config
            && self.named_broadcaster == command.broadcaster
    }

    /// Carries a command out, or refuses it and changes nothing, not even the time.
    pub(super) fn apply(&mut self, command: Command, at: u64) -> Result<Applied, Rejection> {
        let before = self.now;
        self.now = before.max(at);
        let result = self.dispatch(command);
        if result.is_err() {
            self.now = before;
        }
        result
    }

    fn dispatch(&mut self, command: Command) -> Result<Applied, Rejection> {
        match command {
            Command::CreateLivestream(_) | Command::CreateGroup(_) => Err(Rejection::Exists),
            Command::Join(join) => self.join(join),
            Command::Leave(by) => self.acting(by, Method::Leave, Self::leave),
            Command::Touch(node, session) => self.liveness(node, session, Lease::touch),
            Command::Attach(node, session, pod) => self.liveness(node, session, |lease, _| lease.attach(pod)),
            Command::Detach(node, session, pod) => self.liveness(node, session, |lease, now| lease.detach(pod, now)),
            Command::PodGone(pod) => Ok(self.pod_gone(pod)),
            Command::Expire => Ok(self.expire()),
            Command::SetInterest(by, changes) => {
                self.acting(by, Method::SetInterest, |l, by, c| l.set_interest(by, &changes, c))
            }
            Command::UpdateMember(by, update) => {
                self.acting(by, Method::UpdateMember, |l, by, c| l.update_member(by, update, c))
            }
            Command::UpdateSwarm(by, update) => {
                self.acting(by, Method::UpdateSwarm, |l, by, c| l.update(by, update, c))
            }
            Command::End(by) => self.end(by),
            Command::Remove(by, node) => self.acting(by, Method::Remove, |l, by, c| l.remove(by, node, c)),
            Command::ReportPeer(by, node) => self.report_peer(&by, node),
            Command::Claim { by, channels, session, ttl_ms } => self.claim(&by, channels, session, ttl_ms),
            Command::Acquire { by, channels, session, ttl_ms } => {
                let free = channels.iter().filter(|channel| self.terms[channel.index()] == 0).collect();
                self.claim(&by, free, session, ttl_ms)
            }
            Command::Start(by) => {
                self.acting(by, Method::Start, |l, by, c| l.go(by, State::Active, &[State::Initializing], c))
            }
            Command::Pause(by) => {
                self.acting(by, Method::Pause, |l, by, c| l.go(by, State::Paused, &[State::Active], c))
            }
            Command::Resume(by) => {
                self.acting(by, Method::Resume, |l, by, c| l.go(by, State::Active, &[State::Paused], c))
            }
            Command::AddModerator(by, node) => {
                self.acting(by, Method::AddModerator, |l, by, c| l.set_moderator(by, node, true, c))
            }
            Command::RemoveModerator(by, node) => {
                self.acting(by, Method::RemoveModerator, |l, by, c| l.set_moderator(by, node, false, c))
            }
            Command::Mute(by, node) => self.acting(by, Method::Mute, |l, by, c| l.set_mute(by, node, true, c)),
            Command::Unmute(by, node) => self.acting(by, Method::Unmute, |l, by, c| l.set_mute(by, node, false, c)),
            Command::Transfer(by, node) => self.acting(by, Method::Transfer, |l, by, c| l.transfer(by, node, c)),
            Command::SetMedia { .. } | Command::StartShare(_) | Command::StopShare(_) => Err(Rejection::WrongKind),
        }
    }

    /// Runs an action of a member or of the broadcaster: repeated requests, the
    /// end of the livestream and the actor's membership come first, in this order.
    fn acting(
        &mut self,
        by: By,
        method: Method,
        act: impl FnOnce(&mut Self, &By, &mut Change) -> Result<(), Rejection>,
    ) -> Result<Applied, Rejection> {
        if let Some(revision) = self.requests.recall(&by, method, self.now)? {
            return Ok(Applied { revision, ..Applied::default() });
        }
        self.not_ended()?;
        self.admit(&by)?;
        let mut change = Change::default();
        act(self, &by, &mut change)?;
        let applied = self.commit(change);
        if let Some(request) = by.request {
            self.requests.remember(by.node, method, request, applied.revision, self.now);
        }
        Ok(applied)
    }

    fn unchanged(&self) -> Applied {
        Applied { revision: self.revision, ..Applied::default() }
    }

    fn not_ended(&self) -> Result<(), Rejection> {
        if self.state == State::Ended { Err(Rejection::Ended) } else { Ok(()) }
    }

    /// The actor is a member, or the broadcaster (with or without a session);
    /// a session that it names is its current one.
    fn admit(&self, by: &By) -> Result<(), Rejection> {
        self.roster.admit(by, Some(self.broadcaster))
    }

    fn as_broadcaster(&self, by: &By) -> Result<(), Rejection> {
        if by.node == self.broadcaster { Ok(()) } else { Err(Rejection::NotBroadcaster { node: by.node }) }
    }

    fn as_moderator(&self, by: &By) -> Result<(), Rejection> {
        if self.is_moderator(by.node) { Ok(()) } else { Err(Rejection::NotModerator { node: by.node }) }
    }

    /// Ends a command: switches the shape if its time has come, tells where the
    /// moved viewers stand now, and numbers the change.
    fn commit(&mut self, mut change: Change) -> Applied {
        self.settle(&mut change);
        let mut applied = change.applied;
        if !applied.events.is_empty() {
            self.revision += 1;
        }
        applied.revision = self.revision;
        applied
    }

    /// When something falls due next, in milliseconds since the Unix epoch.
    pub fn next_expiry(&self) -> Option<u64> {
        if let Some((at, _)) = self.ended {
            return Some(at + self.retention_ms);
        }
        let timeout = (self.config.broadcaster_timeout_ms > 0)
            .then_some(self.absent_since)
            .flatten()
            .map(|since| since + self.config.broadcaster_timeout_ms);
        [self.roster.next_expiry(), timeout].into_iter().flatten().min()
    }

    /// Whether a channel takes updates.
    pub const fn gate(&self, channel: Channel) -> Gate {
        match (self.state, channel) {
            (State::Active, _) | (State::Initializing | State::Paused, Channel::Chat | Channel::Data) => Gate::Open,
            (State::Paused, _) => Gate::Paused,
            (State::Initializing | State::Ended, _) => Gate::NotActive,
        }
    }

    fn grant(&self, channel: Channel) -> Grant {
        let (term, gate) = (self.terms[channel.index()], self.gate(channel));
        Grant { source: self.broadcaster, channel, term, session: self.broadcaster_session(), gate }
    }

    /// The rights to publish that are in force.
    pub fn grants(&self) -> impl Iterator<Item = Grant> {
        Channel::ALL.map(|channel| self.grant(channel)).into_iter().filter(|grant| grant.term != 0)
    }

    /// The incarnation.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of the last visible change.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Where it is in its life.
    pub const fn state(&self) -> State {
        self.state
    }

    /// How it behaves.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Opaque to us.
    pub const fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Who has authority.
    pub const fn broadcaster(&self) -> NodeId {
        self.broadcaster
    }

    /// The broadcaster's session, if it has one.
    pub fn broadcaster_session(&self) -> Option<SessionId> {
        self.roster.find(self.broadcaster).map(|member| member.session)
    }

    /// How many nodes watch, lurkers included.
    pub fn viewer_count(&self) -> usize {
        self.tree.len()
    }

    /// The shape: star or tree.
    pub const fn topology(&self) -> Topology {
        self.topology
    }

    /// All sessions, the broadcaster's included.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What the livestream counts.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The time of the last command, in milliseconds since the Unix epoch.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Hops to the farthest viewer that peers serve.
    pub fn depth(&self) -> u32 {
        match self.topology {
            Topology::Star | Topology::Mesh => u32::from(!self.tree.is_empty()),
            Topology::Tree => self.tree.depth(),
        }
    }

    /// Nodes that may moderate, without the broadcaster, who always may.
    pub const fn moderators(&self) -> &BTreeSet<NodeId> {
        &self.moderators
    }

    /// Nodes kept from CHAT.
    pub const fn muted(&self) -> &BTreeSet<NodeId> {
        &self.muted
    }

    /// True for moderators and for the broadcaster.
    pub fn is_moderator(&self, node: NodeId) -> bool {
        node == self.broadcaster || self.moderators.contains(&node)
    }

    /// When it was made, in milliseconds since the Unix epoch.
    pub const fn created_at(&self) -> u64 {
        self.created_at
    }

    /// When it first went on air.
    pub const fn started_at(&self) -> Option<u64> {
        self.started_at
    }

    /// When and why it ended.
    pub const fn ended(&self) -> Option<(u64, EndReason)> {
        self.ended
    }

    /// Who was in when it ended.
    pub const fn last_members(&self) -> &LastMembers {
        &self.last_members
    }

    /// A member as others see it.
    pub fn view(&self, key: Key) -> Option<MemberView> {
        self.roster.get(key).map(|member| self.view_of(key, member))
    }

    fn view_of(&self, key: Key, member: &Member) -> MemberView {
        MemberView {
            placement: self.placement(key),
            moderator: self.is_moderator(member.node),
            muted: self.muted.contains(&member.node),
            ..member.view()
        }
    }

    /// Panics when an invariant of the module does not hold. O(n).
    pub fn check(&self) {
        self.roster.check();
        self.tree.check();
        let viewers = self.roster.iter().filter(|(_, member)| member.is_viewer()).count();
        assert_eq!(viewers, self.tree.len(), "the tree holds exactly the viewers");
        let mut interests = [[0; 5]; 5];
        for (key, member) in self.roster.iter() {
            match member.role {
                Role::Broadcaster { .. } => {
                    assert_eq!(member.node, self.broadcaster);
                    assert!(!self.tree.contains(key), "the broadcaster is no viewer");
                }
                Role::Viewer { can_relay, .. } => {
                    assert_ne!(member.node, self.broadcaster, "the broadcaster is no viewer");
                    assert!(self.tree.contains(key));
                    assert_eq!(self.tree.is_relay(key), can_relay, "relays are those that can forward");
                }
                Role::Participant(_) | Role::Listener => panic!("a livestream has no participants"),
            }
            member
                .levels()
                .into_iter()
                .enumerate()
                .for_each(|(channel, level)| interests[channel][level as usize] += 1);
        }
        assert_eq!(interests, self.stats.interests, "members by interest add up");
        let left: u64 = self.stats.leaves.iter().sum();
        assert_eq!(self.stats.joins - left, self.roster.len() as u64, "each join has at most one leave");
        assert_eq!(self.absent_since.is_none(), self.broadcaster_session().is_some() && self.state != State::Ended);
        let threshold = self.config.star_to_tree_threshold as usize;
        match self.topology {
            Topology::Star => assert!(viewers <= threshold, "a star has at most the threshold of viewers"),
            Topology::Tree => assert!(5 * viewers > 4 * threshold, "a small tree becomes a star"),
            Topology::Mesh => panic!("a livestream is no mesh"),
        }
        assert_eq!(self.state == State::Ended, self.ended.is_some());
        assert!(self.state != State::Ended || self.roster.is_empty(), "an ended livestream is empty");
        assert!(self.broadcaster_session().is_some() || self.terms == [0; 5], "terms end with the session");
    }
}
