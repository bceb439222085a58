//! A tree in text, one node a line, children below their parents.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// A viewer and its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) id: u64,
    /// Nothing when the server serves it.
    pub(super) parent: Option<u64>,
    pub(super) depth: u32,
    pub(super) relays: bool,
}

/// The nodes of one depth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Level {
    pub(super) depth: u32,
    pub(super) viewers: usize,
    pub(super) relays: usize,
}

#[derive(Debug)]
pub(super) struct Drawing {
    root: u64,
    nodes: BTreeMap<u64, Node>,
    children: BTreeMap<u64, Vec<u64>>,
    edge_served: Vec<u64>,
}

impl Drawing {
    pub(super) fn new(root: u64, nodes: impl Iterator<Item = Node>) -> Self {
        let mut drawing = Self { root, nodes: BTreeMap::new(), children: BTreeMap::new(), edge_served: Vec::new() };
        for node in nodes {
            match node.parent {
                Some(parent) => drawing.children.entry(parent).or_default().push(node.id),
                None => drawing.edge_served.push(node.id),
            }
            drawing.nodes.insert(node.id, node);
        }
        drawing
    }

    fn in_tree(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().filter(|node| node.parent.is_some())
    }

    pub(super) fn depth(&self) -> u32 {
        self.in_tree().map(|node| node.depth).max().unwrap_or_default()
    }

    pub(super) fn levels(&self) -> Vec<Level> {
        let mut levels: BTreeMap<u32, Level> = BTreeMap::new();
        for node in self.in_tree() {
            let level = levels.entry(node.depth).or_insert_with(|| Level { depth: node.depth, ..Level::default() });
            level.viewers += 1;
            level.relays += usize::from(node.relays);
        }
        levels.into_values().collect()
    }

    /// A line for each level of a tree that has more than one, and one for those whom the server serves.
    pub(super) fn summary(&self) -> String {
        let levels = self.levels();
        let mut summary = String::new();
        // Writing to a string cannot fail.
        for Level { depth, viewers, relays } in levels.iter().filter(|_| levels.len() > 1) {
            let _ok = writeln!(summary, "level {depth}: {viewers} viewers, {relays} can relay");
        }
        if !self.edge_served.is_empty() {
            let _ok = writeln!(summary, "outside: {} served by starling", self.edge_served.len());
        }
        summary
    }

    /// The tree, as far as `most` levels below the root.
    pub(super) fn draw(&self, most: Option<u32>) -> String {
        let mut drawing = format!("{} (broadcaster)\n", self.root);
        // A stack instead of recursion; each entry is a node, its depth and what stands before it. Seen nodes are not
        // drawn again: the pages of the list are not of one moment.
        let mut seen = BTreeSet::from([self.root]);
        let mut stack = Vec::new();
        self.push_children(self.root, 1, "", &mut stack);
        while let Some((node, depth, indent, last)) = stack.pop() {
            if !seen.insert(node) {
                continue;
            }
            let (branch, continued) = if last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
            let leaf = if self.nodes.get(&node).is_some_and(|node| node.relays) { "" } else { " (leaf-only)" };
            let below = match most {
                Some(most) if depth >= most => self.below(node),
                _ => 0,
            };
            let more = if below > 0 { format!(" ... {below} below") } else { String::new() };
            let _ok = writeln!(drawing, "{indent}{branch}{node}{leaf}{more}");
            if most.is_none_or(|most| depth < most) {
                self.push_children(node, depth + 1, &format!("{indent}{continued}"), &mut stack);
            }
        }
        for node in &self.edge_served {
            let _ok = writeln!(drawing, "· {node} (served by starling)");
        }
        drawing
    }

    fn push_children(&self, node: u64, depth: u32, indent: &str, stack: &mut Vec<(u64, u32, String, bool)>) {
        let nodes = self.children.get(&node).map_or(&[][..], Vec::as_slice);
        for (index, child) in nodes.iter().enumerate().rev() {
            stack.push((*child, depth, indent.to_owned(), index + 1 == nodes.len()));
        }
    }

    /// How many nodes hang below one.
    fn below(&self, node: u64) -> usize {
        let mut seen = BTreeSet::from([node]);
        let mut rest = vec![node];
        while let Some(node) = rest.pop() {
            rest.extend(self.children.get(&node).into_iter().flatten().filter(|child| seen.insert(**child)));
        }
        seen.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u64, parent: u64, depth: u32, relays: bool) -> Node {
        Node { id, parent: (parent > 0).then_some(parent), depth, relays }
    }

    fn drawing() -> Drawing {
        let nodes = [
            node(2, 1, 1, true),
            node(3, 1, 1, false),
            node(4, 2, 2, true),
            node(5, 2, 2, false),
            node(6, 4, 3, false),
            node(7, 0, 0, false),
        ];
        Drawing::new(1, nodes.into_iter())
    }

    #[test]
    fn children_stand_below_their_parents() {
        let drawn = "1 (broadcaster)\n├─ 2\n│  ├─ 4\n│  │  └─ 6 (leaf-only)\n│  └─ 5 (leaf-only)\n└─ 3 (leaf-only)\n\
                     · 7 (served by starling)\n";
        assert_eq!(drawing().draw(None), drawn);
        assert_eq!(drawing().draw(Some(3)), drawn);
    }

    #[test]
    fn nodes_below_the_drawn_depth_are_counted() {
        let drawn = "1 (broadcaster)\n├─ 2 ... 3 below\n└─ 3 (leaf-only)\n· 7 (served by starling)\n";
        assert_eq!(drawing().draw(Some(1)), drawn);
        assert!(drawing().draw(Some(2)).contains("│  ├─ 4 ... 1 below\n"));
    }

    #[test]
    fn each_level_is_summed_up() {
        let summary = "level 1: 2 viewers, 1 can relay\nlevel 2: 2 viewers, 1 can relay\nlevel 3: 1 viewers, 0 can relay\n\
                       outside: 1 served by starling\n";
        assert_eq!((drawing().summary().as_str(), drawing().depth()), (summary, 3));
        assert_eq!(Drawing::new(1, [node(2, 1, 1, true)].into_iter()).summary(), "", "a star has one level");
    }

    #[test]
    fn cycle_between_pages_is_drawn_once() {
        let circle = Drawing::new(1, [node(2, 1, 1, true), node(3, 2, 2, true), node(2, 3, 3, true)].into_iter());
        assert_eq!(circle.draw(None).lines().count(), 3);
        assert_eq!(circle.below(2), 1);
    }
}
