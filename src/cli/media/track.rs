//! One input, cut into units.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::fs::File;

use super::unit::Unit;
use crate::cli::annexb::AccessUnits;
use crate::cli::audio::{AudioFrames, Input};
use crate::cli::error::CliError;
use starling_client::pb::swarm::v1::UpdateChannel;

/// Largest access unit that is read: no server can be configured to take a larger payload.
const LARGEST: usize = 16 << 20;

/// How much is read ahead, in bytes. An encoder that writes two pipes may fill one before it writes to the other; it
/// must not wait for us then.
const AHEAD: usize = 8 << 20;

/// An input, and the units that were read ahead.
pub(super) struct Track {
    path: PathBuf,
    /// Of a regular file, in bytes.
    length: Option<u64>,
    frames: Frames,
    ahead: VecDeque<Unit>,
    /// Of these, in bytes.
    held: usize,
    ended: bool,
    held_some: bool,
    /// When the present round began, and its clock.
    from: Duration,
    clock: Clock,
}

enum Frames {
    Video(AccessUnits<Input>),
    Audio(AudioFrames),
}

/// How far a track has come: so many parts of so many a second. Counted, so that nothing adds up to a drift.
#[derive(Clone, Copy, Debug)]
struct Clock {
    count: u64,
    /// 0 = there is no pace.
    per_second: f64,
}

impl Clock {
    #[expect(clippy::cast_precision_loss, reason = "exact for longer than anything is played")]
    fn time(self) -> Duration {
        if self.per_second > 0.0 {
            Duration::from_secs_f64(self.count as f64 / self.per_second)
        } else {
            Duration::ZERO
        }
    }
}

impl Track {
    pub(super) async fn video(path: &Path, fps: f64) -> Result<Self, CliError> {
        let (input, length) = open(path).await?;
        let frames = Frames::Video(AccessUnits::new(input).with_limit(LARGEST));
        Ok(Self::new(path, length, frames, fps))
    }

    pub(super) async fn audio(path: &Path) -> Result<Self, CliError> {
        let (input, length) = open(path).await?;
        let frames = AudioFrames::open(input).await.map_err(|error| unreadable(path, &error))?;
        Ok(Self::new(path, length, Frames::Audio(frames), 0.0))
    }

    fn new(path: &Path, length: Option<u64>, frames: Frames, per_second: f64) -> Self {
        Self {
            path: path.to_owned(),
            length,
            frames,
            ahead: VecDeque::new(),
            held: 0,
            ended: false,
            held_some: false,
            from: Duration::ZERO,
            clock: Clock { count: 0, per_second },
        }
    }

    pub(super) fn name(&self) -> String {
        name(&self.path)
    }

    pub(super) const fn is_file(&self) -> bool {
        self.length.is_some()
    }

    pub(super) const fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next unit, if it is there.
    pub(super) fn unit(&self) -> Option<&Unit> {
        self.ahead.front()
    }

    pub(super) fn take(&mut self) -> Option<Unit> {
        let unit = self.ahead.pop_front()?;
        self.held -= unit.data.len();
        Some(unit)
    }

    /// There may be more to read, and there is room for it.
    fn wants_more(&self) -> bool {
        !self.ended && self.held < AHEAD
    }

    /// Nothing is there, and something may come.
    pub(super) fn is_behind(&self) -> bool {
        self.ahead.is_empty() && !self.ended
    }

    /// Nothing is there, and nothing will come.
    pub(super) fn is_over(&self) -> bool {
        self.ahead.is_empty() && self.ended
    }

    /// As much is read ahead as may be.
    pub(super) const fn is_full(&self) -> bool {
        self.held >= AHEAD
    }

    /// Whether this round has held anything.
    pub(super) const fn held_some(&self) -> bool {
        self.held_some
    }

    /// When what was read so far is over.
    pub(super) fn end(&self) -> Duration {
        self.from + self.clock.time()
    }

    /// Plays the file once more, from a time on.
    pub(super) async fn rewind(&mut self, from: Duration) -> Result<(), CliError> {
        let (input, _) = open(&self.path).await?;
        self.frames = match self.frames {
            Frames::Video(_) => Frames::Video(AccessUnits::new(input).with_limit(LARGEST)),
            Frames::Audio(_) => {
                Frames::Audio(AudioFrames::open(input).await.map_err(|error| unreadable(&self.path, &error))?)
            }
        };
        (self.ended, self.held_some, self.from, self.clock.count) = (false, false, from, 0);
        Ok(())
    }

    /// Reads one more unit ahead, or comes to the end; for ever when neither is left to do. Safe to drop and call
    /// again.
    pub(super) async fn fill(&mut self) -> Result<(), CliError> {
        if !self.wants_more() {
            std::future::pending::<()>().await;
        }
        let read = match &mut self.frames {
            Frames::Video(units) => units
                .next()
                .await
                .map(|unit| unit.map(|unit| (unit.data, unit.keyframe, UpdateChannel::Visual, 1, None))),
            Frames::Audio(frames) => frames.next().await.map(|frame| {
                let rate = |frame: &crate::cli::audio::AudioFrame| Some(f64::from(frame.rate));
                frame.map(|frame| {
                    (frame.data.clone(), false, UpdateChannel::Audio, u64::from(frame.samples), rate(&frame))
                })
            }),
        };
        let Some((data, keyframe, channel, count, rate)) = read.map_err(|error| unreadable(&self.path, &error))? else {
            self.ended = true;
            return Ok(());
        };
        if let Some(rate) = rate.filter(|rate| *rate != self.clock.per_second) {
            // The first frame tells the rate; should it change, the time goes on from here.
            self.from = self.end();
            self.clock = Clock { count: 0, per_second: rate };
        }
        self.held += data.len();
        self.ahead.push_back(Unit { channel, data, keyframe, at: self.end() });
        self.clock.count += count;
        self.held_some = true;
        Ok(())
    }
}

/// Opens an input, and tells how long it is if it is a file.
async fn open(path: &Path) -> Result<(Input, Option<u64>), CliError> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(tokio::io::stdin()), None));
    }
    let file = File::open(path).await.map_err(|error| unreadable(path, &error))?;
    let found = file.metadata().await.map_err(|error| unreadable(path, &error))?;
    if found.is_dir() {
        return Err(CliError(format!("cannot read {}: it is a directory", path.display())));
    }
    Ok((Box::new(file), found.is_file().then_some(found.len())))
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    CliError(format!("cannot read {}: {error}", name(path)))
}

fn name(path: &Path) -> String {
    if path.as_os_str() == "-" { "standard input".into() } else { path.display().to_string() }
}
