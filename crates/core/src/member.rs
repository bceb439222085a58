//! A member of a swarm: one session of one node.

use std::borrow::Cow;

use super::channel::{Channel, PerChannel};
use super::command::Join;
use super::hash::WordHasher;
use super::id::{MemberKey, NO_HOME, NodeId, PodId, SINGLE_POD, SessionId};
use super::interest::{Interest, Interests, MAX_OVERRIDES};
use super::invariant::{BrokenInvariant, LARGEST, ensure};
use super::request::RequestId;
pub use super::role::{Media, Role, ViewerMode};
use super::term::Term;
use super::topology::Placement;

/// The least that a session lives after the last pod with a stream of it is gone, in milliseconds: a pod that is cut
/// off serves its streams for up to 30 s more, and their clients need some time to come to another one.
pub const LEAST_AFTER_POD_GONE_MS: u32 = 40_000;

/// Liveness of a session: attached while it has a stream somewhere, else it ends at its
/// deadline.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// How long a detached session lives, in milliseconds.
    pub ttl_ms: u32,
    /// Pods on which the session has a stream, sorted.
    pub(super) pods: Vec<PodId>,
    /// When it was last detached or touched. After a pod was gone, up to [`LEAST_AFTER_POD_GONE_MS`] later.
    pub(super) since: u64,
}

impl Lease {
    /// The lease of a session that has no stream yet.
    pub const fn new(ttl_ms: u32, now: u64) -> Self {
        Self { ttl_ms, pods: Vec::new(), since: now }
    }

    /// True while the session has a stream on some pod.
    pub const fn is_attached(&self) -> bool {
        !self.pods.is_empty()
    }

    /// True while the session has a stream on `pod`.
    pub fn is_attached_to(&self, pod: PodId) -> bool {
        self.pods.binary_search(&pod).is_ok()
    }

    /// When the session ends unless it attaches or is touched; `None` while attached.
    pub fn deadline(&self) -> Option<u64> {
        (!self.is_attached()).then(|| self.since + u64::from(self.ttl_ms))
    }

    pub(super) fn attach(&mut self, pod: PodId) {
        if let Err(at) = self.pods.binary_search(&pod) {
            self.pods.insert(at, pod);
        }
    }

    pub(super) fn detach(&mut self, pod: PodId, now: u64) {
        if let Ok(at) = self.pods.binary_search(&pod) {
            self.pods.remove(at);
            self.touch(now);
        }
        if self.pods.is_empty() {
            self.pods = Vec::new();
        }
    }

    /// The streams on a pod went with it at a time that has passed.
    pub(super) fn detach_gone(&mut self, pod: PodId, gone_at: u64) {
        self.detach(pod, gone_at);
        if !self.is_attached() {
            self.touch(gone_at + u64::from(LEAST_AFTER_POD_GONE_MS.saturating_sub(self.ttl_ms)));
        }
    }

    pub(super) const fn touch(&mut self, now: u64) {
        if now > self.since {
            self.since = now;
        }
    }

    /// The pods on which it has a stream, without that of a single process, which is never gone while others stay.
    pub(super) fn indexed_pods(&self) -> &[PodId] {
        match self.pods.split_first() {
            Some((&SINGLE_POD, rest)) => rest,
            _ => &self.pods,
        }
    }
}

/// One session of one node.
#[derive(Clone, Debug, Hash)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Which join of it.
    pub session: SessionId,
    /// When this session began, in milliseconds since the Unix epoch.
    pub joined_at: u64,
    /// The revision at which the node took its place; kept when it joins again.
    pub place: u64,
    /// What it is in the swarm.
    pub role: Role,
    /// Its liveness.
    pub lease: Lease,
    /// What it wants.
    pub interests: Interests,
    /// Where peers reach it, in its own words; at most 256 bytes.
    pub endpoint: Box<[u8]>,
    /// Opaque; at most 256 bytes.
    pub metadata: Box<[u8]>,
    /// The request that made this session, and its revision.
    pub(super) join_request: Option<Box<(RequestId, u64)>>,
    /// Groups: current term per channel. Boxed: viewers have none.
    pub(super) terms: Option<Box<PerChannel<Term>>>,
}

/// How much of a member is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Without its endpoint and interests.
    Basic,
    /// Everything.
    Full,
}

/// A member as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Who.
    pub node: NodeId,
    /// Which join of it.
    pub session: SessionId,
    /// When this session began, in milliseconds since the Unix epoch.
    pub joined_at: u64,
    /// What it is.
    pub role: Role,
    /// How long it may be detached, in milliseconds.
    pub ttl_ms: u32,
    /// Whether it has a stream somewhere.
    pub attached: bool,
    /// What it wants.
    pub interests: Interests,
    /// Where peers reach it.
    pub endpoint: Box<[u8]>,
    /// Opaque.
    pub metadata: Box<[u8]>,
    /// Livestreams: where it stands; `None` for the broadcaster.
    pub placement: Option<Placement>,
    /// Livestreams: whether it may moderate.
    pub moderator: bool,
    /// Livestreams: whether it is kept from CHAT.
    pub muted: bool,
    /// Groups: whether it holds the screen share.
    pub sharing: bool,
}

impl Member {
    /// The first session of a node.
    pub(super) fn new(join: Join, role: Role, now: u64, revision: u64) -> Self {
        let mut member = Self {
            node: join.node,
            session: join.session,
            joined_at: now,
            place: revision,
            role,
            lease: Lease::new(join.ttl_ms, now),
            interests: role.default_interests(),
            endpoint: Box::default(),
            metadata: Box::default(),
            join_request: None,
            terms: None,
        };
        member.renew(join, role, now, revision);
        member
    }

