//! From INITIALIZING to ENDED.

use super::{Change, Config, Livestream, State};
use crate::command::{By, SwarmUpdate};
use crate::error::Rejection;
use crate::event::{Applied, EndReason, Event, LeaveReason};
use crate::interest::Channel;
use crate::last_members::LastMembers;
use crate::request::Method;
use crate::topology::{RelayTree, Topology};

impl Livestream {
    pub(super) fn go(&mut self, by: &By, to: State, from: &[State], change: &mut Change) -> Result<(), Rejection> {
        self.as_broadcaster(by)?;
        // Repeating a call is fine; so is Start or Resume of what is on air.
        if self.state == to {
            return Ok(());
        }
        if !from.contains(&self.state) {
            return Err(Rejection::WrongState(self.state));
        }
        self.set_state(to, None, change);
        Ok(())
    }

    pub(super) fn set_state(&mut self, state: State, reason: Option<EndReason>, change: &mut Change) {
        self.state = state;
        self.stats.set_active(state == State::Active, self.now);
        if state == State::Active {
            self.started_at.get_or_insert(self.now);
        }
        change.event(Event::StateChanged { state, reason });
        change.applied.grants.extend(self.grants());
    }

    pub(super) fn end(&mut self, by: By) -> Result<Applied, Rejection> {
        if self.state == State::Ended && by.node == self.broadcaster {
            return Ok(self.unchanged());
        }
        self.acting(by, Method::End, |livestream, by, change| {
            livestream.as_broadcaster(by)?;
            livestream.finish(EndReason::Requested, change);
            Ok(())
        })
    }

    /// Ends the livestream and every session in it.
    pub(super) fn finish(&mut self, reason: EndReason, change: &mut Change) {
        self.terms = [0; 5];
        change.applied.grants.extend(Channel::ALL.map(|channel| self.grant(channel)));
        self.set_state(State::Ended, Some(reason), change);
        self.ended = Some((self.now, reason));
        self.absent_since.get_or_insert(self.now);
        let roster = std::mem::take(&mut self.roster);
        self.last_members = LastMembers::of(&roster);
        for (_, member) in roster.iter() {
            self.stats.left(LeaveReason::Ended, member.levels());
        }
        self.tree = RelayTree::new(self.config.tree_fanout);
        self.topology = Topology::Star;
        change.applied.over = true;
        change.applied.touched.all = true;
        change.applied.retired = Some(Box::new(roster));
    }

    pub(super) fn update(&mut self, by: &By, update: SwarmUpdate, change: &mut Change) -> Result<(), Rejection> {
        self.as_broadcaster(by)?;
        let SwarmUpdate {
            metadata,
            subscriber_bytes_per_second,
            keyframe_interval_ms,
            max_lag_ms,
            capacity,
            broadcaster_timeout_ms,
        } = update;
        let old = &self.config;
        let config = Config {
            subscriber_bytes_per_second: subscriber_bytes_per_second.unwrap_or(old.subscriber_bytes_per_second),
            keyframe_interval_ms: keyframe_interval_ms.unwrap_or(old.keyframe_interval_ms),
            max_viewers: capacity.unwrap_or(old.max_viewers),
            max_lag_ms: max_lag_ms.unwrap_or(old.max_lag_ms),
            broadcaster_timeout_ms: broadcaster_timeout_ms.unwrap_or(old.broadcaster_timeout_ms),
            ..old.clone()
        };
        let metadata = metadata.unwrap_or_else(|| self.metadata.clone());
        if (&config, &metadata) == (old, &self.metadata) {
            return Ok(());
        }
        if config != *old {
            let made_with = std::mem::replace(&mut self.config, config.clone());
            self.made_with.get_or_insert_with(|| Box::new(made_with));
        }
        self.metadata = metadata.clone();
        change.event(Event::LivestreamUpdated { metadata, config: Box::new(config) });
        Ok(())
    }
}
