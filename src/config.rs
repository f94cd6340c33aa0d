//! What the operator decides: one TOML file, `BURSAR_…` environment variables over it, secrets by file only.
//! The embedded `default.toml` is reference and schema at once. Reports every mistake together; never prints
//! a secret. The only room that reads files and environment; it starts nothing.

mod build;
mod files;
mod gather;
mod reference;
mod schema;
mod value;

pub use files::{Access, Content, Disk, Files};
pub use reference::reference;

use crate::{
    domain::{names::Id, token::Secret},
    telemetry,
};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

/// Every key with its default, its meaning and its limits.
pub const DEFAULT: &str = include_str!("config/default.toml");

/// What a process runs with. Made by [`Config::load`] or [`Config::dev`], so that all of it was checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// A loopback address.
    pub listen: SocketAddr,
    /// `None`: made from host name and process id.
    pub replica: Option<String>,
    pub data_dir: PathBuf,
    pub store: Store,
    pub keys: Keys,
    pub providers: Vec<ProviderFile>,
    pub refresh: Refresh,
    pub egress: Egress,
    pub limits: Limits,
    pub log: Log,
    pub shutdown: Shutdown,
}

#[derive(Debug, Clone)]
pub enum Store {
    Embedded { file: PathBuf },
    Redis(Redis),
}

#[derive(Debug, Clone)]
pub struct Redis {
    /// `redis://host[:port][/database]`, without user and password.
    pub url: Url,
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub namespace: Id,
    /// 1 to 64.
    pub shards: u16,
}

#[derive(Debug, Clone)]
pub struct Keys {
    /// The text of the keyset file.
    pub keyset: Secret,
}

/// An operator's provider profile, not parsed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFile {
    /// The file's name, without its folder.
    pub name: String,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    pub scheduling: Scheduling,
    /// Exchanges at once.
    pub concurrency: usize,
    pub tick: Duration,
    /// How much longer than its exchange's deadline a claim's lease lasts.
    pub lease_extra: Duration,
}

/// Whether this replica renews what nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheduling {
    On,
    /// It serves, and renews what a caller waits for.
    Off,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Egress {
    pub addresses: Addresses,
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    Public,
    /// This machine only.
    Loopback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once, over all connections.
    pub concurrent_requests: usize,
    pub concurrent_requests_per_connection: u32,
    /// Bytes of a request message.
    pub message_bytes: usize,
    pub request_timeout: Duration,
    pub connection_age: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub format: telemetry::Format,
    pub filter: telemetry::Filter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shutdown {
    pub grace: Duration,
}

/// Everything that is wrong, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Never empty.
    pub mistakes: Vec<Mistake>,
}

/// One thing that is wrong, and how to mend it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key as it stands in the file, or the variable or file that is not a key at all.
    pub key: String,
    pub origin: Origin,
    pub problem: String,
    pub mend: String,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File {
        name: String,
        /// From 1.
        line: usize,
    },
    /// The variable's name.
    Environment(String),
}

impl Config {
    /// Reads the machine: the file at `path`, if one is given, and the process's environment.
    /// `elsewhere` lists the `BURSAR_` variables that belong to the command line.
    pub fn read(path: Option<&Path>, elsewhere: &[&str]) -> Result<Self, ConfigError> {
        let text = path.map(|path| files::config_file(&Disk, path)).transpose()?;
        let file = text.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let env = std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
        Self::load(file, env, elsewhere, &Disk)
    }

    /// Decides from plain data: the file's name and text, the environment, and what other files hold.
    pub fn load(
        file: Option<(&str, &str)>,
        env: impl IntoIterator<Item = (String, String)>,
        elsewhere: &[&str],
        files: &dyn Files,
    ) -> Result<Self, ConfigError> {
        let mut settings = gather::Settings::default();
        if let Some((name, text)) = file {
            settings.take_file(name, text);
        }
        settings.take_env(env, elsewhere);
        let keyset = settings.keyset(files);
        settings.build(keyset, files)
    }

    /// For trying things out on one machine: embedded store, loopback only, log lines for people.
    pub fn dev(data_dir: PathBuf, listen: SocketAddr, keyset: Secret) -> Result<Self, ConfigError> {
        let mut settings = gather::Settings::default();
        settings.take_dev(data_dir, listen);
        settings.build(Some(keyset), &Disk)
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.mistakes.len();
        write!(f, "configuration has {count} mistake{}:", if count == 1 { "" } else { "s" })?;
        self.mistakes.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        match &self.origin {
            Origin::Default => {}
            Origin::File { name, line } => write!(f, " ({name}, line {line})")?,
            Origin::Environment(variable) if *variable == self.key => {}
            Origin::Environment(variable) => write!(f, " ({variable})")?,
        }
        write!(f, ": {}\n    mend: {}", self.problem, self.mend)
    }
}

#[cfg(test)]
mod tests;
