//! Counts what a SubscribeUpdates stream brings without decoding it.

/// The first byte of a Delivery that holds an Update, or a Gap: its field's tag.
const UPDATE: u8 = 0x0a;
const GAP: u8 = 0x12;
/// The tag of `SubscribeUpdatesResponse.deliveries`.
const DELIVERIES: u8 = 0x0a;

/// What some bytes brought; a delivery counts where it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) updates: u64,
    pub(crate) gaps: u64,
    /// Greetings, filters, heartbeats and goodbyes.
    pub(crate) others: u64,
}

/// The bytes are not those of such a stream.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a stream of SubscribeUpdatesResponse: {0}")]
pub(crate) struct Malformed(&'static str);

#[derive(Clone, Copy, Debug)]
enum State {
    /// In the five bytes before a message: how many are there.
    Prefix { have: usize, bytes: [u8; 5] },
    /// Before the tag of a field.
    Tag,
    /// In the varint after it.
    Length { run: u32, value: usize },
    /// Before the first byte of a delivery of this length.
    Kind(usize),
    /// In a delivery that nobody looks at.
    Skip(usize),
    /// In one that is kept.
    Gather(usize),
}

const BEGINNING: State = State::Prefix { have: 0, bytes: [0; 5] };

/// Reads gRPC messages from DATA frames, wherever these are cut.
#[derive(Debug)]
pub(crate) struct Scanner {
    state: State,
    /// Of the message under way, in bytes.
    left: usize,
    every: u64,
    /// Updates until the next one that is handed out.
    until: u64,
    gathered: Vec<u8>,
}

impl Scanner {
    /// Hands out one update of `every`; `phase` shifts which.
    pub(crate) const fn new(every: u64, phase: u64) -> Self {
        Self { state: BEGINNING, left: 0, every, until: phase % every, gathered: Vec::new() }
    }

    /// Takes the next bytes; `sample` gets encoded Deliveries, each an Update, when they end.
    pub(crate) fn scan(&mut self, bytes: &[u8], mut sample: impl FnMut(&[u8])) -> Result<Found, Malformed> {
        let mut found = Found::default();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match self.state {
                State::Prefix { have, mut bytes } => {
                    bytes[have] = byte;
                    rest = after;
                    self.state = State::Prefix { have: have + 1, bytes };
                    if have == 4 {
                        let [compressed, length @ ..] = bytes;
                        if compressed != 0 {
                            return Err(Malformed("a compressed message"));
                        }
                        self.left = u32::from_be_bytes(length) as usize;
                        self.next();
                    }
                }
                State::Tag => {
                    if byte != DELIVERIES {
                        return Err(Malformed("another field than deliveries"));
                    }
                    self.take(1)?;
                    rest = after;
                    self.state = State::Length { run: 0, value: 0 };
                }
                State::Length { run, value } => {
                    self.take(1)?;
                    rest = after;
                    let value = value | usize::from(byte & 0x7f) << run;
                    if byte & 0x80 != 0 {
                        if run >= 28 {
                            return Err(Malformed("a length without end"));
                        }
                        self.state = State::Length { run: run + 7, value };
                        continue;
                    }
                    self.take(value)?;
                    if value == 0 {
                        found.others += 1;
                        self.next();
                    } else {
                        self.state = State::Kind(value);
                    }
                }
                State::Kind(length) => self.state = self.begin(byte, length, &mut found),
                State::Skip(left) => {
                    let (_, after) = rest.split_at(left.min(rest.len()));
                    self.state = State::Skip(left - (rest.len() - after.len()));
                    rest = after;
                    if let State::Skip(0) = self.state {
                        self.next();
                    }
                }
                State::Gather(left) => {
                    let (part, after) = rest.split_at(left.min(rest.len()));
                    rest = after;
                    self.state = State::Gather(left - part.len());
                    if part.len() < left {
                        self.gathered.extend_from_slice(part);
                        continue;
                    }
                    if self.gathered.is_empty() {
                        sample(part);
                    } else {
                        self.gathered.extend_from_slice(part);
                        sample(&self.gathered);
                        self.gathered.clear();
                    }
                    self.next();
                }
            }
        }
        Ok(found)
    }

    /// Counts a delivery; says what to do with it.
    const fn begin(&mut self, kind: u8, length: usize, found: &mut Found) -> State {
        match kind {
            UPDATE => {
                found.updates += 1;
                if self.until == 0 {
                    self.until = self.every - 1;
                    return State::Gather(length);
                }
                self.until -= 1;
            }
            GAP => found.gaps += 1,
            _ => found.others += 1,
        }
        State::Skip(length)
    }

    /// Goes on to the next field, or the next message.
    const fn next(&mut self) {
        self.state = if self.left == 0 { BEGINNING } else { State::Tag };
    }

    /// Takes bytes of the message under way.
    const fn take(&mut self, count: usize) -> Result<(), Malformed> {
        let Some(left) = self.left.checked_sub(count) else {
            return Err(Malformed("a delivery that is longer than its message"));
        };
        self.left = left;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
