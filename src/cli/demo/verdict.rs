//! What was checked, and how it came out.

use std::io::Write as _;

use super::stage::Meters;
use super::viewer::{Part, Seen};
use crate::cli::Failure;
use crate::cli::annexb::AccessUnit;
use crate::history::{History, PublisherLog, check};
use crate::pb::swarm::v1::GapReason;

/// What was checked, in order, and how it came out.
#[derive(Default)]
pub(super) struct Verdict {
    rows: Vec<(String, bool, String)>,
    figures: Vec<(&'static str, String)>,
}

impl Verdict {
    pub(super) fn check(&mut self, what: &str, holds: bool, details: String) {
        self.rows.push((what.to_owned(), holds, details));
    }

    pub(super) fn figures(&mut self, meters: &Meters, pictures: usize) {
        self.figures = vec![
            ("pictures published", pictures.to_string()),
            ("deliveries", meters.deliveries().to_string()),
            ("from acceptance to arrival, p50", format!("{} ms", meters.quantile(0.5))),
            ("from acceptance to arrival, p99", format!("{} ms", meters.quantile(0.99))),
        ];
    }

    /// Prints the table; fails when a check failed.
    pub(super) fn print(self) -> Result<(), Failure> {
        let mut out = std::io::stdout().lock();
        for (what, value) in &self.figures {
            writeln!(out, "       {what}: {value}")?;
        }
        for (what, holds, details) in &self.rows {
            let mark = if *holds { "ok    " } else { "FAILED" };
            let details = if details.is_empty() { String::new() } else { format!(" ({details})") };
            writeln!(out, "{mark} {what}{details}")?;
        }
        match self.rows.iter().filter(|(_, holds, _)| !holds).count() {
            0 => Ok(writeln!(out, "all {} checks passed", self.rows.len())?),
            failed => Err(Failure(format!("{failed} of {} checks failed", self.rows.len()))),
        }
    }
}

/// Judges what the viewers of the livestream saw.
pub(super) fn judge(verdict: &mut Verdict, units: &[AccessUnit], log: &PublisherLog, seen: &[Seen]) {
    let whole = units.iter().flat_map(|unit| unit.data.iter().copied()).collect::<Vec<_>>();
    let of = |part| seen.iter().filter(move |seen| seen.part == part);
    let (all, equal) = (of(Part::Complete).count(), of(Part::Complete).filter(|seen| seen.written == whole).count());
    verdict.check("complete viewers got the clip byte for byte", all == equal && all > 0, format!("{equal} of {all}"));
    for late in of(Part::Late) {
        let tail = !late.written.is_empty() && whole.ends_with(&late.written);
        let holds = late.keyframes.first() == Some(&true) && tail && late.written.len() < whole.len();
        let details = format!("{} pictures", late.keyframes.len());
        verdict.check("the late joiner started on a keyframe and missed nothing after", holds, details);
    }
    for lurker in of(Part::Lurker) {
        let wanted = units.iter().filter(|unit| unit.keyframe).count();
        let holds = lurker.keyframes.len() == wanted && lurker.keyframes.iter().all(|keyframe| *keyframe);
        verdict.check("the lurker got keyframes only, and all of them", holds, format!("{wanted} keyframes"));
    }
    for stalled in of(Part::Stalled) {
        let (gaps, lagged) = (stalled.history.totals().all_gaps(), stalled.history.totals().gaps(GapReason::Lagging));
        let holds = lagged > 0 && !stalled.after_gaps.is_empty() && stalled.after_gaps.iter().all(|keyframe| *keyframe);
        verdict.check("the stalled one got a Gap and came back on a keyframe", holds, format!("{gaps} gaps"));
    }
    let left = of(Part::Leaver).chain(of(Part::Victim));
    let begun = left.clone().filter(|seen| whole.starts_with(&seen.written) && !seen.written.is_empty()).count();
    let holds = begun == left.count();
    verdict.check("those who left or were killed had all up to then", holds, format!("{begun} viewers"));
    let histories: Vec<History> = seen.iter().map(|seen| seen.history.clone()).collect();
    judge_histories(verdict, "livestream", std::slice::from_ref(log), &histories);
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
