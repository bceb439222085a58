//! Log lines on their way to their reader.
//!
//! Who logs never waits for who reads: a line goes into a queue that is bounded in
//! bytes, and a thread of its own writes it. A write that fails is made again from where
//! it stopped, so that a line is neither torn nor lost; lines that find no room meanwhile
//! are counted, and the count is written where they would have been.
//!
//! Not `tracing-appender`: its bound is in lines of any length, the lines of a failed
//! write are gone, nobody is told how many it dropped, and its guard prints to standard
//! output, hence may panic, when the reader stalls at shutdown.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::time::Instant;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::PANIC_TARGET;
use super::limit::Limit;
use super::notice::Notices;

/// What may wait to be written, in bytes. As much again may be under way to the reader.
pub(super) const CAPACITY: usize = 1 << 20;

/// What steps (DEBUG and TRACE) may take of that: they are many, and must not cost lines
/// that are few.
const FOR_STEPS: usize = CAPACITY / 4 * 3;

/// What panics may take beyond it: where the log has stalled, they are what is looked for
/// once it goes on.
const RESERVE: usize = 256 << 10;

/// A buffer that has grown beyond this many bytes is given back.
const KEPT: usize = 64 << 10;

/// How often the limits of kinds are looked at, so that the end of a flood is told.
const TICK: Duration = Duration::from_secs(1);

/// How long a write that failed waits before it is made again.
const RETRY: Duration = Duration::from_millis(100);

/// Takes lines from everybody. Cloning it is shallow; the thread that writes ends with the
/// last one.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to write, or a flush to answer.
    wanted: Condvar,
    /// A flush was answered.
    flushed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pending: Vec<u8>,
    /// Lines that found no room since `pending` was taken last.
    lost: u64,
    /// Flushes that were asked for, and the last of them that was answered.
    asked: u64,
    answered: u64,
    /// A flush was given up, and nothing was written since.
    stalled: bool,
    closed: bool,
}

/// One line on its way into the queue.
#[derive(Debug)]
pub(super) struct Line<'q> {
    queue: &'q Queue,
    room: usize,
}

/// The thread that writes.
struct Writer<W> {
    shared: Arc<Shared>,
    out: W,
    limit: Arc<Limit>,
    notices: Arc<Notices>,
}

impl Queue {
    /// Starts the thread that writes to `out`, together with what `limit` has left out.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start<W>(out: W, limit: Arc<Limit>, notices: Arc<Notices>) -> io::Result<Self>
    where
        W: Write + Send + 'static,
    {
        let shared = Arc::<Shared>::default();
        let writer = Writer { shared: Arc::clone(&shared), out, limit, notices };
        thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())?;
        Ok(Self { handle: Arc::new(Handle { shared }) })
    }

    /// Queues one or more whole lines.
    pub(super) fn push(&self, lines: &[u8]) {
        self.push_within(CAPACITY, lines);
    }

    fn push_within(&self, room: usize, lines: &[u8]) {
        let shared = &self.handle.shared;
        let mut state = shared.state.lock();
        if state.pending.len() + lines.len() > room {
            state.lost += 1;
            return;
        }
        state.pending.extend_from_slice(lines);
        drop(state);
        shared.wanted.notify_one();
    }

    /// Waits until what was queued is written, but no longer than `patience`; not at all
    /// while the log is known to have stalled.
    pub(super) fn flush(&self, patience: Duration) {
        let shared = &self.handle.shared;
        let until = Instant::now() + patience;
        let mut state = shared.state.lock();
        if state.stalled {
            return;
        }
        state.asked += 1;
        let asked = state.asked;
        shared.wanted.notify_one();
        while state.answered < asked {
            if shared.flushed.wait_until(&mut state, until.into_std()).timed_out() {
                state.stalled = state.answered < asked;
                return;
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.wanted.notify_one();
    }
}

impl<'q> MakeWriter<'q> for Queue {
    type Writer = Line<'q>;

    fn make_writer(&'q self) -> Line<'q> {
        Line { queue: self, room: CAPACITY }
    }

    fn make_writer_for(&'q self, meta: &Metadata<'_>) -> Line<'q> {
        let room = match *meta.level() {
            _ if meta.target() == PANIC_TARGET => CAPACITY + RESERVE,
            Level::DEBUG | Level::TRACE => FOR_STEPS,
            _ => CAPACITY,
        };
        Line { queue: self, room }
    }
}

/// It never fails: the subscriber would print the error, and panic where it cannot.
impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push_within(self.room, line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: Write> Writer<W> {
    fn run(mut self) {
        let mut lines = Vec::new();
        while let Some((lost, asked, flushing)) = self.shared.take(&mut lines) {
            for left_out in self.limit.take(Instant::now(), flushing) {
                lines.extend(self.notices.lines(|| left_out.tell()));
            }
            if lost > 0 {
                lines.extend(self.notices.lost(lost));
            }
            self.write(&lines);
            lines.clear();
            if lines.capacity() > KEPT {
                lines = Vec::new();
            }
            self.shared.answer(asked);
        }
    }

    /// Writes all of it, however long that takes.
    fn write(&mut self, mut rest: &[u8]) {
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(written @ 1..) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The device is full or the reader is gone; either may change.
                Ok(0) | Err(_) => thread::sleep(RETRY),
            }
        }
    }
}

