//! A server that asks for tokens, those that it knows, and swarms to act on.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::HeaderMap;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, ReflectMessage, Value};
use starling::clock::Clock;
use starling::cluster::SharedLogs;
use starling::config::{Config, IdentityMode};
use starling::grpc::authentication::{Authentication, Authenticator};
use starling::identity::{Identity, KeyKind, KeyPair, Nodes, Permission, Permissions, Right, TokenRefused};
use starling_client::pb::{group::v1 as group, livestream::v1 as livestream};
use starling_core::channel::Channel;
use starling_core::id::NodeId;
use tempfile::TempDir;

use crate::harness::{Fault, Server, soon};
use crate::net::frames::framed;
use crate::net::rules::raw::{Answer, Connection, Exchange, Head};

/// A server of mode jwt, the key whose tokens it takes, and the directory of that key.
pub(crate) async fn jwt_server(change: impl FnOnce(&mut Config)) -> (Server, KeyPair, TempDir) {
    let (signer, keys) = jwt_keys();
    let server = Server::with(|config| {
        ask_for_jwt(config, &keys);
        change(config);
    })
    .await;
    (server, signer, keys)
}

/// A key, and the directory from which servers know it.
pub(crate) fn jwt_keys() -> (KeyPair, TempDir) {
    let keys = TempDir::new().unwrap();
    let signer = KeyPair::generate(KeyKind::Ed25519).unwrap();
    std::fs::write(keys.path().join("dev.jwk"), signer.public_jwk("dev").unwrap().to_string()).unwrap();
    (signer, keys)
}

/// Mode jwt with the keys of a directory.
pub(crate) fn ask_for_jwt(config: &mut Config, keys: &TempDir) {
    config.identity.mode = IdentityMode::Jwt;
    config.identity.issuer = "us".to_owned();
    config.identity.audience = "starling".to_owned();
    config.identity.keys_dir = keys.path().to_owned();
}

/// What the wall clock of the server says until it is set: it does not go by itself.
pub(crate) const NOW: u64 = 1_790_000_000_000;

/// The rights of who runs a swarm.
pub(crate) const EVERY_RIGHT: &[Right] = &[Right::Create, Right::Join, Right::Moderate, Right::Administer];

pub(crate) const LIVESTREAMS: &str = "/starling.livestream.v1.LivestreamService/";
pub(crate) const GROUPS: &str = "/starling.group.v1.GroupService/";

/// The swarms that are there: livestream 7, on air, and group 7. Livestream 5 has ended.
pub(crate) const THERE: u64 = 7;
pub(crate) const OVER: u64 = 5;
pub(crate) const MISSING: u64 = 4_711;

/// Tokens by their names.
#[derive(Debug, Default)]
struct Tokens(Mutex<HashMap<String, Result<Arc<Identity>, TokenRefused>>>);

impl Authenticator for Tokens {
    fn authenticate(&self, token: &str, now_ms: u64) -> Result<Arc<Identity>, TokenRefused> {
        let known = self.0.lock().unwrap().get(token).cloned();
        let identity = known.unwrap_or(Err(TokenRefused::BadSignature))?;
        match identity.expires_at {
            Some(at) if at <= now_ms => Err(TokenRefused::Expired),
            _ => Ok(identity),
        }
    }

    /// Each name begins with `known` if the server is to know its token from a time before.
    fn recall(&self, token: &str, now_ms: u64) -> Option<Result<Arc<Identity>, TokenRefused>> {
        token.starts_with("known").then(|| self.authenticate(token, now_ms))
    }
}

/// What an identity may do with the swarms of these ids, of both kinds.
pub(crate) fn permission(ids: std::ops::RangeInclusive<u64>, rights: &[Right], channels: &[Channel]) -> Permission {
    Permission {
        livestreams: [ids.clone()].into_iter().collect(),
        groups: [ids].into_iter().collect(),
        rights: rights.iter().copied().collect(),
        channels: channels.iter().copied().collect(),
    }
}

/// A node that may do this and nothing else.
pub(crate) fn node(number: u64, permissions: Vec<Permission>) -> Identity {
    let nodes = Nodes::One(NodeId::new(number).unwrap());
    let permissions = Permissions::Some(permissions);
    Identity { nodes, back_end: None, permissions, issued_at: Some(NOW), expires_at: None }
}

