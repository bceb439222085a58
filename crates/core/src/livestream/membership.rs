//! Sessions: join, leave, leases, interests.

use super::{Change, Livestream};
use crate::command::{By, Join, MemberUpdate};
use crate::error::Rejection;
use crate::event::{Applied, EndReason, Event, LeaveReason};
use crate::id::{NodeId, PodId, SessionId};
use crate::interest::{InterestChange, Interests, MAX_OVERRIDES};
use crate::member::{Lease, Member, Role, ViewerMode};
use crate::roster::{Key, Timer};
use crate::topology::relay_tree::Parent;

/// The most that one Expire carries out, so that it never holds its shard for
/// long; the rest is due at once again.
const EXPIRIES_AT_ONCE: usize = 1_024;

impl Livestream {
    pub(super) fn join(&mut self, join: Join) -> Result<Applied, Rejection> {
        let present = self.roster.key(join.node);
        if let Some(repeat) = self.roster.repeated_join(&join)? {
            return Ok(repeat);
        }
        self.not_ended()?;
        let broadcasts = join.node == self.broadcaster;
        if broadcasts && join.mode.is_some() {
            return Err(Rejection::BroadcasterCannotView);
        }
        self.roster.has_room_for_interests(&join)?;
        if present.is_none() && !broadcasts && self.viewer_count() >= self.config.max_viewers as usize {
            return Err(Rejection::Full { max: self.config.max_viewers });
        }
        let mut change = Change::default();
        let session = join.session;
        match present {
            Some(key) => self.join_again(key, join, &mut change),
            None => self.join_anew(join, &mut change),
        }
        let mut applied = self.commit(change);
        applied.session = Some(session);
        Ok(applied)
    }

    pub(super) fn join_anew(&mut self, join: Join, change: &mut Change) {
        let mode = join.mode.unwrap_or_default();
        let can_relay = join.can_relay.unwrap_or(true) && mode == ViewerMode::Active;
        let broadcasts = join.node == self.broadcaster;
        let role = if broadcasts { Role::Broadcaster { can_relay } } else { Role::Viewer { mode, can_relay } };
        let member = Member::new(join, role, defaults(mode), self.now, self.revision + 1);
        self.stats.joined(member.node, member.levels());
        let (node, session) = (member.node, member.session);
        let key = self.roster.insert(member);
        if broadcasts {
            self.absent_since = None;
            change.applied.touched.root = true;
            self.touch_served(Parent::Root, change);
            change.event(Event::BroadcasterJoined { node, session });
        } else {
            self.seat(key, can_relay, change);
            self.tell_joined(key, change);
        }
        self.stats.peak = self.stats.peak.max(self.roster.len() as u64);
    }

    /// Replaces the session of a member; everything else stays unless the request
    /// says otherwise.
    fn join_again(&mut self, key: Key, join: Join, change: &mut Change) {
        let now = self.now;
        let revision = self.revision + 1;
        let (node, old, role, before) = {
            let member = self.roster.at(key);
            (member.node, member.session, member.role, member.levels())
        };
        self.close(key, LeaveReason::Replaced, change);
        let role_now = match role {
            Role::Viewer { mode, can_relay } => {
                let now = join.mode.unwrap_or(mode);
                // A node that was a lurker never had a say in relaying.
                let default = if mode == now { can_relay } else { true };
                Role::Viewer { mode: now, can_relay: join.can_relay.unwrap_or(default) && now == ViewerMode::Active }
            }
            Role::Broadcaster { can_relay } => Role::Broadcaster { can_relay: join.can_relay.unwrap_or(can_relay) },
            Role::Participant(_) | Role::Listener => role,
        };
        let session = join.session;
        self.roster.update(key, |member| {
            if let (Role::Viewer { mode: was, .. }, Role::Viewer { mode: is, .. }) = (role, role_now)
                && was != is
            {
                member.interests = defaults(is);
            }
            member.role = role_now;
            member.renew(join, now, revision);
        });
        let after = self.roster.at(key).levels();
        self.stats.left(LeaveReason::Replaced, before);
        self.stats.joined(node, after);
        match (role, role_now) {
            (Role::Viewer { can_relay: was, mode: before }, Role::Viewer { can_relay: is, mode: after }) => {
                change.event(Event::Left { key, node, session: old, reason: LeaveReason::Replaced });
                if was != is || before != after {
                    self.unseat(key, change);
                    self.seat(key, is, change);
                }
                self.touch_around(key, change);
                self.touch_served(Parent::Relay(key), change);
                self.tell_joined(key, change);
            }
            _ => {
                self.touch_served(Parent::Root, change);
                change.event(Event::BroadcasterLost { node, session: old, reason: LeaveReason::Replaced });
                change.event(Event::BroadcasterJoined { node, session });
            }
        }
    }

