//! One swarm under test: submits commands, and after each one looks at everything.
//!
//! Cheap looks (revision, events folded into the model, grants, sessions, touched
//! lists, the members concerned) follow every command. The looks that cost O(n)
//! (`Swarm::check`, the whole roster against the model, all target lists, the whole
//! tree) follow every command while the swarm weighs at most [`LIGHT`], and every
//! (weight / [`SPARSE`])th command beyond; between them, the lists of the nodes
//! nearest to the action and of a few at random stand for all, and every eighth
//! refusal for the others (a refused command leaves the digest as it was). A
//! livestream weighs its viewers, a group the square of its participants (its lists
//! are that long).

use starling_core::topology::Forwarder;
use std::collections::BTreeSet;

use starling_core::command::{By, CreateGroup, CreateLivestream};
use starling_core::event::Touched;
use starling_core::key::BroadcasterKey;
use starling_core::{
    Applied, Command, Event, LivestreamCommand, LivestreamEvent, NodeId, Rejection, Rules, SharedCommand, Swarm, apply,
};

use crate::coverage::Coverage;
use crate::homes::Homes;
use crate::invariants::{Lists, all_lists, check_forwarding, lists_of};
use crate::leases::Leases;
use crate::model::Model;
use crate::oracle::Oracle;
use crate::replay::{Log, Slot, digest, through};
use crate::twin::Twins;
use starling_testkit::Rng;

/// Up to this weight a swarm is looked at as a whole after every command.
const LIGHT: usize = 128;
/// Beyond, once in this part of its weight.
const SPARSE: usize = 64;
/// Commands from one twin to the next, and in a swarm of more weight a part of it.
const TWINS: usize = 16;

/// What a command is to come to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Expect {
    /// What the oracle says.
    Verdict,
    /// The answer of the original: its revision, and no event.
    Repeat {
        /// The original's.
        revision: u64,
    },
    /// Refused: the request's name was used for another request.
    Reused,
}

/// How the swarm was made.
#[derive(Debug)]
enum Made {
    Livestream(CreateLivestream, Option<BroadcasterKey>),
    Group(CreateGroup),
}

/// One swarm, its model and its history.
#[derive(Debug)]
pub(crate) struct World {
    /// Randomness of the run.
    pub(crate) rng: Rng,
    /// The time, in milliseconds.
    pub(crate) now: u64,
    /// Where the swarm lives.
    pub(crate) slot: Slot,
    /// What its events say.
    pub(crate) model: Option<Model>,
    /// What the run came across.
    pub(crate) coverage: Coverage,
    name: String,
    made: Option<Made>,
    leases: Leases,
    homes: Homes,
    log: Log,
    /// What was read from its bytes, and goes on beside it.
    pub(crate) twins: Twins,
    /// All lists and the digest after the last command, when they were looked at.
    lists: Option<Lists>,
    digest: Option<u64>,
}