/// The broadcaster and owner, node 1.
pub(crate) fn owner() -> Identity {
    node(1, vec![permission(THERE..=THERE, EVERY_RIGHT, &Channel::ALL)])
}

/// A node that may watch and write.
pub(crate) fn viewer(number: u64) -> Identity {
    node(number, vec![permission(THERE..=THERE, &[Right::Join], &[Channel::Chat])])
}

/// A server that asks for tokens, and a connection to it.
pub(crate) struct World {
    pub(crate) server: Server,
    tokens: Arc<Tokens>,
    wall: Arc<AtomicU64>,
    pub(crate) connection: Connection,
    /// Another server of the same cluster, for all but the attackers.
    home: Option<(Server, Connection)>,
}

impl World {
    /// Livestream 7 of node 1, on air, with viewers 2 and 3, of whom 3 is muted; group 7 of node 1, with 1, 2 and 3
    /// in it. The tokens `admin` (who may do everything as anybody), `owner` (node 1) and `viewer` (node 2).
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// The same with a configuration of the test's own.
    pub(crate) async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let (tokens, wall) = (Arc::<Tokens>::default(), Arc::new(AtomicU64::new(NOW)));
        let shown = Arc::clone(&wall);
        let clock = Clock::over(move || shown.load(Ordering::Relaxed));
        let authentication = Authentication::by_tokens(Arc::<Tokens>::clone(&tokens));
        let server = Server::asking(Some(authentication), clock, configure).await;
        let connection = Connection::open(server.address()).await;
        let world = Self { server, tokens, wall, connection, home: None };
        world.issue_first();
        world.fill().await;
        world
    }

    /// The same on two servers of one cluster: attackers, and `viewer`, call one of them; all others call the other.
    pub(crate) async fn on_two_pods() -> Self {
        let (tokens, wall) = (Arc::<Tokens>::default(), Arc::new(AtomicU64::new(NOW)));
        let logs = SharedLogs::new(Clock::system().wall());
        let authentication = || Some(Authentication::by_tokens(Arc::<Tokens>::clone(&tokens)));
        let home = Server::pod_asking(authentication(), &logs, |_| ()).await;
        let server = Server::pod_asking(authentication(), &logs, |_| ()).await;
        let (homes, connection) = (Connection::open(home.address()).await, Connection::open(server.address()).await);
        let world = Self { server, tokens, wall, connection, home: Some((home, homes)) };
        world.issue_first();
        for connection in [world.home(), &world.connection] {
            until_ready(connection, "admin").await;
        }
        world.fill().await;
        world
    }

    /// Where all but the attackers call.
    fn home(&self) -> &Connection {
        self.home.as_ref().map_or(&self.connection, |(_, connection)| connection)
    }

    fn issue_first(&self) {
        let world = self;
        world.issue("admin", Identity::ANYBODY);
        world.issue("owner", owner());
        world.issue("viewer", viewer(2));
    }

    async fn fill(&self) {
        let world = self;
        for livestream_id in [OVER, THERE] {
            let create = livestream::CreateLivestreamRequest { livestream_id, node_id: 1, ..Default::default() };
            world.done("admin", LIVESTREAMS, "CreateLivestream", &create).await;
        }
        let end = livestream::EndLivestreamRequest { livestream_id: OVER, node_id: 1, ..Default::default() };
        world.done("admin", LIVESTREAMS, "EndLivestream", &end).await;
        let start = livestream::StartLivestreamRequest { livestream_id: THERE, node_id: 1, ..Default::default() };
        world.done("admin", LIVESTREAMS, "StartLivestream", &start).await;
        let create = group::CreateGroupRequest { group_id: THERE, owner_node_id: 1, ..Default::default() };
        world.done("admin", GROUPS, "CreateGroup", &create).await;
        for node_id in 1..=3 {
            let lease_ttl = crate::edge::world::LONG_LEASE;
            let join =
                livestream::JoinLivestreamRequest { livestream_id: THERE, node_id, lease_ttl, ..Default::default() };
            world.done("admin", LIVESTREAMS, "JoinLivestream", &join).await;
            let join = group::JoinGroupRequest { group_id: THERE, node_id, lease_ttl, ..Default::default() };
            world.done("admin", GROUPS, "JoinGroup", &join).await;
        }
        let mute =
            livestream::MuteViewerRequest { livestream_id: THERE, node_id: 1, viewer_node_id: 3, ..Default::default() };
        world.done("admin", LIVESTREAMS, "MuteViewer", &mute).await;
    }

    /// Makes a token.
    pub(crate) fn issue(&self, token: &str, identity: Identity) {
        self.tokens.0.lock().unwrap().insert(token.to_owned(), Ok(Arc::new(identity)));
    }

    /// Makes a token that counts for nothing.
    pub(crate) fn issue_faulty(&self, token: &str, fault: TokenRefused) {
        self.tokens.0.lock().unwrap().insert(token.to_owned(), Err(fault));
    }

    /// Sets the wall clock of the server.
    pub(crate) fn set_clock(&self, now: u64) {
        self.wall.store(now, Ordering::Relaxed);
    }

    /// Begins a call with a token.
    pub(crate) async fn begin(&self, token: &str, path: &str) -> Exchange {
        let head = Head::path(path).with("authorization", format!("Bearer {token}"));
        self.connection.begin(head, false).await
    }

    /// The whole answer to a call of one message.
    pub(crate) async fn call(&self, token: &str, path: &str, request: &impl Message) -> Answer {
        call(&self.connection, token, path, request).await
    }

    /// Makes a call that must succeed.
    pub(crate) async fn done(&self, token: &str, service: &str, method: &str, request: &impl Message) -> Bytes {
        let connection = if token == "viewer" { &self.connection } else { self.home() };
        self.done_by(connection, token, service, method, request).await
    }

    async fn done_by(
        &self,
        connection: &Connection,
        token: &str,
        service: &str,
        method: &str,
        request: &impl Message,
    ) -> Bytes {
        let answer = call(connection, token, &format!("{service}{method}"), request).await;
        assert_eq!(answer.status(), "0", "{method}: {:?}", answer.last());
        answer.messages.into_iter().next().unwrap()
    }

    /// Makes a call that must be refused.
    pub(crate) async fn refused(&self, token: &str, service: &str, method: &str, request: &impl Message) -> Fault {
        let answer = self.call(token, &format!("{service}{method}"), request).await;
        assert_ne!(answer.status(), "0", "{method} must be refused");
        answer.fault()
    }

    /// Everything that can be seen of the swarms, on each server; the time on air excepted, which goes on by itself.
    pub(crate) async fn seen(&self) -> Vec<Bytes> {
        let mut seen = self.seen_by(self.home()).await;
        if self.home.is_some() {
            seen.extend(self.seen_by(&self.connection).await);
        }
        seen
    }

    async fn seen_by(&self, connection: &Connection) -> Vec<Bytes> {
        let livestream_id = THERE;
        let group_id = THERE;
        let view = starling_client::pb::swarm::v1::MemberView::Full.into();
        let mut seen = Vec::new();
        for set in [livestream::ListLivestreamsRequest::default()] {
            seen.push(self.done_by(connection, "admin", LIVESTREAMS, "ListLivestreams", &set).await);
        }
        seen.push(self.done_by(connection, "admin", GROUPS, "ListGroups", &group::ListGroupsRequest::default()).await);
        let viewers = livestream::ListViewersRequest { livestream_id, view, ..Default::default() };
        seen.push(self.done_by(connection, "admin", LIVESTREAMS, "ListViewers", &viewers).await);
        let muted = livestream::ListMutedNodesRequest { livestream_id, ..Default::default() };
        seen.push(self.done_by(connection, "admin", LIVESTREAMS, "ListMutedNodes", &muted).await);
        let participants = group::ListParticipantsRequest { group_id, view, ..Default::default() };
        seen.push(self.done_by(connection, "admin", GROUPS, "ListParticipants", &participants).await);
        let stats = self
            .done_by(
                connection,
                "admin",
                LIVESTREAMS,
                "GetStats",
                &livestream::GetStatsRequest { livestream_id, ..Default::default() },
            )
            .await;
        let mut stats = livestream::GetStatsResponse::decode(stats).unwrap();
        stats.stats.as_mut().unwrap().active_time = None;
        seen.push(stats.encode_to_vec().into());
        let stats = self
            .done_by(
                connection,
                "admin",
                GROUPS,
                "GetStats",
                &group::GetStatsRequest { group_id, ..Default::default() },
            )
            .await;
        let mut stats = group::GetStatsResponse::decode(stats).unwrap();
        stats.stats.as_mut().unwrap().active_time = None;
        seen.push(stats.encode_to_vec().into());
        seen
    }
}

