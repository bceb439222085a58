//! Lists, page by page.

use std::collections::BTreeMap;

use starling::client::Client;
use starling::pb::{group::v1 as group, livestream::v1 as pb};

use crate::harness::Server;
use crate::world::{answered, join_group, join_livestream, make_group, make_livestream};

/// How many livestreams each page has, and how often each livestream was on one.
async fn livestreams(client: &Client, page_size: i32) -> (Vec<usize>, BTreeMap<u64, usize>) {
    let (mut pages, mut seen, mut page_token) = (Vec::new(), BTreeMap::new(), String::new());
    loop {
        let list = pb::ListLivestreamsRequest { page_size, page_token };
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
async fn pages_hold_every_livestream_exactly_once_whatever_their_size() {
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
async fn pages_hold_every_viewer_exactly_once_and_never_the_broadcaster() {
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
            let list = pb::ListViewersRequest { livestream_id: 7, page_size, page_token };
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
async fn pages_hold_every_group_and_every_participant_exactly_once() {
    let server = Server::start().await;
    let client = server.client().await;
    let mut groups = client.groups.clone();
    for group_id in 1..=9 {
        make_group(&client, group_id, 16).await;
        join_group(&client, 1, group_id).await;
    }
    let (mut seen, mut page_token) = (Vec::new(), String::new());
    loop {
        let list = group::ListGroupsRequest { page_size: 2, page_token };
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
        let list = group::ListParticipantsRequest { group_id: 1, page_size: 4, page_token };
        let page = answered(groups.list_participants(list).await);
        seen.extend(page.participants.iter().map(|participant| participant.node_id));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, (1..=9).collect::<Vec<_>>());
}
