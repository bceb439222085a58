//! How fast operations come.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// So many a second; `None` = a burst, each as soon as the one before is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub(crate) struct Rate(Option<u32>);

impl Rate {
    pub(crate) const BURST: Self = Self(None);

    /// When an operation is due, by its number; `None` in a burst.
    pub(crate) fn due(self, operation: u64) -> Option<Duration> {
        self.0.map(|rate| Duration::from_secs_f64(operation as f64 / f64::from(rate)))
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "burst" => Ok(Self(None)),
            Ok(rate @ 1..=1_000_000) => Ok(Self(Some(rate))),
            _ => Err("give a number from 1 to 1000000, or burst".into()),
        }
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(rate) => write!(f, "{rate} operations/s"),
            None => f.write_str("a burst"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_or_a_burst() {
        assert_eq!("4".parse::<Rate>().unwrap().due(6), Some(Duration::from_millis(1_500)));
        assert_eq!("burst".parse::<Rate>().unwrap().due(6), None);
        for wrong in ["", "0", "-1", "fast", "1000001"] {
            assert!(wrong.parse::<Rate>().is_err(), "{wrong}");
        }
    }
}
