//! One swarm and all that lives and changes with it.

mod replacement;

use starling_core::topology::{Forwarder, TargetList};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

use super::Settings;
use super::census::Incarnation;
use super::counts::Counted;
use super::log::{EventLog, LogMemory, Origin, Revision};
use super::state::{Booked, CreatorPermit, StateBudget};
use super::wake::Wakes;
use crate::clock;
use crate::feed::{self, Feed, Granted, Limits, Memory, Micros};
use crate::sync::Mutex;
use starling_core::counted::Map;
use starling_core::event::{LeaveReason, Touched};
use starling_core::id::{NodeId, PodId, SessionId, SwarmId, SwarmKind};
use starling_core::steps::{count, uncounted};
use starling_core::{Applied, Rules, Swarm};

pub(super) use replacement::Brought;

/// What binds the streams of a session to it: they end when it does.
#[derive(Debug, Default)]
pub struct SessionEnd {
    ended: OnceLock<LeaveReason>,
    changed: Arc<Notify>,
}

impl SessionEnd {
    /// Why the session ended, if it has.
    pub fn ended(&self) -> Option<LeaveReason> {
        self.ended.get().copied()
    }

    /// Notified when the session ends.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }
}

/// One swarm and all that lives and changes with it.
#[derive(Debug)]
pub struct Entry {
    pub(super) swarm: Option<Box<Swarm>>,
    incarnation: Arc<Incarnation>,
    pub(super) due: Option<u64>,
    /// [`EventLog::class`], as its shard knows it.
    pub(super) log_class: u32,
    /// What of it its shard has counted.
    pub(super) counted: Counted,
    log: EventLog,
    feed: Arc<Feed>,
    /// Notified after each revision.
    changed: Arc<Notify>,
    /// Where the log goes when the swarm does, for those who have not read its end.
    final_log: Arc<OnceLock<EventLog>>,
    /// Who waits for changes of whose targets.
    targets: Map<Forwarder, Watched>,
    /// Sessions with streams on this pod that keep them alive.
    sessions: Map<SessionId, Bound>,
    /// Nodes with streams on this pod that follow them from session to session.
    followers: Map<NodeId, Bound>,
    booked: Booked,
    /// Of the swarm as it is; `None` = not known. Of a replicated log alone.
    pub(super) digest: Option<u64>,
    /// Pods of a cluster that its shard knows to have streams of it, or to be the home of a term.
    pub(super) pods: Vec<PodId>,
}

/// Streams that are bound to one member.
#[derive(Debug)]
struct Bound {
    end: Arc<SessionEnd>,
    streams: u32,
    node: NodeId,
}

#[derive(Debug, Default)]
struct Watched {
    changed: Arc<Notify>,
    watchers: u32,
    /// As it is now, once a watcher has asked for it; for all of them.
    list: Mutex<Option<Arc<TargetList>>>,
}

impl Watched {
    /// Forgets the list; whom to wake.
    fn touch(&self) -> Arc<Notify> {
        *self.list.lock() = None;
        Arc::clone(&self.changed)
    }
}

impl Entry {
    pub(super) fn new(
        settings: Settings,
        memory: &Arc<Memory>,
        state: &Arc<StateBudget>,
        logs: &Arc<LogMemory>,
        id: SwarmId,
        swarm: Box<Swarm>,
    ) -> Self {
        let feed = Feed::new(feed_settings(&swarm, settings.ring_bytes), Arc::clone(memory));
        Self {
            incarnation: Incarnation::new(id, swarm.epoch()),
            swarm: Some(swarm),
            due: None,
            log_class: 0,
            counted: Counted::default(),
            log: EventLog::new(settings.event_log_revisions, settings.event_log_bytes, Arc::clone(logs)),
            feed,
            changed: Arc::default(),
            final_log: Arc::default(),
            targets: Map::new(),
            sessions: Map::new(),
            followers: Map::new(),
            booked: Booked::new(Arc::clone(state)),
            digest: None,
            pods: Vec::new(),
        }
    }

    /// The swarm.
    pub fn swarm(&self) -> &Swarm {
        self.swarm.as_deref().expect("an entry is in its shard only while it has a swarm")
    }

    /// Books what the swarm takes now.
    pub(super) fn book(&mut self, id: SwarmId) {
        let (bytes, ended) = (self.swarm().bytes(), self.swarm().ended());
        self.booked.set(bytes, ended.map(|(at, _)| (at, id)));
    }

    /// Books it on those who made it.
    pub(crate) fn book_on(&mut self, creators: Vec<CreatorPermit>) {
        self.booked.book_on(creators);
    }

