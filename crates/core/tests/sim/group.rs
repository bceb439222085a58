//! A group's run: a call that fills, empties, changes hands and is made again, and
//! everything that its participants, its owner and strangers may do on the way.

use starling_core::command::{CreateGroup, Join};
use starling_core::group::Config;
use starling_core::{Command, Epoch, GroupCommand, LivestreamCommand, NodeId, SharedCommand};

use crate::actors::{Actors, bytes, member_update, node, swarm_update};
use crate::world::{Expect, World};

/// A group at work.
#[derive(Debug)]
struct GroupRun {
    create: CreateGroup,
    actors: Actors,
    /// How many participants this phase is after.
    wanted: u64,
    /// Commands left in this phase.
    left: u64,
}

/// Runs `steps` commands on a group of at most `max` and then lets everyone go.
pub(crate) fn run(world: &mut World, max: u32, steps: usize) {
    let owner = world.rng.pick(&[None, Some(node(1)), Some(node(2))]);
    let create = CreateGroup {
        epoch: Epoch::drawn(world.rng.bits()),
        owner,
        config: Config { max_participants: max, ..Config::default() },
        metadata: bytes(world, 50).unwrap_or_default(),
        retention_ms: 300_000,
        empty_ms: 300_000,
    };
    let mut group = GroupRun { create, actors: Actors::default(), wanted: 0, left: 0 };
    let mut forked = false;
    while world.steps() < steps {
        group.step(world);
        if !forked && world.steps() >= steps / 2 {
            world.fork();
            forked = true;
        }
    }
    group.wind_down(world);
    world.check_replay();
}