    /// Begins another session; what the request does not name stays. Another role brings
    /// its default interests, where they are not those of the one before.
    pub(super) fn renew(&mut self, join: Join, role: Role, now: u64, revision: u64) {
        let defaults = role.default_interests();
        if defaults != self.role.default_interests() {
            self.interests = defaults;
        }
        self.role = role;
        self.session = join.session;
        self.joined_at = now;
        self.lease = Lease::new(join.ttl_ms, now);
        self.join_request = join.request.map(|request| Box::new((request, revision)));
        if let Some(endpoint) = join.endpoint {
            self.endpoint = endpoint;
        }
        if let Some(metadata) = join.metadata {
            self.metadata = metadata;
        }
        self.interests.set(&join.interests, now);
    }

    pub(super) fn view(&self, view: View) -> MemberView {
        let full = view == View::Full;
        MemberView {
            node: self.node,
            session: self.session,
            joined_at: self.joined_at,
            role: self.role,
            ttl_ms: self.lease.ttl_ms,
            attached: self.lease.is_attached(),
            interests: if full { self.interests.clone() } else { Interests::default() },
            endpoint: if full { self.endpoint.clone() } else { Box::default() },
            metadata: self.metadata.clone(),
            placement: None,
            moderator: false,
            muted: false,
            sharing: false,
        }
    }

    /// The pods of a cluster on which it has a stream or a term its home, in order.
    pub(super) fn pods(&self) -> Cow<'_, [PodId]> {
        let attached = self.lease.indexed_pods();
        let Some(terms) = self.terms.as_deref() else { return attached.into() };
        let homes = terms.iter().map(|(_, term)| term.home).filter(|home| *home != NO_HOME);
        let mut pods: Vec<PodId> = attached.iter().copied().chain(homes).collect();
        pods.sort_unstable();
        pods.dedup();
        pods.into()
    }

    /// A pod is gone: none of its terms has its home there any more. True when one had.
    pub(super) fn leave_home(&mut self, pod: PodId) -> bool {
        let Some(terms) = self.terms.as_deref_mut() else { return false };
        Channel::ALL.into_iter().filter(|channel| terms[*channel].leave(pod)).count() > 0
    }

    /// What it holds outside its slot of the roster, in bytes. O(1).
    pub(super) fn heap_bytes(&self) -> usize {
        let request = self.join_request.as_ref().map_or(0, |made| size_of_val(&**made) + made.0.name.len());
        let terms = self.terms.as_ref().map_or(0, |terms| size_of_val(&**terms));
        self.endpoint.len() + self.metadata.len() + self.interests.heap_bytes() + request + terms
    }

    /// A digest of the member in a slot, the same in every build. O(bytes that it holds); of overrides, O(1).
    pub(super) fn digest(&self, key: MemberKey) -> u64 {
        let Self {
            node,
            session,
            joined_at,
            place,
            role,
            lease: Lease { ttl_ms, pods, since },
            interests,
            endpoint,
            metadata,
            join_request,
            terms,
        } = self;
        let mut digest = WordHasher::new(key.index() as u64);
        [node.get(), session.get(), *joined_at, *place].into_iter().for_each(|word| digest.word(word));
        digest.word(role.number() | (u64::from(*ttl_ms) << 32));
        digest.word(*since);
        digest.word(pods.len() as u64);
        pods.iter().for_each(|pod| digest.word((*pod).into()));
        digest.word(interests.digest());
        digest.bytes(endpoint);
        digest.bytes(metadata);
        if let Some((request, revision)) = join_request.as_deref() {
            digest.bytes(request.name.as_bytes());
            digest.word(request.fingerprint);
            digest.word(*revision);
        }
        digest.word(join_request.is_some().into());
        for (_, Term { number, home }) in terms.iter().flat_map(|terms| terms.iter()) {
            digest.word(*number);
            digest.word((*home).into());
        }
        digest.finish()
    }

    /// Refuses what no command makes, at a revision and a time. O(overrides).
    pub(super) fn validate(&self, revision: u64, now: u64) -> Result<(), BrokenInvariant> {
        let latest = now + u64::from(LEAST_AFTER_POD_GONE_MS);
        ensure(self.joined_at <= now && self.lease.since <= latest, "no session is of the future")?;
        let made_at = self.join_request.as_deref().map_or(0, |(_, revision)| *revision);
        let terms = self.terms.as_deref().copied().unwrap_or_default();
        terms.iter().try_for_each(|(_, term)| term.validate(revision))?;
        let mut revisions = [self.place, made_at].into_iter();
        ensure(revisions.all(|given| given <= revision), "places and terms are revisions that were")?;
        let overrides = self.interests.overrides();
        ensure(overrides.len() <= MAX_OVERRIDES as usize, "overrides are bounded")?;
        let mut ends = overrides.iter().filter_map(|one| one.expires_at);
        ensure(ends.all(|at| at <= LARGEST), "interests fall back below 2^60")?;
        let lurks = matches!(self.role, Role::Viewer { mode: ViewerMode::Lurker, can_relay: true });
        ensure(!lurks, "a lurker does not relay")
    }

    /// True for those who only listen to a group.
    pub const fn is_listener(&self) -> bool {
        matches!(self.role, Role::Listener)
    }

    /// True for viewers, active or lurking.
    pub const fn is_viewer(&self) -> bool {
        matches!(self.role, Role::Viewer { .. })
    }

    /// The levels of all channels for sources in general.
    pub fn levels(&self) -> PerChannel<Interest> {
        self.interests.levels()
    }
}
