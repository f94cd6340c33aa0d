//! The nouns, and the rules that need no I/O: a rule takes the record and the time, and says what follows.

pub mod asking;
pub mod attempt;
pub mod audit;
pub mod authorization;
pub mod client;
pub mod connection;
pub mod credential;
mod doubt;
pub mod failure;
pub mod finding;
pub mod host_port;
pub mod issuer;
pub mod kek_log;
pub mod labels;
pub mod lifecycle;
pub mod names;
pub mod operator;
pub mod pauses;
pub mod profile;
pub mod rotation;
#[cfg(test)]
pub(crate) mod samples;
pub mod spiffe;
pub mod strict;
pub mod token;
pub mod validity;
pub mod walk;
pub mod words;
