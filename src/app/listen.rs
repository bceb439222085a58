//! The addresses that the process takes.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::config::Config;
use crate::transport;

/// Listens on an address; also where that is, with the port that it got.
pub(super) fn listen(wanted: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listen = || {
        let listener = transport::listen(wanted)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    listen().map_err(|error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {wanted}: {error}")))
}

/// Listens for whoever runs the server. Where the default address is taken, most likely by another server that somebody
/// tries out, this one goes without: nobody has asked for it there.
pub(super) fn listen_for_admin(config: &Config) -> io::Result<Option<(TcpListener, SocketAddr)>> {
    let Some(wanted) = config.admin.listen else { return Ok(None) };
    match listen(wanted) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && config.admin == Config::default().admin => {
            tracing::warn!(%error, "there are no admin pages: another process has their default address");
            Ok(None)
        }
        listener => listener.map(Some),
    }
}
