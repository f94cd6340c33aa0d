//! Looks whether a provider can be worked with from this process: its own way out, its own trust roots, its own clock.
//! Sends no token and no grant. Only where a client is named is that one's secret sent, to the token endpoint, with a
//! request that changes nothing.

use super::{
    Check, ClientIdentity, Exchange, Grant, Providers,
    discovery::{self, merge::shown, metadata::Metadata},
    hosts::destination,
};
use crate::{
    clock::Timestamp,
    domain::{
        failure::{Class, Evidence, Failure, Trouble, harmless},
        finding::Finding,
        profile::{GrantKind, Issuer, MinimumTls, Profile},
        strict,
        token::{RefreshToken, Secret},
    },
    egress::{Destination, Egress, Looked},
};
use futures_util::future::join_all;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

/// The three steps of a check have to end within what a caller waits: the metadata,
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(5);
/// all hosts side by side, each over whatever version of TLS,
const LOOK_TIMEOUT: Duration = Duration::from_secs(4);
/// (a single answer is bounded only as everything is: the line above comes first)
const ANSWER_TIMEOUT: Duration = Duration::from_secs(8);
/// and the key set beside the client's authentication.
const LAST_TIMEOUT: Duration = Duration::from_secs(5);
/// Certificates that end sooner are told.
const CERTIFICATE_WARN: Duration = Duration::from_secs(14 * 86_400);
/// Clocks that are further apart are told; beyond the second, assertions and lifetimes are no good.
const SKEW_WARN: Duration = Duration::from_secs(30);
const SKEW_FAIL: Duration = Duration::from_secs(300);
/// Most hosts that are looked at, all at once.
const HOSTS_MAX: usize = 80;

impl Providers {
    pub(super) async fn examined(&self, check: &Check<'_>) -> Vec<Finding> {
        let (mut found, profile) = match timeout(DISCOVERY_TIMEOUT, self.announced(check)).await {
            Ok(heard) => heard,
            Err(_) => (vec![late("discovery", "metadata", DISCOVERY_TIMEOUT)], check.profile.clone()),
        };
        let places = places(&profile);
        let looking = places.iter().map(async |(url, uses)| {
            let looked = timeout(LOOK_TIMEOUT, self.place(&profile, url, uses)).await;
            looked.unwrap_or_else(|_| vec![late(shown(url), uses, LOOK_TIMEOUT)])
        });
        found.extend(join_all(looking).await.into_iter().flatten());
        let keys = async {
            let url = profile.jwks_uri.as_ref()?;
            let keys = timeout(LAST_TIMEOUT, self.keys(&profile, url)).await;
            Some(keys.unwrap_or_else(|_| late("jwks_uri", "key set", LAST_TIMEOUT)))
        };
        let client = async {
            let client = check.client?;
            let tried = timeout(LAST_TIMEOUT, self.client(check, client, &profile)).await;
            Some(tried.unwrap_or_else(|_| late(about(client), "a request", LAST_TIMEOUT)))
        };
        let (keys, client) = tokio::join!(keys, client);
        found.extend(keys);
        found.extend(client);
        found
    }

    /// What the server says of itself, and the profile with it.
    async fn announced(&self, check: &Check<'_>) -> (Vec<Finding>, Arc<Profile>) {
        let mut found = Vec::new();
        let announced = self.directory.announced(&self.egress, check.profile).await;
        let needed = super::Endpoint::Token;
        let whole = self.directory.resolved(&self.egress, check.profile, needed).await;
        match (announced, check.profile.issuer.as_ref()) {
            (Ok(None), _) => found.push(Finding::ok("discovery", "not used: the profile has the endpoints")),
            (Ok(Some((metadata, refused))), issuer) => {
                let issuer = issuer.map(Issuer::as_str).unwrap_or_default();
                found.push(Finding::ok("discovery", format!("the metadata of {issuer} is read")));
                for (endpoint, host) in refused {
                    found.push(Finding::fail(
                        endpoint.word(),
                        format!("is on {host}, which is not approved"),
                        format!("add `{host}` to hosts if it is right"),
                    ));
                }
                found.extend(compared(check.profile, &metadata));
            }
            (Err(failure), _) => found.push(of_failure("discovery", &failure, "check issuer and discovery")),
        }
        (found, whole.unwrap_or_else(|_| check.profile.clone()))
    }

