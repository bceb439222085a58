//! Updates of a livestream: single ones, resumed subscriptions, interests, statistics.

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::swarm::v1::{
    ChannelDemand, ChannelInterest, GapReason, Interest, PublishReceipt, SubscriptionPosition, TermSequence,
    UpdateChannel, UpdateDraft, UpdatePosition, delivery::Item,
};
use starling_client::{Client, SwarmRef};
use tonic::Code::{FailedPrecondition, PermissionDenied, ResourceExhausted};
use tonic::Status;

use crate::edge::updates::{Publisher, Subscriber, delta, keyframe, publish_one};
use crate::edge::world::{answered, go_live_wide, join_livestream, livestream, make_livestream, on_air_with_viewers};
use crate::harness::{Fault, Server, fault, retry_delay, soon};

const BROADCASTER: u64 = 1;
const VIEWER: u64 = 2;
const LURKER: u64 = 3;
const STRANGER: u64 = 99;

const fn visual(term: u64, sequence: u64) -> UpdatePosition {
    UpdatePosition { source_node_id: BROADCASTER, channel: UpdateChannel::Visual as i32, term, sequence, track: 0 }
}

/// Publishes one update by itself; `term` 0 = the current one.
async fn one(client: &Client, node_id: u64, term: u64, update: UpdateDraft) -> Result<PublishReceipt, Status> {
    publish_one(client, SwarmRef::Livestream(7), node_id, term, update).await
}

async fn resumed(client: &Client, epoch: u64, position: UpdatePosition) -> Subscriber {
    Subscriber::open_with(client, resuming(epoch, position)).await
}

fn resuming(epoch: u64, position: UpdatePosition) -> pb::SubscribeUpdatesRequest {
    pb::SubscribeUpdatesRequest {
        livestream_id: 7,
        node_id: VIEWER,
        channels: vec![UpdateChannel::Visual.into()],
        resume_from: Some(SubscriptionPosition { epoch, positions: vec![position], ..Default::default() }),
        ..Default::default()
    }
}

#[tokio::test]
async fn refused_update_grants_no_right() {
    let server = Server::start().await;
    let client = server.client().await;
    make_livestream(&client, 7, pb::LivestreamConfig::default()).await;
    let before = livestream(&client, 7).await;
    let refused = fault(one(&client, BROADCASTER, 0, keyframe(1)).await);
    assert_eq!(refused.reason, "WRONG_STATE");
    assert_eq!(livestream(&client, 7).await, before);
}

#[tokio::test]
async fn single_update_claims_an_unclaimed_channel() {
    let (_server, client) = on_air_with_viewers().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let receipt = one(&client, BROADCASTER, 0, delta(1)).await.unwrap();
    let now = livestream(&client, 7).await;
    let term = now.revision;
    assert!(now.broadcaster_present, "it made a session");
    assert_eq!((receipt.position, receipt.duplicate), (Some(visual(term, 1)), false));
    assert!(receipt.keyframe_wanted, "the viewer waits for one");

    let receipt = one(&client, BROADCASTER, 0, keyframe(2)).await.unwrap();
    assert_eq!((receipt.position, receipt.keyframe_wanted), (Some(visual(term, 2)), false));
    let receipt = one(&client, BROADCASTER, 0, keyframe(2)).await.unwrap();
    assert_eq!((receipt.position, receipt.duplicate), (Some(visual(term, 2)), true));
    // Without a number it is counted, and never a repeat.
    let receipt = one(&client, BROADCASTER, 0, delta(0)).await.unwrap();
    assert_eq!((receipt.position, receipt.duplicate), (Some(visual(term, 3)), false));
    assert_eq!(livestream(&client, 7).await.revision, term, "and the term stays");
    assert_eq!(viewer.places(2).await, [(term, 2), (term, 3)]);
}

