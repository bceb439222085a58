//! Connections that carry nothing.

use tokio::time::{Duration, timeout};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::settings::Setting;

/// How long a connection may take before it counts as refused.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) struct ConnectionFlood;

impl Case for ConnectionFlood {
    fn name(&self) -> &'static str {
        "connection-flood"
    }

    fn does(&self) -> &'static str {
        "opens 16 381 connections of HTTP/2 (short: 300, where 256 are allowed) and leaves them idle"
    }

    fn settings(&self) -> &'static [Setting] {
        &[("server.max_connections", "256"), ("server.max_connections_per_address", "200")]
    }

    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.connections(budgets.bytes("server.max_connections", 16_384))
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let mut idle = Vec::new();
            for _ in 0..attacker.form.pick(300, 16_381) {
                match timeout(PATIENCE, attacker.link()).await.unwrap_or(Err(Ending::Closed)) {
                    Ok(link) => idle.push(link),
                    Err(ending) => attacker.note(ending),
                }
            }
            attacker.figure(format!("{} connections opened", idle.len()));
            attacker.over().await;
            for link in &mut idle {
                attacker.note(link.has_ended().unwrap_or(Ending::Served));
            }
            Ok(())
        })
    }
}
