//! The watches of groups: a mesh of targets, and the events of a group.

use std::collections::BTreeMap;

use starling_client::TokenChannel;
use starling_client::pb::group::v1 as pb;
use starling_client::pb::group::v1::group_event::Change as Event;
use starling_client::pb::group::v1::group_service_client::GroupServiceClient;
use starling_client::pb::group::v1::watch_group_response::Event as Content;
use starling_client::pb::group::v1::watch_targets_response::Event as TargetEvent;
use starling_client::pb::swarm::v1::{
    ChannelInterest, EventPosition, GoodbyeReason, Interest, LeaveReason, MemberView, ResetReason, Topology,
    UpdateChannel,
};
use tonic::{Code, Streaming};

use crate::harness::{Fault, Server};
use crate::watch::fixture::{end, narrow, next};
use crate::watch::fold::{TargetFold, Targets};

const OWNER: u64 = 1;

const ALL: [pb::GroupEventKind; 7] = [
    pb::GroupEventKind::Membership,
    pb::GroupEventKind::Lifecycle,
    pb::GroupEventKind::Media,
    pb::GroupEventKind::ScreenShare,
    pb::GroupEventKind::Ownership,
    pb::GroupEventKind::Authority,
    pb::GroupEventKind::Interest,
];

/// One group, seen through one connection.
struct GroupFixture {
    client: GroupServiceClient<TokenChannel>,
    id: u64,
}

impl GroupFixture {
    async fn create(server: &Server, max_participants: u32) -> Self {
        let group = Self { client: server.client().await.groups, id: 7 };
        let request = pb::CreateGroupRequest {
            group_id: group.id,
            owner_node_id: OWNER,
            config: Some(pb::GroupConfig { max_participants: Some(max_participants), ..Default::default() }),
            ..Default::default()
        };
        group.client.clone().create_group(request).await.unwrap();
        group
    }

    async fn join(&self, node: u64) -> pb::JoinGroupResponse {
        let endpoint = Some(vec![b'e'; 256].into());
        let request = pb::JoinGroupRequest { group_id: self.id, node_id: node, endpoint, ..Default::default() };
        self.client.clone().join_group(request).await.unwrap().into_inner()
    }

    async fn leave(&self, node: u64) -> u64 {
        let request = pb::LeaveGroupRequest { group_id: self.id, node_id: node, ..Default::default() };
        self.client.clone().leave_group(request).await.unwrap().into_inner().revision
    }

    async fn remove(&self, node: u64) -> u64 {
        let request = pb::RemoveParticipantRequest {
            group_id: self.id,
            node_id: OWNER,
            participant_node_id: node,
            ..Default::default()
        };
        self.client.clone().remove_participant(request).await.unwrap().into_inner().revision
    }

    async fn end(&self) -> u64 {
        let request = pb::EndGroupRequest { group_id: self.id, node_id: OWNER, ..Default::default() };
        self.client.clone().end_group(request).await.unwrap().into_inner().revision
    }

    async fn want(&self, node: u64, source: u64, interest: Interest) -> u64 {
        let change = ChannelInterest {
            channel: UpdateChannel::Visual.into(),
            interest: interest.into(),
            source_node_id: source,
            ..Default::default()
        };
        let request =
            pb::SetInterestRequest { group_id: self.id, node_id: node, interests: vec![change], ..Default::default() };
        self.client.clone().set_interest(request).await.unwrap().into_inner().revision
    }

    async fn switch_video(&self, node: u64, on: bool) -> u64 {
        let request =
            pb::SetMediaRequest { group_id: self.id, node_id: node, video_enabled: Some(on), ..Default::default() };
        self.client.clone().set_media(request).await.unwrap().into_inner().revision
    }

    async fn share(&self, node: u64) -> u64 {
        let request = pb::StartScreenShareRequest { group_id: self.id, node_id: node, ..Default::default() };
        self.client.clone().start_screen_share(request).await.unwrap().into_inner().revision
    }

    async fn targets(&self, node: u64) -> pb::GetTargetsResponse {
        let request = pb::GetTargetsRequest { group_id: self.id, of_node_id: node, ..Default::default() };
        self.client.clone().get_targets(request).await.unwrap().into_inner()
    }

    async fn participants(&self) -> Vec<pb::Participant> {
        let request = pb::ListParticipantsRequest {
            group_id: self.id,
            page_size: 1_000,
            view: MemberView::Full.into(),
            ..Default::default()
        };
        self.client.clone().list_participants(request).await.unwrap().into_inner().participants
    }

    async fn get(&self) -> pb::Group {
        let request = pb::GetGroupRequest { group_id: self.id, ..Default::default() };
        self.client.clone().get_group(request).await.unwrap().into_inner().group.unwrap()
    }

    async fn watch_targets(&self, node: u64, session_id: u64) -> Streaming<pb::WatchTargetsResponse> {
        let request = pb::WatchTargetsRequest {
            group_id: self.id,
            of_node_id: node,
            session_id,
            node_id: node,
            ..Default::default()
        };
        self.client.clone().watch_targets(request).await.unwrap().into_inner()
    }

