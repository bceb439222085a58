//! KeyUpdate of TLS 1.3 (RFC 8446, 4.6.3), again and again, each of which asks for one in return.

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::credentials::ONLY_1_3;
use crate::ending::Ending;
use crate::frames::{PING, PREFACE, SETTINGS, frame};
use crate::wire::{secured, tls_ending};

/// Updates that are sent together: as many as a server takes without data between them, and more.
const ALLOWED: u64 = 31;
const TOO_MANY: u64 = 64;

pub(super) struct KeyUpdates;

impl Case for KeyUpdates {
    fn name(&self) -> &'static str {
        "key-updates"
    }

    fn does(&self) -> &'static str {
        "changes its keys of TLS 1.3 as fast as it can, and has the server change its own; on every other connection with data \
         between, as often as is needed"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let config = attacker.credentials().client(ONLY_1_3, None).map_err(|_| Ending::Closed)?;
            let connector = TlsConnector::from(config);
            let (mut hello, mut ping) = (PREFACE.to_vec(), Vec::new());
            frame(&mut hello, SETTINGS, 0, 0, &[]);
            frame(&mut ping, PING, 0, 0, &[0; 8]);
            let mut updates = 0;
            for (together, between) in [(TOO_MANY, &[][..]), (ALLOWED, &ping)].into_iter().cycle() {
                if attacker.is_over() {
                    break;
                }
                // A connection on which nobody minds has half of the time that is left.
                let ends = Instant::now() + attacker.left() / 2;
                let mut stream = secured(attacker.tcp().await?, &connector).await?;
                stream.write_all(&hello).await.map_err(|error| tls_ending(&error))?;
                let mut answer = [0; 1_024];
                let ending = loop {
                    if Instant::now() >= ends || attacker.is_over() {
                        break None;
                    }
                    for _ in 0..together {
                        if stream.get_mut().1.refresh_traffic_keys().is_err() {
                            break;
                        }
                        updates += 1;
                    }
                    let sent = async {
                        stream.write_all(between).await?;
                        stream.flush().await
                    };
                    match attacker.in_time(sent).await {
                        Some(Ok(())) => {}
                        Some(Err(error)) => break Some(tls_ending(&error)),
                        // Not read any more: held back.
                        None => break None,
                    }
                    match stream.read(&mut answer).now_or_never() {
                        Some(Ok(0)) => break Some(Ending::Closed),
                        Some(Err(error)) => break Some(tls_ending(&error)),
                        Some(Ok(_)) | None => {}
                    }
                };
                ending.into_iter().for_each(|ending| attacker.note(ending));
            }
            attacker.figure(format!("{updates} updates"));
            Ok(())
        })
    }
}
