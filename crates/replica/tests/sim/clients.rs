//! Who wants something of the pods: sessions that come, open streams on any pod, and go.

use std::collections::BTreeMap;

use starling_replica::batch::StreamSession;
use starling_replica::{Answer, LogRequest};
use starling_testkit::Rng;

use crate::cluster::Cluster;
use crate::model::{Command, TTL_MS, session};
use crate::state::Outcome;
use crate::swarm_clients::{SwarmAsk, SwarmClients};

/// A call without an answer fails after this.
const CALL_MS: u64 = 10_000;

/// What became of a command, as its client was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Waiting,
    Applied,
    NotApplied,
    /// With the lease clock of the pod that said so.
    Unknown {
        clock: u64,
    },
}

#[derive(Debug)]
pub(crate) enum Asked {
    /// Its session, when, and after how many steps of the clock.
    Join(StreamSession, u64, u64),
    Touch(StreamSession, u64),
    Other,
    Attach(StreamSession, usize),
    OfSwarm(SwarmAsk),
    /// This command was acknowledged before: the pod must know it.
    Barrier(Option<u64>),
}

/// A session as its client knows it.
#[derive(Debug)]
pub(crate) struct Client {
    /// How long it lives without streams, in milliseconds.
    pub(crate) ttl_ms: u64,
    pub(crate) left: bool,
    /// Streams that are open, by pod; true once the pod has said so.
    pub(crate) streams: Vec<(usize, bool)>,
    /// When it last did what was acknowledged, in milliseconds.
    pub(crate) kept_at: u64,
    pub(crate) forward_steps: u64,
}

impl Client {
    /// One whose session has begun by what was asked then.
    pub(crate) const fn new(ttl_ms: u64, kept_at: u64, forward_steps: u64) -> Self {
        Self { ttl_ms, left: false, streams: Vec::new(), kept_at, forward_steps }
    }
}

#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) rng: Rng,
    next: u64,
    /// Sessions whose beginning was acknowledged.
    pub(crate) sessions: BTreeMap<StreamSession, Client>,
    pub(crate) of_swarms: SwarmClients,
    pub(crate) fates: BTreeMap<u64, Fate>,
    asked: BTreeMap<u64, Asked>,
    is_closing: bool,
    acknowledged: Option<u64>,
}

