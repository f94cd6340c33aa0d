//! What several behaviours stand on: real servers and ready-made stores.

pub(crate) mod redis;