    /// One host: resolved, connected, its certificate and its clock.
    async fn place(&self, profile: &Profile, url: &Url, uses: &str) -> Vec<Finding> {
        let host = shown(url);
        if !profile.admits(url) {
            let mend = format!("add `{host}` to hosts if it is right");
            return vec![Finding::fail(
                host.clone(),
                format!("{uses}: is not among the allowed hosts"),
                mend,
            )];
        }
        match looked(&self.egress, profile, url).await {
            Ok((over, looked)) => judged(&host, uses, over, &looked, self.clock.now()),
            Err(evidence) => vec![unreachable_place(&host, uses, &evidence)],
        }
    }

    async fn keys(&self, profile: &Profile, url: &Url) -> Finding {
        match discovery::get(&self.egress, profile, url.clone()).await {
            Ok(reply) => {
                let keys = strict::object(&reply.body);
                match keys.as_ref().and_then(|keys| keys.get("keys")).and_then(Value::as_array) {
                    Some(keys) if !keys.is_empty() => {
                        Finding::ok("jwks_uri", format!("has {} keys", keys.len()))
                    }
                    Some(_) | None => Finding::warn("jwks_uri", "has no key set", "ask the provider"),
                }
            }
            Err(failure) => Finding::warn("jwks_uri", failure.detail, "check jwks_uri"),
        }
    }

    /// Asks with the client's own credentials for what the server must refuse, or for a token that is thrown away.
    async fn client(&self, check: &Check<'_>, client: &ClientIdentity, profile: &Profile) -> Finding {
        let own = profile.grants.contains(&GrantKind::ClientCredentials)
            && check.grants.contains(&GrantKind::ClientCredentials);
        let made_up = format!("doctor-{}", Uuid::new_v4());
        let grant = if own {
            Grant::ClientCredentials
        } else {
            Grant::RefreshToken(RefreshToken(Secret::new(made_up)))
        };
        let exchange = Exchange {
            profile,
            client,
            grant: &grant,
            scopes: &[],
            resources: &[],
            granted: &[],
            api_base_url: None,
            dpop: None,
            principal: None,
            correlation_id: Uuid::new_v4(),
        };
        let subject = about(client);
        match self.spend(&exchange).await {
            Ok(answer) if answer.access.is_ok() => Finding::ok(subject, "the client is accepted"),
            Ok(_) => Finding::warn(
                subject,
                "the client is accepted, and the answer has no usable token",
                "see the broker's log for the reason",
            ),
            Err(failure) => of_client(subject, &failure),
        }
    }
}

fn about(client: &ClientIdentity) -> String {
    format!("client authentication ({})", client.auth)
}

fn late(subject: impl Into<String>, uses: &str, after: Duration) -> Finding {
    Finding::fail(
        subject,
        format!("{uses}: no answer within {} s", after.as_secs()),
        "look again; if it stays so, check firewalls and routes from the broker to the host",
    )
}

/// A made-up refresh token must be refused, and the client must not.
fn of_client(subject: String, failure: &Failure) -> Finding {
    let code = failure.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    match failure.class {
        Class::Suspect => Finding::ok(
            subject,
            format!("the client is accepted, and a made-up token is refused as it should be{code}"),
        ),
        Class::Client => Finding::fail(
            subject,
            format!("the server refuses the client{code}"),
            "check client id, secret and method, and whether the client may use this grant",
        ),
        Class::Configuration
        | Class::NotSent
        | Class::Throttled
        | Class::Down
        | Class::Ambiguous
        | Class::Malformed
        | Class::Policy => Finding::warn(
            subject,
            format!("could not be tried: {}{code}", failure.detail),
            "mend what is told above, then look again",
        ),
    }
}

