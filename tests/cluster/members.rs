//! Nodes that join, leave and renew at servers drawn by chance: what one server has answered, the next knows.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use starling_client::pb::livestream::v1 as pb;
use starling_client::{Client, Error};
use starling_testkit::Rng;
use tokio::sync::{RwLock, watch};
use tokio::time::interval;
use tonic_types::StatusExt;

use crate::cluster::{Access, PODS, answered};
use crate::time::soon;

/// Each member's turn comes so often, unless the answers take longer.
const TURN: Duration = Duration::from_millis(30);

/// How long a session outlives its last sign of life: longer than any fault.
const LEASE: prost_types::Duration = prost_types::Duration { seconds: 300, nanos: 0 };

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    /// Who is in, by livestream and node, and the session.
    pub(crate) members: BTreeMap<(u64, u64), u64>,
    /// Sessions that began at some time, and whether an end was acknowledged.
    pub(crate) sessions: BTreeMap<u64, (u64, bool)>,
    /// Livestreams that were made, and their epochs.
    pub(crate) livestreams: BTreeMap<u64, u64>,
    pub(crate) calls: u64,
}

/// What all members share. A turn holds the lock for reading: who holds it for writing sees nothing half done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Members {
    pub(crate) turns: Arc<RwLock<()>>,
    pub(crate) acknowledged: Arc<Mutex<Acknowledged>>,
}

/// Some nodes, of which one acts at a time.
pub(crate) struct Acting {
    members: Members,
    clients: Vec<Client>,
    livestreams: Vec<u64>,
    nodes: Vec<u64>,
    rng: Rng,
    /// Requests are named by it and a number.
    name: String,
    number: u64,
    sessions: BTreeMap<(u64, u64), u64>,
}

impl Acting {
    pub(crate) async fn new(
        members: &Members,
        access: &Access,
        livestreams: &[u64],
        nodes: impl Iterator<Item = u64>,
        seed: u64,
    ) -> Self {
        let mut clients = Vec::new();
        for first in 0..PODS {
            clients.push(access.client(first).await);
        }
        let nodes: Vec<u64> = nodes.collect();
        let name = format!("{}", nodes[0]);
        let (members, livestreams, rng) = (members.clone(), livestreams.to_vec(), Rng::new(seed));
        Self { members, clients, livestreams, nodes, rng, name, number: 0, sessions: BTreeMap::new() }
    }

