//! What keeps the key-encryption key: one kind of KEK, its own section, and perhaps the KEK before it.

use super::{
    Files,
    files::{self, Mounted, SecretFile},
    gather::Settings,
};
use crate::domain::token::Secret;
use std::{path::PathBuf, time::Duration};
use url::Url;

/// Largest file with certificates, in bytes.
const CA_BYTES_MAX: usize = 256 * 1024;

#[derive(Debug, Clone)]
pub struct Keys {
    pub present: Kek,
    /// Unwraps only.
    pub previous: Option<Kek>,
    pub upkeep: Upkeep,
}

/// How keys are looked after while the service runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upkeep {
    /// Of keyset files.
    pub reload: Duration,
    /// Within this time every replica knows of a change of keys.
    pub propagation: Duration,
    pub records_per_second: u32,
    pub undo_window: Duration,
}

#[derive(Debug, Clone)]
pub enum Kek {
    File {
        /// The text of the keyset file.
        keyset: Secret,
        /// Where it came from; `None`: it is not looked at again.
        file: Option<SecretFile>,
    },
    KmsPlugin {
        socket: PathBuf,
    },
    Transit(Box<TransitKek>),
}

#[derive(Debug, Clone)]
pub struct TransitKek {
    /// Without a path.
    pub address: Url,
    pub mount: String,
    pub key: String,
    pub namespace: Option<String>,
    /// PEM.
    pub ca: Option<String>,
    pub login: TransitLogin,
}

#[derive(Debug, Clone)]
pub enum TransitLogin {
    TokenFile(SecretFile),
    Kubernetes { mount: String, role: String, jwt: SecretFile },
    AppRole { mount: String, role_id: String, secret_id: SecretFile },
}

const FILE: &str = "file";
const KMS_PLUGIN: &str = "kms_plugin";
const TRANSIT: &str = "transit";

impl Settings {
    /// `None` only where a mistake was written down.
    pub(super) fn keys(&mut self, files: &dyn Files) -> Option<Keys> {
        let previous = match self.choice("keys.previous.kind").as_str() {
            "none" => {
                self.useless("keys.previous", "none", &[FILE, KMS_PLUGIN, TRANSIT]);
                Some(None)
            }
            kind => self.kek("keys.previous", kind, files).map(Some),
        };
        let kind = self.choice("keys.kind");
        let present = self.kek("keys", &kind, files);
        Some(Keys { present: present?, previous: previous?, upkeep: self.upkeep() })
    }

    pub(super) fn upkeep(&self) -> Upkeep {
        Upkeep {
            reload: self.get("keys.reload"),
            propagation: self.get("keys.propagation"),
            records_per_second: self.get("keys.records_per_second"),
            undo_window: self.get("keys.undo_window"),
        }
    }

    fn kek(&mut self, at: &str, kind: &str, files: &dyn Files) -> Option<Kek> {
        if !self.sound(&[&format!("{at}.kind")]) {
            return None;
        }
        let others: Vec<_> = [FILE, KMS_PLUGIN, TRANSIT].into_iter().filter(|other| *other != kind).collect();
        self.useless(at, kind, &others);
        match kind {
            KMS_PLUGIN => {
                let key = format!("{at}.kms_plugin.socket");
                self.needed(&key, "write the path of the plugin's Unix socket")
                    .map(|socket| Kek::KmsPlugin { socket })
            }
            TRANSIT => {
                self.transit(&format!("{at}.transit"), files).map(|transit| Kek::Transit(Box::new(transit)))
            }
            _ => {
                let key = format!("{at}.keyset_file");
                let mend = "run `bursar keys generate --out FILE` once and write FILE's path here";
                let path = self.needed::<PathBuf>(&key, mend)?;
                let file = Some(SecretFile { path, mounted: Mounted::ByOperator });
                self.secret_file(&key, files).map(|keyset| Kek::File { keyset, file })
            }
        }
    }

    /// What was set for a kind of KEK that is not in use is a slip, or another kind was meant.
    fn useless(&mut self, at: &str, kind: &str, others: &[&str]) {
        for other in others {
            let keys: Vec<String> = match *other {
                FILE => {
                    let key = format!("{at}.keyset_file");
                    self.optional::<PathBuf>(&key).map(|_| key).into_iter().collect()
                }
                other => {
                    let changed = self.changed_in(&format!("{at}.{other}"));
                    changed.into_iter().map(ToOwned::to_owned).collect()
                }
            };
            for key in keys {
                let problem = format!("has no effect: `{at}.kind` is \"{kind}\"");
                self.object(&key, problem, format!("remove it, or set {at}.kind = \"{other}\""));
            }
        }
    }

