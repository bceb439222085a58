//! Every method of LivestreamService, with requests that are right but for what a test gets wrong.

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, PeerReportReason, UpdateChannel};

use crate::edge::refusals::{Call, calls};

/// Who acts: a node, perhaps with a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Actor(pub(crate) u64, pub(crate) u64);

impl From<u64> for Actor {
    fn from(node_id: u64) -> Self {
        Self(node_id, 0)
    }
}

pub(crate) fn interest() -> ChannelInterest {
    ChannelInterest { channel: UpdateChannel::Visual.into(), interest: Interest::Low.into(), ..Default::default() }
}

/// Methods that only look, and that answer after the end, too.
pub(crate) fn looks(client: &Client, livestream_id: u64) -> Vec<Call> {
    calls! { client, Livestreams;
        get_livestream GetLivestreamRequest { livestream_id: livestream_id }
        get_stats GetStatsRequest { livestream_id: livestream_id }
        watch_livestream WatchLivestreamRequest { livestream_id: livestream_id }
    }
}

/// Methods that look at those who are in.
pub(crate) fn looks_at_members(client: &Client, livestream_id: u64) -> Vec<Call> {
    calls! { client, Livestreams;
        list_viewers ListViewersRequest { livestream_id: livestream_id }
        get_targets GetTargetsRequest { livestream_id: livestream_id }
        watch_targets WatchTargetsRequest { livestream_id: livestream_id }
    }
}

pub(crate) fn join(client: &Client, livestream_id: u64, node_id: u64) -> Vec<Call> {
    calls! { client, Livestreams;
        join_livestream JoinLivestreamRequest { livestream_id: livestream_id, node_id: node_id }
    }
}

/// Methods of members; the object of an action, if there is one, is `viewer_node_id`.
pub(crate) fn of_members(
    client: &Client,
    livestream_id: u64,
    actor: impl Into<Actor>,
    viewer_node_id: u64,
) -> Vec<Call> {
    let Actor(node_id, session_id) = actor.into();
    let actor = Actor(node_id, session_id);
    let own = calls! { client, Livestreams;
        leave_livestream LeaveLivestreamRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id
        }
        renew_lease RenewLeaseRequest { livestream_id: livestream_id, node_id: node_id, session_id: session_id }
        set_interest SetInterestRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id, interests: vec![interest()]
        }
        update_viewer UpdateViewerRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id,
            metadata: Some(vec![0].into())
        }
        subscribe_updates SubscribeUpdatesRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id
        }
    };
    [
        own,
        of_broadcaster(client, livestream_id, actor),
        naming_moderators(client, livestream_id, actor, viewer_node_id),
        moderating(client, livestream_id, actor, viewer_node_id),
        reporting(client, livestream_id, actor, viewer_node_id),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Methods of the broadcaster alone.
pub(crate) fn of_broadcaster(client: &Client, livestream_id: u64, actor: impl Into<Actor>) -> Vec<Call> {
    let Actor(node_id, session_id) = actor.into();
    calls! { client, Livestreams;
        update_livestream UpdateLivestreamRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id,
            metadata: Some(vec![0].into())
        }
        start_livestream StartLivestreamRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id
        }
        pause_livestream PauseLivestreamRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id
        }
        resume_livestream ResumeLivestreamRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id
        }
        end_livestream EndLivestreamRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id
        }
    }
}

/// Methods of the broadcaster alone that are about a viewer.
pub(crate) fn naming_moderators(
    client: &Client,
    livestream_id: u64,
    actor: impl Into<Actor>,
    viewer_node_id: u64,
) -> Vec<Call> {
    let Actor(node_id, session_id) = actor.into();
    calls! { client, Livestreams;
        add_moderator AddModeratorRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id, viewer_node_id: viewer_node_id
        }
        remove_moderator RemoveModeratorRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id, viewer_node_id: viewer_node_id
        }
        transfer_broadcast TransferBroadcastRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id, viewer_node_id: viewer_node_id
        }
    }
}

/// Methods of moderators, about a viewer.
pub(crate) fn moderating(
    client: &Client,
    livestream_id: u64,
    actor: impl Into<Actor>,
    viewer_node_id: u64,
) -> Vec<Call> {
    let Actor(node_id, session_id) = actor.into();
    calls! { client, Livestreams;
        mute_viewer MuteViewerRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id, viewer_node_id: viewer_node_id
        }
        unmute_viewer UnmuteViewerRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id, viewer_node_id: viewer_node_id
        }
        remove_viewer RemoveViewerRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id, viewer_node_id: viewer_node_id
        }
    }
}

/// What any member may say about any other.
pub(crate) fn reporting(client: &Client, livestream_id: u64, actor: impl Into<Actor>, peer_node_id: u64) -> Vec<Call> {
    let Actor(node_id, session_id) = actor.into();
    calls! { client, Livestreams;
        report_peer ReportPeerRequest {
            livestream_id: livestream_id, node_id: node_id, session_id: session_id,
            peer_node_id: peer_node_id, reason: PeerReportReason::Slow.into()
        }
    }
}

/// Each method that is about a viewer.
pub(crate) fn on_target(
    client: &Client,
    livestream_id: u64,
    actor: impl Into<Actor>,
    viewer_node_id: u64,
) -> Vec<Call> {
    let actor = actor.into();
    let mut calls = naming_moderators(client, livestream_id, actor, viewer_node_id);
    calls.extend(moderating(client, livestream_id, actor, viewer_node_id));
    calls
}
