//! Bursar, an OAuth 2.0 token broker. ARCHITECTURE.md is the map of the rooms.

pub mod clock;
pub mod domain;
pub mod simulator;
pub mod store;
