//! Numbers as their distances from those before: the closer, the fewer bytes.

use crate::id::NodeId;
use crate::wire::{Fault, Reader, Wire, WireError};

/// Writes a number as its distance from another one, up or down: the sign is in the lowest bit.
pub(super) fn put_distance(from: u64, to: u64, out: &mut Vec<u8>) {
    let distance = to.wrapping_sub(from);
    let sign = 0_u64.wrapping_sub(distance >> 63);
    ((distance << 1) ^ sign).put(out);
}

/// The number at a distance from another one.
pub(super) fn take_distance(from: u64, reader: &mut Reader<'_>) -> Result<u64, WireError> {
    let folded = u64::take(reader)?;
    let distance = (folded >> 1) ^ 0_u64.wrapping_sub(folded & 1);
    Ok(from.wrapping_add(distance))
}

/// Writes a node of a list in ascending order, after `last`; 0 when it is the first one.
pub(super) fn put_ascending(last: u64, node: NodeId, out: &mut Vec<u8>) {
    (node.get() - last).put(out);
}

/// The next node of such a list.
pub(super) fn take_ascending(last: u64, reader: &mut Reader<'_>) -> Result<NodeId, WireError> {
    let start = reader.offset;
    let step = u64::take(reader)?;
    if step == 0 {
        return Err(reader.fault(start, Fault::Order));
    }
    let node = last.checked_add(step).and_then(NodeId::new);
    node.ok_or_else(|| reader.fault(start, Fault::OutOfRange { max: u64::MAX - last }))
}
