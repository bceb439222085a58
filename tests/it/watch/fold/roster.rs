//! The viewers of a livestream, from roster pages and events.

use std::collections::BTreeMap;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::livestream_event::Change;
use starling_client::pb::livestream::v1::watch_livestream_response::Event;
use starling_client::pb::swarm::v1 as shared;

use crate::watch::fixture::events;

/// What a watch of all kinds of events has told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct RosterFold {
    pub(crate) epoch: u64,
    /// The last revision that was told.
    pub(crate) revision: u64,
    /// True after snapshot_complete.
    pub(crate) live: bool,
    pub(crate) resets: Vec<shared::ResetReason>,
    pub(crate) state: pb::LivestreamState,
    pub(crate) broadcaster: u64,
    pub(crate) viewers: BTreeMap<u64, pb::Viewer>,
    /// False after a switch to the tree, until the viewers are listed again.
    pub(crate) placed: bool,
    pub(crate) pages: usize,
    /// Revisions that came as events, and their events.
    pub(crate) log: Vec<(u64, Vec<Change>)>,
}

impl RosterFold {
    /// Goes on from a position that is known.
    pub(crate) fn at(epoch: u64, revision: u64) -> Self {
        Self { epoch, revision, live: true, ..Self::default() }
    }

    pub(crate) const fn position(&self) -> Option<(u64, u64)> {
        Some((self.epoch, self.revision))
    }

    /// Takes a message; a goodbye is handed back.
    pub(crate) fn take(&mut self, message: pb::WatchLivestreamResponse) -> Option<shared::Goodbye> {
        let happened = events(&message);
        let pb::WatchLivestreamResponse { epoch, revision, event } = message;
        match event.expect("every message says something") {
            Event::Batch(events) => {
                assert!(!happened.is_empty() && events.event_time.is_some());
                assert_eq!(epoch, self.epoch, "another incarnation begins with a reset");
                self.take_events(revision, happened);
            }
            Event::Reset(reset) => {
                let livestream = reset.livestream.clone().expect("a reset shows the livestream");
                assert_eq!((livestream.epoch, livestream.revision), (epoch, revision));
                self.resets.push(reset.reason());
                self.viewers.clear();
                self.log.clear();
                (self.epoch, self.revision, self.live, self.placed) = (epoch, revision, false, true);
                (self.state, self.broadcaster) = (livestream.state(), livestream.broadcaster_node_id);
            }
            Event::Roster(page) => {
                assert!(!self.live, "the roster comes after a reset");
                assert!(page.viewers.len() <= 1_000, "a page has {} viewers", page.viewers.len());
                // Events about viewers ahead of the scan were left out.
                assert!(revision >= self.revision, "a page is not older than what was told");
                self.revision = revision;
                self.pages += 1;
                for viewer in page.viewers {
                    let known = self.viewers.insert(viewer.node_id, viewer);
                    assert_eq!(known, None, "a viewer is in one page, or told by an event before");
                }
            }
            Event::SnapshotComplete(complete) => {
                assert!(!self.live);
                assert_eq!(complete.revision, revision);
                assert!(revision >= self.revision, "the roster is not older than what was told");
                (self.revision, self.live) = (revision, true);
            }
            Event::Heartbeat(heartbeat) => {
                assert!(self.live);
                assert!(heartbeat.server_time.is_some());
                assert_eq!(revision, self.revision, "a heartbeat never overtakes an event");
            }
            Event::Goodbye(goodbye) => {
                assert_eq!(revision, self.revision, "a goodbye names what was told");
                return Some(goodbye);
            }
        }
        None
    }

    fn take_events(&mut self, revision: u64, happened: Vec<Change>) {
        if self.live {
            assert_eq!(revision, self.revision + 1, "the log has no hole");
        } else {
            assert!(revision > self.revision, "the log goes on");
        }
        self.revision = revision;
        for event in &happened {
            self.apply(event.clone());
        }
        self.log.push((revision, happened));
    }

