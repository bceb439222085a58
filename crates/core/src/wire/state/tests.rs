use super::*;
use crate::base::Base;
use crate::channel::Channel;
use crate::command::{By, Command, GroupCommand, LivestreamCommand, SharedCommand};
use crate::hash::splitmix64;
use crate::invariant::LARGEST;
use crate::stats::Unique;
use crate::swarm::apply;
use crate::topology::RelayTree;
use crate::wire::{Fault, WireError};

mod golden;
mod samples;

use golden::GOLDEN;
use samples::{Sample, join, node, session};

const V1: StateVersion = StateVersion::V1;

/// Makes something into what no commands make of it.
type Change<T> = fn(&mut T);

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|digit| digit.is_ascii_hexdigit()).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// Why bytes are refused that are given one by one, or all at once.
fn refusal(bytes: &[u8]) -> StateError {
    let error = decode(bytes).unwrap_err();
    let one_by_one = bytes.chunks(1).try_fold(StateDecoder::default(), StateDecoder::feed);
    let other = one_by_one.and_then(StateDecoder::finish).unwrap_err();
    match (&error, &other) {
        // How many bytes are left over is known of those that have come.
        (StateError::Bytes(WireError { offset: a, fault: Fault::Trailing { .. }, .. }), StateError::Bytes(b)) => {
            assert_eq!((*a, "end"), (b.offset, b.what));
        }
        _ => assert_eq!(error, other, "{}", to_hex(bytes)),
    }
    error
}

#[test]
fn the_bytes_of_version_1_do_not_change() {
    let samples = Sample::pinned();
    assert_eq!(samples.len(), GOLDEN.len());
    for (sample, hex) in samples.iter().zip(GOLDEN) {
        let bytes = encode(sample.swarm(), V1);
        assert_eq!(to_hex(&bytes), to_hex(&from_hex(hex)));
        let copy = decode(&bytes).unwrap();
        copy.check();
        assert_eq!(copy.digest(), sample.swarm().digest());
        assert_eq!(digest(&copy, V1), digest(sample.swarm(), V1));
    }
}

#[test]
fn digests_of_version_1_do_not_change() {
    let samples = Sample::pinned();
    let digests = samples.iter().map(|sample| (digest(sample.swarm(), V1), running_digest(sample.swarm(), V1)));
    let pinned = [
        (9_921_300_755_682_756_092, 4_725_748_756_210_916_273),
        (1_985_717_441_386_332_587, 17_018_090_908_106_066_495),
        (12_954_946_856_988_994_290, 5_647_241_423_458_232_572),
        (13_200_136_939_003_589_717, 12_343_306_364_542_078_595),
    ];
    assert_eq!(digests.collect::<Vec<_>>(), pinned);
}

#[test]
fn samples_have_something_of_everything() {
    let full = Sample::full_livestream();
    let (base, rules) = full.swarm().parts();
    let Rules::Livestream(livestream) = rules else { panic!("it is a livestream") };
    assert!(base.roster.free_len() > 0 && livestream.tree.relays() > 1 && base.requests.iter().len() > 1);
    assert!(livestream.moderators.len() == 1 + livestream.muted.len() && base.bans.len() == 2);
    let keys: Vec<usize> = livestream.tree.keys().iter().map(|key| key.index()).collect();
    assert!(!keys.is_sorted(), "history decides the places in the tree: {keys:?}");
    let free: Vec<_> = base.roster.free_from(0).collect();
    assert!(!free.is_sorted(), "and which slot is taken next: {free:?}");
    let chat = livestream.chat.as_deref().unwrap();
    assert!(chat.authors.len() == 4 && chat.sequence == 4 && chat.judged == 6);
    let group = Sample::full_group();
    let terms = group.swarm().roster().iter().filter(|(_, member)| member.terms.is_some());
    assert_eq!(terms.count(), 2);
    assert!(!Sample::ended_livestream().swarm().last_members().all().is_empty());
}

