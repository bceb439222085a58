//! What is counted of calls: how many began and ended, with which status and reason, and how long they took.
//!
//! The figures of each method of the descriptors are made at the start, and a call holds its own from its head
//! to its end ([`CallRecord`]): one look-up by path for a call, and none for a message. All other paths share one.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderMap;
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::status;
use crate::pb::swarm::v1::ErrorReason;

/// The codes of gRPC: 0 to 16.
const CODES: usize = 17;

/// The upper bounds of the times of calls, in microseconds; what took longer has a bucket of its own. From 5 ms on they
/// are the default ones of Prometheus's clients.
const BOUNDS: [u64; 14] =
    [250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000];

/// What calls to one method have come to.
#[derive(Debug)]
pub struct MethodCounts {
    service: String,
    method: String,
    client_streams: bool,
    server_streams: bool,
    started: AtomicU64,
    handled: [AtomicU64; CODES],
    /// By [`BOUNDS`], of unary calls.
    times: [AtomicU64; BOUNDS.len() + 1],
    /// The sum of the times, in microseconds.
    time: AtomicU64,
}

impl MethodCounts {
    fn new(service: &str, method: &str, client_streams: bool, server_streams: bool) -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            service: service.to_owned(),
            method: method.to_owned(),
            client_streams,
            server_streams,
            started: AtomicU64::new(0),
            handled: std::array::from_fn(zero),
            times: std::array::from_fn(zero),
            time: AtomicU64::new(0),
        }
    }

    /// Its service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Its name.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// True when it takes a stream of messages.
    pub(super) const fn takes_stream(&self) -> bool {
        self.client_streams
    }

    /// True when it answers with one.
    pub(super) const fn answers_stream(&self) -> bool {
        self.server_streams
    }

    /// Its type, as go-grpc-prometheus names it.
    pub const fn kind(&self) -> &'static str {
        match (self.client_streams, self.server_streams) {
            (false, false) => "unary",
            (true, false) => "client_stream",
            (false, true) => "server_stream",
            (true, true) => "bidi_stream",
        }
    }

    /// Calls that began.
    pub fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Calls that have ended, by code.
    pub fn handled(&self) -> impl Iterator<Item = (Code, u64)> {
        (0..).map(Code::from_i32).zip(&self.handled).map(|(code, calls)| (code, calls.load(Ordering::Relaxed)))
    }

    /// Calls that have not ended.
    pub fn open(&self) -> u64 {
        // The ended ones first: whoever ends in between began before.
        let handled: u64 = self.handled().map(|(_, calls)| calls).sum();
        self.started().saturating_sub(handled)
    }

    /// The times of unary calls in seconds: the sum, and how many took up to each bound, the last of which is none.
    pub fn times(&self) -> (f64, Vec<(Option<f64>, u64)>) {
        let seconds = |micros: u64| Duration::from_micros(micros).as_secs_f64();
        let bounds = BOUNDS.into_iter().map(|bound| Some(seconds(bound))).chain([None]);
        let buckets = bounds.zip(&self.times).map(|(bound, calls)| (bound, calls.load(Ordering::Relaxed)));
        (seconds(self.time.load(Ordering::Relaxed)), buckets.collect())
    }

    fn end(&self, code: Code, time: Duration) {
        self.handled[code as usize % CODES].fetch_add(1, Ordering::Relaxed);
        if !self.client_streams && !self.server_streams {
            let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
            let bucket = BOUNDS.partition_point(|bound| *bound < micros);
            self.times[bucket].fetch_add(1, Ordering::Relaxed);
            self.time.fetch_add(micros, Ordering::Relaxed);
        }
    }
}

/// What all calls to one listener have come to.
#[derive(Debug)]
pub struct CallCounts {
    /// By path.
    methods: HashMap<String, Arc<MethodCounts>>,
    unknown: Arc<MethodCounts>,
    /// By the numbers of [`ErrorReason`].
    reasons: Vec<AtomicU64>,
}

impl CallCounts {
    /// Nothing yet, for the methods of these file descriptor sets.
    ///
    /// # Panics
    ///
    /// When one of them is not a file descriptor set.
    pub(super) fn new(descriptors: &[&[u8]]) -> Arc<Self> {
        let mut methods = HashMap::new();
        for set in descriptors {
            let set = FileDescriptorSet::decode(*set).expect("the descriptors are compiled in");
            for file in &set.file {
                for service in &file.service {
                    let name = format!("{}.{}", file.package(), service.name());
                    for method in &service.method {
                        let (client, server) = (method.client_streaming(), method.server_streaming());
                        let counts = MethodCounts::new(&name, method.name(), client, server);
                        methods.insert(format!("/{name}/{}", method.name()), Arc::new(counts));
                    }
                }
            }
        }
        let unknown = Arc::new(MethodCounts::new("unknown", "unknown", false, false));
        let last = (0..1_000).rev().find(|number| ErrorReason::try_from(*number).is_ok()).unwrap_or_default();
        Arc::new(Self { methods, unknown, reasons: (0..=last).map(|_| AtomicU64::new(0)).collect() })
    }

