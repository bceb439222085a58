//! Single promises of a replica, each shown by hand.

use starling_replica::batch::StreamSession;
use starling_replica::memory_log::PublishFate;
use starling_replica::output::{LogAccess, NotReady, OverReason, StopReason};
use starling_replica::{Answer, Batch, BatchItem, LogRequest, Replica};

use crate::cluster::{Cluster, STEP_MS};
use crate::faults::Profile;
use crate::model::{Command, session};
use crate::state::{Outcome, SimState};

/// A cluster of some pods whose clients do nothing.
pub(crate) fn idle(pods: usize) -> Cluster {
    let mut cluster = Cluster::with_pods(1, Profile::default(), pods);
    cluster.ticks_when_due = true;
    wait(&mut cluster, 15_000);
    for at in 0..pods {
        assert_eq!(replica(&cluster, at).readiness(), Ok(()), "pod {at}");
    }
    cluster
}

/// Time passes, and nobody but the pods does anything.
pub(crate) fn wait(cluster: &mut Cluster, ms: u64) {
    for _ in 0..ms / STEP_MS {
        cluster.now += STEP_MS;
        cluster.advance();
    }
}

pub(crate) fn replica(cluster: &Cluster, at: usize) -> &Replica<SimState> {
    cluster.pods[at].replica()
}

/// Asks a pod for something, and says under which name the answer is kept.
pub(crate) fn ask(cluster: &mut Cluster, at: usize, request: LogRequest) -> u64 {
    cluster.asked += 1;
    let (id, deadline) = (cluster.asked, cluster.now + 10_000);
    cluster.with_replica(at, |replica| replica.submit(id, request, deadline)).expect("there is room");
    id
}

pub(crate) fn join(cluster: &mut Cluster, at: usize, number: u64) -> u64 {
    ask(cluster, at, LogRequest::Command(Command::Join(number, session(number)).encode()))
}

pub(crate) fn answer(cluster: &Cluster, id: u64) -> Option<&Answer<Outcome>> {
    cluster.answers.get(&id)
}

fn revision(cluster: &Cluster, id: u64) -> u64 {
    match answer(cluster, id) {
        Some(Answer::Applied(Outcome::Done(change))) => change.revision,
        other => panic!("{other:?}"),
    }
}

/// What the log says of a stream's session.
pub(crate) fn said(cluster: &Cluster, stream: StreamSession) -> Vec<&'static str> {
    let (messages, _) = cluster.log.get(1, u64::MAX);
    let items = messages.iter().flat_map(|message| Batch::decode(&message.bytes).expect("a batch").items);
    items
        .filter_map(|item| match item {
            BatchItem::Attach(own) if own == stream => Some("attach"),
            BatchItem::Detach(own) if own == stream => Some("detach"),
            _ => None,
        })
        .collect()
}

#[test]
fn streams_are_counted_when_they_open_and_close() {
    let mut cluster = idle(2);
    join(&mut cluster, 0, 7);
    let first = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    let second = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    assert_eq!(answer(&cluster, second), None, "it waits for the first");
    wait(&mut cluster, 1_000);
    let Some(Answer::Applied(outcome)) = answer(&cluster, first) else { panic!() };
    assert_eq!(answer(&cluster, second), Some(&Answer::Applied(outcome.clone())));
    let third = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    assert_eq!(answer(&cluster, third), Some(&Answer::AlreadyAttached));
    for _ in 0..2 {
        cluster.with_replica(0, |replica| replica.submit(0, LogRequest::Detach(session(7)), 0)).unwrap();
    }
    wait(&mut cluster, 1_000);
    assert_eq!(said(&cluster, session(7)), ["attach"]);
    cluster.with_replica(0, |replica| replica.submit(0, LogRequest::Detach(session(7)), 0)).unwrap();
    wait(&mut cluster, 1_000);
    assert_eq!(said(&cluster, session(7)), ["attach", "detach"]);
}

