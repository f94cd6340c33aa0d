//! Where people's browsers come: an address that begins a consent, and the callback that ends it. Plain pages without
//! scripts, cookies that bind a consent to one browser; beside them the public keys of clients, for providers. Decides
//! nothing about grants.

mod cookies;
mod pages;
mod paths;

use crate::{
    broker::{
        admin::{
            Admin,
            consent::{Opened, Outcome, Turn, redirects::QUERY_MAX},
            credentials,
            strangers::ToStrangers,
        },
        refresher::RefreshError,
    },
    domain::names::{ClientName, ConnectionName},
    http1::{self, Answer, Bounds, Incoming},
};
use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use paths::Place;
use std::{sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

const BOUNDS: Bounds = Bounds {
    connections: 256,
    // A query of 16 KiB and cookies beside it.
    headers: 64,
    head_bytes: 40 * 1024,
    head_timeout: Duration::from_secs(10),
    // The exchange with the provider included.
    request_timeout: Duration::from_mins(3),
};

/// How long a provider may use a client's keys without asking again, in seconds: a new key waits at least so long.
const KEYS_CACHED: &str = "max-age=300";

/// What the pages are served with.
#[derive(Clone)]
pub struct Site {
    pub admin: Arc<Admin>,
    /// Where browsers reach it; paths below its own are understood with and without it.
    pub public_url: Url,
}

/// Serves until `shutdown`; then lets requests in flight finish.
pub async fn serve(listener: TcpListener, site: Site, shutdown: CancellationToken) {
    http1::serve(listener, site, BOUNDS, shutdown).await;
}

#[async_trait]
impl http1::Site for Site {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        Self::answer(self, request).await
    }
}

impl Site {
    async fn answer<B>(&self, request: &Request<B>) -> Answer {
        let place = paths::place(request.uri().path(), self.public_url.path());
        match (place, request.method()) {
            (None, _) => page(StatusCode::NOT_FOUND, pages::NOT_FOUND, None),
            // Whoever only looks, or fetches ahead of a person, changes nothing.
            (Some(_), method) if method == Method::HEAD => empty(StatusCode::NO_CONTENT),
            (Some(_), method) if method != Method::GET => not_allowed(),
            (Some(_), _) if is_prefetch(request.headers()) => empty(StatusCode::SERVICE_UNAVAILABLE),
            (Some(Place::Healthy), _) => empty(StatusCode::NO_CONTENT),
            (Some(Place::Keys(name)), _) => self.keys(&name).await,
            (Some(Place::Open(token)), _) => self.open(&token, request.headers()).await,
            (Some(Place::Callback(name)), _) => {
                self.take_back(name, request.uri().query().unwrap_or_default(), request.headers()).await
            }
        }
    }

    /// What a provider verifies the client's assertions with (RFC 7517 §5). A client without keys is not told from one
    /// that does not exist, or of which nothing can be used: who is a client here is nobody's business.
    async fn keys(&self, name: &ClientName) -> Answer {
        match self.admin.client(name).await {
            Ok(found) => match credentials::jwks(&found.record) {
                Some(keys) => key_set(&keys),
                None => page(StatusCode::NOT_FOUND, pages::NOT_FOUND, None),
            },
            Err(err) => match self.admin.strangers.judge(name, &err) {
                ToStrangers::Missing => page(StatusCode::NOT_FOUND, pages::NOT_FOUND, None),
                ToStrangers::Away => page(StatusCode::SERVICE_UNAVAILABLE, pages::UNAVAILABLE, None),
            },
        }
    }

    async fn open(&self, token: &str, headers: &HeaderMap) -> Answer {
        let (admin, token, cookies) =
            (self.admin.clone(), token.to_owned(), cookies::read(headers, &self.public_url));
        let work = async move { admin.open_authorization(&token, &cookies).await };
        match self.admin.refresher.finished(work).await {
            Ok(Ok(opened)) => self.onward(&opened),
            Ok(Err(turn)) => told(&turn),
            Err(err) => broken(&err),
        }
    }

