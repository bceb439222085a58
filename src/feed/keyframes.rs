//! When a publisher is asked for a keyframe.

use super::Micros;

/// The least time between two requests.
const LEAST: Micros = 200_000;
/// How often a request is repeated while somebody waits.
const REPEAT: Micros = 1_000_000;

/// One subscriber's wait for a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// How many there had been.
    keyframes: u32,
}

/// Who wants a keyframe of one lane, and when the publisher was asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Want {
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

impl Want {
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
    pub(super) const fn wait(&mut self) -> Wait {
        (self.waiting, self.pending) = (self.waiting + 1, true);
        Wait { keyframes: self.keyframes }
    }

    /// One subscriber less waits, unless a keyframe has come for it.
    pub(super) const fn unwait(&mut self, wait: Wait) {
        if self.is_for(wait) {
            self.waiting -= 1;
        }
    }

    /// True while no keyframe has come for one who waits.
    pub(super) const fn is_for(&self, wait: Wait) -> bool {
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
        let asked = |later: Micros| self.asked.map_or(0, |at| at + later);
        let interval = interval.map(|interval| (fresh + interval).max(asked(interval)));
        let wish = if self.pending {
            Some(asked(LEAST))
        } else if self.has_waiting() {
            Some(asked(REPEAT))
        } else {
            None
        };
        [wish, interval].into_iter().flatten().min()
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

    #[test]
    fn a_request_is_passed_on_at_once_and_then_at_most_each_200_ms() {
        let mut want = Want::default();
        want.begin();
        assert_eq!(want.due(None, 5), None);
        want.ask();
        assert_eq!(want.due(None, 5), Some(0));
        want.asked(1_000_000);
        want.ask();
        assert_eq!(want.due(None, 5), Some(1_200_000));
    }

    #[test]
    fn it_is_repeated_each_second_while_somebody_waits() {
        let mut want = Want::default();
        let wait = want.wait();
        want.asked(10);
        assert_eq!(want.due(None, 5), Some(1_000_010));
        want.unwait(wait);
        assert_eq!(want.due(None, 5), None);
    }

    #[test]
    fn a_keyframe_serves_those_who_wait_and_not_those_who_come_after() {
        let mut want = Want::default();
        let served = want.wait();
        want.keyframe(1);
        assert!(!want.is_requested(), "though nobody has read it yet");
        let late = want.wait();
        want.unwait(served);
        assert!(want.has_waiting());
        want.unwait(late);
        assert!(!want.has_waiting());
    }

    #[test]
    fn without_a_keyframe_for_the_interval_one_is_asked_for_once_per_interval() {
        let mut want = Want::default();
        want.begin();
        assert_eq!(want.due(Some(2_000_000), 1_000), Some(2_001_000));
        want.asked(2_001_000);
        assert_eq!(want.due(Some(2_000_000), 5), Some(4_001_000));
        want.keyframe(2_500_000);
        assert_eq!(want.due(Some(2_000_000), 5), Some(4_500_000));
    }
}
