//! Asks a Kubernetes cluster whether it still accepts a token (TokenReview, authentication.k8s.io/v1), for calls that
//! change something: a signature says nothing of a pod that is gone. What it accepted it is not asked again for a moment.

use super::{
    fetching::{ReadSecret, bearer, host_of, unsent},
    refusal::Refusal,
};
use crate::{
    domain::{issuer::Issuer, names::Id, profile::MinimumTls},
    egress::{Destination, Egress, Outgoing, Reply, Roots},
};
use async_trait::async_trait;
use http::{HeaderMap, HeaderValue, Method, header};
use parking_lot::Mutex;
use quick_cache::sync::Cache;
use serde::Deserialize;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout},
};
use url::Url;

/// Tokens that are remembered as accepted.
const ACCEPTED_MAX: usize = 10_000;
/// Questions at once; more wait, within their time.
const AT_ONCE: usize = 16;
/// Where they are asked, behind the address of the API server.
const PATH: [&str; 4] = ["apis", "authentication.k8s.io", "v1", "tokenreviews"];

/// Somebody who knows whether a token is still accepted.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// `token` is a JWT whose signature was verified. Bounded in time by who asks.
    async fn review(&self, token: &str, audiences: &BTreeSet<String>) -> Result<Said, NotSaid>;
}

/// What a cluster says of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Accepted {
        username: String,
        /// Those of the token that were asked about.
        audiences: Vec<String>,
    },
    NotAccepted,
}

/// Why it says nothing. In words of our own, with the mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotSaid(pub String);

/// Whose tokens are asked about, and how.
pub struct Reviews {
    cluster: Arc<dyn Cluster>,
    issuers: BTreeSet<Id>,
    /// Longest wait for an answer.
    time: Duration,
    /// How long one counts.
    remember: Duration,
    accepted: Cache<[u8; 32], Instant>,
    at_once: Semaphore,
    /// What was warned of last.
    told: Mutex<Option<String>>,
}

/// Why a call that changes something does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotReviewed {
    Refused(Refusal),
    Away,
}

impl Reviews {
    pub fn new(cluster: Arc<dyn Cluster>, issuers: BTreeSet<Id>, time: Duration, remember: Duration) -> Self {
        Self {
            cluster,
            issuers,
            time,
            remember,
            accepted: Cache::new(ACCEPTED_MAX),
            at_once: Semaphore::new(AT_ONCE),
            told: Mutex::default(),
        }
    }

    /// `digest` is the token's.
    pub(super) async fn check(
        &self,
        (token, digest): (&str, [u8; 32]),
        issuer: &Issuer,
        subject: &str,
    ) -> Result<(), NotReviewed> {
        if !self.issuers.contains(&issuer.name) {
            return Ok(());
        }
        if self.accepted.get(&digest).is_some_and(|at| at.elapsed() < self.remember) {
            return Ok(());
        }
        let asked = async {
            // Closed never.
            let _one = self.at_once.acquire().await;
            self.cluster.review(token, &issuer.audiences).await
        };
        let said = timeout(self.time, asked).await;
        let said = said.unwrap_or_else(|_| Err(NotSaid("it did not answer in time".to_owned())));
        let said = said.map_err(|NotSaid(trouble)| {
            self.tell(trouble);
            NotReviewed::Away
        })?;
        *self.told.lock() = None;
        match said {
            Said::NotAccepted => Err(NotReviewed::Refused(Refusal::Revoked)),
            // An answer without audiences comes from a server that does not look at them.
            Said::Accepted { audiences, .. }
                if !audiences.iter().any(|one| issuer.audiences.contains(one)) =>
            {
                Err(NotReviewed::Refused(Refusal::Audience))
            }
            Said::Accepted { username, .. } if username != subject => {
                Err(NotReviewed::Refused(Refusal::Subject))
            }
            Said::Accepted { .. } => {
                self.accepted.insert(digest, Instant::now());
                Ok(())
            }
        }
    }

    /// Once of the same thing.
    fn tell(&self, trouble: String) {
        let mut told = self.told.lock();
        if told.as_ref() != Some(&trouble) {
            tracing::warn!(
                trouble,
                "TokenReview cannot be asked: callers with a token of its issuers change nothing until it can"
            );
            *told = Some(trouble);
        }
    }
}

/// An API server.
pub struct OverHttp {
    pub egress: Egress,
    pub address: Url,
    /// PEM of the only authorities that may vouch for it; `None`: those of the system.
    pub ca: Option<String>,
    /// The token of a service account that may create TokenReviews.
    pub credential: ReadSecret,
    /// Longest request.
    pub time: Duration,
}

#[async_trait]
impl Cluster for OverHttp {
    async fn review(&self, token: &str, audiences: &BTreeSet<String>) -> Result<Said, NotSaid> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::AUTHORIZATION, bearer(&self.credential).map_err(NotSaid)?);
        let mut url = self.address.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(PATH);
        }
        let hosts = [host_of(&url)];
        let destination = Destination {
            hosts: &hosts,
            roots: self.ca.as_deref().map_or(Roots::System, Roots::Only),
            minimum_tls: MinimumTls::Tls12,
            networks: &[],
        };
        let body = question(token, audiences);
        let outgoing = Outgoing { method: Method::POST, url, headers, body, presenting: None };
        let reply = self.egress.send(&destination, outgoing, self.time).await;
        answer(&reply.map_err(|evidence| NotSaid(unsent(&evidence).to_owned()))?)
    }
}

/// A token that was taken apart has nothing that JSON escapes. The whole capacity at once: growing leaves copies behind.
fn question(token: &str, audiences: &BTreeSet<String>) -> Vec<u8> {
    let audiences: serde_json::Value = audiences.iter().map(String::as_str).collect();
    let audiences = audiences.to_string();
    let pieces = [
        r#"{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":""#,
        token,
        r#"","audiences":"#,
        &audiences,
        "}}",
    ];
    let mut body = Vec::with_capacity(pieces.iter().map(|piece| piece.len()).sum());
    for piece in pieces {
        body.extend_from_slice(piece.as_bytes());
    }
    body
}

#[derive(Deserialize)]
struct TokenReview {
    status: Status,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Status {
    authenticated: bool,
    user: User,
    audiences: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
}

fn answer(reply: &Reply) -> Result<Said, NotSaid> {
    let trouble = |text: &str| Err(NotSaid(text.to_owned()));
    match reply.status {
        200..=202 => {}
        401 => {
            return trouble(
                "it does not accept the token in identity.token_review.token_file: mount a fresh one",
            );
        }
        403 => {
            return trouble(
                "the service account of identity.token_review.token_file may not ask it: bind it to the ClusterRole \
                 system:auth-delegator",
            );
        }
        404 => {
            return trouble(
                "there is no TokenReview at identity.token_review.address: name the API server alone",
            );
        }
        status => return Err(NotSaid(format!("it answered {status}"))),
    }
    match serde_json::from_slice::<TokenReview>(&reply.body) {
        Ok(TokenReview { status: Status { authenticated: true, user, audiences } }) => {
            Ok(Said::Accepted { username: user.username, audiences })
        }
        Ok(TokenReview { status: Status { authenticated: false, .. } }) => Ok(Said::NotAccepted),
        Err(_) => trouble("what it answered is no TokenReview"),
    }
}

#[cfg(test)]
#[path = "review_tests.rs"]
mod tests;