#[test]
fn bytes_cut_off_anywhere_are_refused() {
    for sample in Sample::pinned() {
        let bytes = encode(sample.swarm(), V1);
        for end in 0..bytes.len() {
            let error = refusal(&bytes[..end]);
            let StateError::Bytes(WireError { offset, fault, .. }) = error else { panic!("{error} at {end}") };
            assert!(matches!(fault, Fault::Truncated | Fault::Length { .. }), "{error} at {end}");
            assert!(offset <= end, "{error} at {end}");
        }
    }
}

#[test]
fn bytes_after_a_state_are_refused() {
    for sample in Sample::pinned() {
        let bytes = encode(sample.swarm(), V1);
        let error = refusal(&[&bytes[..], &[0, 0]].concat());
        let fault = Fault::Trailing { count: 2 };
        assert_eq!(error, WireError { offset: bytes.len(), what: "end", fault }.into());
    }
}

/// Does what could stumble over a state that no commands make.
fn live_on(swarm: Swarm) {
    let nodes: Vec<_> = swarm.roster().iter().map(|(_, member)| (member.node, member.session)).collect();
    let strangers = [500, 501, 502].map(|number| (node(number), session(number)));
    let (now, mut slot) = (swarm.now(), Some(Box::new(swarm)));
    let mut run = |command: Command, at| {
        // It may be refused; it must not panic.
        let _outcome = apply(&mut slot, command, at);
        if let Some(swarm) = slot.as_deref() {
            swarm.check();
            swarm.targets(None.into());
            swarm.grants();
        }
    };
    run(SharedCommand::PodGone(0).into(), now);
    for (node, session) in nodes.into_iter().chain(strangers) {
        let by = By { node, session: Some(session), request: None };
        run(SharedCommand::Touch(node, session).into(), now);
        run(SharedCommand::Join(crate::command::Join::bare(node, session, 1_000)).into(), now + 1);
        let channels = [Channel::Visual].into_iter().collect();
        run(SharedCommand::Claim { by: by.clone(), channels, session, ttl_ms: 1_000, pod: 1 }.into(), now + 1);
        run(LivestreamCommand::Pause(by.clone()).into(), now + 2);
        run(GroupCommand::StartShare(by.clone()).into(), now + 2);
        if node.get() % 2 == 0 {
            run(SharedCommand::Leave(by).into(), now + 3);
        }
    }
    for later in [0, 1_000, 40_000, 400_000, u64::from(u32::MAX), 1 << 60] {
        run(SharedCommand::Expire.into(), now + later);
    }
}

#[test]
fn changed_bytes_are_refused_or_a_sound_state() {
    let (mut accepted, mut refused, mut broken) = (0, 0, 0);
    for sample in Sample::pinned() {
        let bytes = encode(sample.swarm(), V1);
        for at in 0..bytes.len() {
            for change in (0..8).map(|bit| 1 << bit).chain([0xff, 0x55]) {
                let mut changed = bytes.clone();
                changed[at] ^= change;
                match decode(&changed) {
                    Ok(swarm) => {
                        swarm.check();
                        assert_eq!(to_hex(&encode(&swarm, V1)), to_hex(&changed), "one form alone");
                        assert_ne!(digest(&swarm, V1), digest(sample.swarm(), V1));
                        assert_ne!(running_digest(&swarm, V1), running_digest(sample.swarm(), V1));
                        assert_ne!(swarm.digest(), sample.swarm().digest(), "byte {at} of the state says something");
                        live_on(swarm);
                        accepted += 1;
                    }
                    Err(StateError::Bytes(WireError { offset, .. })) => {
                        assert!(offset <= changed.len());
                        refused += 1;
                    }
                    Err(StateError::Invariant(_)) => broken += 1,
                }
            }
        }
    }
    assert!(accepted > 1_000 && refused > 1_000 && broken > 500, "{accepted} {refused} {broken}");
}

