//! A call among peers: everybody forwards to everybody.
//!
//! The mesh is read from the roster; no edge is stored. Invariants
//! ([`Group::check`]): at most `max_participants`; the screen is shared by a
//! member or by nobody; a term lives no longer than its holder's session.

mod media;
mod membership;

use super::command::{By, Command, CreateGroup, SwarmUpdate};
use super::error::Rejection;
use super::event::{Applied, EndReason, Event, LeaveReason};
use super::id::{Epoch, NodeId};
use super::interest::{Channel, Interests};
use super::last_members::LastMembers;
use super::member::{Lease, Member, MemberView, Role};
use super::request::{Method, Requests};
use super::roster::{Key, Roster, Timer};
use super::stats::Stats;
use super::topology::{Target, TargetList, Topology};

/// The most listeners of a group.
pub const MAX_LISTENERS: u32 = 256;

/// How a group behaves; fixed when it is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Capacity; 1..256.
    pub max_participants: u32,
    /// What one subscriber is sent at most, in bytes per second.
    pub subscriber_bytes_per_second: u64,
    /// How often a keyframe is wanted, in milliseconds.
    pub keyframe_interval_ms: u32,
    /// How far a subscriber may fall behind, in milliseconds.
    pub max_lag_ms: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_participants: 16,
            subscriber_bytes_per_second: 500_000,
            keyframe_interval_ms: 2_000,
            max_lag_ms: 2_000,
        }
    }
}

/// A group.
#[derive(Clone, Debug, Hash)]
pub struct Group {
    epoch: Epoch,
    revision: u64,
    /// The time of the last command: time never runs backwards here.
    now: u64,
    config: Config,
    /// The configuration that it was made with, once it has another one: what a repeated
    /// Create names.
    made_with: Option<Box<Config>>,
    metadata: Box<[u8]>,
    retention_ms: u64,
    empty_ms: u64,
    /// Who owned it at first; ownership returns there when nobody is in.
    named_owner: Option<NodeId>,
    owner: Option<NodeId>,
    sharing: Option<NodeId>,
    roster: Roster,
    /// How many of the roster only listen.
    listeners: u32,
    requests: Requests,
    stats: Stats,
    created_at: u64,
    /// Since when nobody has been in.
    empty_since: Option<u64>,
    ended: Option<(u64, EndReason)>,
    last_members: LastMembers,
}

impl Group {
    pub(super) fn create(command: CreateGroup, now: u64) -> (Self, Applied) {
        let CreateGroup { epoch, owner, config, metadata, retention_ms, empty_ms } = command;
        let group = Self {
            epoch,
            revision: 1,
            now,
            config,
            made_with: None,
            metadata,
            retention_ms,
            empty_ms,
            named_owner: owner,
            owner,
            sharing: None,
            roster: Roster::default(),
            listeners: 0,
            requests: Requests::default(),
            stats: Stats { active_since: Some(now), ..Stats::default() },
            created_at: now,
            empty_since: Some(now),
            ended: None,
            last_members: LastMembers::default(),
        };
        let events = vec![Event::OwnerChanged { owner }];
        (group, Applied { revision: 1, events, created: true, ..Applied::default() })
    }

    /// True when creating with `command` would make the same group.
    pub(super) fn is_made_by(&self, command: &CreateGroup) -> bool {
        *self.made_with.as_deref().unwrap_or(&self.config) == command.config && self.named_owner == command.owner
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
            Command::Leave(by) => self.acting(by, Method::Leave, |g, by, out| {
                let key = g.member(by)?;
                g.dismiss(key, LeaveReason::Left, out);
                Ok(())
            }),
            Command::Touch(node, session) => self.liveness(|g| g.roster.renew(node, session, g.now, Lease::touch)),
            Command::Attach(node, session, pod) => {
                self.liveness(|g| g.roster.renew(node, session, g.now, |lease, _| lease.attach(pod)))
            }
            Command::Detach(node, session, pod) => {
                self.liveness(|g| g.roster.renew(node, session, g.now, |lease, now| lease.detach(pod, now)))
            }
            Command::PodGone(pod) => {
                self.roster.pod_gone(pod, self.now);
                Ok(self.unchanged())
            }
            Command::Expire => Ok(self.expire()),
            Command::SetInterest(by, changes) => {
                self.acting(by, Method::SetInterest, |g, by, out| g.set_interest(by, &changes, out))
            }
            Command::UpdateMember(by, update) => {
                self.acting(by, Method::UpdateMember, |g, by, out| g.update_member(by, update, out))
            }
            Command::UpdateSwarm(by, update) => {
                self.acting(by, Method::UpdateSwarm, |g, by, out| g.update(by, update, out))
            }
            Command::End(by) => {
                if self.ended.is_some() && Some(by.node) == self.owner {
                    return Ok(self.unchanged());
                }
                self.acting(by, Method::End, |g, by, out| {
                    g.as_owner(by)?;
                    g.finish(EndReason::Requested, out);
                    Ok(())
                })
            }
            Command::Remove(by, node) => self.acting(by, Method::Remove, |g, by, out| {
                let key = g.roster.key(node).ok_or(Rejection::NoSuchMember(node))?;
                g.as_owner(by)?;
                g.dismiss(key, LeaveReason::Removed, out);
                Ok(())
            }),
            Command::ReportPeer(by, node) => self.liveness(|g| {
                g.roster.admit(&by, None)?;
                g.roster.key(node).ok_or(Rejection::NoSuchMember(node))?;
                g.stats.peer_reports += 1;
                Ok(())
            }),
            Command::Claim { by, channels, .. } => self.claim(&by, channels),
            Command::Acquire { by, channels, .. } => self.acquire(&by, channels),
            Command::SetMedia { by, audio, video } => {
                self.acting(by, Method::SetMedia, |g, by, out| g.set_media(by, audio, video, out))
            }
            Command::StartShare(by) => self.acting(by, Method::StartShare, Self::start_share),
            Command::StopShare(by) => self.acting(by, Method::StopShare, Self::stop_share),
            Command::Start(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::AddModerator(..)
            | Command::RemoveModerator(..)
            | Command::Mute(..)
            | Command::Unmute(..)
            | Command::Transfer(..) => Err(Rejection::WrongKind),
        }
    }

