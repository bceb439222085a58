//! What an entry of the log says, and its bytes.
//!
//! Every pod and every later version reads what this one writes: tags are never given a second meaning, and a batch
//! with other fields takes a new [`FORMAT`] beside this one.
//!
//! ```text
//! batch       = format log incarnation number base hash not_after item*
//! format      = 1                                     one byte
//! log, incarnation, hash, digests                     eight bytes, little end first
//! number, base, not_after, lengths, ids, levels       LEB128 in the fewest bytes
//! item        = tag field*
//! ```

use starling_core::{NodeId, SessionId, SwarmId, SwarmKind};

use crate::wire::{ByteFault, MalformedBytes, Reader, put_bytes, put_number, put_word};

/// The format that [`Batch::encode`] writes.
pub const FORMAT: u8 = 1;

/// The longest address of a peer in bytes.
pub const MAX_ADDRESS_BYTES: usize = 256;

/// The longest name of a snapshot in bytes.
pub const MAX_NAME_BYTES: usize = 128;

/// A life of the log: drawn when it is born, and again by every Reseed. 0 is that of a log which is not born.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogId(pub u64);

/// A life of a pod: 64 bits drawn at its start, the same in all partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodIncarnation(pub u64);

/// A message as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogMessage {
    /// Its place: 1, 2, 3...
    pub sequence: u64,
    /// When the log's leader took it, in milliseconds since the Unix epoch, by a clock that may step.
    pub timestamp: u64,
    /// A [`Batch`].
    pub bytes: Vec<u8>,
}

/// A place in the log, with the hash of everything up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// The sequence of the entry; 0 before the first.
    pub sequence: u64,
    /// The running hash of the entries up to it.
    pub hash: u64,
}

/// Who sends a batch, and when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The log that it is for.
    pub log: LogId,
    /// The sender.
    pub incarnation: PodIncarnation,
    /// Which of the sender's batches it is, from 1 on; 0 for what is of no pod ([`BatchItem::is_of_no_pod`]).
    pub number: u64,
    /// What the sender had applied. The log has gone through exactly this, or it was rewound.
    pub base: LogPosition,
    /// The lease clock at which it counts for the last time, in milliseconds.
    pub not_after: u64,
}

/// A session that has a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamSession {
    /// Its swarm.
    pub swarm: SwarmId,
    /// Whose session it is.
    pub node: NodeId,
    /// The session.
    pub session: SessionId,
}

/// One thing that a batch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchItem {
    /// A command, in the byte form of the core. Its time is replaced by the lease clock.
    Command(Vec<u8>),
    /// The session has streams on the sender, and had none.
    Attach(StreamSession),
    /// The session has no streams on the sender any more.
    Detach(StreamSession),
    /// The sender lives. At the head of its first batch, it registers it.
    Alive {
        /// The highest level that it can apply.
        level: u32,
        /// Where its peers find it.
        address: Vec<u8>,
    },
    /// A pod is gone; void when it gave a later sign than this one.
    PodGone {
        /// Which.
        incarnation: PodIncarnation,
        /// The sequence of its last batch that counted.
        last_sign: u64,
    },
    /// From here on, what only pods of this level understand may be written.
    Activate {
        /// The level.
        level: u32,
    },
    /// Every pod is to say the digest of its state as this entry leaves it.
    Compare,
    /// The digest of the sender's state as the entry at a sequence left it.
    Digest {
        /// The sequence of the entry with [`BatchItem::Compare`].
        sequence: u64,
        /// The digest.
        digest: u64,
    },
    /// The log begins: nothing counts until it is opened or reseeded.
    Born {
        /// Its life.
        log: LogId,
    },
    /// No pod holds a state: the log that was born begins with an empty one.
    Open,
    /// The log was lost or rewound, and goes on with a state that a pod held.
    Reseed {
        /// The life that begins.
        log: LogId,
        /// The snapshot in the object store.
        name: Vec<u8>,
        /// Its digest.
        digest: u64,
    },
}

