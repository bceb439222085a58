//! Those who read: fast, slow, cut off, and of changing mind.

use prost::Message as _;
use starling::client::Client;
use starling::history::History;
use starling::pb::livestream::v1 as pb;
use starling::pb::livestream::v1::livestream_service_client::LivestreamServiceClient;
use starling::pb::swarm::v1::{ChannelInterest, Delivery, GoodbyeReason, ResumePoint, delivery::Item};
use tonic::transport::Endpoint;

use crate::{Clock, LIVESTREAM, Rng};

/// Reads to the end of the livestream, over as many connections as chance wills.
pub(crate) async fn read(url: String, node_id: u64, mut rng: Rng, clock: Clock) -> History {
    let mut history = History::new(node_id);
    let mut progress = clock.subscribe();
    // Some come late.
    let begin = rng.below(600);
    progress.wait_for(|count| *count >= begin).await.unwrap();
    let mut control = Client::connect(&url).await.unwrap();
    let join = pb::JoinLivestreamRequest {
        livestream_id: LIVESTREAM,
        node_id,
        mode: 1 + i32::from(rng.one_in(4)),
        lease_ttl: Some(prost_types::Duration { seconds: 300, nanos: 0 }),
        ..Default::default()
    };
    control.livestreams.join_livestream(join).await.unwrap();
    let mut epoch = 0;
    loop {
        // HTTP/2's own small windows: who does not read is soon not written to.
        let narrow = Endpoint::from_shared(url.clone()).unwrap().initial_stream_window_size(65_535);
        let mut client = LivestreamServiceClient::new(narrow.connect().await.unwrap());
        let positions = history.positions();
        let resume_from = (epoch != 0).then_some(ResumePoint { epoch, positions });
        let subscribe =
            pb::SubscribeUpdatesRequest { livestream_id: LIVESTREAM, node_id, resume_from, ..Default::default() };
        let mut updates = match client.subscribe_updates(subscribe).await {
            Ok(updates) => updates.into_inner(),
            // It ended during the cut: what came last is not for this one.
            Err(status) if status.message().contains("ended") => return history,
            Err(status) => panic!("{status:?}"),
        };
        loop {
            let Some(message) = updates.message().await.unwrap() else { return history };
            for bytes in message.deliveries {
                let delivery = Delivery::decode(bytes).unwrap();
                match &delivery.item {
                    Some(Item::Subscribed(subscribed)) => epoch = subscribed.epoch,
                    Some(Item::Goodbye(goodbye)) => assert_eq!(goodbye.reason(), GoodbyeReason::Ended),
                    _ => {}
                }
                history.record(&delivery);
            }
            if rng.one_in(40) {
                history.cut();
                break;
            }
            if rng.one_in(60) {
                let until = progress.borrow().saturating_add(rng.below(500));
                // The end of all turns is beyond every number.
                progress.wait_for(|count| *count >= until).await.unwrap();
            }
            if rng.one_in(50) {
                let wish = ChannelInterest {
                    channel: i32::try_from(1 + rng.below(5)).unwrap(),
                    interest: i32::try_from(1 + rng.below(5)).unwrap(),
                    ..Default::default()
                };
                let request = pb::SetInterestRequest {
                    livestream_id: LIVESTREAM,
                    node_id,
                    interests: vec![wish],
                    ..Default::default()
                };
                // It may have ended meanwhile.
                drop(control.livestreams.set_interest(request).await);
            }
        }
    }
}
