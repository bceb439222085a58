//! The state itself: livestreams with as much metadata as they may have.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::join_all;
use starling_client::Client;
use starling_client::pb::livestream::v1::{
    CreateLivestreamRequest, CreateLivestreamResponse, EndLivestreamRequest, EndLivestreamResponse,
};

use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::ending::Ending;
use crate::settings::Setting;
use crate::world::{FIRST, each, livestream_method};

/// The largest metadata, in bytes.
const METADATA: usize = 1_024;
/// Calls at the same time, on one connection.
const AT_ONCE: usize = 64;

pub(super) struct SwarmState;

impl Case for SwarmState {
    fn name(&self) -> &'static str {
        "swarm-state"
    }

    fn does(&self) -> &'static str {
        "creates livestreams with 1 KiB of metadata until it is refused, then ends them"
    }

    fn settings(&self) -> &'static [Setting] {
        &[
            ("memory.state_bytes", "2097152"),
            ("memory.state_address_bytes", "1572864"),
            ("memory.state_identity_bytes", "1572864"),
            ("memory.event_logs_bytes", "16777216"),
        ]
    }

    // Each livestream brings its first event, its entry in the lists and their log along.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        budgets.bytes("memory.state_bytes", 512 << 20) + budgets.bytes("memory.event_logs_bytes", 256 << 20)
    }

    fn kept(&self, budgets: &Budgets<'_>) -> u64 {
        self.budget(budgets)
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = &attacker.link().await?;
            let first = Client::random_node();
            let next = AtomicU64::new(first);
            let create = livestream_method("CreateLivestream");
            let created = async || {
                while !attacker.is_over() {
                    let request = CreateLivestreamRequest {
                        livestream_id: next.fetch_add(1, Ordering::Relaxed),
                        node_id: FIRST,
                        metadata: vec![7; METADATA].into(),
                        ..Default::default()
                    };
                    if let Err(ending) = link.call::<CreateLivestreamResponse>(&create, &request).await {
                        return ending;
                    }
                }
                Ending::Served
            };
            join_all((0..AT_ONCE).map(|_| created())).await.into_iter().for_each(|ending| attacker.note(ending));
            let last = next.into_inner();
            attacker.figure(format!("{} livestreams", last - first));
            let end = livestream_method("EndLivestream");
            let ended = each(first..last, |livestream_id| {
                let end = &end;
                async move {
                    let request = EndLivestreamRequest { livestream_id, node_id: FIRST, ..Default::default() };
                    match link.call::<EndLivestreamResponse>(end, &request).await {
                        // The last ones were not created.
                        Ok(_) | Err(Ending::Refused(..)) => Ok(()),
                        Err(ending) => Err(ending),
                    }
                }
            });
            ended.await
        })
    }
}
