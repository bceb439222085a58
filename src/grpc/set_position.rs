//! Positions in a set of swarms: one opaque token for each partition.
//!
//! A partition is a shard, counted from 1. A token is no secret and grants nothing; its check
//! is there so that a token of another partition or kind, or one that was made up, is refused
//! instead of skipping changes in silence.

use bytes::Bytes;

use super::fields::{Parsed, invalid};
use crate::pb::swarm::v1 as pb;
use crate::service::watch::SetPosition;
use starling_core::hash::FixedHasher;
use starling_core::id::{Epoch, SwarmKind};

/// The partition of a shard.
pub(super) fn partition(shard: usize) -> u32 {
    u32::try_from(shard + 1).unwrap_or(u32::MAX)
}

/// The token of a revision of a shard.
pub(super) fn token(kind: SwarmKind, shard: usize, revision: u64) -> Bytes {
    let check = FixedHasher::digest(&("set position", kind, partition(shard), revision));
    Bytes::from([revision.to_be_bytes(), check.to_be_bytes()].concat())
}

/// Reads where a watch stopped. `set` is the incarnation of the set, and how many shards it
/// has; of another incarnation nothing is known.
pub(super) fn parse(
    kind: SwarmKind,
    (epoch, shards): (Epoch, usize),
    position: Option<pb::SetPosition>,
) -> Parsed<Option<SetPosition>> {
    let Some(position) = position else { return Ok(None) };
    if position.epoch != epoch.get() {
        return Ok(Some(SetPosition { epoch: position.epoch, shards: Vec::new() }));
    }
    let mut known: Vec<(usize, u64)> = Vec::new();
    for (index, pb::PartitionPosition { partition, position }) in position.partitions.iter().enumerate() {
        let field = |name: &str| format!("resume_from.partitions[{index}].{name}");
        let shard = (*partition as usize).checked_sub(1).filter(|shard| *shard < shards);
        let Some(shard) = shard else {
            return invalid(field("partition"), format!("must be 1 to {shards}, not {partition}"));
        };
        if known.iter().any(|(named, _)| *named == shard) {
            return invalid(field("partition"), format!("{partition} is named twice"));
        }
        let revision = position.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
        match revision.filter(|revision| token(kind, shard, *revision) == *position) {
            Some(revision) => known.push((shard, revision)),
            None => return invalid(field("position"), "was not given out for this partition"),
        }
    }
    Ok(Some(SetPosition { epoch: position.epoch, shards: known }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARDS: usize = 4;

    fn epoch() -> Epoch {
        Epoch::new(9).unwrap()
    }

    fn parsed(kind: SwarmKind, epoch_given: u64, partitions: &[(u32, Bytes)]) -> Parsed<Option<SetPosition>> {
        let partitions = partitions.iter().cloned();
        let partitions = partitions.map(|(partition, position)| pb::PartitionPosition { partition, position });
        parse(kind, (epoch(), SHARDS), Some(pb::SetPosition { epoch: epoch_given, partitions: partitions.collect() }))
    }

    #[test]
    fn token_is_valid_for_its_partition_and_kind() {
        for kind in [SwarmKind::Livestream, SwarmKind::Group] {
            for shard in 0..SHARDS {
                let token = token(kind, shard, 17);
                assert!(token.len() <= 64);
                for other_kind in [SwarmKind::Livestream, SwarmKind::Group] {
                    for other in 0..SHARDS {
                        let read = parsed(other_kind, 9, &[(partition(other), token.clone())]);
                        let same = (other_kind, other) == (kind, shard);
                        assert_eq!(read.is_ok(), same, "{kind:?} {shard} as {other_kind:?} {other}");
                        assert!(!same || read.unwrap().unwrap().shards == [(shard, 17)]);
                    }
                }
            }
        }
    }

    #[test]
    fn tokens_not_issued_are_refused() {
        let kind = SwarmKind::Group;
        let good = token(kind, 1, 5);
        for bad in [Bytes::new(), good.slice(..15), [&good[..], b"x"].concat().into(), Bytes::from_static(&[0; 16])] {
            assert!(parsed(kind, 9, &[(2, bad)]).is_err());
        }
        assert!(parsed(kind, 9, &[(0, good.clone())]).is_err(), "partitions count from 1");
        assert!(parsed(kind, 9, &[(5, good.clone())]).is_err(), "there are four");
        assert!(parsed(kind, 9, &[(2, good.clone()), (2, good.clone())]).is_err(), "named twice");
        assert!(parsed(kind, 8, &[(77, good)]).unwrap().unwrap().shards.is_empty(), "another set is not known");
    }
}
