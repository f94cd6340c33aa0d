//! Bursar, an OAuth 2.0 token broker. ARCHITECTURE.md is the map of the rooms.

pub mod api;
pub mod clock;
pub mod config;
pub mod domain;
pub mod provider;
pub mod store;
pub mod telemetry;
