//! Serving the edge: tonic's server, with the knobs that it needs.

use std::future::Future;
use std::io;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream;
use http::HeaderName;
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::Server;
use tonic::transport::server::Router;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_web::GrpcWebLayer;
use tower::util::option_layer;
use tower_http::classify::GrpcFailureClass;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::trace::TraceLayer;
use tracing::Span;

use super::Edge;
use super::gate::Gate;
use crate::pb;
use crate::pb::group::v1::group_service_server::{self, GroupServiceServer};
use crate::pb::livestream::v1::livestream_service_server::{self, LivestreamServiceServer};

/// How long to wait after an accept failed: without descriptors the next would
/// fail at once, and the loop would eat a core.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(50);

/// What the health service reports on: the server as a whole, and both services.
pub const SERVICES: [&str; 3] = ["", livestream_service_server::SERVICE_NAME, group_service_server::SERVICE_NAME];

/// Settings of HTTP/2.
#[derive(Clone, Copy, Debug)]
pub struct Http {
    /// Streams that one connection may have open.
    pub max_concurrent_streams: u32,
    /// How often a silent connection is pinged.
    pub keepalive_interval: Duration,
    /// How long to wait for the answer.
    pub keepalive_timeout: Duration,
    /// Streams that we may reset for a client's errors before we close its
    /// connection (RUSTSEC-2024-0003; tonic's default is no limit).
    pub max_local_error_reset_streams: usize,
    /// The largest list of headers, in bytes.
    pub max_header_list_bytes: u32,
    /// Serve reflection.
    pub reflection: bool,
    /// Serve gRPC-Web.
    pub grpc_web: bool,
}

/// Serves until `stop` resolves and all connections are gone.
pub async fn serve<H: Health>(
    edge: Edge,
    http: Http,
    health: HealthServer<H>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    let builder = Server::builder()
        // Needed by gRPC-Web; and an idle connection that never spoke can only be
        // closed at shutdown when HTTP/1 is possible (hyperium/hyper#4170).
        .accept_http1(true)
        .max_concurrent_streams(Some(http.max_concurrent_streams))
        .http2_keepalive_interval(Some(http.keepalive_interval))
        .http2_keepalive_timeout(Some(http.keepalive_timeout))
        .http2_max_local_error_reset_streams(Some(http.max_local_error_reset_streams))
        // Clients that cancel many streams at once are not attackers.
        .http2_max_pending_accept_reset_streams(Some(http.max_local_error_reset_streams))
        .http2_max_header_list_size(Some(http.max_header_list_bytes))
        .layer(TraceLayer::new_for_grpc().make_span_with(span).on_request(()).on_response(()).on_failure(on_failure));
    let mut builder = builder
        .layer(option_layer(http.grpc_web.then(cors)))
        .layer(option_layer(http.grpc_web.then(GrpcWebLayer::new)));
    let router = with_services(builder.add_service(health), edge, http.reflection);
    router.serve_with_incoming_shutdown(accept(listener), stop).await
}

fn with_services<L>(router: Router<L>, edge: Edge, reflection: bool) -> Router<L> {
    let (small, large) = (edge.settings.receive_bytes, edge.settings.publish_receive_bytes);
    let shutdown = edge.shutdown.clone();
    let livestreams = LivestreamServiceServer::new(edge.clone());
    let groups = GroupServiceServer::new(edge);
    let livestreams = Gate::new(
        livestreams.clone().max_decoding_message_size(large),
        livestreams.max_decoding_message_size(small),
        shutdown.clone(),
    );
    let groups =
        Gate::new(groups.clone().max_decoding_message_size(large), groups.max_decoding_message_size(small), shutdown);
    let router = router.add_service(livestreams).add_service(groups);
    if !reflection {
        return router;
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
    router.add_service(v1).add_service(v1alpha)
}

/// Accepts connections for ever; a failure is told and waited for.
fn accept(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> {
    stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok((connection, _)) => {
                    // Small messages must not wait for large ones.
                    if let Err(error) = connection.set_nodelay(true) {
                        tracing::debug!(%error, "a connection closed as it came");
                    }
                    return Some((Ok(connection), listener));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_BACK_OFF).await;
                }
            }
        }
    })
}

/// Browsers may call from anywhere and read what gRPC says in headers.
fn cors() -> CorsLayer {
    let exposed = ["grpc-status", "grpc-message", "grpc-status-details-bin"].map(HeaderName::from_static);
    CorsLayer::new()
        .allow_origin(AllowOrigin::any())
        .allow_methods([http::Method::POST])
        .allow_headers(tower_http::cors::Any)
        .expose_headers(exposed)
}

fn span<B>(request: &http::Request<B>) -> Span {
    let path = request.uri().path();
    tracing::info_span!("rpc", path)
}

/// Clients' mistakes are their business; ours are errors.
fn on_failure(failure: GrpcFailureClass, latency: Duration, _: &Span) {
    let GrpcFailureClass::Status(status) = failure else {
        return tracing::debug!(%failure, ?latency, "broken off");
    };
    let code = tonic::Code::from(status.code_raw());
    if matches!(code, tonic::Code::Internal | tonic::Code::Unknown | tonic::Code::DataLoss) {
        tracing::error!(?code, message = status.message(), ?latency, "failed");
    } else {
        tracing::debug!(?code, message = status.message(), ?latency, "refused");
    }
}
