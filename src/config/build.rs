//! Makes the typed configuration from settings: what keys mean together, and the files they name.
//! Every check runs, so that all mistakes are told at once.

use super::{
    Addresses, Authorization, BearerTokens, Callback, Config, ConfigError, Egress, Files, Keys, Limits, Log,
    MemoryLock, Monitoring, Origin, Process, ProviderFile, RedirectUris, Refresh, Scheduling, Shutdown,
    Store, files, gather::Settings, value::shown,
};
use crate::{
    domain::token::Secret,
    telemetry::{Filter, Format},
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// What is kept of the grace period for writing down what must not be lost, after the last call.
const DRAIN: Duration = Duration::from_secs(5);
const EMBEDDED_FILE: &str = "bursar.redb";

impl Settings {
    /// `keys` are `None` only where a mistake was written down.
    pub(super) fn build(mut self, keys: Option<Keys>, files: &dyn Files) -> Result<Config, ConfigError> {
        let store = self.store(files);
        let providers = self.providers(files);
        let callback = self.callback();
        let taken = match self.optional::<PathBuf>("identity.tokens.issuers_dir") {
            Some(_) => BearerTokens::Taken,
            None => BearerTokens::NotTaken,
        };
        let tokens = self.tokens(files);
        let (listen, unix, tls) = self.listening(taken, files);
        let policy = self.policy((tls.as_ref(), unix.as_ref()), taken, files);
        self.deadlines();
        let monitoring = self.monitoring();
        let audit = self.audit();
        let tracing = self.tracing(files);
        let (Some(store), Some(keys), true) = (store, keys, self.mistakes.is_empty()) else {
            return Err(ConfigError { mistakes: self.mistakes });
        };
        Ok(Config {
            listen,
            unix,
            tls,
            tokens,
            policy,
            replica: self.optional("replica"),
            data_dir: self.get("data_dir"),
            store,
            keys,
            providers,
            providers_dir: self.optional("providers.dir"),
            authorization: Authorization {
                callback,
                redirect: match self.choice("authorization.redirect").as_str() {
                    "shared" => RedirectUris::Shared,
                    _ => RedirectUris::PerConnection,
                },
                redirect_uris: self.words("authorization.redirect_uris"),
                return_uris: self.words("authorization.return_uris"),
                open_for: self.get("authorization.open_for"),
            },
            refresh: self.refresh(),
            egress: Egress {
                addresses: match self.choice("egress.addresses").as_str() {
                    "loopback" => Addresses::Loopback,
                    "private" => Addresses::Private,
                    _ => Addresses::Public,
                },
                proxy: self.optional("egress.proxy"),
            },
            limits: self.limits(),
            audit,
            process: Process {
                memory_lock: match self.choice("process.memory_lock").as_str() {
                    "required" => MemoryLock::Required,
                    "off" => MemoryLock::Off,
                    _ => MemoryLock::Try,
                },
            },
            monitoring,
            log: Log {
                format: match self.choice("log.format").as_str() {
                    "pretty" => Format::Pretty,
                    _ => Format::Json,
                },
                filter: *self.get::<Box<Filter>>("log.level"),
            },
            tracing,
            shutdown: Shutdown { grace: self.get("shutdown.grace") },
        })
    }

    /// Address and URL belong together: neither is of use without the other.
    fn callback(&mut self) -> Option<Callback> {
        let (listen, url) = ("authorization.listen", "authorization.public_url");
        if !self.sound(&[listen, url]) {
            return None;
        }
        match (self.optional(listen), self.optional(url)) {
            (Some(listen), Some(public_url)) => Some(Callback { listen, public_url }),
            (None, None) => None,
            (Some(_), None) => {
                let mend = format!("set {url} to where browsers reach the callback, or remove {listen}");
                self.object(listen, format!("is set without `{url}`"), mend);
                None
            }
            (None, Some(_)) => {
                let mend = format!("set {listen} to where the callback listens, or remove {url}");
                self.object(url, format!("is set without `{listen}`"), mend);
                None
            }
        }
    }

    /// Another listener than those of calls and of browsers: it asks nobody who they are.
    fn monitoring(&mut self) -> Monitoring {
        let key = "monitoring.listen";
        let listen: Option<SocketAddr> = self.optional(key);
        for other in ["listen", "authorization.listen"] {
            let theirs: Option<SocketAddr> = self.optional(other);
            if listen.is_some_and(|address| address.port() != 0 && Some(address) == theirs) {
                let mend = "give probes and metrics a port of their own";
                self.object(key, format!("is the same address as `{other}`"), mend);
            }
        }
        Monitoring { listen, outage: self.get("monitoring.outage") }
    }

    pub(super) fn words(&self, key: &str) -> Vec<String> {
        let text: Option<String> = self.optional(key);
        text.unwrap_or_default().split_whitespace().map(ToOwned::to_owned).collect()
    }

    pub(super) fn choice(&self, key: &str) -> String {
        self.get(key)
    }

    pub(super) fn secret_file(&mut self, key: &str, files: &dyn Files) -> Option<Secret> {
        match files::secret(files, &self.optional::<PathBuf>(key)?) {
            Ok(secret) => Some(secret),
            Err((problem, mend)) => {
                self.object(key, problem, mend);
                None
            }
        }
    }

    fn store(&mut self, files: &dyn Files) -> Option<Store> {
        if !self.sound(&["store.kind"]) {
            return None;
        }
        let kind = self.choice("store.kind");
        let other = if kind == "redis" { "embedded" } else { "redis" };
        for key in self.changed_in(&format!("store.{other}")) {
            self.object(
                key,
                format!("has no effect: `store.kind` is \"{kind}\""),
                format!("remove it, or set store.kind = \"{other}\""),
            );
        }
        if kind == "redis" {
            return self.redis(files).map(|redis| Store::Redis(Box::new(redis)));
        }
        let file = self.optional("store.embedded.file");
        let file = file.unwrap_or_else(|| self.get::<PathBuf>("data_dir").join(EMBEDDED_FILE));
        Some(Store::Embedded { file })
    }

    fn providers(&mut self, files: &dyn Files) -> Vec<ProviderFile> {
        let Some(folder) = self.optional::<PathBuf>("providers.dir") else { return Vec::new() };
        let (profiles, troubles) = files::profiles(files, &folder);
        for (problem, mend) in troubles {
            self.object("providers.dir", problem, mend);
        }
        profiles
    }

    fn refresh(&self) -> Refresh {
        Refresh {
            scheduling: if self.get("refresh.enabled") { Scheduling::On } else { Scheduling::Off },
            concurrency: self.get("refresh.concurrency"),
            tick: self.get("refresh.tick"),
            lease_extra: self.get("refresh.lease_extra"),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            concurrent_requests: self.get("limits.concurrent_requests"),
            waiting_requests: self.get("limits.waiting_requests"),
            waiting_requests_per_tenant: self.get("limits.waiting_requests_per_tenant"),
            waiting_requests_per_caller: self.get("limits.waiting_requests_per_caller"),
            concurrent_requests_per_caller: self.get("limits.concurrent_requests_per_caller"),
            streams_per_caller: self.get("limits.streams_per_caller"),
            strangers_per_second: self.get("limits.strangers_per_second"),
            serve_per_second: self.get("limits.serve_per_second"),
            read_per_second: self.get("limits.read_per_second"),
            write_per_second: self.get("limits.write_per_second"),
            exchange_per_second: self.get("limits.exchange_per_second"),
            burst: self.get("limits.burst"),
            concurrent_requests_per_connection: self.get("limits.concurrent_requests_per_connection"),
            message_bytes: self.get("limits.message_bytes"),
            request_timeout: self.get("limits.request_timeout"),
            connection_age: self.get("limits.connection_age"),
            connections: self.get("limits.connections"),
            handshakes: self.get("limits.handshakes"),
        }
    }

    /// What has to end before something else does.
    fn deadlines(&mut self) {
        let [tick, extra] = ["refresh.tick", "refresh.lease_extra"];
        let [request, age, grace] = ["limits.request_timeout", "limits.connection_age", "shutdown.grace"];
        self.nests(tick, extra, |inner, outer| inner < outer, "shorter than");
        self.nests("audit.write_timeout", request, |inner, outer| inner < outer, "shorter than");
        self.nests(request, age, |inner, outer| inner <= outer, "at most");
        let apart = format!("at least {} shorter than", shown(DRAIN));
        self.nests(request, grace, |inner, outer| inner + DRAIN <= outer, &apart);
        let [each, all] = ["limits.concurrent_requests_per_connection", "limits.concurrent_requests"];
        if self.sound(&[each, all]) && self.get::<usize>(each) > self.get::<usize>(all) {
            let (each_is, all_is) = (self.get::<usize>(each), self.get::<usize>(all));
            self.disagree(each, all, &each_is.to_string(), &all_is.to_string(), "at most");
        }
        let [shaking, connected] = ["limits.handshakes", "limits.connections"];
        if self.sound(&[shaking, connected]) && self.get::<usize>(shaking) > self.get::<usize>(connected) {
            let (shaking_are, connected_are) = (self.get::<usize>(shaking), self.get::<usize>(connected));
            let [inner, outer] = [shaking_are.to_string(), connected_are.to_string()];
            self.disagree(shaking, connected, &inner, &outer, "at most");
        }
    }

    fn nests(&mut self, inner: &str, outer: &str, fits: fn(Duration, Duration) -> bool, rule: &str) {
        let (inner_is, outer_is) = (self.get(inner), self.get(outer));
        if self.sound(&[inner, outer]) && !fits(inner_is, outer_is) {
            self.disagree(inner, outer, &shown(inner_is), &shown(outer_is), rule);
        }
    }

    /// Told at the key that somebody set: a default is not the operator's mistake.
    fn disagree(&mut self, inner: &str, outer: &str, inner_is: &str, outer_is: &str, rule: &str) {
        let at = if self.origin(inner) == Origin::Default { outer } else { inner };
        self.object(
            at,
            format!("`{inner}` is {inner_is}, and must be {rule} `{outer}`, which is {outer_is}"),
            format!("lower {inner} or raise {outer}"),
        );
    }
}
