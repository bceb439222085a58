use starling_testkit::Rng;

use super::*;
use crate::batch::StreamSession;

/// Notes what is done to it.
#[derive(Debug, Default)]
struct Notes(Vec<String>);

impl State for Notes {
    type Outcome = usize;

    fn apply(&mut self, change: StateChange<'_>, at: LogTime) -> Result<usize, Undecodable> {
        if matches!(change, StateChange::Command(b"?", _)) {
            return Err(Undecodable);
        }
        self.0.push(format!("{change:?} at {}", at.lease));
        Ok(self.0.len())
    }

    fn carry_out_due(&mut self, at: LogTime, most: usize) -> usize {
        self.0.push(format!("due at {}, {most}", at.lease));
        24
    }

    fn pod_gone(&mut self, pod: PodId, at: LogTime) {
        self.0.push(format!("pod {pod} gone at {}", at.lease));
    }

    fn detach_gone(&mut self, pod: PodId, gone_at: u64, at: LogTime, most: usize) -> usize {
        self.0.push(format!("detach {pod} as of {gone_at} at {}, {most}", at.lease));
        let is_first = self.0.iter().filter(|note| note.starts_with("detach")).count() == 1;
        if is_first { most } else { 0 }
    }

    fn attached(&self, _: PodId) -> Vec<StreamSession> {
        Vec::new()
    }

    fn raise(&mut self, _: u64) {}

    fn digest(&self) -> u64 {
        0
    }

    fn encode_part(&self, _: u32, _: u64, _: usize, _: &mut Vec<u8>) -> Option<u64> {
        None
    }

    fn decode(_: &[u8]) -> Result<Self, Undecodable> {
        Ok(Self::default())
    }
}

/// A log with a partition that reads it.
#[derive(Debug, Default)]
struct Reader {
    partition: Partition,
    notes: Notes,
    now: u64,
}

const POD: PodIncarnation = PodIncarnation(7);
const OTHER: PodIncarnation = PodIncarnation(8);
const LOG: LogId = LogId(5);

impl Reader {
    fn open() -> Self {
        let mut reader = Self { now: 1_000_000, ..Self::default() };
        assert_eq!(reader.alone(LogId(0), BatchItem::Born { log: LOG }), Verdict::Born);
        assert_eq!(reader.alone(LOG, BatchItem::Open), Verdict::Open);
        reader
    }

    fn read(&mut self, batch: &Batch) -> Effects<usize> {
        let sequence = self.partition.position().sequence + 1;
        let message = LogMessage { sequence, timestamp: self.now, bytes: batch.encode() };
        self.partition.apply(&message, batch, &mut self.notes).unwrap()
    }

    fn alone(&mut self, log: LogId, item: BatchItem) -> Verdict {
        let mut batch = self.batch(POD, 0, vec![item]);
        batch.header.log = log;
        self.read(&batch).verdict
    }

    fn batch(&self, incarnation: PodIncarnation, number: u64, items: Vec<BatchItem>) -> Batch {
        let (base, not_after) = (self.partition.position(), self.partition.clock().now() + 15_000);
        Batch { header: BatchHeader { log: self.partition.log(), incarnation, number, base, not_after }, items }
    }

    fn say(&mut self, incarnation: PodIncarnation, number: u64, items: Vec<BatchItem>) -> Verdict {
        let batch = self.batch(incarnation, number, items);
        self.read(&batch).verdict
    }

    fn register(&mut self, incarnation: PodIncarnation) {
        assert_eq!(self.say(incarnation, 1, vec![alive(1)]), Verdict::Counted);
    }

    fn commands(&self) -> usize {
        self.notes.0.iter().filter(|note| note.starts_with("Command")).count()
    }
}

fn alive(level: u32) -> BatchItem {
    BatchItem::Alive { level, address: Vec::new() }
}

fn command() -> BatchItem {
    BatchItem::Command(vec![1])
}

