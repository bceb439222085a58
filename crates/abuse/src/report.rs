//! What came of the cases: a table in Markdown, or JSON.

use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use crate::error::AbuseError;
use crate::healthy_report::{HealthyReport, Latency};

/// What came of one case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: &'static str,
    pub(crate) does: &'static str,
    /// Settings that this server does not have.
    pub(crate) unknown_settings: Vec<&'static str>,
    /// How the server ended; `None` = it lives.
    pub(crate) died: Option<String>,
    pub(crate) memory: MemoryFigures,
    /// The healthy clients before the attack, and during it.
    pub(crate) quiet: HealthyReport,
    pub(crate) attacked: HealthyReport,
    /// The healthy clients after the attack.
    pub(crate) after: HealthyReport,
    /// How often the attacker's calls and connections ended so.
    pub(crate) endings: BTreeMap<String, u64>,
    /// What the server logged meanwhile.
    pub(crate) log: BTreeMap<String, u64>,
    /// What else the case measured.
    pub(crate) figures: Vec<String>,
    /// What must hold and does not.
    pub(crate) failures: Vec<String>,
}

/// Memory of the server in bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct MemoryFigures {
    pub(crate) before: u64,
    pub(crate) peak: u64,
    pub(crate) after: u64,
    /// By how much the peak may be above `before`.
    pub(crate) allowed: u64,
    /// Seconds after the attack until it was back; `None` = it was not.
    pub(crate) back_after: Option<f64>,
}

/// All cases of a run.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    /// Cases that could not be run.
    pub(crate) errors: Vec<String>,
    /// The highest memory of any server, in bytes.
    pub(crate) highest: u64,
}

const TITLES: [&str; 8] = [
    "case",
    "what one client does",
    "MiB: before, peak (allowed), after",
    "delivery p50/p99, ms: quiet, attacked",
    "call p99, ms: quiet, attacked (old, new connection)",
    "healthy: refused, cut, lost, gaps",
    "how the attacker was limited",
    "verdict",
];

impl Report {
    /// Prints the table.
    pub(crate) fn print(&self, out: &mut impl Write) -> Result<(), AbuseError> {
        writeln!(out, "| {} |", TITLES.join(" | "))?;
        writeln!(out, "|{}", " --- |".repeat(TITLES.len()))?;
        for row in &self.rows {
            writeln!(out, "| {} |", row.cells().map(|cell| cell.replace('|', "/")).join(" | "))?;
        }
        for error in &self.errors {
            writeln!(out, "\nnot run: {error}")?;
        }
        Ok(writeln!(out, "\nhighest memory of the server: {} MiB", mebibytes(self.highest))?)
    }

    /// Prints one JSON object.
    pub(crate) fn print_json(&self, out: &mut impl Write) -> Result<(), AbuseError> {
        serde_json::to_writer_pretty(&mut *out, self)?;
        Ok(writeln!(out)?)
    }

    pub(crate) fn passed(&self) -> bool {
        self.errors.is_empty() && self.rows.iter().all(|row| row.failures.is_empty())
    }
}

impl Row {
    fn cells(&self) -> [String; 8] {
        let MemoryFigures { before, peak, after, allowed, .. } = self.memory;
        let [before, peak, after, allowed] = [before, peak, after, allowed].map(mebibytes);
        let (quiet, attacked) = (&self.quiet, &self.attacked);
        [
            self.case.into(),
            self.does.into(),
            format!("{before}, {peak} (+{allowed}), {after}"),
            format!("{}, {}", both(quiet.deliveries), both(attacked.deliveries)),
            format!(
                "{:.1} {:.1}, {:.1} {:.1}",
                quiet.old_connection.p99,
                quiet.new_connection.p99,
                attacked.old_connection.p99,
                attacked.new_connection.p99
            ),
            format!("{}, {}, {}, {}", attacked.refusals, attacked.cuts, attacked.lost, attacked.gaps),
            self.limited(),
            if self.failures.is_empty() { "passed".into() } else { format!("FAILED: {}", self.failures.join("; ")) },
        ]
    }

    fn limited(&self) -> String {
        let counted = |counts: &BTreeMap<String, u64>| {
            counts.iter().map(|(name, count)| format!("{count} x {name}")).collect::<Vec<_>>().join(", ")
        };
        let parts = [
            counted(&self.endings),
            self.figures.join(", "),
            if self.log.is_empty() { String::new() } else { format!("log: {}", counted(&self.log)) },
        ];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

fn both(latency: Latency) -> String {
    format!("{:.0}/{:.0}", latency.p50, latency.p99)
}

/// Whole MiB, rounded up.
pub(crate) fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> HealthyReport {
        let latency = Latency { count: 1, p50: 1.0, p99: 2.5 };
        HealthyReport {
            deliveries: latency,
            old_connection: latency,
            new_connection: latency,
            ..HealthyReport::default()
        }
    }

    fn row(failures: &[&str]) -> Row {
        let memory = MemoryFigures { before: 1 << 20, peak: 3 << 20, after: 2 << 20, allowed: 5, back_after: None };
        Row {
            case: "a-case",
            does: "a|b",
            unknown_settings: Vec::new(),
            died: None,
            memory,
            quiet: seen(),
            attacked: seen(),
            after: seen(),
            endings: BTreeMap::from([("OK".into(), 2)]),
            log: BTreeMap::from([("WARN cut".into(), 1)]),
            figures: vec!["slowest 3 ms".into()],
            failures: failures.iter().map(|failure| (*failure).to_owned()).collect(),
        }
    }

    #[test]
    fn row_fits_under_the_titles() {
        let report = Report { rows: vec![row(&[])], errors: Vec::new(), highest: 7 << 20 };
        let mut out = Vec::new();
        assert!(report.print(&mut out).is_ok());
        let text = String::from_utf8(out).unwrap();
        let bars: Vec<usize> = text.lines().take(3).map(|line| line.matches('|').count()).collect();
        assert_eq!(bars, [9, 9, 9], "{text}");
        assert!(
            text.contains("| 1, 3 (+1), 2 |") && text.contains("2 x OK; slowest 3 ms; log: 1 x WARN cut"),
            "{text}"
        );
    }

    #[test]
    fn one_failure_fails_the_run() {
        let passed = |rows| Report { rows, errors: Vec::new(), highest: 0 }.passed();
        assert!(!Report { rows: Vec::new(), errors: vec!["a-case".into()], highest: 0 }.passed());
        assert!(passed(vec![row(&[])]));
        assert!(!passed(vec![row(&[]), row(&["the server died"])]));
    }
}
