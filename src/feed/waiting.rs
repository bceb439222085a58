//! Who waits for updates, and when they are woken.
//!
//! A subscriber that has read everything parks here under its [`Pace`]. An update
//! makes every pace that it passes due after the delivery window of that pace; the
//! crier, one task of each feed that is read, wakes those that are due, all of a
//! pace together. So publishing costs O(paces) however many wait, and a subscriber
//! is woken once per window and not once per update. Whoever is awake, or waits for
//! room in HTTP/2, is not parked and costs nothing.

use std::sync::Arc;

use tokio::sync::Notify;

use super::Micros;
use super::audience::Seat;
use super::record::{Kind, Record};
use crate::swarm::interest::{Channel, Interest};
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a subscription wants of each channel: those of one pace are woken together.
pub(super) type Pace = [Interest; 5];

const KINDS: [Kind; 3] = [Kind::Keyframe, Kind::Top, Kind::Plain];

/// An update that has come, as far as those who wait are concerned.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    number: u64,
    channel: Channel,
    kind: Kind,
    urgent: bool,
}

impl News {
    pub(super) const fn of(number: u64, record: &Record) -> Self {
        Self { number, channel: record.position.channel, kind: record.kind(), urgent: record.urgent }
    }

    /// For how long it may be held back from those of a pace; `None` when they do not
    /// get it.
    fn window(&self, pace: &Pace) -> Option<Micros> {
        let window = window(pace, self.channel, self.kind)?;
        Some(if self.urgent { 0 } else { window })
    }
}

fn window(pace: &Pace, channel: Channel, kind: Kind) -> Option<Micros> {
    let interest = pace[channel.index()];
    let propagation = interest.propagation().filter(|_| kind.passes(interest.filter(channel)))?;
    Some(Micros::from(propagation.delay_ms) * 1_000)
}

/// Where a seat is parked. Written under the lock of [`Waiting`] alone.
#[derive(Debug, Default)]
pub(super) struct Ticket {
    parked: AtomicBool,
    pace: AtomicU64,
    place: AtomicU64,
}

impl Ticket {
    /// True until the crier has called the seat.
    pub(super) fn is_parked(&self) -> bool {
        self.parked.load(Ordering::Acquire)
    }
}

/// What the crier is to do.
#[derive(Debug)]
pub enum Call {
    /// Wake these, and ask again.
    Wake(Vec<Sleeper>),
    /// Ask again at this time, or when the bell rings.
    Until(Micros),
    /// Ask again when the bell rings.
    Idle,
    /// Nobody reads any more: stop.
    Over,
}

/// A subscription that is to be woken.
#[derive(Debug)]
pub struct Sleeper(Arc<Seat>);

impl Sleeper {
    pub(super) const fn new(seat: Arc<Seat>) -> Self {
        Self(seat)
    }

    /// Wakes it.
    pub fn wake(&self) {
        self.0.wake();
    }
}

/// Those who wait for the updates of one feed.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    state: Mutex<State>,
    bell: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// Few: one for each pace of which somebody waits, and some that are empty.
    paces: Vec<Parked>,
    /// The number after the newest update, by channel and kind.
    news: [[u64; KINDS.len()]; 5],
    /// The same of those that are urgent.
    urgent: [[u64; KINDS.len()]; 5],
    /// The highest of `news`.
    newest: u64,
    subscriptions: usize,
    /// The crier runs.
    crying: bool,
    /// The crier looks again then.
    next: Option<Micros>,
}

#[derive(Debug)]
struct Parked {
    pace: Pace,
    /// When they are to be woken; `None` = there is nothing for them.
    due: Option<Micros>,
    seats: Vec<Arc<Seat>>,
}

impl State {
    fn pace(&mut self, pace: Pace) -> usize {
        if let Some(known) = self.paces.iter().position(|parked| parked.pace == pace) {
            return known;
        }
        match self.paces.iter().position(|parked| parked.seats.is_empty()) {
            Some(free) => {
                (self.paces[free].pace, self.paces[free].due) = (pace, None);
                free
            }
            None => {
                self.paces.push(Parked { pace, due: None, seats: Vec::new() });
                self.paces.len() - 1
            }
        }
    }

    /// For how long the records from `next` on may be held back from those of a pace;
    /// `None` when they get none of them.
    fn window(&self, pace: &Pace, next: u64) -> Option<Micros> {
        let unread = Channel::ALL.into_iter().flat_map(|channel| KINDS.map(|kind| (channel, kind)));
        let unread = unread.filter(|(channel, kind)| self.news[channel.index()][*kind as usize] > next);
        let window = |(channel, kind): (Channel, Kind)| {
            let window = window(pace, channel, kind)?;
            Some(if self.urgent[channel.index()][kind as usize] > next { 0 } else { window })
        };
        unread.filter_map(window).min()
    }

    /// Brings the crier's next look forward. True when it must be told.
    fn look_at(&mut self, at: Micros) -> bool {
        let sooner = self.next.is_none_or(|next| at < next);
        if sooner {
            self.next = Some(at);
        }
        sooner
    }
}

