//! Where the client of a call is.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Extensions, HeaderMap};

use crate::budget::network;
use crate::transport::ConnectionShared;

/// The address of the client that sent a request, of IPv6 its network of 64 bits: what is counted per address is counted
/// for it. It is that of the connection, unless a trusted proxy has made the connection and names another one in the header that is set for it.
/// `None` without a connection. Reads the header anew each time: O(its entries), and no more than a look without one.
pub(super) fn client_address(extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    extensions.get::<Arc<ConnectionShared>>().map(|connection| network(connection.client_address(headers)))
}
