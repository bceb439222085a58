//! Messages that come byte by byte.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::interval;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::ending::Ending;
use crate::link::{Call, Link, prefix, send_all};
use crate::settings::Setting;
use crate::world::livestream_method;

/// Between two bytes.
const INTERVAL: Duration = Duration::from_millis(250);
/// What is announced, in bytes. The larger a message, the longer it may take.
const ANNOUNCED: usize = 60_000;
const ANNOUNCED_SHORT: usize = 1_000;

pub(super) struct DrippedMessages;

impl Case for DrippedMessages {
    fn name(&self) -> &'static str {
        "dripped-messages"
    }

    fn does(&self) -> &'static str {
        "sends messages of 60 000 bytes (short: 1 000) by 4 bytes a second, on 250 publish streams and as many unary calls \
         (short: 32)"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("streams.receive_timeout", "1s")]
    }

    // What has come of each is little.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.form.pick(64 * ANNOUNCED_SHORT, 500 * ANNOUNCED) as u64
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let (publishes, unary) = tokio::try_join!(attacker.link(), attacker.link())?;
            let methods = [(&publishes, "PublishUpdates"), (&unary, "GetLivestream")];
            let announced = attacker.form.pick(ANNOUNCED_SHORT, ANNOUNCED);
            let all = (0..attacker.form.pick(32, 250))
                .flat_map(|_| methods.map(|(link, method)| drip(link, livestream_method(method), announced)));
            attacker.note_all(all).await;
            Ok(())
        })
    }
}

/// Drips until the call ends; how it did.
async fn drip(link: &Link, method: String, announced: usize) -> Ending {
    let Call { response, mut body } = match link.begin(&method).await {
        Ok(call) => call,
        Err(ending) => return ending,
    };
    let drips = async {
        send_all(&mut body, Bytes::copy_from_slice(&prefix(announced))).await?;
        let mut ticks = interval(INTERVAL);
        loop {
            ticks.tick().await;
            send_all(&mut body, Bytes::from_static(&[0])).await?;
        }
    };
    // The answer says why, where there is one.
    let mut answer = std::pin::pin!(Call::ending(response));
    tokio::select! {
        biased;
        ending = &mut answer => ending,
        dripped = drips => match dripped {
            Ok(()) => Ending::Served,
            Err::<(), Ending>(_) => answer.await,
        },
    }
}
