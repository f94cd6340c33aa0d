//! What the operator decides: one TOML file, `BURSAR_…` environment variables over it, secrets by file only.
//! The embedded `default.toml` is reference and schema at once. Reports every mistake together; never prints
//! a secret. The only room that reads files and environment; it starts nothing.

mod audit;
mod build;
mod files;
mod gather;
mod issuers;
mod keys;
mod listening;
mod pem;
mod policy;
mod redis;
mod reference;
mod schema;
mod tracing;
mod value;

pub use self::redis::{Redis, RedisDurability, RedisPem, RedisTls, RedisTopology, RedisWait};
pub use files::{Access, Content, Disk, Files, SecretFile, profile_files};
pub use issuers::{ISSUER_DEFAULT, TokenReview, Tokens, mounted_token};
pub use keys::{Kek, Keys, TransitKek, TransitLogin, Upkeep};
pub use listening::{BearerTokens, Bundles, Certificate, Clients, SocketAccess, Tls, UnixSocket};
pub use pem::{Pem, PemFiles, PemTrouble};
pub use policy::{Policy, PolicyFolder, PolicyText, PolicyTrouble, policy_files};
pub use reference::reference;
pub use tracing::Tracing;

use crate::{domain::token::Secret, telemetry};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

/// Every key with its default, its meaning and its limits.
pub const DEFAULT: &str = include_str!("config/default.toml");

/// There is one replica only.
const DEV_PROPAGATION: Duration = Duration::from_secs(2);

/// The variable by which workloads are told where the SPIFFE Workload API is (SPIFFE Workload Endpoint, section 4).
pub const SPIFFE_ENDPOINT_SOCKET: &str = "SPIFFE_ENDPOINT_SOCKET";

/// What a process runs with. Made by [`Config::load`] or [`Config::dev`], so that all of it was checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `None`: no TCP. Plain text on a loopback address only.
    pub listen: Option<SocketAddr>,
    pub unix: Option<UnixSocket>,
    /// Of `listen`.
    pub tls: Option<Tls>,
    /// `None`: no tokens of callers are taken.
    pub tokens: Option<Tokens>,
    pub policy: Policy,
    /// `None`: made from host name and process id.
    pub replica: Option<String>,
    pub data_dir: PathBuf,
    pub store: Store,
    pub keys: Keys,
    pub providers: Vec<ProviderFile>,
    /// Where they lie.
    pub providers_dir: Option<PathBuf>,
    pub authorization: Authorization,
    pub refresh: Refresh,
    pub egress: Egress,
    pub limits: Limits,
    pub audit: Audit,
    pub process: Process,
    pub monitoring: Monitoring,
    pub log: Log,
    /// `None`: there are no traces.
    pub tracing: Option<Tracing>,
    pub shutdown: Shutdown,
}

#[derive(Debug, Clone)]
pub enum Store {
    Embedded { file: PathBuf },
    Redis(Box<Redis>),
}

/// An operator's provider profile, not parsed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderFile {
    /// The file's name, without its folder.
    pub name: String,
    pub text: String,
}

/// Consents in browsers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authorization {
    /// `None`: no callback.
    pub callback: Option<Callback>,
    pub redirect: RedirectUris,
    pub redirect_uris: Vec<String>,
    pub return_uris: Vec<String>,
    /// For a consent in a browser or a one-time password.
    pub open_for: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    pub listen: SocketAddr,
    pub public_url: Url,
}

/// Which redirect URI providers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedirectUris {
    PerConnection,
    Shared,
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

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Egress {
    pub addresses: Addresses,
    /// Asked for tunnels; scheme, host and port.
    pub proxy: Option<Url>,
}

/// Which addresses may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addresses {
    Public,
    /// Private networks too.
    Private,
    /// This machine only.
    Loopback,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once, over all connections.
    pub concurrent_requests: usize,
    pub waiting_requests: usize,
    pub waiting_requests_per_tenant: usize,
    pub waiting_requests_per_caller: usize,
    pub concurrent_requests_per_caller: usize,
    pub streams_per_caller: usize,
    pub strangers_per_second: u32,
    /// Calls of one caller in a second, by what they cost; 0: no limit.
    pub serve_per_second: u32,
    pub read_per_second: u32,
    pub write_per_second: u32,
    pub exchange_per_second: u32,
    pub burst: Duration,
    pub concurrent_requests_per_connection: u32,
    /// Bytes of a request message.
    pub message_bytes: usize,
    pub request_timeout: Duration,
    pub connection_age: Duration,
    /// At one listener.
    pub connections: usize,
    /// TLS handshakes at once.
    pub handshakes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    pub memory_lock: MemoryLock,
}

/// Whether memory is kept out of swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLock {
    /// Where that is allowed.
    Try,
    /// The process does not start without.
    Required,
    Off,
}

/// Probes and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Monitoring {
    /// `None`: nobody is answered.
    pub listen: Option<SocketAddr>,
    /// How long the store may not answer before the replica is not ready.
    pub outage: Duration,
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

/// What is on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// `None`: in `data_dir`.
    pub dir: Option<PathBuf>,
    pub releases: Releases,
    pub rotate_bytes: u64,
    pub write_timeout: Duration,
    pub second: Option<SecondSink>,
}

/// Which releases have a line of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Releases {
    First,
    Every,
}

/// Where the trail goes besides its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecondSink {
    Stdout,
    SyslogSocket(PathBuf),
    SyslogUdp(SocketAddr),
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
        let keys = settings.keys(files);
        settings.build(keys, files)
    }

    /// For trying things out on one machine: embedded store, loopback only, log lines for people.
    pub fn dev(
        data_dir: PathBuf,
        listen: SocketAddr,
        (callback, monitoring): (SocketAddr, SocketAddr),
        keyset: Secret,
    ) -> Result<Self, ConfigError> {
        let mut settings = gather::Settings::default();
        settings.take_dev(data_dir, listen, callback, monitoring);
        let present = Kek::File { keyset, file: None };
        let upkeep = Upkeep { propagation: DEV_PROPAGATION, ..settings.upkeep() };
        settings.build(Some(Keys { present, previous: None, upkeep }), &Disk)
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

impl Mistake {
    /// What is wrong: key, and file and line or variable.
    pub fn place(&self) -> String {
        let key = &self.key;
        match &self.origin {
            Origin::Default => key.clone(),
            Origin::File { name, line } => format!("{key} ({name}, line {line})"),
            Origin::Environment(variable) if variable == key => key.clone(),
            Origin::Environment(variable) => format!("{key} ({variable})"),
        }
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}\n    mend: {}", self.place(), self.problem, self.mend)
    }
}

#[cfg(test)]
mod tests;
