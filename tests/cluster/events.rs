//! One who watches the events of a livestream, and goes on elsewhere where it stopped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::LivestreamEventKind as Kind;
use starling_client::pb::livestream::v1::livestream_event::Change;
use starling_client::pb::livestream::v1::watch_livestream_response::Event;
use starling_client::pb::swarm::v1::EventPosition;
use starling_client::{Client, Watch};

use crate::cluster::RETRY;

/// Every kind of event, so that no revision is left out.
const ALL: [Kind; 8] = [
    Kind::Membership,
    Kind::Lifecycle,
    Kind::Broadcaster,
    Kind::Moderation,
    Kind::Topology,
    Kind::Authority,
    Kind::Interest,
    Kind::Placement,
];

/// What a watch of events has told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct RosterFold {
    pub(crate) epoch: u64,
    pub(crate) revision: u64,
    /// The roster has come, and what follows is live.
    pub(crate) live: bool,
    pub(crate) resets: u64,
    /// Members and their sessions.
    pub(crate) members: BTreeMap<u64, u64>,
    /// How often each session was told to begin and to end.
    pub(crate) told: BTreeMap<u64, (u64, u64)>,
}

/// The fold of a watch that goes on.
pub(crate) type SharedRoster = Arc<Mutex<RosterFold>>;

/// Watches until the livestream ends.
pub(crate) async fn watch_events(client: Client, livestream_id: u64, fold: SharedRoster) {
    let position = Arc::clone(&fold);
    let open = move |mut client: Client, _| {
        let resume_from = {
            let fold = position.lock().unwrap();
            fold.live.then_some(EventPosition { epoch: fold.epoch, revision: fold.revision })
        };
        let kinds = ALL.map(Into::into).to_vec();
        let view = starling_client::pb::swarm::v1::MemberView::Full.into();
        let watch = pb::WatchLivestreamRequest { livestream_id, kinds, resume_from, view, ..Default::default() };
        async move { client.livestreams.watch_livestream(watch).await }
    };
    let mut watch = Watch::open(client, 0, None, RETRY, open).await.expect("anybody may watch");
    while let Some(message) = watch.next().await.unwrap_or_else(|error| panic!("events of {livestream_id}: {error}")) {
        fold.lock().unwrap().take(message);
    }
}

impl RosterFold {
    fn take(&mut self, message: pb::WatchLivestreamResponse) {
        let pb::WatchLivestreamResponse { epoch, revision, event } = message;
        match event.expect("every message says something") {
            Event::Batch(batch) => {
                assert_eq!(epoch, self.epoch, "another incarnation begins with a reset");
                if self.live {
                    assert_eq!(revision, self.revision + 1, "the events have no hole");
                } else {
                    assert!(revision > self.revision, "events go on");
                }
                self.revision = revision;
                for event in batch.events {
                    self.apply(event.change.expect("an event says what changed"));
                }
            }
            Event::Reset(reset) => {
                eprintln!("events: reset {:?} from {} to {revision}", reset.reason(), self.revision);
                assert!(self.epoch == 0 || self.epoch == epoch, "the livestream is the same");
                self.resets += 1;
                (self.epoch, self.revision, self.live) = (epoch, revision, false);
                self.members.clear();
            }
            Event::Roster(page) => {
                self.revision = revision;
                for viewer in page.viewers {
                    let known = self.members.insert(viewer.node_id, viewer.session_id);
                    assert_eq!(known, None, "a viewer is in one page, or told by an event before");
                }
            }
            Event::SnapshotComplete(_) => (self.revision, self.live) = (revision, true),
            Event::Heartbeat(_) => assert_eq!(revision, self.revision, "a heartbeat never overtakes an event"),
            Event::Goodbye(_) => assert!(revision <= self.revision, "a goodbye names what was told"),
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::ViewerJoined(joined) => {
                let viewer = joined.viewer.expect("a join shows the viewer");
                let known = self.members.insert(viewer.node_id, viewer.session_id);
                assert_eq!(known, None, "a session ends before the next one begins");
                self.told.entry(viewer.session_id).or_default().0 += 1;
            }
            Change::ViewerLeft(left) => {
                let session = self.members.remove(&left.node_id);
                assert_eq!(session, Some(left.session_id), "who leaves was in: {left:?}");
                self.told.entry(left.session_id).or_default().1 += 1;
            }
            _ => {}
        }
    }
}
