//! Resumes that find their swarm ended.

use prost::Message as _;
use starling_client::pb::swarm::v1::{
    Gap, GapReason, LastPositions, SubscriptionPosition, UpdatePosition, delivery::Item,
};
use starling_client::{Error, SubscribeOptions, Subscriber, SubscriptionEvent};
use tonic::Code::FailedPrecondition;

use super::fixture::{KINDS, Received, ResumeFixture, SOURCE, point, term_of_first};
use crate::harness::{Fault, soon};

/// The end of what a viewer gets, once its swarm has ended.
async fn remaining(viewer: &mut Subscriber) -> (Vec<Received>, Result<(), Error>) {
    let mut received = Vec::new();
    loop {
        match soon(viewer.next()).await {
            Ok(Some(SubscriptionEvent::Item(Item::Update(update)))) => {
                let position = update.position.unwrap();
                received.push(Received::Update(position.term, position.sequence));
            }
            Ok(Some(SubscriptionEvent::Item(Item::Gap(gap)))) => received.push(gap.into()),
            Ok(Some(_)) => {}
            Ok(None) => return (received, Ok(())),
            Err(error) => return (received, Err(error)),
        }
    }
}

#[tokio::test]
async fn cut_member_gets_the_rest_after_the_end() {
    for kind in KINDS {
        let mut fixture = ResumeFixture::new(kind).await;
        let mut viewer = fixture.viewer().await;
        let mut publisher = fixture.publisher().await;
        fixture.session_id = publisher.session_id();
        fixture.publish(&mut publisher, 1, "Kdd").await;
        let term = term_of_first(&mut viewer, 2).await;
        let from = viewer.progress().resume_point().unwrap();
        drop(viewer);
        fixture.publish(&mut publisher, 4, "dd").await;
        fixture.end().await;
        let mut resumed = fixture.resumed(from).await.unwrap();
        let (received, ended) = remaining(&mut resumed).await;
        ended.unwrap();
        assert_eq!(received, [3, 4, 5].map(|sequence| Received::Update(term, sequence)), "{kind:?}");
        // Also whoever has everything is told so, and whoever lost its run where that ends.
        let all = resumed.progress().resume_point().unwrap();
        let (received, ended) = remaining(&mut fixture.resumed(all.clone()).await.unwrap()).await;
        assert!(received.is_empty() && ended.is_ok(), "{kind:?}: {received:?}");
        let broken = Gap {
            source_node_id: SOURCE,
            channel: fixture.channel.into(),
            after: point(term, 3),
            reason: GapReason::Bandwidth.into(),
            ..Default::default()
        };
        let position =
            UpdatePosition { source_node_id: SOURCE, channel: fixture.channel.into(), term, sequence: 3, track: 0 };
        let lost = SubscriptionPosition { positions: vec![position], open_gaps: vec![broken], ..all };
        let (received, ended) = remaining(&mut fixture.resumed(lost).await.unwrap()).await;
        let told = Received::Gap {
            after: point(term, 3),
            before: point(term, 6),
            reason: GapReason::Bandwidth,
            count: Some(2),
        };
        assert!(ended.is_ok());
        assert_eq!(received, [told], "{kind:?}");
    }
}

#[tokio::test]
async fn non_member_gets_last_positions_after_the_end() {
    for kind in KINDS {
        let mut fixture = ResumeFixture::new(kind).await;
        let mut viewer = fixture.viewer().await;
        let mut publisher = fixture.publisher().await;
        fixture.session_id = publisher.session_id();
        fixture.publish(&mut publisher, 1, "Kd").await;
        let term = term_of_first(&mut viewer, 2).await;
        let from = viewer.progress().resume_point().unwrap();
        drop(viewer);
        fixture.end().await;
        let last =
            UpdatePosition { source_node_id: SOURCE, channel: fixture.channel.into(), term, sequence: 2, track: 0 };
        let all = fixture.subscription();
        let other_session =
            SubscribeOptions { session_id: all.session_id + 1, resume_from: Some(from.clone()), ..all.clone() };
        let no_session = SubscribeOptions { session_id: 0, resume_from: Some(from.clone()), ..all.clone() };
        let stranger = SubscribeOptions { node_id: 99, resume_from: Some(from.clone()), ..all.clone() };
        let other_epoch = SubscriptionPosition { epoch: from.epoch + 1, ..from.clone() };
        let other_epoch = SubscribeOptions { resume_from: Some(other_epoch), ..all.clone() };
        for subscription in [all, other_session, no_session, stranger, other_epoch] {
            let refused = soon(Subscriber::open(fixture.client.clone(), subscription)).await.unwrap_err();
            let Error::Status(status) = refused else { panic!("{refused}") };
            assert_eq!(Fault::of(&status), Fault::new(FailedPrecondition, "ENDED"));
            let positions = last_positions(&status);
            assert_eq!((positions.epoch, positions.positions), (from.epoch, vec![last]), "{kind:?}");
        }
    }
}

fn last_positions(status: &tonic::Status) -> LastPositions {
    let details = tonic_types::pb::Status::decode(status.details()).unwrap().details;
    let found = details.iter().find(|detail| detail.type_url.ends_with("starling.swarm.v1.LastPositions")).unwrap();
    LastPositions::decode(&found.value[..]).unwrap()
}
