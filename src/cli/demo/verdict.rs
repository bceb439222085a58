//! What was checked, and how it came out.

use std::io::Write;

use super::meters::Meters;
use super::viewer::{Loss, Part, Seen};
use crate::cli::annexb::AccessUnit;
use crate::cli::error::CliError;
use crate::cli::terminal::output;
use starling_client::pb::swarm::v1::GapReason;
use starling_verify::{History, PublisherLog, check};

/// What was checked, in order, and how it came out.
#[derive(Default)]
pub(super) struct Verdict {
    rows: Vec<(String, bool, String)>,
    figures: Vec<(&'static str, String)>,
    /// Viewers that were skipped although they read, and how many pictures they missed.
    skipped: (usize, u64),
}

impl Verdict {
    pub(super) fn check(&mut self, what: &str, holds: bool, details: String) {
        self.rows.push((what.to_owned(), holds, details));
    }

    /// Tells figures beside the checks.
    pub(super) fn tell(&mut self, figures: Vec<(&'static str, String)>) {
        self.figures = figures;
    }

    pub(super) fn figures(&mut self, meters: &Meters, pictures: usize) {
        self.figures = vec![
            ("pictures published", pictures.to_string()),
            ("deliveries", meters.deliveries().to_string()),
            ("from acceptance to arrival, p50", format!("{} ms", meters.quantile(0.5))),
            ("from acceptance to arrival, p99", format!("{} ms", meters.quantile(0.99))),
            ("published late by, at most", format!("{} ms", meters.late().as_millis())),
            ("timers late by, at most", format!("{} ms", meters.timers_late().as_millis())),
        ];
    }

    fn skipped(&mut self, viewers: usize, pictures: u64) {
        self.skipped = (viewers, pictures);
    }

    /// Prints the table; fails when a check failed.
    pub(super) fn print(self) -> Result<(), CliError> {
        let mut out = output();
        for (what, value) in &self.figures {
            writeln!(out, "       {what}: {value}")?;
        }
        if let (viewers @ 1.., pictures) = self.skipped {
            writeln!(
                out,
                "       this machine could not keep up (see what was late): {viewers} viewers were skipped, of \
                 {pictures} pictures. That is accepted where a Gap announced it."
            )?;
        }
        for (what, holds, details) in &self.rows {
            let mark = if *holds { "ok    " } else { "FAILED" };
            let details = if details.is_empty() { String::new() } else { format!(" ({details})") };
            writeln!(out, "{mark} {what}{details}")?;
        }
        match self.rows.iter().filter(|(_, holds, _)| !holds).count() {
            0 => Ok(writeln!(out, "all {} checks passed", self.rows.len())?),
            failed => Err(CliError(format!("{failed} of {} checks failed", self.rows.len()))),
        }
    }
}

/// Judges what the viewers of the livestream saw. Where a machine is too slow, the server skips
/// viewers and tells them by Gaps; such losses are accepted, to the picture, and no others.
pub(super) fn judge(verdict: &mut Verdict, units: &[AccessUnit], log: &PublisherLog, seen: &[Seen]) {
    let all: Vec<Judged<'_>> = seen.iter().map(|seen| Judged::new(seen, units)).collect();
    let of = |part| all.iter().filter(move |judged| judged.seen.part == part);
    let (complete, whole) = (of(Part::Complete).count(), of(Part::Complete).filter(|one| one.is_whole()).count());
    verdict.check(
        "complete viewers got the clip byte for byte",
        complete > 0 && of(Part::Complete).all(Judged::holds),
        format!("{whole} of {complete}{}", skipped(of(Part::Complete))),
    );
    for late in of(Part::Late) {
        let pictures = &late.seen.pictures;
        let begins = pictures.first().is_some_and(|first| first.keyframe && first.number > 1);
        verdict.check(
            "the late joiner started on a keyframe and missed nothing after",
            begins && late.holds(),
            format!("{} pictures{}", pictures.len(), skipped(of(Part::Late))),
        );
    }
    for lurker in of(Part::Lurker) {
        let keyframes = lurker.seen.pictures.iter().filter(|picture| picture.keyframe).count();
        verdict.check(
            "the lurker got keyframes only, and all of them",
            lurker.holds() && keyframes == lurker.seen.pictures.len(),
            format!("{keyframes} keyframes{}", skipped(of(Part::Lurker))),
        );
    }
    for stalled in of(Part::Stalled) {
        let totals = stalled.seen.history.totals();
        let pictures = &stalled.seen.pictures;
        let back = |loss: &Loss| pictures.get(loss.after).is_some_and(|next| next.keyframe);
        let came_back = stalled.seen.losses.iter().filter(|loss| loss.after < pictures.len()).all(back)
            && stalled.seen.losses.iter().any(back);
        verdict.check(
            "the stalled one got a Gap and came back on a keyframe",
            totals.gaps(GapReason::Lagging) > 0 && came_back && stalled.holds(),
            format!("{} gaps", totals.all_gaps()),
        );
    }
    let left = || of(Part::Leaver).chain(of(Part::Victim));
    verdict.check(
        "those who left or were killed had all up to then",
        left().all(|one| one.holds() && !one.seen.pictures.is_empty()),
        format!("{} viewers{}", left().count(), skipped(left())),
    );
    let histories: Vec<History> = seen.iter().map(|seen| seen.history.clone()).collect();
    judge_histories(verdict, "livestream", std::slice::from_ref(log), &histories);
    // Of the stalled one it is expected.
    let read = all.iter().filter(|one| one.seen.part != Part::Stalled);
    let skipped: Vec<u64> = read.map(|one| one.missing.min(one.announced)).filter(|lost| *lost > 0).collect();
    verdict.skipped(skipped.len(), skipped.iter().sum());
}

/// A viewer beside what it was to get.
struct Judged<'s> {
    seen: &'s Seen,
    /// Every picture that came is the one that was published under its number.
    faithful: bool,
    /// How many of those that were to come did not.
    missing: u64,
    /// How many of these a Gap declared lost.
    announced: u64,
}

impl<'s> Judged<'s> {
    fn new(seen: &'s Seen, units: &[AccessUnit]) -> Self {
        let unit = |number: u64| usize::try_from(number).ok().and_then(|number| units.get(number.checked_sub(1)?));
        let mut written = Vec::with_capacity(seen.written.len());
        let mut in_order = true;
        let mut last = 0;
        for picture in &seen.pictures {
            let unit = unit(picture.number);
            in_order &= picture.number > last && unit.is_some_and(|unit| unit.keyframe == picture.keyframe);
            written.extend_from_slice(unit.map_or(&[], |unit| &unit.data));
            last = picture.number;
        }
        let first = seen.pictures.first().map_or(1, |picture| picture.number);
        // What lies before the first picture of one who came late is not missing, nor is what
        // lies behind the last picture of one who left.
        let (wanted, announced) = match seen.part {
            Part::Complete | Part::Stalled | Part::Lurker => (1..=units.len() as u64, seen.lost(..)),
            Part::Late => (first..=units.len() as u64, seen.lost(1..)),
            Part::Leaver | Part::Victim => (1..=last, seen.lost(..seen.pictures.len())),
        };
        let keyframes_only = seen.part == Part::Lurker;
        let wanted = wanted.filter(|number| !keyframes_only || unit(*number).is_some_and(|unit| unit.keyframe)).count();
        let missing = (wanted as u64).saturating_sub(seen.pictures.len() as u64);
        Self { seen, faithful: in_order && written == seen.written, missing, announced }
    }

