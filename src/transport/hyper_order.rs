//! What [`connection`](super::connection) relies on of hyper, pinned over real HTTP/2: that a
//! stream is executed right after the call of the service for it. hyper does not promise it.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper_util::rt::TokioIo;
use hyper_util::server::conn::auto::Builder;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tower::BoxError;

use super::request_body::CompleteBody;
use super::stall::StreamProgress;
use super::{ListenerSettings, MemorySettings, Plan, Protocol, Settings, serve};
use crate::shutdown::Shutdown;

/// Requests of one connection: all are sent before the first answer is read.
const REQUESTS: usize = 64;

tokio::task_local! {
    /// The request whose call came before the stream that runs was executed.
    static EXECUTED_AFTER: Option<String>;
}

/// A request, and the one that its stream was executed after.
type Ran = (String, Option<String>);

/// Notes each call of the service, and that the next execution follows it.
#[derive(Clone, Default)]
struct Recorder {
    called: Arc<Mutex<Option<String>>>,
    /// Calls that another call followed before their stream was executed.
    skipped: Arc<Mutex<Vec<String>>>,
    ran: Arc<Mutex<Vec<Ran>>>,
}

impl Recorder {
    fn call(&self, request: &Request<Incoming>) -> impl Future<Output = Result<Response<String>, Infallible>> + use<> {
        let path = request.uri().path().to_owned();
        self.skipped.lock().extend(self.called.lock().replace(path.clone()));
        let ran = Arc::clone(&self.ran);
        async move {
            ran.lock().push((path, EXECUTED_AFTER.get()));
            Ok(Response::new("done".to_owned()))
        }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Recorder {
    fn execute(&self, stream: F) {
        spawn(EXECUTED_AFTER.scope(self.called.lock().take(), stream));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test")]
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    tokio::spawn(task);
}

/// Sends all requests in one flight, and reads the answers.
async fn send_all(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let (client, connection) = h2::client::handshake(socket).await.unwrap();
    let mut client = client.ready().await.unwrap();
    let mut answers = Vec::new();
    for number in 0..REQUESTS {
        let request = Request::builder().version(Version::HTTP_2).uri(format!("http://here/{number}"));
        let (answer, _) = client.send_request(request.body(()).unwrap(), true).unwrap();
        answers.push(answer);
    }
    spawn(async move { drop(connection.await) });
    for answer in answers {
        assert_eq!(answer.await.unwrap().status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn hyper_executes_each_stream_right_after_its_call() {
    let recorder = Recorder::default();
    let (client, server) = tokio::io::duplex(64 * 1024);
    let of_service = recorder.clone();
    let service = hyper::service::service_fn(move |request| of_service.call(&request));
    let builder = Builder::new(recorder.clone());
    spawn(async move { drop(builder.serve_connection(TokioIo::new(server), service).await) });
    send_all(client).await;
    assert_eq!(*recorder.skipped.lock(), [""; 0]);
    let ran = recorder.ran.lock();
    assert_eq!(ran.len(), REQUESTS);
    for (path, after) in &*ran {
        assert_eq!(after.as_ref(), Some(path));
    }
}

/// Every third request is polled inline.
struct Probe;

impl Protocol for Probe {
    type Body = tonic::body::Body;

    fn plan<B>(request: &Request<B>) -> Plan {
        Plan::Serve { inline: is_inline(request.uri().path()), handover: false, uploads: false, beyond_share: false }
    }

    fn reset() -> BoxError {
        "reset".into()
    }
}

fn is_inline(path: &str) -> bool {
    path[1..].parse::<usize>().unwrap().is_multiple_of(3)
}

#[tokio::test]
async fn each_stream_uses_the_progress_of_its_call() {
    let settings = Settings {
        max_connections: 1,
        max_connections_per_address: 1,
        handshakes_per_address: 0,
        max_age: Duration::ZERO,
        max_age_grace: Duration::ZERO,
        goodbye_spread: Duration::ZERO,
        stall_timeout: Duration::from_secs(60),
        receive_timeout: Duration::from_secs(60),
        max_concurrent_streams: 100,
        keepalive_interval: Duration::from_secs(60),
        keepalive_timeout: Duration::from_secs(60),
        max_local_error_reset_streams: 100,
        max_header_list_bytes: 16 * 1024,
        memory: MemorySettings::UNLIMITED,
    };
    let wrong = Arc::<Mutex<Vec<String>>>::default();
    let found = Arc::clone(&wrong);
    let service = tower::service_fn(move |request: Request<CompleteBody<Probe>>| {
        let progress = request.extensions().get::<Arc<StreamProgress>>().cloned().unwrap();
        let (path, found) = (request.uri().path().to_owned(), Arc::clone(&found));
        std::future::poll_fn(move |cx| {
            // A task of its own is what the progress wakes; a slot has a waker for the body.
            let right = if is_inline(&path) { progress.is_inline() } else { progress.is_of(cx.waker()) };
            if !right {
                found.lock().push(path.clone());
            }
            std::task::Poll::Ready(Ok::<_, Infallible>(Response::new("done".to_owned())))
        })
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = Shutdown::new();
    let before = ListenerSettings::default();
    let serving = serve::<Probe, _, _>(service, settings, Arc::default(), listener, before, stop.clone());
    let asking = async {
        send_all(TcpStream::connect(address).await.unwrap()).await;
        stop.begin();
    };
    tokio::join!(serving, asking);
    assert_eq!(*wrong.lock(), [""; 0]);
}
