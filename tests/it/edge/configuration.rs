//! docs/configuration.md says what the code does.

use std::path::Path;

use starling::config::Config;

#[test]
fn configuration_table_matches_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let document = std::fs::read_to_string(path).expect("there is a docs/configuration.md");
    let table = Config::reference_table();
    assert!(document.contains(table.trim()), "docs/configuration.md must hold this table:\n\n{table}");
}
