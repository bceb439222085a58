//! Creates a livestream and publishes thirty updates a second, until it is stopped. To try it:
//! `cargo run -p starling-client --example publish -- http://127.0.0.1:50051 42`

#![expect(clippy::print_stdout, reason = "printing is what the example does")]

use std::time::Duration;

use starling_client::pb::livestream::v1::{CreateLivestreamRequest, StartLivestreamRequest};
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};
use starling_client::{Client, PublishEvent, PublishOptions, Publisher, SwarmRef};
use tokio::time::{MissedTickBehavior, interval};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, livestream] = arguments.as_slice() else { return Err("usage: URL LIVESTREAM".into()) };
    let (livestream_id, node_id) = (livestream.parse()?, Client::random_node());
    let mut client = Client::connect(url).await?;
    let create = CreateLivestreamRequest { livestream_id, node_id, ..Default::default() };
    client.livestreams.create_livestream(create).await?;
    let start = StartLivestreamRequest { livestream_id, node_id, ..Default::default() };
    client.livestreams.start_livestream(start).await?;

    let options = PublishOptions::new(SwarmRef::Livestream(livestream_id), node_id, vec![UpdateChannel::Visual]);
    let mut publisher = Publisher::open(client, options).await?;
    let mut pictures = interval(Duration::from_millis(33));
    // After a cut the encoder goes on with the present picture.
    pictures.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut keyframe_wanted = true;
    loop {
        tokio::select! {
            _ = pictures.tick() => {
                let draft = UpdateDraft {
                    channel: UpdateChannel::Visual.into(),
                    payload: vec![0; if keyframe_wanted { 20_000 } else { 1_200 }].into(),
                    keyframe: keyframe_wanted,
                    ..Default::default()
                };
                // A full window drops the picture: what follows it builds on it and must be a keyframe.
                keyframe_wanted = publisher.send(draft).is_err();
            }
            event = publisher.next() => match event? {
                Some(PublishEvent::KeyframeRequest(_)) => keyframe_wanted = true,
                Some(PublishEvent::Cut(why)) => println!("cut: {why}"),
                Some(PublishEvent::Resumed(_)) => println!("resumed; {} accepted so far", publisher.accepted()),
                Some(_) => {}
                None => return Ok(()),
            },
        }
    }
}
