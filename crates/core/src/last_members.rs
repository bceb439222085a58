//! Who was in when a swarm ended, so that they may read its last updates.

use super::id::{NodeId, SessionId};
use super::interest::Interests;
use super::roster::Roster;

/// A swarm with more members than this remembers none of them: 32 bytes each, for as long
/// as the ended swarm is kept.
const MOST: usize = 16_384;

/// A member at the end of its swarm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LastMember {
    node: NodeId,
    session: SessionId,
    /// What it wanted.
    pub interests: Interests,
}

/// The members at the end of a swarm, by node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LastMembers(Box<[LastMember]>);

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
        Self(members)
    }

    /// The member of this node, if this was its session. O(log n).
    pub fn find(&self, node: NodeId, session: SessionId) -> Option<&LastMember> {
        let at = self.0.binary_search_by_key(&node, |member| member.node).ok()?;
        Some(&self.0[at]).filter(|member| member.session == session)
    }
}
