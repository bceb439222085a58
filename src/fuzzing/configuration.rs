//! Configurations as text.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::LazyLock;

use tempfile::TempDir;

use crate::config::{Config, Overrides};

static DIRECTORY: LazyLock<TempDir> = LazyLock::new(|| TempDir::new().expect("a directory can be made"));

/// Loads a configuration. The first byte says what the rest is: TOML, YAML, or variables, one a line.
///
/// # Panics
///
/// When what was loaded does not load again from what it is shown as, or when a fault says nothing.
pub fn configuration(bytes: &[u8]) {
    let Some((form, content)) = bytes.split_first() else { return };
    let loaded = match form % 3 {
        0 => Config::load(Some(&file("starling.toml", content)), HashMap::new(), Overrides::default()),
        1 => Config::load(Some(&file("starling.yaml", content)), HashMap::new(), Overrides::default()),
        _ => Config::load(None, variables(content), Overrides::default()),
    };
    match loaded {
        Ok(config) => {
            drop(config.remarks());
            for text in [config.to_toml(), config.to_redacted_toml()] {
                let again =
                    Config::load(Some(&file("again.toml", text.as_bytes())), HashMap::new(), Overrides::default());
                assert_eq!(again.expect("what was loaded loads again"), config);
            }
        }
        Err(error) => {
            assert!(!error.faults().is_empty(), "an error names a fault");
            assert!(error.to_string().lines().count() >= error.faults().len(), "each on its line: {error}");
        }
    }
}

fn file(name: &str, content: &[u8]) -> PathBuf {
    // Each thread has its own: tests run side by side.
    let file = DIRECTORY.path().join(format!("{:?}-{name}", std::thread::current().id()));
    std::fs::write(&file, content).expect("the directory is ours");
    file
}

fn variables(content: &[u8]) -> HashMap<String, String> {
    let text = String::from_utf8_lossy(content);
    let lines = text.lines().filter_map(|line| line.split_once('='));
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
