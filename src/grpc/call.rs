//! What holds for every call, whatever its method: how large its headers may be, that
//! it is gRPC, how many messages it brings, until when its client waits, and that it
//! ends with its connection.
//!
//! It stands behind gRPC-Web and CORS, so that what is said here reaches browsers too.
//! The body of updates passes it by (see [`Handover`](crate::transport::Handover)) and keeps the
//! deadline itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep_until};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::call_counts::{CallCounts, CallRecord};
use super::message_count::{Counted, Limits, Takes};
use super::status;
use super::timeout::{self, Deadline};
use super::unread::Unread;
use crate::transport::{BeyondShare, ConnectionShared, StreamRefused};

/// What is asked of all calls.
#[derive(Clone, Debug)]
pub(super) struct CallLayer {
    max_header_list_bytes: usize,
    /// The most bytes of the message that opens a stream.
    max_first_bytes: usize,
    /// The largest message of any method, in bytes.
    largest_message: usize,
    /// Knows the methods.
    counts: Arc<CallCounts>,
}

impl CallLayer {
    /// For the methods that are counted here.
    pub(super) const fn new(
        max_header_list_bytes: u32,
        max_first_bytes: usize,
        largest_message: usize,
        counts: Arc<CallCounts>,
    ) -> Self {
        Self { max_header_list_bytes: max_header_list_bytes as usize, max_first_bytes, largest_message, counts }
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = Calls<S>;

    fn layer(&self, inner: S) -> Calls<S> {
        Calls { inner, layer: self.clone() }
    }
}

/// Takes calls.
#[derive(Clone, Debug)]
pub(super) struct Calls<S> {
    inner: S,
    layer: CallLayer,
}

impl<S, B> Service<Request<B>> for Calls<S>
where
    S: Service<Request<Counted<B>>, Response = Response<tonic::body::Body>>,
{
    type Response = Response<tonic::body::Body>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let record = self.layer.counts.begin(request.uri().path());
        request.extensions_mut().insert(Arc::clone(&record));
        let mut answer = self.answer(request, &record);
        answer.record = Some(record);
        answer
    }
}

impl<S> Calls<S> {
    fn answer<B>(&mut self, mut request: Request<B>, record: &CallRecord) -> Answer<S::Future>
    where
        S: Service<Request<Counted<B>>, Response = Response<tonic::body::Body>>,
    {
        if let Some(refused) = not_grpc(&request) {
            return Answer::refused(Response::builder().status(refused));
        }
        if request.extensions().get::<BeyondShare>().is_some() {
            return Answer::failed(&status::too_many_connections());
        }
        if header_list_bytes(&request) > self.layer.max_header_list_bytes {
            return Answer::failed(&status::headers_too_large(self.layer.max_header_list_bytes));
        }
        if request.extensions().get::<StreamRefused>().is_some() {
            return Answer::failed(&status::connection_memory());
        }
        let deadline = match timeout::deadline(request.headers(), Instant::now()) {
            Ok(deadline) => deadline,
            Err(timeout::Malformed) => return Answer::failed(&status::malformed_timeout()),
        };
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        let connection = request.extensions().get::<Arc<ConnectionShared>>().cloned();
        let limit = Limit { deadline, connection: connection.clone(), over: None };
        let whole = !record.method().answers_stream();
        let takes = if record.method().takes_stream() { Takes::Stream(self.layer.max_first_bytes) } else { Takes::One };
        let limits = Limits::of(request.extensions(), self.layer.largest_message);
        let future = self.inner.call(request.map(|body| Counted::new(body, takes, limits)));
        Answer { state: Pending::Call(Box::pin(future)), limit, connection, whole, record: None }
    }
}

