//! A livestream's run: phases that grow and shrink it, above all around the
//! thresholds, and in each phase everything that clients and pods may do.

use starling_core::command::{By, CreateLivestream, Join};
use starling_core::key::BroadcasterKey;
use starling_core::livestream::{Config, State};
use starling_core::member::ViewerMode;
use starling_core::topology::Forwarder;
use starling_core::{Command, Epoch, GroupCommand, LivestreamCommand, NodeId, SharedCommand};

use crate::actors::{Actors, bytes, member_update, node, swarm_update};
use crate::world::{Expect, World};

/// How large a run gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// A few dozen viewers: everything is looked at after every command.
    Small,
    /// Some hundreds.
    Middle,
    /// Up to 5 000.
    Large,
}

/// A livestream at work.
#[derive(Debug)]
struct Run {
    size: Size,
    create: CreateLivestream,
    /// With which its broadcasters sign, if they do.
    key: Option<BroadcasterKey>,
    actors: Actors,
    /// How many viewers this phase is after.
    wanted: usize,
    /// Commands left in this phase.
    left: u64,
    /// Of a hundred who join: how many lurk, and how many of the others only watch.
    lurkers: u64,
    leaves: u64,
}

/// Runs `steps` commands and then lets everyone go.
pub(crate) fn run(world: &mut World, size: Size, steps: usize) {
    let mut run = Run::new(world, size);
    let mut forked = false;
    while world.steps() < steps {
        run.step(world);
        if !forked && world.steps() >= steps / 2 {
            world.fork();
            forked = true;
        }
    }
    run.wind_down(world);
    world.check_replay();
}

/// Thousands of viewers whose leases run out in the same moment.
pub(crate) fn mass_timeout(world: &mut World, viewers: u64) {
    let mut run = Run::new(world, Size::Large);
    run.create.config = Config::default();
    world.submit(Command::CreateLivestream(run.create.clone()), Expect::Verdict).expect("an empty slot");
    for number in 2..viewers + 2 {
        let join = Join { ttl_ms: 60_000, interests: Vec::new(), ..run.actors.join(world, node(number)) };
        run.actors.submit(world, SharedCommand::Join(join));
    }
    world.now += 60_000;
    world.expire();
    assert_eq!(world.model.as_ref().map(|model| model.members.len()), Some(0));
}

fn key(number: u32) -> BroadcasterKey {
    let [last, ..] = number.to_le_bytes();
    BroadcasterKey::new([last; 32])
}

impl Run {
    fn new(world: &mut World, size: Size) -> Self {
        let rng = &mut world.rng;
        let (threshold, max_viewers) = match size {
            Size::Small => (rng.number(1, 25), rng.pick(&[8, 20, 40, 1_000_000])),
            Size::Middle => (rng.pick(&[1, 20, 50, 120]), rng.pick(&[250, 1_000_000])),
            Size::Large => (rng.pick(&[5, 50, 1_000]), rng.pick(&[5_000, 1_000_000])),
        };
        let config = Config {
            star_to_tree_threshold: threshold,
            tree_fanout: rng.pick(&[2, 2, 3, 5, 5, 8, 64]),
            max_viewers,
            broadcaster_timeout_ms: rng.pick(if size == Size::Large { &[0, 3_600_000] } else { &[0, 60_000, 300_000] }),
            ..Config::default()
        };
        let create = CreateLivestream {
            epoch: Epoch::drawn(rng.bits()),
            broadcaster: node(1),
            config,
            metadata: bytes(world, 50).unwrap_or_default(),
            retention_ms: 300_000,
        };
        let key = world.rng.chance(50).then(|| key(world.rng.number(0, 3)));
        Self { size, create, key, actors: Actors::default(), wanted: 0, left: 0, lurkers: 0, leaves: 0 }
    }

