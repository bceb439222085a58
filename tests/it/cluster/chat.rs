//! CHAT of a livestream, which goes through the log.

use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::swarm::v1::delivery::Item;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use starling_client::{Client, PublishEvent, PublishOptions, Publisher, SubscribeOptions, Subscriber};
use starling_client::{SubscriptionEvent, SwarmRef};
use tonic::Code;

use crate::cluster::fixture::Pods;
use crate::edge::world::{answered, go_live, join_livestream, mute};
use crate::harness::{fault, soon};

const LIVESTREAM: SwarmRef = SwarmRef::Livestream(7);

fn message(text: &str, publisher_sequence: u64) -> UpdateDraft {
    UpdateDraft {
        channel: UpdateChannel::Chat.into(),
        payload: text.to_owned().into(),
        publisher_sequence,
        ..Default::default()
    }
}

async fn write(client: &Client, node_id: u64, draft: UpdateDraft) -> Result<u64, tonic::Status> {
    let request = pb::PublishUpdateRequest { livestream_id: 7, node_id, update: Some(draft), ..Default::default() };
    let receipt = client.clone().livestreams.publish_update(request).await?.into_inner().receipt.unwrap();
    Ok(receipt.position.unwrap().sequence)
}

/// The sequences and texts of so many messages, as a member reads them.
async fn read(subscriber: &mut Subscriber, count: usize) -> Vec<(u64, String)> {
    let mut read = Vec::new();
    while read.len() < count {
        match soon(subscriber.next()).await.unwrap().expect("it goes on") {
            SubscriptionEvent::Item(Item::Update(update)) => {
                let text = String::from_utf8(update.payload.to_vec()).unwrap();
                read.push((update.position.unwrap().sequence, text));
            }
            SubscriptionEvent::Item(Item::Gap(gap)) => panic!("nothing is lost: {gap:?}"),
            _ => {}
        }
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_has_one_order_of_messages() {
    let pods = Pods::start(3).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    let mut readers = Vec::new();
    for (node, client) in (10..).zip(&clients) {
        let session = join_livestream(client, 7, node).await;
        let options = SubscribeOptions {
            channels: vec![UpdateChannel::Chat],
            ..SubscribeOptions::new(LIVESTREAM, node, session)
        };
        readers.push(Subscriber::open(client.clone(), options).await.unwrap());
    }
    // Five each, which is what one author may write at once and more than once per server.
    let mut writing = tokio::task::JoinSet::new();
    for (node, client) in (10..).zip(clients.clone()) {
        writing.spawn(async move {
            for number in 1..=5 {
                write(&client, node, message(&format!("{node}: {number}"), number)).await.unwrap();
            }
        });
    }
    while let Some(written) = writing.join_next().await {
        written.unwrap();
    }
    let all = read(&mut readers[0], 15).await;
    assert_eq!(all.iter().map(|(sequence, _)| *sequence).collect::<Vec<_>>(), (1..=15).collect::<Vec<_>>());
    for reader in &mut readers[1..] {
        assert_eq!(read(reader, 15).await, all);
    }
    // Elsewhere a repeat is one, too.
    assert_eq!(write(&clients[1], 10, message("10: 5", 5)).await.unwrap(), 15);
    mute(&clients[2], 7, 10).await;
    let refused = fault(write(&clients[0], 10, message("no", 6)).await);
    assert_eq!((refused.code, &*refused.reason), (Code::FailedPrecondition, "MUTED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_on_a_stream_are_acknowledged_in_order() {
    let pods = Pods::start(2).await;
    let clients = pods.clients().await;
    go_live(&clients[0], 7).await;
    let session_id = join_livestream(&clients[0], 7, 10).await;
    let options = PublishOptions { session_id, ..PublishOptions::new(LIVESTREAM, 10, vec![UpdateChannel::Chat]) };
    let mut publisher = Publisher::open(clients[1].clone(), options).await.unwrap();
    for number in 1..=8 {
        publisher.send(message("hello", number)).unwrap();
    }
    let mut accepted = 0;
    while accepted < 8 {
        if let Some(PublishEvent::Accepted(ack)) = soon(publisher.next()).await.unwrap() {
            assert!(ack.accepted_through > accepted, "in order");
            accepted = ack.accepted_through;
        }
    }
    let rest = tokio::time::timeout(Duration::from_secs(10), publisher.close()).await.unwrap().unwrap();
    assert!(!rest.iter().any(|event| matches!(event, PublishEvent::Rejected(_))), "{rest:?}");
    let get = pb::GetStatsRequest { livestream_id: 7, ..Default::default() };
    answered(clients[0].clone().livestreams.get_stats(get).await);
}