impl World {
    /// An empty slot. `name` and `seed` tell a failure's place.
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            now: 1_700_000_000_000,
            slot: None,
            model: None,
            coverage: Coverage::default(),
            name: format!("{name}, SEED={seed}"),
            made: None,
            leases: Leases::default(),
            homes: Homes::default(),
            log: Log::default(),
            twins: Twins::default(),
            lists: None,
            digest: None,
        }
    }

    /// Submits a command at the present, now and then with a clock that lags.
    pub(crate) fn submit(&mut self, command: impl Into<Command>, expect: Expect) -> Result<Applied, Rejection> {
        let command = command.into();
        let at = if self.rng.chance(2) { self.now - self.rng.below(5_000) } else { self.now };
        let time = self.slot.as_deref().map_or(at, |swarm| swarm.now().max(at));
        if let Some(model) = &mut self.model {
            model.bans.pass_time(time);
        }
        let verdict = self.oracle().judge(&command);
        let refused = matches!(expect, Expect::Reused) || (matches!(expect, Expect::Verdict) && verdict.is_err());
        let digest_before = match self.digest.take() {
            None if refused && self.log.len().is_multiple_of(8) => digest(&self.slot),
            known => known,
        };
        let before = self.before(&command);
        let due_before = self.slot.as_deref().and_then(Swarm::next_expiry);
        let result = apply(&mut self.slot, through(command.clone()), at).map(|(applied, _)| applied);
        self.log.push(command.clone(), at, (&result).into());
        self.coverage.see(&command, &result);
        self.twins.apply(&command, at, &result, &self.slot);
        match (&result, expect) {
            (Err(rejection), Expect::Verdict) => {
                assert_eq!(verdict, Err(rejection.clone()), "the core refuses what the contract refuses");
            }
            (Err(rejection), Expect::Reused) => assert_eq!(*rejection, Rejection::RequestReused),
            (Err(rejection), Expect::Repeat { .. }) => panic!("a repeat was refused: {rejection}"),
            (Ok(_), Expect::Reused) => panic!("a request's name was taken twice"),
            (Ok(applied), Expect::Repeat { revision }) => {
                assert_eq!((applied.revision, applied.events.len()), (revision, 0));
                assert!(applied.ended.is_empty() && applied.grants.is_empty());
                // The answer is that of the original, not of the present.
                let swarm = self.slot.as_deref().expect("a repeat finds its swarm");
                assert_eq!(swarm.revision(), self.model.as_ref().expect("as before").revision);
            }
            (Ok(applied), Expect::Verdict) => {
                assert_eq!(verdict, Ok(()), "the core accepts what the contract accepts");
                self.take(&command, applied);
            }
        }
        if refused {
            let same = digest_before.is_none_or(|before| digest(&self.slot) == Some(before));
            assert!(same, "a refused command changes nothing");
            assert_eq!(self.slot.as_deref().and_then(Swarm::next_expiry), due_before);
        }
        self.look(&result, before);
        result
    }

    /// Submits Expire until nothing is due.
    pub(crate) fn expire(&mut self) {
        for round in 0.. {
            assert!(round < 20, "what is due gets done");
            self.submit(SharedCommand::Expire, Expect::Verdict).expect("an Expire is never refused");
            // A lagging clock may have kept the swarm's time behind ours.
            let Some(swarm) = self.slot.as_deref() else { return };
            if swarm.next_expiry().is_none_or(|next| next > swarm.now()) {
                self.leases.assert_none_is_due(swarm.now());
                let mut overrides = swarm.roster().iter().flat_map(|(_, member)| member.interests.overrides());
                assert!(overrides.all(|o| o.expires_at.is_none_or(|at| at > swarm.now())));
                assert!(
                    swarm.bans().iter_from(None).all(|(_, end)| end > swarm.now()),
                    "every ban that is over is gone"
                );
                return;
            }
        }
    }

    /// Moves the time to what is due next, and does it.
    pub(crate) fn jump(&mut self) {
        if let Some(next) = self.slot.as_deref().and_then(Swarm::next_expiry) {
            self.now = self.now.max(next);
            self.expire();
        }
    }

    /// True when something is due.
    pub(crate) fn is_due(&self) -> bool {
        self.slot.as_deref().and_then(Swarm::next_expiry).is_some_and(|next| next <= self.now)
    }

    /// Number of commands so far.
    pub(crate) fn steps(&self) -> usize {
        self.log.len()
    }

    /// Keeps a clone of the swarm for the replay.
    pub(crate) fn fork(&mut self) {
        self.log.fork(&self.slot);
    }

    /// Replays the run on replicas.
    pub(crate) fn check_replay(&mut self) {
        self.twins.compare(&self.slot);
        assert!(self.twins.made > 0, "a run without twins proves nothing of them");
        std::mem::take(&mut self.log).check(&self.slot);
    }

    fn oracle(&self) -> Oracle<'_> {
        match (&self.made, &self.model) {
            (Some(Made::Livestream(made, key)), Some(model)) => Oracle::Livestream(made, *key, model),
            (Some(Made::Group(made)), Some(model)) => Oracle::Group(made, model),
            _ => Oracle::Nothing,
        }
    }

    /// Takes an accepted command into the model.
    fn take(&mut self, command: &Command, applied: &Applied) {
        if applied.created {
            assert_eq!(applied.revision, 1);
            self.leases = Leases::default();
            self.homes = Homes::default();
            (self.made, self.model) = match command {
                Command::CreateLivestream(create) => {
                    (Some(Made::Livestream(create.clone(), None)), Some(Model::of_livestream(create, None)))
                }
                Command::CreateSignedLivestream(create, key) => {
                    (Some(Made::Livestream(create.clone(), Some(*key))), Some(Model::of_livestream(create, Some(*key))))
                }
                Command::CreateGroup(create) => (Some(Made::Group(create.clone())), Some(Model::of_group(create))),
                _ => panic!("only Create makes a swarm"),
            };
        }
        if let (
            Some(Made::Livestream(made, _)),
            Command::Shared(SharedCommand::Leave(_) | SharedCommand::Remove(..) | SharedCommand::Ban { .. }),
        ) = (&self.made, command)
        {
            assert_few_placements(applied, made.config.tree_fanout as usize);
        }
        let after = self.slot.as_deref();
        assert_eq!(applied.removed, self.model.is_some() && after.is_none(), "what is to be forgotten is gone");
        let Some(model) = &mut self.model else { return assert!(applied.events.is_empty()) };
        let concerned = model.fold(applied, after);
        let now = after.map_or(self.now, Swarm::now);
        self.leases.take(command, applied, now);
        self.homes.take(command, applied);
        model.bans.take(command, applied);
        if let Some(swarm) = after {
            concerned.iter().for_each(|node| model.compare_member(swarm, *node));
        }
        if let Command::Shared(SharedCommand::Join(join)) = command {
            let session = model.session(join.node);
            assert_eq!((applied.session, session), (Some(join.session), session.or(applied.session)));
        }
        if applied.removed {
            assert!(model.ended.is_some() && model.members.is_empty(), "only what is over and empty is forgotten");
            (self.made, self.model) = (None, None);
        }
    }

    fn look(&mut self, result: &Result<Applied, Rejection>, before: Before) {
        let (Some(swarm), Some(model)) = (self.slot.as_deref(), &self.model) else {
            assert!(self.slot.is_none() && self.model.is_none());
            return;
        };
        model.compare_swarm(swarm);
        self.coverage.peak = self.coverage.peak.max(swarm.roster().len() as u64);
        let weight = match swarm.rules() {
            Rules::Livestream(_) => swarm.roster().len(),
            Rules::Group(_) => swarm.roster().len() * swarm.roster().len(),
        };
        let whole = weight <= LIGHT || self.log.len().is_multiple_of(weight / SPARSE);
        let after = if whole {
            swarm.check();
            model.compare(swarm);
            self.leases.compare(swarm);
            self.homes.compare(swarm);
            let lists = all_lists(swarm);
            check_forwarding(swarm, &lists, model.tree_slots.array());
            self.digest = Some(swarm.digest());
            lists
        } else {
            lists_of(swarm, before.nodes.iter().copied())
        };
        match result {
            Ok(applied) if applied.created => {}
            Ok(applied) => assert_touched(&before, &after, &applied.touched),
            Err(_) => assert_touched(&before, &after, &Touched::default()),
        }
        self.lists = whole.then_some(after);
        if self.log.len().is_multiple_of(TWINS.max(weight / 4)) {
            self.twins.compare(&self.slot);
            self.twins.make(swarm, self.log.len());
        }
    }

    /// The lists before a command: all, if they are known; else of those near to the
    /// action, of the root and of a few others.
    fn before(&mut self, command: &Command) -> Before {
        let mut nodes: BTreeSet<_> = nodes_of(command).into_iter().map(Some).collect();
        if let Some(lists) = self.lists.take() {
            nodes.extend(lists.keys());
            return Before { nodes, lists };
        }
        let Some(swarm) = self.slot.as_deref() else { return Before::default() };
        nodes.insert(None);
        for node in nodes_of(command) {
            let list = swarm.targets(Forwarder::Node(node));
            nodes.extend(list.into_iter().flat_map(|list| list.targets).take(8).map(|target| Some(target.node)));
            let mut above = Some(node);
            for _parent_and_grandparent in 0..2 {
                let key = above.and_then(|node| swarm.roster().key(node));
                above = key.and_then(|key| swarm.view(key)?.placement?.parent);
                nodes.insert(above);
            }
        }
        for _ in 0..6 {
            let from = self.rng.index(1 + swarm.roster().len());
            nodes.extend(swarm.roster().iter_from(from).next().map(|(_, member)| Some(member.node)));
        }
        let lists = lists_of(swarm, nodes.iter().copied());
        Before { nodes, lists }
    }
}