/// The whole answer to a call of one message.
async fn call(connection: &Connection, token: &str, path: &str, request: &impl Message) -> Answer {
    let head = Head::path(path).with("authorization", format!("Bearer {token}"));
    let mut exchange = connection.begin(head, false).await;
    exchange.send(framed(request), true);
    exchange.answer().await
}

/// Waits until a server of a cluster knows what is not there, in a livestream of each partition.
pub(crate) async fn until_ready(connection: &Connection, token: &str) {
    let path = format!("{LIVESTREAMS}GetLivestream");
    let mut looks = tokio::time::interval(std::time::Duration::from_millis(20));
    let unavailable = (tonic::Code::Unavailable as i32).to_string();
    soon(async {
        for livestream_id in 1..=64 {
            let get = livestream::GetLivestreamRequest { livestream_id, ..Default::default() };
            while call(connection, token, &path, &get).await.status() == unavailable {
                looks.tick().await;
            }
        }
    })
    .await;
}

/// The methods of the three services, by the schema.
pub(crate) fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(starling::pb::DESCRIPTORS).unwrap();
    let services: Vec<_> = pool.services().filter(|service| service.full_name().starts_with("starling.")).collect();
    assert_eq!(services.len(), 3);
    services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

pub(crate) fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// A request of a method that has nothing wrong in it: about this swarm, by this node; others are node 2.
pub(crate) fn request(method: &MethodDescriptor, swarm: u64, node: u64) -> DynamicMessage {
    filled(DynamicMessage::new(method.input()), swarm, node)
}