    /// Finished even if the browser goes away: the code is used up by then.
    async fn take_back(&self, place: Option<ConnectionName>, query: &str, headers: &HeaderMap) -> Answer {
        if query.len() > QUERY_MAX {
            return told(&Turn { connection: None, outcome: Outcome::Nonsense, return_uri: None });
        }
        let (admin, query, cookies) =
            (self.admin.clone(), query.to_owned(), cookies::read(headers, &self.public_url));
        let work = async move { admin.take_redirect(place.as_ref(), &query, &cookies).await };
        match self.admin.refresher.finished(work).await {
            Ok(turn) => told(&turn),
            Err(err) => broken(&err),
        }
    }

    fn onward(&self, opened: &Opened) -> Answer {
        let Ok(location) = HeaderValue::try_from(opened.location.as_str()) else {
            return page(StatusCode::INTERNAL_SERVER_ERROR, pages::BROKEN, None);
        };
        let mut answer = empty(StatusCode::SEE_OTHER);
        answer.headers_mut().insert(header::LOCATION, location);
        if let Some((name, value)) = &opened.cookie
            && let Some(cookie) = cookies::written(name, value, opened.cookie_age, &self.public_url)
        {
            answer.headers_mut().insert(header::SET_COOKIE, cookie);
        }
        answer
    }
}

/// `Sec-Purpose` (Fetch standard), and what browsers said before it.
fn is_prefetch(headers: &HeaderMap) -> bool {
    ["sec-purpose", "purpose", "x-moz", "x-purpose"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok())
        .any(|value| value.contains("prefetch") || value.contains("preview"))
}

fn told(turn: &Turn) -> Answer {
    if let Some(address) = turn.return_uri.as_deref().and_then(|uri| pages::returning(uri, turn)) {
        let mut answer = empty(StatusCode::SEE_OTHER);
        answer.headers_mut().insert(header::LOCATION, address);
        return answer;
    }
    let (status, text) = pages::of(&turn.outcome);
    page(status, text, turn.connection.as_ref())
}

fn broken(err: &RefreshError) -> Answer {
    tracing::error!(cause = %err, "a browser's request ended without an outcome");
    page(StatusCode::SERVICE_UNAVAILABLE, pages::UNAVAILABLE, None)
}

fn not_allowed() -> Answer {
    let mut answer = page(StatusCode::METHOD_NOT_ALLOWED, pages::NOT_FOUND, None);
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}

fn empty(status: StatusCode) -> Answer {
    finished(status, Bytes::new())
}

fn page(status: StatusCode, text: pages::Text, connection: Option<&ConnectionName>) -> Answer {
    finished(status, Bytes::from(pages::html(text, connection)))
}

fn key_set(keys: &serde_json::Value) -> Answer {
    let mut answer = finished(StatusCode::OK, Bytes::from(keys.to_string()));
    let media_type = HeaderValue::from_static("application/jwk-set+json");
    answer.headers_mut().insert(header::CONTENT_TYPE, media_type);
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(KEYS_CACHED));
    answer
}

/// Nothing of ours is kept, framed, guessed at or told to the next site; nothing is loaded or run.
fn finished(status: StatusCode, body: Bytes) -> Answer {
    let mut answer = http1::answer(status, body);
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'sha256-aOfYOZrRnYjqNgomPXtdtYDjvZNjBKt2avFGljx1Qh8='; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ] {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::STANDARD};

    #[test]
    fn the_policy_names_the_only_style_there_is() {
        let hash = STANDARD.encode(crate::seal::digest(pages::STYLE).0);
        let answer = empty(StatusCode::OK);
        let policy = answer.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains(&format!("'sha256-{hash}'")), "{hash}");
        assert_eq!(answer.headers()[header::CACHE_CONTROL], "no-store");
    }

    #[test]
    fn what_is_fetched_ahead_is_told_apart() {
        for (name, value, ahead) in [
            ("sec-purpose", "prefetch;prerender", true),
            ("purpose", "prefetch", true),
            ("x-moz", "prefetch", true),
            ("sec-fetch-mode", "navigate", false),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static(value))]);
            assert_eq!(is_prefetch(&headers), ahead, "{name}: {value}");
        }
    }
}
