//! What was sent and not yet answered.

use std::collections::{BTreeMap, VecDeque};

use crate::pb::swarm::v1::{GrantedChannel, PublishOpened, UpdateDraft};

/// Why an update was not sent. Holds its draft.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// There is no room: so much is not acknowledged.
    #[error("as many updates as the window holds are not acknowledged")]
    Full(UpdateDraft),
    /// It has no number of its own, and there is none after the last one of its channel, 2^64 - 1: the server would
    /// take whatever follows for a repeat.
    #[error("there is no number after the last one of its channel")]
    NoNumberLeft(UpdateDraft),
}

/// Numbers drafts and keeps them until the server has answered.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    /// The session that the server counts the numbers of.
    session_id: u64,
    drafts: VecDeque<UpdateDraft>,
    /// The last number given out, by channel. They go on when another session begins.
    numbers: BTreeMap<i32, u64>,
    /// By channel.
    accepted: BTreeMap<i32, u64>,
}

impl Window {
    pub(super) fn new(size: usize, opened: &PublishOpened) -> Self {
        let numbers =
            opened.channels.iter().map(|granted| (granted.channel, granted.last_publisher_sequence)).collect();
        Self { size, session_id: opened.session_id, drafts: VecDeque::new(), numbers, accepted: BTreeMap::new() }
    }

    /// How many drafts the server has accepted.
    pub(super) fn total_accepted(&self) -> u64 {
        self.accepted.values().sum()
    }

    /// The same, of one channel.
    pub(super) fn accepted_on(&self, channel: i32) -> u64 {
        self.accepted.get(&channel).copied().unwrap_or_default()
    }

    pub(super) fn room(&self) -> usize {
        self.size.saturating_sub(self.drafts.len())
    }

    pub(super) fn len(&self) -> usize {
        self.drafts.len()
    }

    pub(super) fn drafts(&self) -> impl Iterator<Item = &UpdateDraft> {
        self.drafts.iter()
    }

    /// Takes a draft; one without a number gets the next one of its channel.
    pub(super) fn push(&mut self, mut draft: UpdateDraft) -> Result<&UpdateDraft, SendError> {
        if self.room() == 0 {
            return Err(SendError::Full(draft));
        }
        let last = self.numbers.entry(draft.channel).or_default();
        if draft.publisher_sequence == 0 {
            let Some(next) = last.checked_add(1) else { return Err(SendError::NoNumberLeft(draft)) };
            draft.publisher_sequence = next;
        }
        *last = draft.publisher_sequence.max(*last);
        self.drafts.push_back(draft);
        Ok(self.drafts.back().expect("it was pushed"))
    }

    pub(super) fn accepted(&mut self, channel: i32, through: u64) {
        let before = self.drafts.len();
        self.drafts.retain(|draft| draft.channel != channel || draft.publisher_sequence > through);
        *self.accepted.entry(channel).or_default() += (before - self.drafts.len()) as u64;
    }

    pub(super) fn rejected(&mut self, channel: i32, number: u64) {
        self.drafts.retain(|draft| draft.channel != channel || draft.publisher_sequence != number);
    }

    pub(super) fn revoked(&mut self, channel: i32) {
        self.drafts.retain(|draft| draft.channel != channel);
    }

