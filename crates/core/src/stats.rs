//! What a swarm counts about itself.

use std::collections::BTreeSet;

use super::channel::PerChannel;
use super::hash::splitmix64;
use super::id::NodeId;
use super::interest::Interest;
use super::state::LeaveReason;

/// Counters of a swarm's core.
#[derive(Clone, Debug, Default, Hash)]
pub struct Stats {
    /// Sessions begun.
    pub joins: u64,
    /// Sessions ended, by reason, in the order of [`LeaveReason::ALL`].
    pub leaves: [u64; LeaveReason::ALL.len()],
    /// The most members at one time.
    pub peak: u64,
    /// Members by channel and interest.
    pub interests: PerChannel<[u64; Interest::ALL.len()]>,
    /// Time in ACTIVE before `active_since`, in milliseconds.
    pub active_ms: u64,
    /// When the swarm last became ACTIVE, while it is.
    pub active_since: Option<u64>,
    /// How often a node got another parent.
    pub reparentings: u64,
    /// How often a node said that a peer does not answer.
    pub peer_reports: u64,
    /// Who was ever in.
    pub unique: Unique,
}

impl Stats {
    pub(super) fn joined(&mut self, node: NodeId, levels: PerChannel<Interest>) {
        self.joins += 1;
        self.unique.insert(node);
        self.wants(levels);
    }

    pub(super) fn left(&mut self, reason: LeaveReason, levels: PerChannel<Interest>) {
        self.leaves[reason as usize] += 1;
        for (channel, level) in levels.iter() {
            self.interests[channel][*level as usize] -= 1;
        }
    }

    /// All members leave at once. O(1).
    pub(super) fn all_left(&mut self, reason: LeaveReason, members: usize) {
        self.leaves[reason as usize] += members as u64;
        self.interests = PerChannel::default();
    }

    pub(super) fn wants_instead(&mut self, before: PerChannel<Interest>, after: PerChannel<Interest>) {
        for (channel, level) in before.iter() {
            self.interests[channel][*level as usize] -= 1;
        }
        self.wants(after);
    }

    fn wants(&mut self, levels: PerChannel<Interest>) {
        for (channel, level) in levels.iter() {
            self.interests[channel][*level as usize] += 1;
        }
    }

    /// Milliseconds in ACTIVE up to `now`.
    pub fn active_time(&self, now: u64) -> u64 {
        self.active_ms + self.active_since.map_or(0, |since| now.saturating_sub(since))
    }

    pub(super) const fn set_active(&mut self, active: bool, now: u64) {
        match (active, self.active_since) {
            (true, None) => self.active_since = Some(now),
            (false, Some(since)) => {
                self.active_ms += now - since;
                self.active_since = None;
            }
            _ => {}
        }
    }
}

/// Up to this many nodes are counted exactly.
pub(super) const EXACT: usize = 1024;
/// 2^12 registers of one byte: a standard error of 1.04 / 64 = 1.6 %.
const REGISTER_BITS: u32 = 12;
/// How many registers there are.
pub(super) const REGISTERS: usize = 1 << REGISTER_BITS;
/// The highest rank in a register: one more than the bits that do not choose it.
pub(super) const MAX_RANK: u8 = 53;

/// A count of distinct nodes: exact to 1 024, then a HyperLogLog of 4 KiB
/// (Flajolet, Fusy, Gandouet and Meunier, "HyperLogLog: the analysis of a
/// near-optimal cardinality estimation algorithm", 2007; with the small-range
/// correction, which 64-bit hashes make the only one needed).
#[derive(Clone, Debug, Hash)]
pub enum Unique {
    /// The nodes themselves.
    Exact(BTreeSet<NodeId>),
    /// The registers.
    Estimate(Box<[u8]>),
}

impl Default for Unique {
    fn default() -> Self {
        Self::Exact(BTreeSet::new())
    }
}

