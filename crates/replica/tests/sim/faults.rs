//! What goes wrong, and how often.

use starling_replica::memory_log::PublishFate;
use starling_testkit::Rng;

use crate::cluster::Cluster;

/// Which faults a run has. Percentages are of single events; the others happen once in so many steps, 0 for never.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profile {
    /// Most of what clients do is of real swarms.
    pub(crate) has_swarms: bool,
    pub(crate) unacknowledged_percent: u64,
    pub(crate) never_percent: u64,
    pub(crate) late_percent: u64,
    pub(crate) twice_percent: u64,
    pub(crate) stale_percent: u64,
    pub(crate) absent_percent: u64,
    pub(crate) store_fault_percent: u64,
    pub(crate) lossy: u64,
    pub(crate) election: u64,
    pub(crate) clock_step: u64,
    pub(crate) full: u64,
    pub(crate) damage: u64,
    pub(crate) kill: u64,
    pub(crate) pause: u64,
    pub(crate) cut_log: u64,
    pub(crate) cut_peers: u64,
    pub(crate) rewind: u64,
    pub(crate) lose_all: u64,
}

impl Profile {
    /// All kinds of faults, each in some runs. In a quarter of the runs the log loses what it has taken.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_add(1 << 40));
        let mut percent = |most: u64| if rng.one_in(3) { 0 } else { rng.below(most + 1) };
        let mut profile = Self {
            has_swarms: seed % 3 == 1,
            unacknowledged_percent: percent(30),
            never_percent: percent(15),
            late_percent: percent(10),
            twice_percent: percent(15),
            stale_percent: percent(20),
            absent_percent: percent(20),
            store_fault_percent: percent(20),
            ..Self::default()
        };
        let mut once_in = |steps: u64| if rng.one_in(3) { 0 } else { steps };
        profile.lossy = once_in(200);
        profile.election = once_in(400);
        profile.clock_step = once_in(200);
        profile.full = once_in(600);
        profile.damage = once_in(400);
        profile.kill = once_in(300);
        profile.pause = once_in(300);
        profile.cut_log = once_in(300);
        profile.cut_peers = once_in(400);
        if seed % 4 == 3 {
            // One that both forgets and cannot be read again is lost for good.
            profile.damage = 0;
            profile.rewind = once_in(300);
            profile.lose_all = if profile.rewind == 0 { 300 } else { once_in(500) };
        }
        profile
    }

    pub(crate) const fn loses(&self) -> bool {
        self.rewind > 0 || self.lose_all > 0
    }
}

#[derive(Debug)]
pub(crate) struct Faults {
    pub(crate) profile: Profile,
    full_until: u64,
    cut_until: Vec<u64>,
    peers_cut_until: Vec<u64>,
    /// Steps of an hour forwards, by which the lease clock may gain.
    pub(crate) forward_steps: u64,
    /// How often the log has lost something.
    pub(crate) losses: u64,
}

impl Faults {
    pub(crate) fn new(profile: Profile) -> Self {
        let (cut_until, peers_cut_until) = (vec![0; 7], vec![0; 7]);
        Self { profile, full_until: 0, cut_until, peers_cut_until, forward_steps: 0, losses: 0 }
    }

    /// What becomes of a publish.
    pub(crate) fn delivery(&self, rng: &mut Rng) -> PublishFate {
        let profile = &self.profile;
        if rng.chance(profile.never_percent) {
            return PublishFate::default();
        }
        let late = |rng: &mut Rng| rng.within(100, 25_000);
        let mut copies = vec![if rng.chance(profile.late_percent) { late(rng) } else { rng.within(1, 10) }];
        if rng.chance(profile.twice_percent) {
            copies.push(late(rng));
        }
        let acknowledged = (!rng.chance(profile.unacknowledged_percent)).then(|| rng.below(10));
        PublishFate { copies, acknowledged }
    }

    pub(crate) fn happen(cluster: &mut Cluster) {
        let profile = cluster.faults.profile.clone();
        let (now, count) = (cluster.now, cluster.pods.len());
        let mut strikes = |once_in: u64| once_in > 0 && cluster.rng.one_in(once_in);
        let struck = [
            profile.lossy,
            profile.election,
            profile.clock_step,
            profile.full,
            profile.damage,
            profile.kill,
            profile.pause,
            profile.cut_log,
            profile.cut_peers,
            profile.rewind,
            profile.lose_all,
        ]
        .map(&mut strikes);
        let at = cluster.rng.index(count);
        let duration = cluster.rng.within(500, 20_000);
        let [lossy, election, clock_step, full, damage, kill, pause, cut_log, cut_peers, rewind, lose_all] = struck;
        if lossy {
            cluster.pods[at].lost_percent = cluster.rng.pick(&[0, 10, 50, 100]);
        }
        if election {
            cluster.coverage.elections += 1;
            let ms = cluster.rng.within(4_000, 9_000);
            cluster.log.elect_for(ms);
        }
        if clock_step {
            let is_forward = cluster.rng.chance(50);
            cluster.faults.forward_steps += u64::from(is_forward);
            cluster.log.step_timestamps(if is_forward { 3_600_000 } else { -3_600_000 });
        }
        if full {
            cluster.faults.full_until = now + duration / 2;
        }
        cluster.log.set_full(now < cluster.faults.full_until);
        if damage {
            cluster.log.damage_newest_object();
        }
        if cluster.pods[at].replica.is_none() {
            if cluster.rng.one_in(60) {
                cluster.start(at);
            }
        } else if kill && cluster.pods.iter().filter(|pod| pod.replica.is_some()).count() > 1 {
            cluster.coverage.kills += 1;
            cluster.kill(at);
        } else if pause {
            cluster.pods[at].paused_until = now + duration;
        }
        if cut_log {
            cluster.faults.cut_until[at] = now + duration;
        }
        if cut_peers {
            cluster.faults.peers_cut_until[at] = now + duration;
        }
        for (at, pod) in cluster.pods.iter_mut().enumerate() {
            pod.is_cut_from_log = now < cluster.faults.cut_until[at];
            pod.is_cut_from_peers = now < cluster.faults.peers_cut_until[at];
        }
        if cluster.rng.one_in(100) && profile.stale_percent > 0 {
            cluster.log.cut_replica();
        }
        if rewind {
            let most = cluster.rng.pick(&[1, 5, 30, 200]);
            let messages = cluster.rng.within(1, most);
            cluster.faults.losses += u64::from(cluster.log.rewind(usize::try_from(messages).expect("few")) > 0);
        }
        if lose_all {
            cluster.faults.losses += 1;
            cluster.log.lose_all();
            if cluster.rng.one_in(3) {
                cluster.log.lose_objects();
            }
        }
    }

    /// Everything is well again, and all pods run.
    pub(crate) fn end(cluster: &mut Cluster) {
        let profile = Profile { rewind: 0, lose_all: 0, ..Profile::default() };
        let loses = cluster.faults.profile.loses();
        cluster.faults.profile = profile;
        cluster.checks.loses = loses;
        cluster.log.set_full(false);
        for at in 0..cluster.pods.len() {
            let pod = &mut cluster.pods[at];
            (pod.paused_until, pod.lost_percent) = (0, 0);
            (pod.is_cut_from_log, pod.is_cut_from_peers) = (false, false);
            if pod.replica.is_none() {
                cluster.start(at);
            }
        }
    }
}