    fn is_whole(&self) -> bool {
        self.holds() && self.missing == 0
    }

    /// What came is right, and a Gap declared lost whatever did not come.
    const fn holds(&self) -> bool {
        self.faithful && self.missing == self.announced
    }
}

/// What is said of viewers that were skipped, if any was.
fn skipped<'j>(viewers: impl Iterator<Item = &'j Judged<'j>>) -> String {
    let short: Vec<_> = viewers.filter(|one| one.missing > 0).collect();
    if short.is_empty() {
        return String::new();
    }
    let (missing, announced): (u64, u64) =
        short.iter().fold((0, 0), |(missing, announced), one| (missing + one.missing, announced + one.announced));
    format!("; {} missed {missing} pictures, of which Gaps announced {announced}", short.len())
}

/// Has the history checker look at what was published and what came.
pub(super) fn judge_histories(verdict: &mut Verdict, what: &str, logs: &[PublisherLog], histories: &[History]) {
    let (holds, details) = match check(logs, histories) {
        Ok(summary) => (true, summary.to_string()),
        Err(violations) => {
            let first = violations.first().map(ToString::to_string).unwrap_or_default();
            (false, format!("{} violations, first: {first}", violations.len()))
        }
    };
    verdict.check(&format!("the history of the {what} is clean"), holds, details);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::demo::viewer::Picture;

    /// Ten pictures, the first and the sixth of them keyframes.
    fn units() -> Vec<AccessUnit> {
        (1..=10_u8).map(|number| AccessUnit { data: vec![number; 3].into(), keyframe: number % 5 == 1 }).collect()
    }

    /// A viewer to whom these pictures came, and these losses were told.
    fn seen(part: Part, numbers: &[u64], losses: &[Loss]) -> Seen {
        let units = units();
        let unit = |number: &u64| &units[usize::try_from(*number).unwrap() - 1];
        Seen {
            node: 7,
            part,
            history: History::new(7),
            written: numbers.iter().flat_map(|number| unit(number).data.to_vec()).collect(),
            pictures: numbers
                .iter()
                .map(|number| Picture { number: *number, keyframe: unit(number).keyframe })
                .collect(),
            losses: losses.to_vec(),
        }
    }

    fn holds(seen: &Seen) -> bool {
        Judged::new(seen, &units()).holds()
    }

    #[test]
    fn a_viewer_that_got_everything_is_whole() {
        let all: Vec<u64> = (1..=10).collect();
        assert!(Judged::new(&seen(Part::Complete, &all, &[]), &units()).is_whole());
        assert!(Judged::new(&seen(Part::Late, &all[5..], &[]), &units()).is_whole());
        assert!(Judged::new(&seen(Part::Lurker, &[1, 6], &[]), &units()).is_whole());
        assert!(Judged::new(&seen(Part::Leaver, &all[..4], &[]), &units()).is_whole());
    }

    #[test]
    fn a_picture_lost_in_silence_fails() {
        for part in [Part::Complete, Part::Stalled, Part::Leaver, Part::Victim] {
            assert!(!holds(&seen(part, &[1, 2, 4, 5, 6, 7, 8, 9, 10], &[])), "{}", part.name());
        }
        assert!(!holds(&seen(Part::Complete, &[1, 2, 3, 4, 5, 6, 7, 8, 9], &[])), "the last one");
        assert!(!holds(&seen(Part::Late, &[6, 7, 9, 10], &[])));
        assert!(!holds(&seen(Part::Lurker, &[1], &[])));
    }

    #[test]
    fn losses_are_accepted_by_count() {
        let rest = [1, 2, 6, 7, 8, 9, 10];
        let told = |count| seen(Part::Complete, &rest, &[Loss { after: 2, count }]);
        assert!(holds(&told(3)) && !Judged::new(&told(3), &units()).is_whole());
        assert!(!holds(&told(2)), "one more was lost");
        assert!(!holds(&told(4)), "one less was lost");
        assert!(!holds(&told(0)), "a Gap that does not say how many");
        // What was lost behind the last picture of one who left is not missing.
        assert!(holds(&seen(Part::Leaver, &rest, &[Loss { after: 2, count: 3 }, Loss { after: 7, count: 9 }])));
    }

    #[test]
    fn a_byte_that_differs_fails() {
        let mut one = seen(Part::Complete, &(1..=10).collect::<Vec<_>>(), &[]);
        one.written[7] ^= 1;
        assert!(!holds(&one));
        let twice = seen(Part::Complete, &[1, 2, 2, 3, 4, 5, 6, 7, 8, 9, 10], &[]);
        assert!(!holds(&twice), "a picture that comes twice");
    }
}