    /// Acts until it is told to stop.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut turns = interval(TURN);
        while !*stop.borrow_and_update() {
            let lock = Arc::clone(&self.members.turns);
            let turn = lock.read().await;
            self.act().await;
            drop(turn);
            turns.tick().await;
        }
    }

    async fn act(&mut self) {
        let (livestream, node) = (self.rng.pick(&self.livestreams), self.rng.pick(&self.nodes));
        if self.rng.one_in(60) {
            return self.create(node).await;
        }
        match self.sessions.get(&(livestream, node)).copied() {
            None => self.join(livestream, node).await,
            Some(session) if self.rng.one_in(3) => self.leave(livestream, node, session).await,
            Some(_) if self.rng.one_in(6) => self.join(livestream, node).await,
            Some(session) => self.renewed(livestream, node, session).await,
        }
        self.members.acknowledged.lock().unwrap().calls += 1;
    }

    fn client(&mut self) -> Client {
        self.clients[self.rng.index(PODS)].clone()
    }

    fn request(&mut self) -> String {
        self.number += 1;
        format!("{}-{}", self.name, self.number)
    }

    async fn join(&mut self, livestream_id: u64, node_id: u64) {
        let (client, request_id) = (self.client(), self.request());
        let join = pb::JoinLivestreamRequest {
            livestream_id,
            node_id,
            request_id,
            lease_ttl: Some(LEASE),
            ..Default::default()
        };
        let joined = answered(&client, |mut client| {
            let join = join.clone();
            async move { client.livestreams.join_livestream(join).await }
        })
        .await
        .unwrap_or_else(|error| panic!("{join:?}: {error}"));
        let session = joined.session_id;
        let before = self.sessions.insert((livestream_id, node_id), session);
        assert_ne!(before, Some(session), "another join makes another session");
        {
            let mut acknowledged = self.members.acknowledged.lock().unwrap();
            acknowledged.members.insert((livestream_id, node_id), session);
            acknowledged.sessions.insert(session, (livestream_id, false));
            if let Some(before) = before {
                acknowledged.sessions.insert(before, (livestream_id, true));
            }
        }
        self.renewed(livestream_id, node_id, session).await;
        if let Some(before) = before {
            self.refused(livestream_id, node_id, before, "SESSION_REPLACED").await;
        }
    }

    async fn leave(&mut self, livestream_id: u64, node_id: u64, session_id: u64) {
        let (client, request_id) = (self.client(), self.request());
        let leave = pb::LeaveLivestreamRequest { livestream_id, node_id, session_id, request_id };
        answered(&client, |mut client| {
            let leave = leave.clone();
            async move { client.livestreams.leave_livestream(leave).await }
        })
        .await
        .unwrap_or_else(|error| panic!("{leave:?}: {error}"));
        self.sessions.remove(&(livestream_id, node_id));
        {
            let mut acknowledged = self.members.acknowledged.lock().unwrap();
            acknowledged.members.remove(&(livestream_id, node_id));
            acknowledged.sessions.insert(session_id, (livestream_id, true));
        }
        self.refused(livestream_id, node_id, session_id, "NOT_A_MEMBER").await;
    }

    async fn renew(&mut self, livestream_id: u64, node_id: u64, session_id: u64) -> Result<(), Error> {
        let client = self.client();
        let renew = pb::RenewLeaseRequest { livestream_id, node_id, session_id };
        answered(&client, |mut client| async move { client.livestreams.renew_lease(renew).await }).await.map(drop)
    }

    async fn renewed(&mut self, livestream_id: u64, node_id: u64, session_id: u64) {
        let renewed = self.renew(livestream_id, node_id, session_id).await;
        renewed.unwrap_or_else(|error| panic!("session {session_id} of {node_id} in {livestream_id}: {error}"));
    }

    /// A session that is over is refused everywhere, as soon as the server has read so in the log.
    async fn refused(&mut self, livestream_id: u64, node_id: u64, session_id: u64, reason: &str) {
        let client = self.client();
        let renew = pb::RenewLeaseRequest { livestream_id, node_id, session_id };
        let mut tries = interval(TURN);
        let told = soon("the refusal of a session that is over", async {
            loop {
                match answered(&client, |mut client| async move { client.livestreams.renew_lease(renew).await }).await {
                    Ok(_) => drop(tries.tick().await),
                    Err(Error::Status(status)) => break status,
                    Err(other) => panic!("{other}"),
                }
            }
        });
        let told = told.await.get_error_details().error_info().map_or_else(String::new, |info| info.reason.clone());
        assert_eq!(told, reason, "session {session_id} of {node_id} in {livestream_id}");
    }

    /// Makes a livestream, twice by one request.
    async fn create(&mut self, node_id: u64) {
        let (client, other, request_id) = (self.client(), self.client(), self.request());
        let config =
            pb::LivestreamConfig { broadcaster_timeout: Some(prost_types::Duration::default()), ..Default::default() };
        let create = pb::CreateLivestreamRequest { node_id, request_id, config: Some(config), ..Default::default() };
        let mut made = Vec::new();
        for client in [client, other] {
            let answer = answered(&client, |mut client| {
                let create = create.clone();
                async move { client.livestreams.create_livestream(create).await }
            })
            .await
            .unwrap_or_else(|error| panic!("{create:?}: {error}"));
            let found = answer.livestream.expect("an answer shows the livestream");
            made.push((found.livestream_id, found.epoch));
        }
        assert_eq!(made[0], made[1], "one request makes one livestream");
        let (livestream_id, epoch) = made[0];
        let client = self.client();
        let get = pb::GetLivestreamRequest { livestream_id };
        let found = answered(&client, |mut client| async move { client.livestreams.get_livestream(get).await }).await;
        let found = found.unwrap_or_else(|error| panic!("livestream {livestream_id}: {error}")).livestream.unwrap();
        assert_eq!(found.epoch, epoch);
        let known = self.members.acknowledged.lock().unwrap().livestreams.insert(livestream_id, epoch);
        assert_eq!(known, None, "another request makes another livestream");
    }
}