impl GroupRun {
    fn step(&mut self, world: &mut World) {
        world.now += world.rng.below(400);
        if world.is_due() && world.rng.chance(60) {
            world.expire();
        }
        let Some(model) = &world.model else {
            let command = if world.rng.chance(30) { self.act(world) } else { self.create(world) };
            self.actors.submit(world, command);
            return;
        };
        let taken = model.members.len() as u64;
        let ended = model.ended.is_some();
        self.left = self.left.saturating_sub(1);
        if self.left == 0 {
            let max = u64::from(self.create.config.max_participants);
            self.wanted = world.rng.pick(&[0, 1, 2, max / 2, max, max + 5]);
            self.left = world.rng.within(30, 40 + 2 * max);
        }
        let (joins, leaves) = if taken < self.wanted { (400, 20) } else { (40, 200) };
        let over = if ended { 300 } else { 3 };
        match world.rng.weighted(&[joins, leaves, 60, 150, 500, 30, 4, over, 2]) {
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
                let command = if ended && world.rng.chance(30) { self.create(world) } else { self.end(world) };
                self.actors.submit(world, command);
            }
            _ => {
                // Long enough for a quiet call to lose everybody.
                world.now += 300_000;
                world.expire();
            }
        }
    }

    fn newcomer(&mut self, world: &mut World) {
        let pool = u64::from(self.create.config.max_participants) * 2 + 5;
        let newcomer = node(world.rng.within(1, pool));
        let join = self.join(world, newcomer);
        let session = join.session;
        if self.actors.submit(world, SharedCommand::Join(join)) && world.rng.chance(70) {
            let pod = world.rng.number(0, 2);
            world.submit(SharedCommand::Attach(newcomer, session, pod), Expect::Verdict).expect("it just joined");
        }
    }

    /// Now and then as a listener.
    fn join(&mut self, world: &mut World, node: NodeId) -> Join {
        let listens = world.rng.pick(&[None, None, None, None, Some(false), Some(true)]);
        Join { listens, ..self.actors.join(world, node) }
    }

    fn rejoin(&mut self, world: &mut World) {
        let again = self.actors.anyone(world);
        let join = self.join(world, again);
        self.actors.submit(world, SharedCommand::Join(join));
    }

    fn leave(&mut self, world: &mut World) {
        let leaver = self.leaver(world);
        let by = self.actors.by(world, leaver);
        self.actors.submit(world, SharedCommand::Leave(by));
    }

    /// Now and then the owner or whoever shares its screen: their leaves pass
    /// something on.
    fn leaver(&mut self, world: &mut World) -> NodeId {
        let owner = world.model.as_ref().and_then(|model| model.owner);
        let sharer = world.model.as_ref().and_then(|model| model.sharing);
        let anyone = self.actors.anyone(world);
        match world.rng.below(10) {
            0 => owner.unwrap_or(anyone),
            1 => sharer.unwrap_or(anyone),
            _ => anyone,
        }
    }

    fn owner(&mut self, world: &mut World) -> NodeId {
        let owner = world.model.as_ref().and_then(|model| model.owner);
        let anyone = self.actors.anyone(world);
        if world.rng.chance(70) { owner.unwrap_or(anyone) } else { anyone }
    }

    fn end(&mut self, world: &mut World) -> Command {
        let owner = self.owner(world);
        SharedCommand::End(self.actors.by(world, owner)).into()
    }

    /// Something that somebody does, allowed or not.
    fn act(&mut self, world: &mut World) -> Command {
        let owner = self.owner(world);
        let anyone = self.actors.anyone(world);
        let object = self.actors.anyone(world);
        let sharer = world.model.as_ref().and_then(|model| model.sharing);
        let sharer = if world.rng.chance(60) { sharer.unwrap_or(anyone) } else { anyone };
        let by_owner = self.actors.by(world, owner);
        let by_anyone = self.actors.by(world, anyone);
        let by_sharer = self.actors.by(world, sharer);
        match world.rng.weighted(&[80, 20, 10, 60, 40, 25, 20, 8, 60, 6, 3, 15, 10, 2]) {
            0 => SharedCommand::SetInterest(by_anyone, self.actors.interest_changes(world)).into(),
            1 => SharedCommand::UpdateMember(by_anyone, member_update(world)).into(),
            2 => SharedCommand::UpdateSwarm(by_owner, swarm_update(world, self.create.config.max_participants)).into(),
            3 => {
                let (audio, video) = (self.switch(world), self.switch(world));
                GroupCommand::SetMedia { by: by_anyone, audio, video }.into()
            }
            4 => GroupCommand::StartShare(by_anyone).into(),
            5 => GroupCommand::StopShare(by_sharer).into(),
            6 => SharedCommand::Remove(by_owner, object).into(),
            7 => SharedCommand::ReportPeer(by_anyone, object).into(),
            8 => {
                let (channels, session) = (self.actors.channels(world), self.actors.session());
                let pod = world.rng.number(0, 2);
                SharedCommand::Claim { by: by_sharer, channels, session, ttl_ms: 30_000, pod }.into()
            }
            9 => self.create(world),
            10 => LivestreamCommand::Mute(by_owner, object).into(),
            11 => {
                // Ownership would return to whom the creation named.
                let named = self.create.owner.filter(|_| world.rng.chance(40));
                self.actors.ban(world, by_owner, named.unwrap_or(object))
            }
            12 => self.actors.unban(world, by_owner, object),
            _ if world.rng.chance(50) => SharedCommand::Forget.into(),
            _ => SharedCommand::Expire.into(),
        }
    }

    fn switch(&self, world: &mut World) -> Option<bool> {
        world.rng.pick(&[None, Some(true), Some(false)])
    }

    fn create(&self, world: &mut World) -> Command {
        let mut create = CreateGroup { epoch: Epoch::drawn(world.rng.bits()), ..self.create.clone() };
        if world.slot.is_some() && world.rng.chance(40) {
            create.owner = Some(node(3));
        }
        Command::CreateGroup(create)
    }

    /// Everyone goes, one by one or with the group; then nothing remains.
    fn wind_down(&mut self, world: &mut World) {
        if world.rng.chance(50) {
            while let Some(member) = self.actors.member(world) {
                let by = self.actors.by(world, member);
                self.actors.submit(world, SharedCommand::Leave(by));
            }
            let rights = world.slot.as_deref().map_or(0, |swarm| swarm.grants().len());
            assert_eq!(rights, 0, "no right outlives its holder");
        } else if let Some(owner) = world.model.as_ref().and_then(|model| model.owner) {
            let by = self.actors.by(world, owner);
            self.actors.submit(world, SharedCommand::End(by));
        }
        for round in 0.. {
            let Some(model) = &world.model else { break };
            // What is attached stays until its pod is gone.
            if !model.members.is_empty() {
                for pod in 0..3 {
                    world.submit(SharedCommand::PodGone(pod), Expect::Verdict).expect("a pod may always vanish");
                }
            }
            world.jump();
            assert!(round < 1_000, "an abandoned group goes away");
        }
        assert!(world.slot.is_none());
    }
}
