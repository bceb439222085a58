//! The pages, and who answers what.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use serde::Serialize;
use tokio::sync::Mutex;
use tonic::body::Body;
use tower::{Service, ServiceExt};

use super::{Admin, AdminProtocol};
use crate::budget::Reservation;
use crate::identity::Nodes;
use crate::metrics;
use crate::transport::{CompleteBody, ConnectionShared, StreamRefused};

type Answer = Result<Response<Body>, Infallible>;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const TOML: &str = "application/toml";

/// What is there.
const INDEX: &str = "/livez\n/readyz\n/metrics\n/config\n";

/// Answers with pages, and hands calls of gRPC on.
#[derive(Clone, Debug)]
pub(super) struct Pages<S> {
    shared: Arc<Shared>,
    health: S,
}

#[derive(Debug)]
struct Shared {
    admin: Admin,
    /// Held by whoever makes a scrape: many at once would take more than one thread.
    scraping: Mutex<()>,
}

impl<S> Pages<S> {
    pub(super) fn new(admin: Admin, health: S) -> Self {
        Self { shared: Arc::new(Shared { admin, scraping: Mutex::default() }), health }
    }
}

impl<S> Service<Request<CompleteBody<AdminProtocol>>> for Pages<S>
where
    S: Service<Request<CompleteBody<AdminProtocol>>, Response = Response<Body>, Error = Infallible> + Clone,
    S: Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<CompleteBody<AdminProtocol>>) -> Self::Future {
        let content = request.headers().get(header::CONTENT_TYPE);
        if content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc")) {
            return self.health.clone().oneshot(request).boxed();
        }
        let shared = Arc::clone(&self.shared);
        async move { Ok(shared.answer(&request).await) }.boxed()
    }
}

impl Shared {
    async fn answer(&self, request: &Request<CompleteBody<AdminProtocol>>) -> Response<Body> {
        if request.extensions().get::<StreamRefused>().is_some() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "there is no room for this request\n");
        }
        let path = request.uri().path();
        if !matches!(path, "/" | "/livez" | "/readyz" | "/metrics" | "/config") {
            return plain(StatusCode::NOT_FOUND, INDEX);
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "pages are read by GET and HEAD\n");
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if !request.body().is_end_stream() {
            return plain(StatusCode::PAYLOAD_TOO_LARGE, "no body is taken here\n");
        }
        let connection = request.extensions().get::<Arc<ConnectionShared>>();
        let may_read = || connection.and_then(|it| it.identity()).is_some_and(|identity| identity.nodes == Nodes::Any);
        if self.admin.readers_only && matches!(path, "/metrics" | "/config") && !may_read() {
            return plain(StatusCode::FORBIDDEN, "this page wants a certificate that admin.reader_sans names\n");
        }
        let readiness = self.admin.readiness.report();
        let (status, kind, text) = match path {
            "/livez" => (StatusCode::OK, TEXT, "ok\n".to_owned()),
            "/readyz" => {
                let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                (status, JSON, json(&readiness))
            }
            "/metrics" => {
                let _one = self.scraping.lock().await;
                let text = self.admin.metrics.scrape(readiness.ready).await;
                (StatusCode::OK, metrics::CONTENT_TYPE, text)
            }
            "/config" => (StatusCode::OK, TOML, self.admin.config.clone()),
            _ => (StatusCode::OK, TEXT, INDEX.to_owned()),
        };
        // Counted until it is taken, as answers to calls are.
        match connection.map(|connection| connection.accounts().sending().reserve(text.len())).transpose() {
            Ok(held) => page(status, kind, Page { rest: Some(text.into()), _held: held }),
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "pages that are not read take all the room\n"),
        }
    }
}

/// A line of JSON.
fn json(page: &impl Serialize) -> String {
    // What is shown are texts and numbers.
    serde_json::to_string(page).unwrap_or_default() + "\n"
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    page(status, TEXT, Page { rest: Some(Bytes::from_static(text.as_bytes())), _held: None })
}

fn page(status: StatusCode, kind: &'static str, page: Page) -> Response<Body> {
    let mut response = Response::new(Body::new(page));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A page that is being sent.
#[derive(Debug)]
struct Page {
    rest: Option<Bytes>,
    _held: Option<Reservation>,
}

impl HttpBody for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.rest.take().map(|rest| Ok(Frame::data(rest))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.as_ref().map_or(0, |rest| rest.len() as u64))
    }
}