#[test]
fn random_bytes_are_refused_or_a_sound_state() {
    let bytes = encode(Sample::full_livestream().swarm(), V1);
    let mut draw = (0..).map(splitmix64);
    let mut below = |bound: usize| usize::try_from(draw.next().unwrap() % bound as u64).unwrap();
    let mut accepted = 0;
    for _ in 0..30_000 {
        let mut changed = bytes.clone();
        for _ in 0..=below(3) {
            let at = below(changed.len());
            match below(4) {
                0 => drop(changed.remove(at)),
                1 => changed.insert(at, below(256).to_le_bytes()[0]),
                2 => changed[at] = below(256).to_le_bytes()[0],
                _ => {
                    let from = below(changed.len());
                    let part = changed[from..changed.len().min(from + below(40))].to_vec();
                    changed.splice(at..at, part);
                }
            }
        }
        if let Ok(swarm) = decode(&changed) {
            assert_eq!(to_hex(&encode(&swarm, V1)), to_hex(&changed), "one form alone");
            live_on(swarm);
            accepted += 1;
        }
    }
    assert!(accepted > 100, "{accepted} accepted");
}

#[test]
fn large_states_come_back_through_small_pieces() {
    for sample in [Sample::large(3_000), Sample::banning()] {
        let bytes = encode(sample.swarm(), V1);
        for (budget, cut) in [(1, 1), (50, 333), (1_000, 64), (1 << 20, 1 << 20)] {
            let (mut encoder, mut pieces) = (StateEncoder::new(V1), Vec::new());
            while let Some(piece) = encoder.next(sample.swarm(), budget).unwrap() {
                pieces.extend(piece);
            }
            assert!(pieces == bytes, "pieces of {budget}");
            let decoder = bytes.chunks(cut).try_fold(StateDecoder::default(), StateDecoder::feed).unwrap();
            let copy = decoder.finish().unwrap();
            copy.check();
            assert_eq!(copy.digest(), sample.swarm().digest());
        }
    }
}

#[test]
fn a_typical_member_takes_few_bytes() {
    // Its ids are 16 of them.
    let few = encode(Sample::large(4_000).swarm(), V1).len();
    let more = encode(Sample::large(8_000).swarm(), V1).len();
    let each = (more - few) as f64 / (4_000.0 * 0.8);
    assert!((20.0..30.0).contains(&each), "{each} bytes");
}

#[cfg(debug_assertions)]
#[test]
fn a_piece_visits_what_its_budget_pays() {
    use crate::steps;
    // Nearly all have left, so that many free slots lie in a row.
    let mut sample = Sample::large(20_000);
    let leave = |node| SharedCommand::Leave(By { node, session: None, request: None });
    let gone: Vec<_> = sample.swarm().roster().iter().skip(1).map(|(_, member)| member.node).collect();
    gone.into_iter().for_each(|node| sample.run(leave(node)));
    assert_eq!((sample.swarm().roster().len(), sample.swarm().roster().slot_count()), (1, 20_000));
    for budget in [100, 1_000, 10_000] {
        let (mut encoder, mut pieces) = (StateEncoder::new(V1), 0);
        steps::begin(None);
        loop {
            let held = steps::hold();
            let piece = encoder.next(sample.swarm(), budget).unwrap();
            drop(held);
            let Some(piece) = piece else { break };
            assert!(piece.len() < budget.max(8_000) + 64, "{} bytes", piece.len());
            pieces += 1;
        }
        // One step for each entry, of at least one byte.
        assert!(steps::done().longest <= budget + 100, "{:?} for {budget}", steps::done());
        assert!(pieces >= 40_000 / budget, "{pieces} pieces");
    }
}

#[test]
fn a_swarm_that_changes_is_not_written_on() {
    let mut sample = Sample::full_group();
    let mut encoder = StateEncoder::new(V1);
    assert!(encoder.next(sample.swarm(), 1).unwrap().is_some());
    sample.run(SharedCommand::Join(join(40)));
    assert_eq!(encoder.next(sample.swarm(), 1), Err(SwarmChanged));
}

