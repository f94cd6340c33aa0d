//! Puts the parts together and runs them. Nothing is put together yet: each entry says so.

use crate::domain::token::Secret;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

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

/// How to run a broker for trying things out, with a simulated provider.
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

#[expect(clippy::unused_async, reason = "serving is asynchronous")]
pub async fn serve(_config: &ServeOptions) -> anyhow::Result<()> {
    anyhow::bail!("the server is not part of this build")
}

#[expect(clippy::unused_async, reason = "serving is asynchronous")]
pub async fn dev(_options: DevOptions) -> anyhow::Result<()> {
    anyhow::bail!("the server is not part of this build")
}

#[expect(clippy::unused_async, reason = "serving is asynchronous")]
pub async fn simulate(_options: SimulateOptions) -> anyhow::Result<()> {
    anyhow::bail!("the simulator is not part of this build")
}

pub fn generate_keyset() -> anyhow::Result<Secret> {
    anyhow::bail!("making keys is not part of this build")
}
