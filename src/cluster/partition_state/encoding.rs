//! The bytes of a partition's swarms, as snapshots have them.
//!
//! What is written here once stays: other fields take a new [`FORMAT`] beside this one. The bytes of a swarm are those of
//! [`state`](starling_core::wire::state), in the version that the active level says.
//!
//! ```text
//! state     = format partition revoked shard* 0
//! format    = 1                                   one byte
//! partition = 0 | its number + 1                  0 while nothing has told it
//! revoked   = chunk* 0                            the bytes of wire::revocations
//! shard     = 1 number head head swarm* 0         in order; a head is the position of a set, livestreams before groups
//! swarm     = kind number chunk* 0                in order; kind = 1 | 2, livestreams before groups
//! chunk     = length byte*                        length LEB128, not 0
//! ```
//!
//! Chunks are cut by what they hold alone, so that a state has the same bytes on every pod.

use super::{PARTITIONS, PartitionState, SHARDS, partition_of};
use crate::store::entry::Entry;
use starling_core::id::{SwarmId, SwarmKind};
use starling_core::leb128;
use starling_core::revocations::Revocations;
use starling_core::wire::revocations::{self, RevocationEncoder};
use starling_core::wire::state::{StateDecoder, StateEncoder, StateVersion};

/// The format that is written.
const FORMAT: u8 = 1;

/// Bytes of a chunk, about: what is written under one lock.
const CHUNK: usize = 8 << 10;

/// What is written next.
#[derive(Debug)]
enum Next {
    Head,
    Revoked(RevocationEncoder),
    /// The shards from this one on.
    Shard(usize),
    /// What follows a swarm of a shard.
    Swarm(usize, Option<SwarmId>),
    /// The state of a swarm.
    State(usize, SwarmId, Box<StateEncoder>),
    End,
}

/// Writes a state step by step, each of which holds one lock for one chunk at most.
#[derive(Debug)]
pub(super) struct PartitionEncoder {
    version: StateVersion,
    next: Next,
}

impl PartitionEncoder {
    /// One that has written nothing, as pods of this level read it.
    pub(super) const fn new(_: u32) -> Self {
        // All levels so far have the first version.
        Self { version: StateVersion::V1, next: Next::Head }
    }

    /// Writes some more; false once all is written.
    pub(super) fn step(&mut self, state: &PartitionState, out: &mut Vec<u8>) -> bool {
        let store = &state.store;
        self.next = match std::mem::replace(&mut self.next, Next::End) {
            Next::Head => {
                out.push(FORMAT);
                leb128::put(state.partition.map_or(0, |partition| partition as u64 + 1), out);
                Next::Revoked(RevocationEncoder::default())
            }
            Next::Revoked(mut encoder) => {
                let mut chunk = Vec::new();
                let revoked = state.revoked();
                if revoked.is_some_and(|revoked| revoked.encode(&mut encoder, CHUNK, &mut chunk)) {
                    put_chunk(&chunk, out);
                    Next::Revoked(encoder)
                } else {
                    if revoked.is_none() {
                        put_chunk(&revocations::encode(&Revocations::default()), out);
                    }
                    out.push(0);
                    Next::Shard(0)
                }
            }
            Next::Shard(from) => {
                let mut shards = state.shards().filter(|shard| *shard >= from);
                match shards.find(|shard| store.census_heads(*shard) != [0, 0]) {
                    Some(shard) => {
                        out.push(1);
                        leb128::put(shard as u64, out);
                        store.census_heads(shard).into_iter().for_each(|head| leb128::put(head, out));
                        Next::Swarm(shard, None)
                    }
                    None => {
                        out.push(0);
                        Next::End
                    }
                }
            }
            Next::Swarm(shard, last) => match store.swarm_after(shard, last) {
                Some(id) => {
                    out.push(id.kind as u8 + 1);
                    leb128::put(id.get(), out);
                    Next::State(shard, id, Box::new(StateEncoder::new(self.version)))
                }
                None => {
                    out.push(0);
                    Next::Shard(shard + 1)
                }
            },
            Next::State(shard, id, mut encoder) => {
                let look = |entry: &Entry| encoder.next(entry.swarm(), CHUNK);
                let piece = store.read(id, look).expect("a swarm stays while it is written");
                match piece.expect("nothing changes while it is written") {
                    Some(piece) => {
                        if !piece.is_empty() {
                            put_chunk(&piece, out);
                        }
                        Next::State(shard, id, encoder)
                    }
                    None => {
                        out.push(0);
                        Next::Swarm(shard, Some(id))
                    }
                }
            }
            Next::End => Next::End,
        };
        !matches!(self.next, Next::End)
    }
}

