//! Requests as bytes, from anywhere: how the edge takes them, for the fuzz targets.

mod limits;
mod methods;

pub use limits::beyond_limits;
pub use methods::METHODS;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use futures_util::stream;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::{Body as _, Frame};
use prost::Message;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tonic_types::StatusExt;
use tower::{Layer, Service as _};

use super::Edge;
use super::call::CallLayer;
use super::call_counts::CallCounts;
use super::fields;
use super::page_token::{self, List, PageToken};
use super::server::{self, DESCRIPTORS};
use super::set_position;
use super::settled;
use crate::pb::swarm::v1 as pb;
use starling_core::id::{Epoch, SwarmKind};

/// Messages of an answer that are read, of those that are ready.
const MESSAGES_READ: usize = 16;
/// How often an answer is asked for that waits.
const POLLS: usize = 4;
/// The largest list of headers, in bytes; that of the default configuration.
const HEADERS: u32 = 16 * 1024;

/// Made once: reading the descriptors takes longer than all calls of a run.
static COUNTS: LazyLock<Arc<CallCounts>> = LazyLock::new(|| CallCounts::new(&DESCRIPTORS));

/// One call: its method, by its place in [`METHODS`], and the messages of its request.
#[derive(Clone, Debug)]
pub struct FuzzedCall<'a> {
    /// Place in [`METHODS`].
    pub method: usize,
    /// Messages in protobuf.
    pub messages: Vec<&'a [u8]>,
}

/// Makes calls one after the other, through all layers but the connection. What of an answer is ready is read; its
/// stream stays open until the last call was made.
///
/// # Panics
///
/// When an answer is none of gRPC, or blames the server for what a client sent, or when a request is accepted that is
/// beyond the documented limits.
pub async fn call(edge: &Edge, calls: &[FuzzedCall<'_>]) {
    let (small, large) = (edge.settings.receive_bytes, edge.settings.publish_receive_bytes);
    let layer = CallLayer::new(HEADERS, small, small.max(large), Arc::clone(&COUNTS));
    let mut service = layer.layer(server::routes(Routes::default(), edge.clone(), false));
    let mut open = Vec::new();
    for FuzzedCall { method, messages } in calls {
        let Some((path, judge)) = METHODS.get(*method) else { continue };
        messages.iter().for_each(|message| judge(edge, message));
        let frames: Vec<_> = messages.iter().map(|message| Ok::<_, Status>(Frame::data(prefixed(message)))).collect();
        let body = Body::new(http_body_util::StreamBody::new(stream::iter(frames)));
        let request = Request::post(format!("http://localhost/{path}"))
            .header(header::CONTENT_TYPE, "application/grpc")
            .header(header::TE, "trailers")
            .body(body)
            .expect("a path of the table");
        let mut answer = Box::pin(service.call(request));
        for _ in 0..POLLS {
            if let Some(answered) = (&mut answer).now_or_never() {
                let answered = answered.unwrap_or_else(|never| match never {});
                open.extend(read(path, answered));
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn prefixed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// Reads what is ready; gives back the body of an answer that goes on.
fn read(path: &str, answer: Response<Body>) -> Option<Body> {
    let (head, mut body) = answer.into_parts();
    assert_eq!(head.status, StatusCode::OK, "{path}: an answer of gRPC is 200 whatever it says");
    if head.headers.contains_key(Status::GRPC_STATUS) {
        assert_blameless(path, &head.headers);
        return None;
    }
    for _ in 0..MESSAGES_READ {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).now_or_never() {
            Some(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    assert_blameless(path, trailers);
                }
            }
            Some(Some(Err(status))) => assert_is_clients_fault(path, &status),
            Some(None) => return None,
            None => break,
        }
    }
    Some(body)
}

fn assert_blameless(path: &str, headers: &HeaderMap) {
    if let Some(status) = Status::from_header_map(headers) {
        assert_is_clients_fault(path, &status);
    }
}

/// Whatever a client sends, the server is not at fault.
fn assert_is_clients_fault(path: &str, status: &Status) {
    let undecodable = status.code() == Code::Internal && status.message().starts_with("failed to decode Protobuf");
    // gRPC's own code for a request that is several messages.
    let several = status.get_error_details().error_info().is_some_and(|info| info.reason == "REQUEST_CARDINALITY");
    let ours = [Code::Unknown, Code::Internal, Code::DataLoss, Code::Unimplemented];
    assert!(undecodable || several || !ours.contains(&status.code()), "{path}: {status:?}");
}

/// Reads places that clients were told before and give back: page tokens, positions in sets and in feeds.
///
/// # Panics
///
/// When one is accepted that the server did not hand out.
pub fn positions(bytes: &[u8]) {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(Some(token)) = PageToken::parse(text)
        && token.is_of(List::Revocations).is_ok()
    {
        assert_eq!(page_token::next_page(List::Revocations, Some(token.start())), text, "a token has one form");
    }
    let set = (Epoch::drawn(7), 16);
    for kind in [SwarmKind::Livestream, SwarmKind::Group] {
        let Ok(position) = pb::SetPosition::decode(bytes) else { break };
        let given = position.clone();
        let Ok(parsed) = set_position::parse(kind, set, Some(position)) else { continue };
        let parsed = parsed.expect("a position was given");
        for (shard, revision) in &parsed.shards {
            let partition = set_position::partition(*shard);
            let known = given.partitions.iter().find(|given| given.partition == partition);
            let known = known.expect("what is parsed was given");
            assert_eq!(set_position::token(kind, *shard, *revision), known.position);
        }
    }
    if let Ok(given) = pb::SeenRevision::decode(bytes)
        && let Ok(Some(seen)) = settled::seen(Some(given))
    {
        assert_eq!((seen.epoch.get(), seen.revision), (given.epoch, given.revision));
    }
    if let Ok(point) = pb::SubscriptionPosition::decode(bytes) {
        let (positions, gaps) = (point.positions.len(), point.open_gaps.len());
        if let Ok(Some(resume)) = fields::resume(Some(point)) {
            assert_eq!((resume.positions.len(), resume.open_gaps.len()), (positions, gaps), "nothing is left out");
        }
    }
}
