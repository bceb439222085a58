//! Whether records of a lane come to one subscription: a state machine.
//!
//! ```text
//!  Unwanted    for good: the lane was not asked for
//!
//!              on_interest                     on_run_lost
//!  Silent ───────────────────────►  Live  ──────────────────►  Broken
//!    ▲                             │    ▲                       │  ▲
//!    │              on_no_keyframe │    │ on_keyframe           │  │
//!    │                             ▼    │                       │  │
//!    │                       AwaitingKeyframe ◄─────────────────┘  │
//!    │                             │        on_loss_ended          │
//!    │                             └───────────────────────────────┘
//!    │                                      on_run_lost
//!    └── on_interest_none, from all but Unwanted
//! ```
//!
//! | state | what comes | what passes by is |
//! | --- | --- | --- |
//! | Unwanted | nothing | nothing to the subscriber |
//! | Silent | nothing | left out, as the filter says that was told |
//! | Live | what passes the filter | left out by the filter, or told by a gap with both ends |
//! | AwaitingKeyframe | the next keyframe | before the start of the lane: no loss |
//! | Broken | the next keyframe | lost: the open gap that was told covers it |
//!
//! A keyframe that ends `Broken` makes two steps: `on_loss_ended`, with which the end of the gap is
//! told, then `on_keyframe`. Only lanes with runs (VISUAL, SCREEN) leave `Live` but for `Silent`: on
//! the others (AUDIO, CHAT, DATA) each update stands alone, and a loss has its end at once.
//!
//! In the two states that wait, `request` is the subscriber's place among those for whom the
//! publisher is asked for a keyframe. It is `None` while the keyframe is in the ring already, ahead
//! of the cursor. Whatever leaves these states hands it back.

use crate::feed::gap::GapReason;
use crate::feed::keyframe_requests::{KeyframeRequests, KeyframeWait};
use crate::feed::lane::Tally;
use crate::feed::position::TermSeq;
use starling_core::interest::Interest;

/// Whether records of a lane come to one subscription.
#[derive(Debug)]
pub(super) enum LaneState {
    /// Never: the lane was not asked for.
    Unwanted,
    /// No, for the interest is NONE. What passes by is no loss.
    Silent,
    /// As they are, if they pass the filter.
    Live,
    /// Not before the next keyframe; of what the subscriber knows nothing was lost.
    AwaitingKeyframe { request: Option<KeyframeWait> },
    /// Not before the next keyframe: the run was lost, and the subscriber was told so by a gap
    /// without an end.
    Broken { loss: Box<Loss>, request: Option<KeyframeWait> },
}

// Every subscription has one of these for each lane: the loss, which is rare, is boxed.
const _: () = assert!(size_of::<LaneState>() <= 16, "a lane of a subscriber stays small");

/// A loss that the subscriber was told of without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Loss {
    pub(super) reason: GapReason,
    /// Where it begins, as told.
    pub(super) after: Option<TermSeq>,
    /// How many were lost when it was told; `None` = not known.
    pub(super) lost: Option<u64>,
    /// What the lane had carried by then.
    pub(super) tally: Tally,
    /// How many were lost since, as far as the statistics know.
    pub(super) counted: u64,
}

impl LaneState {
    /// The state of a lane of which nothing was looked at yet.
    pub(super) const fn start(wanted: bool, interest: Interest) -> Self {
        match (wanted, interest) {
            (false, _) => Self::Unwanted,
            (true, Interest::None) => Self::Silent,
            (true, Interest::Low | Interest::Medium | Interest::High | Interest::Critical) => Self::Live,
        }
    }

    /// True when records come, now or from a keyframe on.
    pub(super) const fn is_open(&self) -> bool {
        match self {
            Self::Unwanted | Self::Silent => false,
            Self::Live | Self::AwaitingKeyframe { .. } | Self::Broken { .. } => true,
        }
    }

    /// True when nothing but a keyframe comes.
    pub(super) const fn awaits_keyframe(&self) -> bool {
        match self {
            Self::Unwanted | Self::Silent | Self::Live => false,
            Self::AwaitingKeyframe { .. } | Self::Broken { .. } => true,
        }
    }

