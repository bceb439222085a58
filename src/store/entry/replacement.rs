//! Another state of a swarm in place of the one that was: what hangs on it is brought to it.
//!
//! Done in portions, each under the lock: [`Entry::put`] first, then [`Entry::bring_streams`] until it has come to the end.
//! Watchers are told to begin anew. Updates are not of the state: those who read them go on, if they are in.

use std::ops::Bound as Limit;
use std::sync::Arc;

use super::{Bound, Entry, end_session, feed_settings, limits};
use crate::feed::{Feed, Granted, Memory};
use crate::store::Settings;
use crate::store::wake::Wakes;
use starling_core::event::{Gate, Grant, LeaveReason};
use starling_core::id::{NO_HOME, NodeId, SessionId};
use starling_core::{Rules, Swarm};

/// How far the streams of a swarm are brought to another state of it.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::store) enum Brought {
    #[default]
    Nothing,
    /// Streams of sessions up to this one.
    Sessions(SessionId),
    /// And those that follow nodes.
    Followers(Option<NodeId>),
    /// And subscriptions.
    Subscribers(Option<NodeId>),
    /// And those who write to the CHAT.
    Authors(Option<NodeId>),
    All,
}

impl Entry {
    /// Begins with a swarm that has a history already.
    pub(in crate::store) fn begin(&mut self, wakes: &mut Wakes) {
        let revision = self.swarm().revision();
        wakes.free_log(self.log.resume_at(revision));
        self.feed.enforce_as(&self.swarm().grants(), Granted::by(revision), &[], self.swarm().is_over());
        self.feed.advance_chat(chat_sequence(self.swarm()));
    }

    /// Puts another state of the same incarnation in place, and returns the one before.
    pub(in crate::store) fn put(
        &mut self,
        swarm: Box<Swarm>,
        settings: Settings,
        memory: &Arc<Memory>,
        wakes: &mut Wakes,
    ) -> Option<Box<Swarm>> {
        let before = self.swarm.replace(swarm);
        let revision = self.swarm().revision();
        wakes.free_log(self.log.resume_at(revision));
        wakes.push(Arc::clone(&self.changed));
        self.targets.values().for_each(|watched| wakes.push(watched.touch()));
        let grants = self.swarm().grants();
        let has_reopened = self.feed.is_closed() && !self.swarm().is_over();
        let chat = chat_sequence(self.swarm());
        if has_reopened || self.feed.newest_term() > self.swarm().revision() || self.feed.chat_sequence() > chat {
            // Its terms, its messages or its end are of another history: terms and positions will come a second time.
            self.feed.enforce(&[], &[], true);
            wakes.push(self.feed.producers());
            wakes.wake_all(Arc::clone(&self.feed));
            self.feed = Feed::new(feed_settings(self.swarm(), settings.ring_bytes), Arc::clone(memory));
            self.feed.enforce_as(&grants, Granted::by(revision), &[], self.swarm().is_over());
            self.feed.advance_chat(chat);
            return before;
        }
        let former = before.as_deref().map(Swarm::grants).unwrap_or_default();
        let is_same = |a: &Grant, b: &Grant| (a.source, a.channel) == (b.source, b.channel);
        let lost = former.iter().filter(|old| !grants.iter().any(|new| is_same(old, new)));
        let mut changed: Vec<Grant> = lost
            .map(|old| Grant { term: 0, session: None, home: NO_HOME, gate: Gate::Off, key: None, ..*old })
            .collect();
        let mut gone: Vec<NodeId> = changed.iter().map(|grant| grant.source).collect();
        gone.retain(|node| !grants.iter().any(|grant| grant.source == *node));
        changed.extend(grants);
        self.feed.enforce_as(&changed, Granted::by(revision), &gone, self.swarm().is_over());
        self.feed.advance_chat(chat);
        self.feed.set_limits(limits(self.swarm()));
        wakes.push(self.feed.producers());
        wakes.wake_all(Arc::clone(&self.feed));
        before
    }

