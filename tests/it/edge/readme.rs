//! The README says what the code does.

use std::path::Path;

use starling::config::Config;

#[test]
fn the_table_of_the_configuration_is_that_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(path).expect("there is a README");
    let table = Config::reference_table();
    assert!(readme.contains(table.trim()), "README.md must hold this table:\n\n{table}");
}
