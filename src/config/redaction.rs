//! The configuration for others to read: without what must stay secret.
//!
//! No key holds a secret today: secrets are in files, and the configuration has their paths. Should one come, its name
//! says so, and its value is left out here by that, whoever forgets to think of this page.

use super::Config;

/// What a value that must stay secret is shown as.
const REDACTED: &str = "[redacted]";

/// Words in the names of keys whose values are secret.
const SECRET: [&str; 6] = ["secret", "password", "passphrase", "token", "credential", "private"];

/// Ends of the names of keys whose values say where something is, or are numbers of it.
const HARMLESS: [&str; 8] = ["_file", "_files", "_dir", "_path", "_url", "_bytes", "_age", "_timeout"];

impl Config {
    /// [`Config::to_toml`], with the values of secret keys left out.
    ///
    /// # Panics
    /// As [`Config::to_toml`] does.
    #[must_use]
    pub fn to_redacted_toml(&self) -> String {
        let mut table = toml::Table::try_from(self).expect("a loaded configuration came from TOML's own types");
        redact(&mut table);
        table.to_string()
    }
}

fn redact(table: &mut toml::Table) {
    for (key, value) in table.iter_mut() {
        match value {
            toml::Value::Table(inner) => redact(inner),
            value if is_secret(key) => *value = REDACTED.into(),
            toml::Value::String(text) if key.ends_with("_urls") => *text = without_users(text),
            _ => {}
        }
    }
}

/// URLs, divided by commas, without the users and passwords in them.
fn without_users(urls: &str) -> String {
    let plain = |url: &str| match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://{REDACTED}@{host}"),
        (None, Some((_, host))) => format!("{REDACTED}@{host}"),
        (_, None) => url.to_owned(),
    };
    urls.split(',').map(plain).collect::<Vec<_>>().join(",")
}

fn is_secret(key: &str) -> bool {
    SECRET.iter().any(|word| key.contains(word)) && !HARMLESS.iter().any(|end| key.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_loads_as_the_same() {
        let config = Config::default();
        assert_eq!(toml::from_str::<Config>(&config.to_redacted_toml()).unwrap(), config);
    }

    #[test]
    fn secrets_are_left_out_and_paths_are_not() {
        let mut table: toml::Table = toml::from_str(
            "[identity]\nhs256_secret = 'hunter2'\nhs256_secret_file = '/run/secret'\ntoken_leeway = 'x'\n\
             [tls.inner]\nprivate_key = 'PEM'\nprivate_key_file = 'key.pem'\n[log]\nfilter = 'info'\n[cluster]\nnats_urls = 'nats://me:hunter2@a:1,tls://b:2'\n",
        )
        .unwrap();
        redact(&mut table);
        let text = table.to_string();
        assert!(!text.contains("hunter2") && !text.contains("PEM"), "{text}");
        for kept in ["/run/secret", "key.pem", "info", "nats://[redacted]@a:1,tls://b:2"] {
            assert!(text.contains(kept), "{text}");
        }
    }
}
