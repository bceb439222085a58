//! Large target lists, whose watchers stop reading one after another, each at a version of its own.

use std::time::Duration;

use h2::RecvStream;
use starling_client::pb::livestream::v1 as pb;
use starling_client::pb::livestream::v1::{JoinLivestreamRequest, WatchTargetsRequest};

use super::unread_rosters::{UNREAD, unread_budget};
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case, OUTLASTING};
use crate::ending::Ending;
use crate::link::{DEFAULT_WINDOW, Link, WIDE, unread_ending};
use crate::settings::Setting;
use crate::world::{FIRST, LEASE, each, livestream_method, starred_livestream};

/// The largest endpoint of a viewer, in bytes.
const ENDPOINT: usize = 256;

pub(super) struct UnreadTargets;

impl Case for UnreadTargets {
    fn name(&self) -> &'static str {
        "unread-targets"
    }

    fn does(&self) -> &'static str {
        "1 000 WatchTargets (short: 100) of a broadcaster with 1 000 viewers in a star; each reads the list, then \
         nothing, and then the list changes"
    }

    fn settings(&self) -> &'static [Setting] {
        UNREAD
    }

    // The livestream is state.
    fn budget(&self, budgets: &Budgets<'_>) -> u64 {
        unread_budget(budgets) + (8 << 20)
    }

    fn kept(&self, _budgets: &Budgets<'_>) -> u64 {
        8 << 20
    }

    fn short_time(&self) -> Duration {
        OUTLASTING
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        Box::pin(async move {
            let link = attacker.link().await?;
            let livestream_id = starred_livestream(&link).await?;
            let viewers = FIRST + 1..FIRST + 1 + 1_000;
            each(viewers, |node| join(&link, livestream_id, node)).await?;
            let watches = attacker.form.pick(100, 1_000);
            // Streams with a small window on a connection with a wide one.
            let watcher = attacker.link_with(DEFAULT_WINDOW, WIDE).await?;
            let request = WatchTargetsRequest { livestream_id, node_id: FIRST, ..Default::default() };
            let watch = livestream_method("WatchTargets");
            attacker.begin();
            let mut kept = Vec::new();
            for number in 0..watches {
                if attacker.is_over() {
                    break;
                }
                let reading = async {
                    let mut answer = watcher.unread(&watch, &request).await?;
                    read_first(&mut answer).await?;
                    change(&link, livestream_id, FIRST + 1 + number % 1_000, number).await?;
                    Ok(answer)
                };
                match attacker.in_time(reading).await {
                    Some(Ok(answer)) => kept.push(answer),
                    Some(Err(ending)) => attacker.note(ending),
                    None => break,
                }
            }
            attacker.figure(format!("{} watches stopped", kept.len()));
            attacker.note_all(kept.into_iter().map(|answer| async { unread_ending(answer).await.0 })).await;
            Ok(())
        })
    }
}

/// Reads the first message and gives back all of its window but the last part, so that nothing more is sent.
async fn read_first(answer: &mut RecvStream) -> Result<(), Ending> {
    let ended = |error| Ending::of_h2(&error);
    let (mut seen, mut released, mut length) = (0, 0, None);
    while length.is_none_or(|length| seen < length) {
        let data = answer.data().await.ok_or(Ending::Closed)?.map_err(ended)?;
        if length.is_none() {
            let announced = data.get(1..5).and_then(|bytes| bytes.try_into().ok()).ok_or(Ending::Closed)?;
            length = Some(5 + u32::from_be_bytes(announced) as usize);
        }
        seen += data.len();
        let release = seen.min(length.unwrap_or(seen).saturating_sub(DEFAULT_WINDOW as usize)) - released;
        released += release;
        answer.flow_control().release_capacity(release).map_err(ended)?;
    }
    Ok(())
}

async fn join(link: &Link, livestream_id: u64, node_id: u64) -> Result<(), Ending> {
    let (lease_ttl, endpoint) = (Some(LEASE), Some(vec![7; ENDPOINT].into()));
    let join = JoinLivestreamRequest { livestream_id, node_id, lease_ttl, endpoint, ..Default::default() };
    link.call::<pb::JoinLivestreamResponse>(&livestream_method("JoinLivestream"), &join).await.map(drop)
}

/// Gives a viewer another endpoint.
async fn change(link: &Link, livestream_id: u64, node_id: u64, number: u64) -> Result<(), Ending> {
    let mut endpoint = vec![7; ENDPOINT];
    endpoint[..8].copy_from_slice(&number.to_be_bytes());
    let update =
        pb::UpdateViewerRequest { livestream_id, node_id, endpoint: Some(endpoint.into()), ..Default::default() };
    link.call::<pb::UpdateViewerResponse>(&livestream_method("UpdateViewer"), &update).await.map(drop)
}
