//! The model beside the swarm that it is a model of.

use starling_core::Rules;

use super::*;

impl Model {
    /// `Applied::ended` names the sessions that the events ended. Those that ended
    /// because the swarm did may be left to `retired`; else that has nobody in it.
    pub(super) fn compare_ended(&self, applied: &Applied, mut closed: Vec<(SessionId, LeaveReason)>) {
        assert_eq!(applied.over, applied.events.iter().any(ends));
        let mut told = applied.ended.clone();
        if let Some(retired) = &applied.retired {
            assert!(applied.over || retired.is_empty(), "what the last one left has nobody in it");
            let listed: BTreeSet<SessionId> = told.iter().map(|(session, _)| *session).collect();
            let left = retired.iter().map(|(_, member)| (member.session, LeaveReason::Ended));
            told.extend(left.filter(|(session, _)| !listed.contains(session)));
        }
        closed.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, closed, "what is said to have ended has ended");
    }

    /// What `Applied` says beside its events is what they say.
    pub(super) fn compare_effects(&self, applied: &Applied) {
        let (mut left, mut former, mut updated) = (Vec::new(), Vec::new(), false);
        let mut interested = self.interested.clone();
        let mut summary_changed = false;
        for event in &applied.events {
            match event {
                Event::Shared(SharedEvent::Left { node, reason, .. }) if *reason != LeaveReason::Replaced => {
                    left.push((*node, *reason));
                    former.extend(self.broadcaster.is_none().then_some(*node));
                }
                Event::Livestream(LivestreamEvent::BroadcasterLost { node, reason, .. })
                    if *reason != LeaveReason::Replaced =>
                {
                    left.push((*node, *reason));
                }
                Event::Livestream(LivestreamEvent::Transferred { from, viewer, .. }) => {
                    former.push(*from);
                    interested.extend(viewer.iter().map(|(_, viewer)| viewer.node));
                    summary_changed = true;
                }
                Event::Livestream(LivestreamEvent::Updated { .. }) | Event::Group(GroupEvent::Updated { .. }) => {
                    (updated, summary_changed) = (true, true);
                }
                Event::Livestream(LivestreamEvent::StateChanged { .. }) | Event::Group(GroupEvent::Ended { .. }) => {
                    summary_changed = true;
                }
                Event::Shared(
                    // Replaced: the node is in again.
                    SharedEvent::Left { .. }
                    | SharedEvent::MemberUpdated { .. }
                    | SharedEvent::BanChanged { .. }
                    | SharedEvent::AuthorityGranted { .. }
                    // Told of as they were folded.
                    | SharedEvent::Joined { .. }
                    | SharedEvent::InterestChanged { .. },
                )
                | Event::Livestream(
                    LivestreamEvent::BroadcasterLost { .. }
                    | LivestreamEvent::BroadcasterJoined { .. }
                    | LivestreamEvent::PlacementChanged { .. }
                    | LivestreamEvent::TopologySwitched { .. }
                    | LivestreamEvent::ModeratorChanged { .. }
                    | LivestreamEvent::MuteChanged { .. },
                )
                | Event::Group(
                    GroupEvent::OwnerChanged { .. }
                    | GroupEvent::MediaChanged { .. }
                    | GroupEvent::ShareStarted { .. }
                    | GroupEvent::ShareStopped { .. },
                ) => {}
            }
        }
        assert_eq!(applied.left, left);
        let interests: BTreeMap<_, _> = applied.interests.iter().map(|(node, interests)| (*node, interests)).collect();
        assert!(interests.keys().eq(&interested), "whose interests changed: {:?}, {interested:?}", interests.keys());
        for (node, interests) in interests {
            let view = self.members.get(&node).and_then(|known| known.view.as_ref());
            assert!(view.is_none_or(|(_, view)| view.interests == *interests), "as they are now");
        }
        assert_eq!(applied.former_sources, former);
        assert_eq!((applied.updated, applied.summary_changed), (updated, summary_changed && !applied.created));
    }

    /// Compares everything with the swarm. O(n).
    pub(crate) fn compare(&self, swarm: &Swarm) {
        self.compare_swarm(swarm);
        self.bans.compare(swarm);
        let present: BTreeSet<NodeId> = swarm.roster().iter().map(|(_, member)| member.node).collect();
        assert!(present.iter().eq(self.members.keys()), "the roster has the members that the events tell of");
        self.members.keys().for_each(|node| self.compare_member(swarm, *node));
    }

    /// Compares what is not about single members. O(1) but for grants, mutes and
    /// moderators.
    pub(crate) fn compare_swarm(&self, swarm: &Swarm) {
        assert_eq!(swarm.epoch(), self.epoch);
        assert_eq!(swarm.revision(), self.revision);
        assert_eq!(swarm.roster().len(), self.members.len());
        assert_eq!(swarm.is_over(), self.ended.is_some());
        let grants = swarm.grants().into_iter().map(|g| ((g.source, g.channel), (g.term, g.is_open()))).collect();
        assert_eq!(self.grants, grants, "folding the grants gives the table");
        assert!(self.grants.is_empty() || self.granted_key == self.key, "who may publish signs with the key in force");
        for ((source, channel), (_, enabled)) in &self.grants {
            assert_eq!(*enabled, self.takes(*source, *channel), "{channel:?} of {source:?}");
        }
        match swarm.rules() {
            Rules::Livestream(livestream) => {
                assert_eq!(livestream.state(), self.state);
                assert_eq!(Some(livestream.broadcaster()), self.broadcaster);
                assert_eq!(livestream.key(), self.key);
                assert_eq!(swarm.broadcaster_session(), self.broadcaster.and_then(|node| self.session(node)));
                assert_eq!(livestream.topology(), self.topology);
                assert_eq!(livestream.viewer_count(), self.viewers());
                assert_eq!(*livestream.moderators(), self.moderators);
                assert_eq!(*livestream.muted(), self.muted);
            }
            Rules::Group(group) => {
                assert_eq!(group.owner(), self.owner);
                assert_eq!(group.sharing(), self.sharing);
            }
        }
        assert_eq!(*swarm.metadata(), *self.metadata);
        let stats = swarm.stats();
        assert_eq!(swarm.ended().map(|(_, reason)| reason), self.ended);
        assert_eq!((stats.joins, stats.leaves, stats.peak), (self.joins, self.leaves, self.peak));
    }

    /// Compares one node, member or not.
    pub(crate) fn compare_member(&self, swarm: &Swarm, node: NodeId) {
        let key = swarm.roster().key(node);
        let Some(known) = self.members.get(&node) else { return assert_eq!(key, None, "{node:?} has left") };
        let key = key.expect("a member has a slot");
        let now = swarm.view(key).expect("a slot has a member");
        assert_eq!(now.session, known.session);
        if let Some((slot, view)) = &known.view {
            assert_eq!(*slot, key);
            // Whether it is attached is no event: it raises no revision.
            let now = MemberView { attached: view.attached, ..now };
            assert_eq!(now, *view, "folding the events gives the member");
        }
    }
}
