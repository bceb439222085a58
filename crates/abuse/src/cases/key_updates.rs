//! KeyUpdate of TLS 1.3 (RFC 8446, 4.6.3), again and again, each of which asks for one in return.

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit};
use crate::credentials::ONLY_1_3;
use crate::ending::Ending;
use crate::frames::PREFACE;
use crate::wire::{secured, tls_ending};

/// Updates that are sent together.
const TOGETHER: u64 = 64;

pub(super) struct KeyUpdates;

impl Case for KeyUpdates {
    fn name(&self) -> &'static str {
        "key-updates"
    }

    fn does(&self) -> &'static str {
        "changes its keys of TLS 1.3 as fast as it can, and has the server change its own"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    // One answer is under way at a time.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let config = attacker.credentials().client(ONLY_1_3, None).map_err(|_| Ending::Closed)?;
            let connector = TlsConnector::from(config);
            let mut updates = 0;
            while !attacker.is_over() {
                let mut stream = secured(attacker.tcp().await?, &connector).await?;
                stream.write_all(PREFACE).await.map_err(|error| tls_ending(&error))?;
                let mut answer = [0; 1_024];
                let ending = loop {
                    if attacker.is_over() {
                        break None;
                    }
                    for _ in 0..TOGETHER {
                        if stream.get_mut().1.refresh_traffic_keys().is_err() {
                            break;
                        }
                        updates += 1;
                    }
                    match attacker.in_time(stream.flush()).await {
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
