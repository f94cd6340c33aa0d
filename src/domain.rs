//! The nouns, and the rules that need no I/O: a rule takes the record and the time, and says what follows.

pub mod attempt;
pub mod client;
pub mod connection;
pub mod failure;
pub mod labels;
pub mod lifecycle;
pub mod names;
pub mod operator;
pub mod pauses;
pub mod profile;
#[cfg(test)]
pub(crate) mod samples;
pub mod token;
pub mod words;
