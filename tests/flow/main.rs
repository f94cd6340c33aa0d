//! The paths of a token through a whole broker, under paused time: what is counted is counted exactly.
//!
//! A new test takes a `Rig`, says what the server does, lets time pass, and counts the server's tries and answers.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod admin;
mod asking;
mod authorizing;
mod bound;
mod clients;
mod consenting;
mod days;
mod grants;
mod hostile;
mod keys;
mod on_record;
mod replicas;
mod rig;
mod rights;
mod rotating;
mod seats;
mod served;
mod server;
mod sharing;
mod store_faults;
mod strangers;
mod suspicion;
mod way;
