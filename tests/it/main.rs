//! Behaviour of the whole crate through its public face: one binary, one file a behaviour.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod oidc_provider;
mod python_client;
mod store_conformance;
mod support;
