//! The updates of one subscriber as the body of its response.
//!
//! HTTP/2 pulls it: while there is no room, nothing runs and nothing piles up. What
//! it hands out are shared bytes, records as they lie in the ring or joined once for
//! all who read in step. It is framed here and not by tonic, whose encoder copies
//! each message for each subscriber.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use futures_util::stream::{BoxStream, Stream, StreamExt};
use http::HeaderMap;
use http_body::{Body, Frame};
use prost::Message;
use tonic::{Code, Status};

use super::call_counts::CallRecord;
use super::convert;
use super::message_count::PREFIX;
use super::status::End;
use super::stream::{LifetimeEvent, StreamLifetime};
use crate::clock::Clock;
use crate::feed::{Delivery, Greeting, frame};
use crate::pb::livestream::v1::SubscribeUpdatesResponse;
use crate::pb::swarm::v1 as shared;
use crate::service::subscribe::Subscription;
use crate::service::watch::{Over, Step};
use crate::transport::{StreamProgress, WakeSet};
use shared::delivery::Item;
use starling_core::event::LeaveReason;
use starling_core::id::NodeId;

/// The flag of updates, and that of the lifetime.
pub(super) const UPDATES_WAKE: u32 = 0;
const LIFE: u32 = 1;

/// The updates of one subscriber.
pub(super) struct Updates {
    subscription: Subscription,
    clock: Clock,
    /// Its flags are set by updates and by the lifetime.
    wakes: Arc<WakeSet>,
    life: Waker,
    progress: Option<Arc<StreamProgress>>,
    /// Told how it ends: no layer sees it.
    record: Option<Arc<CallRecord>>,
    signs: BoxStream<'static, LifetimeEvent>,
    /// It waits to be woken.
    parked: bool,
    /// A sign of life is due.
    beat: bool,
    /// What is to be handed out next.
    rest: Bytes,
    /// Boxed, for they come once and this is looked at often.
    trailers: Option<Box<HeaderMap>>,
    over: bool,
}

impl Updates {
    pub(super) fn new(
        subscription: Subscription,
        greeting: Greeting,
        lifetime: StreamLifetime,
        wakes: Arc<WakeSet>,
        progress: Option<Arc<StreamProgress>>,
        record: Option<Arc<CallRecord>>,
    ) -> Self {
        let rest = framed(Item::Subscribed(subscribed(&subscription, greeting, lifetime.heartbeat())));
        let clock = lifetime.clock().clone();
        let (life, signs) = (wakes.waker(LIFE), lifetime.signs());
        Self {
            subscription,
            clock,
            wakes,
            life,
            progress,
            record,
            signs,
            parked: false,
            beat: false,
            rest,
            trailers: None,
            over: false,
        }
    }

    /// Looks for what is to be told, until there is something to hand out or to wait for.
    fn look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // What ends the stream goes before what is new: that is told, or stays where it is.
        let set = self.wakes.take();
        if set & (1 << LIFE) != 0 {
            let mut life = Context::from_waker(&self.life);
            while let Poll::Ready(Some(sign)) = self.signs.poll_next_unpin(&mut life) {
                match sign {
                    LifetimeEvent::Beat => self.beat = true,
                    LifetimeEvent::End(end) => {
                        self.end(end);
                        return Poll::Ready(());
                    }
                }
            }
        }
        let woken = set & (1 << UPDATES_WAKE) != 0 || self.beat;
        if !woken && (self.parked || self.subscription.park()) {
            self.parked = true;
            return self.wakes.park(cx.waker());
        }
        self.parked = false;
        match self.subscription.step() {
            Step::Item(deliveries) => self.rest = self.chunk(deliveries),
            // The sign of life follows a look, so that its heads are those of now.
            Step::Idle(_) if self.beat && !self.subscription.is_behind() => {
                self.beat = false;
                self.rest = framed(Item::Heartbeat(self.heartbeat()));
            }
            // It had much to pass over, and others of the task get their turn first.
            Step::Idle(_) if self.subscription.is_behind() => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            // It parks with the next look.
            Step::Idle(_) => {}
            Step::Over(Over::SwarmEnded) => self.end(End::SwarmEnded),
            Step::Over(Over::NodeLeft) => self.end(End::Session(LeaveReason::Left)),
        }
        Poll::Ready(())
    }

    fn end(&mut self, end: End) {
        let (goodbye, status) = end.goodbye_and_status();
        self.rest = goodbye.map(|goodbye| framed(Item::Goodbye(goodbye))).unwrap_or_default();
        let status = status.err().unwrap_or_else(|| Status::new(Code::Ok, ""));
        if let Some(record) = &self.record {
            record.end(&status);
        }
        let mut trailers = HeaderMap::new();
        // It fails for metadata that is no header; ours is.
        drop(status.add_header(&mut trailers));
        self.trailers = Some(Box::new(trailers));
    }

    /// A batch as bytes: updates as they lie or joined; with what else there is to tell
    /// in one message, so that nobody is cut off between a filter and its keyframe.
    fn chunk(&self, deliveries: Vec<Delivery>) -> Bytes {
        if deliveries.iter().all(Delivery::is_update) {
            let updates: Vec<_> = deliveries.into_iter().filter_map(Delivery::into_update).collect();
            return self.subscription.join(&updates);
        }
        let mut items = BytesMut::new();
        for delivery in deliveries {
            match delivery {
                Delivery::Update(update) => items.put_slice(update.item()),
                Delivery::Gap(gap) => put_item(&mut items, Item::Gap(gap.into())),
                Delivery::Filter(change) => put_item(&mut items, Item::Filter(change.into())),
            }
        }
        frame([&items[..]])
    }

    fn heartbeat(&self) -> shared::FeedHeartbeat {
        shared::FeedHeartbeat {
            epoch: self.subscription.epoch().get(),
            heads: self.subscription.heads().into_iter().map(Into::into).collect(),
            server_time: Some(convert::timestamp(self.clock.wall())),
        }
    }
}

