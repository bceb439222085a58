//! Watchers that never read, by the memory of a server of its own.
#![cfg(target_os = "linux")]

use crate::process::{Running, Serving};
use crate::watch::fixture::{LivestreamFixture, shape};
use starling_client::{BearerToken, TokenChannel};

const WATCHERS: usize = 200;
const CHANGES: u64 = 5_000;
/// Of one change: as much as a viewer may say of itself.
const METADATA: usize = 256;

/// What a process has in memory, in bytes.
fn resident(process: &Running) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id)).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

/// A queue for each watcher would hold every change for each of them: three times
/// what is allowed here.
#[tokio::test]
async fn watchers_that_never_read_cost_bounded_memory() {
    let server = Serving::start(&[]).await;
    let livestream = LivestreamFixture::create(server.client().await, 7, shape(50, 5)).await;
    livestream.join_all(10..20).await;
    let endpoint = tonic::transport::Endpoint::from_shared(server.url()).unwrap();
    let channel = endpoint.initial_stream_window_size(1_024).connect().await.unwrap();
    let stalled = livestream.through_channel(TokenChannel::new(channel, BearerToken::none()));
    let mut unread = Vec::new();
    for index in 0..WATCHERS {
        unread.push((stalled.watch().await, stalled.watch_targets((index % 2 == 0).then_some(10)).await));
    }
    let before = resident(&server.process);
    for change in 0..CHANGES {
        let mut metadata = vec![0; METADATA];
        metadata[..8].copy_from_slice(&change.to_be_bytes());
        livestream.update_viewer(10 + change % 10, metadata).await;
    }
    let grown = resident(&server.process).saturating_sub(before);
    let queued = WATCHERS as u64 * CHANGES * METADATA as u64;
    eprintln!("{WATCHERS} watchers that never read: {grown} bytes more after {CHANGES} changes ({queued} if queued)");
    assert!(grown < queued / 3, "{grown} bytes more; a queue for each would be {queued}");
    drop(unread);
}