    /// What is booked for the swarm.
    pub(crate) const fn booked(&self) -> &Booked {
        &self.booked
    }

    /// Which of those that have had its id.
    pub fn incarnation(&self) -> Arc<Incarnation> {
        Arc::clone(&self.incarnation)
    }

    /// Its last events.
    pub const fn log(&self) -> &EventLog {
        &self.log
    }

    /// Gives up the older half of its log, at most `limit` revisions of it.
    pub(super) fn halve_log(&mut self, limit: usize) -> Vec<Arc<Revision>> {
        self.log.trim(self.log.bytes() / 2, limit)
    }

    /// Its last events once it is gone; empty until then.
    pub fn final_log(&self) -> Arc<OnceLock<EventLog>> {
        Arc::clone(&self.final_log)
    }

    /// Ends with its swarm: leaves the end of the log to those who still read it.
    pub(super) fn close(self, wakes: &mut Wakes) {
        let Self { mut log, final_log, .. } = self;
        wakes.free(log.close());
        // Nobody else closes it.
        final_log.set(log).expect("an entry is closed once");
    }

    /// Its updates.
    pub fn feed(&self) -> Arc<Feed> {
        Arc::clone(&self.feed)
    }

    /// Notified after each revision.
    pub fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Starts to watch the targets of a node: notified when they may
    /// have changed.
    pub(crate) fn watch_targets(&mut self, of: Forwarder) -> Arc<Notify> {
        let watched = self.targets.entry(of).or_default();
        watched.watchers += 1;
        Arc::clone(&watched.changed)
    }

    /// The targets of a node that is watched, copied once for all who watch it; `None` when it is no
    /// member. O(1), or O(targets) for the first who asks after a change.
    pub(crate) fn targets(&self, of: Forwarder) -> Option<Arc<TargetList>> {
        let swarm = self.swarm();
        // The broadcaster forwards without a session, too.
        if let Forwarder::Node(node) = of
            && swarm.broadcaster() != Some(node)
        {
            swarm.roster().key(node)?;
        }
        let Some(watched) = self.targets.get(&of) else { return swarm.targets(of).map(Arc::new) };
        let mut list = watched.list.lock();
        match &*list {
            // What touches a list tells so.
            Some(known) => uncounted(|| debug_assert_eq!(Some(&**known), swarm.targets(of).as_ref())),
            None => *list = swarm.targets(of).map(Arc::new),
        }
        list.clone()
    }

    /// Ends what [`Self::watch_targets`] began.
    pub(crate) fn unwatch_targets(&mut self, of: Forwarder) {
        if let Some(watched) = self.targets.get_mut(&of) {
            watched.watchers -= 1;
            if watched.watchers == 0 {
                self.targets.remove(&of);
            }
        }
    }

    pub(super) fn attach(&mut self, node: NodeId, session: SessionId) -> Arc<SessionEnd> {
        count_up(&mut self.sessions, session, node)
    }

    /// True when that was the last stream that kept the session alive.
    pub(super) fn detach(&mut self, session: SessionId) -> bool {
        count_down(&mut self.sessions, session)
    }

    /// Ends what [`Self::attach`] began, of streams that a replicated log counts. A swarm that took the place of another
    /// knows nothing of its streams.
    pub(super) fn unbind(&mut self, session: SessionId, end: &Arc<SessionEnd>) {
        if self.sessions.get(&session).is_some_and(|current| Arc::ptr_eq(&current.end, end)) {
            count_down(&mut self.sessions, session);
        }
    }

    /// Binds a stream to a member, whatever its session, without keeping it alive;
    /// `None` when the node is no member.
    pub(crate) fn follow(&mut self, node: NodeId) -> Option<Arc<SessionEnd>> {
        self.swarm().roster().key(node)?;
        Some(count_up(&mut self.followers, node, node))
    }

    /// Ends what [`Self::follow`] began.
    pub(crate) fn unfollow(&mut self, node: NodeId, end: &Arc<SessionEnd>) {
        // The node may have left, and others may follow it since it came back.
        if self.followers.get(&node).is_some_and(|current| Arc::ptr_eq(&current.end, end)) {
            count_down(&mut self.followers, node);
        }
    }

