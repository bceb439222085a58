//! Chat of one viewer in the healthy livestream, as much as it gets through.

use bytes::Bytes;
use h2::RecvStream;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::livestream::v1::publish_updates_response::Event;
use starling_client::pb::livestream::v1::{PublishOpen, PublishUpdatesRequest};
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};

use super::fellow_subscriptions::fellow_token;
use super::honest_publisher::next;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::credentials::{FELLOW, HEALTHY_LIVESTREAM};
use crate::ending::Ending;
use crate::link::{framed, send_all, trailers};
use crate::world::{join_livestream, livestream_method};

/// Bytes of a line, and lines that are sent together.
const LINE: usize = 1_000;
const TOGETHER: usize = 64;

pub(super) struct FellowChat;

impl Case for FellowChat {
    fn name(&self) -> &'static str {
        "fellow-chat"
    }

    fn does(&self) -> &'static str {
        "a viewer of the healthy livestream publishes lines of chat of 1 000 bytes as fast as it can"
    }

    // All updates of a livestream share its ring.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("feed.ring_bytes", 8 << 20) + budgets.bytes("memory.receiving_connection_bytes", 32 << 20)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("feed.ring_bytes", 8 << 20)
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link_of(Some(&fellow_token(attacker)?)).await?;
            let session_id = join_livestream(&link, HEALTHY_LIVESTREAM, FELLOW).await?;
            let channel = UpdateChannel::Chat.into();
            let open = PublishOpen {
                livestream_id: HEALTHY_LIVESTREAM,
                node_id: FELLOW,
                session_id,
                channels: vec![channel],
                ..Default::default()
            };
            let request = |message| PublishUpdatesRequest { message: Some(message) };
            let line = UpdateDraft { channel, payload: vec![b'a'; LINE].into(), ..Default::default() };
            let lines = Bytes::from(framed(&request(Publish::Update(line))).repeat(TOGETHER));
            let (mut body, answers) =
                link.open(&livestream_method("PublishUpdates"), &request(Publish::Open(open))).await?;
            let mut sent = 0;
            let publishes = async {
                loop {
                    send_all(&mut body, lines.clone()).await?;
                    sent += TOGETHER;
                }
            };
            let ended = async {
                tokio::select! {
                    ending = rejected(attacker, answers) => ending,
                    Err::<(), Ending>(ending) = publishes => ending,
                }
            };
            if let Some(ending) = attacker.in_time(ended).await {
                attacker.note(ending);
            }
            attacker.figure(format!("{sent} lines"));
            Ok(())
        })
    }
}

/// Reads the answers, and notes what was rejected; how the stream ended.
async fn rejected(attacker: &Attacker, mut body: RecvStream) -> Ending {
    let mut have = Vec::new();
    while let Some(data) = body.data().await {
        let data = match data {
            Ok(data) => data,
            Err(error) => return Ending::of_h2(&error),
        };
        body.flow_control().release_capacity(data.len()).ok();
        have.extend_from_slice(&data);
        while let Some(answer) = next(&mut have) {
            if let Some(Event::Rejected(rejected)) = answer.event {
                attacker.note(Ending::Told(rejected.reason().as_str_name().to_owned()));
            }
        }
    }
    trailers(&mut body).await
}
