//! Where the API listens and who may be recognised there: what the keys of listeners, TLS and identities mean together.

use super::{Config, ConfigError, Files, Mistake, Origin, gather::Settings};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf, time::Duration};

/// Longest path of a Unix socket that every Unix takes, in bytes.
const SOCKET_PATH_MAX: usize = 103;
/// Most DNS names of clients.
const NAMES_MAX: usize = 1024;

/// A Unix socket of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocket {
    pub path: PathBuf,
    pub access: SocketAccess,
}

/// Who may connect to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketAccess {
    Owner,
    Group,
}

/// TLS of the TCP listener, and who is recognised by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    pub certificate: Certificate,
    pub clients: Clients,
    pub bundles: Bundles,
    /// Authorities of the ordinary PKI, for `names`.
    pub ca_file: Option<PathBuf>,
    /// In lower case.
    pub names: BTreeSet<String>,
    /// Address of the SPIFFE Workload API; there if certificate or bundles come from it.
    pub workload_api: Option<String>,
    pub handshake_timeout: Duration,
    /// How often the files are looked at.
    pub reload: Duration,
}

/// Where the server's certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    Files { cert: PathBuf, key: PathBuf },
    WorkloadApi,
}

/// Where the bundles of trust domains come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bundles {
    Nowhere,
    /// A folder with `{trust domain}.pem`.
    Files(PathBuf),
    WorkloadApi,
}

/// Whether every client needs a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clients {
    Required,
    Optional,
}

/// Whether callers may prove who they are by a bearer token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BearerTokens {
    Taken,
    NotTaken,
}

pub(super) const CERT_FILE: &str = "tls.cert_file";
pub(super) const KEY_FILE: &str = "tls.key_file";
pub(super) const BUNDLES_DIR: &str = "identity.spiffe.bundles_dir";
pub(super) const CA_FILE: &str = "identity.dns.ca_file";
const NAMES: &str = "identity.dns.names";
const SOCKET: &str = "identity.spiffe.workload_api";

/// What is wrong with listening there, and how to mend it.
pub(super) fn exposed(
    listen: SocketAddr,
    tls: Option<&Tls>,
    tokens: BearerTokens,
) -> Option<(String, String)> {
    let Some(tls) = tls else {
        return match (listen.ip().is_loopback(), tokens) {
            (true, BearerTokens::NotTaken) => None,
            (true, BearerTokens::Taken) => Some((
                format!("`{listen}` speaks no TLS, and callers' tokens would be read on the way"),
                "set tls.certificate, or listen at unix.path alone with listen = \"\"".to_owned(),
            )),
            (false, _) => Some((
                format!("`{listen}` can be reached from other machines, and speaks no TLS"),
                "set tls.certificate and who is recognised (identity.spiffe, identity.dns), or write a loopback address \
                 like \"127.0.0.1:7600\""
                    .to_owned(),
            )),
        };
    };
    if listen.ip().is_loopback() || tls.clients == Clients::Required || tokens == BearerTokens::Taken {
        return None;
    }
    Some((
        format!("`{listen}` can be reached from other machines, and lets callers in who prove nothing"),
        "set tls.clients = \"required\", or configure an issuer of tokens".to_owned(),
    ))
}

impl Config {
    /// Listens at another address instead, if that is allowed too.
    pub fn listen_at(&mut self, listen: SocketAddr) -> Result<(), ConfigError> {
        if let Some((problem, mend)) = exposed(listen, self.tls.as_ref(), self.bearer_tokens()) {
            let mistake = Mistake { key: "--listen".to_owned(), origin: Origin::Default, problem, mend };
            return Err(ConfigError { mistakes: vec![mistake] });
        }
        self.listen = Some(listen);
        Ok(())
    }

    /// Whether an issuer is configured.
    pub fn bearer_tokens(&self) -> BearerTokens {
        if self.tokens.is_some() { BearerTokens::Taken } else { BearerTokens::NotTaken }
    }
}

