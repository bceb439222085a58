//! Large messages that come whole, on streams that then go quiet.

use bytes::{BufMut, Bytes, BytesMut};
use starling_client::pb::livestream::v1::PublishUpdatesRequest;
use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;
use starling_client::pb::swarm::v1::{UpdateChannel, UpdateDraft};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::ending::Ending;
use crate::link::{Call, Link, framed, prefix, send_all};
use crate::world::{Livestream, livestream, livestream_method};

/// The largest message of a publish stream, in bytes.
const PUBLISH: usize = 2 << 20;
/// A field that no message has, with content of any length.
const UNKNOWN_FIELD: u8 = 15 << 3 | 2;

pub(super) struct WholeMessages;

impl Case for WholeMessages {
    fn name(&self) -> &'static str {
        "whole-messages"
    }

    fn does(&self) -> &'static str {
        "sends a message of 2 MiB, most of it an unknown field, on 1 000 publish streams (short: 64), goes quiet"
    }

    // Nothing of a message that was taken is kept, but for a small update; one of each stream may be under way.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.receiving_connection_bytes", 32 << 20)
    }

    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let (publishes, unary) = tokio::try_join!(attacker.link(), attacker.link())?;
            let mut streams = Vec::new();
            for _ in 0..attacker.form.pick(64, 1_000) {
                streams.push(livestream(&unary).await?);
            }
            attacker.begin();
            let message = update();
            let mut open = Vec::new();
            for stream in streams {
                if attacker.is_over() {
                    break;
                }
                open.push(send(&publishes, stream, message.clone()).await?);
            }
            attacker.figure(format!("{} streams with a message each", open.len()));
            attacker.over().await;
            Ok(())
        })
    }
}

/// An update of a few bytes in a message of the largest size.
fn update() -> Bytes {
    let draft =
        UpdateDraft { channel: UpdateChannel::Data.into(), payload: b"small".as_slice().into(), ..Default::default() };
    let small = framed(&PublishUpdatesRequest { message: Some(Publish::Update(draft)) });
    let small = &small[5..];
    // The length of the field takes four bytes.
    let rest = PUBLISH - small.len() - 5;
    let mut message = BytesMut::with_capacity(5 + PUBLISH);
    message.put_slice(&prefix(PUBLISH));
    message.put_slice(small);
    message.put_u8(UNKNOWN_FIELD);
    for shift in [0, 7, 14, 21] {
        let more = if shift == 21 { 0 } else { 0x80 };
        message.put_u8(u8::try_from(rest >> shift & 0x7f).expect("seven bits") | more);
    }
    message.put_bytes(0, rest);
    message.freeze()
}

/// Opens a publish stream and sends one message; the stream stays open.
async fn send(link: &Link, stream: Livestream, message: Bytes) -> Result<Call, Ending> {
    let mut call = link.begin(&livestream_method("PublishUpdates")).await?;
    send_all(&mut call.body, framed(&stream.publish_open())).await?;
    send_all(&mut call.body, message).await?;
    Ok(call)
}
