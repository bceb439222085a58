//! Serving the edge: tonic's routes behind the layers that all requests pass.
//!
//! The connections are ours, for tonic's server bounds neither their number nor what
//! waits in them, and does not back off when there are no descriptors.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Request, Response};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_web::GrpcWebLayer;
use tower::util::option_layer;
use tower::{Service, ServiceBuilder};
use tower_http::classify::GrpcFailureClass;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::trace::TraceLayer;
use tracing::Span;

use super::Edge;
use super::call::CallLayer;
use super::call_counts::CallCounts;
use super::method_limits::MethodLimits;
use super::protocol::{Grpc, GrpcOfHealth};
use crate::pb;
use crate::pb::group::v1::group_service_server::{self, GroupServiceServer};
use crate::pb::livestream::v1::livestream_service_server::{self, LivestreamServiceServer};
use crate::pb::swarm::v1::server_service_server::{self, ServerServiceServer};
use crate::shutdown::Shutdown;
use crate::transport::{self, CompleteBody, ListenerSettings, Monitor, Protocol};

/// What the health service reports on: the server as a whole, and every service.
pub const SERVICES: [&str; 4] = [
    "",
    livestream_service_server::SERVICE_NAME,
    group_service_server::SERVICE_NAME,
    server_service_server::SERVICE_NAME,
];

/// Connections that the port of health has open at most; the one that came first makes room.
pub const HEALTH_CONNECTIONS: usize = 64;
/// Streams of one of them.
const HEALTH_STREAMS: u32 = 8;
/// What they may hold of each kind, in bytes: more than so many of them can.
const HEALTH_BYTES: usize = 16 * 1024 * 1024;
/// The largest question, in bytes: it holds the name of a service.
const HEALTH_MESSAGE: usize = 1_024;
/// The largest question to reflection, in bytes: it holds a name. tonic keeps the room of the largest for as long as
/// its stream lives.
const REFLECTION_MESSAGE: usize = 4 * 1_024;

/// What describes every method that is served.
pub(super) const DESCRIPTORS: [&[u8]; 4] = [
    pb::DESCRIPTORS,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// What is served, and over what.
#[derive(Clone, Copy, Debug)]
pub struct Http {
    /// HTTP/2 and its connections.
    pub transport: transport::Settings,
    /// Serve reflection.
    pub reflection: bool,
    /// Serve gRPC-Web.
    pub grpc_web: bool,
}

/// What is counted of a listener and of the calls over it.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Calls.
    pub calls: Arc<CallCounts>,
    /// Connections.
    pub connections: Arc<Monitor>,
}

impl Figures {
    /// Of a listener that serves everything.
    pub fn new() -> Self {
        Self { calls: CallCounts::new(&DESCRIPTORS), connections: Arc::default() }
    }
}

impl Default for Figures {
    fn default() -> Self {
        Self::new()
    }
}

/// Serves until `stop` begins and all connections are gone.
pub async fn serve<H: Health>(
    edge: Edge,
    http: Http,
    health: HealthServer<H>,
    figures: Figures,
    listener: TcpListener,
    before: ListenerSettings,
    stop: Shutdown,
) {
    let trace = TraceLayer::new_for_grpc().make_span_with(span).on_request(()).on_response(()).on_failure(on_failure);
    let (small, large) = (edge.settings.receive_bytes, edge.settings.publish_receive_bytes);
    let Figures { calls, connections } = figures;
    let calls = CallLayer::new(http.transport.max_header_list_bytes, small, small.max(large), calls);
    let health = health.max_decoding_message_size(small);
    let service = ServiceBuilder::new()
        .layer(trace)
        .layer(option_layer(http.grpc_web.then(cors)))
        .layer(option_layer(http.grpc_web.then(GrpcWebLayer::new)))
        .layer(calls)
        .service(routes(Routes::new(health), edge, http.reflection));
    transport::serve::<Grpc, _, _>(service, http.transport, connections, listener, before, stop).await;
}

/// Serves health alone, until it is dropped.
pub async fn serve_health<H: Health>(
    health: HealthServer<H>,
    transport: transport::Settings,
    connections: Arc<Monitor>,
    listener: TcpListener,
) {
    let transport = few_connections(transport);
    let service = health_alone::<H, GrpcOfHealth>(health, transport.max_header_list_bytes);
    // The kubelet comes directly, and without certificates.
    let before = ListenerSettings::default();
    transport::serve::<GrpcOfHealth, _, _>(service, transport, connections, listener, before, Shutdown::new()).await;
}

