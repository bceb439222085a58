//! What a publisher is told of its subscribers: who wants what, who skips, which keyframes are wanted.

use std::time::Duration;

use tokio::time::Instant;

use super::PublishStream;
use crate::clock;
use crate::feed::SkipReport;
use crate::pb::livestream::v1::publish_updates_response::Event;
use crate::pb::swarm::v1 as shared;

/// Changes of demand are gathered for this long.
const DEMAND_PAUSE: Duration = Duration::from_millis(100);

/// What subscribers skip is gathered for this long.
const SKIPS_PAUSE: Duration = Duration::from_secs(1);

impl PublishStream {
    /// Tells what the publisher should know of its subscribers. Answers when to look again.
    pub(super) fn tell_of_subscribers(&mut self) -> Option<Instant> {
        [self.tell_interests(), self.tell_skips()].into_iter().flatten().min()
    }

    /// Tells who skips updates.
    pub(super) fn tell_skips(&mut self) -> Option<Instant> {
        if !self.handle.has_skips() {
            return None;
        }
        let now = Instant::now();
        if self.skips_at > now {
            return Some(self.skips_at);
        }
        self.skips_at = now + SKIPS_PAUSE;
        let skips = self.handle.take_skips().into_iter();
        let channels = skips.map(|(channel, SkipReport { reason, subscribers, updates })| shared::ChannelSkips {
            channel: shared::UpdateChannel::from(channel).into(),
            reason: shared::GapReason::from(reason).into(),
            subscribers,
            updates,
            track: 0,
        });
        self.ready.push_back(Event::Skips(shared::Skips { channels: channels.collect() }));
        None
    }

    /// Tells which keyframes are wanted, and who wants what when that has changed.
    fn tell_interests(&mut self) -> Option<Instant> {
        let (channels, next) = self.handle.keyframes_due();
        self.ready.extend(channels.into_iter().map(|channel| {
            Event::KeyframeRequest(shared::KeyframeRequest {
                channel: shared::UpdateChannel::from(channel).into(),
                track: 0,
            })
        }));
        let now = Instant::now();
        let keyframes = next.map(|at| now + Duration::from(at.saturating_sub(clock::uptime())));
        if !self.handle.may_want_else() {
            return keyframes;
        }
        if self.demand_at > now {
            return [keyframes, Some(self.demand_at)].into_iter().flatten().min();
        }
        self.demand_at = now + DEMAND_PAUSE;
        if let Some(demand) = self.handle.demand() {
            let channels = demand.iter().map(|(channel, demand)| shared::ChannelDemand {
                channel: shared::UpdateChannel::from(*channel).into(),
                highest_interest: shared::Interest::from(demand.highest).into(),
                subscribers: demand.subscribers,
                track: 0,
            });
            self.ready.push_back(Event::Demand(shared::Demand { channels: channels.collect() }));
        }
        keyframes
    }
}
