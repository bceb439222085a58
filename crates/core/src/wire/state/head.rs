//! What there is once in a swarm: the parts of its state that do not grow with its members.

use std::collections::BTreeSet;

use super::chat::{put_chat, take_chat};
use super::order::{put_ascending, take_ascending};
use super::section::Lengths;
use crate::bans::Bans;
use crate::base::Base;
use crate::channel::{Channel, PerChannel};
use crate::config::{Configured, GroupConfig, LivestreamConfig};
use crate::counted::Set;
use crate::group::Group;
use crate::id::{NO_HOME, SwarmKind};
use crate::last_members::LastMembers;
use crate::livestream::{Keys, Livestream};
use crate::request::{Method, Remembered, Requests};
use crate::roster::Roster;
use crate::state::{EndReason, State};
use crate::stats::{EXACT, MAX_RANK, REGISTERS, Stats, Unique};
use crate::swarm::{Rules, Swarm};
use crate::term::Term;
use crate::topology::{RelayTree, Topology};
use crate::wire::{Fault, Reader, Tagged, Wire, WireError};

// The format of version 1: as for commands, no line here changes once it is released.

wire_enum!(Method {
    1 => Leave,
    2 => SetInterest,
    3 => UpdateMember,
    4 => UpdateSwarm,
    5 => End,
    6 => Remove,
    7 => Unban,
    8 => Start,
    9 => Pause,
    10 => Resume,
    11 => AddModerator,
    12 => RemoveModerator,
    13 => Mute,
    14 => Unmute,
    15 => Transfer,
    16 => SetMedia,
    17 => StartShare,
    18 => StopShare,
});
wire_enum!(State { 1 => Initializing, 2 => Active, 3 => Paused, 4 => Ended });
wire_enum!(EndReason { 1 => Requested, 2 => BroadcasterTimeout, 3 => Empty });
wire_enum!(Topology { 1 => Star, 2 => Tree, 3 => Mesh });

wire_struct!(Remembered: at, node, method, id, revision);
wire_struct!(Keys: named, current);
wire_struct!(Configured<LivestreamConfig>: current, first);
wire_struct!(Configured<GroupConfig>: current, first);

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        T::take(reader).map(Self::new)
    }
}

/// The home of none is not told.
impl Wire for Term {
    fn put(&self, out: &mut Vec<u8>) {
        self.number.put(out);
        if self.is_there() {
            self.home.put(out);
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut term = Self { number: u64::take(reader)?, home: NO_HOME };
        if term.is_there() {
            term.home = reader.field("Term.home")?;
        }
        Ok(term)
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok((A::take(reader)?, B::take(reader)?))
    }
}

impl<T: Wire + Copy + Default> Wire for PerChannel<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|(_, value)| value.put(out));
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut values = Self::default();
        for channel in Channel::ALL {
            values[channel] = T::take(reader)?;
        }
        Ok(values)
    }
}

impl Wire for Requests {
    fn put(&self, out: &mut Vec<u8>) {
        (self.iter().len() as u64).put(out);
        self.iter().for_each(|known| known.put(out));
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Vec::take(reader).map(Self::of)
    }
}

impl Wire for Unique {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Exact(nodes) => {
                out.push(1);
                (nodes.len() as u64).put(out);
                let mut last = 0;
                for node in nodes {
                    put_ascending(last, *node, out);
                    last = node.get();
                }
            }
            Self::Estimate(registers) => {
                out.push(2);
                out.extend_from_slice(registers);
            }
        }
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let start = reader.offset;
        match reader.byte()? {
            1 => {
                let length = reader.length()?;
                if length > EXACT {
                    return Err(reader.fault(start + 1, Fault::OutOfRange { max: EXACT as u64 }));
                }
                let (mut nodes, mut last) = (BTreeSet::new(), 0);
                for _ in 0..length {
                    let node = take_ascending(last, reader)?;
                    last = node.get();
                    nodes.insert(node);
                }
                Ok(Self::Exact(nodes))
            }
            2 => {
                let registers = reader.array::<REGISTERS>()?;
                match registers.iter().position(|rank| *rank > MAX_RANK) {
                    None => Ok(Self::Estimate(registers.into())),
                    Some(at) => Err(reader.fault(start + 1 + at, Fault::OutOfRange { max: MAX_RANK.into() })),
                }
            }
            found => Err(reader.fault(start, Fault::Tag { found })),
        }
    }
}

/// Members by interest are left out: they are counted anew.
impl Wire for Stats {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { joins, leaves, peak, interests: _, active_ms, active_since, reparentings, peer_reports, unique } =
            self;
        joins.put(out);
        leaves.iter().for_each(|count| count.put(out));
        peak.put(out);
        active_ms.put(out);
        active_since.put(out);
        reparentings.put(out);
        peer_reports.put(out);
        unique.put(out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let joins = reader.field("Stats.joins")?;
        let mut leaves = [0; _];
        for count in &mut leaves {
            *count = reader.field("Stats.leaves")?;
        }
        Ok(Self {
            joins,
            leaves,
            peak: reader.field("Stats.peak")?,
            interests: PerChannel::default(),
            active_ms: reader.field("Stats.active_ms")?,
            active_since: reader.field("Stats.active_since")?,
            reparentings: reader.field("Stats.reparentings")?,
            peer_reports: reader.field("Stats.peer_reports")?,
            unique: reader.field("Stats.unique")?,
        })
    }
}