    fn tell_joined(&self, key: Key, change: &mut Change) {
        let member = Box::new(self.view_of(key, self.roster.at(key)));
        change.event(Event::Joined { key, member });
    }

    /// What ends with a session, whatever becomes of the member.
    fn close(&mut self, key: Key, reason: LeaveReason, change: &mut Change) {
        let member = self.roster.at(key);
        change.applied.ended.push((member.session, reason));
        if member.node == self.broadcaster {
            self.terms = [0; 5];
            change.applied.grants.extend(crate::interest::Channel::ALL.map(|channel| self.grant(channel)));
        }
    }

    /// Ends a session and takes the member out.
    pub(super) fn dismiss(&mut self, key: Key, reason: LeaveReason, change: &mut Change) {
        self.close(key, reason, change);
        if self.roster.at(key).is_viewer() {
            self.unseat(key, change);
        }
        let member = self.roster.remove(key);
        self.stats.left(reason, member.levels());
        let (node, session) = (member.node, member.session);
        change.applied.touched.nodes.push(node);
        if node == self.broadcaster {
            self.absent_since = Some(self.now);
            change.applied.touched.root = true;
            self.touch_served(Parent::Root, change);
            change.event(Event::BroadcasterLost { node, session, reason });
        } else {
            change.event(Event::Left { key, node, session, reason });
        }
    }

    pub(super) fn leave(&mut self, by: &By, change: &mut Change) -> Result<(), Rejection> {
        let key = self.roster.key(by.node).ok_or(Rejection::NotAMember(by.node))?;
        self.dismiss(key, LeaveReason::Left, change);
        Ok(())
    }

    pub(super) fn remove(&mut self, by: &By, node: NodeId, change: &mut Change) -> Result<(), Rejection> {
        let key = self.viewer(node)?;
        self.as_moderator(by)?;
        self.dismiss(key, LeaveReason::Removed, change);
        Ok(())
    }

    /// The slot of a viewer that an action is about.
    pub(super) fn viewer(&self, node: NodeId) -> Result<Key, Rejection> {
        if node == self.broadcaster {
            return Err(Rejection::TargetIsBroadcaster);
        }
        self.roster.key(node).ok_or(Rejection::NoSuchMember(node))
    }

    /// Changes a session's lease; nothing visible.
    pub(super) fn liveness(
        &mut self,
        node: NodeId,
        session: SessionId,
        change: impl FnOnce(&mut Lease, u64),
    ) -> Result<Applied, Rejection> {
        self.not_ended()?;
        self.roster.renew(node, session, self.now, change)?;
        Ok(self.unchanged())
    }

    pub(super) fn pod_gone(&mut self, pod: PodId) -> Applied {
        self.roster.pod_gone(pod, self.now);
        self.unchanged()
    }

    /// Carries out what is due: leases, interests, the broadcaster's absence, and
    /// at the end the livestream itself.
    pub(super) fn expire(&mut self) -> Applied {
        let mut change = Change::default();
        if let Some((at, _)) = self.ended {
            change.applied.removed = at + self.retention_ms <= self.now;
            change.applied.revision = self.revision;
            return change.applied;
        }
        for (key, timer) in self.roster.due(self.now, EXPIRIES_AT_ONCE) {
            match timer {
                Timer::Lease => self.dismiss(key, LeaveReason::Timeout, &mut change),
                // Its lease may have ended in the same breath.
                Timer::Interest if self.roster.get(key).is_some() => {
                    self.want(key, &mut change, |interests, now| interests.expire(now));
                }
                Timer::Interest => {}
            }
        }
        let timeout = self.config.broadcaster_timeout_ms;
        if timeout > 0 && self.absent_since.is_some_and(|since| since + timeout <= self.now) {
            self.finish(EndReason::BroadcasterTimeout, &mut change);
        }
        self.commit(change)
    }

