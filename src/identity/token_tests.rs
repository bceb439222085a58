//! Tokens and keys, as an attacker and an operator would bring them.

mod attacks;
mod fixture;
mod garbage;
mod reloading;
mod sources;