    /// Runs an action of a member or of the owner; checks in the order of the
    /// contract.
    fn acting(
        &mut self,
        by: By,
        method: Method,
        act: impl FnOnce(&mut Self, &By, &mut Applied) -> Result<(), Rejection>,
    ) -> Result<Applied, Rejection> {
        if let Some(revision) = self.requests.recall(&by, method, self.now)? {
            return Ok(Applied { revision, ..Applied::default() });
        }
        self.not_ended()?;
        self.roster.admit(&by, self.owner)?;
        let mut applied = Applied::default();
        act(self, &by, &mut applied)?;
        let applied = self.commit(applied);
        if let Some(request) = by.request {
            self.requests.remember(by.node, method, request, applied.revision, self.now);
        }
        Ok(applied)
    }

    /// Runs something that nobody sees.
    fn liveness(&mut self, act: impl FnOnce(&mut Self) -> Result<(), Rejection>) -> Result<Applied, Rejection> {
        self.not_ended()?;
        act(self)?;
        Ok(self.unchanged())
    }

    fn commit(&mut self, mut applied: Applied) -> Applied {
        if !applied.events.is_empty() {
            self.revision += 1;
        }
        applied.revision = self.revision;
        applied
    }

    fn unchanged(&self) -> Applied {
        Applied { revision: self.revision, ..Applied::default() }
    }

    fn not_ended(&self) -> Result<(), Rejection> {
        if self.ended.is_some() { Err(Rejection::Ended) } else { Ok(()) }
    }

    fn as_owner(&self, by: &By) -> Result<(), Rejection> {
        if Some(by.node) == self.owner { Ok(()) } else { Err(Rejection::NotOwner { node: by.node }) }
    }

    fn member(&self, by: &By) -> Result<Key, Rejection> {
        self.roster.key(by.node).ok_or(Rejection::NotAMember(by.node))
    }

    fn update(&mut self, by: &By, update: SwarmUpdate, out: &mut Applied) -> Result<(), Rejection> {
        self.as_owner(by)?;
        let SwarmUpdate {
            metadata,
            subscriber_bytes_per_second,
            keyframe_interval_ms,
            max_lag_ms,
            capacity,
            broadcaster_timeout_ms: _,
        } = update;
        let old = &self.config;
        let config = Config {
            max_participants: capacity.unwrap_or(old.max_participants),
            subscriber_bytes_per_second: subscriber_bytes_per_second.unwrap_or(old.subscriber_bytes_per_second),
            keyframe_interval_ms: keyframe_interval_ms.unwrap_or(old.keyframe_interval_ms),
            max_lag_ms: max_lag_ms.unwrap_or(old.max_lag_ms),
        };
        let metadata = metadata.unwrap_or_else(|| self.metadata.clone());
        if (&config, &metadata) == (old, &self.metadata) {
            return Ok(());
        }
        if config != *old {
            let made_with = std::mem::replace(&mut self.config, config.clone());
            self.made_with.get_or_insert_with(|| Box::new(made_with));
        }
        self.metadata = metadata.clone();
        out.events.push(Event::GroupUpdated { metadata, config: Box::new(config) });
        Ok(())
    }

    /// Ends the group and every session in it.
    fn finish(&mut self, reason: EndReason, out: &mut Applied) {
        for key in self.keys() {
            self.close(key, LeaveReason::Ended, out);
        }
        let roster = std::mem::take(&mut self.roster);
        self.listeners = 0;
        self.last_members = LastMembers::of(&roster);
        for (_, member) in roster.iter() {
            self.stats.left(LeaveReason::Ended, member.levels());
        }
        self.sharing = None;
        self.stats.set_active(false, self.now);
        self.ended = Some((self.now, reason));
        out.over = true;
        out.touched.all = true;
        out.retired = Some(Box::new(roster));
        out.events.push(Event::GroupEnded { reason });
    }

