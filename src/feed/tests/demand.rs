//! The demand that is kept, held against one that is counted anew from all subscriptions.

use super::*;
use starling_core::hash::splitmix64;

/// One subscription, and what counts for its node.
struct Open {
    selection: Selection,
    _cursor: Cursor,
}

struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = splitmix64(self.0.wrapping_add(1));
        self.0 % end
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(1 + self.below(5)).unwrap()
    }

    fn channel(&mut self) -> Channel {
        Channel::ALL[usize::try_from(self.below(5)).unwrap()]
    }

    fn interests(&mut self) -> Interests {
        let mut interests = Interests::default();
        for _ in 0..self.below(8) {
            let source = (self.below(3) > 0).then(|| self.node());
            let level = Interest::ALL[usize::try_from(self.below(5)).unwrap()];
            let ttl_ms = (self.below(4) == 0).then_some(1_000);
            interests.set(&[InterestChange { channel: self.channel(), source, level, ttl_ms }], 0);
        }
        interests
    }

    fn selection(&mut self) -> Selection {
        let node = self.node();
        let channels = (0..=self.below(5)).map(|_| self.channel()).collect();
        let sources = (0..self.below(4)).map(|_| self.node()).collect();
        Selection::new(node, channels, sources)
    }
}

fn counted(open: &[Open], wanted: &[Interests], source: NodeId, channel: Channel, shared_chat: bool) -> Demand {
    let lane = (Some(source).filter(|_| !shared_chat || channel != Channel::Chat), channel);
    let mut demand = Demand::default();
    for Open { selection, .. } in open.iter().filter(|open| open.selection.contains(lane)) {
        let level = wanted[usize::try_from(selection.node.get()).unwrap()].level(lane.0, channel);
        if level > Interest::None {
            demand.highest = demand.highest.max(level);
            demand.subscribers += 1;
        }
    }
    demand
}

#[test]
fn demand_agrees_with_a_count_of_all() {
    for seed in 0..60 {
        let (mut draw, shared_chat) = (Draw(seed), seed % 2 == 0);
        let memory = Memory::new(1 << 30);
        let feed = Feed::new(Settings { shared_chat, ..shape(1 << 20) }, Arc::clone(&memory));
        let mut open = Vec::<Open>::new();
        let mut wanted: Vec<_> = (0..7).map(|_| draw.interests()).collect();
        for step in 0..60 {
            match draw.below(4) {
                0 | 1 => {
                    let selection = draw.selection();
                    let interests = wanted[usize::try_from(selection.node.get()).unwrap()].clone();
                    let waker = Waker::noop().clone();
                    let cursor = Cursor::enter(&feed, selection.clone(), interests, waker, SECOND).unwrap();
                    open.push(Open { selection, _cursor: cursor });
                }
                2 if !open.is_empty() => {
                    let at = draw.below(open.len() as u64);
                    open.swap_remove(usize::try_from(at).unwrap());
                }
                _ => {
                    let (node, interests) = (draw.node(), draw.interests());
                    feed.set_interests(node, &interests);
                    wanted[usize::try_from(node.get()).unwrap()] = interests;
                }
            }
            for source in (1..=6).filter_map(NodeId::new) {
                let found = feed.demand(source, Channel::ALL.into_iter().collect());
                let expected = |channel| (channel, counted(&open, &wanted, source, channel, shared_chat));
                assert_eq!(found, Channel::ALL.map(expected), "seed {seed}, step {step}, {source}");
            }
        }
        drop(open);
        assert_eq!(memory.used(), feed.bytes(), "seed {seed}: nothing is left of the counts");
        assert_eq!(feed.bytes(), Feed::new(shape(1 << 20), Memory::new(1 << 30)).bytes(), "seed {seed}");
    }
}

#[test]
fn node_names_a_bounded_number_of_sources() {
    let feed = Feed::new(shape(1 << 20), Memory::new(1 << 30));
    let enter = |sources: std::ops::Range<u64>| {
        let channels = [Channel::Visual].into_iter().collect();
        let selection = Selection::new(reader(), channels, sources.filter_map(NodeId::new).collect());
        Cursor::enter(&feed, selection, Interests::default(), Waker::noop().clone(), SECOND)
    };
    let all = u64::from(MAX_NAMED);
    let [first, second] = [enter(1..all), enter(1..all + 1)];
    assert!(first.is_some() && second.is_some());
    assert!(enter(5..7).is_some(), "those that it names already");
    assert!(enter(all + 1..all + 2).is_none());
    drop((first, second));
    assert!(enter(all + 1..all + 2).is_some());
}
