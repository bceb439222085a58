//! Resumes that find their swarm ended.

use prost::Message as _;
use starling_client::pb::swarm::v1::{
    Gap, GapReason, LastPositions, SubscriptionPosition, UpdatePosition, delivery::Item,
};
use starling_client::{Error, SubscribeOptions, Subscriber, SubscriptionEvent};
use tonic::Code::FailedPrecondition;

use super::stage::{Came, KINDS, SOURCE, Stage, point, term_of_first};
use crate::harness::{Fault, soon};

/// The end of what a viewer gets, once its swarm has ended.
async fn rest(viewer: &mut Subscriber) -> (Vec<Came>, Result<(), Error>) {
    let mut came = Vec::new();
    loop {
        match soon(viewer.next()).await {
            Ok(Some(SubscriptionEvent::Item(Item::Update(update)))) => {
                let position = update.position.unwrap();
                came.push(Came::Update(position.term, position.sequence));
            }
            Ok(Some(SubscriptionEvent::Item(Item::Gap(gap)))) => came.push(gap.into()),
            Ok(Some(_)) => {}
            Ok(None) => return (came, Ok(())),
            Err(error) => return (came, Err(error)),
        }
    }
}

#[tokio::test]
async fn a_member_that_was_cut_off_before_the_end_gets_what_is_left_and_the_goodbye() {
    for kind in KINDS {
        let mut stage = Stage::new(kind).await;
        let mut viewer = stage.viewer().await;
        let mut publisher = stage.publisher().await;
        stage.session_id = publisher.session_id();
        stage.publish(&mut publisher, 1, "Kdd").await;
        let term = term_of_first(&mut viewer, 2).await;
        let from = viewer.progress().resume_point().unwrap();
        drop(viewer);
        stage.publish(&mut publisher, 4, "dd").await;
        stage.end().await;
        let mut resumed = stage.resumed(from).await.unwrap();
        let (came, ended) = rest(&mut resumed).await;
        ended.unwrap();
        assert_eq!(came, [3, 4, 5].map(|sequence| Came::Update(term, sequence)), "{kind:?}");
        // Also whoever has everything is told so, and whoever lost its run where that ends.
        let all = resumed.progress().resume_point().unwrap();
        let (came, ended) = rest(&mut stage.resumed(all.clone()).await.unwrap()).await;
        assert!(came.is_empty() && ended.is_ok(), "{kind:?}: {came:?}");
        let broken = Gap {
            source_node_id: SOURCE,
            channel: stage.channel.into(),
            after: point(term, 3),
            reason: GapReason::Bandwidth.into(),
            ..Default::default()
        };
        let position =
            UpdatePosition { source_node_id: SOURCE, channel: stage.channel.into(), term, sequence: 3, track: 0 };
        let lost = SubscriptionPosition { positions: vec![position], open_gaps: vec![broken], ..all };
        let (came, ended) = rest(&mut stage.resumed(lost).await.unwrap()).await;
        let told =
            Came::Gap { after: point(term, 3), before: point(term, 6), reason: GapReason::Bandwidth, count: Some(2) };
        assert!(ended.is_ok());
        assert_eq!(came, [told], "{kind:?}");
    }
}

#[tokio::test]
async fn who_was_no_member_at_the_end_is_told_where_it_was() {
    for kind in KINDS {
        let mut stage = Stage::new(kind).await;
        let mut viewer = stage.viewer().await;
        let mut publisher = stage.publisher().await;
        stage.session_id = publisher.session_id();
        stage.publish(&mut publisher, 1, "Kd").await;
        let term = term_of_first(&mut viewer, 2).await;
        let from = viewer.progress().resume_point().unwrap();
        drop(viewer);
        stage.end().await;
        let last =
            UpdatePosition { source_node_id: SOURCE, channel: stage.channel.into(), term, sequence: 2, track: 0 };
        let all = stage.subscription();
        let other_session =
            SubscribeOptions { session_id: all.session_id + 1, resume_from: Some(from.clone()), ..all.clone() };
        let no_session = SubscribeOptions { session_id: 0, resume_from: Some(from.clone()), ..all.clone() };
        let stranger = SubscribeOptions { node_id: 99, resume_from: Some(from.clone()), ..all.clone() };
        let other_epoch = SubscriptionPosition { epoch: from.epoch + 1, ..from.clone() };
        let other_epoch = SubscribeOptions { resume_from: Some(other_epoch), ..all.clone() };
        for subscription in [all, other_session, no_session, stranger, other_epoch] {
            let refused = soon(Subscriber::open(stage.client.clone(), subscription)).await.unwrap_err();
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
