//! What a history can prove against the server.

use std::fmt;

use super::lane::{Lane, Point};
use starling_client::pb::swarm::v1::GapReason;

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Something came before `Subscribed`.
    #[error("subscriber {subscriber}: something came before Subscribed")]
    NotSubscribed {
        /// Who got it.
        subscriber: u64,
    },
    /// `Subscribed` came again in one subscription.
    #[error("subscriber {subscriber}: Subscribed came twice in one subscription")]
    SubscribedTwice {
        /// Who got it.
        subscriber: u64,
    },
    /// An update came twice, late, or from before the start.
    #[error("subscriber {subscriber}, {lane}: {point} came after {last}")]
    Order {
        /// Who got it.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// What had come, or the position that `Subscribed` named.
        last: Point,
        /// What came then.
        point: Point,
    },
    /// Updates are missing, and nobody said so.
    #[error("subscriber {subscriber}, {lane}: {count} missing from {first} to {last}, without a gap")]
    Missing {
        /// Who should have got them.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// The first of them.
        first: Point,
        /// The last of them, before the next one that came.
        last: Point,
        /// How many they are.
        count: u64,
    },
    /// A gap was announced, but nothing that the filter passes was lost in it.
    #[error("subscriber {subscriber}, {lane}: gap {reason:?} {}, but nothing was lost", Span(*after, *before))]
    NothingLost {
        /// Who was told.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// Why, as told.
        reason: GapReason,
        /// Where the gap begins.
        after: Option<Point>,
        /// Where it ends.
        before: Option<Point>,
    },
    /// A gap that the subscriber had named when it resumed, or that ends where it resumed, was
    /// announced again.
    #[error("subscriber {subscriber}, {lane}: gap {reason:?} {} was told before", Span(*after, *before))]
    ToldAgain {
        /// Who was told.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// Why, as told.
        reason: GapReason,
        /// Where the gap begins.
        after: Option<Point>,
        /// Where it ends.
        before: Option<Point>,
    },
    /// A change of term was announced as a loss, though the publisher went on where it
    /// stopped: a reopening loses nothing.
    #[error("subscriber {subscriber}, {lane}: gap TermChanged {}, but the run goes on", Span(*after, *before))]
    RunGoesOn {
        /// Who was told.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// Where the gap begins.
        after: Option<Point>,
        /// Where it ends.
        before: Option<Point>,
    },
    /// A gap has the wrong count.
    #[error("subscriber {subscriber}, {lane}: gap {reason:?} {} counts {told}, but {lost} were lost",
            Span(*after, *before))]
    Count {
        /// Who was told.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// Why, as told.
        reason: GapReason,
        /// Where the gap begins.
        after: Option<Point>,
        /// Where it ends.
        before: Option<Point>,
        /// The count as told.
        told: u64,
        /// What the filter passes inside the gap.
        lost: u64,
    },
    /// An update came that a gap declared lost.
    #[error("subscriber {subscriber}, {lane}: {point} came, but a gap {reason:?} says that it was lost")]
    InsideGap {
        /// Who got it.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// What came.
        point: Point,
        /// Why it should be lost.
        reason: GapReason,
    },
    /// An update came that the declared filter leaves out.
    #[error("subscriber {subscriber}, {lane}: {point} came, which the declared filter leaves out")]
    Filtered {
        /// Who got it.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// What came.
        point: Point,
    },
    /// An update came that cannot be understood without what is missing.
    #[error("subscriber {subscriber}, {lane}: {point} is no keyframe, {cause}")]
    NotAKeyframe {
        /// Who got it.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// What came.
        point: Point,
        /// Why it had to be one.
        cause: Cause,
    },
    /// An update came that nobody published.
    #[error("subscriber {subscriber}, {lane}: nobody published {point}")]
    Unknown {
        /// Who got it.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// What came.
        point: Point,
    },
    /// An update is not what was published at its position.
    #[error("subscriber {subscriber}, {lane}: {point} came with another {difference} than published")]
    Altered {
        /// Who got it.
        subscriber: u64,
        /// On which lane.
        lane: Lane,
        /// What came.
        point: Point,
        /// In what it differs.
        difference: Difference,
    },
    /// An acknowledgement does not fit what was sent.
    #[error("publisher {publisher}, {lane}: {through} acknowledged as {point}, but by what was sent it is {counted}")]
    Numbering {
        /// Who was told.
        publisher: u64,
        /// On which lane.
        lane: Lane,
        /// The `publisher_sequence` acknowledged.
        through: u64,
        /// The position named.
        point: Point,
        /// The sequence in the term by the publisher's count.
        counted: u64,
    },
    /// An acknowledgement names an update that the publisher never sent, or one on a
    /// stream that opened knows less than was acknowledged before.
    #[error("publisher {publisher}, {lane}: accepted through {told}, but sent and accepted is {known}")]
    Acknowledged {
        /// Who was told.
        publisher: u64,
        /// On which lane.
        lane: Lane,
        /// The `publisher_sequence` named.
        told: u64,
        /// The last one that can have been accepted.
        known: u64,
    },
    /// A chat message that its author never sent, or sent only once and earlier.
    #[error("chat: {author} did not send what came as {sequence}, or not in this order")]
    NotSent {
        /// Who wrote it, as told.
        author: u64,
        /// Its number.
        sequence: u64,
    },
    /// One chat position with two authors.
    #[error("chat: {sequence} is by {one} and by {other}")]
    Author {
        /// Its number.
        sequence: u64,
        /// Who wrote it, as told first.
        one: u64,
        /// Who wrote it, as told then.
        other: u64,
    },
}

/// Why an update had to be a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The lane begins with it.
    Start,
    /// It follows a gap.
    Gap(GapReason),
    /// It is the first of its term.
    Term,
    /// The filter was raised before it.
    Raised,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("but the lane begins with it"),
            Self::Gap(reason) => write!(f, "but follows a gap {reason:?}"),
            Self::Term => f.write_str("but a new term begins with it"),
            Self::Raised => f.write_str("but the filter was raised before it"),
        }
    }
}

/// In what an update differs from what was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Length or content.
    Payload,
    /// The keyframe flag.
    Keyframe,
    /// The temporal layer.
    Layer,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Payload => "payload",
            Self::Keyframe => "keyframe flag",
            Self::Layer => "temporal layer",
        })
    }
}

/// What lies between two points, either of which may be open.
struct Span(Option<Point>, Option<Point>);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(after) => write!(f, "after {after}")?,
            None => f.write_str("from the beginning")?,
        }
        self.1.map_or(Ok(()), |before| write!(f, " before {before}"))
    }
}
