//! Bursar, an OAuth 2.0 token broker. ARCHITECTURE.md is the map of the rooms.

pub mod access;
pub mod api;
pub mod app;
pub mod audit;
pub mod bearer;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod config;
pub mod doctor;
pub mod domain;
pub mod egress;
pub mod grpc;
pub mod http1;
pub mod kek;
pub mod limits;
pub mod monitor;
pub mod process;
pub mod provider;
pub mod seal;
pub mod simulator;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod watching;
pub mod web;
