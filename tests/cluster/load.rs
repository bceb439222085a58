//! Everybody who uses the servers at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use starling_verify::{History, PublisherLog, check};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::cluster::{Access, Cluster, PODS, answered, go_live, shown};
use crate::events::{SharedRoster, watch_events};
use crate::members::{Acting, Members};
use crate::publisher::{Published, PublisherHistory, publish};
use crate::subscriber::{Received, SubscriberHistory, subscribe};
use crate::targets::{SharedFold, watch_targets};
use crate::time::{soon, until};

/// The livestream that is published.
pub(crate) const LIVESTREAM: u64 = 7;
/// Its broadcaster.
pub(crate) const BROADCASTER: u64 = 1;

const FIRST_SUBSCRIBER: u64 = 1_000;
const FIRST_WATCHER: u64 = 2_000;
const FIRST_ACTOR: u64 = 3_000;

/// How many there are of each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadSize {
    pub(crate) subscribers: u64,
    pub(crate) target_watchers: u64,
    pub(crate) actors: u64,
}

/// How one of them came to an end.
enum Ended {
    Publisher(Box<PublisherHistory>),
    Subscriber(Box<SubscriberHistory>),
    /// A watch of targets, and how often it began.
    Targets(u64),
    Events,
    Actor,
}

/// Those who use the servers, and what they have seen.
pub(crate) struct Load {
    /// The livestream that is published comes first.
    pub(crate) livestreams: Vec<u64>,
    pub(crate) members: Members,
    /// Who stays throughout, and the sessions.
    pub(crate) stay: BTreeMap<u64, u64>,
    pub(crate) folds: BTreeMap<u64, SharedFold>,
    pub(crate) rosters: Vec<(u64, SharedRoster)>,
    pub(crate) published: Published,
    received: BTreeMap<u64, Received>,
    actors: u64,
    tasks: JoinSet<Ended>,
    stop: watch::Sender<bool>,
}

/// What came of it all.
pub(crate) struct Outcome {
    pub(crate) publisher: PublisherHistory,
    pub(crate) subscribers: Vec<SubscriberHistory>,
    /// How often watches of targets began.
    pub(crate) target_watches: u64,
    pub(crate) resets: u64,
}

impl Load {
    pub(crate) async fn start(cluster: &Cluster, size: LoadSize, seed: u64) -> Self {
        let access = cluster.access();
        let client = access.client(0).await;
        let livestreams = vec![LIVESTREAM, 11, 12, 13];
        let each = access.each().await;
        for livestream in &livestreams {
            go_live(&client, *livestream, BROADCASTER).await;
            shown(&each, *livestream).await;
        }
        let mut load = Self {
            livestreams,
            members: Members::default(),
            stay: BTreeMap::new(),
            folds: BTreeMap::new(),
            rosters: Vec::new(),
            published: Published::default(),
            received: BTreeMap::new(),
            actors: size.actors,
            tasks: JoinSet::new(),
            stop: watch::Sender::new(false),
        };
        load.watch_events(&access).await;
        let publishing = publish(client, LIVESTREAM, BROADCASTER, load.published.clone(), load.stop.subscribe());
        load.tasks.spawn(async move { Ended::Publisher(Box::new(publishing.await)) });
        for number in 0..size.subscribers {
            load.subscribe(&access, number).await;
        }
        for number in 0..size.target_watchers {
            load.watch_targets(&access, number).await;
        }
        for number in 0..size.actors {
            let nodes = (0..8).map(|node| FIRST_ACTOR + number * 100 + node);
            let acting = Acting::new(&load.members, &access, &load.livestreams, nodes, seed ^ (number + 1)).await;
            let stop = load.stop.subscribe();
            load.tasks.spawn(async move {
                acting.run(stop).await;
                Ended::Actor
            });
        }
        load.goes_on().await;
        load
    }

    async fn watch_events(&mut self, access: &Access) {
        for livestream in self.livestreams.clone() {
            for first in 0..PODS {
                let (client, roster) = (access.client(first).await, SharedRoster::default());
                self.rosters.push((livestream, roster.clone()));
                self.tasks.spawn(async move {
                    watch_events(client, livestream, roster).await;
                    Ended::Events
                });
            }
        }
    }

    async fn subscribe(&mut self, access: &Access, number: u64) {
        let node = FIRST_SUBSCRIBER + number;
        let client = access.client(usize::try_from(number).unwrap() % PODS).await;
        let (session, received) = (join(&client, node).await, Received::default());
        self.stay.insert(node, session);
        self.received.insert(node, received.clone());
        self.tasks.spawn(async move {
            Ended::Subscriber(Box::new(subscribe(client, LIVESTREAM, node, session, received).await))
        });
    }

    async fn watch_targets(&mut self, access: &Access, number: u64) {
        let node = FIRST_WATCHER + number;
        let client = access.client(usize::try_from(number).unwrap() % PODS).await;
        let (session, fold) = (join(&client, node).await, SharedFold::default());
        self.stay.insert(node, session);
        self.folds.insert(node, fold.clone());
        self.tasks.spawn(async move { Ended::Targets(watch_targets(client, LIVESTREAM, node, session, fold).await) });
    }

