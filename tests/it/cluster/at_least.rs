//! What a client was told by one server, and names when it asks the next.

use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use starling_client::Client;
use starling_client::pb::livestream::v1::watch_livestream_response::Event;
use starling_client::pb::swarm::v1::delivery::Item;
use starling_client::pb::swarm::v1::{EventPosition, ResetReason, SeenRevision};
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use tokio::time::Instant;
use tonic::{Code, Status};

use crate::cluster::fixture::Pods;
use crate::edge::world::{LONG_LEASE, answered, end, go_live, make_group};
use crate::harness::{Fault, Server, fault, retry_delay, soon};

/// A read, and what its answer is current to. Subscriptions tell of no revision: theirs is the one asked for.
type Read = Pin<Box<dyn Future<Output = Result<SeenRevision, Status>> + Send>>;

/// Makes a read, written as `package method Request { fields }`.
macro_rules! read {
    ($api:expr, $seen:expr, $package:ident $method:ident $Request:ident { $($field:ident $(: $value:expr)?),* },
        $answer:ident => $told:expr) => {{
        let mut api = $api.clone();
        #[allow(clippy::needless_update, reason = "some have no other fields")]
        let request = $package::$Request { $($field $(: $value)?,)* at_least: Some($seen), ..Default::default() };
        let read: Read = Box::pin(async move {
            #[allow(unused_mut, reason = "some answers are streams")]
            let mut $answer = api.$method(request).await?.into_inner();
            Ok($told)
        });
        read
    }};
}

/// The revision that an answer tells.
macro_rules! told {
    ($answer:expr) => {{
        let answer = $answer;
        SeenRevision { epoch: answer.epoch, revision: answer.revision }
    }};
}

/// Every read of a livestream, about a viewer.
fn livestream_reads(client: &Client, livestream_id: u64, viewer: u64, seen: SeenRevision) -> Vec<Read> {
    let api = &client.livestreams;
    vec![
        read!(api, seen, livestream get_livestream GetLivestreamRequest { livestream_id },
            answer => answer.livestream.map(|found| told!(found)).unwrap()),
        read!(api, seen, livestream get_viewer GetViewerRequest { livestream_id, viewer_node_id: viewer },
            answer => told!(answer)),
        read!(api, seen, livestream list_viewers ListViewersRequest { livestream_id },
            answer => told!(answer)),
        read!(api, seen, livestream list_viewers ListViewersRequest { livestream_id, node_ids: vec![viewer] },
            answer => told!(answer)),
        read!(api, seen, livestream list_muted_nodes ListMutedNodesRequest { livestream_id },
            answer => told!(answer)),
        read!(api, seen, livestream list_bans ListBansRequest { livestream_id },
            answer => told!(answer)),
        read!(api, seen, livestream get_targets GetTargetsRequest { livestream_id },
            answer => told!(answer)),
        read!(api, seen, livestream get_stats GetStatsRequest { livestream_id },
            answer => told!(answer)),
        read!(api, seen, livestream watch_targets WatchTargetsRequest { livestream_id },
            stream => stream.message().await?.map(|first| told!(first)).unwrap()),
        read!(api, seen, livestream subscribe_updates SubscribeUpdatesRequest { livestream_id, node_id: viewer },
            stream => begun(stream.message().await?.unwrap().deliveries.remove(0).item, seen)),
    ]
}

/// Every read of a group, about a participant.
fn group_reads(client: &Client, group_id: u64, node: u64, seen: SeenRevision) -> Vec<Read> {
    let api = &client.groups;
    vec![
        read!(api, seen, group get_group GetGroupRequest { group_id },
            answer => answer.group.map(|found| told!(found)).unwrap()),
        read!(api, seen, group get_participant GetParticipantRequest { group_id, participant_node_id: node },
            answer => told!(answer)),
        read!(api, seen, group list_participants ListParticipantsRequest { group_id },
            answer => told!(answer)),
        read!(api, seen, group list_participants ListParticipantsRequest { group_id, node_ids: vec![node] },
            answer => told!(answer)),
        read!(api, seen, group list_bans ListBansRequest { group_id },
            answer => told!(answer)),
        read!(api, seen, group get_targets GetTargetsRequest { group_id, of_node_id: node },
            answer => told!(answer)),
        read!(api, seen, group get_stats GetStatsRequest { group_id },
            answer => told!(answer)),
        read!(api, seen, group watch_targets WatchTargetsRequest { group_id, of_node_id: node },
            stream => stream.message().await?.map(|first| told!(first)).unwrap()),
        read!(api, seen, group subscribe_updates SubscribeUpdatesRequest { group_id, node_id: node },
            stream => begun(stream.message().await?.unwrap().deliveries.remove(0).item, seen)),
    ]
}

/// What a subscription begins with.
fn begun(first: Option<Item>, seen: SeenRevision) -> SeenRevision {
    let Some(Item::Subscribed(subscribed)) = first else { panic!("not what comes first: {first:?}") };
    SeenRevision { epoch: subscribed.epoch, ..seen }
}

/// The answers of reads, made again while the server is behind, as clients do.
async fn answers(reads: impl Fn() -> Vec<Read>) -> Vec<SeenRevision> {
    soon(async {
        loop {
            let all: Result<Vec<_>, Status> = join_all(reads()).await.into_iter().collect();
            match all {
                Err(status) if status.code() == Code::Unavailable => {}
                all => return all.unwrap(),
            }
        }
    })
    .await
}

/// Joins a livestream; the revision of the answer.
async fn join_livestream(client: &Client, livestream_id: u64, node_id: u64) -> SeenRevision {
    let request =
        livestream::JoinLivestreamRequest { livestream_id, node_id, lease_ttl: LONG_LEASE, ..Default::default() };
    told!(answered(client.clone().livestreams.join_livestream(request).await))
}

