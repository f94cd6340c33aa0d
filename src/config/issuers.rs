//! Whose tokens are taken: the folder of issuers, read at the start and again and again while the process runs, and the
//! cluster that is asked about them.

use super::{
    ConfigError, Files, Mistake, Origin,
    files::{self, Mounted, SecretFile},
    gather::Settings,
    schema::ISSUER,
};
use crate::domain::{
    issuer::{Algorithm, Binding, Issuer, KeyAddress, KeyServer, KeySource, Route, TokenType},
    names::Id,
    profile::{HostPattern, secure},
};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    time::Duration,
};
use url::Url;

/// Every key of an issuer's file, with its default, its meaning and its limits.
pub const ISSUER_DEFAULT: &str = include_str!("issuer.toml");

/// Most issuers.
const ISSUERS_MAX: usize = 64;
/// Largest file of one, in bytes.
const ISSUER_BYTES_MAX: usize = 64 * 1024;
/// Largest key set in a file, in bytes.
const JWKS_BYTES_MAX: usize = 256 * 1024;
const ENDING: &str = "toml";
const DIR: &str = "identity.tokens.issuers_dir";

/// Whose tokens are taken.
#[derive(Debug, Clone)]
pub struct Tokens {
    pub issuers_dir: PathBuf,
    /// How often the files are looked at.
    pub reload: Duration,
    /// As they were when the configuration was read.
    pub issuers: Vec<Issuer>,
    pub review: Option<TokenReview>,
}

/// Who is asked whether a token is still accepted.
#[derive(Debug, Clone)]
pub struct TokenReview {
    pub address: Url,
    pub issuers: BTreeSet<Id>,
    /// PEM.
    pub ca: Option<String>,
    pub token: SecretFile,
    pub timeout: Duration,
    pub remember: Duration,
}

/// A file whose token Kubernetes mounts and replaces.
pub fn mounted_token(path: &Path) -> SecretFile {
    SecretFile { path: path.to_owned(), mounted: Mounted::ByKubernetes }
}

impl Tokens {
    /// Reads what is there now.
    pub fn read(&self, files: &dyn Files) -> Result<Vec<Issuer>, ConfigError> {
        issuers(files, &self.issuers_dir)
    }
}

fn issuers(files: &dyn Files, folder: &Path) -> Result<Vec<Issuer>, ConfigError> {
    let alone = |problem: String, mend: String| {
        let mistake = Mistake { key: DIR.to_owned(), origin: Origin::Default, problem, mend };
        ConfigError { mistakes: vec![mistake] }
    };
    let names = files::named(files, folder, ENDING, ISSUERS_MAX);
    let names = names.map_err(|(problem, mend)| alone(problem, mend))?;
    if names.is_empty() {
        let mend = "write a file for each issuer there, like `cluster.toml`".to_owned();
        return Err(alone("has no issuer".to_owned(), mend));
    }
    let (mut read, mut mistakes): (Vec<Issuer>, _) = (Vec::new(), Vec::new());
    for name in names {
        match issuer(files, folder, &name) {
            Ok(issuer) if read.iter().any(|other| other.issuer == issuer.issuer) => mistakes.push(Mistake {
                key: "issuer".to_owned(),
                origin: Origin::File { name, line: 1 },
                problem: "is that of another file too".to_owned(),
                mend: "keep one file for each issuer, with all of its audiences".to_owned(),
            }),
            Ok(issuer) => read.push(issuer),
            Err(error) => mistakes.extend(error.mistakes),
        }
    }
    if mistakes.is_empty() { Ok(read) } else { Err(ConfigError { mistakes }) }
}

fn issuer(files: &dyn Files, folder: &Path, file: &str) -> Result<Issuer, ConfigError> {
    let wrong = |problem: String, mend: String| {
        let mistake = Mistake {
            key: DIR.to_owned(),
            origin: Origin::File { name: file.to_owned(), line: 1 },
            problem,
            mend,
        };
        ConfigError { mistakes: vec![mistake] }
    };
    let stem = file.strip_suffix(ENDING).and_then(|name| name.strip_suffix('.')).unwrap_or(file);
    let name: Id = stem.parse().map_err(|_| {
        let mend = "name it like `cluster.toml`: 1 to 63 of a-z, 0-9 and -, with no - at the ends";
        wrong("is not named after a label".to_owned(), mend.to_owned())
    })?;
    let text = files::text(files, &folder.join(file), ISSUER_BYTES_MAX);
    let text = text.map_err(|(problem, mend)| wrong(problem, mend))?;
    let mut settings = Settings::of(&ISSUER);
    settings.take_file(file, &text);
    let read = settings.issuer(name, files);
    match read.filter(|_| settings.mistakes.is_empty()) {
        Some(issuer) => Ok(issuer),
        None => Err(ConfigError { mistakes: settings.at_the_top_of(file) }),
    }
}

