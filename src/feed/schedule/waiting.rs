//! Which subscriptions wait for updates, by class, and when each class is due.

use std::sync::Arc;

use tokio::sync::Notify;

use super::window::{Appended, KINDS, window};
use crate::clock::Micros;
use crate::feed::record::Kind;
use crate::feed::subscriber::{DeliveryClass, ParkedSubscriber, Subscriber};
use crate::sync::Mutex;
use crate::sync::atomic::Ordering;
use starling_core::channel::{Channel, PerChannel};
use starling_core::counted::List;
use starling_core::steps::count;

/// What the wake task is to do next.
#[derive(Debug)]
pub enum NextStep {
    /// Wake these, then ask again.
    Wake(Vec<ParkedSubscriber>),
    /// Ask again at this time, or when the schedule has changed.
    SleepUntil(Micros),
    /// Ask again when the schedule has changed.
    AwaitChange,
    /// Nobody reads any more: end.
    Stop,
}

/// The subscriptions of one feed that wait for updates.
#[derive(Debug, Default)]
pub(in crate::feed) struct WakeSchedule {
    state: Mutex<State>,
    /// Notified when the wake task has to ask sooner than it was told.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct State {
    /// One for each class of which a subscription waits, and some that are empty. Slots are
    /// used again and never removed: `ParkState` holds their indices.
    classes: List<ParkedClass>,
    /// The number after the newest update, by channel and kind.
    ends: PerChannel<[u64; KINDS.len()]>,
    /// The same of urgent updates.
    urgent_ends: PerChannel<[u64; KINDS.len()]>,
    /// The highest of `ends`.
    end: u64,
    subscriptions: usize,
    /// The wake task runs.
    task_runs: bool,
    /// When the wake task asks again; `None` = when the schedule has changed.
    next: Option<Micros>,
}

#[derive(Debug)]
struct ParkedClass {
    class: DeliveryClass,
    /// When its subscribers are to be woken; `None` = nothing was appended for them.
    due: Option<Micros>,
    subscribers: List<Arc<Subscriber>>,
}

impl State {
    /// The index of a class, made if need be.
    fn class(&mut self, class: DeliveryClass) -> usize {
        // A list and no map: a feed has one to four classes, and `on_append` goes over all.
        if let Some(known) = self.classes.iter().position(|parked| parked.class == class) {
            return known;
        }
        let free = self.classes.iter().position(|parked| parked.subscribers.is_empty());
        match free {
            Some(free) => {
                // What made the former class due says nothing of this one.
                (self.classes[free].class, self.classes[free].due) = (class, None);
                free
            }
            None => {
                self.classes.push(ParkedClass { class, due: None, subscribers: List::new() });
                self.classes.len() - 1
            }
        }
    }

    /// How long the records from `next` on may be held back from a class; `None` when it gets
    /// none of them.
    fn window(&self, class: &DeliveryClass, next: u64) -> Option<Micros> {
        // By channel and kind, not by record: the answer does not cost more for who is far behind.
        let unread = Channel::ALL.into_iter().flat_map(|channel| KINDS.map(|kind| (channel, kind)));
        let unread = unread.filter(|(channel, kind)| self.ends[*channel][*kind as usize] > next);
        let window = |(channel, kind): (Channel, Kind)| {
            let window = window(class, channel, kind)?;
            Some(if self.urgent_ends[channel][kind as usize] > next { Micros::ZERO } else { window })
        };
        unread.filter_map(window).min()
    }

    /// Makes the wake task ask at `at` at the latest. True when it must be notified.
    fn ask_by(&mut self, at: Micros) -> bool {
        // Within a window further updates make nothing due sooner: they cost no wake-up of the task.
        let sooner = self.next.is_none_or(|next| at < next);
        if sooner {
            self.next = Some(at);
        }
        sooner
    }
}

impl WakeSchedule {
    /// Counts one more subscription.
    pub(in crate::feed) fn enter(&self) {
        self.state.lock().subscriptions += 1;
    }

    /// True while somebody reads.
    pub(in crate::feed) fn has_readers(&self) -> bool {
        self.state.lock().subscriptions > 0
    }

    /// True for the first caller while there are subscriptions and no wake task: it has to
    /// start one.
    pub(in crate::feed) fn needs_wake_task(&self) -> bool {
        let mut state = self.state.lock();
        state.subscriptions > 0 && !std::mem::replace(&mut state.task_runs, true)
    }

    /// Counts one subscription less, and takes it out if it is parked.
    pub(in crate::feed) fn leave(&self, subscriber: &Subscriber) {
        self.unpark(subscriber);
        let mut state = self.state.lock();
        state.subscriptions -= 1;
        if state.subscriptions == 0 {
            // The task has a strong reference to the feed: it has to see that it may end.
            drop(state);
            self.changed.notify_one();
        }
    }