/// Without what has sections of its own: members, bans, last members.
impl Wire for Base {
    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            epoch,
            revision,
            now,
            metadata,
            retention_ms,
            roster: _,
            bans: _,
            requests,
            stats,
            created_at,
            ended,
            last_members: _,
        } = self;
        epoch.put(out);
        revision.put(out);
        now.put(out);
        metadata.put(out);
        retention_ms.put(out);
        requests.put(out);
        stats.put(out);
        created_at.put(out);
        ended.put(out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            epoch: reader.field("Base.epoch")?,
            revision: reader.field("Base.revision")?,
            now: reader.field("Base.now")?,
            metadata: reader.field("Base.metadata")?,
            retention_ms: reader.field("Base.retention_ms")?,
            roster: Roster::default(),
            bans: Bans::default(),
            requests: reader.field("Base.requests")?,
            stats: reader.field("Base.stats")?,
            created_at: reader.field("Base.created_at")?,
            ended: reader.field("Base.ended")?,
            last_members: LastMembers::default(),
        })
    }
}

/// Without what has sections of its own: the tree, moderators, mutes; and without the CHAT, which follows.
impl Wire for Livestream {
    fn put(&self, out: &mut Vec<u8>) {
        let Self {
            state,
            config,
            named_broadcaster,
            broadcaster,
            keys,
            absent_since,
            terms,
            tree: _,
            topology,
            moderators: _,
            muted: _,
            started_at,
            chat: _,
        } = self;
        state.put(out);
        config.put(out);
        named_broadcaster.put(out);
        broadcaster.put(out);
        keys.put(out);
        absent_since.put(out);
        terms.put(out);
        topology.put(out);
        started_at.put(out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let state = reader.field("Livestream.state")?;
        let start = reader.offset;
        let config: Configured<LivestreamConfig> = reader.field("Livestream.config")?;
        let fanout = config.current().tree_fanout;
        if fanout < 2 {
            reader.what = "LivestreamConfig.tree_fanout";
            return Err(reader.fault(start, Fault::Fanout { found: fanout }));
        }
        Ok(Self {
            state,
            config,
            named_broadcaster: reader.field("Livestream.named_broadcaster")?,
            broadcaster: reader.field("Livestream.broadcaster")?,
            keys: reader.field("Livestream.keys")?,
            absent_since: reader.field("Livestream.absent_since")?,
            terms: reader.field("Livestream.terms")?,
            tree: RelayTree::new(fanout),
            topology: reader.field("Livestream.topology")?,
            moderators: Set::new(),
            muted: Set::new(),
            started_at: reader.field("Livestream.started_at")?,
            chat: None,
        })
    }
}

/// Members by role are left out: they are counted anew.
impl Wire for Group {
    fn put(&self, out: &mut Vec<u8>) {
        let Self { config, empty_ms, named_owner, owner, sharing, participants: _, listeners: _, empty_since } = self;
        config.put(out);
        empty_ms.put(out);
        named_owner.put(out);
        owner.put(out);
        sharing.put(out);
        empty_since.put(out);
    }

    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            config: reader.field("Group.config")?,
            empty_ms: reader.field("Group.empty_ms")?,
            named_owner: reader.field("Group.named_owner")?,
            owner: reader.field("Group.owner")?,
            sharing: reader.field("Group.sharing")?,
            participants: 0,
            listeners: 0,
            empty_since: reader.field("Group.empty_since")?,
        })
    }
}

/// Writes the head of a state.
pub(super) fn put_head(swarm: &Swarm, out: &mut Vec<u8>) {
    let (base, rules) = swarm.parts();
    swarm.kind().put(out);
    base.put(out);
    match rules {
        Rules::Livestream(livestream) => {
            livestream.put(out);
            put_chat(livestream.chat.as_deref(), base.now, out);
        }
        Rules::Group(group) => group.put(out),
    }
    Lengths::of(swarm).put(out);
}

/// The head of a state: what is in it, and how long each section is.
pub(super) fn take_head(reader: &mut Reader<'_>) -> Result<(Base, Rules, Lengths), WireError> {
    let kind = reader.field("kind")?;
    let base = Base::take(reader)?;
    let rules = match kind {
        SwarmKind::Livestream => {
            let mut livestream = Livestream::take(reader)?;
            livestream.chat = take_chat(base.now, reader)?;
            Rules::Livestream(livestream)
        }
        SwarmKind::Group => Rules::Group(Group::take(reader)?),
    };
    let start = reader.offset;
    let lengths = Lengths::take(reader)?;
    let has_chat = matches!(&rules, Rules::Livestream(livestream) if livestream.chat.is_some());
    if kind == SwarmKind::Group && lengths.moderators + lengths.muted > 0 || !has_chat && lengths.authors > 0 {
        return Err(reader.fault(start, Fault::OutOfRange { max: 0 }));
    }
    Ok((base, rules, lengths))
}
