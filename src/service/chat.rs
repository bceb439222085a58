//! Writing to the CHAT of a livestream, which has many authors: under the shard's lock in one process, through the log of
//! a cluster.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::error::PublishError;
use super::{ServiceError, is_due, member};
use crate::clock;
use crate::cluster::CommandLog;
use crate::feed::{self, Accepted, Draft, Feed, Message};
use crate::store::entry::Entry;
use crate::store::snapshot::Projection;
use starling_core::command::By;
use starling_core::id::{NodeId, SessionId, SwarmId};
use starling_core::{LivestreamCommand, Rejection, Rules};

/// A message that was taken, and the session of its author when its lease is to be renewed.
type Taken = (Accepted, Option<SessionId>);

/// What became of a message.
pub(super) enum Written {
    /// It was taken.
    Here(Accepted, Option<SessionId>),
    /// It is on its way through the log, and whether it is taken says this.
    InLog(BoxFuture<'static, Result<Taken, PublishError>>),
}

/// Writes to the CHAT of a livestream. What goes through the log is on its way when this returns: messages come in the
/// order in which they are written.
pub(super) fn write_chat(
    log: &CommandLog,
    id: SwarmId,
    feed: &Arc<Feed>,
    author: NodeId,
    session: Option<SessionId>,
    draft: &Draft,
) -> Result<Written, PublishError> {
    if log.cluster().is_none() {
        return write_here(log, id, feed, author, session, draft).map(|(accepted, due)| Written::Here(accepted, due));
    }
    let refused = |refusal| feed::Rejected { publisher_sequence: draft.publisher_sequence, refusal };
    // Authors have no key.
    draft.check_proof(None, None).map_err(refused)?;
    // What the log would refuse by what everybody knows does not go there.
    let look = |entry: &Entry| -> Result<_, PublishError> {
        let (swarm, now) = (entry.swarm(), log.now(id));
        if !Arc::ptr_eq(feed, &entry.feed()) {
            return Err(Rejection::Ended.into());
        }
        let member = member(swarm, author, session, now)?;
        let Rules::Livestream(livestream) = swarm.rules() else { return Err(Rejection::NoSuchSwarm.into()) };
        if let Some(refusal) = livestream.chat_refusal(author, now) {
            return Err(refused(refusal.into()).into());
        }
        Ok(is_due(member, now).then_some(member.session))
    };
    let due = log.store().read(id, look).ok_or(Rejection::NoSuchSwarm)??;
    let content = draft.chat_content();
    if !log.store().feed_memory().has_room_for_message(content.len()) {
        feed.make_room(content.len(), clock::uptime());
    }
    let by = By { node: author, session, request: None };
    let command = LivestreamCommand::Chat { by, publisher_sequence: draft.publisher_sequence, content };
    let log = log.clone();
    let mut answer = async move {
        let outcome = log.submit(id, command.into(), Projection::NOTHING).await.map_err(ServiceError::from)?;
        let outcome = outcome.chat.ok_or(Rejection::NoSuchSwarm)?;
        Ok((Accepted::of_chat(outcome)?, due))
    }
    .boxed();
    // It is in the queue once it was looked at.
    Ok(match (&mut answer).now_or_never() {
        Some(taken) => {
            let (accepted, due) = taken?;
            Written::Here(accepted, due)
        }
        None => Written::InLog(answer),
    })
}

/// Writes to the CHAT of one process, in one step with the look at who is muted. Answers
/// the session too when its lease is to be renewed.
fn write_here(
    log: &CommandLog,
    id: SwarmId,
    feed: &Arc<Feed>,
    author: NodeId,
    session: Option<SessionId>,
    draft: &Draft,
) -> Result<(Accepted, Option<SessionId>), PublishError> {
    let attempt = |last: bool| {
        let write = |entry: &Entry| -> Result<_, PublishError> {
            let swarm = entry.swarm();
            // Another incarnation may have taken its place.
            if !Arc::ptr_eq(feed, &entry.feed()) {
                return Err(Rejection::Ended.into());
            }
            let now = log.now(id);
            let member = member(swarm, author, session, now)?;
            let muted = matches!(swarm.rules(), Rules::Livestream(livestream) if livestream.muted().contains(&author));
            let message = Message { author, session: member.session, muted, draft: draft.clone() };
            let accepted = feed.chat(message, clock::uptime(), last)?;
            Ok((accepted, is_due(member, now).then_some(member.session)))
        };
        log.store().read(id, write).ok_or_else(|| PublishError::from(Rejection::NoSuchSwarm))?
    };
    match attempt(false) {
        Err(PublishError::Feed(feed::Rejected { refusal: feed::AppendError::Memory, .. })) => {
            feed.make_room(draft.payload.len(), clock::uptime());
            attempt(true)
        }
        outcome => outcome,
    }
}
