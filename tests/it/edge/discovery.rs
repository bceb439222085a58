//! What a client can find out about the server: its services, by reflection, and their health.

use std::time::Duration;

use prost::Message as _;
use prost_types::FileDescriptorProto;
use starling_client::Client;
use starling_client::pb::livestream::v1 as pb;
use tonic::Code::{NotFound, Unavailable, Unimplemented};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::edge::world::{answered, go_live, join_livestream};
use crate::harness::{Fault, Server, fault, retry_delay, soon};

const LIVESTREAMS: &str = "starling.livestream.v1.LivestreamService";
const GROUPS: &str = "starling.group.v1.GroupService";
const SERVER: &str = "starling.swarm.v1.ServerService";
const HEALTH: &str = "grpc.health.v1.Health";
/// What the health protocol knows.
const WITH_HEALTH: [&str; 4] = ["", LIVESTREAMS, GROUPS, SERVER];

macro_rules! reflection {
    ($client:expr, $version:ident, $request:ident($argument:expr)) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;
        let request = ServerReflectionRequest {
            message_request: Some(MessageRequest::$request($argument)),
            ..Default::default()
        };
        let mut reflection = ServerReflectionClient::new($client.channel.clone());
        let mut answers = answered(reflection.server_reflection_info(tokio_stream::iter([request])).await);
        match soon(answers.message()).await.unwrap().expect("an answer").message_response {
            Some(MessageResponse::ListServicesResponse(list)) => {
                (list.service.into_iter().map(|service| service.name).collect(), Vec::new())
            }
            Some(MessageResponse::FileDescriptorResponse(files)) => (Vec::new(), files.file_descriptor_proto),
            other => panic!("unexpected: {other:?}"),
        }
    }};
}