    /// What the wake task waits for between two steps. A change is remembered while it does
    /// not wait.
    pub(in crate::feed) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    /// Makes the classes due that get an update. O(classes).
    pub(in crate::feed) fn on_append(&self, update: Appended, now: Micros) {
        let mut state = self.state.lock();
        let (channel, kind) = (update.channel, update.kind as usize);
        // Publishers append under the feed's lock and come here after it: not always in order.
        let end = &mut state.ends[channel][kind];
        *end = (*end).max(update.number + 1);
        // Apart from the others: an urgent update must refuse `park` whatever the window of its class is.
        if update.urgent {
            state.urgent_ends[channel][kind] = state.urgent_ends[channel][kind].max(update.number + 1);
        }
        state.end = state.end.max(update.number + 1);
        let mut first = None::<Micros>;
        for parked in state.classes.iter_mut().filter(|parked| !parked.subscribers.is_empty()) {
            let Some(window) = update.window(&parked.class) else { continue };
            // The window runs from the first update that waits: later ones do not put it off.
            let due = parked.due.map_or(now + window, |due| due.min(now + window));
            parked.due = Some(due);
            first = Some(first.map_or(due, |first| first.min(due)));
        }
        if first.is_some_and(|due| state.ask_by(due)) {
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Parks a subscription that has read all records before `next`. False when there is an
    /// update for it that must not wait. O(classes).
    pub(in crate::feed) fn park(
        &self,
        subscriber: &Arc<Subscriber>,
        class: DeliveryClass,
        next: u64,
        now: Micros,
    ) -> bool {
        let mut state = self.state.lock();
        // Under the lock that `on_append` takes: an update is found here, or finds the class here.
        let window = if state.end > next { state.window(&class, next) } else { None };
        if window == Some(Micros::ZERO) {
            return false;
        }
        let at = state.class(class);
        let parked = &mut state.classes[at];
        subscriber.park.class.store(at as u64, Ordering::Relaxed);
        subscriber.park.slot.store(parked.subscribers.len() as u64, Ordering::Relaxed);
        subscriber.park.parked.store(true, Ordering::Release);
        parked.subscribers.push(Arc::clone(subscriber));
        // Counted from the last read (`now`): what came since has waited already.
        let due = window.map(|window| now + window);
        parked.due = [parked.due, due].into_iter().flatten().min();
        if due.is_some_and(|due| state.ask_by(due)) {
            drop(state);
            self.changed.notify_one();
        }
        true
    }

    /// Takes a subscription out, if it is parked. O(1).
    #[expect(clippy::cast_possible_truncation, reason = "the park state holds indices")]
    pub(in crate::feed) fn unpark(&self, subscriber: &Subscriber) {
        if !subscriber.park.is_parked() {
            return;
        }
        let mut state = self.state.lock();
        // The wake task may have taken it out before the lock was had.
        if !subscriber.park.parked.swap(false, Ordering::AcqRel) {
            return;
        }
        // Relaxed will do: both indices are written and read under the lock alone.
        let slot = subscriber.park.slot.load(Ordering::Relaxed) as usize;
        let parked = &mut state.classes[subscriber.park.class.load(Ordering::Relaxed) as usize];
        parked.subscribers.swap_remove(slot);
        // `swap_remove` has put the last one of the class into the slot.
        if let Some(moved) = parked.subscribers.get(slot) {
            moved.park.slot.store(slot as u64, Ordering::Relaxed);
        }
    }

    /// Makes every parked subscription due at once.
    pub(in crate::feed) fn wake_all(&self) {
        let mut state = self.state.lock();
        // 0 is in the past on any clock. Classes without subscribers drop it in `next_step`.
        state.classes.iter_mut().for_each(|parked| parked.due = Some(Micros::ZERO));
        state.next = Some(Micros::ZERO);
        drop(state);
        self.changed.notify_one();
    }

    /// What the wake task is to do now. O(subscriptions that are due).
    pub(in crate::feed) fn next_step(&self, now: Micros) -> NextStep {
        let mut state = self.state.lock();
        if state.subscriptions == 0 {
            // In one step with the answer: whoever enters after it starts another task.
            state.task_runs = false;
            return NextStep::Stop;
        }
        let mut due_now = Vec::new();
        let mut next = None::<Micros>;
        for parked in state.classes.iter_mut() {
            match parked.due {
                Some(due) if due <= now => {
                    parked.due = None;
                    count(parked.subscribers.len());
                    due_now.extend(parked.subscribers.take().into_iter().map(ParkedSubscriber));
                }
                Some(due) if !parked.subscribers.is_empty() => next = Some(next.map_or(due, |next| next.min(due))),
                // Nobody of the class is parked any more: each has come to read by itself.
                Some(_) | None => parked.due = None,
            }
        }
        // Under the lock: from here on `unpark` finds nothing to take out.
        due_now.iter().for_each(|parked| parked.0.park.parked.store(false, Ordering::Release));
        state.next = next;
        match (due_now.is_empty(), next) {
            (false, _) => {
                // The task asks again as soon as it has woken them, and need not be notified.
                state.next = Some(now);
                NextStep::Wake(due_now)
            }
            (true, Some(next)) => NextStep::SleepUntil(next),
            (true, None) => NextStep::AwaitChange,
        }
    }
}
