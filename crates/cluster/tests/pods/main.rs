//! Pods in one process over logs in memory: what the driver promises to its callers, with tokio's time paused.
//!
//! `model` is what entries are applied to; `fixture` starts pods and cuts them off; `order` shows what all pods agree on,
//! `ends` how an incarnation ends, `calls` what single calls come to, `streams` what becomes of Attach and Detach.

mod calls;
mod ends;
mod fixture;
mod model;
mod order;
mod streams;
