//! What a replica has asked of the log, under way.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use starling_replica::output::SnapshotChoice;
use starling_replica::replica::{ObjectStoreUnreachable, PublishFault};
use tokio::time::sleep;
use tracing::debug;

use crate::log::{FetchedMessages, LogUnreachable, PartitionLog};

/// How long a log that cannot be followed is left alone.
const FOLLOW_RETRY: Duration = Duration::from_millis(500);

/// How many calls of a kind are under way at most. What a replica asks beyond that is not asked: it asks again.
const MAX_OF_A_KIND: usize = 8;

/// An answer.
#[derive(Debug)]
pub(super) enum LogReply<M> {
    Following(M),
    Published(Result<u64, PublishFault>),
    Fetched(FetchedMessages),
    Extent(u64, u64),
    Loaded(SnapshotChoice, Result<Option<Vec<u8>>, ObjectStoreUnreachable>),
    Stored(String, bool),
    /// Nothing that the replica must know: it asks again.
    Nothing,
}

/// The kinds of calls that are counted.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Follow,
    Publish,
    Fetch,
    Extent,
    Load,
    Store,
    Purge,
}

const KINDS: usize = 7;

type Call<M> = Pin<Box<dyn Future<Output = (Kind, LogReply<M>)> + Send>>;

/// All calls that have no answer yet.
pub(super) struct LogCalls<L: PartitionLog> {
    log: L,
    under_way: FuturesUnordered<Call<L::Messages>>,
    counts: [usize; KINDS],
}

impl<L: PartitionLog> LogCalls<L> {
    pub(super) fn new(log: L) -> Self {
        Self { log, under_way: FuturesUnordered::new(), counts: [0; KINDS] }
    }

    fn call<F>(&mut self, kind: Kind, most: usize, call: impl FnOnce(L) -> F)
    where
        F: Future<Output = LogReply<L::Messages>> + Send + 'static,
    {
        let count = &mut self.counts[kind as usize];
        if *count >= most {
            return debug!(?kind, "the log has not answered what was asked before");
        }
        *count += 1;
        let answer = call(self.log.clone());
        self.under_way.push(Box::pin(async move { (kind, answer.await) }));
    }

    /// Until it succeeds.
    pub(super) fn follow(&mut self) {
        self.call(Kind::Follow, 1, |log| async move {
            loop {
                match log.follow().await {
                    Ok(messages) => return LogReply::Following(messages),
                    Err(LogUnreachable) => sleep(FOLLOW_RETRY).await,
                }
            }
        });
    }

    pub(super) fn publish(&mut self, bytes: Vec<u8>, expect_last: Option<u64>) {
        self.call(Kind::Publish, MAX_OF_A_KIND, |log| async move {
            LogReply::Published(log.publish(Bytes::from(bytes), expect_last).await)
        });
    }

    pub(super) fn fetch(&mut self, from: u64, to: u64) {
        self.call(Kind::Fetch, MAX_OF_A_KIND, |log| async move {
            log.fetch(from, to).await.map_or(LogReply::Nothing, LogReply::Fetched)
        });
    }

    pub(super) fn extent(&mut self) {
        self.call(Kind::Extent, MAX_OF_A_KIND, |log| async move {
            log.extent().await.map_or(LogReply::Nothing, |(first, last)| LogReply::Extent(first, last))
        });
    }

    pub(super) fn load(&mut self, choice: SnapshotChoice) {
        self.call(Kind::Load, MAX_OF_A_KIND, |log| async move {
            let found = log.load(choice.clone()).await;
            LogReply::Loaded(choice, found.map(|found| found.map(|(_, bytes)| bytes)))
        });
    }

    pub(super) fn store(&mut self, name: String, bytes: Vec<u8>) {
        self.call(Kind::Store, MAX_OF_A_KIND, |log| async move {
            let is_stored = log.store(name.clone(), bytes).await.is_ok();
            LogReply::Stored(name, is_stored)
        });
    }

    pub(super) fn purge(&mut self, below: u64) {
        self.call(Kind::Purge, 1, |log| async move {
            if log.purge(below).await.is_err() {
                debug!(below, "the log is not purged now, but after the next snapshot");
            }
            LogReply::Nothing
        });
    }

    /// The next answer; without end when nothing was asked.
    pub(super) async fn next(&mut self) -> LogReply<L::Messages> {
        match self.under_way.next().await {
            Some((kind, reply)) => {
                self.counts[kind as usize] -= 1;
                reply
            }
            None => std::future::pending().await,
        }
    }
}
