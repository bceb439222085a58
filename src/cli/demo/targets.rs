//! Lists of targets as a viewer folds and compares them.

use starling_client::pb::swarm::v1::{Target, TargetDelta, TargetList};

/// Brings a list to what a change makes of it.
pub(super) fn apply(list: &mut TargetList, delta: TargetDelta) {
    let TargetDelta { topology, placement, added, updated, removed, parent, backup_parent } = delta;
    (list.topology, list.placement) = (topology, placement);
    (list.parent, list.backup_parent) = (parent, backup_parent);
    list.targets.retain(|target| removed.iter().all(|gone| gone.node_id != target.node_id));
    for new in updated.into_iter().chain(added) {
        list.targets.retain(|target| target.node_id != new.node_id);
        list.targets.push(new);
    }
}

/// What is compared of a list: the targets, whatever their order, and the shape.
pub(super) fn sorted(list: &TargetList) -> (Vec<Target>, i32) {
    let mut targets = list.targets.clone();
    targets.sort_unstable_by_key(|target| target.node_id);
    (targets, list.topology)
}
