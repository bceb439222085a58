//! When a publisher is asked for a keyframe.

use crate::clock::Micros;

/// The least time between two requests.
const LEAST: Micros = Micros::from_millis(200);
/// How often a request is repeated while somebody waits.
const REPEAT: Micros = Micros::from_millis(1_000);

/// One subscriber's wait for a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyframeWait {
    /// How many there had been.
    keyframes: u32,
}

/// Who wants a keyframe of one lane, and when the publisher was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct KeyframeRequests {
    /// Somebody asked since the last request and the last keyframe.
    pending: bool,
    /// Subscribers that have waited since the last keyframe: one that came before serves
    /// those who waited for it, though they may read it later.
    waiting: u32,
    keyframes: u32,
    asked: Option<Micros>,
    /// The last keyframe; without one, when somebody first looked after the claim.
    fresh: Option<Micros>,
}

impl KeyframeRequests {
    /// A publisher has claimed the lane.
    pub(super) const fn begin(&mut self) {
        self.fresh = None;
    }

    /// A keyframe came.
    pub(super) const fn keyframe(&mut self, now: Micros) {
        (self.pending, self.fresh, self.waiting) = (false, Some(now), 0);
        self.keyframes = self.keyframes.wrapping_add(1);
    }

    /// Somebody asks.
    pub(super) const fn ask(&mut self) {
        self.pending = true;
    }

    /// One subscriber more waits.
    pub(super) const fn add_waiter(&mut self) -> KeyframeWait {
        (self.waiting, self.pending) = (self.waiting + 1, true);
        KeyframeWait { keyframes: self.keyframes }
    }

    /// One subscriber less waits, unless a keyframe has come for it.
    pub(super) const fn remove_waiter(&mut self, wait: KeyframeWait) {
        if self.is_for(wait) {
            self.waiting -= 1;
        }
    }

    /// True while no keyframe has come for one who waits.
    pub(super) const fn is_for(&self, wait: KeyframeWait) -> bool {
        wait.keyframes == self.keyframes
    }

    pub(super) const fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// True when somebody asks, or waits.
    pub(super) const fn is_requested(&self) -> bool {
        self.pending || self.has_waiting()
    }

    /// When the publisher is to be asked next, if nothing changes. `interval` is the
    /// longest time without a keyframe; `None` = any.
    pub(super) fn due(&mut self, interval: Option<Micros>, now: Micros) -> Option<Micros> {
        let fresh = *self.fresh.get_or_insert(now);
        let asked = |later: Micros| self.asked.map_or(Micros::ZERO, |at| at + later);
        let interval = interval.map(|interval| (fresh + interval).max(asked(interval)));
        let request = if self.pending {
            Some(asked(LEAST))
        } else if self.has_waiting() {
            Some(asked(REPEAT))
        } else {
            None
        };
        [request, interval].into_iter().flatten().min()
    }

    /// The publisher has been asked.
    pub(super) const fn asked(&mut self, now: Micros) {
        (self.pending, self.asked) = (false, Some(now));
    }

    /// True when the next update should be a keyframe, whoever publishes it.
    pub(super) fn is_wanted(&self, interval: Option<Micros>, now: Micros) -> bool {
        self.is_requested() || self.fresh.zip(interval).is_some_and(|(fresh, interval)| fresh + interval <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Micros = Micros::new(5);
    const INTERVAL: Option<Micros> = Some(Micros::from_millis(2_000));

    #[test]
    fn request_is_forwarded_at_most_every_200_ms() {
        let mut requests = KeyframeRequests::default();
        requests.begin();
        assert_eq!(requests.due(None, NOW), None);
        requests.ask();
        assert_eq!(requests.due(None, NOW), Some(Micros::new(0)));
        requests.asked(Micros::new(1_000_000));
        requests.ask();
        assert_eq!(requests.due(None, NOW), Some(Micros::new(1_200_000)));
    }

    #[test]
    fn request_repeats_every_second_while_subscribers_wait() {
        let mut requests = KeyframeRequests::default();
        let wait = requests.add_waiter();
        requests.asked(Micros::new(10));
        assert_eq!(requests.due(None, NOW), Some(Micros::new(1_000_010)));
        requests.remove_waiter(wait);
        assert_eq!(requests.due(None, NOW), None);
    }

    #[test]
    fn keyframe_serves_only_those_already_waiting() {
        let mut requests = KeyframeRequests::default();
        let served = requests.add_waiter();
        requests.keyframe(Micros::new(1));
        assert!(!requests.is_requested(), "though nobody has read it yet");
        let late = requests.add_waiter();
        requests.remove_waiter(served);
        assert!(requests.has_waiting());
        requests.remove_waiter(late);
        assert!(!requests.has_waiting());
    }

    #[test]
    fn missing_keyframe_is_requested_once_per_interval() {
        let mut requests = KeyframeRequests::default();
        requests.begin();
        assert_eq!(requests.due(INTERVAL, Micros::new(1_000)), Some(Micros::new(2_001_000)));
        requests.asked(Micros::new(2_001_000));
        assert_eq!(requests.due(INTERVAL, NOW), Some(Micros::new(4_001_000)));
        requests.keyframe(Micros::new(2_500_000));
        assert_eq!(requests.due(INTERVAL, NOW), Some(Micros::new(4_500_000)));
    }
}
