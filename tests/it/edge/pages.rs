//! Lists, page by page.

use std::collections::BTreeMap;

use starling_client::Client;
use starling_client::pb::{group::v1 as group, livestream::v1 as pb};

use crate::edge::world::{answered, end, join_group, join_livestream, make_group, make_livestream};
use crate::harness::{Fault, Server, fault};

/// How many livestreams each page has, and how often each livestream was on one.
async fn livestreams(client: &Client, page_size: i32) -> (Vec<usize>, BTreeMap<u64, usize>) {
    let (mut pages, mut seen, mut page_token) = (Vec::new(), BTreeMap::new(), String::new());
    loop {
        let list = pb::ListLivestreamsRequest { page_size, page_token, ..Default::default() };
        let page = answered(client.clone().livestreams.list_livestreams(list).await);
        pages.push(page.livestreams.len());
        page.livestreams.iter().for_each(|found| *seen.entry(found.livestream_id).or_default() += 1);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return (pages, seen);
        }
    }
}

#[tokio::test]
async fn pages_hold_every_livestream_exactly_once() {
    let server = Server::start().await;
    let client = server.client().await;
    for livestream_id in 1..=125 {
        make_livestream(&client, livestream_id, pb::LivestreamConfig::default()).await;
    }
    let everyone: BTreeMap<u64, usize> = (1..=125).map(|livestream_id| (livestream_id, 1)).collect();
    for page_size in [1, 7, 25, 124, 125, 126, 1_000, i32::MAX] {
        let (pages, seen) = livestreams(&client, page_size).await;
        assert_eq!(seen, everyone, "page size {page_size}");
        let full = usize::try_from(page_size).unwrap().min(125);
        assert!(pages[..125 / full].iter().all(|count| *count == full), "page size {page_size}: {pages:?}");
    }
    let (pages, seen) = livestreams(&client, 0).await;
    assert_eq!((pages[0], seen), (100, everyone), "100 unless said");
}

#[tokio::test]
async fn no_page_is_longer_than_the_configuration_allows() {
    let server = Server::with(|config| config.store.list_page = 3).await;
    let client = server.client().await;
    for livestream_id in 1..=7 {
        make_livestream(&client, livestream_id, pb::LivestreamConfig::default()).await;
    }
    for page_size in [0, 3, 4, 1_000] {
        let (pages, seen) = livestreams(&client, page_size).await;
        assert_eq!((pages, seen.len()), (vec![3, 3, 1], 7));
    }
}

#[tokio::test]
async fn pages_hold_every_viewer_but_no_broadcaster() {
    let server = Server::start().await;
    let client = server.client().await;
    make_livestream(&client, 7, pb::LivestreamConfig::default()).await;
    for node_id in 2..=11 {
        join_livestream(&client, 7, node_id).await;
        if node_id == 6 {
            join_livestream(&client, 7, 1).await;
        }
    }
    for page_size in [1, 3, 5, 10, 11] {
        let (mut seen, mut page_token) = (Vec::new(), String::new());
        loop {
            let list = pb::ListViewersRequest { livestream_id: 7, page_size, page_token, ..Default::default() };
            let page = answered(client.clone().livestreams.list_viewers(list).await);
            assert!(!page.viewers.is_empty(), "no page for nothing");
            seen.extend(page.viewers.iter().map(|viewer| viewer.node_id));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, (2..=11).collect::<Vec<_>>(), "page size {page_size}");
    }
}

#[tokio::test]
async fn pages_hold_every_group_and_participant_once() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut groups = client.groups.clone();
    for group_id in 1..=9 {
        make_group(&client, group_id, 16).await;
        join_group(&client, 1, group_id).await;
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = group::ListGroupsRequest { page_size: 2, page_token, ..Default::default() };
        let page = answered(groups.list_groups(list).await);
        seen.extend(page.groups.iter().map(|group| group.group_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (1..=9).collect::<Vec<_>>());
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = group::ListParticipantsRequest { group_id: 1, page_size: 4, page_token, ..Default::default() };
        let page = answered(groups.list_participants(list).await);
        seen.extend(page.participants.iter().map(|participant| participant.node_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn tokens_of_another_list_are_refused() {
    let server = Server::start().await;
    let client = server.client().await;
    let (mut livestreams, mut groups) = (client.livestreams.clone(), client.groups.clone());
    for id in [7, 8] {
        make_livestream(&client, id, pb::LivestreamConfig::default()).await;
        make_group(&client, id, 16).await;
        for node_id in 2..=4 {
            join_livestream(&client, id, node_id).await;
            join_group(&client, id, node_id).await;
        }
    }
    let list = |page_token: &str| pb::ListLivestreamsRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let list_groups = |page_token: &str| group::ListGroupsRequest {
        page_size: 1,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let viewers = |livestream_id, page_token: &str| pb::ListViewersRequest {
        livestream_id,
        page_size: 1,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let participants = |group_id, page_token: &str| group::ListParticipantsRequest {
        group_id,
        page_size: 1,
        page_token: page_token.to_owned(),
        ..Default::default()
    };
    let tokens = [
        answered(livestreams.list_livestreams(list("")).await).next_page_token,
        answered(groups.list_groups(list_groups("")).await).next_page_token,
        answered(livestreams.list_viewers(viewers(7, "")).await).next_page_token,
        answered(livestreams.list_viewers(viewers(8, "")).await).next_page_token,
        answered(groups.list_participants(participants(7, "")).await).next_page_token,
        answered(groups.list_participants(participants(8, "")).await).next_page_token,
    ];
    for (at, token) in tokens.iter().enumerate() {
        let answers = [
            livestreams.list_livestreams(list(token)).await.map(drop),
            groups.list_groups(list_groups(token)).await.map(drop),
            livestreams.list_viewers(viewers(7, token)).await.map(drop),
            livestreams.list_viewers(viewers(8, token)).await.map(drop),
            groups.list_participants(participants(7, token)).await.map(drop),
            groups.list_participants(participants(8, token)).await.map(drop),
        ];
        for (list, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(()) => assert_eq!(list, at, "a token of list {at}"),
                Err(status) => assert_eq!((Fault::of(&status), list == at), (Fault::field("page_token"), false)),
            }
        }
    }
    // Neither does one go on in another swarm of the same id.
    answered(livestreams.end_livestream(end(7)).await);
    make_livestream(&client, 7, pb::LivestreamConfig::default()).await;
    let old = livestreams.list_viewers(viewers(7, &tokens[2])).await;
    assert_eq!(fault(old), Fault::field("page_token"));
}