#[test]
fn a_stream_beside_a_refused_one_is_refused() {
    let mut cluster = idle(2);
    let first = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    wait(&mut cluster, 1_000);
    assert_eq!(answer(&cluster, first), Some(&Answer::Applied(Outcome::NoSuchSession)));
    // Its caller has not closed it yet.
    let second = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    wait(&mut cluster, 1_000);
    assert_eq!(answer(&cluster, second), Some(&Answer::Applied(Outcome::NoSuchSession)));
    join(&mut cluster, 0, 7);
    wait(&mut cluster, 1_000);
    let [third, fourth] = [0, 1].map(|_| ask(&mut cluster, 0, LogRequest::Attach(session(7))));
    wait(&mut cluster, 1_000);
    assert_eq!(revision(&cluster, third), revision(&cluster, fourth), "one Attach for both");
    let fifth = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    assert_eq!(answer(&cluster, fifth), Some(&Answer::AlreadyAttached));
}

#[test]
fn a_detach_follows_an_attach_without_answer() {
    let mut cluster = idle(2);
    join(&mut cluster, 0, 7);
    wait(&mut cluster, 1_000);
    cluster.log.set_full(true);
    let attach = ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    wait(&mut cluster, 11_000);
    assert_eq!(answer(&cluster, attach), Some(&Answer::Unknown));
    assert_eq!(replica(&cluster, 0).readiness(), Err(NotReady::LogFull));
    cluster.with_replica(0, |replica| replica.submit(0, LogRequest::Detach(session(7)), 0)).unwrap();
    cluster.log.set_full(false);
    wait(&mut cluster, 2_000);
    assert_eq!(said(&cluster, session(7)), ["attach", "detach"]);
    assert_eq!(replica(&cluster, 0).readiness(), Ok(()));
}

#[test]
fn membership_goes_before_chat() {
    let mut cluster = idle(2);
    cluster.log.elect_for(3_000);
    let command = |id| LogRequest::Chat(Command::Chat(id).encode());
    let chats: Vec<_> = (100..150).map(|id| ask(&mut cluster, 0, command(id))).collect();
    let join = join(&mut cluster, 0, 7);
    wait(&mut cluster, 5_000);
    let join = revision(&cluster, join);
    // What was on its way already stays before it.
    let later = chats.iter().filter(|chat| revision(&cluster, **chat) > join).count();
    assert!(later >= 49, "{later} after it");
}

#[test]
fn a_full_queue_refuses_but_no_detach() {
    let mut cluster = idle(2);
    join(&mut cluster, 0, 7);
    ask(&mut cluster, 0, LogRequest::Attach(session(7)));
    wait(&mut cluster, 1_000);
    cluster.log.elect_for(9_000);
    let chat = |id| LogRequest::Chat(Command::Chat(id).encode());
    let deadline = cluster.now + 10_000;
    let submit =
        |replica: &mut Replica<SimState>| (1_000..2_000).find(|id| replica.submit(*id, chat(*id), deadline).is_err());
    let refused = cluster.with_replica(0, submit).expect("the queue is bounded");
    assert!((1_200..1_300).contains(&refused), "{refused}");
    cluster.with_replica(0, |replica| replica.submit(0, LogRequest::Detach(session(7)), 0)).unwrap();
    wait(&mut cluster, 12_000);
    assert_eq!(said(&cluster, session(7)), ["attach", "detach"]);
    assert!(replica(&cluster, 1).world().state.model.applied(refused - 1).is_some());
    assert!(replica(&cluster, 1).world().state.model.applied(refused).is_none());
}

#[test]
fn answers_come_by_their_deadline() {
    let mut cluster = idle(2);
    wait(&mut cluster, 500);
    cluster.log.elect_for(60_000);
    let sent = join(&mut cluster, 0, 7);
    let queued = join(&mut cluster, 0, 8);
    wait(&mut cluster, 9_950);
    assert_eq!((answer(&cluster, sent), answer(&cluster, queued)), (None, None));
    wait(&mut cluster, 100);
    assert_eq!(answer(&cluster, sent), Some(&Answer::Unknown));
    assert_eq!(answer(&cluster, queued), Some(&Answer::NotApplied));
    wait(&mut cluster, 60_000);
    let state = &replica(&cluster, 1).world().state;
    assert!(state.model.applied(7).is_some() && state.model.applied(8).is_none());
}

