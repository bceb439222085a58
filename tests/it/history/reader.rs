//! One who reads: fast, slow, cut off, removed, and of changing mind.

use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use prost::Message as _;
use starling_client::pb::group::v1 as group;
use starling_client::pb::group::v1::group_service_client::GroupServiceClient;
use starling_client::pb::livestream::v1 as livestream;
use starling_client::pb::livestream::v1::livestream_service_client::LivestreamServiceClient;
use starling_client::pb::swarm::v1::{
    ChannelInterest, Delivery, GoodbyeReason, LastPositions, SubscriptionPosition, delivery::Item,
};
use starling_client::{Client, Join, Progress, SwarmRef};
use starling_verify::History;
use tokio::time::interval;
use tonic::Status;
use tonic::transport::Endpoint;
use tonic_types::StatusExt;

use crate::history::{Clock, LONG_LEASE, SHORT_LEASE};
use starling_testkit::Rng;

/// One who reads.
pub(crate) struct Reader {
    pub(crate) url: String,
    pub(crate) swarm: SwarmRef,
    pub(crate) node: u64,
    /// Sources that it may want more or less of; empty where there is one.
    pub(crate) sources: Vec<u64>,
    /// False for those whom somebody else lets in, when it is time.
    pub(crate) joins: bool,
    pub(crate) rng: Rng,
    pub(crate) clock: Clock,
}

impl Reader {
    /// Reads to the end of the swarm, over as many connections as chance wills.
    pub(crate) async fn read(mut self) -> History {
        let mut history = History::new(self.node);
        let mut progress = self.clock.subscribe();
        // Some come late.
        let begin = self.rng.below(600);
        progress.wait_for(|count| *count >= begin).await.unwrap();
        let mut control = Client::connect(&self.url).await.unwrap();
        let mut seen = Progress::default();
        // Some are bound to their session; the others follow their node from one to the next.
        let bound = self.joins && self.rng.one_in(2);
        let mut session_id = 0;
        let mut resume_from = None;
        loop {
            let mut updates = match self.subscribe(session_id, resume_from.clone()).await {
                Ok(updates) => updates,
                Err(status) => match reason(&status).as_str() {
                    // It ended during the cut: what came last is not for this one.
                    "ENDED" => {
                        let LastPositions { epoch, positions } = last_positions(&status);
                        if seen.has_reached(epoch, &positions) {
                            history.ended();
                        }
                        return history;
                    }
                    "NOT_A_MEMBER" | "SESSION_REPLACED" if self.joins => match control.join(self.join(bound)).await {
                        Ok(session) => {
                            session_id = if bound { session } else { 0 };
                            continue;
                        }
                        Err(status) if reason(&status) == "ENDED" => return history,
                        Err(status) => panic!("{status:?}"),
                    },
                    "NOT_A_MEMBER" => {
                        let now = *progress.borrow();
                        progress.wait_for(|count| *count == u64::MAX || *count > now).await.unwrap();
                        continue;
                    }
                    _ => panic!("{status:?}"),
                },
            };
            let mut goodbye_reason = None;
            loop {
                let Some(Ok(deliveries)) = updates.next().await else { break };
                for delivery in deliveries {
                    if let Some(Item::Goodbye(goodbye)) = &delivery.item {
                        goodbye_reason = Some(goodbye.reason());
                    }
                    delivery.item.iter().for_each(|item| seen.note(item));
                    history.record(&delivery);
                }
                if goodbye_reason.is_some() {
                    continue;
                }
                if self.rng.one_in(40) {
                    goodbye_reason = Some(GoodbyeReason::Unspecified);
                    break;
                }
                if self.rng.one_in(60) {
                    let until = progress.borrow().saturating_add(self.rng.below(500));
                    // The end of all turns is beyond every number.
                    progress.wait_for(|count| *count >= until).await.unwrap();
                }
                if self.rng.one_in(50) {
                    self.change_interest(&mut control).await;
                }
            }
            match goodbye_reason {
                Some(GoodbyeReason::Ended) => return history,
                // Cut by itself, or out.
                Some(GoodbyeReason::Unspecified | GoodbyeReason::Removed | GoodbyeReason::Left) => {}
                other => panic!("the stream ended without reason: {other:?}"),
            }
            drop(updates);
            if bound && self.rng.one_in(20) {
                self.outlive_the_lease(&mut control).await;
            }
            let point = seen.resume_point();
            resume_from = if self.rng.one_in(2) {
                point.iter().for_each(|point| history.resume(point));
                point
            } else {
                // One who notes the last update of each channel, and nothing else.
                history.cut();
                point.map(|point| SubscriptionPosition {
                    positions: history.positions(),
                    open_gaps: Vec::new(),
                    ..point
                })
            };
        }
    }

