//! Calls that must be refused: with exactly this fault, as documented, and without a trace.

use std::fmt::Debug;

use futures_util::future::BoxFuture;
use starling_client::Client;
use tonic::Status;

use crate::edge::world::everything;
use crate::harness::{Fault, Server, soon};

const LIVESTREAM_PROTO: &str = include_str!("../../../proto/starling/livestream/v1/livestream.proto");
const GROUP_PROTO: &str = include_str!("../../../proto/starling/group/v1/group.proto");

/// A call to be made.
pub(crate) struct Call {
    /// `Livestream` or `Group`.
    pub(crate) service: Service,
    /// Its request's type, which is named for the method.
    pub(crate) request_type: &'static str,
    pub(crate) request: String,
    pub(crate) answer: BoxFuture<'static, Result<(), Status>>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    Livestreams,
    Groups,
}

impl Call {
    /// The method's name.
    pub(crate) fn rpc(&self) -> &'static str {
        self.request_type.trim_end_matches("Request")
    }
}

impl Service {
    /// What the schema says above a method.
    fn documentation(self, rpc: &str) -> String {
        let schema = match self {
            Self::Livestreams => LIVESTREAM_PROTO,
            Self::Groups => GROUP_PROTO,
        };
        let head = format!("rpc {rpc}(");
        let (before, _) = schema.split_once(&head).unwrap_or_else(|| panic!("{rpc} is in the schema"));
        let comment = before.lines().rev().skip(1).take_while(|line| line.trim_start().starts_with("//"));
        comment.collect::<Vec<_>>().into_iter().rev().map(|line| line.trim().trim_start_matches("//")).collect()
    }
}

/// Calls of one service, written as `method Request { fields }`; other fields have their defaults.
macro_rules! calls {
    ($client:expr, $service:ident; $($method:ident $Request:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        vec![$({
            #[allow(clippy::needless_update, reason = "some requests are written out in full")]
            let request = pb::$Request { $($field: $value,)* ..Default::default() };
            let mut service = calls!(@of $client, $service);
            crate::edge::refusals::Call {
                service: crate::edge::refusals::Service::$service,
                request_type: stringify!($Request),
                request: format!("{request:?}"),
                answer: Box::pin(async move { service.$method(request).await.map(drop) }),
            }
        }),*]
    };
    (@of $client:expr, Livestreams) => { $client.livestreams.clone() };
    (@of $client:expr, Groups) => { $client.groups.clone() };
}
pub(crate) use calls;

/// Swarms that no refused call may change.
pub(crate) struct Untouched {
    _server: Server,
    pub(crate) client: Client,
    before: String,
}

impl Untouched {
    /// From here on nothing may change.
    pub(crate) async fn from(server: Server) -> Self {
        let client = server.client().await;
        let before = everything(&client).await;
        Self { _server: server, client, before }
    }

    /// Makes the call and expects the fault, the same as the schema documents, and no change.
    pub(crate) async fn refuses(&self, call: Call, expected: &Fault) {
        let what = format!("{}: {}", call.rpc(), call.request);
        let documentation = call.service.documentation(call.rpc());
        let found = match soon(call.answer).await {
            Err(status) => Fault::of(&status),
            Ok(()) => panic!("must be refused with {expected:?}: {what}"),
        };
        assert_eq!(&found, expected, "{what}");
        for word in [code_name(&found), found.reason.clone()] {
            assert!(documentation.contains(&word), "{word} is documented above its method: {what}");
        }
        same(&self.before, &everything(&self.client).await, &what);
    }

    /// The same for each of these.
    pub(crate) async fn refuses_all(&self, calls: Vec<Call>, expected: &Fault) {
        for call in calls {
            self.refuses(call, expected).await;
        }
    }

    /// Each call with its own fault.
    pub(crate) async fn refuses_each(&self, calls: Vec<Call>, expected: &[Fault]) {
        assert_eq!(calls.len(), expected.len(), "each call has its fault");
        for (call, expected) in calls.into_iter().zip(expected) {
            self.refuses(call, expected).await;
        }
    }
}

/// As in the schema's comments.
fn code_name(fault: &Fault) -> String {
    let mut name = String::new();
    for letter in format!("{:?}", fault.code).chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn same(before: &str, after: &str, what: &dyn Debug) {
    if before != after {
        let changed = before.lines().zip(after.lines()).find(|(before, after)| before != after);
        panic!("a refused call changes nothing, but {changed:?} after {what:?}");
    }
}
