//! The roster: pages of a reset, and of ListViewers, while viewers come and go.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::Server;
use crate::watch::fixture::{LivestreamFixture, ROOT, livestream, narrow, next, shape};
use crate::watch::fold::RosterFold;
use starling_testkit::Rng;

#[tokio::test]
async fn reset_pages_are_full_but_not_too_long() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    livestream.join_all(10..2_310).await;
    let mut stream = livestream.watch().await;
    let mut fold = RosterFold::default();
    // The fold checks the size of each page and the revision that it is stamped with.
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    // 16 KiB each; a viewer that says nothing of itself counts 128 bytes.
    assert_eq!(fold.pages, 2_300usize.div_ceil(16 * 1_024 / 128));
    assert_eq!(fold.revision, livestream.get().await.revision);
    fold.assert_is(&livestream.viewers().await);
}

/// The client reads page by page, and between the pages the roster changes on both
/// sides of where the scan is.
#[tokio::test]
async fn a_reset_under_churn_ends_exact() {
    let server = Server::with(|config| config.store.list_page = 10).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    livestream.join_all_at_length(10..510).await;
    let slow = livestream.through_channel(narrow(&server, 64).await);
    let mut stream = slow.watch().await;
    let mut fold = RosterFold::default();
    let mut random = Rng::new(5);
    let mut inside: BTreeSet<u64> = (10..510).collect();
    let mut fresh = 1_000;
    let mut last = 0;
    while !fold.live {
        let pages = fold.pages;
        assert_eq!(fold.take(next(&mut stream).await), None);
        // With each event too, the reader would fall ever further behind.
        let changes = if fold.pages > pages { 20 } else { 0 };
        for _ in 0..changes {
            let members: Vec<u64> = inside.iter().copied().collect();
            let node = random.pick(&members);
            last = match random.below(4) {
                0 => {
                    inside.remove(&node);
                    livestream.leave(node).await
                }
                1 => livestream.join(node).await.revision,
                2 => livestream.update_viewer(node, random.bits().to_be_bytes().to_vec()).await,
                _ => {
                    fresh += 1;
                    inside.insert(fresh);
                    livestream.join(fresh).await.revision
                }
            };
        }
    }
    while fold.revision < last {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!(fold.resets.len(), 1, "no page was told twice");
    assert!(fold.pages > 40, "the scan took {} pages", fold.pages);
    assert!(!fold.log.is_empty(), "events came between the pages");
    assert_eq!(fold.viewers.keys().copied().collect::<BTreeSet<_>>(), inside);
    fold.assert_is(&livestream.viewers().await);
}

/// Two change roles in the middle of the scan: one leaves the list and one enters it,
/// on whichever side they are.
#[tokio::test]
async fn a_reset_during_transfers_ends_exact() {
    let server = Server::with(|config| config.store.list_page = 10).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    livestream.join(ROOT).await;
    livestream.join_all_at_length(10..200).await;
    let slow = livestream.through_channel(narrow(&server, 64).await);
    let mut resets = 0;
    let mut broadcaster = ROOT;
    for (page, to) in [(1, 15), (1, 190), (9, 20), (9, 195), (3, 100)] {
        let (mut stream, mut fold) = (slow.watch().await, RosterFold::default());
        let mut last = livestream.get().await.revision;
        while !fold.live || fold.revision < last {
            assert_eq!(fold.take(next(&mut stream).await), None);
            if fold.pages == page && broadcaster != to {
                last = livestream.transfer(broadcaster, to).await;
                broadcaster = to;
            }
        }
        assert_eq!(fold.broadcaster, to);
        resets += fold.resets.len();
        fold.assert_is(&livestream.viewers().await);
    }
    assert!(resets > 5, "a scan that a transfer crosses begins anew");
}

#[tokio::test]
async fn scan_shows_each_staying_viewer_once() {
    let (_server, livestream) = livestream(shape(50, 5)).await;
    let stay: BTreeSet<u64> = (10..210).collect();
    let mut come_and_go: Vec<u64> = (500..600).collect();
    // Mixed, so that slots become free on all sides of the scan.
    for (node, other) in stay.iter().zip(come_and_go.iter().cycle()) {
        livestream.join(*node).await;
        livestream.join(*other).await;
    }
    let mut random = Rng::new(6);
    for scan in 0..5 {
        let mut seen: BTreeMap<u64, usize> = BTreeMap::new();
        let mut token = String::new();
        let mut revision = 0;
        loop {
            let page = livestream.page(7, token).await;
            assert!(page.viewers.len() <= 7);
            assert!(page.revision >= revision, "pages are of rising revisions");
            revision = page.revision;
            for viewer in page.viewers {
                *seen.entry(viewer.node_id).or_default() += 1;
            }
            if page.next_page_token.is_empty() {
                break;
            }
            token = page.next_page_token;
            for _ in 0..3 {
                let node = random.pick(&come_and_go);
                livestream.leave(node).await;
                // Another node takes the free slot; those who stay keep theirs when
                // they join again.
                come_and_go.retain(|other| *other != node);
                let newcomer = 1_000 * (scan + 1) + random.below(900);
                if !come_and_go.contains(&newcomer) {
                    livestream.join(newcomer).await;
                    come_and_go.push(newcomer);
                }
                livestream.join(random.within(10, 209)).await;
            }
        }
        for node in &stay {
            assert_eq!(seen.get(node), Some(&1), "viewer {node}, scan {scan}");
        }
    }
}