    /// The interest has risen from NONE.
    pub(super) fn on_interest(&mut self) {
        match self {
            // Where the lane goes on is another question: with `on_no_keyframe` it waits at once.
            Self::Silent => *self = Self::Live,
            Self::Unwanted | Self::Live | Self::AwaitingKeyframe { .. } | Self::Broken { .. } => {}
        }
    }

    /// The interest has fallen to NONE.
    pub(super) fn on_interest_none(&mut self, requests: &mut KeyframeRequests) {
        self.withdraw_request(requests);
        match self {
            Self::Unwanted => {}
            // A gap that is open stays so for the subscriber, and is forgotten here: whoever resumes
            // from before it needs a keyframe anyway, and whoever wants the lane again gets one.
            Self::Silent | Self::Live | Self::AwaitingKeyframe { .. } | Self::Broken { .. } => *self = Self::Silent,
        }
    }

    /// The lane has to start at a keyframe, and the cursor has not come to one.
    pub(super) fn on_no_keyframe(&mut self) {
        match self {
            Self::Live => *self = Self::AwaitingKeyframe { request: None },
            // Who waits goes on waiting; a request and a loss that were told are kept.
            Self::Unwanted | Self::Silent | Self::AwaitingKeyframe { .. } | Self::Broken { .. } => {}
        }
    }

    /// Updates of a run are lost, and no keyframe after them is known yet. The subscriber has been
    /// told.
    pub(super) fn on_run_lost(&mut self, loss: Loss) {
        let request = match self {
            Self::Live => None,
            // A keyframe that was awaited is among what is lost. If it was requested, its coming has
            // used the request up: `request_keyframe` sees that, and makes another one.
            Self::AwaitingKeyframe { request } | Self::Broken { request, .. } => *request,
            // What is not wanted cannot be missed.
            Self::Unwanted | Self::Silent => return,
        };
        *self = Self::Broken { loss: Box::new(loss), request };
    }

    /// More of a run that is lost has passed by. Why it was lost, if it was.
    pub(super) fn on_more_lost(&mut self, updates: u64) -> Option<GapReason> {
        match self {
            Self::Broken { loss, .. } => {
                // The end of the loss is told with the exact number; these have been counted then.
                loss.counted += updates;
                Some(loss.reason)
            }
            Self::Unwanted | Self::Silent | Self::Live | Self::AwaitingKeyframe { .. } => None,
        }
    }

    /// The end of a loss is known. Returns the loss, of which the subscriber is to be told.
    pub(super) fn on_loss_ended(&mut self) -> Option<Loss> {
        match self {
            Self::Broken { loss, request } => {
                let (loss, request) = (**loss, *request);
                // Not `Live` yet: the keyframe at the end of the loss may be too dear, or leave the
                // ring before it is read. Nothing between is a loss of its own then.
                *self = Self::AwaitingKeyframe { request };
                Some(loss)
            }
            Self::Unwanted | Self::Silent | Self::Live | Self::AwaitingKeyframe { .. } => None,
        }
    }

    /// A keyframe is delivered.
    pub(super) fn on_keyframe(&mut self, requests: &mut KeyframeRequests) {
        self.withdraw_request(requests);
        match self {
            // The end of a loss has been told by now, with `on_loss_ended`.
            Self::AwaitingKeyframe { .. } | Self::Broken { .. } => *self = Self::Live,
            Self::Unwanted | Self::Silent | Self::Live => {}
        }
    }

    /// Asks for a keyframe from now on, when one is awaited; one that came before is gone. True
    /// when the publisher is to hear of it.
    pub(super) fn request_keyframe(&mut self, requests: &mut KeyframeRequests) -> bool {
        match self {
            Self::AwaitingKeyframe { request } | Self::Broken { request, .. } => {
                // A subscriber counts once, until a keyframe has come for it.
                let waits = request.is_some_and(|wait| requests.is_for(wait));
                if !waits {
                    *request = Some(requests.add_waiter());
                }
                !waits
            }
            Self::Unwanted | Self::Silent | Self::Live => false,
        }
    }

