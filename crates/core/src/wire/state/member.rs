//! One member in few bytes: what is as in most members, or as in the one before it, is not written.
//!
//! ```text
//! member    = flags role node session joined_at place part*
//! flags     = which parts follow, a bit each
//! joined_at = its distance from that of the member before; the first one's from the swarm's beginning
//! place     = its distance from that of the member before; the first one's from 0
//! ```

use super::order::{put_distance, take_distance};
use crate::channel::PerChannel;
use crate::id::NodeId;
use crate::interest::{Interest, InterestOverride, Interests};
use crate::invariant::LARGEST;
use crate::last_members::LastMember;
use crate::member::{Lease, Member};
use crate::role::{Media, Role, ViewerMode};
use crate::wire::{Fault, Reader, Wire, WireError};

/// Which parts follow; those that most members have are in the first byte.
const PODS: u64 = 1;
/// The lease began to run later than the session.
const SINCE: u64 = 1 << 1;
/// The lease is another one than that of the member before.
const TTL: u64 = 1 << 2;
const ENDPOINT: u64 = 1 << 3;
const METADATA: u64 = 1 << 4;
/// Standing levels that are not those of its role.
const STANDING: u64 = 1 << 5;
const REQUEST: u64 = 1 << 6;
const OVERRIDES: u64 = 1 << 7;
const TERMS: u64 = 1 << 8;
const ALL: u64 = (1 << 9) - 1;

const fn viewer(mode: ViewerMode, can_relay: bool) -> Role {
    Role::Viewer { mode, can_relay }
}

const fn participant(audio: bool, video: bool) -> Role {
    Role::Participant(Media { audio, video })
}

/// All roles; the byte of one is its place here, from 1.
const ROLES: [Role; 11] = [
    Role::Broadcaster { can_relay: false },
    Role::Broadcaster { can_relay: true },
    viewer(ViewerMode::Active, false),
    viewer(ViewerMode::Active, true),
    viewer(ViewerMode::Lurker, false),
    viewer(ViewerMode::Lurker, true),
    participant(false, false),
    participant(true, false),
    participant(false, true),
    participant(true, true),
    Role::Listener,
];

impl Wire for Role {
    fn put(&self, out: &mut Vec<u8>) {
        let at = (1..).zip(&ROLES).find(|(_, role)| *role == self);
        out.push(at.expect("all roles are there").0);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let start = reader.offset;
        let found = reader.byte()?;
        let role = usize::from(found).checked_sub(1).and_then(|at| ROLES.get(at)).copied();
        role.ok_or_else(|| reader.fault(start, Fault::Tag { found }))
    }
}

wire_struct!(InterestOverride: source, channel, level, expires_at);

/// In the order of their sources and channels.
fn take_overrides(what: &'static str, reader: &mut Reader<'_>) -> Result<Vec<InterestOverride>, WireError> {
    let start = reader.offset;
    let overrides: Vec<InterestOverride> = reader.field(what)?;
    reader.what = what;
    if overrides.is_sorted_by(|a, b| (a.source, a.channel) < (b.source, b.channel)) {
        Ok(overrides)
    } else {
        Err(reader.fault(start, Fault::Order))
    }
}

/// A part of a member is there although it follows from others.
fn redundant<T>(reader: &Reader<'_>, start: usize) -> Result<T, WireError> {
    Err(reader.fault(start, Fault::Redundant))
}

/// What the next member is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    joined_at: u64,
    place: u64,
    ttl_ms: u32,
}

impl Before {
    /// What the first member of a swarm that was made then is compared with.
    pub(super) const fn first(created_at: u64) -> Self {
        Self { joined_at: created_at, place: 0, ttl_ms: 0 }
    }

    const fn after(member: &Member) -> Self {
        Self { joined_at: member.joined_at, place: member.place, ttl_ms: member.lease.ttl_ms }
    }

    /// Writes the next member.
    pub(super) fn put(&mut self, member: &Member, out: &mut Vec<u8>) {
        let Member { node, session, joined_at, place, role, lease, interests, endpoint, metadata, join_request, terms } =
            member;
        let Lease { ttl_ms, pods, since } = lease;
        let (standing, overrides) = (interests.standing(), interests.overrides());
        let parts = [
            (PODS, !pods.is_empty()),
            (SINCE, since != joined_at),
            (TTL, *ttl_ms != self.ttl_ms),
            (ENDPOINT, !endpoint.is_empty()),
            (METADATA, !metadata.is_empty()),
            (STANDING, standing != role.default_interests().standing()),
            (REQUEST, join_request.is_some()),
            (OVERRIDES, !overrides.is_empty()),
            (TERMS, terms.is_some()),
        ];
        let flags = parts.into_iter().filter(|(_, there)| *there).fold(0, |flags, (part, _)| flags | part);
        flags.put(out);
        role.put(out);
        node.put(out);
        session.put(out);
        put_distance(self.joined_at, *joined_at, out);
        put_distance(self.place, *place, out);
        if flags & PODS != 0 {
            pods.put(out);
        }
        if flags & SINCE != 0 {
            since.wrapping_sub(*joined_at).put(out);
        }
        if flags & TTL != 0 {
            ttl_ms.put(out);
        }
        if flags & ENDPOINT != 0 {
            endpoint.put(out);
        }
        if flags & METADATA != 0 {
            metadata.put(out);
        }
        if flags & STANDING != 0 {
            standing.put(out);
        }
        if let Some(request) = join_request {
            request.put(out);
        }
        if flags & OVERRIDES != 0 {
            (overrides.len() as u64).put(out);
            overrides.iter().for_each(|one| one.put(out));
        }
        if let Some(terms) = terms {
            terms.put(out);
        }
        *self = Self::after(member);
    }

