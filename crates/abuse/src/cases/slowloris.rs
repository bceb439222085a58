//! Connections that say nothing, or not enough.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::frames::PREFACE;
use crate::settings::Setting;

/// How long the server gives a client to say what it speaks (`src/transport/listener.rs`), and a bit.
const HANDSHAKE: Duration = Duration::from_secs(13);
/// The same for the headers of HTTP/1.1.
const HEADERS: Duration = Duration::from_secs(33);

pub(super) struct Slowloris;

impl Case for Slowloris {
    fn name(&self) -> &'static str {
        "slowloris"
    }

    fn does(&self) -> &'static str {
        "opens 3 000 connections (short: 300) and says nothing, half a preface, or half a request of HTTP/1.1"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("server.http2_keepalive_interval", "1s"), ("server.http2_keepalive_timeout", "1s")]
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.connections(budgets.form.pick(300, 3_000))
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let says: [&[u8]; 3] = [b"", &PREFACE[..PREFACE.len() / 2], b"POST / HTTP/1.1\r\nhost: a"];
            let connections = says.iter().cycle().take(attacker.form.pick(300, 3_000));
            let all = connections.map(|says| async {
                let Ok(mut wire) = attacker.wire().await else { return Ending::Closed };
                if wire.write_all(says).await.is_err() {
                    return Ending::Closed;
                }
                let mut answer = [0; 64];
                loop {
                    match wire.read(&mut answer).await {
                        Ok(0) | Err(_) => return Ending::Closed,
                        Ok(_) => {}
                    }
                }
            });
            let patience = attacker.form.pick(HANDSHAKE, HEADERS);
            let mut open = 0_u64;
            let limited = async |connection| {
                tokio::select! {
                    ending = connection => Some(ending),
                    () = sleep(patience) => None,
                }
            };
            for ending in futures_util::future::join_all(all.map(limited)).await {
                match ending {
                    Some(ending) => attacker.note(ending),
                    None => open += 1,
                }
            }
            attacker.figure(format!("{open} still open after {} s", patience.as_secs()));
            Ok(())
        })
    }
}
