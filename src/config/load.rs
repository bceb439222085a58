//! The four layers become one [`Config`].
//!
//! `default.toml` says which keys exist and of what type each is, so that every key can be judged on its own and no
//! fault hides another.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use ::config::{Environment, File, FileFormat, Source, Value, ValueKind};
use clap::ValueEnum;
use serde::Deserialize;

use super::fault::{ConfigError, Faults};
use super::{Config, DEFAULT_TOML, Overrides, reference};

pub(super) fn load(
    file: Option<&Path>,
    env: HashMap<String, String>,
    overrides: Overrides,
) -> Result<Config, ConfigError> {
    let defaults: toml::Table = toml::from_str(DEFAULT_TOML).expect("default.toml is compiled in, and a test loads it");
    let mut faults = Faults::default();

    let mut layers = ::config::Config::builder();
    if let Some(layer) = file.and_then(|path| read_file(path, &defaults, &mut faults)) {
        layers = layers.add_source(layer);
    }
    layers = layers.add_source(read_environment(env, &mut faults));
    for (key, flag, value) in flags(overrides) {
        layers = layers
            .set_override(key, Value::new(Some(&flag.to_owned()), value))
            .expect("the key of a flag is a literal path");
    }
    let merged = match layers.build() {
        Ok(merged) => merged.cache,
        Err(error) => {
            faults.add("configuration", one_line(&error));
            Value::default()
        }
    };

    // Faulty values are left at their defaults, so that the checks of the others still mean something.
    let mut accepted = defaults.clone();
    for (section, keys) in &defaults {
        for (key, default) in keys.as_table().into_iter().flatten() {
            let Some(given) = child(&merged, section).and_then(|table| child(table, key)) else {
                continue;
            };
            let path = format!("{section}.{key}");
            faults.originates(&path, origin(given, &path, file));
            match accept(given, default, &defaults, section, key) {
                Ok(value) => set(&mut accepted, section, key, value),
                Err(problem) => faults.add(&path, problem),
            }
        }
    }
    let config: Config = accepted
        .try_into()
        .expect("each value was accepted beside the defaults, and types do not depend on each other");
    config.check(&mut faults);
    let log_format = config.log.format;
    faults.unless_any(config, log_format)
}

/// Reads the sections and keys of a file that exist, and reports those that do not.
fn read_file(path: &Path, defaults: &toml::Table, faults: &mut Faults) -> Option<::config::Config> {
    let name = path.display().to_string();
    let format = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => FileFormat::Toml,
        Some("yaml" | "yml") => FileFormat::Yaml,
        Some(_) | None => {
            faults.add(&name, "expects the extension .toml, .yaml or .yml");
            return None;
        }
    };
    let text = fs::read_to_string(path)
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => faults.add(&name, "there is no such file"),
            _ => faults.add(&name, format_args!("cannot be read: {error}")),
        })
        .ok()?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut sections =
        File::from_str(text, format).collect().map_err(|error| faults.add(&name, one_line(&error))).ok()?;
    report_unknown(&sections, &name, defaults, faults);

    // `config` takes the names of sections for paths: one such as `a[999999999]` would make it build that array.
    sections.retain(|section, _| defaults.contains_key(section));
    let mut layer = ::config::Config::default();
    layer.cache = Value::new(None, ValueKind::Table(sections));
    Some(layer)
}

fn report_unknown(sections: &HashMap<String, Value>, file: &str, defaults: &toml::Table, faults: &mut Faults) {
    for (section, content) in sorted(sections) {
        let Some(known) = defaults.get(section).and_then(toml::Value::as_table) else {
            let names = list(defaults.keys());
            faults.add(section, format_args!("unknown section (from {file}); there are {names}"));
            continue;
        };
        let ValueKind::Table(keys) = &content.kind else {
            // A section whose every key is commented out is null in YAML.
            if content.kind != ValueKind::Nil {
                faults.add(section, format_args!("expects a section with keys (from {file})"));
            }
            continue;
        };
        for (key, _) in sorted(keys) {
            if !known.contains_key(key) {
                let names = list(known.keys());
                faults.add(
                    &format!("{section}.{key}"),
                    format_args!("unknown key (from {file}); [{section}] has {names}"),
                );
            }
        }
    }
}

/// Takes the variables of keys out of the environment and reports those of ours that name nothing.
fn read_environment(env: HashMap<String, String>, faults: &mut Faults) -> Environment {
    let reference = Config::reference();
    for (name, problem) in unknown_variables(&env) {
        faults.add(&name, problem);
    }
    let known = env.into_iter().filter(|(name, _)| reference.iter().any(|known| known.env == *name)).collect();
    Environment::with_prefix("STARLING").separator("__").ignore_empty(true).source(Some(known))
}

