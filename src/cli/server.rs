//! `bursar serve`, `dev` and `simulate`: flags into the options of `app`, nothing else.

use super::{failure::Failure, times::parse_span};
use crate::app::{self, DevOptions, ServeMode, ServeOptions, SimulateOptions, SimulatorKind};
use clap::{Args, Subcommand};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to listen on, instead of the configured one
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Check the configuration and end
    #[arg(long)]
    check: bool,
    /// Print the configuration with all defaults and end
    #[arg(long, conflicts_with_all = ["check", "config", "listen"])]
    print_default_config: bool,
}

#[derive(Debug, Args)]
pub(super) struct DevArgs {
    /// Address to listen on
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7600")]
    listen: SocketAddr,
    /// Where keys and data are kept
    #[arg(long, value_name = "DIR", default_value = ".bursar")]
    data_dir: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum SimulateCommand {
    /// Simulate SAP Concur
    Concur(SimulateArgs),
    /// Simulate a plain OAuth 2.0 authorization server
    #[command(name = "oauth")]
    OAuth(SimulateArgs),
}

#[derive(Debug, Args)]
pub(super) struct SimulateArgs {
    /// A port on the loopback, repeatable: of each data center in order; any free ones for the rest
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<u16>,
    /// Port on the loopback where it can be told how to behave; 0 is any free one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    control_port: u16,
    /// Lifetime of access tokens, for example 60s; the default is that of the real provider
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    lifetime: Option<Duration>,
    /// File to keep the state in over restarts
    #[arg(long, value_name = "FILE")]
    state_file: Option<PathBuf>,
}

impl ServeArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        app::serve(&self.options()).await.map_err(Failure::Local)
    }

    fn options(self) -> ServeOptions {
        let mode = match (self.check, self.print_default_config) {
            (_, true) => ServeMode::PrintDefaultConfig,
            (true, false) => ServeMode::Check,
            (false, false) => ServeMode::Run,
        };
        ServeOptions { config: self.config, listen: self.listen, mode }
    }
}

impl DevArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let options = DevOptions { listen: self.listen, data_dir: self.data_dir };
        app::dev(options).await.map_err(Failure::Local)
    }
}

impl SimulateCommand {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let options = match self {
            Self::Concur(args) => args.options(SimulatorKind::Concur),
            Self::OAuth(args) => args.options(SimulatorKind::OAuth),
        };
        app::simulate(options).await.map_err(Failure::Local)
    }
}

impl SimulateArgs {
    fn options(self, kind: SimulatorKind) -> SimulateOptions {
        SimulateOptions {
            kind,
            ports: self.ports,
            control_port: self.control_port,
            lifetime: self.lifetime,
            state_file: self.state_file,
        }
    }
}