    fn expire(&mut self) -> Applied {
        let mut out = Applied::default();
        if let Some((at, _)) = self.ended {
            return Applied { removed: at + self.retention_ms <= self.now, ..self.unchanged() };
        }
        for (key, timer) in self.roster.due(self.now, usize::MAX) {
            match timer {
                Timer::Lease => self.dismiss(key, LeaveReason::Timeout, &mut out),
                // Its lease may have ended in the same breath.
                Timer::Interest if self.roster.get(key).is_some() => {
                    self.want(key, &mut out, Interests::expire);
                }
                Timer::Interest => {}
            }
        }
        if self.empty_since.is_some_and(|since| since + self.empty_ms <= self.now) {
            self.finish(EndReason::Empty, &mut out);
            out.removed = true;
        }
        self.commit(out)
    }

    /// When something falls due next, in milliseconds since the Unix epoch.
    pub fn next_expiry(&self) -> Option<u64> {
        if let Some((at, _)) = self.ended {
            return Some(at + self.retention_ms);
        }
        let empty = self.empty_since.map(|since| since + self.empty_ms);
        [self.roster.next_expiry(), empty].into_iter().flatten().min()
    }

    /// How many take part, without those who only listen.
    pub fn participant_count(&self) -> u32 {
        u32::try_from(self.roster.len()).unwrap_or(u32::MAX) - self.listeners
    }

    /// How many only listen.
    pub const fn listener_count(&self) -> u32 {
        self.listeners
    }

    /// Whom a member forwards to: all other participants; a listener to nobody, and nobody to a
    /// listener. `None` when it is no member. O(participants).
    pub fn targets(&self, node: NodeId) -> Option<TargetList> {
        let listens = self.roster.find(node)?.is_listener();
        let others = self.roster.iter().filter(|(_, member)| !listens && member.node != node && !member.is_listener());
        let targets = others
            .map(|(_, member)| Target {
                node: member.node,
                session: member.session,
                endpoint: member.endpoint.clone(),
                can_relay: false,
                interests: Channel::ALL.map(|channel| member.interests.level(Some(node), channel)),
            })
            .collect();
        Some(TargetList { topology: Topology::Mesh, placement: None, parent: None, backup: None, targets })
    }

    /// Who was in when it ended.
    pub const fn last_members(&self) -> &LastMembers {
        &self.last_members
    }

    /// A member as others see it.
    pub fn view(&self, key: Key) -> Option<MemberView> {
        self.roster.get(key).map(|member| self.view_of(member))
    }

    fn view_of(&self, member: &Member) -> MemberView {
        MemberView { sharing: self.sharing == Some(member.node), ..member.view() }
    }

    /// The incarnation.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of the last visible change.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// How it behaves.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Opaque to us.
    pub const fn metadata(&self) -> &[u8] {
        &self.metadata
    }

    /// Who alone may end it and remove others.
    pub const fn owner(&self) -> Option<NodeId> {
        self.owner
    }

    /// Who shares its screen.
    pub const fn sharing(&self) -> Option<NodeId> {
        self.sharing
    }

    /// All sessions.
    pub const fn roster(&self) -> &Roster {
        &self.roster
    }

    /// What the group counts.
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The time of the last command, in milliseconds since the Unix epoch.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// When it was made, in milliseconds since the Unix epoch.
    pub const fn created_at(&self) -> u64 {
        self.created_at
    }

    /// When and why it ended.
    pub const fn ended(&self) -> Option<(u64, EndReason)> {
        self.ended
    }

    /// Panics when an invariant of the module does not hold. O(n).
    pub fn check(&self) {
        self.roster.check();
        assert!(self.sharing.is_none_or(|node| self.roster.key(node).is_some()), "a member shares its screen");
        let listeners = self.roster.iter().filter(|(_, member)| member.is_listener()).count();
        assert_eq!(self.listeners as usize, listeners);
        assert!(self.listeners <= MAX_LISTENERS);
        let empty = self.participant_count() == 0;
        assert!(empty || self.owner.is_some(), "a group with participants has an owner");
        assert_eq!(self.empty_since.is_some() || self.ended.is_some(), empty);
        let left: u64 = self.stats.leaves.iter().sum();
        assert_eq!(self.stats.joins - left, self.roster.len() as u64, "each join has at most one leave");
        let mut interests = [[0; 5]; 5];
        for (_, member) in self.roster.iter() {
            assert!(matches!(member.role, Role::Participant(_) | Role::Listener));
            member
                .levels()
                .into_iter()
                .enumerate()
                .for_each(|(channel, level)| interests[channel][level as usize] += 1);
        }
        assert_eq!(interests, self.stats.interests, "members by interest add up");
    }
}
