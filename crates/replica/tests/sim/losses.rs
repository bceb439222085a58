//! What a loss of the log, or the doubt whether there was one, comes to: each case by hand.

use starling_replica::batch::LogMessage;
use starling_replica::memory_log::PublishFate;
use starling_replica::output::{NotReady, SnapshotChoice};
use starling_replica::partition::PartitionPhase;
use starling_replica::{Answer, LogRequest};

use crate::cluster::{Cluster, STEP_MS};
use crate::contract::{answer, ask, idle, join, next_batch, replica, said, wait};
use crate::model::{Command, session};

fn lose_everything(cluster: &mut Cluster) {
    cluster.log.lose_all();
    cluster.log.lose_objects();
    cluster.faults.losses += 1;
}

#[test]
fn nobody_opens_while_a_peer_holds_state() {
    let mut cluster = idle(2);
    join(&mut cluster, 0, 7);
    wait(&mut cluster, 1_000);
    cluster.kill(1);
    cluster.pods[0].is_cut_from_log = true;
    lose_everything(&mut cluster);
    cluster.start(1);
    wait(&mut cluster, 25_000);
    assert_eq!(replica(&cluster, 1).world().partition.phase(), PartitionPhase::Born);
    cluster.pods[0].is_cut_from_log = false;
    wait(&mut cluster, 20_000);
    for at in 0..2 {
        assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}");
        assert!(replica(&cluster, at).world().state.model.applied(7).is_some(), "pod {at}");
    }
}

#[test]
fn a_doubt_that_was_wrong_ends() {
    let mut cluster = idle(2);
    join(&mut cluster, 0, 7);
    wait(&mut cluster, 1_000);
    cluster.log.elect_for(60_000);
    wait(&mut cluster, 3_000);
    let mut doubts = false;
    for _ in 0..40 {
        // A leader that is one no longer says that the log ends earlier.
        cluster.with_replica(0, |replica| replica.extent(1, 1));
        wait(&mut cluster, 1_000);
        doubts = replica(&cluster, 0).readiness() == Err(NotReady::Loading);
        if doubts {
            break;
        }
    }
    assert!(doubts, "what is said a dozen times is looked at");
    assert!(replica(&cluster, 0).readable().state.model.applied(7).is_some(), "clients read on meanwhile");
    wait(&mut cluster, 60_000);
    (0..2).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}"));
    assert_eq!(cluster.coverage.reseeds, 0);
}

#[test]
fn snapshots_that_the_log_lacks_are_passed_over() {
    let mut cluster = idle(2);
    wait(&mut cluster, 70_000);
    let names = cluster.log.object_names();
    let sequences: Vec<_> = names.into_iter().filter_map(SnapshotChoice::sequence_of).collect();
    let [.., older, newest] = sequences[..] else { panic!("{sequences:?}") };
    (0..2).for_each(|at| cluster.kill(at));
    let messages = cluster.log.last() - newest + 1;
    cluster.log.rewind(usize::try_from(messages).expect("few"));
    cluster.faults.losses += 1;
    assert!((older..newest).contains(&cluster.log.last()));
    cluster.start(0);
    wait(&mut cluster, 15_000);
    assert_eq!(replica(&cluster, 0).readiness(), Ok(()));
    let history = replica(&cluster, 0).world().partition.history();
    let (messages, _) = cluster.log.get(older + 1, u64::MAX);
    assert!(messages.iter().all(|message| history.has(message) != Some(false)));
}

/// Two pods whose log was lost and lives on, and the last message of the log before.
fn reseeded() -> (Cluster, LogMessage) {
    let mut cluster = idle(2);
    join(&mut cluster, 0, 7);
    wait(&mut cluster, 15_000);
    let last = cluster.log.last();
    let message = cluster.log.get(last, last).0.pop().expect("a message");
    lose_everything(&mut cluster);
    wait(&mut cluster, 8_000);
    (0..2).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}"));
    assert!(cluster.coverage.reseeds > 0);
    (cluster, message)
}