    fn step(&mut self, world: &mut World) {
        self.pass_time(world);
        let Some(model) = &world.model else {
            let command = if world.rng.chance(30) { self.act(world) } else { self.create(world) };
            self.actors.submit(world, command);
            return;
        };
        if model.ended.is_some() {
            return self.after_the_end(world);
        }
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            self.next_phase(world);
        }
        let viewers = world.model.as_ref().map_or(0, |model| model.viewers());
        let haste = if self.size == Size::Large { 4_000 } else { 500 };
        let (joins, leaves) = if viewers < self.wanted { (haste, 80) } else { (80, haste / 4) };
        let (rare, never) = if self.size == Size::Large { (1, 0) } else { (4, 2) };
        match world.rng.weighted(&[joins, leaves, 60, 250, 400, 25, rare, never, 20]) {
            0 => self.newcomer(world),
            1 => self.leave(world),
            2 => self.rejoin(world),
            3 => self.actors.liveness(world),
            4 => {
                let command = self.act(world);
                self.actors.submit(world, command);
            }
            5 => self.actors.repeat(world),
            6 => world.jump(),
            7 => {
                let command = self.end(world);
                self.actors.submit(world, command);
            }
            _ => self.broadcaster_comes_or_goes(world),
        }
    }

    fn pass_time(&mut self, world: &mut World) {
        let step_ms = if self.size == Size::Small { 400 } else { 20 };
        world.now += world.rng.below(step_ms);
        if world.is_due() && world.rng.chance(60) {
            world.expire();
        }
    }

    fn next_phase(&mut self, world: &mut World) {
        let threshold = self.create.config.star_to_tree_threshold as usize;
        let (least, most) = match self.size {
            Size::Small => (50, 40),
            Size::Middle => (300, 300),
            Size::Large => (2_000, 5_000),
        };
        let fanout = self.create.config.tree_fanout as usize;
        // The largest grow first: later is too late to get there.
        let grows = self.size == Size::Large && self.wanted == 0;
        let sizes = [0, 1, threshold, threshold + 1, threshold * 4 / 5, 3 * fanout, most, most];
        self.wanted = if grows { most } else { world.rng.pick(&sizes) };
        self.left = least + world.rng.below(3 * least) + if grows { 3 * most as u64 } else { 0 };
        self.lurkers = world.rng.pick(&[0, 10, 50, 100]);
        self.leaves = world.rng.pick(&[0, 20, 80, 100]);
    }

    fn newcomer(&mut self, world: &mut World) {
        let pool = 400 + self.wanted as u64 * 2;
        let absent = |world: &World, node: &NodeId| world.model.as_ref().is_some_and(|m| m.session(*node).is_none());
        let mut draws = (0..20).map(|_| node(world.rng.within(1, pool))).collect::<Vec<_>>();
        draws.retain(|node| absent(world, node));
        let Some(newcomer) = draws.first() else { return };
        let join = self.viewer_join(world, *newcomer);
        let session = join.session;
        let joined = self.actors.submit(world, SharedCommand::Join(join));
        // Most open a stream at once.
        if joined && world.rng.chance(60) {
            let pod = world.rng.number(0, 2);
            world.submit(SharedCommand::Attach(*newcomer, session, pod), Expect::Verdict).expect("it just joined");
        }
    }

    fn viewer_join(&mut self, world: &mut World, node: NodeId) -> Join {
        let join = self.actors.join(world, node);
        let mode = if world.rng.chance(self.lurkers) {
            Some(ViewerMode::Lurker)
        } else {
            world.rng.pick(&[None, Some(ViewerMode::Active)])
        };
        let can_relay = if world.rng.chance(self.leaves) { Some(false) } else { world.rng.pick(&[None, Some(true)]) };
        Join { mode, can_relay, ..join }
    }

    fn rejoin(&mut self, world: &mut World) {
        let again = self.actors.anyone(world);
        let join = self.viewer_join(world, again);
        self.actors.submit(world, SharedCommand::Join(join));
    }

    fn leave(&mut self, world: &mut World) {
        if let Some(member) = self.actors.member(world) {
            let by = self.actors.by(world, member);
            self.actors.submit(world, SharedCommand::Leave(by));
        }
    }

    fn broadcaster_comes_or_goes(&mut self, world: &mut World) {
        let Some(model) = &world.model else { return };
        let broadcaster = model.broadcaster.expect("a livestream has a broadcaster");
        if model.session(broadcaster).is_some() && world.rng.chance(20) {
            let by = self.actors.by(world, broadcaster);
            self.actors.submit(world, SharedCommand::Leave(by));
        } else {
            let mut join = self.actors.join(world, broadcaster);
            join.can_relay = world.rng.pick(&[None, Some(true), Some(false)]);
            let session = join.session;
            if self.actors.submit(world, SharedCommand::Join(join)) && world.rng.chance(90) {
                world.submit(SharedCommand::Attach(broadcaster, session, 0), Expect::Verdict).expect("it just joined");
            }
        }
    }

    /// Mostly the broadcaster, where only the broadcaster may; else a moderator or
    /// anyone at all.
    fn leader(&mut self, world: &mut World) -> NodeId {
        let model = world.model.as_ref();
        let broadcaster = model.and_then(|model| model.broadcaster);
        let moderator = model.and_then(|model| model.moderators.first().copied());
        match world.rng.below(100) {
            0..70 => broadcaster.unwrap_or_else(|| node(1)),
            70..85 => moderator.unwrap_or_else(|| node(2)),
            _ => self.actors.anyone(world),
        }
    }

    /// Something that somebody does, allowed or not.
    fn act(&mut self, world: &mut World) -> Command {
        let leader = self.leader(world);
        let anyone = self.actors.anyone(world);
        let object = self.object(world);
        let by_leader = self.actors.by(world, leader);
        let by_anyone = self.actors.by(world, anyone);
        match world.rng.weighted(&[60, 20, 10, 15, 15, 15, 12, 12, 25, 20, 20, 12, 8, 25, 4, 2, 15, 10, 3, 25]) {
            0 => SharedCommand::SetInterest(by_anyone, self.actors.interest_changes(world)).into(),
            1 => SharedCommand::UpdateMember(by_anyone, member_update(world)).into(),
            2 => SharedCommand::UpdateSwarm(by_leader, swarm_update(world, self.create.config.max_viewers)).into(),
            3 => LivestreamCommand::Start(by_leader).into(),
            4 => LivestreamCommand::Pause(by_leader).into(),
            5 => LivestreamCommand::Resume(by_leader).into(),
            6 => LivestreamCommand::AddModerator(by_leader, object).into(),
            7 => LivestreamCommand::RemoveModerator(by_leader, object).into(),
            8 => LivestreamCommand::Mute(by_leader, object).into(),
            9 => LivestreamCommand::Unmute(by_leader, object).into(),
            10 => SharedCommand::Remove(by_leader, object).into(),
            11 => self.transfer(world, by_leader, object).into(),
            12 => SharedCommand::ReportPeer(by_anyone, object).into(),
            13 => {
                let (channels, session) = (self.actors.channels(world), self.actors.session());
                let (by, ttl_ms, pod) = (by_leader, 30_000, world.rng.number(0, 2));
                match world.rng.chance(30) {
                    true => SharedCommand::Acquire { by, channels, session, ttl_ms, pod }.into(),
                    false => SharedCommand::Claim { by, channels, session, ttl_ms, pod }.into(),
                }
            }
            14 => self.create(world),
            15 => GroupCommand::StartShare(by_anyone).into(),
            16 => self.actors.ban(world, by_leader, object),
            17 => self.actors.unban(world, by_leader, object),
            19 => {
                let publisher_sequence = world.rng.below(9);
                LivestreamCommand::Chat { by: by_anyone, publisher_sequence, content: Box::from([7]) }.into()
            }
            _ if world.rng.chance(50) => SharedCommand::Forget.into(),
            _ => SharedCommand::Expire.into(),
        }
    }

    /// Somebody to act upon: anyone, or someone with a mute or a moderator's rights.
    fn object(&mut self, world: &mut World) -> NodeId {
        let anyone = self.actors.anyone(world);
        let Some(model) = &world.model else { return anyone };
        let muted = model.muted.first().copied();
        let moderator = model.moderators.last().copied();
        match world.rng.below(100) {
            0..60 => anyone,
            60..80 => muted.unwrap_or(anyone),
            80..95 => moderator.unwrap_or(anyone),
            _ => model.broadcaster.unwrap_or(anyone),
        }
    }

    fn create(&mut self, world: &mut World) -> Command {
        let mut create = CreateLivestream { epoch: Epoch::drawn(world.rng.bits()), ..self.create.clone() };
        if world.slot.is_some() && world.rng.chance(40) {
            create.config.keyframe_interval_ms += 1;
        }
        // Another key, or one where there was none, is another livestream.
        let given = if world.rng.chance(20) { Some(key(world.rng.number(0, 3))) } else { self.key };
        match given.filter(|_| self.key.is_some() || world.slot.is_some() && world.rng.chance(10)) {
            Some(key) => Command::CreateSignedLivestream(create, key),
            None => Command::CreateLivestream(create),
        }
    }

    fn transfer(&self, world: &mut World, by: By, to: NodeId) -> LivestreamCommand {
        let is_signed = world.model.as_ref().is_some_and(|model| model.key.is_some());
        if is_signed == world.rng.chance(75) {
            LivestreamCommand::TransferSigned(by, to, key(world.rng.number(0, 3)))
        } else {
            LivestreamCommand::Transfer(by, to)
        }
    }

    fn end(&mut self, world: &mut World) -> Command {
        let leader = self.leader(world);
        SharedCommand::End(self.actors.by(world, leader)).into()
    }

    fn after_the_end(&mut self, world: &mut World) {
        match world.rng.weighted(&[40, 10, 10, 15, 15, 10]) {
            0 => {
                let command = self.act(world);
                self.actors.submit(world, command);
            }
            1 => self.rejoin(world),
            2 => self.actors.liveness(world),
            3 => {
                let command = self.end(world);
                self.actors.submit(world, command);
            }
            4 => self.actors.repeat(world),
            _ if world.rng.chance(50) => world.jump(),
            _ => {
                let command = self.create(world);
                self.actors.submit(world, command);
            }
        }
    }

    /// Everyone goes, one by one or with the livestream; then nothing remains.
    fn wind_down(&mut self, world: &mut World) {
        if world.rng.chance(50) {
            while let Some(member) = self.actors.member(world) {
                let by = self.actors.by(world, member);
                self.actors.submit(world, SharedCommand::Leave(by));
            }
            if let Some(swarm) = world.slot.as_deref() {
                assert!(swarm.roster().is_empty() && swarm.grants().is_empty());
                assert!(swarm.targets(Forwarder::Broadcaster).is_some_and(|list| list.targets.is_empty()));
            }
        }
        let mut rounds = 0;
        while let Some(model) = &world.model {
            let forever = self.create.config.broadcaster_timeout_ms == 0 || model.members.len() > 100;
            if model.state != State::Ended && forever {
                let by = self.actors.by(world, model.broadcaster.expect("a livestream has a broadcaster"));
                self.actors.submit(world, SharedCommand::End(by));
            } else if world.slot.as_deref().is_some_and(|swarm| swarm.next_expiry().is_none()) {
                self.broadcaster_leaves(world);
            }
            world.jump();
            rounds += 1;
            assert!(rounds < 1_000, "an abandoned livestream goes away");
        }
        assert!(world.slot.is_none());
    }

    /// An attached broadcaster keeps its livestream for ever.
    fn broadcaster_leaves(&mut self, world: &mut World) {
        let Some(broadcaster) = world.model.as_ref().and_then(|model| model.broadcaster) else { return };
        let by = self.actors.by(world, broadcaster);
        self.actors.submit(world, SharedCommand::Leave(by));
    }
}