#[test]
fn nothing_counts_before_the_log_is_open() {
    let mut reader = Reader { now: 1_000_000, ..Reader::default() };
    let void = Verdict::Void(VoidReason::NothingCounts);
    assert_eq!(reader.say(POD, 1, vec![alive(1)]), void);
    assert_eq!(reader.alone(LogId(0), BatchItem::Open), void);
    assert_eq!(reader.alone(LogId(0), BatchItem::Born { log: LOG }), Verdict::Born);
    assert_eq!(reader.alone(LogId(0), BatchItem::Born { log: LogId(6) }), void, "the first one counts");
    assert_eq!(reader.say(POD, 1, vec![alive(1), command()]), void);
    assert_eq!(reader.alone(LogId(6), BatchItem::Open), void);
    assert_eq!(reader.alone(LOG, BatchItem::Open), Verdict::Open);
    assert!(reader.notes.0.is_empty());
    reader.register(POD);
    assert_eq!(reader.partition.log(), LOG);
}

#[test]
fn batches_count_exactly_once() {
    let mut reader = Reader::open();
    assert_eq!(reader.say(POD, 1, vec![command()]), Verdict::Void(VoidReason::NotRegistered));
    assert_eq!(reader.say(POD, 2, vec![alive(1)]), Verdict::Void(VoidReason::NotRegistered));
    assert_eq!(reader.say(POD, 1, vec![alive(1), command()]), Verdict::Counted);
    let second = reader.batch(POD, 2, vec![command()]);
    assert_eq!(reader.read(&second).verdict, Verdict::Counted);
    assert_eq!(reader.read(&second).verdict, Verdict::Repeat);
    assert_eq!(reader.say(POD, 1, vec![alive(1), command()]), Verdict::Repeat);
    assert_eq!(reader.commands(), 2);
}

#[test]
fn late_batches_are_void_and_use_no_number() {
    let mut reader = Reader::open();
    reader.register(POD);
    let late = reader.batch(POD, 2, vec![command()]);
    for number in 1..=5 {
        reader.now += 3_000;
        assert_eq!(reader.say(OTHER, number, vec![alive(1)]), Verdict::Counted);
    }
    assert_eq!(reader.partition.clock().now(), late.header.not_after);
    let mut in_time = Reader { partition: reader.partition.clone(), notes: Notes::default(), now: reader.now };
    assert_eq!(in_time.read(&late).verdict, Verdict::Counted, "at its last moment");
    reader.now += 1;
    assert_eq!(reader.read(&late).verdict, Verdict::Void(VoidReason::TooLate));
    assert_eq!(reader.commands(), 0);
    assert_eq!(reader.say(POD, 2, vec![command()]), Verdict::Counted);
}

#[test]
fn other_logs_batches_are_void() {
    let mut reader = Reader::open();
    reader.register(POD);
    let mut batch = reader.batch(POD, 2, vec![command()]);
    batch.header.log = LogId(77);
    assert_eq!(reader.read(&batch).verdict, Verdict::Void(VoidReason::OtherLog));
    assert_eq!(reader.commands(), 0);
}

#[test]
fn every_sign_of_loss_breaks_the_log() {
    for sign in [LossSign::BaseAhead, LossSign::OtherHistory, LossSign::SkippedNumber] {
        let mut reader = Reader::open();
        reader.register(POD);
        let mut batch = reader.batch(POD, 2, vec![command()]);
        match sign {
            LossSign::BaseAhead => batch.header.base.sequence += 1,
            LossSign::OtherHistory => batch.header.base.hash ^= 1,
            LossSign::SkippedNumber => batch.header.number += 1,
        }
        let at = reader.partition.position();
        let notes = reader.notes.0.len();
        assert_eq!(reader.read(&batch).verdict, Verdict::Lost(sign));
        assert_eq!(reader.partition.phase(), PartitionPhase::Broken { at });
        assert_eq!(reader.say(POD, 2, vec![command()]), Verdict::Void(VoidReason::NothingCounts));
        assert_eq!((reader.notes.0.len(), reader.partition.counted_position()), (notes, at), "{sign:?}");
        let reseed = BatchItem::Reseed { log: LogId(9), name: Vec::new(), digest: 0 };
        assert_eq!(reader.alone(LogId(4), reseed.clone()), Verdict::Void(VoidReason::NothingCounts));
        assert_eq!(reader.alone(LOG, reseed), Verdict::Reseed);
    }
}

