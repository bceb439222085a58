//! One message with millions of elements.

use bytes::Bytes;
use prost::encoding::encode_varint;
use starling_client::pb::swarm::v1::UpdateChannel;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::link::{Call, Link, prefix};
use crate::settings::Setting;
use crate::world::{livestream, livestream_method};

/// What a publish stream takes at most, less what is around the elements.
const CHANNELS: u32 = (2 << 20) - 64;
/// Streams that do so at the same time.
const AT_ONCE: usize = 4;

pub(super) struct PackedOpen;

impl Case for PackedOpen {
    fn name(&self) -> &'static str {
        "packed-open"
    }

    fn does(&self) -> &'static str {
        "opens publish streams with 2 million packed channels, four at a time"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("memory.receiving_bytes", "33554432"), ("memory.receiving_connection_bytes", "16777216")]
    }

    // What is received, and the elements of one message per worker as they are decoded: 8 MiB each.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.receiving_bytes", 256 << 20)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let message = packed(livestream(&link).await?.id, CHANNELS);
            let again = async || {
                while !attacker.is_over() {
                    let ending = open(&link, message.clone()).await;
                    attacker.note(ending.clone());
                    if !matches!(ending, Ending::Refused(..) | Ending::Served) {
                        break;
                    }
                }
            };
            futures_util::future::join_all((0..AT_ONCE).map(|_| again())).await;
            Ok(())
        })
    }
}

async fn open(link: &Link, message: Bytes) -> Ending {
    let begun = async {
        let mut call = link.begin(&livestream_method("PublishUpdates")).await?;
        call.body.send_data(message, true).map_err(|error| Ending::of_h2(&error))?;
        Ok(call)
    };
    match begun.await {
        Ok(Call { response, .. }) => Call::ending(response).await,
        Err(ending) => ending,
    }
}

/// `PublishUpdatesRequest { open: PublishOpen { livestream_id, node_id: 1, channels } }`, with its prefix.
fn packed(livestream_id: u64, channels: u32) -> Bytes {
    let mut inner = vec![0x08];
    encode_varint(livestream_id, &mut inner);
    inner.extend_from_slice(&[0x10, 1, 0x22]);
    encode_varint(u64::from(channels), &mut inner);
    inner.resize(inner.len() + channels as usize, UpdateChannel::Data as u8);
    let mut outer = vec![0x0a];
    encode_varint(inner.len() as u64, &mut outer);
    outer.append(&mut inner);
    let mut message = prefix(outer.len()).to_vec();
    message.append(&mut outer);
    message.into()
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use starling_client::pb::livestream::v1::PublishUpdatesRequest;
    use starling_client::pb::livestream::v1::publish_updates_request::Message as Publish;

    use super::*;

    #[test]
    fn packed_message_is_the_schema_s() {
        let message = packed(7_000, 300);
        let Some(Publish::Open(open)) = PublishUpdatesRequest::decode(&message[5..]).unwrap().message else {
            panic!("it is an open");
        };
        assert_eq!((open.livestream_id, open.node_id, open.channels.len()), (7_000, 1, 300));
        assert_eq!(message[..5], prefix(message.len() - 5));
    }
}