/// Settings of a listener beside the one for everybody: [`HEALTH_CONNECTIONS`], of which the one that came first makes
/// room for the next, whatever it does. Calls there are short: none keeps a connection from making room, so that the
/// server can always be asked.
pub(crate) const fn few_connections(transport: transport::Settings) -> transport::Settings {
    transport::Settings {
        max_connections: HEALTH_CONNECTIONS,
        max_connections_per_address: 0,
        handshakes_per_address: 0,
        max_concurrent_streams: HEALTH_STREAMS,
        memory: transport::MemorySettings {
            receiving: HEALTH_BYTES,
            receiving_connection: HEALTH_BYTES,
            sending: HEALTH_BYTES,
            sending_connection: HEALTH_BYTES,
            streams: HEALTH_BYTES,
        },
        ..transport
    }
}

/// Answers calls of health, and no other ones.
pub(crate) fn health_alone<H: Health, P: Protocol>(
    health: HealthServer<H>,
    max_header_list_bytes: u32,
) -> impl Service<
    Request<CompleteBody<P>>,
    Response = Response<Body>,
    Error = Infallible,
    Future: Future<Output = Result<Response<Body>, Infallible>> + Send,
> + Clone
+ Send
+ 'static {
    // Counted apart and never shown: probes would hide calls.
    let counts = CallCounts::new(&[tonic_health::pb::FILE_DESCRIPTOR_SET]);
    ServiceBuilder::new()
        .layer(CallLayer::new(max_header_list_bytes, HEALTH_MESSAGE, HEALTH_MESSAGE, counts))
        .service(Routes::new(health.max_decoding_message_size(HEALTH_MESSAGE)).prepare())
}

pub(super) fn routes(routes: Routes, edge: Edge, reflection: bool) -> Routes {
    let (small, large) = (edge.settings.receive_bytes, edge.settings.publish_receive_bytes);
    let livestreams = LivestreamServiceServer::new(edge.clone());
    let groups = GroupServiceServer::new(edge.clone());
    let info = ServerServiceServer::new(edge.clone()).max_decoding_message_size(small);
    let livestreams = MethodLimits::new(
        livestreams.clone().max_decoding_message_size(large),
        livestreams.max_decoding_message_size(small),
        &edge,
    );
    let groups = MethodLimits::new(
        groups.clone().max_decoding_message_size(large),
        groups.max_decoding_message_size(small),
        &edge,
    );
    let info = MethodLimits::new(info.clone(), info, &edge);
    let routes = routes.add_service(livestreams).add_service(groups).add_service(info);
    if !reflection {
        return routes.prepare();
    }
    let descriptors = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // So that grpcurl can show the details of errors.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    // Older clients know v1alpha only.
    let v1 = descriptors().build_v1().expect("the compiled descriptors are valid");
    let v1alpha = descriptors().build_v1alpha().expect("the compiled descriptors are valid");
    let routes = routes.add_service(v1.max_decoding_message_size(REFLECTION_MESSAGE));
    routes.add_service(v1alpha.max_decoding_message_size(REFLECTION_MESSAGE)).prepare()
}

/// How long browsers may remember that they may call.
const PREFLIGHT_AGE: Duration = Duration::from_secs(2 * 3_600);

/// Browsers may call from anywhere, with any header (`*` would leave out `Authorization`),
/// and read what gRPC says in headers.
fn cors() -> CorsLayer {
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([http::Method::POST])
        .allow_headers(AllowHeaders::mirror_request())
        .max_age(PREFLIGHT_AGE)
        .expose_headers(exposed)
}

/// The longest path that is logged, in bytes: no method has a longer one.
const PATH: usize = 128;

fn span<B>(request: &Request<B>) -> Span {
    let path = request.uri().path();
    // A path may hold other characters than ASCII, and the end may fall into one.
    let path = String::from_utf8_lossy(&path.as_bytes()[..path.len().min(PATH)]);
    tracing::info_span!("rpc", path = &*path)
}

/// All of these are a client's mistakes, whatever their code says: tonic answers INTERNAL to what it cannot decode.
/// Faults of our own are logged where they are found.
fn on_failure(failure: GrpcFailureClass, latency: Duration, _: &Span) {
    match failure {
        GrpcFailureClass::Status(status) => {
            let code = tonic::Code::from(status.code_raw());
            tracing::debug!(?code, error = status.message(), ?latency, "refused");
        }
        failure => tracing::info!(error = %failure, ?latency, "an answer was cut"),
    }
}