#[test]
fn one_barrier_batch_serves_all_who_wait() {
    let mut cluster = idle(2);
    wait(&mut cluster, 500);
    let last = cluster.log.last();
    let waiting: Vec<_> = (0..20).map(|_| ask(&mut cluster, 0, LogRequest::Barrier)).collect();
    assert_eq!(answer(&cluster, waiting[0]), None, "not before it has come back");
    wait(&mut cluster, 200);
    assert!(waiting.iter().all(|id| answer(&cluster, *id) == Some(&Answer::Reached)));
    assert!(cluster.log.last() <= last + 3, "the first alone, and one for the others");
}

#[test]
fn a_pod_cut_from_the_log_says_goodbye() {
    let mut cluster = idle(3);
    cluster.pods[0].is_cut_from_log = true;
    wait(&mut cluster, 4_500);
    assert_eq!(replica(&cluster, 0).readiness(), Ok(()));
    wait(&mut cluster, 2_500);
    assert_eq!(replica(&cluster, 0).readiness(), Err(NotReady::Away(LogAccess::Behind)));
    assert_eq!(replica(&cluster, 1).readiness(), Ok(()));
    wait(&mut cluster, 5_000);
    let own = replica(&cluster, 0).incarnation();
    assert!(replica(&cluster, 1).world().partition.is_gone(own));
    cluster.pods[0].is_cut_from_log = false;
    wait(&mut cluster, 5_000);
    assert_ne!(replica(&cluster, 0).incarnation(), own, "it has read that it is gone");
    assert_eq!(replica(&cluster, 0).readiness(), Ok(()));
}

#[test]
fn a_pod_cut_from_all_stops_in_time() {
    let mut cluster = idle(3);
    (cluster.pods[0].is_cut_from_log, cluster.pods[0].is_cut_from_peers) = (true, true);
    wait(&mut cluster, 14_000);
    assert_eq!(replica(&cluster, 0).readiness(), Ok(()));
    wait(&mut cluster, 3_000);
    assert_eq!(replica(&cluster, 0).readiness(), Err(NotReady::Away(LogAccess::Alone)));
    wait(&mut cluster, 15_000);
    assert_eq!(replica(&cluster, 0).readiness(), Err(NotReady::Away(LogAccess::Stale)));
}

#[test]
fn an_absent_log_stops_nobody_among_peers() {
    let mut cluster = idle(3);
    cluster.checks.is_strict = true;
    cluster.log.elect_for(120_000);
    for _ in 0..120 {
        wait(&mut cluster, 1_000);
        (0..3).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(())));
    }
    wait(&mut cluster, 10_000);
    assert_eq!(cluster.coverage.gone, 0);
    (0..3).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(())));
}

#[test]
fn entries_that_cannot_be_read_stop_the_partition() {
    for bytes in [b"\x02later".to_vec(), undecodable_command(&idle(2))] {
        let mut cluster = idle(2);
        let from = replica(&cluster, 0).incarnation();
        let last = replica(&cluster, 0).world().partition.position().sequence;
        let delivery = PublishFate { copies: vec![0], acknowledged: None };
        cluster.log.publish(from, &bytes, None, &delivery);
        wait(&mut cluster, 2_000);
        for at in 0..2 {
            let stopped = NotReady::Stopped(StopReason::Undecodable);
            assert_eq!(replica(&cluster, at).readiness(), Err(stopped), "pod {at} after {last}");
        }
    }
}

/// A batch of pod 0, which comes next.
pub(crate) fn next_batch(cluster: &Cluster, items: Vec<BatchItem>) -> Vec<u8> {
    let own = replica(cluster, 0);
    let last = cluster.log.get(1, u64::MAX).0.pop().expect("a message");
    let mut batch = Batch::decode(&last.bytes).expect("a batch");
    let partition = &own.world().partition;
    batch.header.incarnation = own.incarnation();
    batch.header.number = partition.pod(own.incarnation()).expect("it is registered").number + 1;
    batch.header.base = partition.position();
    batch.header.not_after = partition.clock().now() + 15_000;
    batch.items = items;
    batch.encode()
}

/// The same with a command that nobody knows. All runs of a seed are the same.
fn undecodable_command(cluster: &Cluster) -> Vec<u8> {
    next_batch(cluster, vec![BatchItem::Command(vec![99])])
}