impl Drop for Updates {
    fn drop(&mut self) {
        if self.progress.as_ref().is_some_and(|progress| progress.is_cut()) {
            self.subscription.note_slow();
        }
    }
}

impl Body for Updates {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        loop {
            if !this.rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.rest)))));
            }
            if this.over {
                return Poll::Ready(None);
            }
            if let Some(trailers) = this.trailers.take() {
                this.over = true;
                return Poll::Ready(Some(Ok(Frame::trailers(*trailers))));
            }
            std::task::ready!(this.look(cx));
        }
    }
}

fn subscribed(subscription: &Subscription, greeting: Greeting, heartbeat: Duration) -> shared::Subscribed {
    let Greeting { positions, filters, waiting } = greeting;
    let limits = subscription.limits();
    let waiting = waiting.into_iter().map(|(source, channel)| shared::SourceChannel {
        source_node_id: source.map_or(0, NodeId::get),
        channel: shared::UpdateChannel::from(channel).into(),
        track: 0,
    });
    shared::Subscribed {
        epoch: subscription.epoch().get(),
        positions: positions.into_iter().map(Into::into).collect(),
        filters: filters.into_iter().map(Into::into).collect(),
        waiting_for_keyframe: waiting.collect(),
        heartbeat_interval: prost_types::Duration::try_from(heartbeat).ok(),
        bytes_per_second: limits.bandwidth.unwrap_or(0),
        max_lag: prost_types::Duration::try_from(Duration::from(limits.max_lag)).ok(),
    }
}

/// This item as a gRPC message; it is the same in both services.
fn framed(item: Item) -> Bytes {
    let mut items = BytesMut::new();
    put_item(&mut items, item);
    frame([&items[..]])
}

fn put_item(items: &mut BytesMut, item: Item) {
    let delivery = shared::Delivery { item: Some(item) }.encode_to_vec().into();
    let one = SubscribeUpdatesResponse { deliveries: vec![delivery] };
    one.encode(items).expect("it grows as needed");
}

/// The messages of a body, taken out of their frames: for gRPC-Web, which frames them its own way.
pub(super) struct Deliveries<R> {
    updates: Updates,
    message: PhantomData<fn() -> R>,
}

impl<R> Deliveries<R> {
    pub(super) const fn new(updates: Updates) -> Self {
        Self { updates, message: PhantomData }
    }
}

impl<R: Message + Default> Stream for Deliveries<R> {
    type Item = Result<R, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(frame) = std::task::ready!(Pin::new(&mut self.updates).poll_frame(cx)).transpose()? else {
            return Poll::Ready(None);
        };
        Poll::Ready(match frame.into_data() {
            // Each frame of data is one message: a flag, its length, and its content.
            Ok(mut data) => {
                data.advance(PREFIX);
                Some(R::decode(data).map_err(|error| Status::internal(error.to_string())))
            }
            Err(frame) => {
                let status = frame.trailers_ref().and_then(Status::from_header_map);
                status.filter(|status| status.code() != Code::Ok).map(Err)
            }
        })
    }
}
