//! Behaviour of the whole crate through its public face: one binary, one file a behaviour.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]
#![expect(clippy::print_stdout, reason = "measurements, for whoever runs with --nocapture")]

mod among_replicas;
mod attacker;
mod audit;
mod by_token;
mod canary;
mod closed_process;
mod command_line;
mod concur_codes;
mod concur_consent;
mod connect_page;
mod container;
mod crowd;
mod doctor;
mod every_method;
mod keys;
mod matrix;
mod metrics;
mod monitoring;
mod moving;
mod oidc_provider;
mod one_time_password;
mod pages;
mod policies;
mod promptness;
mod python_client;
mod secret_rotation;
mod secured_redis;
mod simulated;
mod simulators;
mod store_conformance;
mod support;
mod survival;
mod traces;
mod who_calls;
