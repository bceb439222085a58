//! Every method of the schema, in the order in which they are called: what ends a swarm comes last.

use std::fmt::Debug;
use std::pin::Pin;

use tonic::{Response, Status};

use crate::meter::Allowed;
use crate::world::World;
use crate::{groups, livestreams, sets};

/// What a method does, phase by phase.
pub(crate) type Row = fn(&mut World) -> Pin<Box<dyn Future<Output = ()> + '_>>;

macro_rules! rows {
    ($($service:literal: $($method:literal => $row:path),*;)*) => {
        &[$($((concat!($service, "/", $method), |world| Box::pin($row(world)))),*),*]
    };
}

/// All of them.
pub(crate) const ROWS: &[(&str, Row)] = rows! {
    "starling.swarm.v1.ServerService":
        "GetServerInfo" => sets::get_server_info,
        "RevokeTokens" => sets::revoke_tokens,
        "ListRevocations" => sets::list_revocations,
        "GetClusterStatus" => sets::get_cluster_status,
        "ActivateLevel" => sets::activate_level;
    "starling.livestream.v1.LivestreamService":
        "CreateLivestream" => sets::create_livestream,
        "GetLivestream" => livestreams::get_livestream,
        "ListLivestreams" => sets::list_livestreams,
        "WatchLivestreams" => sets::watch_livestreams,
        "UpdateLivestream" => livestreams::update_livestream,
        "PauseLivestream" => livestreams::pause_livestream,
        "ResumeLivestream" => livestreams::resume_livestream,
        "StartLivestream" => livestreams::start_livestream,
        "JoinLivestream" => livestreams::join_livestream,
        "RenewLease" => livestreams::renew_lease,
        "GetViewer" => livestreams::get_viewer,
        "ListViewers" => livestreams::list_viewers,
        "SetInterest" => livestreams::set_interest,
        "UpdateViewer" => livestreams::update_viewer,
        "AddModerator" => livestreams::add_moderator,
        "RemoveModerator" => livestreams::remove_moderator,
        "MuteViewer" => livestreams::mute_viewer,
        "UnmuteViewer" => livestreams::unmute_viewer,
        "ListMutedNodes" => livestreams::list_muted_nodes,
        "GetTargets" => livestreams::get_targets,
        "WatchTargets" => livestreams::watch_targets,
        "ReportPeer" => livestreams::report_peer,
        "PublishUpdate" => livestreams::publish_update,
        "PublishUpdates" => livestreams::publish_updates,
        "SubscribeUpdates" => livestreams::subscribe_updates,
        "RequestKeyframe" => livestreams::request_keyframe,
        "WatchLivestream" => livestreams::watch_livestream,
        "GetStats" => livestreams::get_stats,
        "LeaveLivestream" => livestreams::leave_livestream,
        "RemoveViewer" => livestreams::remove_viewer,
        "ListBans" => livestreams::list_bans,
        "UnbanViewer" => livestreams::unban_viewer,
        "TransferBroadcast" => livestreams::transfer_broadcast,
        "EndLivestream" => livestreams::end_livestream;
    "starling.group.v1.GroupService":
        "CreateGroup" => sets::create_group,
        "GetGroup" => groups::get_group,
        "ListGroups" => sets::list_groups,
        "WatchGroups" => sets::watch_groups,
        "UpdateGroup" => groups::update_group,
        "JoinGroup" => groups::join_group,
        "RenewLease" => groups::renew_lease,
        "GetParticipant" => groups::get_participant,
        "ListParticipants" => groups::list_participants,
        "UpdateParticipant" => groups::update_participant,
        "SetMedia" => groups::set_media,
        "StartScreenShare" => groups::start_screen_share,
        "StopScreenShare" => groups::stop_screen_share,
        "SetInterest" => groups::set_interest,
        "GetTargets" => groups::get_targets,
        "WatchTargets" => groups::watch_targets,
        "ReportPeer" => groups::report_peer,
        "PublishUpdate" => groups::publish_update,
        "PublishUpdates" => groups::publish_updates,
        "SubscribeUpdates" => groups::subscribe_updates,
        "RequestKeyframe" => groups::request_keyframe,
        "WatchGroup" => groups::watch_group,
        "GetStats" => groups::get_stats,
        "LeaveGroup" => groups::leave_group,
        "RemoveParticipant" => groups::remove_participant,
        "ListBans" => groups::list_bans,
        "UnbanParticipant" => groups::unban_participant,
        "EndGroup" => groups::end_group;
};

/// Measures a call that is answered once, of which `items` says how much it changed or answered.
pub(crate) async fn unary<R>(
    world: &mut World,
    name: &'static str,
    allowed: Allowed,
    call: impl Future<Output = Result<Response<R>, Status>>,
    items: impl FnOnce(R) -> usize,
) {
    let answered = async { ((), items(call.await.expect("the call succeeds").into_inner())) };
    world.measure(name, allowed, answered).await;
}

/// The same of a call whose work does not depend on the population.
pub(crate) async fn flat<R>(
    world: &mut World,
    name: &'static str,
    call: impl Future<Output = Result<Response<R>, Status>>,
) {
    unary(world, name, Allowed::Flat, call, |_| 0).await;
}

/// The same of a call that is refused.
pub(crate) async fn refused<R: Debug>(
    world: &mut World,
    name: &'static str,
    call: impl Future<Output = Result<Response<R>, Status>>,
) {
    let answered = async { ((), call.await.map_or(0, |answer| panic!("it is refused, not answered: {answer:?}"))) };
    world.measure(name, Allowed::Flat, answered).await;
}

/// As long a name of a request as there may be.
pub(crate) fn request_id(name: &str) -> String {
    format!("{name:r<64}")
}
