//! Authority: who may publish, who may moderate, who must be silent.

use super::{Livestream, MAX_MODERATORS, MAX_MUTES};
use crate::base::Transaction;
use crate::channel::{Channel, ChannelSet, PerChannel};
use crate::command::{By, Join};
use crate::error::Rejection;
use crate::event::{Grant, LivestreamEvent, SharedEvent};
use crate::id::{NodeId, PodId};
use crate::key::BroadcasterKey;
use crate::member::View;
use crate::role::{Role, ViewerMode};
use crate::rules::RuleSet;
use crate::term::Term;
use crate::topology::relay_tree::Parent;

impl Livestream {
    /// Grants the broadcaster a new term on `channels`, at home on a pod, which supersedes the old
    /// one on these alone. CHAT is open to all and has none. Begins the session of
    /// `join` if the broadcaster has none.
    pub(super) fn grant_anew(&mut self, tx: &mut Transaction<'_>, channels: ChannelSet, home: PodId, join: Join) {
        if self.broadcaster_session(tx.base).is_none() {
            self.begin_session(tx, join);
        }
        let channels: ChannelSet = channels.iter().filter(|channel| *channel != Channel::Chat).collect();
        for channel in channels.iter() {
            self.terms[channel] = Term { number: tx.base.revision + 1, home };
            tx.applied.grants.push(self.grant(tx.base, channel));
        }
        if !channels.is_empty() {
            tx.event(SharedEvent::AuthorityGranted { node: self.broadcaster, channels });
        }
    }

    pub(super) fn set_moderator(
        &mut self,
        tx: &mut Transaction<'_>,
        by: &By,
        node: NodeId,
        moderator: bool,
    ) -> Result<(), Rejection> {
        if moderator || !self.moderators.contains(&node) {
            self.viewer(tx.base, node)?;
        }
        self.leads(by)?;
        if moderator && !self.moderators.contains(&node) && self.moderators.len() >= MAX_MODERATORS as usize {
            return Err(Rejection::Quota { what: "moderators", max: MAX_MODERATORS });
        }
        let changed = if moderator { self.moderators.insert(node) } else { self.moderators.remove(&node) };
        if changed {
            tx.event(LivestreamEvent::ModeratorChanged { node, moderator });
        }
        Ok(())
    }

    /// Mutes outlive sessions: one can be lifted while the node is away.
    pub(super) fn set_mute(
        &mut self,
        tx: &mut Transaction<'_>,
        by: &By,
        node: NodeId,
        muted: bool,
    ) -> Result<(), Rejection> {
        if muted || !self.muted.contains(&node) {
            self.viewer(tx.base, node)?;
        }
        self.as_moderator(by)?;
        if muted && !self.muted.contains(&node) && self.muted.len() >= MAX_MUTES as usize {
            return Err(Rejection::Quota { what: "mutes", max: MAX_MUTES });
        }
        let changed = if muted { self.muted.insert(node) } else { self.muted.remove(&node) };
        if changed {
            tx.event(LivestreamEvent::MuteChanged { node, muted });
        }
        Ok(())
    }

    /// Hands authority to an active viewer. Both keep their sessions and swap
    /// roles; all terms of the old broadcaster end, and with them what its key signs. A
    /// livestream is signed for life or not at all.
    pub(super) fn transfer(
        &mut self,
        tx: &mut Transaction<'_>,
        by: &By,
        to: NodeId,
        key: Option<BroadcasterKey>,
    ) -> Result<(), Rejection> {
        let to_key = self.viewer(tx.base, to)?;
        self.leads(by)?;
        let Role::Viewer { mode: ViewerMode::Active, can_relay } = tx.base.roster.at(to_key).role else {
            return Err(Rejection::NotActiveViewer(to));
        };
        match (&self.keys, key) {
            (Some(_), None) => return Err(Rejection::KeyRequired),
            (None, Some(_)) => return Err(Rejection::KeyNotExpected),
            (Some(_), Some(_)) | (None, None) => {}
        }
        let from = self.broadcaster;
        self.terms = PerChannel::default();
        let revoked = Channel::ALL.map(|channel| Grant { session: None, ..self.grant(tx.base, channel) });
        tx.applied.grants.extend(revoked);
        tx.applied.former_sources.push(from);

        self.leave_tree(tx, to_key);
        tx.base.roster.update(to_key, |member| member.role = Role::Broadcaster { can_relay });
        if self.moderators.remove(&to) {
            tx.event(LivestreamEvent::ModeratorChanged { node: to, moderator: false });
        }
        if self.muted.remove(&to) {
            tx.event(LivestreamEvent::MuteChanged { node: to, muted: false });
        }
        self.broadcaster = to;
        if let (Some(keys), Some(key)) = (&mut self.keys, key) {
            keys.current = key;
        }
        self.absent_since = None;

        let old = tx.base.roster.key(from);
        if let Some(key) = old {
            tx.base.roster.update(key, |member| {
                // Only a broadcaster can hand over.
                if let Role::Broadcaster { can_relay } = member.role {
                    member.role = Role::Viewer { mode: ViewerMode::Active, can_relay };
                }
            });
            self.enter_tree(tx, key);
        }
        let viewer = old.and_then(|key| Some((key, Box::new(self.view(tx.base, key, View::Full)?))));
        tx.applied.interests.extend(viewer.iter().map(|(_, viewer)| (viewer.node, viewer.interests.clone())));
        tx.event(LivestreamEvent::Transferred { from, to, to_key, viewer, key: key.map(Box::new) });
        tx.applied.summary_changed = true;
        // The root is another node now: whoever received from it, or turns to it, receives from that one. So the lists
        // of both are others, and `from` has none any more if it has no session.
        tx.applied.touched.root = true;
        tx.applied.touched.nodes.extend([from, to]);
        self.touch_served(tx, Parent::Root);
        self.root_moved(tx);
        // Where the old broadcaster stands is told with the transfer itself.
        tx.moved.retain(|(key, _)| Some(*key) != old);
        Ok(())
    }
}
