//! JSON that is exactly what it should be.

use serde::Deserialize;
use serde::de::Error;

/// Reads an object. What `serde` derives for a struct would read an array too, by the order of its fields.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, serde_json::Error> {
    if !json.trim_start_matches([' ', '\t', '\r', '\n']).starts_with('{') {
        return Err(Error::custom("expects an object"));
    }
    serde_json::from_str(json)
}
