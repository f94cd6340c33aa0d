//! Hands out tokens.
pub mod bells;
pub mod keys;
pub mod refresher;
pub mod warm;