#[test]
fn base_that_nobody_remembers_is_void() {
    let mut reader = Reader::open();
    reader.register(POD);
    let old = reader.batch(OTHER, 1, vec![alive(1)]);
    for number in 2..=crate::history::HISTORY_ENTRIES as u64 + 1 {
        assert_eq!(reader.say(POD, number, Vec::new()), Verdict::Counted);
    }
    assert_eq!(reader.read(&old).verdict, Verdict::Void(VoidReason::OldBase));
}

#[test]
fn silent_pods_are_gone_after_six_seconds() {
    let mut reader = Reader::open();
    reader.register(POD);
    reader.register(OTHER);
    let last_sign = reader.partition.pod(OTHER).unwrap().sign.sequence;
    let gone = |last_sign| vec![BatchItem::PodGone { incarnation: OTHER, last_sign }];
    reader.now += 3_000;
    assert_eq!(reader.say(POD, 2, gone(last_sign)), Verdict::Counted);
    reader.now += 2_999;
    assert_eq!(reader.say(POD, 3, gone(last_sign)), Verdict::Counted);
    assert!(reader.partition.pod(OTHER).is_some(), "too early");
    reader.now += 1;
    assert_eq!(reader.say(POD, 4, gone(last_sign + 1)), Verdict::Counted);
    assert!(reader.partition.pod(OTHER).is_some(), "another sign");
    let batch = reader.batch(POD, 5, gone(last_sign));
    assert_eq!(reader.read(&batch).gone, [OTHER]);
    assert!(reader.partition.is_gone(OTHER));
    assert_eq!(reader.say(OTHER, 2, vec![command()]), Verdict::Void(VoidReason::Gone));
    assert_eq!(reader.say(OTHER, 1, vec![alive(1)]), Verdict::Void(VoidReason::Gone));
    let at = reader.partition.clock().now();
    let notes: Vec<_> = reader.notes.0.iter().filter(|note| !note.starts_with("due")).collect();
    let wanted = [
        format!("pod 2 gone at {at}"),
        format!("detach 2 as of {at} at {at}, 1000"),
        format!("detach 2 as of {at} at {at}, 1000"),
    ];
    assert_eq!(notes, wanted.iter().collect::<Vec<_>>(), "a slice with each entry, within what is carried out at most");
    assert!(reader.partition.detaching.is_empty());
}

#[test]
fn gone_pods_are_remembered_for_a_minute() {
    let mut reader = Reader::open();
    reader.register(OTHER);
    let own = vec![BatchItem::PodGone { incarnation: OTHER, last_sign: 0 }, command()];
    assert_eq!(reader.say(OTHER, 2, own), Verdict::Counted, "a pod may say it of itself");
    assert_eq!((reader.partition.pods().count(), reader.commands()), (0, 0), "and says nothing after it");
    for _ in 0..20 {
        reader.now += 3_000;
        reader.say(POD, 9, Vec::new());
    }
    assert!(reader.partition.is_gone(OTHER));
    reader.now += 1;
    reader.say(POD, 9, Vec::new());
    assert!(!reader.partition.is_gone(OTHER));
}

#[test]
fn a_level_needs_all_pods() {
    let mut reader = Reader::open();
    reader.register(POD);
    assert_eq!(reader.say(OTHER, 1, vec![alive(2), BatchItem::Activate { level: 2 }]), Verdict::Counted);
    assert_eq!(reader.partition.level(), 1);
    let activate = vec![alive(2), BatchItem::Activate { level: 2 }];
    assert_eq!(reader.say(POD, 2, activate), Verdict::Counted);
    assert_eq!(reader.partition.level(), 2);
    assert_eq!(reader.say(PodIncarnation(9), 1, vec![alive(1)]), Verdict::Void(VoidReason::Level));
}

