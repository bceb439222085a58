//! The settings with which the server is started.

use std::path::Path;
use std::process::{Command, Stdio};

use toml::{Table, Value};

use crate::error::AbuseError;

/// A key as in `src/config/default.toml`, and its value.
pub(crate) type Setting = (&'static str, &'static str);

/// The settings that a program has, with their defaults.
#[derive(Debug)]
pub(crate) struct KnownSettings(Table);

impl KnownSettings {
    /// Asks a program for them.
    pub(crate) fn of(program: &Path) -> Result<Self, AbuseError> {
        let mut command = without_settings(program);
        let printed = command.args(["serve", "--print-config"]).stderr(Stdio::inherit()).output()?;
        if !printed.status.success() {
            return Err(AbuseError(format!("{} does not print its configuration", program.display())));
        }
        Ok(Self(String::from_utf8(printed.stdout)?.parse()?))
    }

    /// The value of a key; `None` when the program has no such setting.
    fn value(&self, key: &str) -> Option<&Value> {
        let (section, name) = key.split_once('.')?;
        self.0.get(section)?.get(name)
    }

    /// The default of a size or a count.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.value(key)?.as_integer().and_then(|number| u64::try_from(number).ok())
    }

    /// Those that the program has, as variables of its environment, and the keys of those that it has not: it
    /// would refuse to start with them.
    pub(crate) fn environment(&self, settings: &[Setting]) -> (Vec<(String, String)>, Vec<&'static str>) {
        let (known, unknown): (Vec<_>, Vec<_>) = settings.iter().partition(|(key, _)| self.value(key).is_some());
        let variable = |(key, value): &Setting| (variable(key), (*value).to_owned());
        (known.iter().map(variable).collect(), unknown.iter().map(|(key, _)| *key).collect())
    }
}

/// A program with nothing of the settings of this one's environment.
pub(crate) fn without_settings(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("STARLING") {
            command.env_remove(name);
        }
    }
    command
}

/// The variable of a key: `server.listen` is `STARLING__SERVER__LISTEN`.
pub(crate) fn variable(key: &str) -> String {
    format!("STARLING__{}", key.to_uppercase().replace('.', "__"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_settings_reach_the_environment() {
        let known = KnownSettings("[server]\nlisten = \"a\"\nmax_connections = 7\n".parse().unwrap());
        let (set, unknown) =
            known.environment(&[("server.max_connections", "9"), ("memory.state_bytes", "1"), ("server", "2")]);
        assert_eq!(set, [("STARLING__SERVER__MAX_CONNECTIONS".to_owned(), "9".to_owned())]);
        assert_eq!(unknown, ["memory.state_bytes", "server"]);
        assert_eq!((known.number("server.max_connections"), known.number("server.listen")), (Some(7), None));
    }
}
