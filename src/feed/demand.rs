//! How many subscriptions want what of whom, kept as subscriptions come, go and change.
//!
//! Most subscriptions take every source, and most of them want the same of all: they are counted by
//! channel and level alone. What differs from that is counted for the one source that it is about:
//! an override, and what a subscription that names its sources wants of each. So a change costs
//! what is changed, and the demand for a lane is two sums, however many subscribe.

use super::heap::in_tree;
use super::subscriber::{Selection, Wanted};
use starling_core::channel::{Channel, PerChannel};
use starling_core::counted::Map;
use starling_core::id::NodeId;
use starling_core::interest::{Interest, InterestOverride};

/// The demand for one lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// The highest interest of any subscription.
    pub highest: Interest,
    /// Subscriptions with an interest above NONE.
    pub subscribers: u64,
}

/// Subscriptions by level. Those that make up for others may be below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Levels([i32; Interest::ALL.len()]);

impl Levels {
    const fn add(&mut self, level: Interest, subscriptions: i32) {
        self.0[level as usize] += subscriptions;
    }

    fn plus(self, other: Self) -> Self {
        Self(std::array::from_fn(|level| self.0[level] + other.0[level]))
    }

    fn demand(self) -> Demand {
        let wanting = Interest::ALL.into_iter().skip(1).map(|level| (level, self.0[level as usize]));
        let wanting = wanting.filter(|(_, subscriptions)| *subscriptions > 0);
        wanting.fold(Demand::default(), |demand, (level, subscriptions)| Demand {
            highest: level,
            subscribers: demand.subscribers + u64::from(subscriptions.unsigned_abs()),
        })
    }
}

/// What one node's subscriptions take: how many of them take every source of a channel, and how many
/// name a source.
#[derive(Debug, Default)]
pub(super) struct Taken {
    every: PerChannel<u32>,
    named: Map<NodeId, PerChannel<u32>>,
}

impl Taken {
    /// How many sources are named, or would be with this selection too.
    pub(super) fn sources_with(&self, selection: &Selection) -> usize {
        let new = selection.sources.iter().flatten().filter(|source| !self.named.contains_key(source));
        self.named.len() + new.count()
    }
}

/// The demand for all lanes of one feed.
#[derive(Debug, Default)]
pub(super) struct DemandCounts {
    /// CHAT has one order and no sources.
    shared_chat: bool,
    /// Of those that take every source.
    every: PerChannel<Levels>,
    /// What is otherwise for one source.
    one: Map<NodeId, PerChannel<Levels>>,
    /// Sources that the subscriptions of a node name, over all nodes.
    named: usize,
}

impl DemandCounts {
    pub(super) fn new(shared_chat: bool) -> Self {
        Self { shared_chat, ..Self::default() }
    }

    fn is_shared(&self, channel: Channel) -> bool {
        self.shared_chat && channel == Channel::Chat
    }

    /// Counts a subscription of `node` in, or, with -1, out. O(overrides + sources named), each by
    /// the logarithm of the sources that are counted.
    pub(super) fn add(&mut self, node: NodeId, taken: &mut Taken, selection: &Selection, wanted: &Wanted, one: i32) {
        let general = wanted.interests.levels();
        for channel in selection.channels.iter() {
            if selection.sources.is_none() || self.is_shared(channel) {
                taken.every[channel] = taken.every[channel].saturating_add_signed(one);
                self.every[channel].add(general[channel], one);
            }
        }
        if let Some(sources) = &selection.sources {
            let before = taken.named.len();
            for source in sources {
                let named = taken.named.entry(*source).or_default();
                let shared = self.shared_chat;
                for channel in selection.channels.iter().filter(|channel| !(shared && *channel == Channel::Chat)) {
                    named[channel] = named[channel].saturating_add_signed(one);
                    let level = wanted.interests.level(Some(*source), channel);
                    self.change(*source, channel, &[(level, one)]);
                }
                if *named == PerChannel::default() {
                    taken.named.remove(source);
                }
            }
            self.named = self.named - before + taken.named.len();
            return;
        }
        for (source, channel, level) in wanted.interests.overrides().iter().filter_map(of_source) {
            if selection.channels.contains(channel) && source != node && !self.is_shared(channel) {
                self.change(source, channel, &[(general[channel], -one), (level, one)]);
            }
        }
    }

