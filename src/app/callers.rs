//! Who is recognised: by connections alone, or by tokens of issuers too, whose files are followed while the process runs.

use crate::{
    access::{Authenticate, caller::ByConnection},
    audit::{
        Audit, Event,
        event::{Outcome, Reloaded},
    },
    bearer::{
        self, Bearers, Fetch, Replaced, Surroundings,
        fetching::{self, ReadSecret},
        review::{self, Reviews},
    },
    clock::Clock,
    config::{Config, Disk, TokenReview, Tokens, mounted_token},
    domain::issuer::{Issuer, KeySource, Route},
    egress::{AddressPolicy, Egress},
    tls::pem,
    watching::{self, Mark, Watched},
};
use anyhow::{Context, anyhow};
use async_trait::async_trait;
use std::{path::Path, sync::Arc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What recognises callers, and what has to run beside it.
pub(super) struct Callers {
    pub(super) authenticate: Arc<dyn Authenticate>,
    /// Everything ends with the token that it was made with.
    pub(super) tasks: TaskTracker,
}

/// The folder of issuers.
struct Folder {
    tokens: Tokens,
    bearers: Arc<Bearers>,
    audit: Arc<dyn Audit>,
}

impl Callers {
    /// Returns when issuers have given their keys, or cannot do so soon.
    pub(super) async fn of(
        config: &Config,
        clock: Arc<dyn Clock>,
        audit: Arc<dyn Audit>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Self> {
        let tasks = TaskTracker::new();
        let Some(tokens) = &config.tokens else {
            tasks.close();
            return Ok(Self { authenticate: Arc::new(ByConnection), tasks });
        };
        let around = Surroundings { audit: audit.clone(), tasks: tasks.clone(), stop: stop.child_token() };
        let ways = Ways::of(config)?;
        let reviews = tokens.review.as_ref().map(|review| reviews(review, ways.direct.clone()));
        let sources = Box::new(move |issuer: &Issuer| source(issuer, &ways));
        let bearers = Arc::new(Bearers::new(sources, reviews, clock, around));
        bearers
            .replace(tokens.issuers.clone())
            .await
            .map_err(|unusable| anyhow!("identity.tokens: {unusable}"))?;
        let folder = Arc::new(Folder { tokens: tokens.clone(), bearers: bearers.clone(), audit });
        let mark = Folder::mark(&tokens.issuers);
        tasks.spawn(watching::follow(folder, mark, tokens.reload, stop.clone()));
        tasks.close();
        Ok(Self { authenticate: bearers, tasks })
    }
}

/// What can be said of the configuration without asking any issuer.
pub(super) fn check(config: &Config) -> anyhow::Result<()> {
    let Some(tokens) = &config.tokens else { return Ok(()) };
    bearer::check(&tokens.issuers).map_err(|unusable| anyhow!("identity.tokens: {unusable}"))?;
    for issuer in &tokens.issuers {
        if let KeySource::Server(server) = &issuer.keys {
            authorities(server.ca.as_deref())
                .with_context(|| format!("ca_file of issuer {}", issuer.name))?;
        }
    }
    let ca = tokens.review.as_ref().and_then(|review| review.ca.as_deref());
    authorities(ca).context("identity.token_review.ca_file")
}

fn authorities(pem: Option<&str>) -> anyhow::Result<()> {
    let Some(text) = pem else { return Ok(()) };
    pem::authorities(text).map(drop).map_err(|err| anyhow!("{err}\n    mend: {}", err.mend()))
}

/// To issuers.
pub(super) struct Ways {
    direct: Egress,
    proxied: Egress,
}

impl Ways {
    /// To servers of one's own as likely as not, in a private network and not behind the proxy to the Internet.
    pub(super) fn of(config: &Config) -> anyhow::Result<Self> {
        let direct = Egress::new(AddressPolicy::Private)?;
        let proxied = Egress::through(AddressPolicy::Private, config.egress.proxy.clone())?;
        Ok(Self { direct, proxied })
    }
}

/// What fetches an issuer's keys; `None`: they are written down.
pub(super) fn source(issuer: &Issuer, ways: &Ways) -> Option<Arc<dyn Fetch>> {
    let KeySource::Server(server) = &issuer.keys else { return None };
    let egress = match server.route {
        Route::Direct => ways.direct.clone(),
        Route::Proxy => ways.proxied.clone(),
    };
    let credential = server.credential.as_deref().map(credential);
    let (server, issuer) = ((**server).clone(), issuer.issuer.clone());
    Some(Arc::new(fetching::OverHttp { egress, server, issuer, credential }))
}

fn reviews(of: &TokenReview, egress: Egress) -> Reviews {
    let cluster = review::OverHttp {
        egress,
        address: of.address.clone(),
        ca: of.ca.clone(),
        credential: credential(&of.token.path),
        time: of.timeout,
    };
    Reviews::new(Arc::new(cluster), of.issuers.clone(), of.timeout, of.remember)
}

fn credential(path: &Path) -> ReadSecret {
    let file = mounted_token(path);
    Arc::new(move || file.read())
}

#[async_trait]
impl Watched for Folder {
    type Found = Vec<Issuer>;

    fn read(&self) -> Result<Vec<Issuer>, String> {
        self.tokens.read(&Disk).map_err(|error| error.to_string())
    }

    fn mark(found: &Vec<Issuer>) -> Mark {
        // Key sets are public, and credentials are paths here.
        format!("{found:?}").into_bytes()
    }

    async fn take(&self, found: Vec<Issuer>) -> Result<(), String> {
        let replaced = self.bearers.replace(found).await.map_err(|unusable| unusable.to_string())?;
        tracing::info!("issuers of tokens have changed and are in use");
        let what = match replaced {
            Replaced::Keys => Reloaded::Jwks,
            Replaced::Issuers => Reloaded::Issuers,
        };
        self.record(what, Outcome::Done).await;
        Ok(())
    }

    async fn refused(&self, trouble: &str) {
        tracing::warn!(trouble, "issuers of tokens cannot be used; those before stay in use");
        self.record(Reloaded::Issuers, Outcome::Refused).await;
    }
}

impl Folder {
    async fn record(&self, what: Reloaded, outcome: Outcome) {
        // That it could not be written is in the log.
        let _ = self.audit.record(Event::Reload { what, outcome }).await;
    }
}
