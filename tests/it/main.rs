//! Behaviour of the whole crate through its public face: one binary, one file a behaviour.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::print_stdout, reason = "measurements, for whoever runs with --nocapture")]

mod canary;
mod command_line;
mod crowd;
mod moving;
mod oidc_provider;
mod promptness;
mod python_client;
mod store_conformance;
mod support;
mod survival;
mod two_replicas;