    /// The next member.
    pub(super) fn take(&mut self, reader: &mut Reader<'_>) -> Result<Member, WireError> {
        reader.what = "Member.flags";
        let start = reader.offset;
        let flags = u64::take(reader)?;
        if flags > ALL {
            return Err(reader.fault(start, Fault::OutOfRange { max: ALL }));
        }
        let role: Role = reader.field("Member.role")?;
        let node = reader.field("Member.node")?;
        let session = reader.field("Member.session")?;
        reader.what = "Member.joined_at";
        let joined_at = take_distance(self.joined_at, reader)?;
        reader.what = "Member.place";
        let place = take_distance(self.place, reader)?;
        let lease = self.take_lease(flags, joined_at, reader)?;
        let mut member = Member {
            node,
            session,
            joined_at,
            place,
            role,
            lease,
            interests: Interests::default(),
            endpoint: take_bytes(flags & ENDPOINT != 0, "Member.endpoint", reader)?,
            metadata: take_bytes(flags & METADATA != 0, "Member.metadata", reader)?,
            join_request: None,
            terms: None,
        };
        let mut standing = role.default_interests().standing();
        if flags & STANDING != 0 {
            let (start, usual) = (reader.offset, standing);
            standing = reader.field("Member.standing")?;
            if standing == usual {
                return redundant(reader, start);
            }
        }
        if flags & REQUEST != 0 {
            member.join_request = Some(reader.field("Member.join_request")?);
        }
        let mut overrides = Vec::new();
        if flags & OVERRIDES != 0 {
            let start = reader.offset;
            overrides = take_overrides("Member.overrides", reader)?;
            if overrides.is_empty() {
                return redundant(reader, start);
            }
        }
        member.interests = Interests::of(standing, overrides);
        if flags & TERMS != 0 {
            member.terms = Some(reader.field("Member.terms")?);
        }
        *self = Self::after(&member);
        Ok(member)
    }

    fn take_lease(self, flags: u64, joined_at: u64, reader: &mut Reader<'_>) -> Result<Lease, WireError> {
        let mut lease = Lease::new(self.ttl_ms, joined_at);
        if flags & PODS != 0 {
            reader.what = "Lease.pods";
            let start = reader.offset;
            lease.pods = Vec::take(reader)?;
            if lease.pods.is_empty() {
                return redundant(reader, start);
            }
            if !lease.pods.is_sorted_by(|a, b| a < b) {
                return Err(reader.fault(start, Fault::Order));
            }
        }
        if flags & SINCE != 0 {
            let start = reader.offset;
            let later: u64 = reader.field("Lease.since")?;
            if later == 0 {
                return redundant(reader, start);
            }
            lease.since = joined_at.wrapping_add(later);
        }
        if lease.since > LARGEST {
            // Its end is looked at before the swarm is judged.
            reader.what = "Lease.since";
            return Err(reader.fault(reader.offset, Fault::OutOfRange { max: LARGEST }));
        }
        if flags & TTL != 0 {
            let start = reader.offset;
            lease.ttl_ms = reader.field("Lease.ttl_ms")?;
            if lease.ttl_ms == self.ttl_ms {
                return redundant(reader, start);
            }
        }
        Ok(lease)
    }
}

fn take_bytes(are_there: bool, what: &'static str, reader: &mut Reader<'_>) -> Result<Box<[u8]>, WireError> {
    if !are_there {
        return Ok(Box::default());
    }
    let start = reader.offset;
    let bytes: Box<[u8]> = reader.field(what)?;
    if bytes.is_empty() { redundant(reader, start) } else { Ok(bytes) }
}

/// Writes who was in at the end, without the node.
pub(super) fn put_last(member: &LastMember, out: &mut Vec<u8>) {
    let LastMember { node: _, session, interests } = member;
    session.put(out);
    interests.standing().put(out);
    let overrides = interests.overrides();
    (overrides.len() as u64).put(out);
    overrides.iter().for_each(|one| one.put(out));
}

/// Who was in at the end, the node excepted: what it was, and what it wanted.
pub(super) fn take_last(node: NodeId, reader: &mut Reader<'_>) -> Result<LastMember, WireError> {
    let session = reader.field("LastMember.session")?;
    let standing: PerChannel<Interest> = reader.field("LastMember.standing")?;
    let interests = Interests::of(standing, take_overrides("LastMember.overrides", reader)?);
    Ok(LastMember { node, session, interests })
}