#[tokio::test]
async fn single_update_never_supersedes_a_stream() {
    let (_server, client) = on_air_with_viewers().await;
    let stale = Fault::new(FailedPrecondition, "STALE_TERM");
    let before = livestream(&client, 7).await;
    assert_eq!(fault(one(&client, BROADCASTER, 1, keyframe(1)).await), stale);
    assert_eq!(livestream(&client, 7).await, before, "what is fenced claims nothing");

    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let term = publisher.term();
    publisher.run(1, "K").await;
    for fence in [0, term] {
        let receipt = one(&client, BROADCASTER, fence, delta(0)).await.unwrap();
        assert_eq!(receipt.position.unwrap().term, term);
    }
    for wrong in [term - 1, term + 1, u64::MAX] {
        assert_eq!(fault(one(&client, BROADCASTER, wrong, delta(0)).await), stale);
    }
    publisher.send(delta(9)).await;
    assert_eq!(publisher.acked().await, visual(term, 4), "the stream has its channel still");
}

#[tokio::test]
async fn single_update_is_refused_like_a_streamed_one() {
    let (_server, client) = on_air_with_viewers().await;
    let nothing = pb::PublishUpdateRequest { livestream_id: 7, node_id: BROADCASTER, ..Default::default() };
    assert_eq!(fault(client.clone().livestreams.publish_update(nothing).await), Fault::field("update"));
    let refused = [
        (0, keyframe(1), Fault::field("node_id")),
        (BROADCASTER, UpdateDraft { channel: 9, ..keyframe(1) }, Fault::field("update.channel")),
        (BROADCASTER, UpdateDraft { temporal_layer: 8, ..delta(1) }, Fault::field("update.temporal_layer")),
        (VIEWER, keyframe(1), Fault::new(PermissionDenied, "NOT_BROADCASTER")),
        (STRANGER, keyframe(1), Fault::new(FailedPrecondition, "NOT_A_MEMBER")),
    ];
    for (node_id, update, expected) in refused {
        assert_eq!(fault(one(&client, node_id, 0, update.clone()).await), expected, "{update:?}");
    }
}