#[test]
fn an_error_says_what_is_wrong_and_where() {
    let bytes = from_hex(GOLDEN[0]);
    let with = |at: usize, byte: u8| {
        let mut changed = bytes.clone();
        changed[at] = byte;
        refusal(&changed).to_string()
    };
    assert_eq!(with(0, 2), "byte 0, version: version 2 is unknown");
    assert_eq!(with(1, 3), "byte 1, kind: tag 3 is unknown");
    assert_eq!(with(2, 0), "byte 2, Base.epoch: an id is 0");
    assert_eq!(refusal(&[]).to_string(), "byte 0, version: the bytes end too early");
    let fanout = bytes.windows(2).position(|pair| pair == [3, 2]).unwrap() + 1;
    assert_eq!(with(fanout, 1), format!("byte {}, LivestreamConfig.tree_fanout: a fan-out of 1", fanout - 1));
}

#[test]
fn state_that_no_commands_make_is_refused() {
    let refused = |mut sample: Sample, change: Change<Swarm>| {
        change(sample.slot.as_deref_mut().unwrap());
        decode(&encode(sample.swarm(), V1)).unwrap_err().to_string()
    };
    let cases: [(Sample, Change<Swarm>, &str); 14] = [
        (Sample::full_livestream(), |swarm| swarm.parts_mut().0.now = 0, "nothing was done after the last command"),
        (
            Sample::full_livestream(),
            |swarm| swarm.parts_mut().0.now = u64::MAX,
            "times, revisions and counters are below 2^60",
        ),
        (Sample::full_livestream(), |swarm| swarm.parts_mut().0.stats.joins += 1, "each join has at most one leave"),
        (Sample::full_livestream(), |swarm| swarm.parts_mut().0.revision = 3, "no request is of the future"),
        (
            Sample::full_livestream(),
            |swarm| swarm.parts_mut().0.stats.active_since = None,
            "time on air is counted on air",
        ),
        (
            Sample::full_group(),
            |swarm| assert!(swarm.parts_mut().0.bans.set(node(6), 9_000)),
            "nobody is in who is banned",
        ),
        (Sample::full_group(), |swarm| group(swarm).sharing = Some(node(3)), "a participant shares its screen"),
        (Sample::full_group(), |swarm| group(swarm).owner = None, "a group with participants has an owner"),
        (Sample::full_group(), |swarm| group(swarm).empty_since = Some(1), "a group is empty since a time"),
        (
            Sample::full_livestream(),
            |swarm| livestream(swarm).broadcaster = node(14),
            "the broadcaster alone has its role",
        ),
        (
            Sample::full_livestream(),
            |swarm| livestream(swarm).topology = crate::topology::Topology::Star,
            "a star has at most the threshold of viewers",
        ),
        (Sample::full_livestream(), |swarm| livestream(swarm).terms[Channel::Chat].number = 1, "CHAT has no term"),
        (
            Sample::full_livestream(),
            |swarm| assert!(livestream(swarm).muted.insert(node(12))),
            "the broadcaster is no moderator, and not muted",
        ),
        (
            Sample::ended_livestream(),
            |swarm| swarm.parts_mut().0.ended = None,
            "the last members are those of an ended swarm",
        ),
    ];
    for (sample, change, invariant) in cases {
        let error = refused(sample, change);
        assert_eq!(error, format!("no commands make this state: it does not hold that {invariant}"));
    }
}

fn livestream(swarm: &mut Swarm) -> &mut crate::livestream::Livestream {
    match swarm.parts_mut().1 {
        Rules::Livestream(livestream) => livestream,
        Rules::Group(_) => panic!("it is a livestream"),
    }
}

fn group(swarm: &mut Swarm) -> &mut crate::group::Group {
    match swarm.parts_mut().1 {
        Rules::Group(group) => group,
        Rules::Livestream(_) => panic!("it is a group"),
    }
}

