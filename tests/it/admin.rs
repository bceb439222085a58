//! The admin listener over real HTTP: its pages, its bounds, and the figures that it tells.

mod bounds;
mod document;
mod figures;
mod pages;
pub(crate) mod scrape;
