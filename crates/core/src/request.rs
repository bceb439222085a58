//! Who asks, and the memory of requests: a client may repeat one whose answer it missed.

use super::counted::Queue;
use super::error::Rejection;
use super::id::{NodeId, SessionId};
use super::invariant::{BrokenInvariant, ensure};

/// How many requests a swarm remembers.
const CAPACITY: usize = 256;
/// The longest name of a request, in bytes.
const LONGEST_NAME: usize = 64;
/// How long a swarm remembers a request, in milliseconds.
const KEPT_FOR_MS: u64 = 5 * 60 * 1000;

/// A client's name for a request, and what it asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The client's name for it; at most 64 bytes.
    pub name: Box<str>,
    /// A digest of what was asked, without what the server adds.
    pub fingerprint: u64,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct By {
    /// The acting node.
    pub node: NodeId,
    /// Its session, when it says so; must be its current one then.
    pub session: Option<SessionId>,
    /// The client's name for the request, if it may repeat it.
    pub request: Option<RequestId>,
}

/// Which operation a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named like the commands")]
pub enum Method {
    Leave,
    SetInterest,
    UpdateMember,
    UpdateSwarm,
    End,
    Remove,
    Unban,
    Start,
    Pause,
    Resume,
    AddModerator,
    RemoveModerator,
    Mute,
    Unmute,
    Transfer,
    SetMedia,
    StartShare,
    StopShare,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Remembered {
    pub(super) at: u64,
    pub(super) node: NodeId,
    pub(super) method: Method,
    pub(super) id: RequestId,
    pub(super) revision: u64,
}

/// The last successful requests of a swarm: at most 256, none older than five
/// minutes, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requests(Queue<Remembered>);

impl Requests {
    /// The revision at which a request succeeded, if it is a repeat. O(256).
    ///
    /// # Errors
    ///
    /// [`Rejection::RequestReused`] when the name stands for another request.
    pub fn recall(&self, by: &By, method: Method, now: u64) -> Result<Option<u64>, Rejection> {
        let Some(request) = &by.request else { return Ok(None) };
        let mut fresh = self.0.iter().filter(|known| known.at + KEPT_FOR_MS >= now);
        match fresh.find(|r| r.node == by.node && r.method == method && r.id.name == request.name) {
            None => Ok(None),
            Some(known) if known.id.fingerprint == request.fingerprint => Ok(Some(known.revision)),
            Some(_) => Err(Rejection::RequestReused),
        }
    }

    /// What it takes at most, in bytes. O(1).
    pub fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Remembered>() + self.0.len() * LONGEST_NAME
    }

    /// All that is remembered, oldest first.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Remembered> {
        self.0.iter()
    }

    /// What remembers these, oldest first.
    pub(super) fn of(remembered: Vec<Remembered>) -> Self {
        Self(remembered.into_iter().collect())
    }

    /// Refuses what no command makes, at a revision and a time. O(256).
    pub(super) fn validate(&self, revision: u64, now: u64) -> Result<(), BrokenInvariant> {
        ensure(self.0.len() <= CAPACITY, "no more than 256 requests are remembered")?;
        ensure(self.0.iter().is_sorted_by_key(|known| known.at), "requests are remembered in their order")?;
        let mut known = self.0.iter();
        ensure(known.all(|known| known.at <= now && known.revision <= revision), "no request is of the future")
    }

    /// Remembers a success.
    pub fn remember(&mut self, node: NodeId, method: Method, id: RequestId, revision: u64, now: u64) {
        while self.0.front().is_some_and(|oldest| oldest.at + KEPT_FOR_MS < now) || self.0.len() >= CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(Remembered { at: now, node, method, id, revision });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    fn node(number: u64) -> NodeId {
        NodeId::new(number).unwrap()
    }

    fn request(number: u64, fingerprint: u64) -> RequestId {
        RequestId { name: format!("request {number}").into(), fingerprint }
    }

    fn by(number: u64, request: RequestId) -> By {
        By { node: node(number), session: None, request: Some(request) }
    }

    #[test]
    fn repeat_returns_the_original_revision() {
        let mut requests = Requests::default();
        requests.remember(node(1), Method::Mute, request(1, 9), 42, 0);
        assert_eq!(requests.recall(&by(1, request(1, 9)), Method::Mute, SECOND), Ok(Some(42)));
        assert_eq!(requests.recall(&by(1, request(2, 9)), Method::Mute, SECOND), Ok(None));
    }

    #[test]
    fn request_without_id_is_never_a_repeat() {
        let mut requests = Requests::default();
        requests.remember(node(1), Method::Mute, request(1, 9), 42, 0);
        let nameless = By { node: node(1), session: None, request: None };
        assert_eq!(requests.recall(&nameless, Method::Mute, 0), Ok(None));
    }

    #[test]
    fn request_id_is_scoped_to_node_and_method() {
        let mut requests = Requests::default();
        requests.remember(node(1), Method::Mute, request(1, 9), 42, 0);
        assert_eq!(requests.recall(&by(2, request(1, 9)), Method::Mute, 0), Ok(None));
        assert_eq!(requests.recall(&by(1, request(1, 9)), Method::Unmute, 0), Ok(None));
    }

    #[test]
    fn another_request_with_the_same_id_is_refused() {
        let mut requests = Requests::default();
        requests.remember(node(1), Method::Mute, request(1, 9), 42, 0);
        let other = requests.recall(&by(1, request(1, 8)), Method::Mute, 0);
        assert_eq!(other, Err(Rejection::RequestReused));
    }

    #[test]
    fn a_request_is_remembered_for_five_minutes() {
        let mut requests = Requests::default();
        requests.remember(node(1), Method::Start, request(1, 9), 42, 0);
        let repeat = by(1, request(1, 9));
        assert_eq!(requests.recall(&repeat, Method::Start, 300 * SECOND), Ok(Some(42)));
        assert_eq!(requests.recall(&repeat, Method::Start, 300 * SECOND + 1), Ok(None));
        // Then the name is free again.
        requests.remember(node(1), Method::Start, request(1, 8), 43, 301 * SECOND);
        assert_eq!(requests.recall(&by(1, request(1, 8)), Method::Start, 301 * SECOND), Ok(Some(43)));
    }

    #[test]
    fn only_the_last_256_requests_are_remembered() {
        let mut requests = Requests::default();
        for number in 0..1_000 {
            requests.remember(node(1), Method::Start, request(number, 9), number, number);
            assert!(requests.0.len() <= CAPACITY);
        }
        let recall = |number| requests.recall(&by(1, request(number, 9)), Method::Start, 1_000);
        assert_eq!(recall(1_000 - 257), Ok(None));
        assert_eq!(recall(1_000 - 256), Ok(Some(1_000 - 256)));
        assert_eq!(recall(999), Ok(Some(999)));
    }

    #[test]
    fn forgotten_requests_take_no_memory() {
        let mut requests = Requests::default();
        (0..100).for_each(|number| requests.remember(node(1), Method::Start, request(number, 9), number, 0));
        requests.remember(node(1), Method::Start, request(100, 9), 100, 301 * SECOND);
        assert_eq!(requests.0.len(), 1);
    }
}
