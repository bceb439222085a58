//! `starling tree`: the relay tree of a livestream, drawn.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use super::{Failure, Server, told};
use crate::client::Client;
use crate::pb::livestream::v1 as pb;

#[derive(Debug, clap::Args)]
pub(super) struct Tree {
    #[command(flatten)]
    server: Server,
    /// The livestream.
    #[arg(long, value_name = "ID")]
    livestream: u64,
}

impl Tree {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let mut client = self.server.connect().await?;
        let get = pb::GetLivestreamRequest { livestream_id: self.livestream };
        let found = client.livestreams.get_livestream(get).await.map_err(|status| told(&status))?;
        let livestream = found.into_inner().livestream.unwrap_or_default();
        let viewers = self.viewers(&mut client).await?;
        let drawing = draw(&livestream, &viewers);
        match std::io::stdout().write_all(drawing.as_bytes()) {
            // Whoever read it has seen enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
            outcome => Ok(outcome?),
        }
    }

    async fn viewers(&self, client: &mut Client) -> Result<Vec<pb::Viewer>, Failure> {
        let mut viewers = Vec::new();
        let mut page_token = String::new();
        loop {
            let list = pb::ListViewersRequest { livestream_id: self.livestream, page_size: 1_000, page_token };
            let page = client.livestreams.list_viewers(list).await.map_err(|status| told(&status))?.into_inner();
            viewers.extend(page.viewers);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(viewers);
            }
        }
    }
}

/// The tree, one node a line, children below their parents.
fn draw(livestream: &pb::Livestream, viewers: &[pb::Viewer]) -> String {
    let mut children: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let mut edge_served = Vec::new();
    let mut depth = 0;
    let mut relays = BTreeMap::new();
    for viewer in viewers {
        let placement = viewer.placement.unwrap_or_default();
        depth = depth.max(placement.depth);
        relays.insert(viewer.node_id, placement.can_relay);
        match placement.parent_node_id {
            Some(parent) => children.entry(parent).or_default().push(viewer.node_id),
            None => edge_served.push(viewer.node_id),
        }
    }
    let root = livestream.broadcaster_node_id;
    let mut drawing = format!(
        "livestream {}: {}, {} viewers, depth {depth}\n{root} (broadcaster)\n",
        livestream.livestream_id,
        livestream.topology().as_str_name().trim_start_matches("TOPOLOGY_").to_lowercase(),
        viewers.len(),
    );
    // A stack instead of recursion; each entry is a node and what stands before it.
    let below = |node: u64, indent: &str, stack: &mut Vec<(u64, String, bool)>| {
        let nodes = children.get(&node).map_or(&[][..], Vec::as_slice);
        for (index, child) in nodes.iter().enumerate().rev() {
            stack.push((*child, indent.to_owned(), index + 1 == nodes.len()));
        }
    };
    let mut stack = Vec::new();
    below(root, "", &mut stack);
    while let Some((node, indent, last)) = stack.pop() {
        let (branch, continued) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let leaf = if relays.get(&node) == Some(&true) { "" } else { " (leaf-only)" };
        // Writing to a string cannot fail.
        let _ok = writeln!(drawing, "{indent}{branch}{node}{leaf}");
        below(node, &format!("{indent}{continued}"), &mut stack);
    }
    for node in edge_served {
        let _ok = writeln!(drawing, "· {node} (served by starling)");
    }
    drawing
}
