//! Puts the parts together and runs them: the broker, the broker with simulated providers, a simulator alone.
//! The only room that knows all others.

mod callers;
mod collector;
mod dev;
mod doctor;
mod doors;
pub mod house;
mod keks;
mod keyset;
mod lint;
mod monitoring;
mod opening;
mod policies;
mod redis;
mod serve;
mod simulate;
mod trail;
mod upkeep;
mod waiting;
mod worded;

pub use dev::dev;
pub use doctor::{Deployment, Listens, WhichProviders};
pub use lint::{Finding, lint, profiles_in};
pub use policies::{PoliciesChecked, check_policies};
pub use serve::serve;
pub use simulate::simulate;
pub use trail::audit_key_of as audit_key;

use crate::{domain::token::Secret, seal::FileKeyset};
use anyhow::Context;
use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How to run the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeOptions {
    /// The configuration file; none: the defaults and the environment.
    pub config: Option<PathBuf>,
    /// Overrides the address in the configuration.
    pub listen: Option<SocketAddr>,
    pub mode: ServeMode,
}

/// What `serve` is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServeMode {
    Run,
    /// Check the configuration and end.
    Check,
    /// Print the configuration with every default and end.
    PrintDefaultConfig,
}

/// How to run a broker for trying things out, with simulated providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevOptions {
    pub listen: SocketAddr,
    pub data_dir: PathBuf,
}

/// How to run a simulated provider alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulateOptions {
    pub kind: SimulatorKind,
    /// Ports on the loopback: of SAP Concur's data centers in order, of the plain server one.
    /// 0, and those that are missing: any free port.
    pub ports: Vec<u16>,
    /// Where it can be told how to behave; 0 is any free port.
    pub control_port: u16,
    /// Of access tokens; none: as at the real provider.
    pub lifetime: Option<Duration>,
    /// Keeps the state over restarts.
    pub state_file: Option<PathBuf>,
}

/// Which provider to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimulatorKind {
    Concur,
    OAuth,
}

/// A new key-encryption keyset, as text for a file.
pub fn generate_keyset() -> anyhow::Result<Secret> {
    Ok(FileKeyset::generate().to_text())
}

/// One key of a keyset, without what is secret.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeysetKey {
    pub version: u32,
    /// `primary` or `decrypt-only`.
    pub role: &'static str,
    pub id: String,
}

/// The same keyset with a new key that wraps.
pub fn rotated_keyset(keyset: &Secret) -> anyhow::Result<Secret> {
    Ok(FileKeyset::parse(keyset.expose())?.rotated()?.to_text())
}

/// The same keyset without one of the keys that only unwrap.
pub fn keyset_without(keyset: &Secret, version: u32) -> anyhow::Result<Secret> {
    Ok(FileKeyset::parse(keyset.expose())?.without(version)?.to_text())
}

/// The keys of a keyset, oldest first.
pub fn keyset_keys(keyset: &Secret) -> anyhow::Result<Vec<KeysetKey>> {
    let keyset = FileKeyset::parse(keyset.expose())?;
    Ok(keyset.keys().map(|(version, role, id)| KeysetKey { version, role, id: id.to_string() }).collect())
}

/// A line on standard output, for people and for scripts that wait for `ready`. A reader that went away is no
/// reason to stop serving.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end_matches('\n')).and_then(|()| out.flush());
}

/// Cancelled by SIGTERM or SIGINT; a second signal ends the process at once.
fn stopped() -> anyhow::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be listened for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be listened for")?;
    let cancel = token.clone();
    #[expect(clippy::disallowed_methods, reason = "lives as long as the process: nothing waits for it")]
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; a second signal stops at once");
        cancel.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(1);
    });
    Ok(token)
}
