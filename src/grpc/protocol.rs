//! What the transport must know of gRPC.

use http::{Method, Request, StatusCode, header};
use tower::BoxError;

use super::body::Updates;
use super::status;
use crate::transport::{Plan, Protocol};

/// What the paths of the methods of health begin with.
const HEALTH: &str = "/grpc.health.v1.Health/";

/// gRPC, natively or as gRPC-Web.
#[derive(Debug)]
pub(super) struct Grpc;

impl Protocol for Grpc {
    type Body = Updates;

    fn plan<B>(request: &Request<B>) -> Plan {
        let content = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |content| content.as_bytes());
        if let Some((status, text)) = greeting(request, content) {
            return Plan::Answer(status, text);
        }
        let path = request.uri().path();
        Plan::Serve {
            inline: path.ends_with("/SubscribeUpdates"),
            uploads: path.contains("/PublishUpdate"),
            // gRPC-Web frames bodies its own way, so that they must pass its layer.
            handover: !content.starts_with(b"application/grpc-web"),
            // Whoever restarts what says nothing must not be kept from asking.
            beyond_share: path.starts_with(HEALTH),
        }
    }

    fn reset() -> BoxError {
        // Not CANCELLED, which tonic takes for the end of the messages.
        status::reset().into()
    }
}

/// The same on the port of health, where no call keeps the place of its connection, and none is refused for that.
#[derive(Debug)]
pub(super) struct GrpcOfHealth;

impl Protocol for GrpcOfHealth {
    type Body = Updates;

    fn plan<B>(request: &Request<B>) -> Plan {
        match Grpc::plan(request) {
            Plan::Serve { inline, handover, uploads, .. } => {
                Plan::Serve { inline, handover, uploads, beyond_share: true }
            }
            answer @ Plan::Answer(..) => answer,
        }
    }

    fn reset() -> BoxError {
        Grpc::reset()
    }
}

/// What is said to who does not speak gRPC: a browser, a scanner, a probe.
fn greeting<B>(request: &Request<B>, content: &[u8]) -> Option<(StatusCode, &'static str)> {
    const ABOUT: &str = concat!("starling ", env!("CARGO_PKG_VERSION"), ", a gRPC server\n");
    const NO_GRPC: &str = "this is a gRPC server: the content-type is application/grpc or application/grpc-web\n";
    match *request.method() {
        // CORS answers it.
        Method::OPTIONS => None,
        // A success would open a tunnel.
        Method::CONNECT => Some((StatusCode::NOT_IMPLEMENTED, "")),
        Method::GET | Method::HEAD if request.uri().path() == "/" => Some((StatusCode::OK, ABOUT)),
        _ if content.starts_with(b"application/grpc") => None,
        _ => Some((StatusCode::UNSUPPORTED_MEDIA_TYPE, NO_GRPC)),
    }
}