    fn needed<T: super::gather::Typed>(&mut self, key: &str, mend: &str) -> Option<T> {
        let value = self.optional(key);
        if value.is_none() && self.sound(&[key]) {
            self.object(key, "is required and not set", mend);
        }
        value
    }

    fn transit(&mut self, at: &str, files: &dyn Files) -> Option<TransitKek> {
        let key = |name: &str| format!("{at}.{name}");
        let address = self.needed::<Url>(&key("address"), "write \"https://HOST:PORT\"");
        if address.as_ref().is_some_and(|address| address.path() != "/") {
            self.object(&key("address"), "has a path", "write scheme, host and port only");
        }
        let name = self.needed::<String>(&key("key"), "write the name of the key in the Transit engine");
        let mount = self.path_of(&key("mount"));
        if name.as_ref().is_some_and(|name| name.contains('/')) {
            self.object(&key("key"), "is a path", "write the key's name only, and its mount in `mount`");
        }
        let name_fits = self.path_of(&key("key"));
        let ca = match self.optional::<PathBuf>(&key("ca_file")) {
            None => Some(None),
            Some(path) => self.certificates(&key("ca_file"), &path, files).map(Some),
        };
        let login = self.login(at);
        name_fits?;
        Some(TransitKek {
            address: address?,
            mount: mount?,
            key: name?,
            namespace: self.optional(&key("namespace")),
            ca: ca?,
            login: login?,
        })
    }

    fn login(&mut self, at: &str) -> Option<TransitLogin> {
        let key = |name: &str| format!("{at}.{name}");
        let by_operator = |path| SecretFile { path, mounted: Mounted::ByOperator };
        match self.choice(&key("auth")).as_str() {
            "kubernetes" => {
                let role = self.needed(&key("role"), "write the role of the Kubernetes login");
                let mount = self.login_mount(&key("auth_mount"), "kubernetes");
                let jwt = SecretFile { path: self.get(&key("jwt_file")), mounted: Mounted::ByKubernetes };
                Some(TransitLogin::Kubernetes { mount: mount?, role: role?, jwt })
            }
            "app_role" => {
                let role_id = self.needed(&key("role_id"), "write the id of the role");
                let secret_id =
                    self.needed(&key("secret_id_file"), "write the path of a file with the secret id");
                let mount = self.login_mount(&key("auth_mount"), "approle");
                let (role_id, secret_id) = (role_id?, by_operator(secret_id?));
                Some(TransitLogin::AppRole { mount: mount?, role_id, secret_id })
            }
            _ => {
                let file = self.needed(&key("token_file"), "write the path of a file with the token");
                Some(TransitLogin::TokenFile(by_operator(file?)))
            }
        }
    }

    fn login_mount(&mut self, key: &str, default: &str) -> Option<String> {
        match self.optional::<String>(key) {
            None => Some(default.to_owned()),
            Some(_) => self.path_of(key),
        }
    }

    /// A path of words, as mounts are: it becomes part of an address.
    fn path_of(&mut self, key: &str) -> Option<String> {
        let path: String = self.optional(key)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let word = |word: &str| !word.is_empty() && !matches!(word, "." | "..") && word.chars().all(allowed);
        if path.split('/').all(word) {
            return Some(path);
        }
        let mend = "write letters, digits, `-`, `_` and `.`, and `/` between the words of a mount";
        self.object(key, "is not a path of words", mend);
        None
    }

    pub(super) fn certificates(
        &mut self,
        key: &str,
        path: &std::path::Path,
        files: &dyn Files,
    ) -> Option<String> {
        match files::text(files, path, CA_BYTES_MAX) {
            Ok(text) if text.contains("-----BEGIN CERTIFICATE-----") => Some(text),
            Ok(_) => {
                self.object(key, "holds no certificate", "name a PEM file with the server's authority");
                None
            }
            Err((problem, mend)) => {
                self.object(key, problem, mend);
                None
            }
        }
    }
}