    /// Raises the revision of the swarm: watchers begin anew.
    pub(in crate::store) fn raise(&mut self, by: u64, wakes: &mut Wakes) {
        if let Some(swarm) = self.swarm.as_deref_mut() {
            swarm.raise(by);
        }
        self.feed.advance_chat(chat_sequence(self.swarm()));
        let revision = self.swarm().revision();
        wakes.free_log(self.log.resume_at(revision));
        wakes.push(Arc::clone(&self.changed));
        self.targets.values().for_each(|watched| wakes.push(Arc::clone(&watched.changed)));
    }

    /// Ends the streams of those that are not in any more, and tells the feed what the others want: the next `most` of
    /// them. O(most).
    pub(in crate::store) fn bring_streams(&mut self, from: Brought, most: usize, wakes: &mut Wakes) -> Brought {
        match from {
            Brought::Nothing => self.bring_sessions(Limit::Unbounded, most, wakes),
            Brought::Sessions(last) => self.bring_sessions(Limit::Excluded(last), most, wakes),
            Brought::Followers(last) => self.bring_followers(last, most, wakes),
            Brought::Subscribers(last) => {
                let nodes = self.feed.subscribed_nodes(last, most);
                for node in &nodes {
                    let Some(member) = self.swarm().roster().find(*node) else { continue };
                    let parked = self.feed.set_interests(*node, &member.interests);
                    wakes.wake(parked);
                }
                wakes.push(self.feed.producers());
                page(&nodes, most).map_or(Brought::Authors(None), |last| Brought::Subscribers(Some(last)))
            }
            Brought::Authors(last) => {
                let nodes = self.feed.authors_after(last, most);
                let next = page(&nodes, most).map_or(Brought::All, |last| Brought::Authors(Some(last)));
                let roster = self.swarm().roster();
                let gone: Vec<_> = nodes.into_iter().filter(|node| roster.key(*node).is_none()).collect();
                self.feed.members_left(&gone);
                next
            }
            Brought::All => Brought::All,
        }
    }

    fn bring_sessions(&mut self, after: Limit<SessionId>, most: usize, wakes: &mut Wakes) -> Brought {
        let looked_at = self.sessions.range((after, Limit::Unbounded)).take(most);
        let sessions: Vec<_> = looked_at.map(|(session, bound)| (*session, bound.node)).collect();
        for (session, node) in &sessions {
            let current = self.swarm().roster().find(*node).map(|member| member.session);
            if current != Some(*session) {
                let reason = if current.is_some() { LeaveReason::Replaced } else { self.absence() };
                end_session(self.sessions.remove(session), reason, wakes);
            }
        }
        page(&sessions, most).map_or(Brought::Followers(None), |(last, _)| Brought::Sessions(last))
    }

    fn bring_followers(&mut self, last: Option<NodeId>, most: usize, wakes: &mut Wakes) -> Brought {
        let after = last.map_or(Limit::Unbounded, Limit::Excluded);
        let looked_at = self.followers.range((after, Limit::Unbounded)).take(most);
        let nodes: Vec<_> = looked_at.map(|(node, Bound { .. })| *node).collect();
        for node in &nodes {
            if self.swarm().roster().key(*node).is_none() {
                end_session(self.followers.remove(node), self.absence(), wakes);
            }
        }
        page(&nodes, most).map_or(Brought::Subscribers(None), |last| Brought::Followers(Some(last)))
    }

    /// Why who was in is not: to its client it is as if its lease had ended.
    fn absence(&self) -> LeaveReason {
        if self.swarm().is_over() { LeaveReason::Ended } else { LeaveReason::Timeout }
    }
}

/// How far the CHAT of a livestream has come that goes through the log.
fn chat_sequence(swarm: &Swarm) -> u64 {
    match swarm.rules() {
        Rules::Livestream(livestream) => livestream.chat_sequence(),
        Rules::Group(_) => 0,
    }
}

/// The last one of a page, if there may be another.
fn page<T: Copy>(found: &[T], most: usize) -> Option<T> {
    found.last().copied().filter(|_| found.len() == most)
}
