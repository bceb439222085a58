//! Commands drawn from a seed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::hash::splitmix64;

/// Draws, and takes note of what it chose.
pub(super) struct Draw {
    state: u64,
    /// Per kind of choice: how many there are, and which have been made.
    pub(super) seen: BTreeMap<&'static str, (usize, BTreeSet<usize>)>,
}

impl Draw {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed, seen: BTreeMap::new() }
    }

    pub(super) fn entry(&mut self) -> (SwarmId, u64, Command) {
        let kind = self.pick("SwarmKind", &[SwarmKind::Livestream, SwarmKind::Group]);
        let id = SwarmId::new(kind, self.positive()).unwrap();
        (id, self.number(u64::MAX), self.command())
    }

    pub(super) const fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(1);
        splitmix64(self.state)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap()
    }

    /// 0 to `max`; as many of each length in bits.
    pub(super) fn number(&mut self, max: u64) -> u64 {
        let bits = self.next() % (u64::from(max.ilog2()) + 2);
        if bits == 0 { 0 } else { (self.next() >> (64 - bits)).min(max) }
    }

    fn command(&mut self) -> Command {
        match self.choose("Command", usize::from(COMMANDS)) {
            0 => Command::CreateLivestream(self.create_livestream()),
            1 => Command::CreateGroup(self.create_group()),
            2 => SharedCommand::Join(self.join()).into(),
            3 => SharedCommand::Leave(self.by()).into(),
            4 => SharedCommand::Touch(self.node(), self.session()).into(),
            5 => SharedCommand::Attach(self.node(), self.session(), self.small()).into(),
            6 => SharedCommand::Detach(self.node(), self.session(), self.small()).into(),
            7 => SharedCommand::PodGone(self.small()).into(),
            8 => SharedCommand::Expire.into(),
            9 => SharedCommand::SetInterest(self.by(), self.changes()).into(),
            10 => SharedCommand::UpdateMember(self.by(), self.member_update()).into(),
            11 => SharedCommand::UpdateSwarm(self.by(), self.swarm_update()).into(),
            12 => SharedCommand::End(self.by()).into(),
            13 => SharedCommand::Remove(self.by(), self.node()).into(),
            14 => SharedCommand::ReportPeer(self.by(), self.node()).into(),
            15 => SharedCommand::Claim {
                by: self.by(),
                channels: self.channels(),
                session: self.session(),
                ttl_ms: self.small(),
                pod: self.small(),
            }
            .into(),
            16 => LivestreamCommand::Start(self.by()).into(),
            17 => LivestreamCommand::Pause(self.by()).into(),
            18 => LivestreamCommand::Resume(self.by()).into(),
            19 => LivestreamCommand::AddModerator(self.by(), self.node()).into(),
            20 => LivestreamCommand::RemoveModerator(self.by(), self.node()).into(),
            21 => LivestreamCommand::Mute(self.by(), self.node()).into(),
            22 => LivestreamCommand::Unmute(self.by(), self.node()).into(),
            23 => LivestreamCommand::Transfer(self.by(), self.node()).into(),
            24 => GroupCommand::SetMedia {
                by: self.by(),
                audio: self.option("SetMedia.audio", |draw| draw.flag("audio")),
                video: self.option("SetMedia.video", |draw| draw.flag("video")),
            }
            .into(),
            25 => GroupCommand::StartShare(self.by()).into(),
            26 => GroupCommand::StopShare(self.by()).into(),
            27 => SharedCommand::Acquire {
                by: self.by(),
                channels: self.channels(),
                session: self.session(),
                ttl_ms: self.small(),
                pod: self.small(),
            }
            .into(),
            28 => SharedCommand::Forget.into(),
            29 => SharedCommand::Ban { by: self.by(), node: self.node(), ttl_ms: self.small() }.into(),
            30 => SharedCommand::Unban(self.by(), self.node()).into(),
            31 => Command::CreateSignedLivestream(self.create_livestream(), self.key()),
            32 => LivestreamCommand::TransferSigned(self.by(), self.node(), self.key()).into(),
            33 => {
                let (by, publisher_sequence, content) = (self.by(), self.number(u64::MAX), self.bytes());
                LivestreamCommand::Chat { by, publisher_sequence, content }.into()
            }
            other => panic!("no command is drawn for {other}"),
        }
    }

    fn key(&mut self) -> BroadcasterKey {
        BroadcasterKey::new(std::array::from_fn(|_| self.next().to_le_bytes()[0]))
    }

    fn create_livestream(&mut self) -> CreateLivestream {
        CreateLivestream {
            epoch: self.epoch(),
            broadcaster: self.node(),
            config: LivestreamConfig {
                star_to_tree_threshold: self.small(),
                tree_fanout: self.small(),
                subscriber_bytes_per_second: self.number(u64::MAX),
                keyframe_interval_ms: self.small(),
                max_viewers: self.small(),
                max_lag_ms: self.small(),
                broadcaster_timeout_ms: self.number(u64::MAX),
            },
            metadata: self.bytes(),
            retention_ms: self.number(u64::MAX),
        }
    }

    fn create_group(&mut self) -> CreateGroup {
        CreateGroup {
            epoch: self.epoch(),
            owner: self.option("CreateGroup.owner", Self::node),
            config: GroupConfig {
                max_participants: self.small(),
                subscriber_bytes_per_second: self.number(u64::MAX),
                keyframe_interval_ms: self.small(),
                max_lag_ms: self.small(),
            },
            metadata: self.bytes(),
            retention_ms: self.number(u64::MAX),
            empty_ms: self.number(u64::MAX),
        }
    }

    fn member_update(&mut self) -> MemberUpdate {
        MemberUpdate {
            metadata: self.option("MemberUpdate.metadata", Self::bytes),
            endpoint: self.option("MemberUpdate.endpoint", Self::bytes),
            can_relay: self.option("MemberUpdate.can_relay", |draw| draw.flag("can_relay")),
        }
    }

    fn swarm_update(&mut self) -> SwarmUpdate {
        SwarmUpdate {
            metadata: self.option("SwarmUpdate.metadata", Self::bytes),
            subscriber_bytes_per_second: self.option("SwarmUpdate.bytes", |draw| draw.number(u64::MAX)),
            keyframe_interval_ms: self.option("SwarmUpdate.keyframes", Self::small),
            max_lag_ms: self.option("SwarmUpdate.lag", Self::small),
            capacity: self.option("SwarmUpdate.capacity", Self::small),
            broadcaster_timeout_ms: self.option("SwarmUpdate.timeout", |draw| draw.number(u64::MAX)),
        }
    }

    fn join(&mut self) -> Join {
        Join {
            node: self.node(),
            session: self.session(),
            request: self.option("Join.request", Self::request),
            ttl_ms: self.small(),
            mode: self.option("Join.mode", |draw| draw.pick("ViewerMode", &[ViewerMode::Active, ViewerMode::Lurker])),
            can_relay: self.option("Join.can_relay", |draw| draw.flag("can_relay")),
            endpoint: self.option("Join.endpoint", Self::bytes),
            metadata: self.option("Join.metadata", Self::bytes),
            interests: self.changes(),
            listens: self.option("Join.listens", |draw| draw.flag("listens")),
        }
    }

    fn by(&mut self) -> By {
        By {
            node: self.node(),
            session: self.option("By.session", Self::session),
            request: self.option("By.request", Self::request),
        }
    }

    fn request(&mut self) -> RequestId {
        let length = self.below(20);
        let letters = (0..length).map(|_| self.pick("letter", &['a', '\0', 'é', '漢', '🐦']));
        let name = letters.collect::<String>().into();
        RequestId { name, fingerprint: self.next() }
    }

    fn changes(&mut self) -> Vec<InterestChange> {
        let length = self.choose("changes", 6);
        (0..length).map(|_| self.change()).collect()
    }

    fn change(&mut self) -> InterestChange {
        InterestChange {
            channel: self.pick("Channel", &Channel::ALL),
            source: self.option("InterestChange.source", Self::node),
            level: self.pick("Interest", &Interest::ALL),
            ttl_ms: self.option("InterestChange.ttl_ms", Self::small),
        }
    }

    fn channels(&mut self) -> ChannelSet {
        let bits = self.choose("ChannelSet", 1 << Channel::ALL.len());
        Channel::ALL.into_iter().filter(|channel| bits & (1 << *channel as u8) != 0).collect()
    }

    /// Now and then more than fits a length of one byte.
    fn bytes(&mut self) -> Box<[u8]> {
        let bound = self.pick("length of bytes", &[1, 20, 300]);
        let length = self.below(bound);
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn node(&mut self) -> NodeId {
        NodeId::new(self.positive()).unwrap()
    }

    fn session(&mut self) -> SessionId {
        SessionId::new(self.positive()).unwrap()
    }

    fn epoch(&mut self) -> Epoch {
        Epoch::new(self.positive()).unwrap()
    }

    fn positive(&mut self) -> u64 {
        self.number(u64::MAX).max(1)
    }

    fn small(&mut self) -> u32 {
        u32::try_from(self.number(u32::MAX.into())).unwrap()
    }

    fn option<T>(&mut self, what: &'static str, some: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flag(what).then(|| some(self))
    }

    fn flag(&mut self, what: &'static str) -> bool {
        self.choose(what, 2) == 1
    }

    fn pick<T: Copy>(&mut self, what: &'static str, from: &[T]) -> T {
        from[self.choose(what, from.len())]
    }

    fn choose(&mut self, what: &'static str, choices: usize) -> usize {
        let chosen = self.below(choices);
        self.seen.entry(what).or_insert((choices, BTreeSet::new())).1.insert(chosen);
        chosen
    }
}