    async fn watch(
        &self,
        kinds: &[pb::GroupEventKind],
        position: Option<(u64, u64)>,
    ) -> Streaming<pb::WatchGroupResponse> {
        let request = pb::WatchGroupRequest {
            group_id: self.id,
            kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
            resume_from: position.map(|(epoch, revision)| EventPosition { epoch, revision }),
            view: MemberView::Full.into(),
            ..Default::default()
        };
        self.client.clone().watch_group(request).await.unwrap().into_inner()
    }
}

fn events(message: &pb::WatchGroupResponse) -> Vec<Event> {
    let decode = |event: &pb::GroupEvent| event.change.clone().unwrap();
    match &message.event {
        Some(Content::Batch(events)) => events.events.iter().map(decode).collect(),
        _ => Vec::new(),
    }
}

#[tokio::test]
async fn each_participant_is_told_of_all_the_others() {
    let server = Server::start().await;
    let group = GroupFixture::create(&server, 16).await;
    let mut watchers: BTreeMap<u64, (Streaming<_>, TargetFold)> = BTreeMap::new();
    let mut inside = Vec::new();
    let changes: [(u64, bool); 14] = [
        (OWNER, true),
        (2, true),
        (3, true),
        (4, true),
        (2, true),
        (3, false),
        (5, true),
        (6, true),
        (7, true),
        (4, false),
        (5, false),
        (3, true),
        (8, true),
        (8, false),
    ];
    for (node, joins) in changes {
        if joins {
            let session = group.join(node).await.session_id;
            inside.retain(|other| *other != node);
            inside.push(node);
            let mut stream = group.watch_targets(node, session).await;
            let fold = TargetFold::begin(next(&mut stream).await);
            watchers.insert(node, (stream, fold));
        } else {
            group.leave(node).await;
            inside.retain(|other| *other != node);
            watchers.remove(&node);
        }
        for (watched, (stream, fold)) in &mut watchers {
            let answer = group.targets(*watched).await;
            while fold.revision < answer.revision {
                assert_eq!(fold.take(next(stream).await), None);
            }
            assert_eq!((fold.epoch, fold.revision), (answer.epoch, answer.revision));
            assert_eq!(fold.now, Targets::from(answer.targets.unwrap()));
            let mut others: Vec<u64> = inside.iter().copied().filter(|other| other != watched).collect();
            others.sort_unstable();
            assert_eq!((fold.now.topology, fold.now.placement, fold.now.nodes()), (Topology::Mesh, None, others));
        }
    }
}