    pub(super) fn set_interest(
        &mut self,
        by: &By,
        changes: &[InterestChange],
        change: &mut Change,
    ) -> Result<(), Rejection> {
        let key = self.roster.key(by.node).ok_or(Rejection::NotAMember(by.node))?;
        if !self.roster.at(key).interests.has_room_for(changes) {
            return Err(Rejection::Quota { what: "interests of a member", max: MAX_OVERRIDES });
        }
        self.want(key, change, |interests, now| interests.set_all(changes, now));
        Ok(())
    }

    fn want(&mut self, key: Key, change: &mut Change, set: impl FnOnce(&mut Interests, u64) -> bool) {
        let now = self.now;
        let before = self.roster.at(key).levels();
        if !self.roster.update(key, |member| set(&mut member.interests, now)) {
            return;
        }
        let member = self.roster.at(key);
        let (node, interests) = (member.node, member.interests.clone());
        self.stats.wants_instead(before, member.levels());
        if member.is_viewer() {
            self.touch_around(key, change);
        }
        change.event(Event::InterestChanged { key, node, interests });
    }

    pub(super) fn update_member(
        &mut self,
        by: &By,
        update: MemberUpdate,
        change: &mut Change,
    ) -> Result<(), Rejection> {
        let key = self.roster.key(by.node).ok_or(Rejection::NotAMember(by.node))?;
        let Role::Viewer { mode, can_relay: relays } = self.roster.at(key).role else {
            // What it says of itself as a viewer it says once it is one.
            return Err(Rejection::BroadcasterCannotView);
        };
        let MemberUpdate { metadata, endpoint, can_relay } = update;
        if can_relay == Some(true) && mode == ViewerMode::Lurker {
            return Err(Rejection::LurkerCannotRelay);
        }
        let can_relay = can_relay.unwrap_or(relays);
        let member = self.roster.at(key);
        let metadata = metadata.filter(|metadata| *metadata != member.metadata);
        let endpoint = endpoint.filter(|endpoint| *endpoint != member.endpoint);
        if metadata.is_none() && endpoint.is_none() && can_relay == relays {
            return Ok(());
        }
        let moved = endpoint.is_some();
        self.roster.update(key, |member| {
            member.role = Role::Viewer { mode, can_relay };
            member.metadata = metadata.unwrap_or_else(|| std::mem::take(&mut member.metadata));
            member.endpoint = endpoint.unwrap_or_else(|| std::mem::take(&mut member.endpoint));
        });
        if can_relay != relays {
            self.unseat(key, change);
            self.seat(key, can_relay, change);
            // Where it stands now is told with the member.
            change.moved.retain(|(moved, _)| *moved != key);
        }
        if moved {
            self.touch_around(key, change);
            self.touch_served(Parent::Relay(key), change);
        }
        let member = Box::new(self.view_of(key, self.roster.at(key)));
        change.event(Event::MemberUpdated { key, member });
        Ok(())
    }

    pub(super) fn report_peer(&mut self, by: &By, node: NodeId) -> Result<Applied, Rejection> {
        self.not_ended()?;
        self.admit(by)?;
        if node != self.broadcaster && self.roster.key(node).is_none() {
            return Err(Rejection::NoSuchMember(node));
        }
        self.stats.peer_reports += 1;
        Ok(self.unchanged())
    }
}

const fn defaults(mode: ViewerMode) -> Interests {
    match mode {
        ViewerMode::Active => Interests::active_viewer(),
        ViewerMode::Lurker => Interests::lurker(),
    }
}
