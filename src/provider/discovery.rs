//! Finds a server's endpoints from its issuer (RFC 8414, OpenID Connect Discovery 1.0 §4). Asks at most once at a
//! time, keeps the answer for as long as the server wants, and goes on with it while the server is away. Sends no
//! secret, and lets no server name a host that nobody has approved.

pub(super) mod merge;
pub(super) mod metadata;

use super::{hosts::destination, line::local};
use crate::{
    domain::{
        failure::{Class, Evidence, Failure, harmless},
        names::ProviderName,
        profile::{Discovery, Issuer, Profile},
    },
    egress::{Egress, Outgoing, Reply},
};
use http::{HeaderMap, HeaderValue, Method, header};
use merge::Merged;
use metadata::{Endpoint, Metadata};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use url::Url;

/// How long metadata is good where the server does not say (RFC 9111 §5.2), and the bounds of what it may say.
const FRESH: Duration = Duration::from_secs(3600);
const FRESH_MIN: Duration = Duration::from_secs(5 * 60);
const FRESH_MAX: Duration = Duration::from_secs(24 * 3600);
/// The whole of one request for metadata.
pub(super) const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after a failure; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// What this process knows of servers' metadata. At most one entry a profile.
#[derive(Default)]
pub(super) struct Directory {
    entries: Mutex<HashMap<ProviderName, Arc<Entry>>>,
}

#[derive(Default)]
struct Entry {
    /// Held by the one who asks the server.
    asking: tokio::sync::Mutex<()>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    trouble: Option<Trouble>,
}

#[derive(Clone)]
struct Known {
    metadata: Arc<Metadata>,
    /// The profile that was merged, and what came of it.
    of: Arc<Profile>,
    merged: Arc<Merged>,
    whole: Arc<Profile>,
    stale_at: Instant,
}

/// Failures in a row.
#[derive(Clone)]
struct Trouble {
    failure: Failure,
    count: u32,
    until: Instant,
}

impl Directory {
    /// The profile with all endpoints that its server announces and somebody has approved. Fails if the server was
    /// never heard, or if the endpoint that is needed is on a host that nobody has approved. Nothing that spends a
    /// grant was sent then.
    pub(super) async fn resolved(
        &self,
        egress: &Egress,
        profile: &Arc<Profile>,
        needed: Endpoint,
    ) -> Result<Arc<Profile>, Failure> {
        match (profile.discovery, &profile.issuer) {
            (Discovery::None, _) | (_, None) => Ok(profile.clone()),
            (Discovery::Oidc | Discovery::Oauth, Some(issuer)) => {
                let known = self.known(egress, profile, issuer).await?;
                match known.merged.refused.iter().find(|(endpoint, _)| *endpoint == needed) {
                    Some((_, host)) => Err(host_refused(host)),
                    None => Ok(known.whole),
                }
            }
        }
    }

    /// What the server announces, from the cache if it is there.
    pub(super) async fn announced(
        &self,
        egress: &Egress,
        profile: &Arc<Profile>,
    ) -> Result<Option<(Arc<Metadata>, Vec<(Endpoint, String)>)>, Failure> {
        match (profile.discovery, &profile.issuer) {
            (Discovery::None, _) | (_, None) => Ok(None),
            (Discovery::Oidc | Discovery::Oauth, Some(issuer)) => {
                let known = self.known(egress, profile, issuer).await?;
                Ok(Some((known.metadata, known.merged.refused.clone())))
            }
        }
    }

