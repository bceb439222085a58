//! Values that TOML has no type for, as text.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

/// Durations are text in every layer: a bare number would leave its unit to be guessed.
pub(super) mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(in crate::config) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&humantime::format_duration(*duration))
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        humantime::parse_duration(&text).map_err(|error| D::Error::custom(format_args!("not a duration: {error}")))
    }
}

fn serialize_address<S: Serializer>(
    address: Option<&SocketAddr>,
    none: &str,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match address {
        Some(address) => serializer.collect_str(address),
        None => serializer.serialize_str(none),
    }
}

fn deserialize_address<'de, D: Deserializer<'de>>(none: &str, deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    (text != none).then(|| text.parse().map_err(D::Error::custom)).transpose()
}

/// TOML has no null: no address is empty text.
pub(super) mod optional_address_text {
    use std::net::SocketAddr;

    use serde::{Deserializer, Serializer};

    const NONE: &str = "";

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(in crate::config) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize_address(address.as_ref(), NONE, serializer)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        super::deserialize_address(NONE, deserializer)
    }
}

/// The same where none is no default: an empty variable would leave the default in force.
pub(super) mod address_or_off {
    use std::net::SocketAddr;

    use serde::{Deserializer, Serializer};

    const NONE: &str = "off";

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(in crate::config) fn serialize<S: Serializer>(
        address: &Option<SocketAddr>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        super::serialize_address(address.as_ref(), NONE, serializer)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SocketAddr>, D::Error> {
        super::deserialize_address(NONE, deserializer)
    }
}

/// TOML's integers end at 2^63 - 1.
pub(super) mod number_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(in crate::config) fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(number)
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error| D::Error::custom(format_args!("not a number below 2^64: {error}")))
    }
}
