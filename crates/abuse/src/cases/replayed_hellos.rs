//! Handshakes that cost the server its signature, and the client nothing: the greeting is always the same.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use crate::attacker::{Attacker, rate};
use crate::case::{Attack, Budgets, Case, Limit};
use crate::credentials::{ONLY_1_2, ONLY_1_3};
use crate::ending::Ending;
use crate::hello::{client_hello, first_record};

/// Connections at the same time.
const AT_ONCE: usize = 64;

pub(super) struct ReplayedHellos;

impl Case for ReplayedHellos {
    fn name(&self) -> &'static str {
        "replayed-hellos"
    }

    fn does(&self) -> &'static str {
        "sends one and the same greeting of TLS on connection after connection, 64 at a time, and goes with the first answer"
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.connections(2 * AT_ONCE as u64)
    }

    // The client is not heard of again, and there is nobody to tell.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn needs_credentials(&self) -> bool {
        true
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let hello = |versions| {
                let config = attacker.credentials().client(versions, None).map_err(|_| Ending::Closed)?;
                client_hello(config).map_err(|_| Ending::Closed)
            };
            let hellos = [hello(ONLY_1_2)?, hello(ONLY_1_3)?];
            let (began, answered) = (Instant::now(), AtomicU64::new(0));
            let again = async |number: usize| {
                while !attacker.is_over() {
                    let greeted = async {
                        let mut tcp = attacker.tcp().await?;
                        tcp.write_all(&hellos[number % 2]).await.map_err(|_| Ending::Closed)?;
                        Ok::<_, Ending>(first_record(&mut tcp).await)
                    };
                    match attacker.in_time(greeted).await {
                        Some(Ok(Ending::Served)) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Some(Ok(ending) | Err(ending)) => attacker.note(ending),
                        None => {}
                    }
                }
            };
            join_all((0..AT_ONCE).map(again)).await;
            attacker.figure(format!("{}/s answered", rate(answered.into_inner(), began)));
            Ok(())
        })
    }
}
