//! Reads the state of a swarm from pieces of any size.

use std::mem;

use super::chat::take_author;
use super::error::StateError;
use super::head::take_head;
use super::member::{Before, take_last};
use super::order::{take_ascending, take_distance};
use super::section::{Lengths, Section};
use super::version::StateVersion;
use crate::base::Base;
use crate::id::MemberKey;
use crate::invariant::{BrokenInvariant, ensure};
use crate::last_members::{self, LastMember, LastMembers};
use crate::role::Role;
use crate::swarm::{Rules, Swarm};
use crate::topology::RelayTree;
use crate::wire::{Fault, Reader, WireError};

/// The most bytes of one entry.
const LARGEST_ENTRY: usize = 16 << 20;

/// Reads one state.
///
/// Takes bytes from anywhere: it does not panic, keeps an unfinished entry at most beside what it has read, and
/// allocates no more than some 200 bytes for one that it was given: a member's slot for a member's fewest bytes.
#[derive(Debug, Default)]
pub struct StateDecoder {
    /// Bytes of an entry that is not complete.
    pending: Vec<u8>,
    /// Nothing is tried before there are so many: however small the pieces, an entry is read a few times at most.
    wanted: usize,
    /// Bytes that were read.
    offset: usize,
    /// What follows the head; `None` before.
    body: Option<Box<Body>>,
}

/// What the head has told, and what has followed it so far.
#[derive(Debug)]
struct Body {
    base: Base,
    rules: Rules,
    lengths: Lengths,
    section: Section,
    /// Entries of the section that are to come.
    left: u64,
    /// The node, the slot, or the message, of the last entry; 0 before the first one.
    last: u64,
    before: Before,
    /// Free slots; in ascending order once all are known, and then without those that have their place.
    free: Vec<MemberKey>,
    last_members: Vec<LastMember>,
    viewers: u64,
    relays: usize,
    tree: Vec<MemberKey>,
}

impl StateDecoder {
    /// Takes the next bytes.
    ///
    /// # Errors
    ///
    /// Where the bytes so far cannot be the beginning of a state, and why not.
    pub fn feed(mut self, bytes: &[u8]) -> Result<Self, StateError> {
        if self.pending.is_empty() {
            let read = self.read(bytes)?;
            self.keep(&bytes[read..])?;
            return Ok(self);
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= self.wanted {
            let pending = mem::take(&mut self.pending);
            let read = self.read(&pending)?;
            self.keep(&pending[read..])?;
        }
        Ok(self)
    }

    /// The swarm, when all bytes are there.
    ///
    /// # Errors
    ///
    /// Why they are no state: they end too early, or no commands make it.
    pub fn finish(mut self) -> Result<Swarm, StateError> {
        let pending = mem::take(&mut self.pending);
        let read = self.read(&pending)?;
        let mut reader = Reader::new(&pending[read..]);
        match self.step(&mut reader) {
            Err(error) => Err(self.at(error)),
            Ok(_) => self.body.expect("the head was read").finish(),
        }
    }

    /// Reads entries as far as there are whole ones, and tells how many bytes these are.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, StateError> {
        let mut read = 0;
        loop {
            let mut reader = Reader::new(&bytes[read..]);
            match self.step(&mut reader) {
                Ok(true) => {
                    read += reader.offset;
                    self.offset += reader.offset;
                }
                Ok(false) if read == bytes.len() => return Ok(read),
                Ok(false) => {
                    let fault = Fault::Trailing { count: bytes.len() - read };
                    return Err(self.at(WireError { offset: 0, what: "end", fault }));
                }
                Err(WireError { fault: Fault::Truncated | Fault::Length { .. }, .. }) => return Ok(read),
                Err(error) => return Err(self.at(error)),
            }
        }
    }

    /// Reads one entry, and changes nothing when it cannot. False when nothing is to follow.
    fn step(&mut self, reader: &mut Reader<'_>) -> Result<bool, WireError> {
        match &mut self.body {
            Some(body) => body.step(reader),
            None => {
                let found = reader.byte()?;
                let version = StateVersion::of(found);
                let body = match version.ok_or_else(|| reader.fault(0, Fault::Version { found }))? {
                    StateVersion::V1 => Body::take(reader)?,
                };
                self.body = Some(Box::new(body));
                Ok(true)
            }
        }
    }

    fn keep(&mut self, rest: &[u8]) -> Result<(), StateError> {
        if rest.len() > LARGEST_ENTRY {
            let max = LARGEST_ENTRY as u64;
            return Err(self.at(WireError { offset: 0, what: "entry", fault: Fault::OutOfRange { max } }));
        }
        self.wanted = 2 * rest.len();
        self.pending = rest.to_vec();
        Ok(())
    }

    /// An error in an entry, with its place among all bytes.
    fn at(&self, error: WireError) -> StateError {
        WireError { offset: self.offset + error.offset, ..error }.into()
    }
}

impl Body {
    fn take(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let (base, rules, lengths) = take_head(reader)?;
        Ok(Self {
            before: Before::first(base.created_at),
            base,
            rules,
            lengths,
            section: Section::Head,
            left: 0,
            last: 0,
            free: Vec::new(),
            last_members: Vec::new(),
            viewers: 0,
            relays: 0,
            tree: Vec::new(),
        })
    }

