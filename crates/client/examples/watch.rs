//! Joins a livestream and tells what arrives, until the livestream ends. To try it:
//! `cargo run -p starling-client --example watch -- http://127.0.0.1:50051 42`

#![expect(clippy::print_stdout, reason = "printing is what the example does")]

use starling_client::pb::livestream::v1::JoinLivestreamRequest;
use starling_client::pb::swarm::v1::{UpdateChannel, delivery::Item};
use starling_client::{Client, Join, SubscribeOptions, Subscriber, SubscriptionEvent, SwarmRef};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, livestream] = arguments.as_slice() else { return Err("usage: URL LIVESTREAM".into()) };
    let livestream_id = livestream.parse()?;
    let mut client = Client::connect(url).await?;
    let node_id = Client::random_node();
    let join = Join::Livestream(JoinLivestreamRequest { livestream_id, node_id, ..Default::default() });
    let session_id = client.join(join.clone()).await?;

    let options = SubscribeOptions {
        channels: vec![UpdateChannel::Visual],
        join: Some(join), // joins again when the lease expired during a long cut
        ..SubscribeOptions::new(SwarmRef::Livestream(livestream_id), node_id, session_id)
    };
    let mut subscriber = Subscriber::open(client, options).await?;
    while let Some(event) = subscriber.next().await? {
        match event {
            SubscriptionEvent::Item(Item::Update(update)) => println!("{} bytes", update.payload.len()),
            SubscriptionEvent::Item(Item::Gap(gap)) => println!("lost: {:?}", gap.reason()),
            SubscriptionEvent::Item(_) => {}
            SubscriptionEvent::Cut(why) => println!("cut: {why}"),
            SubscriptionEvent::Resumed { rejoined, .. } => println!("resumed; joined again: {rejoined}"),
        }
    }
    Ok(())
}
