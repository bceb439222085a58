//! Lanes for a peer that follows them here, at their home.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Notify;
use tokio::time::timeout;
use tonic::{Response, Status, Streaming};

use super::Homes;
use super::convert::{self, lane, seal_message, term_seq, update_message};
use crate::clock;
use crate::feed::{LaneBatch, LaneReader};
use crate::pb::peer::v1::{FollowRequest, FollowResponse, LaneRequest};
use crate::service::Service;
use starling_core::id::{NO_HOME, PodId, SwarmId};

/// How long the first message may take to come.
const FIRST: Duration = Duration::from_secs(5);

/// A follower's stream.
struct FollowerStream {
    reader: LaneReader,
    inbound: Streaming<FollowRequest>,
    wake: Arc<StreamWake>,
    /// The newest message with lanes that was taken, and that whose lanes are known to be complete.
    requested: u64,
    complete: u64,
    /// A message that cannot be followed.
    failed: Option<Status>,
    homes: Arc<dyn Homes>,
    id: SwarmId,
    /// This server's number when the stream began.
    own: PodId,
}

#[derive(Debug, Default)]
struct StreamWake(Notify);

impl Wake for StreamWake {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

/// Opens a follower's stream.
pub(super) async fn answer(
    service: &Service,
    homes: &Arc<dyn Homes>,
    mut inbound: Streaming<FollowRequest>,
) -> Result<Response<BoxStream<'static, Result<FollowResponse, Status>>>, Status> {
    let first = timeout(FIRST, inbound.message()).await.map_err(|_| Status::deadline_exceeded("no first message"))?;
    let mut first = first?.ok_or_else(|| Status::invalid_argument("no first message"))?;
    let (id, epoch) = convert::swarm(first.swarm.take())?;
    let own = homes.own(id);
    let feed = service.feed(id, epoch).filter(|_| own != NO_HOME);
    let feed = feed.ok_or_else(|| Status::not_found("there is no such swarm here"))?;
    // From here on what other servers accept is known from what this one does.
    feed.follow_as(own);
    let wake: Arc<StreamWake> = Arc::default();
    let reader = LaneReader::enter(&feed, own, Waker::from(Arc::clone(&wake)))
        .ok_or_else(|| Status::resource_exhausted("too many servers follow the swarm here"))?;
    feed.start_wake_task();
    let homes = Arc::clone(homes);
    let mut follower =
        FollowerStream { reader, inbound, wake, requested: 0, complete: 0, failed: None, homes, id, own };
    follower.take(first);
    let responses = stream::unfold(follower, |mut follower| async {
        let response = follower.next().await?;
        Some((response, follower))
    });
    Ok(Response::new(responses.boxed()))
}

impl FollowerStream {
    async fn next(&mut self) -> Option<Result<FollowResponse, Status>> {
        loop {
            // What it wants otherwise counts before what is sent next.
            while let Some(message) = self.inbound.message().now_or_never() {
                self.take(message.ok()??);
            }
            if let Some(failed) = self.failed.take() {
                return Some(Err(failed));
            }
            let changed = self.reader.feed().producers().notified_owned();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let batch = self.reader.read(clock::uptime());
            let complete = self.reader.is_at_end() && self.complete < self.requested;
            if complete {
                self.complete = self.requested;
            }
            if complete || !batch.is_empty() {
                return Some(Ok(response(batch, if complete { self.complete } else { 0 })));
            }
            let feed = self.reader.feed();
            if self.requested > 0 && feed.is_closed() && !batch.has_more || self.homes.own(self.id) != self.own {
                // Another state of the swarm may have taken its place, or this server has begun anew.
                return None;
            }
            if batch.has_more {
                // It had much to pass over, and others of the thread get their turn first.
                tokio::task::yield_now().await;
                continue;
            }
            if !self.reader.park() {
                continue;
            }
            tokio::select! {
                message = self.inbound.message() => self.take(message.ok()??),
                () = self.wake.0.notified() => {}
                () = changed => {}
            }
        }
    }

    fn take(&mut self, message: FollowRequest) {
        self.requested = self.requested.max(message.number);
        let asked = message.lanes.into_iter().try_for_each(|request| self.want(request));
        let keyframes = message.keyframes.into_iter().try_for_each(|wanted| {
            let (source, channel) = lane(wanted.source_node_id, wanted.channel)?;
            // A lane that is not here is not made for it.
            if self.reader.feed().holder(source, channel).is_some() {
                self.reader.feed().request_keyframe(source, channel);
            }
            Ok(())
        });
        self.failed = asked.and(keyframes).err();
    }

    fn want(&mut self, request: LaneRequest) -> Result<(), Status> {
        let (source, channel) = lane(request.source_node_id, request.channel)?;
        if !request.follow {
            self.reader.unfollow(source, channel);
            return Ok(());
        }
        if request.anew && !self.reader.follow(source, channel, request.after.map(term_seq)) {
            return Err(Status::resource_exhausted("too many lanes"));
        }
        self.reader.want(source, channel, convert::demand(request.highest_interest, request.subscribers));
        Ok(())
    }
}

fn response(batch: LaneBatch, complete: u64) -> FollowResponse {
    let seals = batch.seals.iter().filter_map(|((source, channel), seal)| {
        let source = (*source)?;
        Some(seal_message((source, *channel), seal))
    });
    FollowResponse {
        seals: seals.collect(),
        updates: batch.updates.into_iter().map(update_message).collect(),
        complete,
    }
}