    fn step(&mut self, reader: &mut Reader<'_>) -> Result<bool, WireError> {
        while self.left == 0 {
            if self.section == Section::End {
                return Ok(false);
            }
            self.next_section(reader)?;
        }
        self.entry(reader)?;
        self.left -= 1;
        Ok(true)
    }

    fn next_section(&mut self, reader: &Reader<'_>) -> Result<(), WireError> {
        let section = self.section.next();
        self.left = match section {
            Section::Head | Section::End => 0,
            Section::Bans => self.lengths.bans,
            Section::Moderators => self.lengths.moderators,
            Section::Muted => self.lengths.muted,
            Section::LastMembers => self.lengths.last_members,
            Section::Free => self.lengths.free,
            Section::Members => {
                // From now on they are looked for in the order of the slots, from the end of this list.
                self.free.sort_unstable_by(|a, b| b.cmp(a));
                if !self.free.is_sorted_by(|a, b| a > b) {
                    return Err(WireError { what: "free", ..reader.fault(0, Fault::Repeated) });
                }
                self.lengths.members
            }
            Section::Tree => {
                self.pass_free();
                self.viewers
            }
            Section::Authors => self.lengths.authors,
        };
        self.section = section;
        self.last = 0;
        Ok(())
    }

    /// Adds the free slots that are next.
    fn pass_free(&mut self) {
        let roster = &mut self.base.roster;
        while self.free.last().is_some_and(|key| key.index() == roster.slot_count()) {
            self.free.pop();
            roster.restore_vacant();
        }
    }

    fn entry(&mut self, reader: &mut Reader<'_>) -> Result<(), WireError> {
        match self.section {
            Section::Bans => {
                reader.what = "ban";
                let node = take_ascending(self.last, reader)?;
                let end = take_distance(self.base.now, reader)?;
                self.base.bans.set(node, end);
                self.last = node.get();
            }
            Section::Moderators | Section::Muted => {
                reader.what = if self.section == Section::Muted { "muted" } else { "moderator" };
                let node = take_ascending(self.last, reader)?;
                // A group has none: its head was refused otherwise.
                if let Rules::Livestream(livestream) = &mut self.rules {
                    let muted = self.section == Section::Muted;
                    let nodes = if muted { &mut livestream.muted } else { &mut livestream.moderators };
                    nodes.insert(node);
                }
                self.last = node.get();
            }
            Section::LastMembers => {
                reader.what = "LastMember.node";
                let node = take_ascending(self.last, reader)?;
                self.last_members.push(take_last(node, reader)?);
                self.last = node.get();
            }
            Section::Free => {
                let key = self.take_slot("free", reader)?;
                self.base.roster.restore_free(key);
                self.free.push(key);
            }
            Section::Members => {
                self.pass_free();
                let start = reader.offset;
                let mut before = self.before;
                let member = before.take(reader)?;
                let role = member.role;
                if !self.base.roster.restore_member(member) {
                    reader.what = "Member.node";
                    return Err(reader.fault(start, Fault::Repeated));
                }
                self.before = before;
                if let Role::Viewer { can_relay, .. } = role {
                    self.viewers += 1;
                    self.relays += usize::from(can_relay);
                }
            }
            Section::Tree => {
                let key = self.take_slot("tree", reader)?;
                self.tree.push(key);
            }
            Section::Authors => {
                // A group has none: its head was refused otherwise.
                if let Rules::Livestream(livestream) = &mut self.rules
                    && let Some(chat) = &mut livestream.chat
                {
                    self.last = take_author(self.last, self.base.now, &mut chat.authors, reader)?;
                }
            }
            Section::Head | Section::End => {}
        }
        Ok(())
    }

    /// A slot that there is.
    fn take_slot(&mut self, what: &'static str, reader: &mut Reader<'_>) -> Result<MemberKey, WireError> {
        reader.what = what;
        let start = reader.offset;
        let slot = take_distance(self.last, reader)?;
        let slots = self.lengths.slots();
        match usize::try_from(slot) {
            Ok(index) if slot < slots => {
                self.last = slot;
                Ok(MemberKey::from_index(index))
            }
            _ => Err(reader.fault(start, Fault::OutOfRange { max: slots.saturating_sub(1) })),
        }
    }

    /// Makes what is derived, and refuses what no commands make.
    fn finish(self) -> Result<Swarm, StateError> {
        let Self { mut base, mut rules, last_members, tree, relays, .. } = self;
        ensure(last_members.len() <= last_members::MOST, "last members are bounded")?;
        base.last_members = LastMembers::sorted(last_members.into());
        if let Rules::Livestream(livestream) = &mut rules {
            let fanout = livestream.config().tree_fanout;
            let tree = RelayTree::of(fanout, tree, relays);
            livestream.tree = tree.ok_or(BrokenInvariant("every viewer is in one slot of the tree"))?;
        }
        Ok(Swarm::of_parts(base, rules)?)
    }
}

/// The swarm that these bytes are the whole state of.
///
/// # Errors
///
/// As those of [`StateDecoder`].
pub fn decode(bytes: &[u8]) -> Result<Swarm, StateError> {
    StateDecoder::default().feed(bytes)?.finish()
}
