//! Authority: who may publish, who may moderate, who must be silent.

use super::{Change, Livestream, MAX_MODERATORS, MAX_MUTES};
use crate::command::{By, Join};
use crate::error::Rejection;
use crate::event::{Applied, Event, Grant};
use crate::id::{NodeId, SessionId};
use crate::interest::{Channel, ChannelSet};
use crate::member::{Role, ViewerMode};

impl Livestream {
    /// Grants the broadcaster a new term on `channels`, which supersedes the old
    /// one on these alone. CHAT is open to all and has none. Makes its session if
    /// it has none.
    pub(super) fn claim(
        &mut self,
        by: &By,
        channels: ChannelSet,
        session: SessionId,
        ttl_ms: u32,
    ) -> Result<Applied, Rejection> {
        self.not_ended()?;
        self.admit(by)?;
        self.as_broadcaster(by)?;
        let mut change = Change::default();
        if self.broadcaster_session().is_none() {
            let join = Join {
                node: by.node,
                session,
                request: None,
                ttl_ms,
                mode: None,
                can_relay: None,
                endpoint: None,
                metadata: None,
                interests: Vec::new(),
                listens: None,
            };
            self.join_anew(join, &mut change);
        }
        let channels: ChannelSet = channels.iter().filter(|channel| *channel != Channel::Chat).collect();
        for channel in channels.iter() {
            self.terms[channel.index()] = self.revision + 1;
            change.applied.grants.push(self.grant(channel));
        }
        if !channels.is_empty() {
            change.event(Event::AuthorityGranted { node: by.node, channels });
        }
        let mut applied = self.commit(change);
        applied.session = self.broadcaster_session();
        Ok(applied)
    }

    pub(super) fn set_moderator(
        &mut self,
        by: &By,
        node: NodeId,
        moderator: bool,
        change: &mut Change,
    ) -> Result<(), Rejection> {
        if moderator || !self.moderators.contains(&node) {
            self.viewer(node)?;
        }
        self.as_broadcaster(by)?;
        if moderator && !self.moderators.contains(&node) && self.moderators.len() >= MAX_MODERATORS as usize {
            return Err(Rejection::Quota { what: "moderators", max: MAX_MODERATORS });
        }
        let changed = if moderator { self.moderators.insert(node) } else { self.moderators.remove(&node) };
        if changed {
            change.event(Event::ModeratorChanged { node, moderator });
        }
        Ok(())
    }

    /// Mutes outlive sessions: one can be lifted while the node is away.
    pub(super) fn set_mute(
        &mut self,
        by: &By,
        node: NodeId,
        muted: bool,
        change: &mut Change,
    ) -> Result<(), Rejection> {
        if muted || !self.muted.contains(&node) {
            self.viewer(node)?;
        }
        self.as_moderator(by)?;
        if muted && !self.muted.contains(&node) && self.muted.len() >= MAX_MUTES as usize {
            return Err(Rejection::Quota { what: "mutes", max: MAX_MUTES });
        }
        let changed = if muted { self.muted.insert(node) } else { self.muted.remove(&node) };
        if changed {
            change.event(Event::MuteChanged { node, muted });
        }
        Ok(())
    }

    /// Hands authority to an active viewer. Both keep their sessions and swap
    /// roles; all terms of the old broadcaster end.
    pub(super) fn transfer(&mut self, by: &By, to: NodeId, change: &mut Change) -> Result<(), Rejection> {
        let to_key = self.viewer(to)?;
        self.as_broadcaster(by)?;
        let Role::Viewer { mode: ViewerMode::Active, can_relay } = self.roster.at(to_key).role else {
            return Err(Rejection::NotActiveViewer(to));
        };
        let from = self.broadcaster;
        self.terms = [0; 5];
        let revoked = Channel::ALL.map(|channel| Grant { term: 0, session: None, ..self.grant(channel) });
        change.applied.grants.extend(revoked);

        self.unseat(to_key, change);
        self.roster.update(to_key, |member| member.role = Role::Broadcaster { can_relay });
        if self.moderators.remove(&to) {
            change.event(Event::ModeratorChanged { node: to, moderator: false });
        }
        if self.muted.remove(&to) {
            change.event(Event::MuteChanged { node: to, muted: false });
        }
        self.broadcaster = to;
        self.absent_since = None;

        let old = self.roster.key(from);
        if let Some(key) = old {
            let Role::Broadcaster { can_relay } = self.roster.at(key).role else {
                unreachable!("the broadcaster's session has the broadcaster's role")
            };
            self.roster.update(key, |member| member.role = Role::Viewer { mode: ViewerMode::Active, can_relay });
            self.seat(key, can_relay, change);
        }
        let viewer = old.map(|key| (key, Box::new(self.view_of(key, self.roster.at(key)))));
        change.event(Event::Transferred { from, to, to_key, viewer });
        // The root is another node now: whoever hung on it hangs on that one.
        change.applied.touched.all = true;
        self.root_moved(change);
        // Where the old broadcaster stands is told with the transfer itself.
        change.moved.retain(|(key, _)| Some(*key) != old);
        Ok(())
    }
}
