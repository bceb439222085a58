//! Behind proxies: who is believed about the addresses of clients, and what is counted for whom.
//!
//! [`balancer`] speaks the PROXY protocol in this process; [`programs`] has HAProxy and nginx, by the files of
//! `examples/proxy`.

mod balancer;

mod headers;
mod preambles;
mod programs;
mod refusals;