#[test]
fn late_messages_of_a_lost_log_are_dropped() {
    let (mut cluster, mut stale) = reseeded();
    // It is its turn now. A pod that takes it finds that soon, reads the log again, and is ready again at once.
    stale.sequence = cluster.log.last() + 1;
    cluster.with_replica(1, |replica| replica.message(stale.clone()));
    assert_eq!(replica(&cluster, 1).world().partition.position().sequence, cluster.log.last());
    while cluster.log.last() < stale.sequence + 20 {
        wait(&mut cluster, STEP_MS);
        assert_eq!(replica(&cluster, 1).readiness(), Ok(()), "at {}", cluster.log.last());
    }
    assert_eq!(cluster.checks.lives.len(), 2, "the log was lost once");
}

#[test]
fn a_life_that_was_rewound_away_is_left() {
    let (mut cluster, _) = reseeded();
    let of = |cluster: &Cluster, at| replica(cluster, at).world().partition.log();
    assert_eq!(of(&cluster, 0), of(&cluster, 1));
    // Pod 1 hears nothing while the log is lost and grows again, as far as it had read, and from there on all.
    let position = replica(&cluster, 1).world().partition.position().sequence;
    (cluster.pods[1].paused_until, cluster.pods[1].is_cut_from_log) = (u64::MAX, true);
    lose_everything(&mut cluster);
    while cluster.log.last() <= position + 2 {
        wait(&mut cluster, STEP_MS);
    }
    let (later, _) = cluster.log.get(position + 1, u64::MAX);
    assert_ne!(of(&cluster, 0), of(&cluster, 1), "the other pod has gone on");
    for message in later {
        cluster.with_replica(1, |replica| replica.fetched(vec![message], 1));
    }
    (cluster.pods[1].paused_until, cluster.pods[1].is_cut_from_log) = (0, false);
    wait(&mut cluster, 10_000);
    assert_eq!(of(&cluster, 0), of(&cluster, 1));
    (0..2).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}"));
}

#[test]
fn nothing_is_sent_while_the_log_is_read() {
    let (mut cluster, _) = reseeded();
    for number in 20..28 {
        join(&mut cluster, 0, number);
        wait(&mut cluster, 200);
    }
    // No snapshot is of use, so that it reads all from the Reseed on.
    cluster.log.damage_newest_object();
    let last = replica(&cluster, 0).world().partition.position().sequence;
    let mut other = cluster.log.get(last, last).0.pop().expect("a message");
    other.timestamp += 1;
    cluster.with_replica(0, |replica| replica.message(other));
    assert_eq!(replica(&cluster, 0).readiness(), Err(NotReady::Loading));
    // Its own batches, which it reads again, are no answer to what it is asked for now.
    let asked = join(&mut cluster, 0, 28);
    wait(&mut cluster, 5_000);
    assert!(matches!(answer(&cluster, asked), Some(Answer::Applied(_))));
    let bytes = Command::Join(28, session(28)).encode();
    let has = |message: &&LogMessage| message.bytes.windows(bytes.len()).any(|part| part == bytes);
    assert_eq!(cluster.log.get(1, u64::MAX).0.iter().filter(has).count(), 1, "batches that it is in");
}

#[test]
fn late_copies_of_a_lost_log_are_void() {
    let (mut cluster, stale) = reseeded();
    let from = replica(&cluster, 0).incarnation();
    for _ in 0..3 {
        let delivery = PublishFate { copies: vec![0], acknowledged: None };
        cluster.log.publish(from, &stale.bytes, None, &delivery);
        wait(&mut cluster, 1_000);
        (0..2).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}"));
    }
    assert_eq!(cluster.checks.lives.len(), 2, "the log was lost once");
}