/// The services listed, and the files that hold each of them.
macro_rules! services {
    ($client:expr, $version:ident) => {{
        let (mut services, _): (Vec<String>, Vec<Vec<u8>>) =
            reflection!($client, $version, ListServices(String::new()));
        services.sort();
        let mut files = Vec::new();
        for service in &services {
            let (_, found): (Vec<String>, _) = reflection!($client, $version, FileContainingSymbol(service.clone()));
            files.push(FileDescriptorProto::decode(&found[0][..]).unwrap());
        }
        (services, files)
    }};
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let server = Server::start().await;
    let client = server.client().await;
    let (v1, files) = services!(client, v1);
    assert_eq!(v1, [HEALTH, "grpc.reflection.v1.ServerReflection", GROUPS, LIVESTREAMS, SERVER]);
    let (v1alpha, _) = services!(client, v1alpha);
    assert_eq!(v1alpha, [HEALTH, "grpc.reflection.v1alpha.ServerReflection", GROUPS, LIVESTREAMS, SERVER]);

    let methods = |service: &str| {
        let file = files.iter().find(|file| file.package().starts_with(service)).unwrap();
        file.service[0].method.iter().map(|method| method.name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(methods("starling.livestream").len(), 34);
    assert_eq!(methods("starling.group").len(), 28);
    assert!(methods("starling.livestream").contains(&"SubscribeUpdates".to_owned()));
}

#[tokio::test]
async fn reflection_knows_the_details_of_errors() {
    let server = Server::start().await;
    let client = server.client().await;
    for name in ["google.rpc.ErrorInfo", "google.rpc.BadRequest", "google.rpc.RetryInfo", "starling.swarm.v1.Update"] {
        let (_, files): (Vec<String>, Vec<Vec<u8>>) = reflection!(client, v1, FileContainingSymbol(name.to_owned()));
        let (message, package) = (name.rsplit('.').next().unwrap(), name.rsplit_once('.').unwrap().0);
        let found = files
            .iter()
            .map(|file| FileDescriptorProto::decode(&file[..]).unwrap())
            .any(|file| file.package() == package && file.message_type.iter().any(|found| found.name() == message));
        assert!(found, "{name}");
    }
}

#[tokio::test]
async fn disabled_reflection_is_unimplemented() {
    let server = Server::with(|config| config.server.reflection = false).await;
    let client = server.client().await;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    let mut reflection = ServerReflectionClient::new(client.channel.clone());
    let request = tokio_stream::iter([ServerReflectionRequest::default()]);
    assert_eq!(fault(reflection.server_reflection_info(request).await).code, Unimplemented);
    go_live(&client, 7).await;
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

async fn health(client: &Client, service: &str) -> ServingStatus {
    answered(HealthClient::new(client.channel.clone()).check(about(service)).await).status()
}

async fn next(watch: &mut tonic::Streaming<HealthCheckResponse>) -> ServingStatus {
    soon(watch.message()).await.unwrap().expect("the watch goes on").status()
}

#[tokio::test]
async fn server_and_each_service_report_serving() {
    let server = Server::start().await;
    let client = server.client().await;
    for service in WITH_HEALTH {
        assert_eq!(health(&client, service).await, ServingStatus::Serving, "{service:?}");
    }
    let unknown = HealthClient::new(client.channel.clone()).check(about("starling.Nothing")).await;
    assert_eq!(fault(unknown).code, NotFound);
}

#[tokio::test]
async fn draining_server_accepts_only_leaves() {
    let server = Server::with(|config| {
        config.drain.spread = Duration::from_secs(600);
        config.drain.timeout = Duration::from_secs(601);
    })
    .await;
    let client = server.client().await;
    go_live(&client, 7).await;
    let session_id = join_livestream(&client, 7, 2).await;
    let mut watches = Vec::new();
    for service in WITH_HEALTH {
        let mut watch = answered(HealthClient::new(client.channel.clone()).watch(about(service)).await);
        assert_eq!(next(&mut watch).await, ServingStatus::Serving);
        watches.push(watch);
    }
    // A stream that is open keeps the drain going.
    let watch = pb::WatchLivestreamRequest { livestream_id: 7, ..Default::default() };
    let _open = answered(client.clone().livestreams.watch_livestream(watch).await);

    server.drain();
    for (watch, service) in watches.iter_mut().zip(WITH_HEALTH) {
        assert_eq!(next(watch).await, ServingStatus::NotServing);
        assert_eq!(health(&client, service).await, ServingStatus::NotServing);
    }
    let mut livestreams = client.livestreams.clone();
    let join = pb::JoinLivestreamRequest { livestream_id: 7, node_id: 3, ..Default::default() };
    let refused = livestreams.join_livestream(join).await.unwrap_err();
    assert_eq!(Fault::of(&refused), Fault::new(Unavailable, "DRAINING"));
    assert_eq!(retry_delay(&refused), Some(Duration::from_secs(1)));
    let subscribe = pb::SubscribeUpdatesRequest { livestream_id: 7, node_id: 2, ..Default::default() };
    assert_eq!(fault(livestreams.subscribe_updates(subscribe).await), Fault::new(Unavailable, "DRAINING"));
    let get = starling_client::pb::group::v1::GetGroupRequest { group_id: 7, ..Default::default() };
    assert_eq!(fault(client.clone().groups.get_group(get).await), Fault::new(Unavailable, "DRAINING"));
    // Also on a connection that comes now.
    let late = server.client().await;
    let get = pb::GetLivestreamRequest { livestream_id: 7, ..Default::default() };
    assert_eq!(fault(late.clone().livestreams.get_livestream(get).await), Fault::new(Unavailable, "DRAINING"));
    assert_eq!(health(&late, "").await, ServingStatus::NotServing);

    let leave = pb::LeaveLivestreamRequest { livestream_id: 7, node_id: 2, session_id, ..Default::default() };
    assert_eq!(answered(livestreams.leave_livestream(leave).await).livestream.unwrap().viewer_count, 0);
}

#[tokio::test]
async fn health_watch_does_not_delay_the_drain() {
    let server = Server::with(|config| config.drain.timeout = Duration::from_secs(3_600)).await;
    let client = server.client().await;
    let mut watch = answered(HealthClient::new(client.channel.clone()).watch(about("")).await);
    assert_eq!(next(&mut watch).await, ServingStatus::Serving);
    server.shutdown().await;
    assert_eq!(next(&mut watch).await, ServingStatus::NotServing);
    assert_eq!(watch.message().await.ok().flatten(), None);
}
