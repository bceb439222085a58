#![doc = include_str!("../README.md")]

mod address;
mod backoff;
mod client;
mod connect_error;
mod connect_options;
mod error;
mod link;
pub mod pb;
mod progress;
mod publisher;
mod subscriber;
mod swarm_ref;
mod token;
mod tries;
mod verifier;
mod watch;
mod window;

pub use address::{AddressError, parse_address};
pub use backoff::{Backoff, Retry};
pub use client::Client;
pub use connect_error::ConnectError;
pub use connect_options::{ClientCertificate, ConnectOptions};
pub use error::Error;
pub use progress::Progress;
pub use publisher::{PublishEvent, PublishOptions, Publisher};
pub use starling_signing::{HexError, KeyError, PublicKey, SigningKey, from_hex, to_hex};
pub use subscriber::{SubscribeOptions, Subscriber, SubscriptionEvent};
pub use swarm_ref::{Join, SwarmRef};
pub use token::{BearerToken, TokenChannel, TokenError};
pub use verifier::{Forgery, Trust};
pub use watch::Watch;
pub use window::Full;
