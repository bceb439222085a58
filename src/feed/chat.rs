//! The CHAT of a livestream whose order several pods have in common: the core numbers and judges the messages, and each
//! pod's feed takes them in at their positions. Nothing is refused here: what there is no memory for is lost to those
//! who read, and told by a gap.
//!
//! Whoever writes over a replicated log
//!
//! 1. refuses a draft with a proof ([`Draft::check_proof`]), and asks
//!    [`Livestream::chat_refusal`](starling_core::Livestream::chat_refusal), so that what is refused anyhow is no entry;
//! 2. submits [`LivestreamCommand::Chat`](starling_core::LivestreamCommand::Chat) with [`Draft::chat_content`];
//! 3. answers what [`Accepted::of_chat`] makes of `Outcome::chat` of the store.
//!
//! What is known of an author before its first message says [`PublisherState::of`](super::PublisherState::of) with the
//! numbers of [`Livestream::chat_author`](starling_core::Livestream::chat_author).

use bytes::Bytes;

use super::draft::{Draft, Timestamp};
use super::lane::Tally;
use super::memory::Memory;
use super::position::Position;
use super::publish::{Accepted, NewEntry, PublisherNumber, Rejected};
use super::record::Record;
use super::state::{Feed, State};
use crate::clock::Micros;
use starling_core::channel::Channel;
use starling_core::chat::{AcceptedMessage, ChatOutcome};
use starling_core::leb128;

/// Bits of the first byte of a content.
const KEYFRAME: u8 = 1;
const URGENT: u8 = 1 << 1;
const TIMED: u8 = 1 << 2;

/// What precedes the payload at most: flags, layer, time.
const HEAD: usize = 1 + 5 + 2 * 10;

/// Bytes that are no content of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes that are no content of a message")]
pub struct OtherContent;

impl Draft {
    /// What a message to the CHAT says, as the log carries it: all but its number, and the server's time. A signature
    /// is none of it: authors have no key.
    ///
    /// ```text
    /// content = flags layer time? payload
    /// time    = seconds nanos             seconds as the 64 bits of their two's complement
    /// ```
    pub fn chat_content(&self) -> Box<[u8]> {
        let bit = |bit, is_set| if is_set { bit } else { 0 };
        let mut out = Vec::with_capacity(HEAD + self.payload.len());
        out.push(bit(KEYFRAME, self.keyframe) | bit(URGENT, self.urgent) | bit(TIMED, self.publish_time.is_some()));
        leb128::put(self.temporal_layer.into(), &mut out);
        if let Some(Timestamp { seconds, nanos }) = self.publish_time {
            leb128::put(seconds.cast_unsigned(), &mut out);
            leb128::put(nanos.cast_unsigned().into(), &mut out);
        }
        out.extend_from_slice(&self.payload);
        out.into()
    }

    /// The message of which this is the content, with its author's number, taken at `accepted_at` milliseconds since the
    /// Unix epoch.
    ///
    /// # Errors
    ///
    /// [`OtherContent`].
    pub fn of_chat_content(
        content: Box<[u8]>,
        publisher_sequence: u64,
        accepted_at: u64,
    ) -> Result<Self, OtherContent> {
        let content = Bytes::from(content);
        let flags = *content.first().ok_or(OtherContent)?;
        if flags & !(KEYFRAME | URGENT | TIMED) != 0 {
            return Err(OtherContent);
        }
        let mut at = 1;
        let mut number = || leb128::take(&content, &mut at).map_err(|_| OtherContent);
        let narrow = |number| u32::try_from(number).map_err(|_| OtherContent);
        let temporal_layer = narrow(number()?)?;
        let publish_time = match flags & TIMED {
            0 => None,
            _ => {
                let seconds = number()?.cast_signed();
                Some(Timestamp { seconds, nanos: narrow(number()?)?.cast_signed() })
            }
        };
        let millis = accepted_at % 1_000;
        let accept_time = Timestamp {
            seconds: i64::try_from(accepted_at / 1_000).unwrap_or(i64::MAX),
            nanos: i32::try_from(millis * 1_000_000).unwrap_or_default(),
        };
        Ok(Self {
            channel: Channel::Chat,
            payload: content.slice(at..),
            keyframe: flags & KEYFRAME != 0,
            urgent: flags & URGENT != 0,
            temporal_layer,
            publisher_sequence,
            publish_time,
            accept_time,
            proof: None,
        })
    }
}

impl Accepted {
    /// What became of a message that the core has judged.
    ///
    /// # Errors
    ///
    /// Why it was not taken, and its number.
    pub fn of_chat(outcome: ChatOutcome) -> Result<Self, Rejected> {
        let ChatOutcome { publisher_sequence, result } = outcome;
        match result {
            Ok(at) => {
                let position = Position { source: None, channel: Channel::Chat, term: 0, sequence: at.sequence };
                Ok(Self { position, publisher_sequence, duplicate: at.duplicate, keyframe_wanted: false })
            }
            Err(refusal) => Err(Rejected { publisher_sequence, refusal: refusal.into() }),
        }
    }
}

impl Feed {
    /// Takes in a message at the position that the core gave it, as of `now`, accepted at `accepted_at` milliseconds
    /// since the Unix epoch. Whoever calls holds the swarm's shard: messages come in their order. False when it is lost
    /// to those who read, for want of memory ([`Self::make_room`] may find some, without that lock), or for its bytes.
    /// One that is there already is left alone.
    pub fn append_chat(&self, message: AcceptedMessage, accepted_at: u64, now: Micros) -> bool {
        let AcceptedMessage { author, sequence, publisher_sequence, content } = message;
        let draft = Draft::of_chat_content(content, publisher_sequence, accepted_at);
        let mut state = self.state.lock();
        let State { ring, lanes, .. } = &mut *state;
        let slot = lanes.slot((None, Channel::Chat));
        let lane = lanes.at_mut(slot);
        if lane.next().1 > sequence {
            return true;
        }
        let draft = draft.ok().filter(|draft| self.has_room(ring, lane, draft, 0));
        let Some(draft) = draft else {
            lane.come_to(sequence);
            self.book(&mut state);
            return false;
        };
        lane.come_to(sequence - 1);
        let numbered = PublisherNumber { number: publisher_sequence, counted: publisher_sequence == 0 };
        let entry = NewEntry { slot, author: Some(author), numbered, lost: Tally::default(), at: now };
        let (_, appended) = self.append(&mut state, entry, &draft);
        drop(state);
        self.schedule.on_append(appended, now);
        true
    }

    /// The core's CHAT has come so far: what is not here is lost to those who read. Nothing when it has come further
    /// here, or to nothing.
    pub fn advance_chat(&self, sequence: u64) {
        if !self.shared_chat || sequence == 0 {
            return;
        }
        let mut state = self.state.lock();
        let slot = state.lanes.slot((None, Channel::Chat));
        let lane = state.lanes.at_mut(slot);
        if lane.next().1 <= sequence {
            lane.come_to(sequence);
        }
        self.book(&mut state);
    }

    /// The number of the newest message to the CHAT of a livestream; 0 = there was none.
    pub fn chat_sequence(&self) -> u64 {
        let state = self.state.lock();
        let lane = state.lanes.get((None, Channel::Chat)).filter(|_| self.shared_chat);
        lane.and_then(|lane| lane.head).map_or(0, |(_, sequence)| sequence)
    }
}

impl Memory {
    /// Whether there is room for a message of so many bytes. Where there is not, [`Feed::make_room`] may find some before
    /// it is taken in.
    pub fn has_room_for_message(&self, content: usize) -> bool {
        self.has_room_for(Record::cost_at_most(content))
    }
}