impl Settings {
    /// `None` where there is no folder, or a mistake was written down.
    pub(super) fn tokens(&mut self, files: &dyn Files) -> Option<Tokens> {
        let Some(issuers_dir) = self.optional::<PathBuf>(DIR) else {
            for section in ["identity.tokens", "identity.token_review"] {
                for key in self.changed_in(section).into_iter().filter(|key| *key != DIR) {
                    let mend = format!("remove it, or set {DIR}");
                    self.object(key, format!("has no effect: `{DIR}` is empty"), mend);
                }
            }
            return None;
        };
        let issuers = match issuers(files, &issuers_dir) {
            Ok(issuers) => issuers,
            Err(error) => {
                self.mistakes.extend(error.mistakes);
                return None;
            }
        };
        let before = self.mistakes.len();
        let review = self.review(&issuers, files);
        let tokens = Tokens { issuers_dir, reload: self.get("identity.tokens.reload"), issuers, review };
        (self.mistakes.len() == before).then_some(tokens)
    }

    fn review(&mut self, known: &[Issuer], files: &dyn Files) -> Option<TokenReview> {
        let [address, issuers, ca_file] =
            ["address", "issuers", "ca_file"].map(|key| format!("identity.token_review.{key}"));
        let Some(at) = self.optional::<Url>(&address) else {
            if self.sound(&[&address]) {
                for key in self.changed_in("identity.token_review") {
                    let mend = format!("remove it, or set {address}");
                    self.object(key, format!("has no effect: `{address}` is empty"), mend);
                }
            }
            return None;
        };
        let words = self.words(&issuers);
        let there: BTreeSet<_> = known
            .iter()
            .map(|issuer| issuer.name.clone())
            .filter(|name| words.iter().any(|word| word == name.as_str()))
            .collect();
        if self.sound(&[&issuers])
            && (words.is_empty() || there.len() != words.iter().collect::<BTreeSet<_>>().len())
        {
            let names: Vec<_> = known.iter().map(|issuer| issuer.name.as_str()).collect();
            let problem = if words.is_empty() {
                "is required with an address"
            } else {
                "names an issuer that has no file"
            };
            self.object(
                &issuers,
                problem,
                format!("name the cluster's own issuer; there are: {}", names.join(", ")),
            );
        }
        let ca = self.authorities(&ca_file, files);
        let path: PathBuf = self.get("identity.token_review.token_file");
        self.readable("identity.token_review.token_file", &path, files);
        Some(TokenReview {
            address: at,
            issuers: there,
            ca,
            token: mounted_token(&path),
            timeout: self.get("identity.token_review.timeout"),
            remember: self.get("identity.token_review.remember"),
        })
    }

    /// Of a file of its own.
    fn issuer(&mut self, name: Id, files: &dyn Files) -> Option<Issuer> {
        let issuer = self.optional::<String>("issuer");
        let audiences: BTreeSet<String> = self.words("audiences").into_iter().collect();
        if issuer.is_none() {
            self.missing("issuer", "write what tokens say in `iss`");
        }
        if audiences.is_empty() {
            self.missing("audiences", "write what tokens for this broker say in `aud`");
        }
        let keys = self.key_source(issuer.as_deref(), files);
        let algorithms = self.algorithms();
        Some(Issuer {
            name,
            issuer: issuer?,
            audiences,
            algorithms,
            keys: keys?,
            leeway: self.get("leeway"),
            max_lifetime: self.get("max_lifetime"),
            token_type: match self.choice("token_type").as_str() {
                "access_token" => TokenType::AccessToken,
                _ => TokenType::Jwt,
            },
            subject_prefix: self.optional("subject_prefix").unwrap_or_default(),
            groups_claim: self.optional("groups_claim"),
            binding: match self.choice("certificate_binding").as_str() {
                "always" => Binding::Required,
                _ => Binding::IfPresent,
            },
        })
    }

    fn missing(&mut self, key: &str, mend: &str) {
        if self.sound(&[key]) {
            self.object(key, "is required and not set", mend);
        }
    }

    fn algorithms(&mut self) -> BTreeSet<Algorithm> {
        let mut algorithms = BTreeSet::new();
        for word in self.words("algorithms") {
            if let Ok(algorithm) = word.parse() {
                algorithms.insert(algorithm);
                continue;
            }
            let problem = if word == "none" || word.starts_with("HS") {
                "has one with which anybody could make tokens"
            } else {
                "has a word that is no algorithm"
            };
            let all = Algorithm::ALL.map(Algorithm::word).join(", ");
            self.object("algorithms", problem, format!("write some of {all}"));
            return algorithms;
        }
        if algorithms.is_empty() {
            self.missing("algorithms", "write what the issuer signs with, as \"RS256\"");
        }
        algorithms
    }

