//! Connections that nobody reads from: what waits for them is in the kernel, where no budget of the server is.

use std::time::Duration;

use starling_client::pb::livestream::v1::SubscribeUpdatesRequest;
use starling_client::pb::swarm::v1::UpdateChannel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use super::trickle_reader::publish;
use super::unread_rosters::{UNREAD, unread_budget};
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, Limit, OUTLASTING};
use crate::ending::Ending;
use crate::frames::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE, frame};
use crate::link::framed;
use crate::settings::Setting;
use crate::wire::Wire;
use crate::world::{FIRST, join_livestream, livestream, livestream_method};

/// SETTINGS_INITIAL_WINDOW_SIZE of all there is, and what makes the connection's window as wide.
const WIDE: [u8; 6] = [0, 4, 0x7f, 0xff, 0xff, 0xff];
const WIDER: [u8; 4] = [0x7f, 0, 0, 0];
/// How often the kernel is asked.
const LOOK: Duration = Duration::from_millis(100);
/// How long the end of a connection is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct UnreadSockets;

impl Case for UnreadSockets {
    fn name(&self) -> &'static str {
        "unread-sockets"
    }

    fn does(&self) -> &'static str {
        "subscribes on 500 connections (short: 100) with windows of 2 GB to 500 KB/s, and reads none of their sockets"
    }

    fn settings(&self) -> &'static [Setting] {
        UNREAD
    }

    // The ring of the livestream is filled besides.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        unread_budget(budgets) + budgets.connections(budgets.form.pick(100, 500)) + self.kept(budgets)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("feed.ring_bytes", 8 << 20)
    }

    // What they are told they do not read.
    fn limit(&self) -> Limit {
        Limit::Cheap
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let stream = livestream(&link).await?;
            let session_id = join_livestream(&link, stream.id, FIRST + 1).await?;
            let request = SubscribeUpdatesRequest {
                livestream_id: stream.id,
                node_id: FIRST + 1,
                session_id,
                channels: vec![UpdateChannel::Data.into()],
                ..Default::default()
            };
            let mut hello = PREFACE.to_vec();
            frame(&mut hello, SETTINGS, 0, 0, &WIDE);
            frame(&mut hello, WINDOW_UPDATE, 0, 0, &WIDER);
            let headers = attacker.call_headers(&livestream_method("SubscribeUpdates"));
            frame(&mut hello, HEADERS, END_HEADERS, 1, &headers);
            frame(&mut hello, DATA, END_STREAM, 1, &framed(&request));
            let before = kernel_bytes();
            let mut wires = Vec::new();
            for _ in 0..attacker.form.pick(100, 500) {
                let mut wire = attacker.wire().await?;
                wire.write_all(&hello).await.map_err(|_| Ending::Closed)?;
                wires.push(wire);
            }
            attacker.begin();
            let mut highest = before;
            let looks = async {
                while !attacker.is_over() {
                    highest = highest.max(kernel_bytes());
                    sleep(LOOK).await;
                }
            };
            let (published, ()) = tokio::join!(publish(attacker, &link, stream), looks);
            let closed = futures_util::future::join_all(wires.into_iter().map(is_closed)).await;
            let closed = closed.into_iter().filter(|closed| *closed).count();
            attacker.figure(format!("{closed} closed; in the kernel {} MiB more", (highest - before) >> 20));
            published
        })
    }
}

/// Whether the server has closed a connection; reads what was sent before.
async fn is_closed(mut wire: Wire) -> bool {
    let mut rest = vec![0; 64 << 10];
    loop {
        match tokio::time::timeout(PATIENCE, wire.read(&mut rest)).await {
            Ok(Ok(1..)) => {}
            Ok(Ok(0) | Err(_)) => return true,
            Err(_) => return false,
        }
    }
}

/// What TCP holds of all connections of the machine, in bytes; 0 where that is not told.
fn kernel_bytes() -> u64 {
    let told = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    told.lines().find_map(pages).unwrap_or(0) * PAGE
}

/// The size of a page of memory, in bytes.
const PAGE: u64 = 4_096;

fn pages(line: &str) -> Option<u64> {
    line.strip_prefix("TCP:")?.split(" mem ").nth(1)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_tcp_are_read() {
        assert_eq!(pages("TCP: inuse 5 orphan 0 tw 2 alloc 7 mem 31"), Some(31));
        assert_eq!(pages("UDP: inuse 1 mem 2"), None);
    }
}