/// Lists before a command, and the nodes whose lists are to be compared: those that
/// have one, and those that the command names.
#[derive(Debug, Default)]
struct Before {
    nodes: BTreeSet<Option<NodeId>>,
    lists: Lists,
}

/// Tells the place of a failure.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: step {}: {:?}", self.name, self.log.len(), self.log.last());
        }
    }
}

/// One departure changes the parents of at most 2f + 5 others and the backups of at
/// most 3f + 2; `tree` holds each bound by itself.
fn assert_few_placements(applied: &Applied, fanout: usize) {
    let moved = applied
        .events
        .iter()
        .filter(|event| matches!(event, Event::Livestream(LivestreamEvent::PlacementChanged { .. })))
        .count();
    assert!(moved <= 5 * fanout + 7, "{moved} placements changed by one departure");
}

/// Whoever's list or place differs is touched.
fn assert_touched(before: &Before, after: &Lists, touched: &Touched) {
    if touched.all {
        return;
    }
    let nodes: BTreeSet<NodeId> = touched.nodes.iter().copied().collect();
    for node in &before.nodes {
        let is_told = node.map_or(touched.root, |node| nodes.contains(&node));
        let same = before.lists.get(node) == after.get(node);
        assert!(same || is_told, "{node:?} has another list and is not touched");
    }
}

fn nodes_of(command: &Command) -> Vec<NodeId> {
    let by = |by: &By| by.node;
    match command {
        Command::Shared(SharedCommand::Join(join)) => vec![join.node],
        Command::Shared(SharedCommand::Touch(node, _))
        | Command::Shared(SharedCommand::Attach(node, ..))
        | Command::Shared(SharedCommand::Detach(node, ..)) => vec![*node],
        Command::Shared(SharedCommand::Remove(actor, node))
        | Command::Shared(SharedCommand::Ban { by: actor, node, .. })
        | Command::Shared(SharedCommand::Unban(actor, node))
        | Command::Shared(SharedCommand::ReportPeer(actor, node))
        | Command::Livestream(LivestreamCommand::AddModerator(actor, node))
        | Command::Livestream(LivestreamCommand::RemoveModerator(actor, node))
        | Command::Livestream(LivestreamCommand::Mute(actor, node))
        | Command::Livestream(LivestreamCommand::Unmute(actor, node))
        | Command::Livestream(LivestreamCommand::Transfer(actor, node))
        | Command::Livestream(LivestreamCommand::TransferSigned(actor, node, _)) => vec![by(actor), *node],
        _ => command.by().map(by).into_iter().collect(),
    }
}