fn of_failure(subject: &str, failure: &Failure, mend: &str) -> Finding {
    let about = failure.code.as_deref().map(|code| format!(" ({code})")).unwrap_or_default();
    Finding::fail(subject, format!("{}{about}", failure.detail), mend)
}

/// Every address that is talked to, once for each host, and what for. Browsers go to the authorization endpoint, not
/// the broker.
fn places(profile: &Profile) -> Vec<(Url, String)> {
    let named = [
        ("token_endpoint", profile.token_endpoint.as_ref()),
        ("device_authorization_endpoint", profile.device_authorization_endpoint.as_ref()),
        ("pushed_authorization_request_endpoint", profile.pushed_authorization_request_endpoint.as_ref()),
        ("introspection_endpoint", profile.introspection_endpoint.as_ref()),
        ("revocation_endpoint", profile.revocation_endpoint.as_ref()),
        ("bootstrap_at", profile.bootstrap_at.as_ref()),
    ];
    let named = named.into_iter().filter_map(|(use_, url)| Some((use_.to_owned(), url?)));
    let centers = profile.data_centers.iter().map(|(name, url)| (format!("data center {name}"), url));
    let mut by_host: BTreeMap<String, (Url, Vec<String>)> = BTreeMap::new();
    for (use_, url) in named.chain(centers) {
        by_host.entry(shown(url)).or_insert_with(|| (url.clone(), Vec::new())).1.push(use_);
    }
    by_host.into_values().take(HOSTS_MAX).map(|(url, uses)| (url, uses.join(", "))).collect()
}

/// The newest version of TLS that the server speaks, and what it answered.
async fn looked(egress: &Egress, profile: &Profile, url: &Url) -> Result<(&'static str, Looked), Evidence> {
    let over = |minimum_tls| Destination { minimum_tls, ..destination(profile) };
    if url.scheme() == "http" {
        let found = egress.look(&over(profile.minimum_tls), url.clone(), ANSWER_TIMEOUT).await?;
        return Ok(("plain HTTP, within this machine", found));
    }
    match egress.look(&over(MinimumTls::Tls13), url.clone(), ANSWER_TIMEOUT).await {
        Err(Evidence::NotSent(Trouble::Tls)) => egress
            .look(&over(profile.minimum_tls), url.clone(), ANSWER_TIMEOUT)
            .await
            .map(|found| ("TLS 1.2", found)),
        found => found.map(|found| ("TLS 1.3", found)),
    }
}

fn judged(host: &str, uses: &str, over: &str, looked: &Looked, now: Timestamp) -> Vec<Finding> {
    let mut found =
        vec![Finding::ok(host, format!("{uses}: answers over {over} with status {}", looked.status))];
    if let Some(ends) = looked.certificate_ends {
        let left = now.until(ends);
        let text = format!("certificate is good until {ends}");
        found.push(if left > CERTIFICATE_WARN {
            Finding::ok(host, text)
        } else {
            Finding::warn(host, text, "the provider has to renew it soon; tell them")
        });
    }
    found.push(match looked.date {
        None => Finding::warn(host, "the server does not tell the time", "compare the clocks yourself"),
        Some(theirs) => clocks(host, theirs, now),
    });
    found
}

fn clocks(host: &str, theirs: Timestamp, ours: Timestamp) -> Finding {
    let (ahead, behind) = (ours.until(theirs), theirs.until(ours));
    let apart = ahead.max(behind);
    let text = format!("clocks are {} s apart", apart.as_secs());
    if apart < SKEW_WARN {
        Finding::ok(host, text)
    } else if apart < SKEW_FAIL {
        Finding::warn(host, text, "check this machine's time synchronisation")
    } else {
        Finding::fail(
            host,
            text,
            "check this machine's time synchronisation: tokens and assertions depend on it",
        )
    }
}

