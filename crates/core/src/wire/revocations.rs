//! The bytes of the table of revoked tokens, which is about no swarm.
//!
//! ```text
//! table      = version length revocation*
//! version    = 1                               one byte
//! revocation = step issued_before forget_at
//! step       = how far the node is from the one before, at least 1
//! ```
//!
//! Numbers are those of commands ([`wire`](super)), and the table has one form alone. When each is forgotten first is not
//! written: it follows. At most 100 000 of some 20 bytes: they are written and read at once.

use super::{Fault, Reader, Wire, WireError};
use crate::id::NodeId;
use crate::revocations::{MAX_REVOCATIONS, Revocation, Revocations};

/// The version that [`encode`] writes.
pub const VERSION: u8 = 1;

// As for commands: no line here changes once it is released.
wire_struct!(Revocation: issued_before, forget_at);

/// Writes a table piece by piece: nobody changes it in between.
#[derive(Debug, Default)]
pub struct RevocationEncoder {
    begun: bool,
    /// The node of the last one; 0 before the first.
    last: u64,
    written: usize,
}

impl RevocationEncoder {
    /// Adds the next piece, of about `budget` bytes. False once all was written. O(budget).
    pub fn next(&mut self, table: &Revocations, budget: usize, out: &mut Vec<u8>) -> bool {
        let end = out.len().saturating_add(budget);
        if !self.begun {
            self.begun = true;
            out.push(VERSION);
            (table.len() as u64).put(out);
        } else if self.written == table.len() {
            return false;
        }
        let following = self.last.checked_add(1).and_then(NodeId::new);
        for (node, revocation) in following.into_iter().flat_map(|from| table.iter_from(Some(from))) {
            (node.get() - self.last).put(out);
            revocation.put(out);
            self.last = node.get();
            self.written += 1;
            if out.len() >= end {
                break;
            }
        }
        true
    }
}

/// The bytes of a table. O(n).
pub fn encode(table: &Revocations) -> Vec<u8> {
    let mut out = Vec::new();
    RevocationEncoder::default().next(table, usize::MAX, &mut out);
    out
}

/// What [`encode`] was given. Takes bytes from anywhere: it does not panic, and allocates a small multiple of their
/// length.
///
/// # Errors
///
/// Why they are no such table, and where.
pub fn decode(bytes: &[u8]) -> Result<Revocations, WireError> {
    let mut reader = Reader::new(bytes);
    match reader.byte()? {
        VERSION => {}
        found => return Err(reader.fault(0, Fault::Version { found })),
    }
    reader.what = "length";
    let length = reader.length()?;
    if length > MAX_REVOCATIONS as usize {
        return Err(reader.fault(1, Fault::OutOfRange { max: MAX_REVOCATIONS.into() }));
    }
    let (mut table, mut last) = (Revocations::default(), 0_u64);
    for _ in 0..length {
        reader.what = "node";
        let start = reader.offset;
        let step = u64::take(&mut reader)?;
        if step == 0 {
            return Err(reader.fault(start, Fault::Order));
        }
        let node = last.checked_add(step).and_then(NodeId::new);
        let node = node.ok_or_else(|| reader.fault(start, Fault::OutOfRange { max: u64::MAX - last }))?;
        table.restore(node, reader.field("revocation")?);
        last = node.get();
    }
    reader.finish()?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::RevokeTokens;
    use crate::hash::splitmix64;

    fn revoke(table: &mut Revocations, node: u64, issued_before: u64, forget_at: u64, at: u64) {
        let node = NodeId::new(node).unwrap();
        table.revoke(RevokeTokens { node, issued_before, forget_at }, at).unwrap();
    }

    fn small() -> Revocations {
        let mut table = Revocations::default();
        revoke(&mut table, 300, 5, 1_000, 4);
        revoke(&mut table, 7, 6, 900, 6);
        table
    }

    #[test]
    fn the_bytes_of_a_table_do_not_change() {
        let bytes = [1, 2, 7, 6, 0x84, 7, 0xa5, 2, 5, 0xe8, 7];
        assert_eq!(encode(&small()), bytes);
        assert_eq!(decode(&bytes), Ok(small()));
        assert_eq!(encode(&Revocations::default()), [1, 0]);
        assert_eq!(decode(&[1, 0]), Ok(Revocations::default()));
    }

    #[test]
    fn read_table_goes_on_as_the_written_one() {
        let mut table = Revocations::default();
        let mut twin = Revocations::default();
        for step in 0..20_000_u64 {
            let draw = splitmix64(step);
            let node = NodeId::new(1 + draw % 500).unwrap();
            let command = RevokeTokens { node, issued_before: draw >> 50, forget_at: step + draw % 3_000 };
            assert_eq!(twin.revoke(command, step), table.revoke(command, step));
            if step.is_multiple_of(97) {
                let (mut encoder, mut bytes) = (RevocationEncoder::default(), Vec::new());
                while encoder.next(&table, 64, &mut bytes) {}
                assert_eq!(bytes, encode(&table), "however it is cut");
                twin = decode(&bytes).unwrap();
                assert_eq!(twin.digest(), table.digest());
                twin.check();
                assert_eq!(twin, table);
            }
        }
        assert!(table.len() > 100, "there was something to tell");
    }

    #[test]
    fn other_bytes_are_no_table() {
        let bytes = encode(&small());
        for end in 0..bytes.len() {
            assert!(decode(&bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            for change in 1..=u8::MAX {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                if let Ok(table) = decode(&changed) {
                    table.check();
                    assert_eq!(encode(&table), changed, "one form alone");
                }
            }
        }
        let many = [&[1, 0xa1, 0x8d, 6][..], &[0; 100_001][..]].concat();
        for (bytes, message) in [
            (&[2, 0][..], "byte 0, version: version 2 is unknown"),
            (&[1, 1, 0, 0, 0], "byte 2, node: an entry out of order"),
            (&[1, 0, 0], "byte 2, end: bytes left over: 1"),
            (&[1, 9, 0], "byte 1, length: a length of 9 with 1 bytes left"),
            (&many, "byte 1, length: a number above 100000"),
        ] {
            assert_eq!(decode(bytes).unwrap_err().to_string(), message);
        }
    }
}