    async fn known(
        &self,
        egress: &Egress,
        profile: &Arc<Profile>,
        issuer: &Issuer,
    ) -> Result<Known, Failure> {
        let entry = self.entries.lock().entry(profile.name.clone()).or_default().clone();
        let kept = entry.kept(profile);
        if let Some(known) = kept.as_ref().filter(|known| Instant::now() < known.stale_at) {
            return Ok(known.clone());
        }
        // Who has an old copy goes on with it while somebody else asks.
        let _asking = match (entry.asking.try_lock(), kept) {
            (Ok(asking), _) => asking,
            (Err(_), Some(known)) => return Ok(known),
            (Err(_), None) => entry.asking.lock().await,
        };
        let kept = entry.kept(profile);
        if let Some(known) = kept.as_ref().filter(|known| Instant::now() < known.stale_at) {
            return Ok(known.clone());
        }
        if let Some(trouble) = entry.paused() {
            return kept.ok_or(trouble);
        }
        match fetched(egress, profile, issuer).await {
            Ok((metadata, lasts)) => Ok(entry.learned(profile, metadata, lasts)),
            Err(failure) => {
                let failure = entry.failed(failure);
                match kept {
                    Some(known) => {
                        tracing::warn!(provider = %profile.name, class = %failure.class, status = failure.status,
                            detail = failure.detail, "server's metadata could not be renewed; the old one serves on");
                        Ok(known)
                    }
                    None => Err(failure),
                }
            }
        }
    }
}

impl Entry {
    /// What is known, merged with this very profile.
    fn kept(&self, profile: &Arc<Profile>) -> Option<Known> {
        let mut state = self.state.lock();
        let known = state.known.as_mut()?;
        if !Arc::ptr_eq(&known.of, profile) && *known.of != **profile {
            let issuer = |profile: &Profile| profile.issuer.clone();
            if issuer(&known.of) != issuer(profile) || known.of.discovery != profile.discovery {
                return None;
            }
            *known = Known::of(profile, known.metadata.clone(), known.stale_at);
        }
        Some(known.clone())
    }

    /// The failure after which the server is left alone still.
    fn paused(&self) -> Option<Failure> {
        let trouble = self.state.lock().trouble.clone()?;
        let left = trouble.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        Some(Failure { retry_after: Some(left), ..trouble.failure })
    }

    fn learned(&self, profile: &Arc<Profile>, metadata: Metadata, lasts: Duration) -> Known {
        let mut state = self.state.lock();
        let news = state.known.as_ref().is_none_or(|known| *known.metadata != metadata);
        let known = Known::of(profile, Arc::new(metadata), Instant::now() + lasts);
        state.trouble = None;
        state.known = Some(known.clone());
        drop(state);
        if news {
            told(profile, &known);
        }
        known
    }

    fn failed(&self, failure: Failure) -> Failure {
        let mut state = self.state.lock();
        let count = state.trouble.as_ref().map_or(0, |trouble| trouble.count);
        let pause = PAUSE_FIRST.saturating_mul(1 << count.min(16)).min(PAUSE_MAX);
        let pause = pause.max(failure.retry_after.unwrap_or_default().min(PAUSE_MAX));
        let failure = Failure { retry_after: Some(pause), ..failure };
        let until = Instant::now() + pause;
        state.trouble = Some(Trouble { failure: failure.clone(), count: count.saturating_add(1), until });
        failure
    }
}

impl Known {
    fn of(profile: &Arc<Profile>, metadata: Arc<Metadata>, stale_at: Instant) -> Self {
        let merged = Arc::new(merge::merged(profile, &metadata));
        let whole = Arc::new(merged.profile.clone());
        Self { metadata, of: profile.clone(), merged, whole, stale_at }
    }
}

/// Said once for each change of what the server announces.
fn told(profile: &Profile, known: &Known) {
    for (endpoint, host) in &known.merged.refused {
        tracing::warn!(provider = %profile.name, endpoint = endpoint.word(), host = harmless(host),
            "server announces an endpoint on a host that is not approved, so it is not used; add the host to `hosts` if it is right");
    }
    let unknown = |method: &str| {
        known.metadata.auth_methods.as_ref().is_some_and(|offered| offered.iter().all(|one| one != method))
    };
    for method in profile.client_auth.iter().filter(|method| unknown(method.word())) {
        tracing::warn!(provider = %profile.name, method = method.word(),
            "profile has a way of client authentication that the server does not announce");
    }
}

