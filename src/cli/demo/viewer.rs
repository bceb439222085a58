//! One viewer of the demo: joins, watches its targets, and writes what comes.

use std::ops::RangeBounds;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tonic::transport::Endpoint;

use super::ids::LIVESTREAM;
use super::meters::Meters;
use super::targets::apply;
use crate::cli::error::{CliError, told};
use starling_client::pb::livestream::v1::livestream_service_client::LivestreamServiceClient;
use starling_client::pb::livestream::v1::{self as pb, watch_targets_response::Event};
use starling_client::pb::swarm::v1::{self as shared, TargetList, delivery::Item};
use starling_client::{Client, TokenChannel};
use starling_verify::History;

/// The first viewer's node.
const FIRST: u64 = 1_000;

/// What a viewer is there to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Stays, and must get everything.
    Complete,
    /// Leaves at picture 50.
    Leaver,
    /// A relay that is gone without a word at picture 75; its lease is 2 s.
    Victim,
    /// Joins at picture 140.
    Late,
    /// Gets keyframes only.
    Lurker,
    /// Has a small window, and does not read from picture 60 to 170.
    Stalled,
}

impl Part {
    /// Who plays what: (node, part).
    pub(super) fn of_each(viewers: u64) -> impl Iterator<Item = (u64, Self)> {
        (0..viewers).map(move |number| {
            let part = match number {
                0 => Self::Victim,
                n if n % 10 == 9 => Self::Leaver,
                n if n == viewers - 2 => Self::Late,
                n if n == viewers - 3 => Self::Lurker,
                n if n == viewers - 4 => Self::Stalled,
                _ => Self::Complete,
            };
            (FIRST + number, part)
        })
    }

    /// How many must get everything.
    pub(super) fn complete(viewers: u64) -> u64 {
        Self::of_each(viewers).filter(|(_, part)| *part == Self::Complete).count() as u64
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Complete => "viewer",
            Self::Leaver => "leaver",
            Self::Victim => "victim",
            Self::Late => "late",
            Self::Lurker => "lurker",
            Self::Stalled => "stalled",
        }
    }
}

/// What a viewer saw.
pub(super) struct Seen {
    pub(super) node: u64,
    pub(super) part: Part,
    pub(super) history: History,
    /// The payloads, end to end.
    pub(super) written: Vec<u8>,
    pub(super) pictures: Vec<Picture>,
    pub(super) losses: Vec<Loss>,
}

/// A picture that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picture {
    /// Counts from 1.
    pub(super) number: u64,
    pub(super) keyframe: bool,
}

/// Pictures that a Gap declared lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    /// How many pictures had come before.
    pub(super) after: usize,
    /// How many were lost; 0 when the Gap did not say.
    pub(super) count: u64,
}

/// Watches to the end, or as far as the part goes.
pub(super) async fn watch(
    url: String,
    (node_id, part): (u64, Part),
    meters: Arc<Meters>,
    joined: Arc<Semaphore>,
    pictures: u64,
) -> Result<Seen, CliError> {
    let mut clock = meters.pictures.subscribe();
    if part == Part::Late {
        clock.wait_for(|picture| *picture >= 140).await?;
    }
    let mut client = Client::connect(&url).await?;
    if part == Part::Stalled {
        let narrow = Endpoint::from_shared(url)?.initial_stream_window_size(65_535).connect().await?;
        client.livestreams = LivestreamServiceClient::new(TokenChannel::new(narrow, client.token().clone()))
            .max_decoding_message_size(4 << 20);
    }
    let mode = if part == Part::Lurker { pb::ViewerMode::Lurker } else { pb::ViewerMode::Active };
    let lease = prost_types::Duration { seconds: if part == Part::Victim { 2 } else { 30 }, nanos: 0 };
    let join = pb::JoinLivestreamRequest {
        livestream_id: LIVESTREAM,
        node_id,
        mode: mode.into(),
        lease_ttl: Some(lease),
        ..Default::default()
    };
    let session_id =
        client.livestreams.join_livestream(join).await.map_err(|status| told(&status))?.into_inner().session_id;
    let targets = pb::WatchTargetsRequest {
        livestream_id: LIVESTREAM,
        of_node_id: node_id,
        session_id,
        node_id,
        ..Default::default()
    };
    let targets = client.livestreams.watch_targets(targets).await.map_err(|status| told(&status))?.into_inner();
    let subscribe = pb::SubscribeUpdatesRequest {
        livestream_id: LIVESTREAM,
        node_id,
        session_id,
        channels: vec![shared::UpdateChannel::Visual.into()],
        ..Default::default()
    };
    let updates = client.livestreams.subscribe_updates(subscribe).await.map_err(|status| told(&status))?.into_inner();
    meters.viewers.fetch_add(1, Ordering::Relaxed);
    let mut seen = Seen {
        node: node_id,
        part,
        history: History::new(node_id),
        written: Vec::new(),
        pictures: Vec::new(),
        losses: Vec::new(),
    };
    let watching = seen.read(updates, &meters, &joined, pictures);
    let gone = async {
        match part {
            Part::Leaver => drop(clock.wait_for(|picture| *picture >= 50).await),
            Part::Victim => drop(clock.wait_for(|picture| *picture >= 75).await),
            Part::Complete | Part::Late | Part::Lurker | Part::Stalled => std::future::pending().await,
        }
    };
    tokio::select! {
        watched = watching => watched?,
        folded = fold(targets, node_id, &meters) => folded?,
        () = gone => {}
    }
    if part == Part::Leaver {
        let leave = pb::LeaveLivestreamRequest { livestream_id: LIVESTREAM, node_id, session_id, ..Default::default() };
        client.livestreams.leave_livestream(leave).await.map_err(|status| told(&status))?;
    }
    meters.fold(node_id, None);
    meters.viewers.fetch_sub(1, Ordering::Relaxed);
    Ok(seen)
}