    /// Fails when somebody has failed.
    pub(crate) fn assert_all_go_on(&mut self) {
        if let Some(ended) = self.tasks.try_join_next() {
            drop(well(ended));
            panic!("somebody has ended too early");
        }
    }

    /// Waits until the publisher has published more, and every subscriber has it.
    pub(crate) async fn goes_on(&mut self) {
        let before = self.published.accepted();
        let mut wanted = None;
        until("updates go on", async || {
            self.assert_all_go_on();
            let now = self.published.accepted();
            if wanted.is_none() && now.iter().zip(before).all(|(now, before)| *now >= before + 10) {
                wanted = Some(now);
            }
            let wanted = wanted.ok_or_else(|| format!("published: {now:?}, before {before:?}"))?;
            let late = |received: &Received| received.numbers().iter().zip(wanted).any(|(has, wanted)| *has < wanted);
            let late = self.received.iter().filter(|(_, received)| late(received));
            let late: Vec<_> = late.map(|(node, received)| (*node, received.numbers())).collect();
            if late.is_empty() { Ok(()) } else { Err(format!("{wanted:?} did not come to {late:?}")) }
        })
        .await;
    }

    /// Ends the livestreams, and gathers what came of it all. What was published is judged.
    pub(crate) async fn finish(mut self, cluster: &Cluster) -> Outcome {
        self.stop.send(true).unwrap();
        let (mut publisher, mut subscribers, mut target_watches) = (None, Vec::new(), 0);
        let mut actors = 0;
        while publisher.is_none() || actors < self.actors {
            match well(soon("the end of who acts", self.tasks.join_next()).await.unwrap()) {
                Ended::Publisher(history) => publisher = Some(*history),
                Ended::Actor => actors += 1,
                _ => panic!("somebody has ended too early"),
            }
        }
        let client = cluster.access().client(0).await;
        for livestream_id in &self.livestreams {
            let end =
                pb::EndLivestreamRequest { livestream_id: *livestream_id, node_id: BROADCASTER, ..Default::default() };
            answered(&client, |mut client| {
                let end = end.clone();
                async move { client.livestreams.end_livestream(end).await }
            })
            .await
            .unwrap();
        }
        while let Some(ended) = soon("the end of who watches", self.tasks.join_next()).await {
            match well(ended) {
                Ended::Subscriber(history) => subscribers.push(*history),
                Ended::Targets(begun) => target_watches += begun,
                Ended::Events => {}
                Ended::Publisher(_) | Ended::Actor => panic!("they have ended before"),
            }
        }
        let resets = self.rosters.iter().map(|(_, roster)| roster.lock().unwrap().resets - 1).sum();
        Outcome { publisher: publisher.unwrap(), subscribers, target_watches, resets }
    }
}

/// What a task answers, unless it has panicked.
fn well(ended: Result<Ended, JoinError>) -> Ended {
    ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// Joins the livestream that is published.
async fn join(client: &Client, node_id: u64) -> u64 {
    let lease_ttl = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let join = pb::JoinLivestreamRequest { livestream_id: LIVESTREAM, node_id, lease_ttl, ..Default::default() };
    let joined = answered(client, |mut client| {
        let join = join.clone();
        async move { client.livestreams.join_livestream(join).await }
    });
    joined.await.unwrap().session_id
}

impl Outcome {
    /// What was published is what came, or is told to be lost. Prints the figures.
    pub(crate) fn judge(&self) {
        let histories: Vec<History> = self.subscribers.iter().map(|one| one.history.clone()).collect();
        let logs: [PublisherLog; 1] = [self.publisher.log.clone()];
        match check(&logs, &histories) {
            Ok(report) => eprintln!("{report}"),
            Err(violations) => {
                let told: Vec<_> = violations.iter().take(40).map(ToString::to_string).collect();
                let named = |one: &&SubscriberHistory| told[0].contains(&format!("subscriber {},", one.history.node()));
                for one in self.subscribers.iter().filter(named) {
                    eprintln!("{}", one.told.join("\n"));
                }
                panic!("{} violations:\n{}", violations.len(), told.join("\n"));
            }
        }
        let mut interruptions: Vec<Duration> =
            self.subscribers.iter().flat_map(|one| one.interruptions.iter().copied()).collect();
        interruptions.sort_unstable();
        let cuts: u64 = self.subscribers.iter().map(|one| one.cuts).sum();
        let p99 = interruptions.get(interruptions.len().saturating_sub(1) * 99 / 100).copied().unwrap_or_default();
        eprintln!(
            "subscribers: {cuts} cuts, from a cut to the next update p99 {p99:?}, longest {:?}; publisher: {} cuts, longest \
             without an acknowledgement {:?}; {} watches of targets begun, {} resets of events",
            interruptions.last().copied().unwrap_or_default(),
            self.publisher.cuts,
            self.publisher.interruption,
            self.target_watches,
            self.resets,
        );
    }

    /// How many gaps were told.
    pub(crate) fn gaps(&self) -> u64 {
        self.subscribers.iter().map(|one| one.history.totals().all_gaps()).sum()
    }
}
