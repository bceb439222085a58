//! What watches hold is bounded in bytes: their messages, the log behind them, and what nobody reads.

use prost::Message;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::watch_livestream_response::Event as Content;
use starling_client::pb::swarm::v1::ResetReason;

use crate::harness::{Fault, Server, retry_delay};
use crate::watch::fixture::{ALL, LivestreamFixture, narrow, next, shape};
use crate::watch::fold::RosterFold;

/// The longest page of a roster, and what is around it.
const PAGE: usize = 16 * 1024 + 256;

#[tokio::test]
async fn roster_pages_are_short_when_members_are_long() {
    let server = Server::start().await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    livestream.join_all_at_length(10..210).await;
    let (mut stream, mut fold, mut pages) = (livestream.watch().await, RosterFold::default(), 0);
    while !fold.live {
        let message = next(&mut stream).await;
        assert!(message.encoded_len() <= PAGE, "{} bytes", message.encoded_len());
        pages += usize::from(matches!(message.event, Some(Content::Roster(_))));
        assert_eq!(fold.take(message), None);
    }
    assert!(pages > 200 * 512 / PAGE, "{pages} pages");
    fold.assert_is(&livestream.viewers().await);
}

#[tokio::test]
async fn resume_beyond_the_bytes_of_a_log_lapses() {
    const LOG: usize = 16 * 1024;
    let server = Server::with(|config| config.store.event_log_bytes = LOG).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    livestream.join_all(10..12).await;
    let (mut stream, mut fold) = (livestream.watch().await, RosterFold::default());
    while !fold.live {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    drop(stream);
    // Far less than `store.event_log_revisions`; each holds 256 bytes.
    const CHANGES: u64 = 100;
    for change in 0..CHANGES {
        let mut metadata = vec![0; 256];
        metadata[..8].copy_from_slice(&change.to_be_bytes());
        livestream.update_viewer(10, metadata).await;
    }
    let mut stream = livestream.watch_from(&ALL, fold.position()).await;
    let now = livestream.get().await.revision;
    while fold.resets.len() < 2 || !fold.live || fold.revision < now {
        assert_eq!(fold.take(next(&mut stream).await), None);
    }
    assert_eq!(fold.resets, [ResetReason::Fresh, ResetReason::Lapped]);
    fold.assert_is(&livestream.viewers().await);
    // The newest are there.
    let epoch = livestream.get().await.epoch;
    let message = next(&mut livestream.watch_from(&ALL, Some((epoch, now - 3))).await).await;
    assert_eq!((message.revision, matches!(message.event, Some(Content::Batch(_)))), (now - 2, true));
}

#[tokio::test]
async fn unread_answers_are_limited_and_others_served() {
    const SHARE: usize = 1 << 20;
    let server = Server::with(|config| config.memory.sending_connection_bytes = SHARE).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(1_000, 5)).await;
    livestream.join_all_at_length(10..510).await;
    let unread = livestream.through_channel(narrow(&server, 1_024).await);
    let targets = async |of: &LivestreamFixture| {
        let request = pb::GetTargetsRequest { livestream_id: 7, ..Default::default() };
        of.client.clone().get_targets(request).await
    };
    // One list of targets is a fifth of the share: there is room while nothing waits to be read.
    assert!(targets(&livestream).await.unwrap().into_inner().encoded_len() > SHARE / 10);
    let mut streams = Vec::new();
    for _ in 0..64 {
        streams.push(unread.watch().await);
    }
    let refused = loop {
        // The streams may not have taken their share yet.
        if let Err(refused) = targets(&unread).await {
            break refused;
        }
    };
    assert_eq!(Fault::of(&refused), Fault::new(tonic::Code::ResourceExhausted, "CONNECTION_MEMORY"));
    assert!(retry_delay(&refused).is_some());
    // Another connection notices nothing.
    assert!(targets(&livestream).await.is_ok());
    // Whoever reads gets all, also those that were not even made.
    for stream in &mut streams {
        let mut fold = RosterFold::default();
        while !fold.live {
            assert_eq!(fold.take(next(stream).await), None);
        }
        fold.assert_is(&livestream.viewers().await);
    }
}