#[test]
fn comparisons_find_the_minority() {
    let pods = [1, 2, 3].map(PodIncarnation);
    for (digests, wanted, is_tie) in
        [([5, 5, 5], vec![], false), ([5, 6, 5], vec![pods[1]], false), ([5, 6, 7], vec![], true)]
    {
        let mut reader = Reader::open();
        pods.iter().for_each(|pod| reader.register(*pod));
        let batch = reader.batch(pods[0], 2, vec![BatchItem::Compare]);
        assert!(reader.read(&batch).compare);
        let sequence = reader.partition.position().sequence;
        let mut found = None;
        for (at, digest) in digests.into_iter().enumerate() {
            assert_eq!(found, None, "all are waited for");
            let number = if at == 0 { 3 } else { 2 };
            let batch = reader.batch(pods[at], number, vec![BatchItem::Digest { sequence, digest }]);
            found = reader.read(&batch).compared;
        }
        assert_eq!(found, Some(Comparison { sequence, minority: wanted, is_tie }));
        assert_eq!(reader.partition.is_disputed(), digests != [5, 5, 5]);
    }
}

#[test]
fn reseeded_partitions_keep_pods_and_clock() {
    let mut reader = Reader::open();
    reader.register(POD);
    reader.now += 2_000;
    reader.register(OTHER);
    let before = reader.partition.clone();
    let message = LogMessage { sequence: 2, timestamp: 9, bytes: Vec::new() };
    let after = before.clone().reseeded(&message, LogId(6), LogId(7));
    assert_eq!((after.log(), after.phase(), after.position().sequence), (LogId(7), PartitionPhase::Open, 2));
    assert!(after.goes_on_from(LOG) && after.goes_on_from(LogId(6)));
    assert_eq!(after.clock().now(), before.clock().now(), "no lease ends by it");
    assert_eq!(after.pod(POD).unwrap().sign, LifeSign { sequence: 2, at: before.clock().now() });
    assert_eq!(after.pod(POD).unwrap().number, 1);
}

fn busy() -> Partition {
    let mut reader = Reader::open();
    reader.register(POD);
    reader.register(OTHER);
    reader.register(PodIncarnation(9));
    reader.say(OTHER, 2, vec![BatchItem::PodGone { incarnation: OTHER, last_sign: 0 }]);
    reader.say(POD, 2, vec![alive(3), BatchItem::Compare]);
    let sequence = reader.partition.position().sequence;
    reader.say(POD, 3, vec![BatchItem::Digest { sequence, digest: 4 }]);
    let message = LogMessage { sequence: 9, timestamp: 9, bytes: Vec::new() };
    reader.partition.upgradable_since = Some(4);
    reader.partition.former = VecDeque::from([LogId(1), LogId(2)]);
    reader.partition.history.push(&message);
    reader.partition
}

#[test]
fn partitions_round_trip() {
    let mut partition = busy();
    for phase in [PartitionPhase::Unborn, PartitionPhase::Born, PartitionPhase::Open] {
        partition.phase = phase;
        assert_eq!(Partition::decode(&partition.encode()), Ok(partition.clone()));
    }
    partition.phase = PartitionPhase::Broken { at: LogPosition { sequence: 3, hash: 4 } };
    assert_eq!(Partition::decode(&partition.encode()), Ok(partition));
    assert_eq!(Partition::decode(&Partition::default().encode()), Ok(Partition::default()));
}

#[test]
fn changed_partitions_are_refused_or_canonical() {
    let bytes = busy().encode();
    for end in 0..bytes.len() {
        assert!(Partition::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let mut rng = Rng::new(1);
    for at in 0..bytes.len() {
        for _ in 0..40 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << rng.below(8);
            if rng.chance(30) {
                let other = rng.index(changed.len());
                changed[other] = rng.bits().to_le_bytes()[0];
            }
            if let Ok(partition) = Partition::decode(&changed) {
                assert_eq!(partition.encode(), changed);
            }
        }
    }
}

#[test]
fn the_bytes_of_a_partition_do_not_change() {
    let bytes = Partition::default().encode();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "010100000000000000000000000000000000000000010000000001000000010000000000000000");
    let hex: String = busy().encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

const GOLDEN: &str = "\
     0103050000000000000005000000000000000201000000000000000200000000000000c0843dc0843d01010402070000\
     00000000000103030008c0843d09000000000000000301010005c0843d010800000000000000c0843d00040001070107\
     000000000000000400000000000000000a00000000000000008fcf8ef7a244ccfa60e6cc9d84e3db74929995ed57926d\
     d1961b0f629939c79700e0e4eb5c4fd643208485638a9ee319e0c577c31bff5906186154079b0bafd0921a71db3fcde6\
     d9";
