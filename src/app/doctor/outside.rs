//! What lies outside: providers, issuers of callers' tokens, the agent that gives identities; and the certificates that
//! this deployment shows and believes.

use super::{AGENT_MAX, Deployment, ISSUER_MAX, PROVIDER_MAX, WhichProviders, within};
use crate::{
    app::{callers, doors, house, worded},
    bearer::KeySet,
    config::{Certificate, Disk, PemTrouble, Store, Tls},
    doctor::{
        Check, Finding,
        certificates::{self as judge, Chain},
        issuers,
    },
    domain::{
        issuer::{Issuer, KeySource},
        names::ProviderName,
        validity::Validity,
    },
    provider::{Check as Look, Provider, Providers},
    tls::{
        looking,
        pem::PemError,
        reload::Texts,
        workload::{Taken, WorkloadApi},
    },
};
use futures_util::future::join_all;
use std::{collections::BTreeSet, sync::Arc};

impl Deployment {
    /// `in_use`: those that have clients or connections; `None`: that is not known.
    pub(super) async fn providers(
        &self,
        which: WhichProviders,
        in_use: Option<BTreeSet<ProviderName>>,
    ) -> Vec<Finding> {
        let Ok(catalogue) = house::catalogue(&self.config) else {
            return vec![Check::Providers.skipped(
                "providers",
                "their profiles have mistakes",
                "mend them first",
            )];
        };
        let way_out = match worded::way_out(&self.config) {
            Ok(way_out) => way_out,
            Err(err) => {
                let mend =
                    "install the system's authorities (ca-certificates), or name them in SSL_CERT_FILE";
                return vec![Check::Providers.fail("providers", format!("{err:#}"), mend)];
            }
        };
        let mut wanted = in_use.clone().unwrap_or_default();
        if which == WhichProviders::All {
            let own = catalogue.iter().filter(|profile| self.describes(&profile.name));
            wanted.extend(own.map(|profile| profile.name.clone()));
        }
        if wanted.is_empty() {
            return vec![match in_use {
                Some(_) => Check::Providers.ok("providers", "no client and no connection needs one yet"),
                None => Check::Providers.skipped(
                    "providers",
                    "which are in use could not be looked at",
                    "look at those that you have described with --all-providers",
                ),
            }];
        }
        let providers = Providers::new(way_out, self.clock.clone());
        let looks = wanted.iter().map(async |name| {
            let Some(profile) = catalogue.get(name) else {
                let mend = "put its file back into providers.dir, or delete what uses it";
                return vec![Check::Providers.fail(name, "is in use and has no profile here", mend)];
            };
            let look = Look { profile: &profile, client: None, grants: &[] };
            let looking = async {
                let found = providers.check(&look).await;
                found.into_iter().map(|found| Check::Providers.of(name, found)).collect()
            };
            within(Check::Providers, &name.to_string(), PROVIDER_MAX, looking).await
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    /// Whether one of the operator's own files has this name.
    fn describes(&self, name: &ProviderName) -> bool {
        let id = name.0.to_string();
        let names = |text: &str| {
            let table: Option<toml::Table> = text.parse().ok();
            table.and_then(|table| table.get("name").and_then(|name| name.as_str().map(str::to_owned)))
        };
        self.config.providers.iter().any(|file| names(&file.text).as_deref() == Some(id.as_str()))
    }

    pub(super) async fn issuers(&self) -> Vec<Finding> {
        let Some(tokens) = &self.config.tokens else { return Vec::new() };
        let ways = match callers::Ways::of(&self.config) {
            Ok(ways) => Arc::new(ways),
            Err(err) => {
                let mend =
                    "install the system's authorities (ca-certificates), or name them in SSL_CERT_FILE";
                return vec![Check::Issuers.fail("issuers", format!("{err:#}"), mend)];
            }
        };
        let looks = tokens.issuers.iter().map(async |issuer| {
            let look = async { vec![issuers::keys(&issuer.name.to_string(), &keys(issuer, &ways).await)] };
            within(Check::Issuers, &issuer.name.to_string(), ISSUER_MAX, look).await
        });
        join_all(looks).await.into_iter().flatten().collect()
    }

    pub(super) async fn certificates(&self) -> Vec<Finding> {
        let mut found = self.of_redis();
        let Some(tls) = &self.config.tls else { return found };
        match doors::read(tls) {
            Ok((texts, _)) => found.extend(self.of_files(&texts, tls)),
            Err(PemTrouble { key, path, problem, mend }) => {
                found.push(Check::Certificate.fail(format!("{key} {}", path.display()), problem, mend));
            }
        }
        if let (Some(address), Some(taken)) = (&tls.workload_api, doors::taken(tls)) {
            let look = self.of_agent(address, taken);
            found.extend(within(Check::WorkloadApi, address, AGENT_MAX, look).await);
        }
        found
    }

    fn of_files(&self, texts: &Texts, tls: &Tls) -> Vec<Finding> {
        let now = self.clock.now();
        let mut found = Vec::new();
        if let (Some((chain, _)), Certificate::Files { cert, .. }) = (&texts.certificate, &tls.certificate) {
            let subject = format!("tls.cert_file {}", cert.display());
            found.extend(chained(&subject, looking::chain(chain.expose()), now));
        }
        let bundles = texts.bundles.iter().map(|(domain, text)| (format!("bundle of {domain}"), text));
        let pki = texts.pki.iter().map(|text| ("identity.dns.ca_file".to_owned(), text));
        found.extend(
            bundles.chain(pki).map(|(subject, text)| believed(&subject, looking::bundle(text.expose()), now)),
        );
        found
    }

    /// What Redis is shown, and who vouches for it.
    fn of_redis(&self) -> Vec<Finding> {
        let Store::Redis(redis) = &self.config.store else { return Vec::new() };
        // What cannot be read is told where the store is opened.
        let Some(Ok(pem)) = redis.tls.as_ref().map(|tls| tls.read(&Disk)) else { return Vec::new() };
        let now = self.clock.now();
        let mut found = Vec::new();
        if let Some((cert, _)) = &pem.identity {
            let subject = format!("{} {}", cert.key, cert.path.display());
            found.extend(chained(&subject, looking::chain(cert.text.expose()), now));
        }
        let ca = pem.ca.iter();
        found.extend(ca.map(|ca| {
            let subject = format!("{} {}", ca.key, ca.path.display());
            believed(&subject, looking::bundle(ca.text.expose()), now)
        }));
        found
    }

    async fn of_agent(&self, address: &str, taken: Taken) -> Vec<Finding> {
        let given = match WorkloadApi::connect(address, taken).await {
            Ok(agent) => agent.given(),
            Err(err) => Err(err),
        };
        match given {
            Ok(given) => {
                let mut found = vec![Check::WorkloadApi.ok(address, "gives an identity to this process")];
                let certificate = given.certificate();
                found.extend(match taken {
                    Taken::Certificate | Taken::Both => {
                        chained("X.509-SVID", looking::chain_der(&certificate.cert), self.clock.now())
                    }
                    Taken::Bundles => Vec::new(),
                });
                found
            }
            Err(err) => {
                let mend = "see that the agent runs and its socket is mounted here, and that it has a registration entry \
                            for this process: docs/identity.md";
                vec![Check::WorkloadApi.fail(address, err.to_string(), mend)]
            }
        }
    }
}

fn chained(
    subject: &str,
    read: Result<looking::Chain, PemError>,
    now: crate::clock::Timestamp,
) -> Vec<Finding> {
    match read {
        Ok(looking::Chain { certificates, broken_after }) => {
            judge::chain(subject, &Chain { certificates, broken_after }, now)
        }
        Err(err) => vec![Check::Certificate.fail(subject, err.to_string(), err.mend())],
    }
}

fn believed(subject: &str, read: Result<Vec<Validity>, PemError>, now: crate::clock::Timestamp) -> Finding {
    match read {
        Ok(all) => judge::authorities(subject, &all, now),
        Err(err) => Check::Authorities.fail(subject, err.to_string(), err.mend()),
    }
}

/// How many keys an issuer has.
async fn keys(issuer: &Issuer, ways: &callers::Ways) -> Result<usize, String> {
    let text = match (&issuer.keys, callers::source(issuer, ways)) {
        (KeySource::Text(text), _) => text.clone().into_bytes(),
        (KeySource::Server(_), Some(source)) => source.fetch().await.map_err(|err| err.to_string())?,
        (KeySource::Server(_), None) => return Err("its server is not known".to_owned()),
    };
    KeySet::parse(&text).map(|keys| keys.count()).map_err(|err| err.to_string())
}
