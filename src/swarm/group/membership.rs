//! Sessions: join, leave, interests, and who inherits the group.

use super::Group;
use crate::swarm::command::{By, Join};
use crate::swarm::error::Rejection;
use crate::swarm::event::{Applied, Event, Gate, Grant, LeaveReason};
use crate::swarm::id::NodeId;
use crate::swarm::interest::{Channel, InterestChange, Interests, MAX_OVERRIDES};
use crate::swarm::member::{Media, Member, Role};
use crate::swarm::roster::Key;

impl Group {
    pub(super) fn join(&mut self, join: Join) -> Result<Applied, Rejection> {
        let present = self.roster.key(join.node);
        if let Some(repeat) = self.roster.repeated_join(&join)? {
            return Ok(repeat);
        }
        self.not_ended()?;
        self.roster.has_room_for_interests(&join)?;
        if present.is_none() && self.roster.len() >= self.config.max_participants as usize {
            return Err(Rejection::Full { max: self.config.max_participants });
        }
        let mut out = Applied { session: Some(join.session), ..Applied::default() };
        out.touched.all = true;
        let (now, revision) = (self.now, self.revision + 1);
        let key = match present {
            Some(key) => {
                let member = self.roster.at(key);
                let (node, session, levels) = (member.node, member.session, member.levels());
                self.close(key, LeaveReason::Replaced, &mut out);
                self.stats.left(LeaveReason::Replaced, levels);
                out.events.push(Event::Left { key, node, session, reason: LeaveReason::Replaced });
                self.roster.update(key, |member| member.renew(join, now, revision));
                key
            }
            None => {
                let role = Role::Participant(Media { audio: true, video: true });
                let key = self.roster.insert(Member::new(join, role, Interests::participant(), now, revision));
                self.empty_since = None;
                key
            }
        };
        let member = self.roster.at(key);
        let node = member.node;
        self.stats.joined(node, member.levels());
        self.stats.peak = self.stats.peak.max(self.roster.len() as u64);
        let member = Box::new(self.view_of(member));
        out.events.push(Event::Joined { key, member });
        if self.owner.is_none() {
            self.set_owner(Some(node), &mut out);
        }
        Ok(self.commit(out))
    }

    pub(super) fn set_owner(&mut self, owner: Option<NodeId>, out: &mut Applied) {
        if self.owner != owner {
            self.owner = owner;
            out.events.push(Event::OwnerChanged { owner });
        }
    }

    /// What ends with a session, whatever becomes of the member: its terms.
    pub(super) fn close(&mut self, key: Key, reason: LeaveReason, out: &mut Applied) {
        let member = self.roster.at(key);
        out.ended.push((member.session, reason));
        let (source, terms) = (member.node, member.terms.is_some());
        if terms {
            self.roster.update(key, |member| member.terms = None);
            let none = |channel| Grant { source, channel, term: 0, session: None, gate: Gate::Off };
            out.grants.extend(Channel::ALL.map(none));
        }
    }

    /// Ends a session and takes the member out; its screen share and what others
    /// want of it go with it, and ownership passes on.
    pub(super) fn dismiss(&mut self, key: Key, reason: LeaveReason, out: &mut Applied) {
        self.close(key, reason, out);
        let member = self.roster.remove(key);
        let (node, session) = (member.node, member.session);
        self.stats.left(reason, member.levels());
        out.touched.all = true;
        out.touched.nodes.push(node);
        out.events.push(Event::Left { key, node, session, reason });
        if self.sharing == Some(node) {
            self.sharing = None;
            out.events.push(Event::ShareStopped { node });
        }
        for key in self.keys() {
            if self.roster.at(key).interests.overrides().iter().any(|o| o.source == Some(node)) {
                self.roster.update(key, |member| member.interests.forget(node));
                self.tell_interest(key, out);
            }
        }
        if self.roster.is_empty() {
            self.empty_since = Some(self.now);
        }
        if self.owner == Some(node) {
            let heir = self.roster.iter().min_by_key(|(_, member)| member.place).map(|(_, member)| member.node);
            self.set_owner(heir.or(self.named_owner), out);
        }
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.roster.iter().map(|(key, _)| key).collect()
    }

    pub(super) fn tell_interest(&self, key: Key, out: &mut Applied) {
        let member = self.roster.at(key);
        out.events.push(Event::InterestChanged { key, node: member.node, interests: member.interests.clone() });
        out.touched.all = true;
    }

    pub(super) fn set_interest(
        &mut self,
        by: &By,
        changes: &[InterestChange],
        out: &mut Applied,
    ) -> Result<(), Rejection> {
        let key = self.member(by)?;
        if !self.roster.at(key).interests.has_room_for(changes) {
            return Err(Rejection::Quota { what: "interests of a member", max: MAX_OVERRIDES });
        }
        self.want(key, out, |interests, now| interests.set_all(changes, now));
        Ok(())
    }

    pub(super) fn want(&mut self, key: Key, out: &mut Applied, set: impl FnOnce(&mut Interests, u64) -> bool) {
        let (now, before) = (self.now, self.roster.at(key).levels());
        if self.roster.update(key, |member| set(&mut member.interests, now)) {
            self.stats.wants_instead(before, self.roster.at(key).levels());
            self.tell_interest(key, out);
        }
    }
}