/// The variables that claim to be ours and name nothing, each with what is wrong with it.
pub(super) fn unknown_variables(env: &HashMap<String, String>) -> Vec<(String, &'static str)> {
    let reference = Config::reference();
    let unknown = env.iter().filter(|(name, value)| reference::is_unknown(name, value, &reference));
    let mut unknown: Vec<_> = unknown
        .map(|(name, _)| {
            let known = "unknown variable; there are STARLING__SECTION__KEY, in capitals, STARLING_SERVER, STARLING_CA, \
                         STARLING_CERT, STARLING_KEY, STARLING_TOKEN and STARLING_TOKEN_FILE";
            (name.clone(), known)
        })
        .collect();
    unknown.sort_unstable();
    unknown
}

/// The given flags: key, flag, value.
fn flags(overrides: Overrides) -> impl Iterator<Item = (&'static str, &'static str, ValueKind)> {
    let Overrides { listen, insecure, log, log_format } = overrides;
    let format = log_format.and_then(|format| format.to_possible_value());
    [
        ("server.listen", "--listen", listen.map(|it| it.to_string().into())),
        ("identity.insecure", "--insecure", insecure.then(|| true.into())),
        ("log.filter", "--log", log.map(Into::into)),
        ("log.format", "--log-format", format.map(|it| it.get_name().into())),
    ]
    .into_iter()
    .filter_map(|(key, flag, value)| Some((key, flag, value?)))
}

/// The value, if it is of its key's type and stands beside the defaults.
fn accept(
    given: &Value,
    default: &toml::Value,
    defaults: &toml::Table,
    section: &str,
    key: &str,
) -> Result<toml::Value, String> {
    let value = of_type(given, default)?;
    let mut trial = defaults.clone();
    set(&mut trial, section, key, value.clone());
    match trial.try_into::<Config>() {
        Ok(_) => Ok(value),
        Err(_) if value.is_integer() => Err(format!("{value} is out of range")),
        Err(error) => Err(format!("{value}: {}", error.message())),
    }
}

/// The value as one of the default's type. Stricter than the `config` crate, to which `true` is also 1 and 63.7 is 64.
fn of_type(given: &Value, default: &toml::Value) -> Result<toml::Value, String> {
    let expected = match default.type_str() {
        "boolean" => "expects true or false".to_owned(),
        "string" => format!("expects text such as {default}"),
        number => format!("expects an {number}"),
    };
    let Ok(value) = toml::Value::deserialize(given.clone()) else {
        return Err(format!("{expected}, found nothing"));
    };
    // Variables are always text; what their keys want is known.
    if let Some(text) = value.as_str()
        && is_variable(given)
        && !default.is_str()
    {
        let parsed = if default.is_bool() {
            text.parse().map(toml::Value::Boolean).ok()
        } else {
            text.parse().map(toml::Value::Integer).ok()
        };
        return parsed.ok_or_else(|| format!("{expected}, found {text:?}"));
    }
    if value.same_type(default) {
        Ok(value)
    } else {
        Err(format!("{expected}, found the {} {value}", value.type_str()))
    }
}

/// Where a value came from, in the words of whoever wrote it. Only values of the file have no origin of their own.
fn origin(given: &Value, path: &str, file: Option<&Path>) -> String {
    match given.origin() {
        Some(_) if is_variable(given) => reference::variable(path),
        Some(flag) => flag.to_owned(),
        None => file.map_or_else(String::new, |file| file.display().to_string()),
    }
}

fn is_variable(given: &Value) -> bool {
    given.origin() == Some("the environment")
}

fn child<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    let ValueKind::Table(table) = &value.kind else {
        return None;
    };
    table.get(key)
}

/// The entries of a table in an order that does not change from run to run.
fn sorted(table: &HashMap<String, Value>) -> Vec<(&String, &Value)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_unstable_by_key(|(key, _)| *key);
    entries
}

fn set(table: &mut toml::Table, section: &str, key: &str, value: toml::Value) {
    if let Some(keys) = table.get_mut(section).and_then(toml::Value::as_table_mut) {
        keys.insert(key.to_owned(), value);
    }
}

fn list<'a>(names: impl Iterator<Item = &'a String>) -> String {
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// An error on one line: below their first line, parsers draw the faulty text with bars and carets.
fn one_line(error: &::config::ConfigError) -> String {
    let text = error.to_string();
    let lines: Vec<_> = text.lines().filter(|line| !line.is_empty() && !line.contains('|')).collect();
    lines.join(": ")
}
