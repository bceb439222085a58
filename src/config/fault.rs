//! What is wrong with a configuration: all of it, collected before anything is reported.

use std::collections::HashMap;
use std::fmt;

use super::LogFormat;

/// A configuration that was refused, with everything that is wrong with it. Displays one fault per line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub struct ConfigError {
    faults: Vec<ConfigFault>,
    log_format: LogFormat,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigFault {
    /// The path of the key, such as `server.listen`; or the variable or file that is faulty as a whole.
    pub key: String,
    /// What is wrong with it, and where the value came from.
    pub problem: String,
}

/// Collects faults.
#[derive(Debug, Default)]
pub(super) struct Faults {
    faults: Vec<ConfigFault>,
    /// Where the value of a key came from; a key that is not here has its default.
    origins: HashMap<String, String>,
}

impl ConfigError {
    /// The faults, in the order in which they are displayed.
    #[must_use]
    pub fn faults(&self) -> &[ConfigFault] {
        &self.faults
    }

    /// How the log is to be written: the default where that is among the faults.
    #[must_use]
    pub const fn log_format(&self) -> LogFormat {
        self.log_format
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            // A quoted value may have several lines; its fault still has one.
            let line = fault.to_string().replace('\n', " ");
            write!(f, "{separator}{line}")?;
        }
        Ok(())
    }
}

impl Faults {
    /// Notes where the value of `key` came from, for the faults that follow.
    pub(super) fn originates(&mut self, key: &str, origin: String) {
        self.origins.insert(key.to_owned(), origin);
    }

    pub(super) fn add(&mut self, key: &str, problem: impl fmt::Display) {
        let problem = match self.origins.get(key) {
            Some(origin) => format!("{problem} (from {origin})"),
            None => problem.to_string(),
        };
        self.faults.push(ConfigFault { key: key.to_owned(), problem });
    }

    pub(super) fn concern(&self, key: &str) -> bool {
        self.faults.iter().any(|fault| fault.key == key)
    }

    /// `value`, if nothing was wrong; else the error, to be told in `log_format`.
    pub(super) fn unless_any<T>(self, value: T, log_format: LogFormat) -> Result<T, ConfigError> {
        if self.faults.is_empty() {
            return Ok(value);
        }
        Err(ConfigError { faults: self.faults, log_format })
    }
}