#[test]
fn a_member_has_one_form_alone() {
    let hex = to_hex(&from_hex(GOLDEN[1]));
    // Member 15, a lurker: flags, role, node, session, times, and an endpoint of 13 bytes.
    let (ids, endpoint) = ("050ff7070202", "0d3230332e302e3131332e373a35");
    let member = format!("08{ids}{endpoint}");
    let at = hex.find(&member).unwrap() / 2;
    for (other, offset, message) in [
        (format!("0c{ids}b0ea01{endpoint}"), 7, "Lease.ttl_ms: a value that needs no telling"),
        (format!("0a{ids}00{endpoint}"), 7, "Lease.since: a value that needs no telling"),
        (format!("09{ids}00{endpoint}"), 7, "Lease.pods: a value that needs no telling"),
        (format!("09{ids}020200{endpoint}"), 7, "Lease.pods: an entry out of order"),
        (format!("09{ids}020202{endpoint}"), 7, "Lease.pods: an entry out of order"),
        (format!("08{ids}00"), 7, "Member.endpoint: a value that needs no telling"),
        (format!("18{ids}{endpoint}00"), 21, "Member.metadata: a value that needs no telling"),
        (format!("28{ids}{endpoint}0201010101"), 21, "Member.standing: a value that needs no telling"),
        (format!("8801{ids}{endpoint}00"), 22, "Member.overrides: a value that needs no telling"),
        (format!("8801{ids}{endpoint}02000201000001010000"), 22, "Member.overrides: an entry out of order"),
        (format!("8804{ids}{endpoint}"), 0, "Member.flags: a number above 511"),
        (format!("0800{}", &ids[2..]), 1, "Member.role: tag 0 is unknown"),
        (format!("080c{}", &ids[2..]), 1, "Member.role: tag 12 is unknown"),
    ] {
        let error = refusal(&from_hex(&hex.replace(&member, &other))).to_string();
        assert_eq!(error, format!("byte {}, {message}", at + offset), "{other}");
    }
}

#[test]
fn what_may_be_there_once_is_there_once() {
    let refused = |sample: &Sample, change: Change<Base>| {
        let mut sample = sample.clone();
        change(sample.slot.as_deref_mut().unwrap().parts_mut().0);
        decode(&encode(sample.swarm(), V1)).unwrap_err().to_string()
    };
    let cases: [(Change<Base>, &str); 5] = [
        (
            |base| {
                let key = base.roster.key(node(14)).unwrap();
                base.roster.update(key, |member| member.node = node(15));
            },
            "Member.node: an entry that is there already",
        ),
        (
            |base| {
                let key = base.roster.key(node(14)).unwrap();
                let late = LARGEST + 1;
                base.roster.update(key, |member| (member.joined_at, member.lease.since) = (late, late));
            },
            "Lease.since: a number above 1152921504606846976",
        ),
        (
            |base| {
                let free = base.roster.free_from(0).next().unwrap();
                base.roster.restore_free(free);
            },
            "free: an entry that is there already",
        ),
        (
            |base| base.stats.unique = Unique::Exact((1..=1_025).map(node).collect()),
            "Stats.unique: a number above 1024",
        ),
        (|base| base.stats.unique = Unique::Estimate([54; 4_096].into()), "Stats.unique: a number above 53"),
    ];
    for (change, message) in cases {
        let error = refused(&Sample::full_livestream(), change);
        assert!(error.ends_with(message), "{error}");
    }
    let mut sample = Sample::full_livestream();
    let (base, rules) = sample.slot.as_deref_mut().unwrap().parts_mut();
    let Rules::Livestream(livestream) = rules else { panic!("it is a livestream") };
    let (keys, relays) = (livestream.tree.keys().to_vec(), livestream.tree.relays());
    assert!(RelayTree::of(2, [&keys[..], &keys[..1]].concat(), relays).is_none(), "a viewer has one slot");
    assert!(RelayTree::of(2, keys.clone(), keys.len() + 1).is_none(), "relays are viewers");
    assert_eq!(RelayTree::of(2, keys, relays).map(|tree| tree.digest()), Some(livestream.tree.digest()));
    assert_eq!(base.now, sample.now);
}