    fn key_source(&mut self, issuer: Option<&str>, files: &dyn Files) -> Option<KeySource> {
        if !self.sound(&["keys"]) {
            return None;
        }
        let kind = self.choice("keys");
        for (key, of) in [("jwks_uri", "address"), ("jwks_file", "file"), ("jwks_hosts", "discovery")] {
            if of != kind
                && self.optional::<String>(key).is_some()
                    | self.optional::<PathBuf>(key).is_some()
                    | self.optional::<Url>(key).is_some()
            {
                self.object(
                    key,
                    format!("has no effect: `keys` is \"{kind}\""),
                    format!("remove it, or set keys = \"{of}\""),
                );
            }
        }
        let at = match kind.as_str() {
            "file" => {
                let Some(path) = self.optional::<PathBuf>("jwks_file") else {
                    self.missing("jwks_file", "write the path of a file with a JWK set");
                    return None;
                };
                return match files::text(files, &path, JWKS_BYTES_MAX) {
                    Ok(text) => Some(KeySource::Text(text)),
                    Err((problem, mend)) => {
                        self.object("jwks_file", problem, mend);
                        None
                    }
                };
            }
            "address" => {
                let Some(url) = self.optional("jwks_uri") else {
                    self.missing("jwks_uri", "write the address of the issuer's JWK set");
                    return None;
                };
                KeyAddress::Known(url)
            }
            _ => self.discovery(issuer?)?,
        };
        let ca = self.authorities("ca_file", files);
        let credential = self.optional::<PathBuf>("token_file");
        if let Some(path) = &credential {
            self.readable("token_file", path, files);
        }
        let [refresh, max_age] = ["refresh", "max_age"];
        if self.sound(&[refresh, max_age]) && self.get::<Duration>(refresh) > self.get::<Duration>(max_age) {
            self.object(max_age, "is shorter than `refresh`", "raise it, or lower refresh");
        }
        let route = match self.choice("proxy").as_str() {
            "egress" => Route::Proxy,
            _ => Route::Direct,
        };
        let (refresh, max_age) = (self.get(refresh), self.get(max_age));
        Some(KeySource::Server(Box::new(KeyServer { at, ca, credential, route, refresh, max_age })))
    }

    /// OpenID Connect Discovery 1.0 section 4.
    fn discovery(&mut self, issuer: &str) -> Option<KeyAddress> {
        let url = Url::parse(issuer).ok().filter(|url| {
            secure(url)
                && url.host_str().is_some()
                && url.query().is_none()
                && url.fragment().is_none()
                && url.username().is_empty()
                && url.password().is_none()
        });
        let Some(mut metadata) = url else {
            let mend = "set keys = \"address\" and jwks_uri, or keys = \"file\" and jwks_file";
            self.object("issuer", "is no https address, so that its metadata cannot be looked up", mend);
            return None;
        };
        let path = metadata.path().trim_end_matches('/').to_owned();
        metadata.set_path(&format!("{path}/.well-known/openid-configuration"));
        let hosts = self.words("jwks_hosts");
        let plain = |host: &&String| {
            Url::parse(&format!("https://{host}/")).is_ok_and(|url| {
                let at = url.port().map_or_else(String::new, |port| format!(":{port}"));
                url.host_str().is_some_and(|name| format!("{name}{at}") == **host)
            })
        };
        if !hosts.iter().all(|host| plain(&host)) {
            let mend = "write hosts like \"keys.example.com\" or \"10.0.0.1:6443\", in lower case and without a path";
            self.object("jwks_hosts", "has a word that is no host", mend);
        }
        Some(KeyAddress::Discovery { metadata, hosts: hosts.into_iter().map(HostPattern).collect() })
    }

    /// PEM of the authorities that a key names, if it names any.
    fn authorities(&mut self, key: &str, files: &dyn Files) -> Option<String> {
        let path: PathBuf = self.optional(key)?;
        self.certificates(key, &path, files)
    }

    /// It is read for each request; that it can be is told at the start.
    fn readable(&mut self, key: &str, path: &Path, files: &dyn Files) {
        if let Err((problem, mend)) = files::text(files, path, ISSUER_BYTES_MAX) {
            self.object(key, problem, mend);
        }
    }

    /// What is wrong by default is wrong in the file as a whole.
    fn at_the_top_of(&mut self, file: &str) -> Vec<Mistake> {
        let mut mistakes = std::mem::take(&mut self.mistakes);
        for mistake in &mut mistakes {
            if mistake.origin == Origin::Default {
                mistake.origin = Origin::File { name: file.to_owned(), line: 1 };
            }
        }
        mistakes
    }
}
