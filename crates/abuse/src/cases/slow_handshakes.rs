//! Handshakes of TLS that are not begun, not finished, or come byte by byte.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};
use tokio_rustls::rustls::DEFAULT_VERSIONS;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::hello::client_hello;

/// How long the server gives a client (`src/transport/table.rs`), and a bit.
const PATIENCE: Duration = Duration::from_secs(13);
/// Between two bytes of those that come one by one.
const INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct SlowHandshakes;

impl Case for SlowHandshakes {
    fn name(&self) -> &'static str {
        "slow-handshakes"
    }

    fn does(&self) -> &'static str {
        "opens 3 000 connections (short: 300) and says nothing, part of a greeting of TLS, all but its end, or a byte a second"
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.connections(budgets.form.pick(300, 3_000))
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let config = attacker.credentials().client(DEFAULT_VERSIONS, None).map_err(|_| Ending::Closed)?;
            let hello = client_hello(config).map_err(|_| Ending::Closed)?;
            let whole = hello.len();
            let says = [(0, false), (5, false), (whole - 1, false), (1, true)];
            let all = says.into_iter().cycle().take(attacker.form.pick(300, 3_000)).map(|(at_once, drips)| {
                let hello = &hello;
                async move {
                    let Ok(mut tcp) = attacker.tcp().await else { return Some(Ending::Closed) };
                    if tcp.write_all(&hello[..at_once]).await.is_err() {
                        return Some(Ending::Closed);
                    }
                    let rest = if drips { &hello[at_once..whole - 1] } else { &[] };
                    timeout(PATIENCE, until_closed(tcp, rest)).await.ok()
                }
            });
            let mut open = 0_u64;
            for ending in join_all(all).await {
                match ending {
                    Some(ending) => attacker.note(ending),
                    None => open += 1,
                }
            }
            attacker.figure(format!("{open} still open after {} s", PATIENCE.as_secs()));
            Ok(())
        })
    }
}

/// Sends the rest byte by byte, until the server closes.
async fn until_closed(mut tcp: TcpStream, rest: &[u8]) -> Ending {
    let (mut rest, mut ticks, mut answer) = (rest.iter(), interval(INTERVAL), [0; 64]);
    loop {
        tokio::select! {
            read = tcp.read(&mut answer) => match read {
                Ok(0) | Err(_) => return Ending::Closed,
                Ok(_) => continue,
            },
            _ = ticks.tick() => {}
        }
        if let Some(byte) = rest.next()
            && tcp.write_all(&[*byte]).await.is_err()
        {
            return Ending::Closed;
        }
    }
}