/// Joins a group; the revision of the answer.
async fn join_group(client: &Client, group_id: u64, node_id: u64) -> SeenRevision {
    let request = group::JoinGroupRequest { group_id, node_id, lease_ttl: LONG_LEASE, ..Default::default() };
    told!(answered(client.clone().groups.join_group(request).await))
}

/// A revision that no server has come to.
fn never_told(seen: SeenRevision) -> SeenRevision {
    SeenRevision { revision: seen.revision + 1_000, ..seen }
}

#[track_caller]
fn assert_not_behind(answers: &[SeenRevision], seen: SeenRevision) {
    for (index, answer) in answers.iter().enumerate() {
        let is_behind = answer.epoch != seen.epoch || answer.revision < seen.revision;
        assert!(!is_behind, "read {index}: {answer:?}, asked for {seen:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn next_server_is_not_behind_what_is_named() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    for id in 1..=16 {
        let [first, second, third] = [0, 1, 2].map(|at: u64| &clients[usize::try_from((id + at) % 3).unwrap()]);
        go_live(first, id).await;
        make_group(first, id, 8).await;
        for node in 10..14 {
            let seen = join_livestream(second, id, node).await;
            assert_not_behind(&answers(|| livestream_reads(third, id, node, seen)).await, seen);
            let seen = join_group(second, id, node).await;
            assert_not_behind(&answers(|| group_reads(third, id, node, seen)).await, seen);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revision_that_nobody_told_is_refused() {
    let pods = Pods::start(2).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    make_group(&clients[0], 7, 8).await;
    let never = never_told(join_livestream(&clients[0], 7, 2).await);
    let mut reads = livestream_reads(&clients[1], 7, 2, never);
    let never = never_told(join_group(&clients[0], 7, 2).await);
    reads.extend(group_reads(&clients[1], 7, 2, never));
    let asked = Instant::now();
    let refused = soon(join_all(reads)).await;
    assert!(asked.elapsed() >= Duration::from_secs(1), "each waits");
    for refused in refused {
        let status = refused.expect_err("nobody has come so far");
        assert!(retry_delay(&status).is_some(), "{status:?}");
        assert_eq!(Fault::of(&status), Fault::new(Code::Unavailable, "LOG_UNREACHABLE"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_server_never_waits_for_revisions() {
    let server = Server::start().await;
    let client = server.client().await;
    go_live(&client, 7).await;
    make_group(&client, 7, 8).await;
    let never = never_told(join_livestream(&client, 7, 2).await);
    let mut reads = livestream_reads(&client, 7, 2, never);
    let never = never_told(join_group(&client, 7, 2).await);
    reads.extend(group_reads(&client, 7, 2, never));
    for answer in soon(join_all(reads)).await {
        answer.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn next_server_knows_the_newest_incarnation() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    for id in 1..=16 {
        let [first, second, third] = [0, 1, 2].map(|at: u64| &clients[usize::try_from((id + at) % 3).unwrap()]);
        go_live(first, id).await;
        let old = join_livestream(first, id, 2).await;
        answered(first.clone().livestreams.end_livestream(end(id)).await);
        go_live(second, id).await;
        let new = join_livestream(second, id, 2).await;
        assert_ne!(new.epoch, old.epoch);
        assert_not_behind(&answers(|| livestream_reads(third, id, 2, new)).await, new);
        // What is over is waited for by nobody.
        let lasts = answers(|| livestream_reads(third, id, 2, never_told(old))).await;
        assert!(lasts.iter().all(|answer| answer.epoch == new.epoch), "{lasts:?}");
    }
    let get =
        livestream::GetLivestreamRequest { livestream_id: 99, at_least: Some(SeenRevision { epoch: 1, revision: 1 }) };
    let missing = clients[0].clone().livestreams.get_livestream(get).await;
    assert_eq!(fault(missing), Fault::new(Code::NotFound, "LIVESTREAM_NOT_FOUND"));
}

/// The first message of a watch of events that goes on from there.
async fn first_event(client: &Client, livestream_id: u64, from: SeenRevision, then: impl AsyncFn()) -> (u64, Event) {
    let resume_from = Some(EventPosition { epoch: from.epoch, revision: from.revision });
    let watch = livestream::WatchLivestreamRequest { livestream_id, resume_from, ..Default::default() };
    let mut stream = soon(async {
        loop {
            match client.clone().livestreams.watch_livestream(watch.clone()).await {
                Err(status) if status.code() == Code::Unavailable => {}
                answer => return answered(answer),
            }
        }
    })
    .await;
    then().await;
    let first = soon(stream.message()).await.unwrap().unwrap();
    (first.revision, first.event.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn watches_go_on_where_another_server_stopped() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    for id in 1..=16 {
        let [first, second, third] = [0, 1, 2].map(|at: u64| &clients[usize::try_from((id + at) % 3).unwrap()]);
        go_live(first, id).await;
        let seen = join_livestream(second, id, 2).await;
        let next = async || {
            join_livestream(first, id, 3).await;
        };
        let (revision, event) = first_event(third, id, seen, next).await;
        assert!(matches!(event, Event::Batch(_)), "{event:?}");
        assert_eq!(revision, seen.revision + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn position_of_events_nobody_told_begins_anew() {
    let pods = Pods::start(2).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    let seen = join_livestream(&clients[0], 7, 2).await;
    let (revision, event) = first_event(&clients[1], 7, never_told(seen), async || ()).await;
    let Event::Reset(reset) = event else { panic!("{event:?}") };
    assert_eq!(reset.reason(), ResetReason::UnknownPosition);
    assert!(revision >= seen.revision, "all that any server had told is known");
}