fn filled(mut message: DynamicMessage, swarm: u64, node: u64) -> DynamicMessage {
    // The first of each oneof: `open`.
    let oneofs: Vec<_> = message.descriptor().oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
    let later: Vec<FieldDescriptor> = oneofs.iter().flat_map(|oneof| oneof.fields().skip(1)).collect();
    for field in message.descriptor().fields().filter(|field| !later.contains(field)) {
        let value = match (field.name(), field.kind()) {
            ("livestream_id" | "group_id", _) => Value::U64(swarm),
            ("node_id", _) => Value::U64(node),
            // Nobody: it is the acting node's then.
            ("broadcaster_node_id" | "owner_node_id", _) => continue,
            // Not given; with names a list has no pages.
            ("session_id" | "term" | "page_size" | "page_token" | "node_ids" | "source_node_ids", _) => continue,
            ("livestream_ids" | "group_ids", _) => Value::List(vec![Value::U64(swarm)]),
            (name, Kind::Uint64) if name.ends_with("_node_id") && method_of_groups(&message) => Value::U64(2),
            (name, Kind::Uint64) if name.ends_with("_node_id") && name != "source_node_id" => Value::U64(2),
            ("channel" | "channels" | "reason", Kind::Enum(_)) => listed(&field, Value::EnumNumber(1)),
            ("interest", Kind::Enum(_)) => Value::EnumNumber(2),
            ("level", Kind::Uint32) => Value::U32(1),
            ("metadata", Kind::Bytes) => Value::Bytes(Bytes::from_static(b"changed")),
            ("open" | "update" | "interests", Kind::Message(inner)) => {
                listed(&field, Value::Message(filled(DynamicMessage::new(inner), swarm, node)))
            }
            _ => continue,
        };
        message.set_field(&field, value);
    }
    message
}

fn method_of_groups(message: &DynamicMessage) -> bool {
    message.descriptor().full_name().starts_with("starling.group.")
}

fn listed(field: &FieldDescriptor, value: Value) -> Value {
    if field.is_list() { Value::List(vec![value]) } else { value }
}

/// An answer as a client sees it: all but the time of day.
pub(crate) fn picture(answer: &Answer) -> (HeaderMap, Vec<Bytes>, Option<HeaderMap>) {
    let mut headers = answer.headers.clone();
    headers.remove("date");
    (headers, answer.messages.clone(), answer.trailers.clone())
}