    /// Does everything that must happen in one step with a command.
    pub(super) fn apply_effects(&mut self, applied: &mut Applied, origin: Origin, wakes: &mut Wakes) {
        count(applied.ended.len() + applied.left.len() + applied.touched.nodes.len() + applied.events.len());
        for (session, reason) in applied.ended.drain(..) {
            end_session(self.sessions.remove(&session), reason, wakes);
        }
        for (node, reason) in &applied.left {
            end_session(self.followers.remove(node), *reason, wakes);
        }
        self.feed.members_left(&applied.left.iter().map(|(node, _)| *node).collect::<Vec<_>>());
        for (node, interests) in &applied.interests {
            let parked = self.feed.set_interests(*node, interests);
            if !parked.is_empty() {
                wakes.push(self.feed.producers());
                wakes.wake(parked);
            }
        }
        let over = applied.over || applied.removed;
        if over {
            let (sessions, followers) = (self.sessions.take(), self.followers.take());
            let all = sessions.into_values().chain(followers.into_values());
            all.for_each(|ends| end_session(Some(ends), LeaveReason::Ended, wakes));
            wakes.push(self.feed.producers());
            wakes.wake_all(Arc::clone(&self.feed));
        }
        // The grants come last: whoever finds its own gone then knows why.
        let granted = Granted::at(applied.revision);
        self.feed.enforce_as(&applied.grants, granted, &applied.former_sources, over);
        if !applied.grants.is_empty() {
            wakes.push(self.feed.producers());
        }
        if let Some(message) = applied.message.take() {
            // What is lost here for want of memory is told to those who read by a gap.
            self.feed.append_chat(*message, origin.at, clock::uptime());
        }
        if applied.updated {
            self.feed.set_limits(limits(self.swarm()));
            wakes.push(self.feed.producers());
            wakes.wake_all(Arc::clone(&self.feed));
        }
        self.wake_target_watchers(&applied.touched, wakes);
        if !applied.events.is_empty() {
            self.log.append(applied.revision, origin, std::mem::take(&mut applied.events));
            wakes.push(Arc::clone(&self.changed));
        }
    }

    fn wake_target_watchers(&self, touched: &Touched, wakes: &mut Wakes) {
        if self.targets.is_empty() {
            return;
        }
        if touched.all {
            self.targets.values().for_each(|watched| wakes.push(watched.touch()));
            return;
        }
        let broadcaster = self.swarm.as_deref().and_then(Swarm::broadcaster);
        let broadcaster = broadcaster.filter(|_| touched.root);
        let root = touched.root.then_some(Forwarder::Broadcaster);
        let nodes = broadcaster.into_iter().chain(touched.nodes.iter().copied());
        for forwarder in root.into_iter().chain(nodes.map(Forwarder::Node)) {
            wakes.extend(self.targets.get(&forwarder).map(Watched::touch));
        }
    }
}

/// What a swarm's feed is to be like.
fn feed_settings(swarm: &Swarm, ring_bytes: usize) -> feed::Settings {
    feed::Settings { ring_bytes, shared_chat: swarm.kind() == SwarmKind::Livestream, limits: limits(swarm) }
}

/// What of it the configuration of the swarm says, and may say otherwise later.
fn limits(swarm: &Swarm) -> Limits {
    const OLDEST: Micros = Micros::from_millis(10_000);
    let (keyframes_ms, lag_ms, bandwidth) = match swarm.rules() {
        Rules::Livestream(livestream) => {
            let config = livestream.config();
            (config.keyframe_interval_ms, config.max_lag_ms, config.subscriber_bytes_per_second)
        }
        Rules::Group(group) => {
            let config = group.config();
            (config.keyframe_interval_ms, config.max_lag_ms, config.subscriber_bytes_per_second)
        }
    };
    let micros = |ms: u32| Micros::from_millis(ms.into());
    Limits {
        max_age: OLDEST.max(micros(keyframes_ms) * 2),
        keyframe_interval: Some(micros(keyframes_ms)),
        max_lag: micros(lag_ms),
        bandwidth: Some(bandwidth),
    }
}

fn count_up<K: Ord>(all: &mut Map<K, Bound>, to: K, node: NodeId) -> Arc<SessionEnd> {
    let bound = all.entry(to).or_insert_with(|| Bound { end: Arc::default(), streams: 0, node });
    bound.streams += 1;
    Arc::clone(&bound.end)
}

/// True when that was the last one.
fn count_down<K: Ord>(all: &mut Map<K, Bound>, from: K) -> bool {
    let Some(bound) = all.get_mut(&from) else { return false };
    bound.streams -= 1;
    let last = bound.streams == 0;
    if last {
        all.remove(&from);
    }
    last
}

fn end_session(bound: Option<Bound>, reason: LeaveReason, wakes: &mut Wakes) {
    let Some(Bound { end, .. }) = bound else { return };
    // A session ends once.
    if end.ended.set(reason).is_ok() {
        wakes.push(Arc::clone(&end.changed));
    }
}
