//! What an interest is worth: priority, delay budget, quality and filter.
//!
//! One table for the target lists and for the fan-out (`docs/design.md`, section 5,
//! "What is sent to whom"). The values of priority, delay and quality are those of
//! `elara-diffusion` 0.2.0; the filter is what its documentation promised.

use super::channel::Channel;
use super::interest::Interest;

/// Order among updates and targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When nothing else is waiting.
    Background,
    /// In turn.
    Normal,
    /// Before others.
    High,
    /// At once.
    Urgent,
}

/// Which updates of a channel pass; each lets more through than the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Filter {
    /// Nothing.
    Nothing,
    /// Keyframes only.
    Keyframes,
    /// All but the top temporal layer.
    WithoutTopLayer,
    /// Everything.
    Everything,
}

/// How updates travel to a node with some interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Propagation {
    /// Order among targets.
    pub priority: Priority,
    /// How long a forwarder may hold an update back to coalesce writes, in
    /// milliseconds.
    pub delay_ms: u32,
    /// What passes of VISUAL and SCREEN; all of the other channels does.
    pub pictures: Filter,
}

impl Interest {
    /// Priority, delay budget and filter of this level; `None` when nothing is sent.
    pub const fn propagation(self) -> Option<Propagation> {
        let (priority, delay_ms) = match self {
            Self::None => return None,
            Self::Low => (Priority::Background, 200),
            Self::Medium => (Priority::Normal, 50),
            Self::High => (Priority::High, 10),
            Self::Critical => (Priority::Urgent, 0),
        };
        Some(Propagation { priority, delay_ms, pictures: self.filter(Channel::Visual) })
    }

    /// What passes of `channel` at this level. Only VISUAL and SCREEN have
    /// keyframes and layers to leave out.
    pub const fn filter(self, channel: Channel) -> Filter {
        match (self, channel) {
            (Self::None, _) => Filter::Nothing,
            (Self::Low, Channel::Visual | Channel::Screen) => Filter::Keyframes,
            (Self::Medium, Channel::Visual | Channel::Screen) => Filter::WithoutTopLayer,
            _ => Filter::Everything,
        }
    }
}
