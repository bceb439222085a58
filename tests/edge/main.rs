//! The edge, over real gRPC: every error, every stream end, the command line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;
mod process;
mod refusals;
mod scripted;
mod updates;
mod world;

mod chat;
mod clip;
mod command_line;
mod command_line_media;
mod command_line_verbs;
mod contests;
mod discovery;
mod drain;
mod exchange;
mod group_faults;
mod group_updates;
mod ids;
mod in_flight;
mod listeners;
mod livestream_calls;
mod livestream_fields;
mod livestream_rules;
mod log;
mod pages;
mod publishing;
mod races;
mod readme;
mod reads;
mod reopening;
mod repeats;
mod resuming;
mod sizes;
mod subscribing;
mod updates_rules;
mod web;
