//! Authorization servers to develop and test against: SAP Concur and a plain RFC 6749 server, on loopback only.
//! Everything in here is fake and lives in plain strings; even so nothing secret is logged or put in the journal.
//! It never talks to anybody, never imports another room but the clock, and is no part of serving real tokens.
//!
//! What an authorization server decides is a pure function of its world, the time and a request (`world::answer`);
//! sockets, the control endpoint and the state file are written once, in `host`, for both servers.

pub mod concur;
pub mod consent;
pub mod fault;
pub mod journal;
pub mod oauth;
pub mod refresh_tokens;

mod control;
mod dice;
mod exchange;
mod host;
mod line;
mod pkce;
mod signing;
mod state_file;
mod tickets;
mod world;

pub use host::{SHUTDOWN_MAX, Simulator};
pub use world::SEEDED_MAX;

use std::{io, path::PathBuf};

/// Why a simulator does not run or does not follow an order.
#[derive(Debug, thiserror::Error)]
pub enum SimulatorError {
    /// A loopback port was taken. Choose another, or 0 for any.
    #[error("could not listen on 127.0.0.1:{port}")]
    Listen { port: u16, source: io::Error },
    /// The state file was unreadable or unwritable. Check its folder and permissions.
    #[error("could not read or write the state file {path}")]
    StateFile { path: PathBuf, source: io::Error },
    /// The state file is not one of ours, or of another version. Delete it to start afresh.
    #[error("the state file does not hold a simulator's state")]
    StateFormat(#[source] serde_json::Error),
    /// The cryptographic library refused to make or use a signing key.
    #[error("signing failed")]
    Signing,
    /// The order names something that does not exist here.
    #[error("no such {kind}: {name}")]
    Unknown { kind: &'static str, name: String },
    /// The order contradicts itself or exceeds a bound.
    #[error("invalid order: {0}")]
    Invalid(String),
}

impl SimulatorError {
    fn unknown(kind: &'static str, name: &str) -> Self {
        Self::Unknown { kind, name: name.to_owned() }
    }
}

/// Whether an optional member of a response is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    Sent,
    LeftOut,
}

/// Lays `patch` over `settings`: members that the patch names change, all others stay (RFC 7396).
fn patched<T>(settings: &T, patch: &serde_json::Value) -> Result<T, SimulatorError>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let invalid = |error: serde_json::Error| SimulatorError::Invalid(error.to_string());
    let mut merged = serde_json::to_value(settings).map_err(invalid)?;
    merge(&mut merged, patch);
    serde_json::from_value(merged).map_err(invalid)
}

fn merge(target: &mut serde_json::Value, patch: &serde_json::Value) {
    use serde_json::Value;
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (name, value) in patch {
                match value {
                    Value::Null => {
                        target.remove(name);
                    }
                    // A tagged choice is replaced whole: two tags side by side would mean nothing.
                    Value::Object(_) if name_is_settings(name) => {
                        merge(target.entry(name.clone()).or_insert(Value::Null), value);
                    }
                    other => {
                        target.insert(name.clone(), other.clone());
                    }
                }
            }
        }
        (target, patch) => *target = patch.clone(),
    }
}

/// The members of a behaviour that are themselves settings; any other object is one of a choice.
fn name_is_settings(name: &str) -> bool {
    matches!(name, "refresh" | "statuses" | "authorize" | "otp" | "device" | "dpop")
}