impl Settings {
    /// Everything about listeners; `None` only where a mistake was written down, or where there is no such thing.
    pub(super) fn listening(
        &mut self,
        tokens: BearerTokens,
        files: &dyn Files,
    ) -> (Option<SocketAddr>, Option<UnixSocket>, Option<Tls>) {
        let (listen, unix) = (self.optional("listen"), self.unix());
        if listen.is_none() && unix.is_none() && self.sound(&["listen", "unix.path"]) {
            let mend = "write an address like \"127.0.0.1:7600\", or set unix.path";
            self.object("listen", "is empty, and there is no `unix.path`: nobody could call", mend);
        }
        let before = self.mistakes.len();
        let tls = self.tls(tokens);
        if self.mistakes.len() > before || !self.sound(&["listen", "tls.certificate", "tls.clients"]) {
            return (listen, unix, None);
        }
        if let Some(tls) = &tls
            && let Err(trouble) = tls.read(files)
        {
            // A folder has many files; a path that is a value is not repeated.
            let name = trouble.path.file_name().filter(
                |_| matches!(&tls.bundles, Bundles::Files(at) if Some(at.as_path()) == trouble.path.parent()),
            );
            let problem = match name {
                Some(name) => format!("`{}`: {}", name.to_string_lossy().escape_debug(), trouble.problem),
                None => trouble.problem,
            };
            self.object(trouble.key, problem, trouble.mend);
        }
        if let Some((problem, mend)) = listen.and_then(|listen| exposed(listen, tls.as_ref(), tokens)) {
            self.object("listen", problem, mend);
        }
        (listen, unix, tls)
    }

    fn unix(&mut self) -> Option<UnixSocket> {
        let path: PathBuf = self.optional("unix.path")?;
        if path.as_os_str().len() > SOCKET_PATH_MAX {
            let problem = format!("is longer than {SOCKET_PATH_MAX} bytes, which a socket's path may not be");
            self.object("unix.path", problem, "choose a folder with a shorter path");
        }
        let access = match self.choice("unix.access").as_str() {
            "group" => SocketAccess::Group,
            _ => SocketAccess::Owner,
        };
        Some(UnixSocket { path, access })
    }

    fn tls(&mut self, tokens: BearerTokens) -> Option<Tls> {
        let certificate = match self.choice("tls.certificate").as_str() {
            "files" => self.certificate_files(),
            "workload_api" => Some(Certificate::WorkloadApi),
            _ => {
                self.without_tls();
                return None;
            }
        };
        if certificate == Some(Certificate::WorkloadApi) {
            for key in [CERT_FILE, KEY_FILE] {
                self.without_effect(key, "tls.certificate", "workload_api", "files");
            }
        }
        if self.sound(&["listen"]) && self.optional::<SocketAddr>("listen").is_none() {
            self.object("tls.certificate", "has no effect: `listen` is empty", "set listen, or remove it");
        }
        let bundles = self.bundles();
        let (ca_file, names) = self.dns();
        let workload_api = self.workload_api(certificate.as_ref(), &bundles);
        let clients = match self.choice("tls.clients").as_str() {
            "optional" => Clients::Optional,
            _ => Clients::Required,
        };
        let nobody = bundles == Bundles::Nowhere && ca_file.is_none();
        if nobody && self.sound(&["identity.spiffe.bundles", CA_FILE]) {
            match (clients, tokens) {
                (Clients::Optional, BearerTokens::Taken) => {}
                (Clients::Required, _) | (Clients::Optional, BearerTokens::NotTaken) => self.object(
                    "tls.clients",
                    "nobody would be recognised: there are no authorities for clients",
                    "set identity.spiffe.bundles, or identity.dns.ca_file and identity.dns.names; with an issuer of \
                     tokens, tls.clients = \"optional\" is enough",
                ),
            }
        }
        Some(Tls {
            certificate: certificate?,
            clients,
            bundles,
            ca_file,
            names,
            workload_api,
            handshake_timeout: self.get("tls.handshake_timeout"),
            reload: self.get("tls.reload"),
        })
    }

    /// Keys of TLS and of what is recognised by it mean nothing without it.
    fn without_tls(&mut self) {
        let inside = ["tls", "identity.spiffe", "identity.dns"];
        let changed: Vec<_> = inside.iter().flat_map(|section| self.changed_in(section)).collect();
        for key in changed.into_iter().filter(|key| *key != "tls.certificate") {
            // A variable that other programs have too.
            if self.origin(key) != Origin::Environment(super::SPIFFE_ENDPOINT_SOCKET.to_owned()) {
                self.without_effect(key, "tls.certificate", "none", "files");
            }
        }
    }

