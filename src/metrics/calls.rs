//! Calls, by the names of go-grpc-prometheus.

use prometheus_client::registry::Unit;

use super::families::Families;
use crate::grpc::call_counts::{CallCounts, MethodCounts};

/// The codes of gRPC as its Go library names them, and so the dashboards that there are.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

fn labels(method: &MethodCounts) -> [(&'static str, &str); 3] {
    [("grpc_type", method.kind()), ("grpc_service", method.service()), ("grpc_method", method.method())]
}

/// What a stream is for, by its method; `None` for those that answer once, or are not ours.
fn stream_type(method: &MethodCounts) -> Option<&'static str> {
    Some(match (method.service().starts_with("starling."), method.method(), method.kind()) {
        (_, _, "unary") => return None,
        (true, "SubscribeUpdates", _) => "subscribe",
        (true, "PublishUpdates", _) => "publish",
        (true, "WatchTargets", _) => "watch_targets",
        (true, "WatchLivestream" | "WatchGroup", _) => "watch_events",
        (true, "WatchLivestreams" | "WatchGroups", _) => "watch_set",
        (true, ..) => "watch",
        (false, ..) => "other",
    })
}

/// All calls over the listener for everybody.
pub(super) fn calls(families: &mut Families, calls: &CallCounts) {
    let mut methods: Vec<_> = calls.methods().collect();
    methods.sort_unstable_by_key(|method| (method.service(), method.method()));
    // Before the started ones: what ends in between has begun.
    let handled: Vec<_> = methods.iter().map(|method| method.handled().map(|(_, calls)| calls).collect()).collect();
    let handled: Vec<Vec<u64>> = handled;

    let mut started = families.counter("grpc_server_started", None, "Calls that began");
    for method in &methods {
        started.put(&labels(method), method.started());
    }
    let mut ended = families.counter("grpc_server_handled", None, "Calls that have ended, by code");
    for (method, codes) in methods.iter().zip(&handled) {
        for (code, calls) in CODES.iter().zip(codes).filter(|(_, calls)| **calls > 0) {
            let [kind, service, name] = labels(method);
            ended.put(&[kind, service, name, ("grpc_code", code)], *calls);
        }
    }
    let help = "Time from the head of a unary call to its answer";
    let mut times = families.histogram("grpc_server_handling", Unit::Seconds, help);
    for method in methods.iter().filter(|method| method.kind() == "unary") {
        let (sum, buckets) = method.times();
        if buckets.iter().any(|(_, calls)| *calls > 0) {
            times.put_times(&labels(method), sum, buckets);
        }
    }
    let mut errors = families.counter("starling_errors", None, "Calls that ended with an error, by its reason");
    for (reason, calls) in calls.reasons() {
        errors.put(&[("reason", reason)], calls);
    }
    let mut open = families.gauge("starling_streams", None, "Streams that are open");
    for kind in ["subscribe", "publish", "watch_events", "watch_targets", "watch_set", "other"] {
        let streams = methods.iter().filter(|method| stream_type(method) == Some(kind));
        open.put(&[("type", kind)], streams.map(|method| method.open()).sum());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::server::Figures;

    #[test]
    fn every_stream_of_ours_has_a_type() {
        let figures = Figures::new();
        let mut types: Vec<_> = figures.calls.methods().filter_map(stream_type).collect();
        types.sort_unstable();
        types.dedup();
        assert_eq!(types, ["other", "publish", "subscribe", "watch_events", "watch_set", "watch_targets"]);
    }

    #[test]
    fn codes_have_the_names_of_go() {
        for (number, name) in (0..).zip(CODES) {
            let ours = format!("{:?}", tonic::Code::from_i32(number));
            assert_eq!(ours.to_lowercase().replace("cancelled", "canceled"), name.to_lowercase());
        }
    }
}
