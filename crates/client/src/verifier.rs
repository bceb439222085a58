//! Signed updates, as a subscriber verifies them: whose they are, and that none comes twice or out of order.

use std::collections::{BTreeMap, VecDeque};

use starling_signing::{PublicKey, SignedUpdate, SwarmTag};

use super::swarm_ref::SwarmRef;
use crate::pb::livestream::v1::Livestream;
use crate::pb::swarm::v1::{Update, UpdateChannel, delivery::Item};

/// Sessions that were replaced, and are remembered for each source and channel.
const REPLACED: usize = 1_024;
/// Keys of one livestream that are remembered.
const KEYS: usize = 64;

/// By which keys a [`super::Subscriber`] verifies updates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those that the server shows for the livestream, each the key of its broadcaster's node id;
    /// nothing is verified where it shows none. Against a server that lies from the start only
    /// pinned keys help.
    #[default]
    Server,
    /// These, whatever the server says: what no one of them has signed is refused. After a transfer
    /// the next broadcaster's key must be among them.
    Pinned(Vec<PublicKey>),
    /// None: nothing is verified.
    Nobody,
}

/// What is wrong with an update. Its broadcaster has not published it so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forgery {
    /// It has no position.
    #[error("it has no position")]
    Nowhere,
    /// It has no signature, and its broadcaster has a key.
    #[error("it is not signed")]
    Unsigned,
    /// It is said to be of a node whose key is not known.
    #[error("it is said to be of node {0}, whose key is not known")]
    UnknownSource(u64),
    /// It was altered, or signed by somebody else, or for another swarm, epoch or session.
    #[error("its signature does not verify")]
    BadSignature,
    /// One with this number, or a higher one, came before it.
    #[error("number {number} comes after {last}")]
    OutOfOrder {
        /// Its number.
        number: u64,
        /// The last one of its session.
        last: u64,
    },
    /// Its session was over when another one began.
    #[error("it is of session {0}, which was replaced")]
    ReplacedSession(u64),
    /// The key that the server shows is none, or not that of the broadcaster.
    #[error("the key that the server shows is not that of the broadcaster")]
    BadKey,
}

/// What is to be done with an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// It is handed out.
    Genuine,
    /// The server is to be asked for the key first, and then it is judged again.
    NeedsKey,
}

/// The numbers of one source, channel and track.
#[derive(Debug, Default)]
struct Lane {
    session: u64,
    last: u64,
    replaced: VecDeque<u64>,
}

/// Judges what one subscription gets.
#[derive(Debug)]
pub(super) struct Verifier {
    /// `None` = nothing is verified.
    livestream: Option<u64>,
    /// The keys are given: the server is not asked.
    pinned: bool,
    keys: Vec<PublicKey>,
    /// Of what epoch the server was asked, and whether its updates are signed.
    known: Option<(u64, bool)>,
    /// That of the subscription; 0 before its first message.
    epoch: u64,
    /// The source whose key the server was asked for last.
    asked_for: Option<u64>,
    lanes: BTreeMap<(u64, i32, u32), Lane>,
}

impl Verifier {
    pub(super) fn new(swarm: SwarmRef, trust: Trust) -> Self {
        let livestream = match (swarm, &trust) {
            (SwarmRef::Livestream(id), Trust::Server | Trust::Pinned(_)) => Some(id),
            (SwarmRef::Livestream(_), Trust::Nobody) | (SwarmRef::Group(_), _) => None,
        };
        let (pinned, keys) = match trust {
            Trust::Pinned(keys) => (true, keys),
            Trust::Server | Trust::Nobody => (false, Vec::new()),
        };
        Self { livestream, pinned, keys, known: None, epoch: 0, asked_for: None, lanes: BTreeMap::new() }
    }

    /// The livestream about which the server is to be asked, if any.
    pub(super) const fn asks_about(&self) -> Option<u64> {
        if self.pinned { None } else { self.livestream }
    }

