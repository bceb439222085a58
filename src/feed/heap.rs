//! What data takes of memory as an allocator hands it out.

/// What the allocator sets aside for one allocation of `bytes`: its size class. Classes are 16
/// bytes apart up to 128, then four to a doubling, as in mimalloc and jemalloc.
pub(super) const fn allocated(bytes: usize) -> usize {
    const ALIGN: usize = 16;
    if bytes <= 4 * ALIGN {
        return bytes.next_multiple_of(ALIGN);
    }
    // The power of two below `bytes`, of which a class is a fourth away from the next one.
    let below = 1 << (usize::BITS - 1 - (bytes - 1).leading_zeros());
    bytes.next_multiple_of(below / 4)
}

/// What a hash table of so much capacity takes for entries of `entry` bytes: it is filled to seven
/// eighths, and notes a byte for each place.
pub(super) const fn table(capacity: usize, entry: usize) -> usize {
    capacity * 8 / 7 * (entry + 1)
}

/// What an entry of `entry` bytes takes in a B-tree: nodes are at least half full, and have a third
/// of their size for themselves.
pub(super) const fn in_tree(entry: usize) -> usize {
    entry * 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_those_of_mimalloc() {
        let classes = [1, 16, 17, 64, 65, 81, 129, 160, 161, 193, 257, 1_025, 4_097].map(allocated);
        assert_eq!(classes, [16, 16, 32, 64, 80, 96, 160, 160, 192, 224, 320, 1_280, 5_120]);
    }
}