fn unreachable_place(host: &str, uses: &str, evidence: &Evidence) -> Finding {
    let (what, mend) = match evidence {
        Evidence::NotSent(trouble) => (
            trouble.says(),
            match trouble {
                Trouble::Tls => {
                    "check the certificate chain, SSL_CERT_FILE, and whether something on the way intercepts TLS"
                }
                Trouble::Dns => "check the host name and this machine's DNS",
                Trouble::Connect
                | Trouble::Timeout
                | Trouble::Reset
                | Trouble::Truncated
                | Trouble::TooLarge
                | Trouble::NotJson
                | Trouble::ContentType
                | Trouble::Other => "check firewalls and routes from this machine to the host",
            },
        ),
        Evidence::HostRefused { .. } => (
            "its address is not allowed",
            "open its network with `private_networks` of the profile or egress.addresses; link-local addresses stay closed",
        ),
        Evidence::Lost(trouble) => (trouble.says(), "look again; ask the provider if it stays so"),
        Evidence::Redirected { .. }
        | Evidence::Unreadable { .. }
        | Evidence::Unusable(_)
        | Evidence::Refused(_) => ("answer was not readable", "ask the provider"),
    };
    Finding::fail(host, format!("{uses}: {what}"), mend)
}

/// What the server announces beside what the profile says.
fn compared(profile: &Profile, metadata: &Metadata) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(methods) = &metadata.auth_methods {
        for method in &profile.client_auth {
            let word = method.word();
            found.push(if methods.iter().any(|one| one == word) {
                Finding::ok("client_auth", format!("{word} is announced"))
            } else {
                let mend = format!("use one of: {}", listed(methods));
                Finding::warn("client_auth", format!("{word} is not announced"), mend)
            });
        }
    }
    if let Some(grants) = &metadata.grants {
        for grant in &profile.grants {
            let Some(word) = announced_as(*grant) else { continue };
            found.push(if grants.iter().any(|one| one == word) {
                Finding::ok("grants", format!("{} is announced", grant.word()))
            } else {
                let mend = "take it out of grants, or ask the provider whether it is switched on";
                Finding::warn("grants", format!("{} is not announced", grant.word()), mend)
            });
        }
    }
    let s256 = metadata.challenge_methods.iter().flatten().any(|method| method == "S256");
    if profile.grants.contains(&GrantKind::AuthorizationCode) && !s256 {
        let mend = "ask the provider: without PKCE a stolen code is as good as a token";
        found.push(Finding::warn("PKCE", "S256 is not announced", mend));
    }
    found
}

fn listed(words: &[String]) -> String {
    words.iter().take(12).filter_map(|word| harmless(word)).collect::<Vec<_>>().join(", ")
}

/// As `grant_types_supported` names it; `None` for what no server announces.
const fn announced_as(grant: GrantKind) -> Option<&'static str> {
    match grant {
        GrantKind::ClientCredentials => Some("client_credentials"),
        GrantKind::RefreshToken => Some("refresh_token"),
        GrantKind::AuthorizationCode => Some("authorization_code"),
        GrantKind::DeviceCode => Some("urn:ietf:params:oauth:grant-type:device_code"),
        GrantKind::Password => Some("password"),
        GrantKind::JwtBearer => Some("urn:ietf:params:oauth:grant-type:jwt-bearer"),
        GrantKind::TokenExchange => Some("urn:ietf:params:oauth:grant-type:token-exchange"),
        GrantKind::SamlBearer => Some("urn:ietf:params:oauth:grant-type:saml2-bearer"),
        GrantKind::Otp | GrantKind::CompanyRequestToken => None,
    }
}

#[cfg(test)]
#[path = "doctor_tests.rs"]
mod tests;