    /// Stays away until it is no member any more, or nobody is.
    async fn outlive_the_lease(&self, control: &mut Client) {
        let mut looks = interval(Duration::from_millis(100));
        loop {
            looks.tick().await;
            let (node_id, gone) = (self.node, |status: Status| !reason(&status).is_empty());
            let over = match self.swarm {
                SwarmRef::Livestream(livestream_id) => {
                    let look =
                        livestream::GetTargetsRequest { livestream_id, of_node_id: node_id, ..Default::default() };
                    control.livestreams.get_targets(look).await.is_err_and(gone)
                }
                SwarmRef::Group(group_id) => {
                    let look = group::GetTargetsRequest { group_id, of_node_id: node_id, ..Default::default() };
                    control.groups.get_targets(look).await.is_err_and(gone)
                }
            };
            if over {
                return;
            }
        }
    }

    fn join(&mut self, bound: bool) -> Join {
        let node_id = self.node;
        // Whoever is bound to its session keeps it by its stream.
        let lease_ttl = if bound { SHORT_LEASE } else { LONG_LEASE };
        match self.swarm {
            SwarmRef::Livestream(livestream_id) => Join::Livestream(livestream::JoinLivestreamRequest {
                livestream_id,
                node_id,
                mode: 1 + i32::from(self.rng.one_in(4)),
                lease_ttl,
                ..Default::default()
            }),
            SwarmRef::Group(group_id) => {
                Join::Group(group::JoinGroupRequest { group_id, node_id, lease_ttl, ..Default::default() })
            }
        }
    }

    async fn subscribe(
        &self,
        session_id: u64,
        resume_from: Option<SubscriptionPosition>,
    ) -> Result<BoxStream<'static, Result<Vec<Delivery>, Status>>, Status> {
        // HTTP/2's own small windows: who does not read is soon not written to.
        let narrow = Endpoint::from_shared(self.url.clone()).unwrap().initial_stream_window_size(65_535);
        let (connection, node_id) = (narrow.connect().await.unwrap(), self.node);
        Ok(match self.swarm {
            SwarmRef::Livestream(livestream_id) => {
                let request = livestream::SubscribeUpdatesRequest {
                    livestream_id,
                    node_id,
                    session_id,
                    resume_from,
                    ..Default::default()
                };
                let answer = LivestreamServiceClient::new(connection).subscribe_updates(request).await?;
                answer.into_inner().map_ok(|message| message.deliveries).boxed()
            }
            SwarmRef::Group(group_id) => {
                let request =
                    group::SubscribeUpdatesRequest { group_id, node_id, session_id, resume_from, ..Default::default() };
                let answer = GroupServiceClient::new(connection).subscribe_updates(request).await?;
                answer.into_inner().map_ok(|message| message.deliveries).boxed()
            }
        })
    }

    async fn change_interest(&mut self, control: &mut Client) {
        let mut change = ChannelInterest {
            channel: i32::try_from(1 + self.rng.below(5)).unwrap(),
            interest: i32::try_from(1 + self.rng.below(5)).unwrap(),
            ..Default::default()
        };
        if !self.sources.is_empty() && self.rng.one_in(2) {
            change.source_node_id = self.rng.pick(&self.sources);
        }
        let (node_id, interests) = (self.node, vec![change]);
        // It may be out meanwhile, or the swarm over.
        match self.swarm {
            SwarmRef::Livestream(livestream_id) => {
                let request =
                    livestream::SetInterestRequest { livestream_id, node_id, interests, ..Default::default() };
                drop(control.livestreams.set_interest(request).await);
            }
            SwarmRef::Group(group_id) => {
                let request = group::SetInterestRequest { group_id, node_id, interests, ..Default::default() };
                drop(control.groups.set_interest(request).await);
            }
        }
    }
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Where a swarm that ended did so.
fn last_positions(status: &Status) -> LastPositions {
    let details = tonic_types::pb::Status::decode(status.details()).unwrap().details;
    let found = details.iter().find(|detail| detail.type_url.ends_with("/starling.swarm.v1.LastPositions"));
    found.map(|detail| LastPositions::decode(&detail.value[..]).unwrap()).unwrap_or_default()
}
