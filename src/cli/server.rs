//! Where the server is.

use super::CliError;
use starling_client::Client;

#[derive(Debug, clap::Args)]
pub(super) struct Server {
    /// The server: HOST:PORT, or http://HOST:PORT.
    #[arg(long = "server", value_name = "ADDRESS", env = "STARLING_SERVER", default_value = "127.0.0.1:50051", value_parser = url)]
    url: String,
}

impl Server {
    pub(super) async fn connect(&self) -> Result<Client, CliError> {
        Client::connect(&self.url).await.map_err(|error| {
            let hint = if error.is_refused() {
                "\nNo server listens there. `starling serve` starts one, and --server names another."
            } else {
                ""
            };
            CliError(format!("{error}{hint}"))
        })
    }
}

/// The URL that an address means.
pub(super) fn url(address: &str) -> Result<String, String> {
    let host = match address.split_once("://") {
        Some(("http", host)) => host,
        Some(("https", _)) => {
            return Err("there is no TLS yet, and https:// would promise it: name the server as HOST:PORT or \
                        http://HOST:PORT"
                .into());
        }
        Some((scheme, _)) => return Err(format!("{scheme}:// is no scheme of this client: use HOST:PORT")),
        None if port(address).is_none() => return Err("names no port: use HOST:PORT, such as 127.0.0.1:50051".into()),
        None => address,
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    match host.parse::<http::uri::Authority>() {
        Ok(authority) if !host.contains('@') && !authority.host().is_empty() => Ok(format!("http://{authority}")),
        Ok(_) | Err(_) => Err("is not HOST:PORT, such as 127.0.0.1:50051".into()),
    }
}

/// The port of HOST:PORT.
fn port(address: &str) -> Option<u16> {
    // In [::1] the last colon is the host's.
    let (_, port) = address.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'))?;
    port.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_port_is_a_url() {
        for (address, meant) in [
            ("localhost:50051", "http://localhost:50051"),
            ("10.0.0.1:1", "http://10.0.0.1:1"),
            ("[::1]:50051", "http://[::1]:50051"),
            ("http://starling:443", "http://starling:443"),
            ("http://starling:443/", "http://starling:443"),
            ("http://starling", "http://starling"),
        ] {
            assert_eq!(url(address).as_deref(), Ok(meant), "{address}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_a_reason() {
        for (address, said) in [
            ("https://localhost:50051", "no TLS"),
            ("ftp://localhost:1", "ftp://"),
            ("localhost", "no port"),
            ("[::1]", "no port"),
            ("localhost:70000", "no port"),
            ("", "no port"),
            (":50051", "is not HOST:PORT"),
            ("http://", "is not HOST:PORT"),
            ("http://a:1/path", "is not HOST:PORT"),
            ("me@here:1", "is not HOST:PORT"),
            ("not a host:1", "is not HOST:PORT"),
        ] {
            let refused = url(address).expect_err(address);
            assert!(refused.contains(said), "{address}: {refused}");
        }
    }
}