    /// Keeps of the drafts what the server does not have. False when it has what was not sent
    /// from here: another publisher was there meanwhile.
    pub(super) fn reopened(&mut self, opened: &PublishOpened) -> bool {
        let before = std::mem::replace(&mut self.session_id, opened.session_id);
        opened.channels.iter().all(|granted| {
            let &GrantedChannel { channel, term, last_publisher_sequence: last, .. } = granted;
            let own = self.numbers.get(&channel).copied().unwrap_or_default();
            // After joining anew the server counts from nothing, and says what it had before.
            let through = if opened.session_id == before {
                last
            } else if granted.previous_session_id == before {
                granted.previous_publisher_sequence
            } else {
                0
            };
            self.accepted(channel, through);
            // Term 0 is the chat of a livestream, which is everybody's.
            last <= own || term == 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VISUAL: i32 = 1;
    const AUDIO: i32 = 2;
    const CHAT: i32 = 4;

    fn granted(channel: i32, term: u64, last_publisher_sequence: u64) -> GrantedChannel {
        GrantedChannel { channel, term, last_publisher_sequence, ..Default::default() }
    }

    fn opened(channels: &[GrantedChannel]) -> PublishOpened {
        PublishOpened { epoch: 1, channels: channels.to_vec(), session_id: 9, ..Default::default() }
    }

    fn draft(channel: i32) -> UpdateDraft {
        UpdateDraft { channel, ..Default::default() }
    }

    fn held(window: &Window) -> Vec<(i32, u64)> {
        window.drafts().map(|draft| (draft.channel, draft.publisher_sequence)).collect()
    }

    fn window() -> Window {
        let mut window = Window::new(5, &opened(&[granted(VISUAL, 3, 10), granted(AUDIO, 3, 0)]));
        for channel in [VISUAL, AUDIO, VISUAL, VISUAL, AUDIO] {
            window.push(draft(channel)).unwrap();
        }
        window
    }

    #[test]
    fn nothing_is_numbered_after_the_last_number() {
        let mut window = Window::new(5, &opened(&[granted(VISUAL, 3, u64::MAX), granted(AUDIO, 3, 0)]));
        assert!(matches!(window.push(draft(VISUAL)), Err(SendError::NoNumberLeft(_))));
        window.push(UpdateDraft { publisher_sequence: u64::MAX, ..draft(AUDIO) }).unwrap();
        assert!(matches!(window.push(draft(AUDIO)), Err(SendError::NoNumberLeft(_))));
        assert_eq!(held(&window), [(AUDIO, u64::MAX)]);
    }

    #[test]
    fn drafts_are_numbered_after_last_accepted_per_channel() {
        let mut window = window();
        assert_eq!(held(&window), [(VISUAL, 11), (AUDIO, 1), (VISUAL, 12), (VISUAL, 13), (AUDIO, 2)]);
        assert_eq!(window.room(), 0);
        let SendError::Full(refused) = window.push(draft(VISUAL)).unwrap_err() else { panic!("there was room") };
        assert_eq!(refused, draft(VISUAL), "it comes back as it was");
        window.accepted(VISUAL, 13);
        window.push(UpdateDraft { publisher_sequence: 50, ..draft(VISUAL) }).unwrap();
        window.push(draft(VISUAL)).unwrap();
        assert_eq!(held(&window), [(AUDIO, 1), (AUDIO, 2), (VISUAL, 50), (VISUAL, 51)]);
    }

    #[test]
    fn answer_frees_only_its_own_drafts() {
        let mut window = window();
        window.accepted(VISUAL, 12);
        assert_eq!(held(&window), [(AUDIO, 1), (VISUAL, 13), (AUDIO, 2)]);
        window.rejected(AUDIO, 1);
        assert_eq!(held(&window), [(VISUAL, 13), (AUDIO, 2)]);
        window.revoked(AUDIO);
        assert_eq!(held(&window), [(VISUAL, 13)]);
        assert_eq!((window.len(), window.room()), (1, 4));
    }

    #[test]
    fn reopening_drops_drafts_already_accepted() {
        let mut window = window();
        assert!(window.reopened(&opened(&[granted(VISUAL, 4, 12), granted(AUDIO, 4, 0)])));
        assert_eq!(held(&window), [(AUDIO, 1), (VISUAL, 13), (AUDIO, 2)]);
        assert!(window.reopened(&opened(&[granted(VISUAL, 1, 0), granted(AUDIO, 1, 0)])), "another epoch has nothing");
        assert_eq!(window.len(), 3);
    }

    #[test]
    fn unknown_number_reveals_another_publisher() {
        assert!(!window().reopened(&opened(&[granted(VISUAL, 5, 14), granted(AUDIO, 5, 0)])));
        assert!(window().reopened(&opened(&[granted(VISUAL, 5, 13), granted(CHAT, 0, 99)])), "chat is everybody's");
    }

    #[test]
    fn rejoin_drops_drafts_accepted_by_previous_session() {
        let anew = |previous_session_id, previous_publisher_sequence| PublishOpened {
            session_id: 10,
            ..opened(&[GrantedChannel { previous_session_id, previous_publisher_sequence, ..granted(VISUAL, 5, 0) }])
        };
        let mut known = window();
        assert!(known.reopened(&anew(9, 12)));
        assert_eq!(held(&known), [(AUDIO, 1), (VISUAL, 13), (AUDIO, 2)]);
        assert_eq!(known.total_accepted(), 2);
        assert_eq!(known.push(draft(VISUAL)).unwrap().publisher_sequence, 14, "the numbers go on");
        let mut unknown = window();
        assert!(unknown.reopened(&anew(8, 12)));
        assert_eq!(unknown.len(), 5, "what another session had says nothing");
    }

    #[test]
    fn only_accepted_drafts_are_counted() {
        let mut window = window();
        window.rejected(VISUAL, 11);
        window.accepted(VISUAL, 12);
        window.revoked(AUDIO);
        assert_eq!((window.total_accepted(), window.len()), (1, 1));
        assert_eq!((window.accepted_on(VISUAL), window.accepted_on(AUDIO)), (1, 0));
    }
}