    fn apply(&mut self, event: Change) {
        match event {
            Change::ViewerJoined(joined) => {
                let viewer = joined.viewer.expect("a join shows the viewer");
                let known = self.viewers.insert(viewer.node_id, viewer);
                // Half a story when the watch did not begin with the roster.
                assert_eq!(known, None, "a session ends before the next one begins");
            }
            Change::ViewerLeft(left) => {
                if let Some(viewer) = self.viewers.remove(&left.node_id) {
                    assert_eq!(viewer.session_id, left.session_id, "the session that ends is the one that began");
                } else {
                    assert_eq!(self.resets, [], "who leaves was told to be in: {left:?}");
                }
            }
            Change::StateChanged(changed) => {
                self.state = changed.state();
                if self.state == pb::LivestreamState::Ended {
                    self.viewers.clear();
                }
            }
            Change::BroadcastTransferred(transferred) => {
                self.broadcaster = transferred.to_node_id;
                self.viewers.remove(&transferred.to_node_id);
                self.viewers.extend(transferred.viewer.map(|viewer| (viewer.node_id, viewer)));
            }
            Change::ModeratorChanged(changed) => {
                self.with(changed.node_id, |viewer| viewer.moderator = changed.moderator);
            }
            Change::BanChanged(changed) => {
                let is_in = self.viewers.contains_key(&changed.node_id);
                assert!(!is_in || changed.expire_time.is_none(), "who is banned has left: {changed:?}");
            }
            Change::MuteChanged(changed) => self.with(changed.node_id, |viewer| viewer.muted = changed.muted),
            Change::TopologySwitched(switched) => {
                self.placed = switched.topology() == shared::Topology::Star;
                let star = |can_relay| shared::Placement {
                    parent_node_id: self.broadcaster,
                    depth: 1,
                    can_relay,
                    ..Default::default()
                };
                for viewer in self.viewers.values_mut() {
                    viewer.placement = viewer.placement.as_ref().map(|place| star(place.can_relay));
                }
            }
            Change::InterestChanged(changed) => {
                self.with(changed.node_id, |viewer| fold_interests(&mut viewer.interests, changed.interests));
            }
            Change::PlacementChanged(changed) => {
                self.with(changed.node_id, |viewer| viewer.placement = changed.placement)
            }
            Change::ViewerUpdated(updated) => {
                let now = updated.viewer.expect("an update shows the viewer");
                self.with(now.node_id, |viewer| *viewer = now);
            }
            Change::LivestreamUpdated(_)
            | Change::BroadcasterJoined(_)
            | Change::BroadcasterLost(_)
            | Change::AuthorityGranted(_) => {}
        }
    }

    fn with(&mut self, node: u64, change: impl FnOnce(&mut pb::Viewer)) {
        if let Some(viewer) = self.viewers.get_mut(&node) {
            change(viewer);
        }
    }

    /// Takes the places of viewers as they were listed at the revision told last.
    pub(crate) fn place(&mut self, viewers: &[pb::Viewer]) {
        for viewer in viewers {
            self.viewers.get_mut(&viewer.node_id).expect("the viewer was told").placement = viewer.placement;
        }
        self.placed = true;
    }

    /// The fold is what the list says.
    #[track_caller]
    pub(crate) fn assert_is(&self, viewers: &[pb::Viewer]) {
        assert!(self.live && self.placed);
        for viewer in viewers {
            assert_eq!(self.viewers.get(&viewer.node_id), Some(viewer));
        }
        assert_eq!(self.viewers.len(), viewers.len(), "the fold has viewers that the list has not");
    }
}

/// Levels for every source come first, then what differs, by source and channel.
fn fold_interests(interests: &mut Vec<shared::ChannelInterest>, changed: Vec<shared::ChannelInterest>) {
    let key = |one: &shared::ChannelInterest| {
        let differs = one.source_node_id != 0 || one.expire_time.is_some();
        (differs || one.interest() == shared::Interest::Unspecified, one.source_node_id, one.channel)
    };
    for change in changed {
        interests.retain(|one| key(one) != key(&change));
        if change.interest() != shared::Interest::Unspecified {
            interests.push(change);
        }
    }
    interests.sort_by_key(key);
}
