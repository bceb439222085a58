//! A viewer that survives cuts, with nothing but the generated code: join, subscribe, note
//! positions, and after a cut resume there, with jitter. `starling_client` does the same. To try
//! it: `cargo run --example resuming_subscriber -- http://127.0.0.1:50051 42`

use std::collections::BTreeMap;
use std::time::Duration;

use starling_client::pb::livestream::v1::{self as pb, livestream_service_client::LivestreamServiceClient as Client};
use starling_client::pb::swarm::v1::{
    Gap, GoodbyeReason as Reason, SubscriptionPosition, UpdateChannel, UpdatePosition, delivery::Item,
};
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// What must outlive the stream. Session 0: join first. Epoch 0: none was seen.
#[derive(Default)]
struct Viewer {
    livestream_id: u64,
    node_id: u64,
    session_id: u64,
    epoch: u64,
    /// By source and channel: the last one that came, and the gap whose end is not known yet.
    positions: BTreeMap<(u64, i32), UpdatePosition>,
    open_gaps: BTreeMap<(u64, i32), Gap>,
    tries: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, livestream] = arguments.as_slice() else { return Err("usage: URL LIVESTREAM".into()) };
    let (livestream_id, node_id) = (livestream.parse()?, rand::random_range(1..1 << 53));
    let mut viewer = Viewer { livestream_id, node_id, ..Viewer::default() };
    loop {
        let Err(status) = viewer.watch(url).await else { return Ok(()) };
        let details = status.get_error_details();
        let asked = details.retry_info().and_then(|info| info.retry_delay).unwrap_or_default();
        match (details.error_info().map_or("", |info| &info.reason), status.code()) {
            ("NOT_A_MEMBER", _) => viewer.session_id = 0,
            (_, Code::Unavailable | Code::Cancelled | Code::Unknown) => {}
            // The connection broke: the server has said nothing.
            _ if std::error::Error::source(&status).is_some() => {}
            _ => return Err(status.into()),
        }
        // Full jitter, on top of what the server asks for: nobody comes back together.
        let bound = Duration::from_millis(250 << viewer.tries.min(5)).max(asked);
        viewer.tries += 1;
        let wait = asked + bound.mul_f64(rand::random_range(0.0..=1.0));
        eprintln!("cut: {}; resuming in {wait:.1?}", status.message());
        tokio::time::sleep(wait).await;
    }
}

impl Viewer {
    /// Returns when the livestream has ended; an error says how the stream broke off.
    async fn watch(&mut self, url: &str) -> Result<(), Status> {
        let &mut Self { livestream_id, node_id, .. } = self;
        // A new connection each time: behind a balancer perhaps another server.
        let mut client =
            Client::connect(url.to_owned()).await.map_err(|error| Status::unavailable(error.to_string()))?;
        if self.session_id == 0 {
            let join = pb::JoinLivestreamRequest { livestream_id, node_id, ..Default::default() };
            self.session_id = client.join_livestream(join).await?.into_inner().session_id;
        }
        let positions = self.positions.values().copied().collect();
        let open_gaps = self.open_gaps.values().copied().collect();
        let resume_from = (self.epoch != 0).then_some(SubscriptionPosition { epoch: self.epoch, positions, open_gaps });
        let mut request = pb::SubscribeUpdatesRequest { livestream_id, node_id, ..Default::default() };
        (request.session_id, request.channels, request.resume_from) =
            (self.session_id, vec![UpdateChannel::Visual.into()], resume_from);
        let mut stream = client.subscribe_updates(request).await?.into_inner();
        while let Some(message) = stream.message().await? {
            for delivery in message.deliveries {
                let reached = match delivery.item {
                    Some(Item::Subscribed(now)) => {
                        if self.epoch != now.epoch {
                            // Positions of another epoch mean nothing.
                            (self.epoch, self.positions, self.open_gaps) =
                                (now.epoch, BTreeMap::new(), BTreeMap::new());
                        }
                        // The one channel stays where it was when it waits for a keyframe.
                        if now.waiting_for_keyframe.is_empty() {
                            self.open_gaps.clear();
                            now.positions
                        } else {
                            Vec::new()
                        }
                    }
                    Some(Item::Update(update)) => {
                        eprintln!("{} bytes at {:?}", update.payload.len(), update.position);
                        (self.tries, self.open_gaps) = (0, BTreeMap::new());
                        Vec::from_iter(update.position)
                    }
                    Some(Item::Gap(gap)) => {
                        eprintln!("lost: {:?} to {:?}, {:?}", gap.after, gap.before, gap.reason());
                        let (source_node_id, channel) = (gap.source_node_id, gap.channel);
                        self.open_gaps = BTreeMap::new();
                        if gap.before.is_none() {
                            self.open_gaps.insert((source_node_id, channel), gap);
                        }
                        let last = gap.before.filter(|at| at.sequence > 0).map(|at| (at.term, at.sequence - 1));
                        let last = last.map(|(term, sequence)| UpdatePosition {
                            source_node_id,
                            channel,
                            term,
                            sequence,
                            track: 0,
                        });
                        Vec::from_iter(last)
                    }
                    // After other goodbyes comes a status that says what to do.
                    Some(Item::Goodbye(bye)) if [Reason::Ended, Reason::Left].contains(&bye.reason()) => return Ok(()),
                    Some(Item::Filter(_) | Item::Heartbeat(_) | Item::Goodbye(_)) | None => Vec::new(),
                };
                self.positions.extend(reached.into_iter().map(|at| ((at.source_node_id, at.channel), at)));
            }
        }
        Err(Status::unavailable("the stream broke off"))
    }
}
