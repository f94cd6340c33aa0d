//! Makes the typed configuration from settings: what keys mean together, and the files they name.
//! Every check runs, so that all mistakes are told at once.

use super::{
    Addresses, Config, ConfigError, Egress, Files, Keys, Limits, Log, Origin, ProviderFile, Redis, Refresh,
    Scheduling, Shutdown, Store, files, gather::Settings, value::shown,
};
use crate::{
    domain::token::Secret,
    telemetry::{Filter, Format},
};
use std::{path::PathBuf, time::Duration};

/// What is kept of the grace period for writing down what must not be lost, after the last call.
const DRAIN: Duration = Duration::from_secs(5);
const EMBEDDED_FILE: &str = "bursar.redb";

impl Settings {
    /// `keyset` is `None` only where a mistake was written down.
    pub(super) fn build(mut self, keyset: Option<Secret>, files: &dyn Files) -> Result<Config, ConfigError> {
        let store = self.store(files);
        let providers = self.providers(files);
        self.deadlines();
        let (Some(store), Some(keyset), true) = (store, keyset, self.mistakes.is_empty()) else {
            return Err(ConfigError { mistakes: self.mistakes });
        };
        Ok(Config {
            listen: self.get("listen"),
            replica: self.optional("replica"),
            data_dir: self.get("data_dir"),
            store,
            keys: Keys { keyset },
            providers,
            refresh: self.refresh(),
            egress: Egress {
                addresses: match self.choice("egress.addresses").as_str() {
                    "loopback" => Addresses::Loopback,
                    _ => Addresses::Public,
                },
            },
            limits: self.limits(),
            log: Log {
                format: match self.choice("log.format").as_str() {
                    "pretty" => Format::Pretty,
                    _ => Format::Json,
                },
                filter: *self.get::<Box<Filter>>("log.level"),
            },
            shutdown: Shutdown { grace: self.get("shutdown.grace") },
        })
    }

    fn choice(&self, key: &str) -> String {
        self.get(key)
    }

    pub(super) fn keyset(&mut self, files: &dyn Files) -> Option<Secret> {
        let key = "keys.keyset_file";
        if self.sound(&[key]) && self.optional::<PathBuf>(key).is_none() {
            self.object(
                key,
                "is required and not set",
                "run `bursar keys generate --out FILE` once and write FILE's path here",
            );
        }
        self.secret_file(key, files)
    }

    fn secret_file(&mut self, key: &str, files: &dyn Files) -> Option<Secret> {
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
            return self.redis(files).map(Store::Redis);
        }
        let file = self.optional("store.embedded.file");
        let file = file.unwrap_or_else(|| self.get::<PathBuf>("data_dir").join(EMBEDDED_FILE));
        Some(Store::Embedded { file })
    }

    fn redis(&mut self, files: &dyn Files) -> Option<Redis> {
        let (url, username) = (self.optional("store.redis.url"), self.optional("store.redis.username"));
        if self.sound(&["store.redis.url"]) && url.is_none() {
            self.object(
                "store.redis.url",
                "is required when `store.kind` is \"redis\"",
                "write \"redis://HOST:PORT\"",
            );
        }
        let no_password = self.optional::<PathBuf>("store.redis.password_file").is_none();
        if username.is_some() && no_password && self.sound(&["store.redis.password_file"]) {
            self.object(
                "store.redis.username",
                "is set without a password",
                "set store.redis.password_file too, or remove it",
            );
        }
        let password = self.secret_file("store.redis.password_file", files);
        Some(Redis {
            url: url?,
            username,
            password,
            namespace: self.get("store.redis.namespace"),
            shards: self.get("store.redis.shards"),
        })
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
            concurrent_requests_per_connection: self.get("limits.concurrent_requests_per_connection"),
            message_bytes: self.get("limits.message_bytes"),
            request_timeout: self.get("limits.request_timeout"),
            connection_age: self.get("limits.connection_age"),
        }
    }

    /// What has to end before something else does.
    fn deadlines(&mut self) {
        let [tick, extra] = ["refresh.tick", "refresh.lease_extra"];
        let [request, age, grace] = ["limits.request_timeout", "limits.connection_age", "shutdown.grace"];
        self.nests(tick, extra, |inner, outer| inner < outer, "shorter than");
        self.nests(request, age, |inner, outer| inner <= outer, "at most");
        let apart = format!("at least {} shorter than", shown(DRAIN));
        self.nests(request, grace, |inner, outer| inner + DRAIN <= outer, &apart);
        let [each, all] = ["limits.concurrent_requests_per_connection", "limits.concurrent_requests"];
        if self.sound(&[each, all]) && self.get::<usize>(each) > self.get::<usize>(all) {
            let (each_is, all_is) = (self.get::<usize>(each), self.get::<usize>(all));
            self.disagree(each, all, &each_is.to_string(), &all_is.to_string(), "at most");
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