#[tokio::test]
async fn cut_subscriber_gets_exactly_the_rest() {
    let (_server, client) = on_air_with_viewers().await;
    let mut cut = Subscriber::open(&client, 7, VIEWER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let (epoch, term) = (publisher.opened.epoch, publisher.term());
    publisher.run(1, "KddKdd").await;
    cut.places(3).await;
    drop(cut);
    let mut again = resumed(&client, epoch, visual(term, 3)).await;
    assert_eq!(again.subscribed.positions, [visual(term, 3)]);
    publisher.run(7, "d").await;
    let rest: Vec<_> = (4..=7).map(|sequence| (term, sequence)).collect();
    assert_eq!(again.places(4).await, rest);

    // Within a run just as well; and with nothing missed, what is new.
    let mut again = resumed(&client, epoch, visual(term, 5)).await;
    assert_eq!(again.places(2).await, [(term, 6), (term, 7)]);
    let mut again = resumed(&client, epoch, visual(term, 7)).await;
    publisher.run(8, "d").await;
    assert_eq!(again.places(1).await, [(term, 8)]);
}

#[tokio::test]
async fn invalid_position_restarts_at_newest_keyframe() {
    let (_server, client) = on_air_with_viewers().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let (epoch, term) = (publisher.opened.epoch, publisher.term());
    publisher.run(1, "KddKdd").await;
    let cases = [
        (epoch + 1, visual(term, 3), GapReason::EpochChanged),
        (epoch, visual(term, 7), GapReason::UnknownPosition),
        (epoch, visual(term + 1, 1), GapReason::UnknownPosition),
    ];
    for (epoch, position, reason) in cases {
        let mut viewer = resumed(&client, epoch, position).await;
        let Item::Gap(gap) = viewer.item().await else { panic!("a gap comes first") };
        assert_eq!((gap.source_node_id, gap.channel(), gap.reason()), (BROADCASTER, UpdateChannel::Visual, reason));
        assert_eq!(gap.before, Some(TermSequence { term, sequence: 4 }));
        assert_eq!(viewer.places(3).await, [(term, 4), (term, 5), (term, 6)]);
    }
    let garbage = UpdatePosition { channel: 9, ..visual(term, 1) };
    let refused = client.clone().livestreams.subscribe_updates(resuming(epoch, garbage)).await;
    assert_eq!(fault(refused), Fault::field("resume_from.positions[0].channel"));
}

async fn set_interest(client: &Client, interest: Interest) {
    let change =
        ChannelInterest { channel: UpdateChannel::Visual.into(), interest: interest.into(), ..Default::default() };
    let request =
        pb::SetInterestRequest { livestream_id: 7, node_id: VIEWER, interests: vec![change], ..Default::default() };
    answered(client.clone().livestreams.set_interest(request).await);
}

async fn filter(viewer: &mut Subscriber) -> (Interest, bool) {
    let Item::Filter(filter) = viewer.item().await else { panic!("a filter comes first") };
    assert_eq!((filter.source_node_id, filter.channel()), (BROADCASTER, UpdateChannel::Visual));
    (filter.interest(), filter.keyframes_only)
}

#[tokio::test]
async fn restored_interest_starts_at_cached_keyframe() {
    let (_server, client) = on_air_with_viewers().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let term = publisher.term();
    publisher.run(1, "Kd").await;
    assert_eq!(viewer.places(2).await, [(term, 1), (term, 2)]);
    set_interest(&client, Interest::None).await;
    assert_eq!(filter(&mut viewer).await, (Interest::None, false));
    publisher.run(3, "dKd").await;
    set_interest(&client, Interest::High).await;
    assert_eq!(filter(&mut viewer).await, (Interest::High, false), "nothing came between");
    assert_eq!(viewer.places(2).await, [(term, 4), (term, 5)], "without a gap");
}

#[tokio::test]
async fn restored_interest_waits_for_the_next_keyframe() {
    let (_server, client) = on_air_with_viewers().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    let term = publisher.term();
    publisher.run(1, "Kd").await;
    viewer.places(2).await;
    set_interest(&client, Interest::None).await;
    assert_eq!(filter(&mut viewer).await, (Interest::None, false), "at once");
    publisher.run(3, "d").await;
    set_interest(&client, Interest::High).await;
    assert_eq!(filter(&mut viewer).await, (Interest::High, false));
    asked(&mut publisher).await;
    publisher.run(4, "dKd").await;
    assert_eq!(viewer.places(2).await, [(term, 5), (term, 6)]);
}

/// Waits until the publisher is told just this demand for VISUAL.
async fn demanded(publisher: &mut Publisher, highest: Interest, subscribers: u64) {
    let channel = UpdateChannel::Visual.into();
    let expected = ChannelDemand { channel, highest_interest: highest.into(), subscribers, track: 0 };
    loop {
        match publisher.heard().await.unwrap() {
            Some(Event::Demand(demand)) if demand.channels == [expected] => return,
            Some(Event::Demand(_) | Event::KeyframeRequest(_)) => {}
            other => panic!("an interest, not {other:?}"),
        }
    }
}

#[tokio::test]
async fn publisher_is_told_the_demand() {
    let (_server, client) = on_air_with_viewers().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    demanded(&mut publisher, Interest::None, 0).await;
    let lurker = Subscriber::open(&client, 7, LURKER).await;
    demanded(&mut publisher, Interest::Low, 1).await;
    let viewer = Subscriber::open(&client, 7, VIEWER).await;
    demanded(&mut publisher, Interest::High, 2).await;
    set_interest(&client, Interest::None).await;
    demanded(&mut publisher, Interest::Low, 1).await;
    drop((lurker, viewer));
    demanded(&mut publisher, Interest::None, 0).await;
}

/// Waits until the publisher is asked for a keyframe of VISUAL.
async fn asked(publisher: &mut Publisher) {
    loop {
        match publisher.heard().await.unwrap() {
            Some(Event::KeyframeRequest(request)) => return assert_eq!(request.channel(), UpdateChannel::Visual),
            Some(Event::Demand(_)) => {}
            other => panic!("an interest, not {other:?}"),
        }
    }
}

async fn ask(client: &Client, node_id: u64, channel: UpdateChannel) -> Result<(), Status> {
    let channel = channel.into();
    let request = pb::RequestKeyframeRequest { livestream_id: 7, node_id, channel, ..Default::default() };
    client.clone().livestreams.request_keyframe(request).await.map(|_| ())
}

#[tokio::test]
async fn a_member_asks_the_publisher_for_a_keyframe() {
    let (_server, client) = on_air_with_viewers().await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    demanded(&mut publisher, Interest::None, 0).await;
    let not_a_member = Fault::new(FailedPrecondition, "NOT_A_MEMBER");
    assert_eq!(fault(ask(&client, STRANGER, UpdateChannel::Visual).await), not_a_member);
    for channel in [UpdateChannel::Chat, UpdateChannel::Audio, UpdateChannel::Data, UpdateChannel::Unspecified] {
        assert_eq!(fault(ask(&client, VIEWER, channel).await), Fault::field("channel"));
    }
    ask(&client, VIEWER, UpdateChannel::Visual).await.unwrap();
    asked(&mut publisher).await;
}

#[tokio::test]
async fn single_update_learns_that_keyframe_is_wanted() {
    let (_server, client) = on_air_with_viewers().await;
    assert!(!one(&client, BROADCASTER, 0, keyframe(1)).await.unwrap().keyframe_wanted);
    ask(&client, VIEWER, UpdateChannel::Visual).await.unwrap();
    assert!(one(&client, BROADCASTER, 0, delta(2)).await.unwrap().keyframe_wanted);
    assert!(!one(&client, BROADCASTER, 0, keyframe(3)).await.unwrap().keyframe_wanted);
    assert!(!one(&client, BROADCASTER, 0, delta(4)).await.unwrap().keyframe_wanted, "it has come");
}

#[tokio::test]
async fn full_feed_memory_refuses_updates_until_freed() {
    let server = Server::with(|config| {
        (config.feed.ring_bytes, config.feed.memory_bytes) = (64 * 1024, 64 * 1024);
        config.feed.payload_bytes = 16 * 1024;
    })
    .await;
    let client = server.client().await;
    let large = |number| UpdateDraft { payload: vec![0; 15 * 1024].into(), ..keyframe(number) };
    for livestream_id in [7, 8] {
        go_live_wide(&client, livestream_id).await;
    }
    join_livestream(&client, 7, VIEWER).await;
    let viewer = Subscriber::open(&client, 7, VIEWER).await;
    for number in 1..=4 {
        one(&client, BROADCASTER, 0, large(number)).await.unwrap();
    }
    let mut other = client.livestreams.clone();
    let update = Some(large(1));
    let request = pb::PublishUpdateRequest { livestream_id: 8, node_id: BROADCASTER, update, ..Default::default() };
    let refused = other.publish_update(request.clone()).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(ResourceExhausted, "FEED_MEMORY"));
    assert!(retry_delay(&refused).is_some());
    // What nobody reads gives way.
    drop(viewer);
    soon(async { while other.publish_update(request.clone()).await.is_err() {} }).await;
}

#[tokio::test]
async fn statistics_count_what_was_published_and_delivered() {
    let (_server, client) = on_air_with_viewers().await;
    let mut viewer = Subscriber::open(&client, 7, VIEWER).await;
    let mut lurker = Subscriber::open(&client, 7, LURKER).await;
    let mut publisher = Publisher::open(&client, 7, BROADCASTER).await;
    publisher.run(1, "KddK").await;
    viewer.places(4).await;
    lurker.places(2).await;
    let request = pb::GetStatsRequest { livestream_id: 7, ..Default::default() };
    let stats = answered(client.clone().livestreams.get_stats(request).await).stats.unwrap();
    let delivery = stats.delivery.unwrap();
    assert_eq!((delivery.published, delivery.published_bytes, delivery.delivered), (4, 32, 6));
    assert!(delivery.delivered_bytes > 6 * 8, "records are more than their payloads");
    assert!(delivery.dropped.iter().all(|dropped| dropped.count == 0), "{:?}", delivery.dropped);
}
