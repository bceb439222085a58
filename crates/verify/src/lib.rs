//! The history checker: proves from outside that every subscriber got all it
//! was owed, in order, or was told what is missing.
//!
//! Each publisher keeps a [`PublisherLog`] of what it sent and what became of it,
//! each subscriber a [`History`] of what it got. [`check`] compares them and
//! trusts neither the server nor its figures. The tests and the demo judge by it.
//!
//! What is proved of each subscriber, on each [`Lane`] (source and channel):
//!
//! 1. positions go up, across resumes too: nothing comes twice;
//! 2. every update that did not come was left out by the declared filter, lies in
//!    a gap, or came before the keyframe that the lane had to begin with;
//! 3. no gap where nothing was lost, and its count is right;
//! 4. nothing comes that the declared filter leaves out;
//! 5. on VISUAL and SCREEN a lane begins with a keyframe, and so does what follows
//!    a gap, another publisher or a filter that was raised;
//! 6. each update is what was published at its position;
//! 7. each subscription begins with `Subscribed`, once;
//! 8. a reopening loses nothing: no gap tells of a change of term over which the
//!    same session goes on without leaving a number out;
//! 9. what a resume names as told is not told again.
//!
//! CHAT of a livestream has many authors in one order. What was published there
//! is what any subscriber or acknowledgement saw; each message must have been sent
//! by its author, in the author's order, at most once.

mod audit;
mod chat;
mod filter;
mod lane;
mod print;
mod published;
mod publisher;
mod reader;
mod report;
mod stretch;
mod subscriber;
#[cfg(test)]
mod tests;
mod totals;
mod violation;

pub use lane::{Lane, Point};
pub use publisher::PublisherLog;
pub use report::Report;
pub use subscriber::History;
pub use totals::Totals;
pub use violation::{Cause, Difference, Violation};

use chat::Chat;
use published::Published;

/// No more violations than these are reported: the first ones tell the story.
pub const MAX_VIOLATIONS: usize = 1_000;

/// Compares what the subscribers got with what the publishers sent; `logs` must
/// hold every publisher of the swarm.
///
/// # Errors
///
/// The first [`MAX_VIOLATIONS`] violations; never an empty list.
///
/// O(published + delivered) per subscriber, apart from updates that lie in several
/// gaps at once.
pub fn check(logs: &[PublisherLog], histories: &[History]) -> Result<Report, Vec<Violation>> {
    let mut violations: Vec<Violation> =
        logs.iter().flat_map(PublisherLog::faults).take(MAX_VIOLATIONS).cloned().collect();
    let chat = Chat::gather(logs, histories, &mut violations);
    let published = Published::gather(logs, chat, histories);
    for history in histories {
        if violations.len() < MAX_VIOLATIONS {
            audit::audit(history, &published, &mut violations);
        }
    }
    violations.truncate(MAX_VIOLATIONS);
    if violations.is_empty() { Ok(Report::of(logs, histories)) } else { Err(violations) }
}
