//! Sessions of viewers and of the broadcaster.

use super::Livestream;
use crate::base::Transaction;
use crate::command::Join;
use crate::event::{LivestreamEvent, SharedEvent};
use crate::id::MemberKey;
use crate::member::View;
use crate::role::{Role, ViewerMode};
use crate::rules::RuleSet;
use crate::state::LeaveReason;
use crate::topology::relay_tree::Parent;

impl Livestream {
    /// Begins a session, the first or another one of its node.
    pub(super) fn begin_session(&mut self, tx: &mut Transaction<'_>, join: Join) {
        match tx.base.roster.key(join.node) {
            Some(key) => self.join_again(tx, key, join),
            None => self.join_anew(tx, join),
        }
    }

    fn join_anew(&mut self, tx: &mut Transaction<'_>, join: Join) {
        let (node, session, mode) = (join.node, join.session, join.mode.unwrap_or_default());
        let can_relay = join.can_relay.unwrap_or(true) && mode == ViewerMode::Active;
        if node == self.broadcaster {
            tx.insert(join, Role::Broadcaster { can_relay });
            self.absent_since = None;
            tx.applied.touched.root = true;
            self.touch_served(tx, Parent::Root);
            tx.event(LivestreamEvent::BroadcasterJoined { node, session });
        } else {
            let key = tx.insert(join, Role::Viewer { mode, can_relay });
            self.enter_tree(tx, key);
            self.tell_joined(tx, key);
        }
    }

    /// Replaces the session of a member; everything else stays unless the request
    /// says otherwise.
    fn join_again(&mut self, tx: &mut Transaction<'_>, key: MemberKey, join: Join) {
        let reason = LeaveReason::Replaced;
        let member = tx.base.roster.at(key);
        let (node, old, session, before) = (member.node, member.session, join.session, member.role);
        self.end_session(tx, key, reason);
        let role = role_again(before, &join);
        tx.rejoin(key, join, role);
        if node == self.broadcaster {
            self.touch_served(tx, Parent::Root);
            tx.event(LivestreamEvent::BroadcasterLost { node, session: old, reason });
            tx.event(LivestreamEvent::BroadcasterJoined { node, session });
        } else {
            tx.event(SharedEvent::Left { key, node, session: old, reason });
            if role != before {
                self.leave_tree(tx, key);
                self.enter_tree(tx, key);
            }
            self.touch_around(tx, key);
            self.touch_served(tx, Parent::Relay(key));
            self.tell_joined(tx, key);
        }
    }

    fn tell_joined(&self, tx: &mut Transaction<'_>, key: MemberKey) {
        if let Some(member) = self.view(tx.base, key, View::Full) {
            tx.tell_joined(key, member);
        }
    }

    /// What ends with a session, whatever becomes of the member.
    pub(super) fn end_session(&mut self, tx: &mut Transaction<'_>, key: MemberKey, reason: LeaveReason) {
        tx.end_session(key, reason);
        if tx.base.roster.at(key).node == self.broadcaster {
            self.revoke(tx);
        }
    }
}

/// The role of a member that joins again.
fn role_again(role: Role, join: &Join) -> Role {
    match role {
        Role::Viewer { mode: before, can_relay } => {
            let mode = join.mode.unwrap_or(before);
            // A node that was a lurker never had a say in relaying.
            let default = if mode == before { can_relay } else { true };
            Role::Viewer { mode, can_relay: join.can_relay.unwrap_or(default) && mode == ViewerMode::Active }
        }
        Role::Broadcaster { can_relay } => Role::Broadcaster { can_relay: join.can_relay.unwrap_or(can_relay) },
        Role::Participant(_) | Role::Listener => role,
    }
}
