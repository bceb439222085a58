//! The video of the demo.

use std::time::Duration;

use crate::cli::annexb::{AccessUnit, AccessUnits};
use crate::cli::error::CliError;

/// The clip: 132 pictures, 25 a second, a keyframe every 50. See `tests/data/README.md`.
const CLIP: &[u8] = include_bytes!("../../../tests/data/bigbuckbunny-360p25.h264");

/// The time of one picture.
pub(super) const PICTURE: Duration = Duration::from_millis(40);

/// The pictures of the clip, played so many times.
pub(super) async fn played(times: usize) -> Result<Vec<AccessUnit>, CliError> {
    let mut units = Vec::new();
    let mut clip = AccessUnits::new(CLIP);
    while let Some(unit) = clip.next().await? {
        units.push(unit);
    }
    Ok(std::iter::repeat_n(units, times).flatten().collect())
}
