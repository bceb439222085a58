//! Who was in when a swarm ended, so that they may read its last updates.

use super::id::{NodeId, SessionId};
use super::interest::Interests;
use super::roster::Roster;

/// A swarm with more members than this remembers none of them: 32 bytes each, for as long
/// as the ended swarm is kept.
pub(super) const MOST: usize = 16_384;

/// A member at the end of its swarm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LastMember {
    pub(super) node: NodeId,
    pub(super) session: SessionId,
    /// What it wanted.
    pub interests: Interests,
}

/// The members at the end of a swarm, by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastMembers {
    members: Box<[LastMember]>,
    bytes: usize,
}

impl LastMembers {
    /// Those of a roster; none when they are too many. O(n log n).
    pub(super) fn of(roster: &Roster) -> Self {
        if roster.len() > MOST {
            return Self::default();
        }
        let member = |member: &super::member::Member| {
            let (node, session, interests) = (member.node, member.session, member.interests.clone());
            LastMember { node, session, interests }
        };
        let mut members: Box<[_]> = roster.iter().map(|(_, found)| member(found)).collect();
        members.sort_unstable_by_key(|member| member.node);
        Self::sorted(members)
    }

    /// These, which are in the order of their nodes.
    pub(super) fn sorted(members: Box<[LastMember]>) -> Self {
        let overrides: usize = members.iter().map(|member| member.interests.heap_bytes()).sum();
        let bytes = size_of_val(&*members) + overrides;
        Self { members, bytes }
    }

    /// All, in the order of their nodes.
    pub(super) const fn all(&self) -> &[LastMember] {
        &self.members
    }

    /// What it takes outside itself, in bytes. O(1).
    pub(super) const fn heap_bytes(&self) -> usize {
        self.bytes
    }

    /// The member of this node, if this was its session. O(log n).
    pub fn find(&self, node: NodeId, session: SessionId) -> Option<&LastMember> {
        let at = self.members.binary_search_by_key(&node, |member| member.node).ok()?;
        Some(&self.members[at]).filter(|member| member.session == session)
    }
}