impl Waiting {
    /// One more reads.
    pub(super) fn enter(&self) {
        self.state.lock().subscriptions += 1;
    }

    /// True for the first who asks while somebody reads and no crier runs.
    pub(super) fn needs_crier(&self) -> bool {
        let mut state = self.state.lock();
        state.subscriptions > 0 && !std::mem::replace(&mut state.crying, true)
    }

    /// One less reads.
    pub(super) fn leave(&self, seat: &Seat) {
        self.unpark(seat);
        let mut state = self.state.lock();
        state.subscriptions -= 1;
        if state.subscriptions == 0 {
            drop(state);
            self.bell.notify_one();
        }
    }

    /// The bell that the crier waits for between two calls.
    pub(super) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Tells of an update. O(paces).
    pub(super) fn announce(&self, news: News, now: Micros) {
        let mut state = self.state.lock();
        let (channel, kind) = (news.channel.index(), news.kind as usize);
        let newest = &mut state.news[channel][kind];
        *newest = (*newest).max(news.number + 1);
        if news.urgent {
            state.urgent[channel][kind] = state.urgent[channel][kind].max(news.number + 1);
        }
        state.newest = state.newest.max(news.number + 1);
        let mut first = None::<Micros>;
        for parked in state.paces.iter_mut().filter(|parked| !parked.seats.is_empty()) {
            let Some(window) = news.window(&parked.pace) else { continue };
            let due = parked.due.map_or(now + window, |due| due.min(now + window));
            parked.due = Some(due);
            first = Some(first.map_or(due, |first| first.min(due)));
        }
        if first.is_some_and(|due| state.look_at(due)) {
            drop(state);
            self.bell.notify_one();
        }
    }

    /// Parks a seat that has read all records before `next`. False when there is
    /// something for it that must not wait.
    pub(super) fn park(&self, seat: &Arc<Seat>, pace: Pace, next: u64, now: Micros) -> bool {
        let mut state = self.state.lock();
        let window = if state.newest > next { state.window(&pace, next) } else { None };
        if window == Some(0) {
            return false;
        }
        let at = state.pace(pace);
        let parked = &mut state.paces[at];
        seat.ticket.pace.store(at as u64, Ordering::Relaxed);
        seat.ticket.place.store(parked.seats.len() as u64, Ordering::Relaxed);
        seat.ticket.parked.store(true, Ordering::Release);
        parked.seats.push(Arc::clone(seat));
        let due = window.map(|window| now + window);
        parked.due = [parked.due, due].into_iter().flatten().min();
        if due.is_some_and(|due| state.look_at(due)) {
            drop(state);
            self.bell.notify_one();
        }
        true
    }

    /// Takes a seat out again, if it is parked. O(1).
    #[expect(clippy::cast_possible_truncation, reason = "the ticket holds indices")]
    pub(super) fn unpark(&self, seat: &Seat) {
        if !seat.ticket.is_parked() {
            return;
        }
        let mut state = self.state.lock();
        // Or did the crier call meanwhile?
        if !seat.ticket.parked.swap(false, Ordering::AcqRel) {
            return;
        }
        let place = seat.ticket.place.load(Ordering::Relaxed) as usize;
        let parked = &mut state.paces[seat.ticket.pace.load(Ordering::Relaxed) as usize];
        parked.seats.swap_remove(place);
        if let Some(moved) = parked.seats.get(place) {
            moved.ticket.place.store(place as u64, Ordering::Relaxed);
        }
    }

    /// Makes everybody look.
    pub(super) fn rouse(&self) {
        let mut state = self.state.lock();
        state.paces.iter_mut().for_each(|parked| parked.due = Some(0));
        state.next = Some(0);
        drop(state);
        self.bell.notify_one();
    }

    /// What the crier is to do now. O(those who are due).
    pub(super) fn call(&self, now: Micros) -> Call {
        let mut state = self.state.lock();
        if state.subscriptions == 0 {
            state.crying = false;
            return Call::Over;
        }
        let mut sleepers = Vec::new();
        let mut next = None::<Micros>;
        for parked in &mut state.paces {
            match parked.due {
                Some(due) if due <= now => {
                    parked.due = None;
                    sleepers.extend(std::mem::take(&mut parked.seats).into_iter().map(Sleeper));
                }
                Some(due) if !parked.seats.is_empty() => next = Some(next.map_or(due, |next| next.min(due))),
                Some(_) | None => parked.due = None,
            }
        }
        // Nobody can take them out any more.
        sleepers.iter().for_each(|sleeper| sleeper.0.ticket.parked.store(false, Ordering::Release));
        state.next = next;
        match (sleepers.is_empty(), next) {
            (false, _) => {
                // The crier asks again at once.
                state.next = Some(now);
                Call::Wake(sleepers)
            }
            (true, Some(next)) => Call::Until(next),
            (true, None) => Call::Idle,
        }
    }
}