impl Unique {
    /// Counts a node.
    pub fn insert(&mut self, node: NodeId) {
        match self {
            Self::Exact(nodes) => {
                nodes.insert(node);
                if nodes.len() > EXACT {
                    let mut registers = vec![0; REGISTERS].into_boxed_slice();
                    nodes.iter().for_each(|node| record(&mut registers, *node));
                    *self = Self::Estimate(registers);
                }
            }
            Self::Estimate(registers) => record(registers, node),
        }
    }

    /// What it takes outside itself, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            // A set of entries of 8 bytes has nodes that are half full at least.
            Self::Exact(nodes) => nodes.len() * 16,
            Self::Estimate(registers) => registers.len(),
        }
    }

    /// True when [`Self::count`] is not exact.
    pub const fn is_estimate(&self) -> bool {
        matches!(self, Self::Estimate(_))
    }

    /// How many distinct nodes were counted.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate to 1.6 %"
    )]
    pub fn count(&self) -> u64 {
        let registers = match self {
            Self::Exact(nodes) => return nodes.len() as u64,
            Self::Estimate(registers) => registers,
        };
        let m = registers.len() as f64;
        let sum: f64 = registers.iter().map(|rank| 0.5_f64.powi(i32::from(*rank))).sum();
        let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        let zeros = registers.iter().filter(|rank| **rank == 0).count();
        let estimate = if raw <= 2.5 * m && zeros > 0 { m * (m / zeros as f64).ln() } else { raw };
        estimate.round() as u64
    }
}

fn record(registers: &mut [u8], node: NodeId) {
    let hash = splitmix64(node.get());
    let register = (hash >> (64 - REGISTER_BITS)) as usize;
    let rank = (hash << REGISTER_BITS).leading_zeros().min(64 - REGISTER_BITS) + 1;
    registers[register] = registers[register].max(u8::try_from(rank).expect("a rank is at most 53"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_of(nodes: impl Iterator<Item = u64>) -> Unique {
        let mut unique = Unique::default();
        nodes.filter_map(NodeId::new).for_each(|node| unique.insert(node));
        unique
    }

    #[test]
    fn up_to_1024_nodes_are_counted_exactly() {
        let unique = count_of((1..=1024).chain(1..=1024).chain(500..900));
        assert_eq!((unique.count(), unique.is_estimate()), (1024, false));
    }

    #[test]
    fn beyond_1024_nodes_the_count_is_an_estimate() {
        let unique = count_of(1..=1025);
        assert!(unique.is_estimate());
        assert!(unique.count().abs_diff(1025) <= 1025 / 20, "{}", unique.count());
    }

    #[test]
    fn estimate_is_within_5_percent_to_a_million() {
        for total in [10_000_u64, 30_000, 100_000, 300_000, 1_000_000] {
            // In a row, far apart, and as hashes would lie.
            let rows: [fn(u64) -> u64; 3] = [|n| n, |n| n << 32, splitmix64];
            for (way, row) in rows.into_iter().enumerate() {
                let estimate = count_of((1..=total).map(row)).count();
                let error = estimate.abs_diff(total) as f64 / total as f64;
                assert!(error < 0.05, "{total} nodes, way {way}: {estimate}");
            }
        }
    }

    #[test]
    fn repeated_nodes_do_not_change_the_estimate() {
        let once = count_of(1..=20_000);
        let thrice = count_of((1..=20_000).chain(1..=20_000).chain((1..=20_000).rev()));
        assert_eq!(once.count(), thrice.count());
    }

    #[test]
    fn estimate_is_independent_of_arrival_order() {
        let there = count_of(1..=5_000);
        let back = count_of((1..=5_000).rev());
        assert_eq!(there.count(), back.count());
    }

    #[test]
    fn time_on_air_sums_its_intervals() {
        let mut stats = Stats::default();
        stats.set_active(true, 1_000);
        stats.set_active(true, 1_500);
        assert_eq!(stats.active_time(3_000), 2_000);
        stats.set_active(false, 4_000);
        stats.set_active(false, 5_000);
        assert_eq!(stats.active_time(9_000), 3_000);
        stats.set_active(true, 10_000);
        assert_eq!(stats.active_time(10_250), 3_250);
    }
}
