//! Medians of outcomes under the names of their columns, or all of them as JSON.

use std::io::Write;

use serde::Serialize;

use crate::error::BenchError;
use crate::terminal::output;

/// No line is wider, in characters.
const WIDTH: usize = 100;
/// The widest name of a row.
const NAME: usize = 9;

/// A figure of an outcome, and how it is written.
#[derive(Debug)]
pub(crate) struct Column<O> {
    title: &'static str,
    width: usize,
    digits: usize,
    value: fn(&O) -> Option<f64>,
    meaning: &'static str,
}

impl<O> Column<O> {
    pub(crate) const fn new(
        title: &'static str,
        width: usize,
        digits: usize,
        value: fn(&O) -> Option<f64>,
        meaning: &'static str,
    ) -> Self {
        Self { title, width, digits, value, meaning }
    }
}

/// What the titles mean, for `--help`.
pub(crate) fn legend<O>(columns: &[Column<O>]) -> String {
    let mut text = "What the table says, as medians of the runs:".to_owned();
    for Column { title, meaning, .. } in columns {
        text.push_str(&format!("\n  {title:<13} {meaning}"));
    }
    text
}

/// Prints a line for each name: the medians of its outcomes. Columns that do not fit beside the
/// others follow below.
pub(crate) fn print<'a, O: 'a>(
    out: &mut impl Write,
    columns: &[Column<O>],
    rows: impl IntoIterator<Item = (&'a str, Vec<&'a O>)>,
) -> Result<(), BenchError> {
    let rows: Vec<_> = rows.into_iter().collect();
    let mut rest = columns;
    while !rest.is_empty() {
        let ends = rest.iter().scan(NAME, |end, column| {
            *end += 1 + column.width;
            Some(*end)
        });
        let (beside, below) = rest.split_at(ends.take_while(|end| *end <= WIDTH).count().max(1));
        block(out, beside, &rows)?;
        rest = below;
    }
    Ok(())
}

fn block<O>(out: &mut impl Write, columns: &[Column<O>], rows: &[(&str, Vec<&O>)]) -> Result<(), BenchError> {
    write!(out, "{:NAME$}", "")?;
    for Column { title, width, .. } in columns {
        write!(out, " {title:>width$}")?;
    }
    writeln!(out)?;
    for (name, outcomes) in rows {
        write!(out, "{name:NAME$}")?;
        for Column { width, digits, value, .. } in columns {
            let median = median(outcomes.iter().filter_map(|outcome| value(outcome)).collect());
            let cell = median.map_or_else(|| "-".into(), |median| format!("{median:.digits$}"));
            write!(out, " {cell:>width$}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Prints one JSON object.
pub(crate) fn print_json(report: &impl Serialize) -> Result<(), BenchError> {
    let mut out = output();
    serde_json::to_writer_pretty(&mut out, report)?;
    Ok(writeln!(out)?)
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: Option<u64>) -> Option<f64> {
    Some(bytes? as f64 / f64::from(1 << 20))
}

/// The middle value; of an even number, the mean of the two in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2)?;
    let lower = values.get(values.len().checked_sub(1)? / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle_or_the_mean() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn line_shows_medians_and_a_dash_for_none() {
        let columns = [
            Column::new("twice", 6, 1, |n: &f64| Some(n * 2.0), "the double"),
            Column::new("none", 5, 0, |_| None, "nothing"),
        ];
        let mut out = Vec::new();
        assert!(print(&mut out, &columns, [("a", vec![&1.0, &5.0, &2.0])]).is_ok());
        assert_eq!(String::from_utf8(out).unwrap(), "           twice  none\na            4.0     -\n");
    }

    #[test]
    fn columns_that_do_not_fit_follow_below() {
        let columns = [const { Column::new("one", 40, 0, |n: &f64| Some(*n), "itself") }; 5];
        let mut out = Vec::new();
        assert!(print(&mut out, &columns, [("starling", vec![&1.0])]).is_ok());
        let out = String::from_utf8(out).unwrap();
        assert_eq!(out.lines().count(), 3 * 2);
        assert!(out.lines().all(|line| line.len() <= WIDTH), "{out}");
        assert_eq!(out.matches('1').count(), 5);
    }
}
