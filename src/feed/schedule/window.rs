//! How long an update may be held back from a delivery class.

use crate::clock::Micros;
use crate::feed::record::{Kind, Record};
use crate::feed::subscriber::DeliveryClass;
use starling_core::channel::Channel;

pub(super) const KINDS: [Kind; 3] = [Kind::Keyframe, Kind::Top, Kind::Plain];

/// What the schedule has to know of an update that was appended.
#[derive(Clone, Copy, Debug)]
pub(in crate::feed) struct Appended {
    pub(super) number: u64,
    pub(super) channel: Channel,
    pub(super) kind: Kind,
    pub(super) urgent: bool,
}

impl Appended {
    pub(in crate::feed) const fn new(number: u64, record: &Record) -> Self {
        Self { number, channel: record.position.channel, kind: record.kind(), urgent: record.is_urgent() }
    }

    /// How long it may be held back from a class; `None` when the class does not get it.
    pub(super) fn window(&self, class: &DeliveryClass) -> Option<Micros> {
        let window = window(class, self.channel, self.kind)?;
        Some(if self.urgent { Micros::ZERO } else { window })
    }
}

/// The delivery window of a class for one kind of update; `None` when it does not get them.
pub(super) fn window(class: &DeliveryClass, channel: Channel, kind: Kind) -> Option<Micros> {
    let interest = class[channel];
    let propagation = interest.propagation().filter(|_| kind.passes(interest.filter(channel)))?;
    Some(Micros::from_millis(propagation.delay_ms.into()))
}
