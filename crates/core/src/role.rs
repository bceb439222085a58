//! What a member is in its swarm.

use super::interest::Interests;

/// What a member is in its swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The one node with authority over a livestream. Not a viewer.
    Broadcaster {
        /// Whether it would forward as a viewer, should it become one.
        can_relay: bool,
    },
    /// A node that watches a livestream.
    Viewer {
        /// How it watches.
        mode: ViewerMode,
        /// Whether it forwards. Never for a lurker.
        can_relay: bool,
    },
    /// A peer in a group.
    Participant(Media),
    /// A node that subscribes to a group and sends nothing.
    Listener,
}

/// How a viewer watches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ViewerMode {
    /// It plays the stream.
    #[default]
    Active,
    /// It keeps an eye on it.
    Lurker,
}

/// What a participant sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Media {
    /// Its microphone is on.
    pub audio: bool,
    /// Its camera is on.
    pub video: bool,
}

impl Role {
    /// A number for each role.
    pub(super) const fn number(self) -> u64 {
        match self {
            Self::Broadcaster { can_relay } => can_relay as u64,
            Self::Viewer { mode, can_relay } => 2 + mode as u64 * 2 + can_relay as u64,
            Self::Participant(Media { audio, video }) => 6 + audio as u64 * 2 + video as u64,
            Self::Listener => 10,
        }
    }

    /// The interests of a member that has not said otherwise.
    pub const fn default_interests(self) -> Interests {
        match self {
            Self::Broadcaster { .. } | Self::Viewer { mode: ViewerMode::Active, .. } => Interests::active_viewer(),
            Self::Viewer { mode: ViewerMode::Lurker, .. } => Interests::lurker(),
            Self::Participant(_) | Self::Listener => Interests::participant(),
        }
    }
}
