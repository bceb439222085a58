//! Messages that lack their last byte.

use std::time::Duration;

use bytes::Bytes;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::ending::Ending;
use crate::link::{Call, Link, framed, prefix};
use crate::settings::Setting;
use crate::world::{livestream, livestream_method};

/// The largest messages of a publish stream and of other calls, in bytes.
const PUBLISH: usize = 2 << 20;
const UNARY: usize = 64 << 10;

pub(super) struct HalfMessages;

impl Case for HalfMessages {
    fn name(&self) -> &'static str {
        "half-messages"
    }

    fn does(&self) -> &'static str {
        "sends all but one byte of a 2 MiB message on 1 000 publish streams (short: 64) and of 64 KiB on as many \
         unary calls, goes quiet"
    }

    fn settings(&self) -> &'static [Setting] {
        &[
            ("memory.receiving_bytes", "33554432"),
            ("memory.receiving_connection_bytes", "8388608"),
            ("streams.receive_timeout", "2s"),
        ]
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.receiving_bytes", 256 << 20)
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let calls = attacker.form.pick(64, 1_000);
            let (publishes, unary) = tokio::try_join!(attacker.link(), attacker.link())?;
            // Messages as large as these are taken when a stream is open; two streams of a livestream end each other.
            let mut opens = Vec::new();
            for _ in 0..calls {
                opens.push(framed(&livestream(&unary).await?.publish_open()));
            }
            attacker.begin();
            let publish = livestream_method("PublishUpdates");
            let get = livestream_method("GetLivestream");
            let zeros = Bytes::from(vec![0; PUBLISH]);
            let all = opens.into_iter().flat_map(|open| {
                [(&publishes, &publish, open, PUBLISH), (&unary, &get, Bytes::new(), UNARY)]
                    .map(|(link, method, first, size)| half(link, method, first, zeros.slice(..size - 1), size))
            });
            attacker.note_all(all).await;
            Ok(())
        })
    }
}

/// Sends what comes first, then a prefix and less than it announces; how the call ended.
async fn half(link: &Link, method: &str, first: Bytes, part: Bytes, announced: usize) -> Ending {
    let begun = async {
        let mut call = link.begin(method).await?;
        call.body.send_data(first, false).map_err(|e| Ending::of_h2(&e))?;
        call.body.send_data(Bytes::copy_from_slice(&prefix(announced)), false).map_err(|e| Ending::of_h2(&e))?;
        call.body.send_data(part, false).map_err(|e| Ending::of_h2(&e))?;
        Ok(call)
    };
    match begun.await {
        Ok(Call { response, body: _open }) => Call::ending(response).await,
        Err(ending) => ending,
    }
}
