//! One viewer of the demo of several servers: it goes on at the next one when its own is gone.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::cli::demo::ids::LIVESTREAM;
use crate::cli::demo::targets::{apply, sorted};
use crate::cli::error::{CliError, told};
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::watch_targets_response::Event;
use starling_client::pb::swarm::v1::delivery::Item;
use starling_client::pb::swarm::v1::{self as shared, Delivery, TargetList};
use starling_client::{Client, Retry, SubscribeOptions, Subscriber, SubscriptionEvent, SwarmRef, Watch};
use starling_verify::History;

/// What a viewer is to do.
pub(super) struct Viewing {
    /// The servers, its own first.
    pub(super) urls: String,
    pub(super) node_id: u64,
    /// The number of the last picture.
    pub(super) last: u64,
    pub(super) joined: Arc<Semaphore>,
}

/// What a viewer saw.
pub(super) struct Seen {
    pub(super) node_id: u64,
    pub(super) history: History,
    /// How many pictures came.
    pub(super) pictures: u64,
    /// How many Gaps have announced.
    pub(super) announced: u64,
    /// How often the stream was cut, and whether the node had to join again.
    pub(super) cuts: u64,
    pub(super) rejoined: bool,
    /// The longest time from a cut to the next picture.
    pub(super) interruption: Duration,
    /// Its list of targets, and the revision that it is of.
    pub(super) targets: TargetList,
    pub(super) revision: u64,
    /// Kept, so that it stays a member until all is compared.
    watch: Watch<pb::WatchTargetsResponse>,
    subscriber: Subscriber,
}

impl Viewing {
    pub(super) async fn run(self, mut picture: watch::Receiver<u64>) -> Result<Seen, CliError> {
        let Self { urls, node_id, last, joined } = self;
        let mut client = Client::connect(&urls).await?;
        let lease_ttl = Some(prost_types::Duration { seconds: 30, nanos: 0 });
        let join = pb::JoinLivestreamRequest { livestream_id: LIVESTREAM, node_id, lease_ttl, ..Default::default() };
        let session_id =
            client.livestreams.join_livestream(join).await.map_err(|status| told(&status))?.into_inner().session_id;
        let open = move |mut client: Client, session_id| async move {
            let watch = pb::WatchTargetsRequest {
                livestream_id: LIVESTREAM,
                of_node_id: node_id,
                session_id,
                node_id,
                ..Default::default()
            };
            client.livestreams.watch_targets(watch).await
        };
        let targets = Watch::open(client.clone(), session_id, None, Retry::default(), open).await?;
        let subscription = SubscribeOptions {
            channels: vec![shared::UpdateChannel::Visual],
            ..SubscribeOptions::new(SwarmRef::Livestream(LIVESTREAM), node_id, session_id)
        };
        let subscriber = Subscriber::open(client, subscription).await?;
        joined.add_permits(1);
        let mut seen = Seen {
            node_id,
            history: History::new(node_id),
            pictures: 0,
            announced: 0,
            cuts: 0,
            rejoined: false,
            interruption: Duration::ZERO,
            targets: TargetList::default(),
            revision: 0,
            watch: targets,
            subscriber,
        };
        let mut cut_at = None;
        while seen.pictures + seen.announced < last || *picture.borrow_and_update() < last {
            tokio::select! {
                event = seen.subscriber.next() => {
                    let event = event?.ok_or_else(|| CliError("the livestream ended too early".into()))?;
                    seen.note(event, &mut cut_at);
                }
                message = seen.watch.next() => {
                    let message = message?.ok_or_else(|| CliError("a watch of targets ended too early".into()))?;
                    seen.fold(message);
                }
                // All may have come before the last one is counted.
                changed = picture.changed() => changed?,
            }
        }
        Ok(seen)
    }
}

impl Seen {
    fn note(&mut self, event: SubscriptionEvent, cut_at: &mut Option<Instant>) {
        match event {
            SubscriptionEvent::Item(item) => {
                match &item {
                    Item::Update(_) => {
                        self.pictures += 1;
                        let interruption = cut_at.take().map_or(Duration::ZERO, |at| at.elapsed());
                        self.interruption = self.interruption.max(interruption);
                    }
                    Item::Gap(gap) => self.announced += gap.count.unwrap_or(0),
                    _ => {}
                }
                self.history.record(&Delivery { item: Some(item) });
            }
            SubscriptionEvent::Cut(_) => {
                self.cuts += 1;
                cut_at.get_or_insert_with(Instant::now);
                self.history.cut();
            }
            SubscriptionEvent::Resumed { rejoined, .. } => self.rejoined |= rejoined,
        }
    }

    /// Reads what its list of targets becomes until this revision.
    pub(super) async fn fold_until(&mut self, revision: u64, wanted: &TargetList) -> Result<(), CliError> {
        while self.revision < revision && sorted(&self.targets) != sorted(wanted) {
            let message = self.watch.next().await?.ok_or_else(|| CliError("a watch of targets ended".into()))?;
            self.fold(message);
        }
        Ok(())
    }

    fn fold(&mut self, message: pb::WatchTargetsResponse) {
        self.revision = self.revision.max(message.revision);
        match message.event {
            Some(Event::Snapshot(list)) => self.targets = list,
            Some(Event::Delta(delta)) => apply(&mut self.targets, delta),
            _ => {}
        }
    }
}
