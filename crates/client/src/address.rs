//! How an address of a server is written.

use tonic::codegen::http::uri::Authority;

/// Why an address is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It begins with another scheme.
    #[error("only https:// and http:// are schemes of this client: use https://HOST:PORT, or HOST:PORT without TLS")]
    Scheme,
    /// It has no port, nor a scheme that has one.
    #[error("names no port: use HOST:PORT, such as 127.0.0.1:50051")]
    NoPort,
    /// It is something else.
    #[error("is not HOST:PORT, such as 127.0.0.1:50051")]
    Malformed,
}

/// The URL that an address means: HOST:PORT, which is without TLS, or http://HOST or https://HOST with or without a port;
/// or several of them, divided by commas.
///
/// # Errors
///
/// When it is none of these.
pub fn parse_address(address: &str) -> Result<String, AddressError> {
    Ok(address.split(',').map(parse_one).collect::<Result<Vec<_>, _>>()?.join(","))
}

fn parse_one(address: &str) -> Result<String, AddressError> {
    let (scheme, host) = match address.split_once("://") {
        Some((scheme @ ("http" | "https"), host)) => (scheme, host),
        Some(_) => return Err(AddressError::Scheme),
        None if port(address).is_none() => return Err(AddressError::NoPort),
        None => ("http", address),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    match host.parse::<Authority>() {
        Ok(authority) if !host.contains('@') && !authority.host().is_empty() => Ok(format!("{scheme}://{authority}")),
        Ok(_) | Err(_) => Err(AddressError::Malformed),
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
            ("https://starling", "https://starling"),
            ("https://[::1]:50051/", "https://[::1]:50051"),
            ("a:1,https://b,[::1]:2", "http://a:1,https://b,http://[::1]:2"),
        ] {
            assert_eq!(parse_address(address).as_deref(), Ok(meant), "{address}");
        }
    }

    #[test]
    fn invalid_address_is_refused_with_a_reason() {
        for (address, said) in [
            ("ftp://localhost:1", "only https:// and http://"),
            ("HTTPS://localhost:1", "only https:// and http://"),
            ("https://me@here:1", "is not HOST:PORT"),
            ("localhost", "no port"),
            ("[::1]", "no port"),
            ("localhost:70000", "no port"),
            ("", "no port"),
            (":50051", "is not HOST:PORT"),
            ("http://", "is not HOST:PORT"),
            ("http://a:1/path", "is not HOST:PORT"),
            ("me@here:1", "is not HOST:PORT"),
            ("a:1,", "no port"),
            ("not a host:1", "is not HOST:PORT"),
        ] {
            let refused = parse_address(address).expect_err(address).to_string();
            assert!(refused.contains(said), "{address}: {refused}");
        }
    }
}
