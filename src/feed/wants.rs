//! What this pod wants of the homes of lanes, for its own subscribers.

use super::demand::Demand;
use super::position::{LaneId, TermSeq};
use super::state::Feed;
use super::subscriber::Selection;
use crate::clock::Micros;
use starling_core::channel::{Channel, ChannelSet};
use starling_core::id::{NO_HOME, NodeId, PodId};

/// A lane that is wanted of another pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedLane {
    /// Whose.
    pub source: NodeId,
    /// On what.
    pub channel: Channel,
    /// Which pod.
    pub home: PodId,
    /// The newest update that came from there or elsewhere.
    pub after: Option<TermSeq>,
    /// What subscribers here want of it.
    pub demand: Demand,
    /// Its term there is over, and only the end of it is wanted.
    pub is_former: bool,
}

impl Feed {
    /// What subscribers on all pods want of a source, as far as their pods follow this one.
    pub(super) fn add_followers(&self, demand: &mut [(Channel, Demand)], source: NodeId) {
        for (channel, demand) in demand {
            self.followers.add_to(demand, (Some(source), *channel));
        }
    }

    /// The lanes that are wanted of other pods: those that somebody here subscribes to, and ends of terms whose publisher
    /// goes on here. O(lanes).
    pub fn wanted_lanes(&self) -> Vec<WantedLane> {
        let state = self.state.lock();
        let own = state.own;
        let mut wanted = Vec::new();
        if own == NO_HOME {
            return wanted;
        }
        for (_, lane) in state.lanes.iter() {
            let (Some(source), channel) = lane.id else { continue };
            let former = lane.upstream.iter().flat_map(|upstream| &upstream.former).map(|former| former.home);
            let has_home = lane.is_elsewhere(own);
            if !has_home && !lane.awaits_seal() {
                continue;
            }
            let channels: ChannelSet = [channel].into_iter().collect();
            let demand = self.subscribers.demand(source, channels).first().map(|(_, demand)| *demand);
            let (demand, after) = (demand.unwrap_or_default(), lane.seen());
            let one = |home, is_former| WantedLane { source, channel, home, after, demand, is_former };
            if has_home && demand.subscribers > 0 {
                wanted.push(one(lane.home(), false));
            }
            if demand.subscribers > 0 || lane.home() == own {
                let others = former.filter(|home| *home != own && *home != lane.home());
                wanted.extend(others.map(|home| one(home, true)));
            }
        }
        wanted
    }

    /// VISUAL and SCREEN lanes of another pod for which a keyframe is to be asked for there now, and when to look again.
    /// The caller must send the requests that are returned.
    pub fn keyframes_wanted(&self, home: PodId, now: Micros) -> (Vec<(NodeId, Channel)>, Option<Micros>) {
        let mut state = self.state.lock();
        let own = state.own;
        let (mut ask, mut next) = (Vec::new(), None::<Micros>);
        for (_, lane) in state.lanes.iter_mut().filter(|(_, lane)| lane.home() == home && lane.asks_elsewhere(own)) {
            let Some(source) = lane.id.0 else { continue };
            // How long a publisher may send none is its home's business.
            if lane.requests.due(None, now).is_some_and(|due| due <= now) {
                lane.requests.asked(now);
                ask.push((source, lane.id.1));
            }
            next = [next, lane.requests.due(None, now)].into_iter().flatten().min();
        }
        (ask, next)
    }

    /// Notes whether all that a home had at first of these lanes is here.
    pub fn note_complete(&self, lanes: &[(NodeId, Channel)], complete: bool) {
        let mut state = self.state.lock();
        for (source, channel) in lanes {
            if let Some(lane) = state.lanes.get_mut((Some(*source), *channel)) {
                lane.upstream_mut().complete = complete;
            }
        }
        drop(state);
        self.producers.notify_waiters();
    }

    /// Notes that what comes from a home is not all that it has any more.
    pub fn note_cut(&self, home: PodId) {
        let mut state = self.state.lock();
        for (_, lane) in state.lanes.iter_mut().filter(|(_, lane)| lane.home() == home) {
            lane.upstream.iter_mut().for_each(|upstream| upstream.complete = false);
        }
    }

    /// True while a subscription should wait: what is at the home of one of its lanes is on its way, or one of these
    /// points is.
    pub fn awaits_upstream(&self, selection: &Selection, points: &[(LaneId, TermSeq)]) -> bool {
        let state = self.state.lock();
        let own = state.own;
        let lanes = state.lanes.iter().map(|(_, lane)| lane).filter(|lane| selection.contains(lane.id));
        lanes.filter(|lane| lane.is_elsewhere(own)).any(|lane| {
            let (Some(source), channel) = lane.id else { return false };
            let channels: ChannelSet = [channel].into_iter().collect();
            let wants = self.subscribers.demand(source, channels).iter().any(|(_, demand)| demand.subscribers > 0);
            let complete = lane.upstream.as_ref().is_some_and(|upstream| upstream.complete);
            let behind = points.iter().any(|(of, point)| *of == lane.id && point.1 > 0 && lane.head < Some(*point));
            wants && (!complete || behind)
        })
    }

    /// Who publishes on a lane: the term, and its home.
    pub fn holder(&self, source: NodeId, channel: Channel) -> Option<(u64, PodId)> {
        let state = self.state.lock();
        let lane = state.lanes.get((Some(source), channel)).filter(|lane| lane.term != 0)?;
        Some((lane.term, lane.home()))
    }
}