    /// Counts what becomes otherwise when `node` wants `after` and no more `before`: O(overrides +
    /// sources named), however many subscriptions it has.
    pub(super) fn replace(&mut self, node: NodeId, taken: &Taken, before: &Wanted, after: &Wanted) {
        let (old, new) = (before.interests.levels(), after.interests.levels());
        for channel in Channel::ALL {
            let subscriptions = taken.every[channel].cast_signed();
            self.every[channel].add(old[channel], -subscriptions);
            self.every[channel].add(new[channel], subscriptions);
        }
        for (source, channel, was, is) in differences(before.interests.overrides(), after.interests.overrides()) {
            let subscriptions = taken.every[channel].cast_signed();
            let same = was == is && old[channel] == new[channel];
            if same || subscriptions == 0 || source == node || self.is_shared(channel) {
                continue;
            }
            let leaves =
                was.map_or([(Interest::None, 0); 2], |level| [(old[channel], subscriptions), (level, -subscriptions)]);
            let comes =
                is.map_or([(Interest::None, 0); 2], |level| [(new[channel], -subscriptions), (level, subscriptions)]);
            self.change(source, channel, &[leaves, comes].concat());
        }
        for (source, named) in taken.named.iter() {
            for (channel, subscriptions) in named.iter().filter(|(_, subscriptions)| **subscriptions > 0) {
                let [was, is] = [before, after].map(|wanted| wanted.interests.level(Some(*source), channel));
                if was != is {
                    let subscriptions = subscriptions.cast_signed();
                    self.change(*source, channel, &[(was, -subscriptions), (is, subscriptions)]);
                }
            }
        }
    }

    fn change(&mut self, source: NodeId, channel: Channel, changes: &[(Interest, i32)]) {
        let levels = self.one.entry(source).or_default();
        changes.iter().for_each(|(level, subscriptions)| levels[channel].add(*level, *subscriptions));
        if *levels == PerChannel::default() {
            self.one.remove(&source);
        }
    }

    /// The demand for a lane. `own` is what the source itself takes, and wants: nobody gets its own
    /// unless it names itself. O(log sources).
    pub(super) fn of(&self, source: NodeId, channel: Channel, own: Option<(&Taken, &Wanted)>) -> Demand {
        let mut levels = self.every[channel];
        if !self.is_shared(channel) {
            levels = levels.plus(self.one.get(&source).map(|one| one[channel]).unwrap_or_default());
            if let Some((taken, wanted)) = own {
                levels.add(wanted.interests.levels()[channel], -taken.every[channel].cast_signed());
            }
        }
        levels.demand()
    }

    /// Bytes of memory that the counts take. O(1).
    pub(super) fn bytes(&self) -> usize {
        self.one.len() * in_tree(size_of::<(NodeId, PerChannel<Levels>)>())
            + self.named * in_tree(size_of::<(NodeId, PerChannel<u32>)>())
    }
}

/// An override that is about one source.
fn of_source(of: &InterestOverride) -> Option<(NodeId, Channel, Interest)> {
    Some((of.source?, of.channel, of.level))
}

/// What two lists of overrides, each in the order of (source, channel), say of each source that one of
/// them names. O(both).
fn differences(
    before: &[InterestOverride],
    after: &[InterestOverride],
) -> impl Iterator<Item = (NodeId, Channel, Option<Interest>, Option<Interest>)> {
    let mut before = before.iter().filter_map(of_source).peekable();
    let mut after = after.iter().filter_map(of_source).peekable();
    std::iter::from_fn(move || {
        let key = |(source, channel, _): &(NodeId, Channel, Interest)| (*source, *channel);
        let (was, is) = (before.peek().map(key), after.peek().map(key));
        let (source, channel) = [was, is].into_iter().flatten().min()?;
        let was = before.next_if(|next| key(next) == (source, channel)).map(|(_, _, level)| level);
        let is = after.next_if(|next| key(next) == (source, channel)).map(|(_, _, level)| level);
        Some((source, channel, was, is))
    })
}