/// Where the metadata is. RFC 8414 §3.1 puts the well-known part between host and path, OpenID Connect behind both.
pub(super) fn address(kind: Discovery, issuer: &Issuer) -> Url {
    let mut url = issuer.url().clone();
    let path = url.path().trim_end_matches('/').to_owned();
    match kind {
        Discovery::Oauth => url.set_path(&format!("/.well-known/oauth-authorization-server{path}")),
        Discovery::Oidc | Discovery::None => {
            url.set_path(&format!("{path}/.well-known/openid-configuration"));
        }
    }
    url
}

async fn fetched(
    egress: &Egress,
    profile: &Profile,
    issuer: &Issuer,
) -> Result<(Metadata, Duration), Failure> {
    let reply = get(egress, &merge::with_issuers_host(profile), address(profile.discovery, issuer)).await?;
    let metadata = Metadata::read(&reply.body, issuer.as_str()).map_err(|void| match void {
        metadata::Void::OtherIssuer | metadata::Void::Address => local(Class::Policy, void.says()),
        metadata::Void::NotJson | metadata::Void::NoIssuer | metadata::Void::WrongType => {
            local(Class::Configuration, void.says())
        }
    })?;
    Ok((metadata, lasts(&reply.headers)))
}

/// A public JSON document: status 200 and JSON, or a failure that leaves no doubt about any grant.
pub(super) async fn get(egress: &Egress, profile: &Profile, url: Url) -> Result<Reply, Failure> {
    let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("application/json"))]);
    let outgoing = Outgoing { method: Method::GET, url, headers, body: Vec::new(), presenting: None };
    let time = FETCH_TIMEOUT.min(profile.exchange_timeout);
    let reply =
        egress.send(&destination(profile), outgoing, time).await.map_err(|evidence| match evidence {
            Evidence::NotSent(trouble) | Evidence::Lost(trouble) => local(Class::NotSent, trouble.says()),
            Evidence::HostRefused { host } => host_refused(&host),
            Evidence::Unreadable { trouble, .. } => local(Class::Configuration, trouble.says()),
            Evidence::Redirected { .. } | Evidence::Unusable(_) | Evidence::Refused(_) => {
                local(Class::NotSent, "server's metadata did not come")
            }
        })?;
    let told = |class, detail| Failure { status: Some(reply.status), ..local(class, detail) };
    match reply.status {
        200 => {}
        300..=399 => {
            return Err(told(
                Class::Policy,
                "server's metadata is elsewhere, and redirects are not followed",
            ));
        }
        408 | 425 | 429 | 500..=599 => return Err(told(Class::NotSent, "server's metadata is away")),
        _ => {
            let detail = "server has no metadata at this address: check `issuer` and `discovery`";
            return Err(told(Class::Configuration, detail));
        }
    }
    let kind = reply.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next()).map(str::trim);
    if essence.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        Ok(reply)
    } else {
        Err(told(Class::Configuration, "server's metadata is not application/json"))
    }
}

/// `max-age` within its bounds; what may not be kept is kept for the shortest time, to spare the server.
fn lasts(headers: &HeaderMap) -> Duration {
    let Some(control) = headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()) else {
        return FRESH;
    };
    let directives = || control.split(',').map(|one| one.trim().to_ascii_lowercase());
    if directives().any(|one| one == "no-store" || one == "no-cache") {
        return FRESH_MIN;
    }
    let age = directives().find_map(|one| one.strip_prefix("max-age=")?.trim_matches('"').parse().ok());
    age.map_or(FRESH, |seconds| Duration::from_secs(seconds).clamp(FRESH_MIN, FRESH_MAX))
}

/// Names the host, which is all that an operator needs to decide. Nothing secret was sent, so it repeats no secret.
fn host_refused(host: &str) -> Failure {
    let detail =
        "server announces an endpoint on a host that is not approved: add the host to `hosts` if it is right";
    Failure { code: harmless(host), ..local(Class::Policy, detail) }
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
