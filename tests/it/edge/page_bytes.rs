//! Pages are bounded in bytes: a list of large entries has more pages, and none is lost.

use prost::Message;
use starling_client::pb::group::v1 as group;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::{ChannelInterest, Interest, MemberView, UpdateChannel};

use crate::edge::world::{answered, join_group, make_group};
use crate::harness::{Fault, Server, fault};

/// The longest page, unless one entry is longer.
const PAGE: usize = 64 * 1024;

/// What a page has around its entries.
const AROUND: usize = 256;

#[tokio::test]
async fn long_metadata_makes_more_pages_of_livestreams() {
    let server = Server::start().await;
    let client = server.client().await;
    let ids: Vec<u64> = (1..=150).collect();
    for livestream_id in &ids {
        let create = pb::CreateLivestreamRequest {
            livestream_id: *livestream_id,
            node_id: 1,
            metadata: vec![0; 1_024].into(),
            ..Default::default()
        };
        answered(client.clone().livestreams.create_livestream(create).await);
    }
    for livestream_ids in [vec![], ids.clone()] {
        let page_size = if livestream_ids.is_empty() { 1_000 } else { 0 };
        let (mut seen, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let livestream_ids = livestream_ids.clone();
            let list = pb::ListLivestreamsRequest { page_size, page_token, livestream_ids, states: vec![] };
            let page = answered(client.clone().livestreams.list_livestreams(list).await);
            assert!(page.encoded_len() <= PAGE + AROUND, "{} bytes", page.encoded_len());
            seen.extend(page.livestreams.iter().map(|found| found.livestream_id));
            (page_token, pages) = (page.next_page_token, pages + 1);
            if page_token.is_empty() {
                break;
            }
        }
        assert!(pages >= 3, "{pages} pages");
        if livestream_ids.is_empty() {
            seen.sort_unstable();
        }
        assert_eq!(seen, ids, "in the order asked for, each once");
    }
    let token = "0-0".to_owned();
    let list = pb::ListLivestreamsRequest { page_token: token, livestream_ids: ids, ..Default::default() };
    assert_eq!(fault(client.clone().livestreams.list_livestreams(list).await), Fault::field("page_token"));
}

/// Makes a node want something else of each of the others.
async fn want_of_each(client: &starling_client::Client, node_id: u64, others: std::ops::RangeInclusive<u64>) {
    use UpdateChannel::{Audio, Chat, Data, Screen, Visual};
    let of = |source_node_id: u64| {
        [Visual, Audio, Screen, Chat, Data].map(|channel| ChannelInterest {
            channel: channel.into(),
            interest: Interest::Low.into(),
            source_node_id,
            ttl: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
            ..Default::default()
        })
    };
    let interests = others.filter(|other| *other != node_id).flat_map(of).collect();
    let request = group::SetInterestRequest { group_id: 7, node_id, interests, ..Default::default() };
    answered(client.clone().groups.set_interest(request).await);
}

#[tokio::test]
async fn participants_with_many_interests_make_more_pages() {
    const NODES: u64 = 40;
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 64).await;
    for node_id in 1..=NODES {
        join_group(&client, 7, node_id).await;
    }
    for node_id in 1..=NODES {
        want_of_each(&client, node_id, 1..=NODES).await;
    }
    for node_ids in [vec![], (1..=NODES).collect::<Vec<u64>>()] {
        let (mut seen, mut page_token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let list = group::ListParticipantsRequest {
                group_id: 7,
                page_token,
                view: MemberView::Full.into(),
                node_ids: node_ids.clone(),
                ..Default::default()
            };
            let page = answered(client.clone().groups.list_participants(list).await);
            assert!(page.encoded_len() <= PAGE + AROUND, "{} bytes", page.encoded_len());
            assert!(page.participants.iter().all(|one| one.interests.len() as u64 == 5 * NODES), "in full");
            seen.extend(page.participants.iter().map(|one| one.node_id));
            (page_token, pages) = (page.next_page_token, pages + 1);
            if page_token.is_empty() {
                break;
            }
        }
        assert!(pages >= 4, "{pages} pages");
        assert_eq!(seen, (1..=NODES).collect::<Vec<u64>>());
    }
    // What BASIC does not show makes no page shorter.
    let list = group::ListParticipantsRequest { group_id: 7, ..Default::default() };
    let page = answered(client.clone().groups.list_participants(list).await);
    assert_eq!((page.participants.len() as u64, page.next_page_token.as_str()), (NODES, ""));
}

#[tokio::test]
async fn token_of_other_names_is_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    make_group(&client, 7, 64).await;
    for node_id in 1..=40 {
        join_group(&client, 7, node_id).await;
        want_of_each(&client, node_id, 1..=40).await;
    }
    let list = async |node_ids: Vec<u64>, page_token: String| {
        let view = MemberView::Full.into();
        let list = group::ListParticipantsRequest { group_id: 7, page_token, view, node_ids, ..Default::default() };
        client.clone().groups.list_participants(list).await
    };
    let names: Vec<u64> = (1..=40).collect();
    let token = answered(list(names.clone(), String::new()).await).next_page_token;
    assert_eq!(fault(list(names[1..].to_vec(), token.clone()).await), Fault::field("page_token"));
    assert_eq!(fault(list(vec![], token.clone()).await), Fault::field("page_token"));
    assert!(list(names, token).await.is_ok());
}
