//! Where a viewer stands in the relay tree.

use std::fmt::Write as _;

use starling_client::pb::livestream::v1::{WatchTargetsRequest, WatchTargetsResponse, watch_targets_response::Event};
use starling_client::pb::swarm::v1::Placement;
use starling_client::{Client, Retry, Watch};

/// Follows a viewer's place, as far as the server tells it: whoever cannot follow it watches
/// all the same.
#[derive(Debug)]
pub(super) struct Place {
    watch: Option<Watch<WatchTargetsResponse>>,
    /// What was told last.
    told: Option<Placement>,
    /// The place at the join is to be told.
    first: bool,
}

impl Place {
    /// Of whoever is in no tree.
    pub(super) const fn none() -> Self {
        Self { watch: None, told: None, first: false }
    }

    /// Follows a node from the place that it got when it joined.
    pub(super) async fn follow(client: Client, livestream_id: u64, node: u64, joined: Option<Placement>) -> Self {
        // An observer's watch: it stays when the viewer joins again.
        let open = move |client: Client, _| async move {
            let Client { mut livestreams, .. } = client;
            livestreams
                .watch_targets(WatchTargetsRequest {
                    livestream_id,
                    of_node_id: node,
                    node_id: node,
                    ..Default::default()
                })
                .await
        };
        let watch = Watch::open(client, 0, None, Retry::default(), open).await.ok();
        Self { watch, told: joined, first: joined.is_some() }
    }

    /// Waits for another place. Safe to drop and call again.
    pub(super) async fn changed(&mut self) -> String {
        loop {
            if let (true, Some(placement)) = (std::mem::take(&mut self.first), &self.told) {
                return words(placement);
            }
            let Some(watch) = &mut self.watch else { return std::future::pending().await };
            let placement = match watch.next().await {
                Ok(Some(message)) => match message.event {
                    Some(Event::Snapshot(list)) => list.placement,
                    Some(Event::Delta(delta)) => delta.placement,
                    Some(Event::Heartbeat(_) | Event::Goodbye(_)) | None => None,
                },
                Ok(None) | Err(_) => {
                    self.watch = None;
                    continue;
                }
            };
            if let Some(placement) = placement
                && self.told != Some(placement)
            {
                self.told = Some(placement);
                return words(&placement);
            }
        }
    }
}

fn words(placement: &Placement) -> String {
    if placement.parent_node_id == 0 {
        return "place: no parent, served by the server".into();
    }
    let mut words = format!("place: parent {}, ", placement.parent_node_id);
    // Writing to a string cannot fail.
    let _ok = match placement.backup_parent_node_id {
        0 => write!(words, "no backup parent"),
        backup => write!(words, "backup parent {backup}"),
    };
    words + &format!(", depth {}", placement.depth)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placement_is_printed_in_words() {
        let place =
            Placement { parent_node_id: 5, backup_parent_node_id: 6, depth: 3, can_relay: true, edge_served: false };
        assert_eq!(words(&place), "place: parent 5, backup parent 6, depth 3");
        let below = Placement { parent_node_id: 1, backup_parent_node_id: 0, depth: 1, ..place };
        assert_eq!(words(&below), "place: parent 1, no backup parent, depth 1");
        let served = Placement { parent_node_id: 0, edge_served: true, depth: 0, ..below };
        assert_eq!(words(&served), "place: no parent, served by the server");
    }
}