impl Shared {
    /// Waits for something to do and swaps what is pending for `empty`. Answers the number
    /// of lines that were lost behind it, the flush that it is for, and whether somebody
    /// waits for that one; `None` when nobody is left who could log.
    fn take(&self, empty: &mut Vec<u8>) -> Option<(u64, u64, bool)> {
        let mut state = self.state.lock();
        if state.pending.is_empty() && state.lost == 0 && state.asked == state.answered && !state.closed {
            self.wanted.wait_for(&mut state, TICK);
        }
        if state.pending.is_empty() && state.lost == 0 && state.closed {
            return None;
        }
        std::mem::swap(&mut state.pending, empty);
        Some((std::mem::take(&mut state.lost), state.asked, state.asked != state.answered))
    }

    fn answer(&self, asked: u64) {
        let mut state = self.state.lock();
        state.answered = asked;
        state.stalled = false;
        drop(state);
        self.flushed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver, Sender};

    use tracing::dispatcher;
    use tracing_subscriber::layer::SubscriberExt;
    use tracing_subscriber::{Registry, fmt};

    use super::*;
    use crate::telemetry::Form;

    /// Longer than anything takes, unless it is broken.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// What becomes of a write.
    type Outcome = io::Result<usize>;

    /// A device that asks the test about each write; whatever the test takes of it is told.
    struct Device {
        outcomes: Receiver<Outcome>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Device {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without a test nothing stalls.
            let most = self.outcomes.recv().unwrap_or(Ok(usize::MAX))?;
            let written = &bytes[..most.min(bytes.len())];
            self.taken.send(written.to_vec()).ok();
            Ok(written.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue whose reader takes nothing before it is told to.
    struct Stalled {
        queue: Queue,
        outcomes: Sender<Outcome>,
        taken: Receiver<Vec<u8>>,
        limit: Arc<Limit>,
    }

    impl Stalled {
        fn start() -> Self {
            let ((outcomes, asked), (taker, taken)) = (mpsc::channel(), mpsc::channel());
            let limit = Arc::<Limit>::default();
            let notices = Arc::new(Notices::new(Form::Human { colours: false }));
            let device = Device { outcomes: asked, taken: taker };
            let queue = Queue::start(device, Arc::clone(&limit), notices).unwrap();
            Self { queue, outcomes, taken, limit }
        }

        /// Queues a line and waits until the thread that writes has it, of which the reader takes the first byte
        /// and no more. A thread that has not begun yet would take what is queued at any moment.
        fn stall(&self) {
            self.queue.push(line(0).as_bytes());
            self.outcomes.send(Ok(1)).unwrap();
            assert_eq!(self.taken.recv_timeout(PATIENCE).unwrap(), b"0");
        }

        /// Lets the reader take everything: all that was written.
        fn read(self) -> String {
            let Self { queue, outcomes, taken, .. } = self;
            drop(outcomes);
            queue.flush(PATIENCE);
            drop(queue);
            String::from_utf8(taken.iter().flatten().collect()).unwrap()
        }
    }

    /// A line of a kibibyte that begins with its number.
    fn line(number: usize) -> String {
        format!("{number:<1023}\n")
    }

    /// How many lines the log says were lost, and after which line of the test.
    fn lost(text: &str) -> Vec<(usize, u64)> {
        let mut last = 0;
        let mut lost = Vec::new();
        for line in text.lines() {
            match line.trim_end().parse() {
                Ok(number) => last = number,
                Err(_) => {
                    assert!(line.contains("WARN") && line.contains("lines were lost"), "{line}");
                    let (_, count) = line.rsplit_once("lines=").unwrap();
                    lost.push((last, count.parse().unwrap()));
                }
            }
        }
        lost
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let log = Stalled::start();
        let lines: String = (0..100).map(line).collect();
        (0..100).for_each(|number| log.queue.push(line(number).as_bytes()));
        assert_eq!(log.read(), lines);
    }

    #[test]
    fn lines_lost_to_a_stalled_reader_are_counted() {
        const LINES: usize = 10_000;
        let log = Stalled::start();
        log.stall();
        for number in 1..LINES {
            log.queue.push(line(number).as_bytes());
        }
        assert!(log.queue.handle.shared.state.lock().pending.len() <= CAPACITY);
        let text = format!("0{}", log.read());
        let written = text.lines().filter(|line| !line.contains("WARN")).count();
        assert!(written >= CAPACITY / 1_024, "{written}");
        let lost = lost(&text);
        assert_eq!(lost.iter().map(|(_, count)| count).sum::<u64>(), (LINES - written) as u64);
        assert_eq!(lost.len(), 1, "{lost:?}");
    }

    #[test]
    fn lost_lines_are_reported_in_place() {
        let log = Stalled::start();
        log.stall();
        let full = CAPACITY / 1_024;
        (2..full + 10).for_each(|number| log.queue.push(line(number).as_bytes()));
        // The rest of the first line, the lines that found room, and what was lost.
        log.outcomes.send(Ok(usize::MAX)).unwrap();
        log.outcomes.send(Ok(usize::MAX)).unwrap();
        let rest = log.taken.recv().unwrap().len() + log.taken.recv().unwrap().len();
        assert!(rest > CAPACITY, "{rest}");
        log.queue.push(line(5_000).as_bytes());
        assert!(log.read().starts_with("5000"), "the next line follows the count");
    }

    #[test]
    fn failed_write_is_retried_unchanged() {
        let log = Stalled::start();
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let interrupted = || io::Error::from(io::ErrorKind::Interrupted);
        let gone = || io::Error::from(io::ErrorKind::BrokenPipe);
        for outcome in [Err(full()), Ok(3), Err(interrupted()), Ok(0), Ok(1_500), Err(gone()), Ok(7)] {
            log.outcomes.send(outcome).unwrap();
        }
        let lines: String = (0..5).map(line).collect();
        log.queue.push(lines.as_bytes());
        assert_eq!(log.read(), lines);
    }

    #[test]
    fn flush_gives_up_on_a_stalled_log() {
        let log = Stalled::start();
        log.queue.push(b"7\n");
        log.queue.flush(Duration::from_millis(1));
        assert!(log.queue.handle.shared.state.lock().stalled, "and the next one does not wait");
        log.queue.flush(Duration::MAX / 4);
        assert_eq!(log.read(), "7\n");
    }

    #[test]
    fn important_lines_find_room_longer() {
        let log = Stalled::start();
        log.stall();
        let subscriber = Registry::default().with(fmt::layer().with_ansi(false).with_writer(log.queue.clone()));
        let long = "x".repeat(1_024);
        let fill = |act: &dyn Fn()| (0..10_000).for_each(|_| act());
        dispatcher::with_default(&subscriber.into(), || {
            fill(&|| tracing::debug!("a step {long}"));
            tracing::debug!("no step after {long}");
            tracing::info!("an event after steps {long}");
            fill(&|| tracing::error!("an event {long}"));
            tracing::error!("no event after {long}");
            tracing::error!(target: PANIC_TARGET, "panicked after events {long}");
            fill(&|| tracing::error!(target: PANIC_TARGET, "panicked {long}"));
        });
        assert!(log.queue.handle.shared.state.lock().pending.len() <= CAPACITY + RESERVE);
        let text = log.read();
        assert!(text.contains("an event after steps") && text.contains("panicked after events"));
        assert!(!text.contains("no step after") && !text.contains("no event after"));
    }

    #[test]
    fn flush_reports_lines_left_out() {
        let log = Stalled::start();
        let layer = super::super::limit::LimitLayer::new(Arc::clone(&log.limit));
        let lines = fmt::layer().with_ansi(false).with_writer(log.queue.clone());
        dispatcher::with_default(&Registry::default().with(layer).with(lines).into(), || {
            (0..1_000).for_each(|_| tracing::info!("a flood"));
        });
        let text = log.read();
        assert!(text.contains("lines of one kind were left out") && text.contains("kind=\"a flood\""), "{text}");
    }

    #[test]
    fn the_writing_thread_ends_with_the_queue() {
        let log = Stalled::start();
        log.queue.push(b"7\n");
        let Stalled { queue, outcomes, taken, .. } = log;
        drop((queue, outcomes));
        assert_eq!(taken.recv_timeout(PATIENCE).unwrap(), b"7\n");
        assert_eq!(taken.recv_timeout(PATIENCE), Err(mpsc::RecvTimeoutError::Disconnected));
    }
}