    fn certificate_files(&mut self) -> Option<Certificate> {
        let [cert, key] = [CERT_FILE, KEY_FILE].map(|name| {
            let path = self.optional::<PathBuf>(name);
            if path.is_none() && self.sound(&[name]) {
                let mend = format!("set {name}, or tls.certificate = \"workload_api\"");
                self.object(name, "is required when `tls.certificate` is \"files\"", mend);
            }
            path
        });
        Some(Certificate::Files { cert: cert?, key: key? })
    }

    fn bundles(&mut self) -> Bundles {
        let kind = self.choice("identity.spiffe.bundles");
        let folder: Option<PathBuf> = self.optional(BUNDLES_DIR);
        if kind != "files" {
            self.without_effect(BUNDLES_DIR, "identity.spiffe.bundles", &kind, "files");
        }
        match (kind.as_str(), folder) {
            ("files", Some(folder)) => Bundles::Files(folder),
            ("files", None) => {
                if self.sound(&[BUNDLES_DIR]) {
                    let mend = "name the folder with a file for each trust domain, like `example.org.pem`";
                    self.object(BUNDLES_DIR, "is required when `identity.spiffe.bundles` is \"files\"", mend);
                }
                Bundles::Nowhere
            }
            ("workload_api", _) => Bundles::WorkloadApi,
            _ => Bundles::Nowhere,
        }
    }

    /// Authorities and names belong together: neither is of use without the other.
    fn dns(&mut self) -> (Option<PathBuf>, BTreeSet<String>) {
        let ca_file: Option<PathBuf> = self.optional(CA_FILE);
        let names: BTreeSet<String> =
            self.words(NAMES).into_iter().map(|name| name.to_ascii_lowercase()).collect();
        if self.sound(&[CA_FILE, NAMES]) {
            match (&ca_file, names.len()) {
                (Some(_), 0) => {
                    let mend = "list the names that clients are known by: an authority alone lets nobody in";
                    self.object(CA_FILE, format!("is set without `{NAMES}`"), mend);
                }
                (None, 1..) => {
                    let mend = "name the file with the authorities that issue their certificates";
                    self.object(NAMES, format!("is set without `{CA_FILE}`"), mend);
                }
                (_, count) if count > NAMES_MAX => {
                    let mend = "give workloads SPIFFE IDs, of which there may be any number";
                    self.object(NAMES, format!("has more than {NAMES_MAX} names"), mend);
                }
                _ => {}
            }
        }
        (ca_file, names)
    }

    fn workload_api(&mut self, certificate: Option<&Certificate>, bundles: &Bundles) -> Option<String> {
        let address: Option<String> = self.optional(SOCKET);
        let needed = certificate == Some(&Certificate::WorkloadApi) || *bundles == Bundles::WorkloadApi;
        let path = |address: &str| {
            let path = address.strip_prefix("unix://").or_else(|| address.strip_prefix("unix:"))?;
            path.starts_with('/').then(|| path.to_owned())
        };
        match address {
            Some(address) if needed && path(&address).is_none() => {
                let mend = "write \"unix:///PATH\" with the path of the agent's socket";
                self.object(SOCKET, "is not the address of a Unix socket", mend);
                None
            }
            Some(address) if needed => path(&address).map(|path| format!("unix://{path}")),
            None if needed && self.sound(&[SOCKET]) => {
                let mend = "write \"unix:///PATH\" with the path of the agent's socket, or set SPIFFE_ENDPOINT_SOCKET";
                self.object(SOCKET, "is required for what comes from the Workload API", mend);
                None
            }
            Some(_) | None => None,
        }
    }

    fn without_effect(&mut self, key: &'static str, because: &str, is: &str, other: &str) {
        if self.changed(key) {
            let problem = format!("has no effect: `{because}` is \"{is}\"");
            self.object(key, problem, format!("remove it, or set {because} = \"{other}\""));
        }
    }
}
