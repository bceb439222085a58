//! Memory of requests, so that a client may repeat one whose answer it missed.

use std::collections::VecDeque;

use super::command::By;
use super::error::Rejection;
use super::id::NodeId;

/// How many requests a swarm remembers.
const CAPACITY: usize = 256;
/// How long a swarm remembers a request, in milliseconds.
const KEPT_FOR_MS: u64 = 5 * 60 * 1000;

/// A client's name for a request, and what it asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId {
    /// The client's name for it; at most 64 bytes.
    pub name: Box<str>,
    /// A digest of what was asked, without what the server adds.
    pub fingerprint: u64,
}

/// Which operation a request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "named like the commands")]
pub enum Method {
    Leave,
    SetInterest,
    UpdateMember,
    UpdateSwarm,
    End,
    Remove,
    Start,
    Pause,
    Resume,
    AddModerator,
    RemoveModerator,
    Mute,
    Unmute,
    Transfer,
    SetMedia,
    StartShare,
    StopShare,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Remembered {
    at: u64,
    node: NodeId,
    method: Method,
    id: RequestId,
    revision: u64,
}

/// The last successful requests of a swarm: at most 256, none older than five
/// minutes, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Requests(VecDeque<Remembered>);

impl Requests {
    /// The revision at which a request succeeded, if it is a repeat. O(256).
    pub fn recall(&self, by: &By, method: Method, now: u64) -> Result<Option<u64>, Rejection> {
        let Some(request) = &by.request else { return Ok(None) };
        let mut fresh = self.0.iter().filter(|known| known.at + KEPT_FOR_MS >= now);
        match fresh.find(|r| r.node == by.node && r.method == method && r.id.name == request.name) {
            None => Ok(None),
            Some(known) if known.id.fingerprint == request.fingerprint => Ok(Some(known.revision)),
            Some(_) => Err(Rejection::RequestReused),
        }
    }

    /// Remembers a success.
    pub fn remember(&mut self, node: NodeId, method: Method, id: RequestId, revision: u64, now: u64) {
        while self.0.front().is_some_and(|oldest| oldest.at + KEPT_FOR_MS < now) || self.0.len() >= CAPACITY {
            self.0.pop_front();
        }
        self.0.push_back(Remembered { at: now, node, method, id, revision });
    }
}
