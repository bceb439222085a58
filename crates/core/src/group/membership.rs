//! Sessions: join, leave, interests, and who inherits the group.

use super::{Group, MAX_LISTENERS};
use crate::command::{By, Join, MemberUpdate};
use crate::error::Rejection;
use crate::event::{Applied, Event, Gate, Grant, LeaveReason};
use crate::id::NodeId;
use crate::interest::{Channel, InterestChange, Interests, MAX_OVERRIDES};
use crate::member::{Media, Member, Role};
use crate::roster::Key;

impl Group {
    pub(super) fn join(&mut self, join: Join) -> Result<Applied, Rejection> {
        let present = self.roster.key(join.node);
        if let Some(repeat) = self.roster.repeated_join(&join)? {
            return Ok(repeat);
        }
        self.not_ended()?;
        self.roster.has_room_for_interests(&join)?;
        let listened = present.is_some_and(|key| self.roster.at(key).is_listener());
        let listens = join.listens.unwrap_or(listened);
        if present.is_none() || listens != listened {
            let (taken, max) = match listens {
                true => (self.listeners, MAX_LISTENERS),
                false => (self.participant_count(), self.config.max_participants),
            };
            if taken >= max {
                return Err(Rejection::Full { max });
            }
        }
        let mut out = Applied { session: Some(join.session), ..Applied::default() };
        out.touched.all = true;
        let (now, revision) = (self.now, self.revision + 1);
        let everything = Role::Participant(Media { audio: true, video: true });
        let key = match present {
            Some(key) => {
                let member = self.roster.at(key);
                let (node, session, levels) = (member.node, member.session, member.levels());
                self.close(key, LeaveReason::Replaced, &mut out);
                self.stats.left(LeaveReason::Replaced, levels);
                out.events.push(Event::Left { key, node, session, reason: LeaveReason::Replaced });
                if listens && self.sharing == Some(node) {
                    self.sharing = None;
                    out.events.push(Event::ShareStopped { node });
                }
                self.roster.update(key, |member| {
                    match (listened, listens) {
                        (false, true) => member.role = Role::Listener,
                        (true, false) => member.role = everything,
                        _ => {}
                    }
                    member.renew(join, now, revision);
                });
                key
            }
            None => {
                let role = if listens { Role::Listener } else { everything };
                self.roster.insert(Member::new(join, role, Interests::participant(), now, revision))
            }
        };
        self.listeners = self.listeners + u32::from(listens) - u32::from(listened);
        let member = self.roster.at(key);
        let node = member.node;
        self.stats.joined(node, member.levels());
        self.stats.peak = self.stats.peak.max(self.roster.len() as u64);
        let member = Box::new(self.view_of(member));
        out.events.push(Event::Joined { key, member });
        self.note_emptiness();
        if self.owner.is_none() && !listens {
            self.set_owner(Some(node), &mut out);
        }
        Ok(self.commit(out))
    }

    /// A group is empty when nobody is in but listeners: a recorder keeps no call alive.
    fn note_emptiness(&mut self) {
        if self.participant_count() == 0 {
            self.empty_since.get_or_insert(self.now);
        } else {
            self.empty_since = None;
        }
    }

    pub(super) fn update_member(&mut self, by: &By, update: MemberUpdate, out: &mut Applied) -> Result<(), Rejection> {
        let key = self.member(by)?;
        // Nobody relays in a mesh.
        let MemberUpdate { metadata, endpoint, can_relay: _ } = update;
        let member = self.roster.at(key);
        let metadata = metadata.filter(|metadata| *metadata != member.metadata);
        let endpoint = endpoint.filter(|endpoint| *endpoint != member.endpoint);
        if metadata.is_none() && endpoint.is_none() {
            return Ok(());
        }
        // It is a target of all others.
        out.touched.all |= endpoint.is_some();
        self.roster.update(key, |member| {
            member.metadata = metadata.unwrap_or_else(|| std::mem::take(&mut member.metadata));
            member.endpoint = endpoint.unwrap_or_else(|| std::mem::take(&mut member.endpoint));
        });
        let member = Box::new(self.view_of(self.roster.at(key)));
        out.events.push(Event::MemberUpdated { key, member });
        Ok(())
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
        self.listeners -= u32::from(member.is_listener());
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
        self.note_emptiness();
        if self.owner == Some(node) {
            let heirs = self.roster.iter().filter(|(_, member)| !member.is_listener());
            let heir = heirs.min_by_key(|(_, member)| member.place).map(|(_, member)| member.node);
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