/// The HTTP status for what is no call of gRPC.
fn not_grpc<B>(request: &Request<B>) -> Option<StatusCode> {
    let content = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], |content| content.as_bytes());
    let is_grpc = match content.strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || rest[0] == b'+' || rest[0] == b';',
        None => false,
    };
    if !is_grpc {
        Some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
    } else if request.method() != Method::POST {
        Some(StatusCode::METHOD_NOT_ALLOWED)
    } else {
        None
    }
}

/// The size of a list of headers, by HTTP/2's definition: names, values, and 32 bytes for
/// each. O(headers).
fn header_list_bytes<B>(request: &Request<B>) -> usize {
    const EACH: usize = 32;
    let pseudo = [
        (":method", request.method().as_str().len()),
        (":scheme", request.uri().scheme_str().map_or(0, str::len)),
        (":authority", request.uri().authority().map_or(0, |authority| authority.as_str().len())),
        (":path", request.uri().path_and_query().map_or(0, |path| path.as_str().len())),
    ];
    let pseudo = pseudo.into_iter().map(|(name, value)| name.len() + value + EACH);
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + EACH);
    pseudo.chain(headers).sum()
}

/// What ends a call from outside.
struct Limit {
    deadline: Option<Deadline>,
    connection: Option<Arc<ConnectionShared>>,
    /// Made when a call is first found waiting: most never are.
    over: Option<BoxFuture<'static, Status>>,
}

impl Limit {
    const NONE: Self = Self { deadline: None, connection: None, over: None };

    /// True when nobody waits for the call any more.
    fn is_passed(&self) -> bool {
        self.deadline.is_some_and(|Deadline(at)| at <= Instant::now())
    }

    /// Ready when the call must end, with its status.
    fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let over = self.over.get_or_insert_with(|| {
            let (deadline, connection) = (self.deadline, self.connection.take());
            let passed = async move {
                match deadline {
                    Some(Deadline(at)) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let left = async move {
                match connection {
                    Some(connection) => connection.streams_must_end().await,
                    None => std::future::pending().await,
                }
            };
            async move {
                tokio::select! {
                    () = passed => status::deadline_exceeded(),
                    () = left => status::connection_age(),
                }
            }
            .boxed()
        });
        over.as_mut().poll(cx)
    }
}

/// An answer to come.
pub(super) struct Answer<F> {
    state: Pending<F>,
    limit: Limit,
    /// Counts answers that are not taken.
    connection: Option<Arc<ConnectionShared>>,
    /// The answer is one message.
    whole: bool,
    record: Option<Arc<CallRecord>>,
}

enum Pending<F> {
    Call(Pin<Box<F>>),
    Refused(Option<Box<http::response::Parts>>),
}

impl<F> Answer<F> {
    fn refused(response: http::response::Builder) -> Self {
        let (parts, ()) = response.body(()).expect("a status and some headers").into_parts();
        Self::told(parts)
    }

    fn failed(status: &Status) -> Self {
        let (parts, ()) = status.clone().into_http().into_parts();
        Self::told(parts)
    }

    fn told(parts: http::response::Parts) -> Self {
        Self {
            state: Pending::Refused(Some(Box::new(parts))),
            limit: Limit::NONE,
            connection: None,
            whole: true,
            record: None,
        }
    }
}

impl<F, E> Future for Answer<F>
where
    F: Future<Output = Result<Response<tonic::body::Body>, E>>,
{
    type Output = Result<Response<tonic::body::Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = ready!(self.poll_answer(cx));
        if let (Ok(answer), Some(record)) = (&answer, &self.record) {
            record.told(answer.headers());
        }
        Poll::Ready(answer)
    }
}