#[test]
fn asking_for_what_a_log_lacks_ends() {
    let (mut cluster, mut stale) = reseeded();
    stale.sequence = 1 << 40;
    cluster.with_replica(1, |replica| replica.message(stale.clone()));
    wait(&mut cluster, 10_000);
    let before = cluster.coverage.fetches;
    wait(&mut cluster, 10_000);
    let fetches = cluster.coverage.fetches - before;
    assert!(fetches < 40, "{fetches} fetches of two pods in ten seconds");
    assert_eq!(replica(&cluster, 1).readiness(), Ok(()));
}

#[test]
fn a_purge_decided_before_a_loss_deletes_nothing() {
    let mut cluster = idle(2);
    // A snapshot of pod 0 has been stored, and the one before it is what the log may be purged up to.
    let is_decided = |cluster: &Cluster| format!("{:?}", replica(cluster, 0)).contains("purge: Some");
    while !is_decided(&cluster) {
        wait(&mut cluster, STEP_MS);
        assert!(cluster.steps < 10_000);
    }
    let sequence = replica(&cluster, 0).world().partition.position().sequence + 1;
    let own = LogMessage { sequence, timestamp: cluster.now, bytes: next_batch(&cluster, Vec::new()) };
    // Its next batch is written, then the log is lost, and lives on for long until the process goes on and hears of it.
    cluster.pods[0].paused_until = u64::MAX;
    lose_everything(&mut cluster);
    for number in 1_000.. {
        if cluster.log.last() > sequence + 5 {
            break;
        }
        join(&mut cluster, 1, number);
        wait(&mut cluster, 2 * STEP_MS);
    }
    assert_eq!(cluster.log.first(), 1, "nothing of this life was purged");
    // Whatever it purges now must be of the log that it has read.
    cluster.with_replica(0, |replica| replica.message(own));
    cluster.pods[0].paused_until = 0;
    wait(&mut cluster, 10_000);
    (0..2).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}"));
}

#[test]
fn a_candidate_without_answer_is_stored_again() {
    let mut cluster = idle(2);
    join(&mut cluster, 0, 7);
    wait(&mut cluster, 1_000);
    lose_everything(&mut cluster);
    while (0..2).any(|at| replica(&cluster, at).world().partition.phase() != PartitionPhase::Born) {
        wait(&mut cluster, STEP_MS);
    }
    // The object store has no leader either: what both pods hand to it is lost, and nothing is said of it.
    cluster.log.elect_for(5_000);
    wait(&mut cluster, 30_000);
    for at in 0..2 {
        assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}");
        assert!(replica(&cluster, at).world().state.model.applied(7).is_some(), "pod {at}");
    }
}

#[test]
fn streams_are_attached_again_after_a_load() {
    let mut cluster = idle(3);
    join(&mut cluster, 0, 7);
    wait(&mut cluster, 1_000);
    for at in 1..3 {
        cluster.pods[at].is_cut_from_log = true;
    }
    let attach = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    wait(&mut cluster, 500);
    assert!(answer(&cluster, attach).is_some(), "pod 0 alone has applied it");
    lose_everything(&mut cluster);
    for (at, pod) in cluster.pods.iter_mut().enumerate() {
        let is_first = at == 0;
        (pod.is_cut_from_log, pod.is_cut_from_peers) = (is_first, is_first);
    }
    wait(&mut cluster, 5_000);
    assert_eq!(replica(&cluster, 1).readiness(), Ok(()), "the others go on without it");
    (cluster.pods[0].is_cut_from_log, cluster.pods[0].is_cut_from_peers) = (false, false);
    wait(&mut cluster, 5_000);
    assert_eq!(replica(&cluster, 0).readiness(), Ok(()));
    // It may be said twice.
    let said = said(&cluster, session(7));
    assert!(!said.is_empty() && said.iter().all(|said| *said == "attach"), "in the log that goes on: {said:?}");
    wait(&mut cluster, 20_000);
    assert!(replica(&cluster, 1).world().state.model.contains(session(7)), "its stream keeps it");
}