#[test]
fn a_number_used_otherwise_is_not_its_own() {
    let mut cluster = idle(2);
    cluster.log.elect_for(2_000);
    let join = join(&mut cluster, 0, 7);
    let other = next_batch(&cluster, vec![BatchItem::Compare]);
    let from = replica(&cluster, 0).incarnation();
    cluster.log.publish(from, &other, None, &PublishFate { copies: vec![2_000], acknowledged: None });
    wait(&mut cluster, 5_000);
    revision(&cluster, join);
    (0..2).for_each(|at| assert!(replica(&cluster, at).world().state.model.applied(7).is_some(), "pod {at}"));
}

#[test]
fn what_was_told_unknown_is_not_sent_again() {
    let mut cluster = idle(2);
    cluster.log.elect_for(12_000);
    let join = join(&mut cluster, 0, 7);
    let other = next_batch(&cluster, vec![BatchItem::Compare]);
    let from = replica(&cluster, 0).incarnation();
    cluster.log.publish(from, &other, None, &PublishFate { copies: vec![12_000], acknowledged: None });
    wait(&mut cluster, 20_000);
    assert_eq!(answer(&cluster, join), Some(&Answer::Unknown));
    assert_eq!(replica(&cluster, 1).world().state.model.applied(7), None, "the batch with it never counts");
}

#[test]
fn a_pod_that_stops_is_gone_at_once() {
    let mut cluster = idle(3);
    let own = replica(&cluster, 0).incarnation();
    cluster.with_replica(0, Replica::stop_in_order);
    wait(&mut cluster, 1_500);
    assert_eq!(cluster.ended.first(), Some(&OverReason::Stopped));
    assert!(replica(&cluster, 1).world().partition.is_gone(own));
}

#[test]
fn levels_are_activated_once_all_pods_know_them() {
    let mut cluster = idle(3);
    let active = |cluster: &Cluster| replica(cluster, 1).world().partition.level();
    for at in 1..3 {
        cluster.kill(at);
        cluster.level = 2;
        cluster.start(at);
    }
    wait(&mut cluster, 10_000);
    cluster.with_replica(1, |replica| replica.activate(2));
    wait(&mut cluster, 5_000);
    assert_eq!(active(&cluster), 1, "pod 0 does not know it");
    cluster.kill(0);
    wait(&mut cluster, 12_000);
    assert_eq!(active(&cluster), 2);
    cluster.level = 1;
    cluster.start(0);
    wait(&mut cluster, 5_000);
    assert_eq!(replica(&cluster, 0).readiness(), Err(NotReady::Stopped(StopReason::Level)));
}

#[test]
fn a_level_all_know_is_activated_in_time() {
    let mut cluster = idle(3);
    let active = |cluster: &Cluster| replica(cluster, 1).world().partition.level();
    cluster.level = 2;
    for at in 0..3 {
        cluster.kill(at);
        cluster.start(at);
        wait(&mut cluster, 10_000);
    }
    // The pod that was killed last is gone after six seconds, and the others knew the level before.
    wait(&mut cluster, 33_000);
    assert_eq!(active(&cluster), 1, "a day has not passed, which is short here");
    wait(&mut cluster, 12_000);
    assert_eq!(active(&cluster), 2);
    (0..3).for_each(|at| assert_eq!(replica(&cluster, at).readiness(), Ok(())));
}

#[test]
fn a_state_that_differs_is_loaded_again() {
    let mut cluster = idle(3);
    for number in 2..60 {
        join(&mut cluster, 0, number);
    }
    wait(&mut cluster, 1_000);
    cluster.checks.is_tampered = true;
    cluster.pods[2].replica.as_mut().unwrap().look_at_state(|state| state.model.tamper());
    wait(&mut cluster, 20_000);
    assert!(cluster.ended.contains(&OverReason::Diverged));
    let digests: Vec<_> = (0..3).map(|at| replica(&cluster, at).world().state.model.applied_count()).collect();
    assert_eq!(digests, [58, 58, 58]);
    wait(&mut cluster, 20_000);
    assert!((0..3).all(|at| !replica(&cluster, at).world().partition.is_disputed()));
}