    /// A call to a path begins.
    pub(super) fn begin(self: &Arc<Self>, path: &str) -> Arc<CallRecord> {
        let method = Arc::clone(self.methods.get(path).unwrap_or(&self.unknown));
        method.started.fetch_add(1, Ordering::Relaxed);
        Arc::new(CallRecord { all: Arc::clone(self), method, began: Instant::now(), is_over: AtomicBool::new(false) })
    }

    /// Every method, those that the server does not know as one, in no order.
    pub fn methods(&self) -> impl Iterator<Item = &MethodCounts> {
        self.methods.values().chain([&self.unknown]).map(Arc::as_ref)
    }

    /// Calls that ended with an error, by the reason in its `ErrorInfo`.
    pub fn reasons(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let known = |(number, calls): (i32, &AtomicU64)| {
            let reason = ErrorReason::try_from(number).ok().filter(|reason| *reason != ErrorReason::Unspecified)?;
            Some((status::name(reason), calls.load(Ordering::Relaxed)))
        };
        (0..).zip(&self.reasons).filter_map(known)
    }
}

/// One call, from its head to its end. One that is dropped before was given up by its client, or reset.
#[derive(Debug)]
pub(super) struct CallRecord {
    all: Arc<CallCounts>,
    method: Arc<MethodCounts>,
    began: Instant,
    is_over: AtomicBool,
}

impl CallRecord {
    /// The method that is called.
    pub(super) fn method(&self) -> &MethodCounts {
        &self.method
    }

    /// The call has come to this; what it is said to have come to later does not count.
    pub(super) fn end(&self, status: &Status) {
        if !self.count(status.code()) || status.details().is_empty() {
            return;
        }
        let details = status.get_error_details();
        let reason = details.error_info().and_then(|info| status::reason(&info.reason));
        if let Some(calls) = reason.and_then(|reason| self.all.reasons.get(reason as usize)) {
            calls.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The same for headers or trailers, if they have a status.
    pub(super) fn told(&self, headers: &HeaderMap) {
        match headers.get(Status::GRPC_STATUS).map(http::HeaderValue::as_bytes) {
            None => {}
            // Nothing has to be read of most.
            Some(b"0") => drop(self.count(Code::Ok)),
            Some(_) => {
                if let Some(status) = Status::from_header_map(headers) {
                    self.end(&status);
                }
            }
        }
    }

    /// False when it was over.
    fn count(&self, code: Code) -> bool {
        let first = !self.is_over.swap(true, Ordering::Relaxed);
        if first {
            self.method.end(code, self.began.elapsed());
        }
        first
    }
}

impl Drop for CallRecord {
    fn drop(&mut self) {
        self.count(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handled(method: &MethodCounts) -> Vec<(Code, u64)> {
        method.handled().filter(|(_, calls)| *calls > 0).collect()
    }

    fn method<'a>(counts: &'a CallCounts, name: &str) -> &'a MethodCounts {
        counts.methods().find(|method| method.method() == name).unwrap()
    }

    #[test]
    fn calls_count_once_by_their_first_status() {
        let counts = CallCounts::new(&[crate::pb::DESCRIPTORS]);
        let call = counts.begin("/starling.livestream.v1.LivestreamService/GetLivestream");
        let get = method(&counts, "GetLivestream");
        assert_eq!((get.started(), get.open(), get.kind(), handled(get)), (1, 1, "unary", Vec::new()));
        call.end(&status::draining());
        call.end(&Status::internal("later"));
        drop(call);
        assert_eq!((get.open(), handled(get)), (0, vec![(Code::Unavailable, 1)]));
        let reasons: Vec<_> = counts.reasons().filter(|(_, calls)| *calls > 0).collect();
        assert_eq!(reasons, [("DRAINING", 1)]);
        let (_, buckets) = get.times();
        assert_eq!(buckets.iter().map(|(_, calls)| calls).sum::<u64>(), 1);
        assert_eq!(buckets.last().map(|(bound, _)| *bound), Some(None));
    }

    #[test]
    fn dropped_calls_count_as_cancelled() {
        let counts = CallCounts::new(&[crate::pb::DESCRIPTORS]);
        drop(counts.begin("/starling.livestream.v1.LivestreamService/SubscribeUpdates"));
        let subscribe =
            counts.methods().find(|method| method.kind() == "server_stream" && method.started() > 0).unwrap();
        assert_eq!(handled(subscribe), [(Code::Cancelled, 1)]);
    }

    #[test]
    fn paths_outside_the_descriptors_share_a_name() {
        let counts = CallCounts::new(&[crate::pb::DESCRIPTORS]);
        for path in ["/a/b", "/starling.livestream.v1.LivestreamService/GetLivestream/", ""] {
            counts.begin(path).end(&Status::unimplemented("no"));
        }
        assert_eq!(handled(method(&counts, "unknown")), [(Code::Unimplemented, 3)]);
        assert_eq!(counts.methods().map(MethodCounts::started).sum::<u64>(), 3);
    }
}
