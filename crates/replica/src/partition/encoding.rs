//! The bytes of the partition's own state, as snapshots have them.
//!
//! What is written here once stays: other fields take a new [`FORMAT`] beside this one.

use std::collections::{BTreeMap, VecDeque};

use super::{LifeSign, Partition, PartitionPhase, PendingComparison, RegisteredPod};
use crate::batch::{LogId, LogPosition, MAX_ADDRESS_BYTES, PodIncarnation};
use crate::clock::LeaseClock;
use crate::history::LogHistory;
use crate::wire::{ByteFault, MalformedBytes, Reader, put_bytes, put_number, put_word};

/// The format that [`Partition::encode`] writes.
const FORMAT: u8 = 1;

fn put_option(out: &mut Vec<u8>, number: Option<u64>) {
    out.push(u8::from(number.is_some()));
    number.into_iter().for_each(|number| put_number(out, number));
}

fn take_flag(reader: &mut Reader<'_>, what: &'static str) -> Result<bool, MalformedBytes> {
    match reader.byte(what)? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(reader.fault(what, ByteFault::Tag { found })),
    }
}

/// A map whose keys are words, in their order.
fn take_map<T>(
    reader: &mut Reader<'_>,
    what: &'static str,
    mut take: impl FnMut(&mut Reader<'_>) -> Result<T, MalformedBytes>,
) -> Result<BTreeMap<PodIncarnation, T>, MalformedBytes> {
    let mut map = BTreeMap::new();
    for _ in 0..reader.length(what)? {
        let key = PodIncarnation(reader.word(what)?);
        if map.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(reader.fault(what, ByteFault::Range));
        }
        let value = take(reader)?;
        map.insert(key, value);
    }
    Ok(map)
}

impl RegisteredPod {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { pod, number, level, address, sign } = self;
        put_number(out, (*pod).into());
        put_number(out, *number);
        put_number(out, (*level).into());
        put_bytes(out, address);
        put_number(out, sign.sequence);
        put_number(out, sign.at);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, MalformedBytes> {
        let (pod, number, level) = (reader.number32("pod")?, reader.number("number")?, reader.number32("level")?);
        let address = reader.bytes("address")?.to_vec();
        if address.len() > MAX_ADDRESS_BYTES {
            return Err(reader.fault("address", ByteFault::Range));
        }
        let sign = LifeSign { sequence: reader.number("sign")?, at: reader.number("sign")? };
        Ok(Self { pod, number, level, address, sign })
    }
}

impl Partition {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![FORMAT];
        self.encode_without_history(&mut out);
        let (first, hashes) = self.history.parts();
        put_number(&mut out, first);
        put_number(&mut out, hashes.len() as u64);
        hashes.for_each(|hash| put_word(&mut out, hash));
        out
    }

    pub(super) fn encode_without_history(&self, out: &mut Vec<u8>) {
        match self.phase {
            PartitionPhase::Unborn => out.push(1),
            PartitionPhase::Born => out.push(2),
            PartitionPhase::Open => out.push(3),
            PartitionPhase::Broken { at } => {
                out.push(4);
                put_number(out, at.sequence);
                put_word(out, at.hash);
            }
        }
        put_word(out, self.log.0);
        put_word(out, self.origin.0);
        put_number(out, self.former.len() as u64);
        self.former.iter().for_each(|log| put_word(out, log.0));
        put_number(out, self.clock.now());
        put_number(out, self.clock.last_timestamp());
        put_number(out, self.level.into());
        put_option(out, self.upgradable_since);
        put_number(out, self.pods.len() as u64);
        for (incarnation, pod) in &self.pods {
            put_word(out, incarnation.0);
            pod.put(out);
        }
        put_number(out, self.gone.len() as u64);
        for (incarnation, since) in &self.gone {
            put_word(out, incarnation.0);
            put_number(out, *since);
        }
        put_number(out, self.detaching.len() as u64);
        for (pod, gone_at) in &self.detaching {
            put_number(out, (*pod).into());
            put_number(out, *gone_at);
        }
        put_number(out, self.next_pod.into());
        out.push(u8::from(self.disputed));
        put_option(out, self.comparison.as_ref().map(|pending| pending.sequence));
        if let Some(pending) = &self.comparison {
            put_number(out, pending.digests.len() as u64);
            for (incarnation, digest) in &pending.digests {
                put_word(out, incarnation.0);
                put_word(out, *digest);
            }
        }
    }

    /// What [`Partition::encode`] was given. Takes bytes from anywhere, as [`Batch::decode`](crate::Batch::decode) does.
    ///
    /// # Errors
    ///
    /// [`MalformedBytes`]: a later format, or no partition at all.
    pub fn decode(bytes: &[u8]) -> Result<Self, MalformedBytes> {
        let mut reader = Reader::new(bytes);
        let reader = &mut reader;
        match reader.byte("format")? {
            FORMAT => {}
            found => return Err(MalformedBytes { offset: 0, what: "format", fault: ByteFault::Format { found } }),
        }
        let phase = match reader.byte("phase")? {
            1 => PartitionPhase::Unborn,
            2 => PartitionPhase::Born,
            3 => PartitionPhase::Open,
            4 => {
                let (sequence, hash) = (reader.number("phase")?, reader.word("phase")?);
                PartitionPhase::Broken { at: LogPosition { sequence, hash } }
            }
            found => return Err(reader.fault("phase", ByteFault::Tag { found })),
        };
        let (log, origin) = (LogId(reader.word("log")?), LogId(reader.word("origin")?));
        let former = (0..reader.length("former")?).map(|_| reader.word("former").map(LogId));
        let former = former.collect::<Result<VecDeque<_>, _>>()?;
        let (now, last_timestamp) = (reader.number("clock")?, reader.number("clock")?);
        let clock = LeaseClock::of_parts(now, last_timestamp);
        let level = reader.number32("level")?;
        let upgradable_since = take_flag(reader, "upgradable")?.then(|| reader.number("upgradable")).transpose()?;
        let pods = take_map(reader, "pods", RegisteredPod::take)?;
        let gone = take_map(reader, "gone", |reader| reader.number("gone"))?;
        if pods.values().any(|pod| pod.sign.at > now) {
            return Err(reader.fault("pods", ByteFault::Range));
        }
        let mut detaching = VecDeque::new();
        for _ in 0..reader.length("detaching")? {
            detaching.push_back((reader.number32("detaching")?, reader.number("detaching")?));
        }
        let next_pod = reader.number32("next pod")?;
        if pods.values().any(|pod| pod.pod >= next_pod) {
            return Err(reader.fault("next pod", ByteFault::Range));
        }
        let disputed = take_flag(reader, "disputed")?;
        let compared = take_flag(reader, "comparison")?.then(|| reader.number("comparison")).transpose()?;
        let mut comparison = None;
        if let Some(sequence) = compared {
            let digests = take_map(reader, "comparison", |reader| reader.word("comparison"))?;
            comparison = Some(PendingComparison { sequence, digests });
        }
        let first = reader.number("history")?;
        let hashes = (0..reader.length("history")?).map(|_| reader.word("history"));
        let hashes = hashes.collect::<Result<VecDeque<_>, _>>()?;
        let history = LogHistory::from_parts(first, hashes).ok_or_else(|| reader.fault("history", ByteFault::Range))?;
        reader.finish()?;
        Ok(Self {
            history,
            phase,
            log,
            origin,
            former,
            clock,
            level,
            upgradable_since,
            pods,
            gone,
            detaching,
            next_pod,
            comparison,
            disputed,
        })
    }
}
