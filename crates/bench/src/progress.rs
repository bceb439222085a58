//! How far a measurement has come.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A bar of so many steps; on a terminal only, it hides itself elsewhere.
pub(crate) fn bar(steps: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} run {pos}/{len}  {msg} {elapsed}");
    let bar = ProgressBar::new(steps).with_style(style.expect("the template is right"));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