impl Clients {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            next: 1_000_000,
            sessions: BTreeMap::new(),
            of_swarms: SwarmClients::default(),
            fates: BTreeMap::new(),
            asked: BTreeMap::new(),
            is_closing: false,
            acknowledged: None,
        }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Clients close their streams and do nothing more.
    pub(crate) const fn close_all_soon(&mut self) {
        self.is_closing = true;
    }

    /// The streams on a pod are gone.
    pub(crate) fn pod_is_over(&mut self, at: usize) {
        for client in self.sessions.values_mut() {
            client.streams.retain(|(pod, _)| *pod != at);
        }
        // Attaches that are on their way open nothing any more.
        self.asked.retain(|_, asked| !matches!(asked, Asked::Attach(_, pod) if *pod == at));
    }

    pub(crate) fn ask(cluster: &mut Cluster, at: usize, id: u64, asked: Asked, request: LogRequest) {
        let deadline = cluster.now + CALL_MS;
        let is_counted = matches!(request, LogRequest::Command(_) | LogRequest::Chat(_));
        cluster.clients.asked.insert(id, asked);
        if is_counted {
            cluster.clients.fates.insert(id, Fate::Waiting);
        }
        if cluster.with_replica(at, |replica| replica.submit(id, request, deadline)).is_err() {
            cluster.coverage.full += 1;
            cluster.clients.asked.remove(&id);
            if is_counted {
                cluster.clients.fates.insert(id, Fate::NotApplied);
            }
        }
    }

    pub(crate) fn act(cluster: &mut Cluster) {
        if cluster.clients.is_closing {
            let open: Vec<_> = cluster.clients.sessions.keys().copied().collect();
            open.into_iter().for_each(|stream| Self::close(cluster, stream));
            return;
        }
        for _ in 0..cluster.clients.rng.below(4) {
            let at = cluster.clients.rng.index(cluster.pods.len());
            if !cluster.pods[at].runs(cluster.now) {
                continue;
            }
            if cluster.faults.profile.has_swarms && cluster.clients.rng.chance(70) {
                SwarmClients::act_on(cluster, at);
            } else {
                Self::act_on(cluster, at);
            }
        }
    }

    fn act_on(cluster: &mut Cluster, at: usize) {
        let id = cluster.clients.number();
        let clients = &mut cluster.clients;
        let choice = clients.rng.weighted(&[4, 6, 2, 6, 3, 3, 3]);
        let is_ours = |stream: &StreamSession| stream.swarm.get() < crate::state::FIRST_SWARM;
        let ours = clients.sessions.iter().filter(|(stream, client)| !client.left && is_ours(stream));
        let ours: Vec<StreamSession> = ours.map(|(stream, _)| *stream).collect();
        if choice == 0 && ours.len() < 30 {
            let command = Command::Join(id, session(id));
            let asked = Asked::Join(session(id), cluster.now, cluster.faults.forward_steps);
            return Self::ask(cluster, at, id, asked, LogRequest::Command(command.encode()));
        }
        if choice == 3 {
            return Self::ask(cluster, at, id, Asked::Other, LogRequest::Chat(Command::Chat(id).encode()));
        }
        if choice == 4 {
            let known = clients.acknowledged;
            return Self::ask(cluster, at, id, Asked::Barrier(known), LogRequest::Barrier);
        }
        if ours.is_empty() {
            return;
        }
        let stream = clients.rng.pick(&ours);
        match choice {
            1 => {
                let (command, now) = (Command::Touch(id, stream), cluster.now);
                Self::ask(cluster, at, id, Asked::Touch(stream, now), LogRequest::Command(command.encode()));
            }
            2 => {
                clients.sessions.get_mut(&stream).expect("it was picked").left = true;
                Self::close(cluster, stream);
                let command = Command::Leave(id, stream);
                Self::ask(cluster, at, id, Asked::Other, LogRequest::Command(command.encode()));
            }
            5 => Self::close(cluster, stream),
            _ => Self::open(cluster, at, stream),
        }
    }

    /// Opens a stream of a session on a pod.
    pub(crate) fn open(cluster: &mut Cluster, at: usize, stream: StreamSession) {
        let id = cluster.clients.number();
        cluster.clients.sessions.get_mut(&stream).expect("it was picked").streams.push((at, false));
        Self::ask(cluster, at, id, Asked::Attach(stream, at), LogRequest::Attach(stream));
    }

    /// Closes all streams of a session.
    pub(crate) fn close(cluster: &mut Cluster, stream: StreamSession) {
        let is_kept = cluster.is_kept(stream);
        let Some(client) = cluster.clients.sessions.get_mut(&stream) else { return };
        let streams = std::mem::take(&mut client.streams);
        if is_kept {
            (client.kept_at, client.forward_steps) = (cluster.now, cluster.faults.forward_steps);
        }
        for (at, _) in streams {
            if cluster.pods[at].replica.is_some() {
                let request = LogRequest::Detach(stream);
                let _ = cluster.with_replica(at, |replica| replica.submit(0, request, 0));
            }
        }
    }

    pub(crate) fn resolved(cluster: &mut Cluster, at: usize, id: u64, answer: Answer<Outcome>) {
        let replica = cluster.pods[at].replica();
        let clock = replica.world().partition.clock().now();
        let clients = &mut cluster.clients;
        let asked = clients.asked.remove(&id);
        if let Some(fate) = clients.fates.get_mut(&id) {
            assert_eq!(*fate, Fate::Waiting, "{}, step {}: {id} is answered once", cluster.name, cluster.steps);
            *fate = match &answer {
                Answer::Applied(_) => Fate::Applied,
                Answer::NotApplied => Fate::NotApplied,
                Answer::Unknown => Fate::Unknown { clock },
                Answer::AlreadyAttached | Answer::Reached => panic!("a command has an outcome"),
            };
            match answer {
                Answer::Applied(_) => {
                    cluster.coverage.applied += 1;
                    clients.acknowledged = Some(id);
                }
                Answer::Unknown => cluster.coverage.unknown += 1,
                _ => cluster.coverage.not_applied += 1,
            }
        }
        match (asked, answer) {
            (Some(Asked::Join(stream, kept_at, forward_steps)), Answer::Applied(_)) => {
                clients.sessions.insert(stream, Client::new(TTL_MS, kept_at, forward_steps));
            }
            (Some(Asked::Touch(stream, asked_at)), Answer::Applied(Outcome::Done(_))) => {
                clients.touched(stream, asked_at)
            }
            (Some(Asked::OfSwarm(ask)), answer) => SwarmClients::resolved(cluster, ask, answer),
            (Some(Asked::Attach(stream, pod)), answer) => {
                let is_open = match answer {
                    Answer::Applied(Outcome::Done(_)) | Answer::AlreadyAttached => true,
                    Answer::Applied(Outcome::NoSuchSession | Outcome::Refused(_))
                    | Answer::NotApplied
                    | Answer::Unknown => false,
                    Answer::Reached => panic!("an attach has an outcome"),
                };
                let streams = clients.sessions.get_mut(&stream).map(|client| &mut client.streams);
                let opening = streams.and_then(|streams| {
                    let place = streams.iter().position(|(at, is_open)| (*at, *is_open) == (pod, false))?;
                    Some((streams, place))
                });
                match opening {
                    Some((streams, place)) if is_open => streams[place].1 = true,
                    Some((streams, place)) => {
                        // The call has failed: its stream closes.
                        streams.remove(place);
                        let request = LogRequest::Detach(stream);
                        let _ = cluster.with_replica(at, |replica| replica.submit(0, request, 0));
                    }
                    None => {}
                }
            }
            (Some(Asked::Barrier(Some(known))), Answer::Reached) => {
                cluster.coverage.barriers += 1;
                let knows = replica.world().state.model.applied(known).is_some();
                let loses = cluster.faults.profile.loses() || cluster.checks.loses;
                assert!(knows || loses, "{}, step {}: pod {at} denies {known}", cluster.name, cluster.steps);
            }
            _ => {}
        }
    }

    /// What was asked then has kept a session.
    pub(crate) fn touched(&mut self, stream: StreamSession, asked_at: u64) {
        if let Some(client) = self.sessions.get_mut(&stream) {
            client.kept_at = client.kept_at.max(asked_at);
        }
    }

    /// Whether a session is kept by a stream that a pod has confirmed.
    pub(crate) fn keepers(&self, stream: StreamSession) -> impl Iterator<Item = usize> {
        let client = self.sessions.get(&stream).filter(|client| !client.left);
        client.into_iter().flat_map(|client| &client.streams).filter(|(_, is_open)| *is_open).map(|(at, _)| *at)
    }
}