impl BatchItem {
    /// Whether it is about the log itself, so that whoever says it need not be registered.
    pub const fn is_of_no_pod(&self) -> bool {
        matches!(self, Self::Born { .. } | Self::Open | Self::Reseed { .. })
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Command(bytes) => {
                out.push(1);
                put_bytes(out, bytes);
            }
            Self::Attach(stream) => {
                out.push(2);
                put_stream(out, *stream);
            }
            Self::Detach(stream) => {
                out.push(3);
                put_stream(out, *stream);
            }
            Self::Alive { level, address } => {
                out.push(4);
                put_number(out, (*level).into());
                put_bytes(out, address);
            }
            Self::PodGone { incarnation, last_sign } => {
                out.push(5);
                put_word(out, incarnation.0);
                put_number(out, *last_sign);
            }
            Self::Activate { level } => {
                out.push(6);
                put_number(out, (*level).into());
            }
            Self::Compare => out.push(7),
            Self::Digest { sequence, digest } => {
                out.push(8);
                put_number(out, *sequence);
                put_word(out, *digest);
            }
            Self::Born { log } => {
                out.push(9);
                put_word(out, log.0);
            }
            Self::Open => out.push(10),
            Self::Reseed { log, name, digest } => {
                out.push(11);
                put_word(out, log.0);
                put_bytes(out, name);
                put_word(out, *digest);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, MalformedBytes> {
        let unknown = |reader: &Reader<'_>, found| Err(reader.fault("item", ByteFault::Tag { found }));
        Ok(match reader.byte("item")? {
            1 => Self::Command(reader.bytes("command")?.to_vec()),
            2 => Self::Attach(take_stream(reader)?),
            3 => Self::Detach(take_stream(reader)?),
            4 => Self::Alive { level: reader.number32("level")?, address: take_name(reader, MAX_ADDRESS_BYTES)? },
            5 => Self::PodGone {
                incarnation: PodIncarnation(reader.word("incarnation")?),
                last_sign: reader.number("last sign")?,
            },
            6 => Self::Activate { level: reader.number32("level")? },
            7 => Self::Compare,
            8 => Self::Digest { sequence: reader.number("sequence")?, digest: reader.word("digest")? },
            9 => Self::Born { log: LogId(reader.word("log")?) },
            10 => Self::Open,
            11 => Self::Reseed {
                log: LogId(reader.word("log")?),
                name: take_name(reader, MAX_NAME_BYTES)?,
                digest: reader.word("digest")?,
            },
            found => return unknown(reader, found),
        })
    }
}

/// One entry of the log: what a pod sends at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Who sends it, and when it counts.
    pub header: BatchHeader,
    /// What it says, in order.
    pub items: Vec<BatchItem>,
}

impl Batch {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let BatchHeader { log, incarnation, number, base, not_after } = self.header;
        let mut out = vec![FORMAT];
        put_word(&mut out, log.0);
        put_word(&mut out, incarnation.0);
        put_number(&mut out, number);
        put_number(&mut out, base.sequence);
        put_word(&mut out, base.hash);
        put_number(&mut out, not_after);
        self.items.iter().for_each(|item| item.put(&mut out));
        out
    }

    /// What [`Batch::encode`] was given. Takes bytes from anywhere: it does not panic, and allocates no more than a
    /// small multiple of their length.
    ///
    /// # Errors
    ///
    /// [`MalformedBytes`]: a later format, or no batch at all.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedBytes> {
        let mut reader = Reader::new(bytes);
        match reader.byte("format")? {
            FORMAT => {}
            found => return Err(MalformedBytes { offset: 0, what: "format", fault: ByteFault::Format { found } }),
        }
        let header = BatchHeader {
            log: LogId(reader.word("log")?),
            incarnation: PodIncarnation(reader.word("incarnation")?),
            number: reader.number("number")?,
            base: LogPosition { sequence: reader.number("base")?, hash: reader.word("hash")? },
            not_after: reader.number("not_after")?,
        };
        let mut items = Vec::new();
        while reader.left() > 0 {
            items.push(BatchItem::take(&mut reader)?);
        }
        Ok(Self { header, items })
    }
}

pub(crate) fn put_stream(out: &mut Vec<u8>, stream: StreamSession) {
    out.push(match stream.swarm.kind {
        SwarmKind::Livestream => 1,
        SwarmKind::Group => 2,
    });
    put_number(out, stream.swarm.get());
    put_number(out, stream.node.get());
    put_number(out, stream.session.get());
}

pub(crate) fn take_stream(reader: &mut Reader<'_>) -> Result<StreamSession, MalformedBytes> {
    let kind = match reader.byte("kind")? {
        1 => SwarmKind::Livestream,
        2 => SwarmKind::Group,
        found => return Err(reader.fault("kind", ByteFault::Tag { found })),
    };
    let (swarm, node, session) = (reader.number("swarm")?, reader.number("node")?, reader.number("session")?);
    let stream = || {
        Some(StreamSession {
            swarm: SwarmId::new(kind, swarm)?,
            node: NodeId::new(node)?,
            session: SessionId::new(session)?,
        })
    };
    stream().ok_or_else(|| reader.fault("stream", ByteFault::Range))
}

fn take_name(reader: &mut Reader<'_>, max: usize) -> Result<Vec<u8>, MalformedBytes> {
    let bytes = reader.bytes("name")?;
    if bytes.len() > max {
        return Err(reader.fault("name", ByteFault::Range));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests;