impl<F, E> Answer<F>
where
    F: Future<Output = Result<Response<tonic::body::Body>, E>>,
{
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<tonic::body::Body>, E>> {
        let this = self;
        let call = match &mut this.state {
            Pending::Refused(parts) => {
                let parts = parts.take().expect("an answer is not polled after it was given");
                return Poll::Ready(Ok(Response::from_parts(*parts, tonic::body::Body::empty())));
            }
            Pending::Call(call) => call,
        };
        if this.limit.is_passed() {
            // Nothing is begun that nobody waits for.
            return Poll::Ready(Ok(status::deadline_exceeded().into_http()));
        }
        if let Poll::Ready(answer) = call.as_mut().poll(cx) {
            let limit = std::mem::replace(&mut this.limit, Limit::NONE);
            let connection = this.connection.take();
            let record = this.record.clone();
            return Poll::Ready(answer.map(|answer| {
                if let Some(refused) = Status::from_header_map(answer.headers())
                    && refused.code() == Code::OutOfRange
                {
                    return status::refused_by_transport(refused).into_http();
                }
                let (parts, body) = answer.into_parts();
                let body = match this.whole {
                    true => Unread::whole(body, connection, cx),
                    false => Ok(Unread::stream(body, connection)),
                };
                match body {
                    Ok(body) => {
                        let bounded = CallBody { body: Some(body), limit, record };
                        Response::from_parts(parts, tonic::body::Body::new(bounded))
                    }
                    Err(status) => status.into_http(),
                }
            }));
        }
        let over = ready!(this.limit.poll_over(cx));
        Poll::Ready(Ok(over.into_http()))
    }
}

/// The body of an answer, which ends with what limits its call.
struct CallBody {
    /// `None` when all was said.
    body: Option<Unread>,
    limit: Limit,
    record: Option<Arc<CallRecord>>,
}

impl CallBody {
    fn told(&self, trailers: &HeaderMap) {
        if let Some(record) = &self.record {
            record.told(trailers);
        }
    }
}

impl Body for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        // Also where there is always something to say.
        if !this.limit.is_passed()
            && let Poll::Ready(frame) = Pin::new(body).poll_frame(cx)
        {
            if let Some(Ok(frame)) = &frame
                && let Some(trailers) = frame.trailers_ref()
            {
                this.told(trailers);
            }
            return Poll::Ready(frame);
        }
        let over = ready!(this.limit.poll_over(cx));
        // Whatever kept the stream open goes with it.
        this.body = None;
        let mut trailers = HeaderMap::new();
        // It fails for metadata that is no header; ours is.
        drop(over.add_header(&mut trailers));
        this.told(&trailers);
        Poll::Ready(Some(Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content: &str, method: Method) -> Request<()> {
        let request = Request::builder().method(method).uri("http://here/service/Method");
        request.header("content-type", content).body(()).unwrap()
    }

    #[test]
    fn non_grpc_requests_are_refused_by_http() {
        let status = |content| not_grpc(&request(content, Method::POST));
        for content in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
            assert_eq!(status(content), None, "{content}");
        }
        for content in ["application/json", "", "application/grpcx", "text/html"] {
            assert_eq!(status(content), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE), "{content}");
        }
        assert_eq!(not_grpc(&request("application/grpc", Method::GET)), Some(StatusCode::METHOD_NOT_ALLOWED));
    }

    #[test]
    fn headers_are_measured_as_http2_does() {
        let found = header_list_bytes(&request("application/grpc", Method::POST));
        let expected = [(7, 4), (7, 4), (10, 4), (5, 15), (12, 16)].map(|(name, value)| name + value + 32);
        assert_eq!(found, expected.iter().sum::<usize>());
    }

    #[test]
    fn client_streaming_methods_are_found_in_descriptors() {
        let sets = [crate::pb::DESCRIPTORS, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
        let counts = CallCounts::new(&sets);
        let streams = counts.methods().filter(|method| method.takes_stream());
        let mut streams: Vec<_> = streams.map(|method| format!("/{}/{}", method.service(), method.method())).collect();
        streams.sort_unstable();
        assert_eq!(
            streams,
            [
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                "/starling.group.v1.GroupService/PublishUpdates",
                "/starling.livestream.v1.LivestreamService/PublishUpdates",
            ]
        );
    }
}
