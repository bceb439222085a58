//! How many lines of one kind are written in a second.
//!
//! What a client can make the server say, it can make it say at any rate. A kind is a
//! place in the code that logs. What is left out of it is counted, and told once a second
//! and when the flood is over.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::PANIC_TARGET;
use super::notice::NOTICE;

/// Lines of one kind in a second.
pub(super) const LINES: u32 = 10;

const SECOND: Duration = Duration::from_secs(1);

/// The kinds that have logged so far: at most one for each place in the code.
#[derive(Debug, Default)]
pub(super) struct Limit {
    kinds: Mutex<HashMap<Identifier, Kind>>,
}

#[derive(Debug)]
struct Kind {
    /// When the second began that is counted, and the lines that it has had.
    second: Instant,
    written: u32,
    left_out: Option<(Instant, LeftOut)>,
}

/// What was left out of one kind since that was told last.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) lines: u64,
    level: Level,
    target: &'static str,
    /// What the first of the lines says.
    message: String,
}

/// Applies a [`Limit`] to what is logged.
#[derive(Debug)]
pub(super) struct LimitLayer {
    limit: Arc<Limit>,
    now: fn() -> Instant,
}

impl Limit {
    /// Whether a line is to be written.
    fn admit(&self, event: &Event<'_>, now: Instant) -> bool {
        let meta = event.metadata();
        if !is_limited(meta) {
            return true;
        }
        let mut kinds = self.kinds.lock();
        let kind = kinds.entry(meta.callsite()).or_insert(Kind { second: now, written: 0, left_out: None });
        if now.saturating_duration_since(kind.second) >= SECOND {
            (kind.second, kind.written) = (now, 0);
        }
        if kind.written < LINES {
            kind.written += 1;
            return true;
        }
        let (_, left_out) = kind.left_out.get_or_insert_with(|| (now, LeftOut::of(event)));
        left_out.lines += 1;
        false
    }

    /// What was left out of each kind and is to be told now; with `all` also what is not
    /// due yet.
    pub(super) fn take(&self, now: Instant, all: bool) -> Vec<LeftOut> {
        let is_due = |(since, _): &mut (Instant, LeftOut)| all || now.saturating_duration_since(*since) >= SECOND;
        let mut kinds = self.kinds.lock();
        kinds.values_mut().filter_map(|kind| kind.left_out.take_if(is_due)).map(|(_, left_out)| left_out).collect()
    }
}

/// Everything is limited but panics, and what other crates say to who asked for more than
/// they say by default: their lines are steps, and the queue bounds them.
fn is_limited(meta: &Metadata<'_>) -> bool {
    let is_ours = meta.target().split("::").next() == Some("starling");
    meta.target() != PANIC_TARGET && (is_ours || *meta.level() <= Level::INFO)
}

impl LeftOut {
    fn of(event: &Event<'_>) -> Self {
        let meta = event.metadata();
        let mut message = Message::default();
        event.record(&mut message);
        Self { lines: 0, level: *meta.level(), target: meta.target(), message: message.0 }
    }

    /// Logs it. Where the kind says less than INFO, it was asked for, so that this is too.
    pub(super) fn tell(&self) {
        const TEXT: &str = "lines of one kind were left out";
        let Self { lines, level, target, message } = self;
        if *level == Level::ERROR {
            tracing::error!(target: NOTICE, lines, kind = message, of = target, "{TEXT}");
        } else if *level == Level::WARN {
            tracing::warn!(target: NOTICE, lines, kind = message, of = target, "{TEXT}");
        } else {
            tracing::info!(target: NOTICE, lines, kind = message, of = target, "{TEXT}");
        }
    }
}

/// The text of an event, without its fields.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl LimitLayer {
    pub(super) fn new(limit: Arc<Limit>) -> Self {
        Self { limit, now: Instant::now }
    }
}

impl<S: Subscriber> Layer<S> for LimitLayer {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.limit.admit(event, (self.now)())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tracing::dispatcher;
    use tracing_subscriber::Registry;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    thread_local! {
        static NOW: Cell<Instant> = Cell::new(Instant::now());
        static WRITTEN: Cell<u64> = const { Cell::new(0) };
    }

    /// Counts what passes.
    struct Written;

    impl<S: Subscriber> Layer<S> for Written {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            WRITTEN.set(WRITTEN.get() + 1);
        }
    }

    /// Logs under a limit, at [`NOW`].
    fn limited(limit: &Arc<Limit>, act: impl FnOnce()) -> u64 {
        let layer = LimitLayer { limit: Arc::clone(limit), now: || NOW.get() };
        WRITTEN.set(0);
        dispatcher::with_default(&Registry::default().with(layer).with(Written).into(), act);
        WRITTEN.get()
    }

    fn flood(lines: u64) {
        for number in 0..lines {
            tracing::info!(number, "a flood");
        }
    }

    #[test]
    fn a_flood_is_counted_second_by_second() {
        let limit = Arc::<Limit>::default();
        let most = u64::from(LINES);
        let begin = NOW.get();
        for second in 0..3 {
            NOW.set(begin + second * SECOND);
            assert_eq!(limited(&limit, || flood(1_000)), most, "second {second}");
            assert_eq!(limit.take(NOW.get(), false), [], "it is told when the second is over");
            let [left_out] = &limit.take(NOW.get() + SECOND, false)[..] else { panic!("one kind") };
            assert_eq!((left_out.lines, left_out.message.as_str()), (1_000 - most, "a flood"));
            assert_eq!((left_out.level, left_out.target), (Level::INFO, module_path!()));
            assert_eq!(limit.take(NOW.get() + 9 * SECOND, true), [], "it is told once");
        }
    }

    #[test]
    fn counts_not_due_can_be_taken() {
        let limit = Arc::<Limit>::default();
        limited(&limit, || flood(u64::from(LINES) + 5));
        assert_eq!(limit.take(NOW.get(), true)[0].lines, 5);
    }

    #[test]
    fn each_kind_has_its_own_limit() {
        let limit = Arc::<Limit>::default();
        let written = limited(&limit, || {
            flood(1_000);
            tracing::info!("another");
            tracing::error!("a third");
        });
        assert_eq!(written, u64::from(LINES) + 2);
    }

    #[test]
    fn panics_are_never_limited() {
        let panics = || (0..1_000).for_each(|_| tracing::error!(target: PANIC_TARGET, "panicked"));
        assert_eq!(limited(&Arc::default(), panics), 1_000);
    }

    #[test]
    fn other_crates_are_limited_from_info_up() {
        let limit = Arc::<Limit>::default();
        let ours = || (0..1_000).for_each(|_| tracing::debug!("ours"));
        assert_eq!(limited(&limit, ours), u64::from(LINES));
        let warnings = || (0..1_000).for_each(|_| tracing::warn!(target: "h2::proto", "theirs"));
        assert_eq!(limited(&limit, warnings), u64::from(LINES));
        let steps = || (0..1_000).for_each(|_| tracing::debug!(target: "starlings::proto", "theirs"));
        assert_eq!(limited(&limit, steps), 1_000);
    }
}