    /// Takes a request back, if there is one: nobody is to be asked for the sake of a subscriber
    /// that waits no more.
    pub(super) fn withdraw_request(&mut self, requests: &mut KeyframeRequests) {
        match self {
            Self::AwaitingKeyframe { request } | Self::Broken { request, .. } => {
                if let Some(wait) = request.take() {
                    requests.remove_waiter(wait);
                }
            }
            Self::Unwanted | Self::Silent | Self::Live => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Micros;

    fn loss(counted: u64) -> Loss {
        let (reason, after, lost) = (GapReason::Evicted, Some((1, 2)), Some(3));
        Loss { reason, after, lost, tally: Tally::default(), counted }
    }

    fn all() -> [LaneState; 5] {
        let broken = LaneState::Broken { loss: Box::new(loss(0)), request: None };
        [LaneState::Unwanted, LaneState::Silent, LaneState::Live, LaneState::AwaitingKeyframe { request: None }, broken]
    }

    /// By state of [`all`], the state after an event.
    fn after(mut event: impl FnMut(&mut LaneState)) -> [&'static str; 5] {
        all().map(|mut state| {
            event(&mut state);
            match state {
                LaneState::Unwanted => "unwanted",
                LaneState::Silent => "silent",
                LaneState::Live => "live",
                LaneState::AwaitingKeyframe { .. } => "awaiting",
                LaneState::Broken { .. } => "broken",
            }
        })
    }

    #[test]
    fn transitions_are_those_of_the_diagram() {
        let requests = &mut KeyframeRequests::default();
        assert_eq!(after(LaneState::on_interest), ["unwanted", "live", "live", "awaiting", "broken"]);
        assert_eq!(
            after(|state| state.on_interest_none(requests)),
            ["unwanted", "silent", "silent", "silent", "silent"]
        );
        assert_eq!(after(LaneState::on_no_keyframe), ["unwanted", "silent", "awaiting", "awaiting", "broken"]);
        assert_eq!(after(|state| state.on_run_lost(loss(0))), ["unwanted", "silent", "broken", "broken", "broken"]);
        assert_eq!(
            after(|state| assert!(state.on_loss_ended().is_none_or(|ended| ended == loss(0)))),
            ["unwanted", "silent", "live", "awaiting", "awaiting"]
        );
        assert_eq!(after(|state| state.on_keyframe(requests)), ["unwanted", "silent", "live", "live", "live"]);
        let same = ["unwanted", "silent", "live", "awaiting", "broken"];
        assert_eq!(
            after(|state| {
                let told = matches!(state, LaneState::Broken { .. });
                assert_eq!(state.on_more_lost(1).is_some(), told);
            }),
            same
        );
        assert_eq!(after(|state| assert_eq!(state.request_keyframe(requests), state.awaits_keyframe())), same);
    }

    #[test]
    fn whatever_ends_the_wait_takes_the_request_back() {
        let ends: [fn(&mut LaneState, &mut KeyframeRequests); 3] =
            [LaneState::on_interest_none, LaneState::on_keyframe, LaneState::withdraw_request];
        for end in ends {
            for mut state in all() {
                let mut requests = KeyframeRequests::default();
                let waits = state.request_keyframe(&mut requests);
                assert!(!state.request_keyframe(&mut requests), "it counts once");
                assert_eq!(requests.has_waiting(), waits);
                end(&mut state, &mut requests);
                assert!(!requests.has_waiting());
            }
        }
    }

    #[test]
    fn a_request_outlives_the_steps_between() {
        let mut requests = KeyframeRequests::default();
        let mut state = LaneState::AwaitingKeyframe { request: None };
        assert!(state.request_keyframe(&mut requests));
        state.on_run_lost(loss(0));
        assert_eq!(state.on_more_lost(2), Some(GapReason::Evicted));
        assert!(!state.request_keyframe(&mut requests));
        assert_eq!(state.on_loss_ended(), Some(loss(2)));
        assert!(!state.request_keyframe(&mut requests));
        requests.keyframe(Micros::new(1));
        assert!(state.request_keyframe(&mut requests), "the one that came is gone");
    }
}