fn put_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    leb128::put(chunk.len() as u64, out);
    out.extend_from_slice(chunk);
}

/// Bytes that are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Bytes, and how far they are read.
struct Bytes<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    fn byte(&mut self) -> Result<u8, Malformed> {
        let byte = self.bytes.get(self.at).copied().ok_or(Malformed)?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, Malformed> {
        leb128::take(self.bytes, &mut self.at).map_err(|_| Malformed)
    }

    /// The next chunk; `None` after the last.
    fn chunk(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        let length = usize::try_from(self.number()?).map_err(|_| Malformed)?;
        let rest = &self.bytes[self.at..];
        let chunk = rest.get(..length).ok_or(Malformed)?;
        self.at += length;
        Ok((length > 0).then_some(chunk))
    }
}

/// The state of these bytes, not shown. Takes bytes from anywhere.
pub(super) fn decode(bytes: &[u8]) -> Result<PartitionState, Malformed> {
    let mut reader = Bytes { bytes, at: 0 };
    if reader.byte()? != FORMAT {
        return Err(Malformed);
    }
    let mut state = PartitionState::default();
    let partition = usize::try_from(reader.number()?).map_err(|_| Malformed)?;
    if partition > PARTITIONS {
        return Err(Malformed);
    }
    state.partition = partition.checked_sub(1);
    let mut table = Vec::new();
    while let Some(chunk) = reader.chunk()? {
        table.extend_from_slice(chunk);
    }
    state.store.revoked().replace(revocations::decode(&table).map_err(|_| Malformed)?);
    let mut next_shard = 0;
    loop {
        match reader.byte()? {
            0 => break,
            1 => {}
            _ => return Err(Malformed),
        }
        let shard = usize::try_from(reader.number()?).map_err(|_| Malformed)?;
        if !(next_shard..SHARDS).contains(&shard) || state.partition != Some(shard % PARTITIONS) {
            return Err(Malformed);
        }
        let heads = [reader.number()?, reader.number()?];
        if heads == [0, 0] {
            return Err(Malformed);
        }
        state.store.resume_census(shard, heads);
        decode_swarms(&mut reader, shard, &state)?;
        next_shard = shard + 1;
    }
    if reader.at == bytes.len() { Ok(state) } else { Err(Malformed) }
}

fn decode_swarms(reader: &mut Bytes<'_>, shard: usize, state: &PartitionState) -> Result<(), Malformed> {
    let mut last = None;
    loop {
        let kind = match reader.byte()? {
            0 => return Ok(()),
            1 => SwarmKind::Livestream,
            2 => SwarmKind::Group,
            _ => return Err(Malformed),
        };
        let id = SwarmId::new(kind, reader.number()?).ok_or(Malformed)?;
        let is_here = id.shard(SHARDS) == shard && state.partition == Some(partition_of(id));
        if !is_here || last.is_some_and(|last| last >= id) {
            return Err(Malformed);
        }
        let mut decoder = StateDecoder::default();
        while let Some(chunk) = reader.chunk()? {
            decoder = decoder.feed(chunk).map_err(|_| Malformed)?;
        }
        let swarm = decoder.finish().map_err(|_| Malformed)?;
        if swarm.kind() != kind {
            return Err(Malformed);
        }
        state.store.restore(id, Box::new(swarm));
        last = Some(id);
    }
}
