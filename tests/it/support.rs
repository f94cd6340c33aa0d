//! What several behaviours stand on: real servers and ready-made stores.

pub(crate) mod broker;
pub(crate) mod foreign;
pub(crate) mod redis;