impl Seen {
    async fn read(
        &mut self,
        mut updates: tonic::Streaming<pb::SubscribeUpdatesResponse>,
        meters: &Meters,
        joined: &Semaphore,
        pictures: u64,
    ) -> Result<(), CliError> {
        let mut clock = meters.pictures.subscribe();
        let (mut stalls, mut complete) = (self.part == Part::Stalled, self.part != Part::Complete);
        while let Some(message) = updates.message().await.map_err(|status| told(&status))? {
            for delivery in message.deliveries {
                self.history.record(&delivery);
                match delivery.item {
                    Some(Item::Subscribed(_)) if self.part != Part::Late => joined.add_permits(1),
                    Some(Item::Gap(gap)) => {
                        let loss = Loss { after: self.pictures.len(), count: gap.count.unwrap_or(0) };
                        self.losses.push(loss);
                    }
                    Some(Item::Update(update)) => {
                        meters.delivered(age(update.accept_time).unwrap_or_default());
                        self.written.extend_from_slice(&update.payload);
                        let number = update.position.unwrap_or_default().sequence;
                        self.pictures.push(Picture { number, keyframe: update.keyframe });
                    }
                    _ => {}
                }
            }
            if !complete && self.pictures.len() as u64 + self.lost(..) >= pictures {
                complete = true;
                meters.complete.send_modify(|count| *count += 1);
            }
            if stalls && *clock.borrow_and_update() >= 60 {
                stalls = false;
                clock.wait_for(|picture| *picture >= 170).await?;
            }
        }
        Ok(())
    }
}

impl Seen {
    /// How many pictures Gaps declared lost, of those that came after so many pictures.
    pub(super) fn lost(&self, after: impl RangeBounds<usize>) -> u64 {
        self.losses.iter().filter(|loss| after.contains(&loss.after)).map(|loss| loss.count).sum()
    }
}

/// How long ago the server accepted it; both are on this machine's clock.
#[expect(clippy::disallowed_methods, reason = "compared with the server's wall clock")]
fn age(accept_time: Option<prost_types::Timestamp>) -> Option<Duration> {
    let accepted = SystemTime::try_from(accept_time?).ok()?;
    SystemTime::now().duration_since(accepted).ok()
}

/// Folds a node's targets until its stream ends; that of the updates ends with it, and
/// tells more.
async fn fold(
    mut changes: tonic::Streaming<pb::WatchTargetsResponse>,
    node: u64,
    meters: &Meters,
) -> Result<(), CliError> {
    let mut list = TargetList::default();
    while let Some(change) = changes.message().await.map_err(|status| told(&status))? {
        match change.event {
            Some(Event::Snapshot(snapshot)) => list = snapshot,
            Some(Event::Delta(delta)) => apply(&mut list, delta),
            Some(Event::Heartbeat(_) | Event::Goodbye(_)) | None => continue,
        }
        meters.fold(node, Some((change.revision, list.clone())));
    }
    std::future::pending().await
}