#[tokio::test]
async fn mesh_target_names_its_interests_in_this_node() {
    let server = Server::start().await;
    let group = GroupFixture::create(&server, 16).await;
    for node in 1..=3 {
        group.join(node).await;
    }
    let mut stream = group.watch_targets(2, 0).await;
    let mut fold = TargetFold::begin(next(&mut stream).await);
    let wants = |fold: &TargetFold| {
        let channels = &fold.now.targets[&3].channels;
        channels.iter().find(|told| told.channel() == UpdateChannel::Visual).map(|told| told.interest())
    };
    assert_eq!(wants(&fold), Some(Interest::High));
    // What 3 wants of 1 is no business of 2.
    group.want(3, OWNER, Interest::Critical).await;
    let revision = group.want(3, 2, Interest::Low).await;
    while fold.revision < revision {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!((wants(&fold), fold.deltas), (Some(Interest::Low), 1));
}

#[tokio::test]
async fn group_watch_begins_with_participants_then_events() {
    let server = Server::start().await;
    let group = GroupFixture::create(&server, 16).await;
    group.join(OWNER).await;
    group.join(2).await;
    let mut stream = group.watch(&ALL, None).await;
    let first = next(&mut stream).await;
    let now = group.get().await;
    assert_eq!((first.epoch, first.revision), (now.epoch, now.revision));
    let Some(Content::Reset(reset)) = first.event else { panic!("{first:?}") };
    assert_eq!((reset.reason(), reset.group), (ResetReason::Fresh, Some(now)));
    let Some(Content::Roster(page)) = next(&mut stream).await.event else { panic!("the roster is next") };
    assert_eq!(page.participants, group.participants().await);
    let Some(Content::SnapshotComplete(_)) = next(&mut stream).await.event else { panic!("the roster is complete") };

    let revision = group.share(2).await;
    let message = next(&mut stream).await;
    assert_eq!(message.revision, revision);
    assert!(matches!(events(&message)[..], [Event::ScreenShareStarted(_)]), "{message:?}");
    group.switch_video(2, false).await;
    let message = next(&mut stream).await;
    let [Event::MediaChanged(media)] = &events(&message)[..] else { panic!("{message:?}") };
    assert_eq!((media.node_id, media.audio_enabled, media.video_enabled), (2, true, false));
    group.want(2, OWNER, Interest::Low).await;
    let message = next(&mut stream).await;
    assert!(matches!(events(&message)[..], [Event::InterestChanged(_)]), "{message:?}");
    // With the owner go its share and its ownership, and what others wanted of it.
    group.leave(2).await;
    let message = next(&mut stream).await;
    let happened = events(&message);
    assert!(matches!(happened[..], [Event::ParticipantLeft(_), Event::ScreenShareStopped(_)]), "{happened:?}");
    group.join(3).await;
    next(&mut stream).await;
    let revision = group.leave(OWNER).await;
    let message = next(&mut stream).await;
    let happened = events(&message);
    let [Event::ParticipantLeft(left), Event::OwnerChanged(owner)] = &happened[..] else { panic!("{happened:?}") };
    assert_eq!((left.node_id, left.reason()), (OWNER, LeaveReason::Left));
    assert_eq!((owner.owner_node_id, message.revision), (3, revision));
}

#[tokio::test]
async fn group_watch_resumes_or_is_reset() {
    let server = Server::with(|config| config.store.event_log_revisions = 16).await;
    let group = GroupFixture::create(&server, 16).await;
    for node in 1..=4 {
        group.join(node).await;
    }
    let epoch = group.get().await.epoch;
    let mut stream = group.watch(&ALL, Some((epoch, 0))).await;
    let last = group.get().await.revision;
    for revision in 1..=last {
        assert_eq!(next(&mut stream).await.revision, revision, "neither hole nor duplicate");
    }
    // Without INTEREST, as by default, nothing is told of interests.
    let mut default = group.watch(&[], Some((epoch, last))).await;
    group.want(2, OWNER, Interest::Low).await;
    let shared = group.share(2).await;
    assert_eq!(next(&mut default).await.revision, shared);

    for on in [false, true].repeat(10) {
        group.switch_video(3, on).await;
    }
    for (position, reason) in [
        (Some((epoch, last)), ResetReason::Lapped),
        (Some((epoch, 1_000)), ResetReason::UnknownPosition),
        (Some((epoch ^ 1, last)), ResetReason::EpochChanged),
        (None, ResetReason::Fresh),
    ] {
        let first = next(&mut group.watch(&ALL, position).await).await;
        let Some(Content::Reset(reset)) = &first.event else { panic!("{first:?}") };
        assert_eq!(reset.reason(), reason);
    }
}

async fn goodbye_of(stream: &mut Streaming<pb::WatchTargetsResponse>) -> GoodbyeReason {
    loop {
        if let Some(TargetEvent::Goodbye(goodbye)) = next(stream).await.event {
            return goodbye.reason();
        }
    }
}

#[tokio::test]
async fn group_end_is_event_then_goodbye() {
    let server = Server::start().await;
    let group = GroupFixture::create(&server, 16).await;
    group.join(OWNER).await;
    let session = group.join(2).await.session_id;
    let now = group.get().await;
    let mut log = group.watch(&[], Some((now.epoch, now.revision))).await;
    let mut targets = group.watch_targets(2, session).await;
    let last = group.end().await;
    let message = next(&mut log).await;
    let [Event::StateChanged(changed)] = &events(&message)[..] else { panic!("{message:?}") };
    assert_eq!((message.revision, changed.state()), (last, pb::GroupState::Ended));
    let Some(Content::Goodbye(goodbye)) = next(&mut log).await.event else { panic!("then comes the goodbye") };
    assert_eq!(goodbye.reason(), GoodbyeReason::Ended);
    assert!(end(&mut log).await.is_ok());
    assert_eq!(goodbye_of(&mut targets).await, GoodbyeReason::Ended);
    assert!(end(&mut targets).await.is_ok());
}

/// It ends and is forgotten in one step.
#[tokio::test]
async fn end_of_an_empty_group_is_told() {
    let server = Server::with(|config| config.retention.empty_group = std::time::Duration::from_millis(50)).await;
    let group = GroupFixture::create(&server, 16).await;
    let mut log = group.watch(&[], None).await;
    loop {
        let message = next(&mut log).await;
        if let Some(Content::Goodbye(goodbye)) = message.event {
            panic!("a goodbye without the event of the end: {goodbye:?}");
        }
        if let [Event::StateChanged(changed)] = &events(&message)[..] {
            assert_eq!(changed.state(), pb::GroupState::Ended);
            break;
        }
    }
    let Some(Content::Goodbye(goodbye)) = next(&mut log).await.event else { panic!("then comes the goodbye") };
    assert_eq!(goodbye.reason(), GoodbyeReason::Ended);
    assert!(end(&mut log).await.is_ok());
}

/// The first list is larger than the window, so that the server has not looked
/// again when the participant is removed: it finds it gone before it hears why.
#[tokio::test]
async fn removed_participant_reading_late_learns_of_removal() {
    let server = Server::start().await;
    let group = GroupFixture::create(&server, 256).await;
    group.join(OWNER).await;
    let mut session = 0;
    for node in 2..=250 {
        session = group.join(node).await.session_id;
    }
    let slow = GroupFixture { client: GroupServiceClient::new(narrow(&server, 1_024).await), id: group.id };
    let mut targets = slow.watch_targets(250, session).await;
    group.remove(250).await;
    assert_eq!(goodbye_of(&mut targets).await, GoodbyeReason::Removed);
    let status = end(&mut targets).await.unwrap_err();
    assert_eq!(Fault::of(&status), Fault::new(Code::PermissionDenied, "REMOVED"));
}
