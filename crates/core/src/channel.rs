//! The channels of a swarm, sets of them, and tables by channel.

use std::ops::{Index, IndexMut};

/// A kind of state that a source publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Channel {
    /// Video.
    Visual,
    /// Sound.
    Audio,
    /// A shared screen.
    Screen,
    /// Text messages.
    Chat,
    /// Anything else.
    Data,
}

impl Channel {
    /// Every channel, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Visual, Self::Audio, Self::Screen, Self::Chat, Self::Data];
}

/// A set of channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ChannelSet(u8);

impl ChannelSet {
    /// True when `channel` is in the set.
    pub const fn contains(self, channel: Channel) -> bool {
        self.0 & (1 << channel as u8) != 0
    }

    /// True when the set has no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The members, in the order of [`Channel::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Channel> {
        Channel::ALL.into_iter().filter(move |channel| self.contains(*channel))
    }

    /// The set as five bits, bit n for the nth channel.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

impl FromIterator<Channel> for ChannelSet {
    fn from_iter<I: IntoIterator<Item = Channel>>(channels: I) -> Self {
        Self(channels.into_iter().fold(0, |bits, channel| bits | 1 << channel as u8))
    }
}

/// One value for each channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PerChannel<T>([T; Channel::ALL.len()]);

impl<T> PerChannel<T> {
    /// The values in the order of [`Channel::ALL`].
    pub const fn new(values: [T; Channel::ALL.len()]) -> Self {
        Self(values)
    }

    /// The value that `value` gives for each channel.
    pub fn from_fn(value: impl FnMut(Channel) -> T) -> Self {
        Self(Channel::ALL.map(value))
    }

    /// Every channel with its value, in the order of [`Channel::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Channel, &T)> {
        Channel::ALL.into_iter().zip(&self.0)
    }
}

impl<T> Index<Channel> for PerChannel<T> {
    type Output = T;

    fn index(&self, channel: Channel) -> &T {
        &self.0[channel as usize]
    }
}

impl<T> IndexMut<Channel> for PerChannel<T> {
    fn index_mut(&mut self, channel: Channel) -> &mut T {
        &mut self.0[channel as usize]
    }
}
