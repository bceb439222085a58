//! Who is in, as every server says it.

use starling_client::pb::livestream::v1 as pb;
use tonic::Code;

use crate::cluster::fixture::Pods;
use crate::edge::world::{answered, go_live, join_livestream};
use crate::harness::{Fault, fault};

#[tokio::test(flavor = "multi_thread")]
async fn next_server_knows_what_one_has_answered() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    for livestream_id in 1..=40 {
        let [first, second, third] =
            [0, 1, 2].map(|at: u64| &clients[usize::try_from((livestream_id + at) % 3).unwrap()]);
        go_live(first, livestream_id).await;
        let node_id = 100 + livestream_id;
        let session_id = join_livestream(second, livestream_id, node_id).await;
        let renew = pb::RenewLeaseRequest { livestream_id, node_id, session_id };
        answered(third.clone().livestreams.renew_lease(renew).await);
        let get = pb::GetTargetsRequest { livestream_id, of_node_id: node_id, ..Default::default() };
        answered(first.clone().livestreams.get_targets(get).await);
        let watch =
            pb::WatchTargetsRequest { livestream_id, of_node_id: node_id, node_id, session_id, ..Default::default() };
        answered(third.clone().livestreams.watch_targets(watch).await);
        let subscribe = pb::SubscribeUpdatesRequest { livestream_id, node_id, session_id, ..Default::default() };
        answered(third.clone().livestreams.subscribe_updates(subscribe).await);
        let leave = pb::LeaveLivestreamRequest { livestream_id, node_id, session_id, ..Default::default() };
        answered(first.clone().livestreams.leave_livestream(leave).await);
        let renewed = second.clone().livestreams.renew_lease(renew).await;
        assert_eq!(fault(renewed), Fault::new(Code::FailedPrecondition, "NOT_A_MEMBER"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_outlive_the_server_that_let_them_in() {
    let mut pods = Pods::start(3).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    let session_id = join_livestream(&clients[0], 7, 2).await;
    let watch =
        pb::WatchTargetsRequest { livestream_id: 7, of_node_id: 2, node_id: 2, session_id, ..Default::default() };
    let _stream = answered(clients[0].clone().livestreams.watch_targets(watch).await);
    pods.servers.remove(0).kill().await;
    let renew = pb::RenewLeaseRequest { livestream_id: 7, node_id: 2, session_id };
    answered(clients[1].clone().livestreams.renew_lease(renew).await);
    let new = pods.add().await;
    answered(new.clone().livestreams.renew_lease(renew).await);
    let get = pb::GetLivestreamRequest { livestream_id: 7, ..Default::default() };
    let found = answered(new.clone().livestreams.get_livestream(get).await).livestream.unwrap();
    assert_eq!(found.viewer_count, 1);
}