    /// Takes in what the server shows of the livestream.
    pub(super) fn learn(&mut self, found: &Livestream) -> Result<(), Forgery> {
        let bytes = &found.broadcaster_public_key;
        let key = if bytes.is_empty() { None } else { Some(PublicKey::new(bytes).map_err(|_| Forgery::BadKey)?) };
        if key.as_ref().is_some_and(|key| key.node_id() != found.broadcaster_node_id) {
            return Err(Forgery::BadKey);
        }
        // What is asked under way is asked for the epoch of the subscription.
        let epoch = if self.epoch == 0 { found.epoch } else { self.epoch };
        if self.known.is_none_or(|(known, _)| known != epoch) {
            self.keys.clear();
            self.known = Some((epoch, key.is_some()));
        }
        if let Some(key) = key.filter(|key| !self.keys.contains(key)) {
            if self.keys.len() >= KEYS {
                self.keys.remove(0);
            }
            self.keys.push(key);
        }
        Ok(())
    }

    /// Judges what comes next.
    pub(super) fn judge(&mut self, item: &Item) -> Result<Judgement, Forgery> {
        match item {
            Item::Subscribed(subscribed) => Ok(self.begin(subscribed.epoch)),
            Item::Update(update) => self.update(update),
            Item::Gap(_) | Item::Filter(_) | Item::Heartbeat(_) | Item::Goodbye(_) => Ok(Judgement::Genuine),
        }
    }

    fn begin(&mut self, epoch: u64) -> Judgement {
        if self.epoch != epoch {
            self.epoch = epoch;
            self.lanes.clear();
            self.asked_for = None;
        }
        let is_known = self.known.is_some_and(|(known, _)| known == epoch);
        if self.asks_about().is_none() || is_known { Judgement::Genuine } else { Judgement::NeedsKey }
    }

    fn update(&mut self, update: &Update) -> Result<Judgement, Forgery> {
        let Some(livestream) = self.livestream else { return Ok(Judgement::Genuine) };
        if !self.pinned && self.known.is_none_or(|(_, signed)| !signed) {
            return Ok(Judgement::Genuine);
        }
        let position = update.position.ok_or(Forgery::Nowhere)?;
        if position.channel() == UpdateChannel::Chat {
            // Of many authors, who have no keys.
            return Ok(Judgement::Genuine);
        }
        let source = position.source_node_id;
        let Some(key) = self.keys.iter().find(|key| key.node_id() == source) else {
            // There may be another broadcaster by now.
            if self.pinned || self.asked_for.replace(source) == Some(source) {
                return Err(Forgery::UnknownSource(source));
            }
            return Ok(Judgement::NeedsKey);
        };
        self.asked_for = None;
        let (session, number) = (update.session_id, update.publisher_sequence);
        if update.signature.is_empty() {
            return Err(Forgery::Unsigned);
        }
        let signed = SignedUpdate {
            kind: SwarmTag::Livestream,
            swarm: livestream,
            epoch: self.epoch,
            session,
            source,
            channel: u32::try_from(position.channel).map_err(|_| Forgery::BadSignature)?,
            track: position.track,
            publisher_sequence: number,
            publish_time: update.publish_time.map(|time| (time.seconds, time.nanos)),
            urgent: update.urgent,
            keyframe: update.keyframe,
            temporal_layer: update.temporal_layer,
            payload: &update.payload,
        };
        key.verify(&signed, &update.signature).map_err(|_| Forgery::BadSignature)?;
        let lane = self.lanes.entry((source, position.channel, position.track)).or_default();
        lane.take(session, number)?;
        Ok(Judgement::Genuine)
    }
}

impl Lane {
    /// Numbers rise within a session, and no session comes again.
    fn take(&mut self, session: u64, number: u64) -> Result<(), Forgery> {
        if session == self.session {
            if number <= self.last {
                return Err(Forgery::OutOfOrder { number, last: self.last });
            }
        } else {
            if self.replaced.contains(&session) {
                return Err(Forgery::ReplacedSession(session));
            }
            if self.replaced.len() >= REPLACED {
                self.replaced.pop_front();
            }
            self.replaced.push_back(self.session);
            self.session = session;
        }
        self.last = number;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
