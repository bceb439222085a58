//! How many bytes per second a viewer must be sent so that it misses nothing.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use crate::cli::error::CliError;
use crate::cli::media::{Media, Unit};
use starling_client::pb::swarm::v1::UpdateChannel;

/// The default of the server, and its largest.
const LEAST: u64 = 500_000;
const MOST: u64 = 1_000_000_000;
/// What a pipe gets: 100 Mbit/s. Nobody knows what will come out of it.
const PIPE: u64 = 12_500_000;

/// A budget, and where it comes from, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) bytes_per_second: u64,
    pub(super) why: String,
}

/// What a file holds, on the clock of its units.
#[derive(Debug, Default)]
pub(super) struct Measure {
    /// The last second, and how much there is in it.
    second: VecDeque<(Duration, u64)>,
    in_second: u64,
    /// From the last keyframe on.
    run: u64,
    fullest_second: u64,
    longest_run: u64,
    pub(super) largest_unit: usize,
}

impl Measure {
    /// Reads files once, from the beginning to the end.
    pub(super) async fn read(video: &Path, audio: Option<&Path>, fps: f64) -> Result<Self, CliError> {
        let mut media = Media::open(video, audio, fps, Some(1)).await?;
        media.begin().await?;
        let mut measure = Self::default();
        while let Some(unit) = media.read().await? {
            measure.add(&unit);
        }
        Ok(measure)
    }

    fn add(&mut self, unit: &Unit) {
        let size = unit.data.len() as u64;
        self.largest_unit = self.largest_unit.max(unit.data.len());
        if unit.channel == UpdateChannel::Visual {
            self.run = if unit.keyframe { size } else { self.run + size };
            self.longest_run = self.longest_run.max(self.run);
        }
        self.second.push_back((unit.at, size));
        self.in_second += size;
        while let Some((at, size)) = self.second.front().copied()
            && unit.at.saturating_sub(at) >= Duration::from_secs(1)
        {
            self.in_second -= size;
            self.second.pop_front();
        }
        self.fullest_second = self.fullest_second.max(self.in_second);
    }

    /// A viewer may save up one second's worth. Twice the fullest second lets it catch up after a cut; a second's worth
    /// and the longest run is what one that comes late is sent at once.
    pub(super) fn budget(&self) -> Budget {
        let needed = (2 * self.fullest_second).max(self.fullest_second + self.longest_run);
        let why = format!(
            "measured: {} bytes in the fullest second, {} in the longest run from a keyframe",
            self.fullest_second, self.longest_run
        );
        Budget { bytes_per_second: needed.clamp(LEAST, MOST), why }
    }
}

impl Budget {
    /// Of what has no pace: as fast as the server acknowledges.
    pub(super) fn unpaced() -> Self {
        Self { bytes_per_second: MOST, why: "the most there is, for --fps 0 knows no pace".into() }
    }

    /// Of a stream that is still to come, by its first access unit.
    pub(super) fn of_pipe(first: &[u8]) -> Self {
        let level = level(first).and_then(|level| Some((level, most_bits(level)? / 8)));
        match level {
            Some((level, bytes)) if bytes > PIPE => {
                let why = format!("the most that H.264 allows at level {}.{}", level / 10, level % 10);
                Self { bytes_per_second: bytes.min(MOST), why }
            }
            _ => Self { bytes_per_second: PIPE, why: "100 Mbit/s, for a pipe cannot be measured beforehand".into() },
        }
    }
}

/// `level_idc` of the first sequence parameter set.
fn level(unit: &[u8]) -> Option<u8> {
    let at = unit.windows(4).position(|bytes| matches!(bytes, [0, 0, 1, header] if header & 0x1f == 7))?;
    // Profile, constraints, level.
    unit.get(at + 6).copied()
}

/// The most bits per second of a NAL stream at a level (H.264, table A-1), in the profile that allows the most.
fn most_bits(level: u8) -> Option<u64> {
    let kilobits: u64 = match level {
        10 => 64,
        11 => 192,
        12 => 384,
        13 => 768,
        20 => 2_000,
        21 | 22 => 4_000,
        30 => 10_000,
        31 => 14_000,
        32 | 40 => 20_000,
        41 | 42 => 50_000,
        50 => 135_000,
        51 | 52 | 60 => 240_000,
        61 => 480_000,
        62 => 800_000,
        _ => return None,
    };
    // cpbBrNalFactor of High 4:2:2 and above.
    Some(kilobits * 4_800)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(millis: u64, size: usize, channel: UpdateChannel, keyframe: bool) -> Unit {
        Unit { channel, data: vec![0; size].into(), keyframe, at: Duration::from_millis(millis) }
    }

    #[test]
    fn budget_follows_the_fullest_sliding_second() {
        let mut measure = Measure::default();
        for (millis, size) in [(0, 1), (900, 400_000), (1_000, 0), (1_500, 300_000), (1_899, 50_000), (1_900, 100_000)]
        {
            measure.add(&unit(millis, size, UpdateChannel::Audio, false));
        }
        assert_eq!((measure.fullest_second, measure.longest_run, measure.largest_unit), (750_000, 0, 400_000));
        assert_eq!(measure.budget().bytes_per_second, 1_500_000);
    }

    #[test]
    fn budget_covers_the_longest_run() {
        let mut measure = Measure::default();
        for (second, keyframe) in [(0, true), (1, false), (2, false), (3, true), (4, false)] {
            measure.add(&unit(second * 1_000, 1_000_000, UpdateChannel::Visual, keyframe));
            measure.add(&unit(second * 1_000, 7, UpdateChannel::Audio, false));
        }
        assert_eq!((measure.fullest_second, measure.longest_run), (1_000_007, 3_000_000));
        assert_eq!(measure.budget().bytes_per_second, 4_000_007);
    }

    #[test]
    fn budget_is_at_least_the_server_default() {
        assert_eq!(Measure::default().budget().bytes_per_second, LEAST);
    }

    #[test]
    fn budget_of_a_pipe_follows_its_level() {
        let level = |level| [0, 0, 0, 1, 9, 0xf0, 0, 0, 0, 1, 0x67, 100, 0, level, 0xac];
        assert_eq!(Budget::of_pipe(&level(42)).bytes_per_second, 30_000_000);
        assert!(Budget::of_pipe(&level(51)).why.contains("level 5.1"));
        for first in [&level(30)[..], &level(200), &[0, 0, 1, 0x67], &[]] {
            assert_eq!(Budget::of_pipe(first).bytes_per_second, PIPE, "{first:?}");
        }
    }
}
