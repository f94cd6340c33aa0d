//! Bursar, an OAuth 2.0 token broker. ARCHITECTURE.md is the map of the rooms.

pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod domain;
pub mod provider;
pub mod store;
