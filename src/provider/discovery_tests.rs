//! Metadata of servers that are right, wrong, hostile and away.

use super::*;
use crate::{
    domain::profile::{Offer, ResponseIss, Revocation},
    egress::AddressPolicy,
    provider::rig::{self, FakeServer},
};
use serde_json::{Value, json};

const JSON: &str = "application/json";

fn egress() -> Egress {
    Egress::new(AddressPolicy::LoopbackOnly).unwrap()
}

fn profile(server: &FakeServer, lines: &str) -> Arc<Profile> {
    let text = format!("issuer = \"{}\"\ndiscovery = \"oauth\"\n{lines}", server.base);
    Arc::new(rig::profile("generic-oauth2", &text))
}

/// What an honest server says of itself.
fn honest(server: &FakeServer) -> Value {
    let base = &server.base;
    json!({
        "issuer": base,
        "token_endpoint": format!("{base}/t"),
        "authorization_endpoint": format!("{base}/a"),
        "revocation_endpoint": format!("{base}/r"),
        "introspection_endpoint": format!("{base}/i"),
        "pushed_authorization_request_endpoint": format!("{base}/p"),
        "jwks_uri": format!("{base}/j"),
        "mtls_endpoint_aliases": {"token_endpoint": format!("{base}/mt")},
        "token_endpoint_auth_methods_supported": ["client_secret_basic"],
        "authorization_response_iss_parameter_supported": true,
        "dpop_signing_alg_values_supported": ["RS256", "ES256"],
        "unknown": {"a": [1]},
    })
}

fn with(mut metadata: Value, name: &str, value: Value) -> Value {
    metadata[name] = value;
    metadata
}

async fn resolved(
    server: &FakeServer,
    metadata: impl ToString,
    lines: &str,
) -> Result<Arc<Profile>, Failure> {
    server.then(200, metadata);
    Directory::default().resolved(&egress(), &profile(server, lines), Endpoint::Token).await
}

fn path(url: Option<&Url>) -> Option<&str> {
    url.map(Url::path)
}

#[tokio::test]
async fn endpoints_come_from_the_issuer_and_written_ones_stay() {
    let server = FakeServer::start().await;
    let written = format!("revocation_endpoint = \"{}/written\"", server.base);
    let whole = resolved(&server, honest(&server), &written).await.unwrap();
    assert_eq!(path(whole.token_endpoint.as_ref()), Some("/t"));
    assert_eq!(path(whole.authorization_endpoint.as_ref()), Some("/a"));
    assert_eq!(path(whole.revocation_endpoint.as_ref()), Some("/written"));
    assert_eq!(path(whole.introspection_endpoint.as_ref()), Some("/i"));
    assert_eq!(path(whole.jwks_uri.as_ref()), Some("/j"));
    assert_eq!(path(whole.mtls_endpoint_aliases.token_endpoint.as_ref()), Some("/mt"));
    assert_eq!(whole.device_authorization_endpoint, None);
    assert_eq!(whole.revocation, Revocation::Rfc7009, "what is announced is used");
    assert_eq!(whole.response_iss, ResponseIss::Required);
    assert_eq!((whole.pushed_authorization, whole.dpop), (Offer::Offered, Offer::Offered));
    assert!(whole.admits(whole.token_endpoint.as_ref().unwrap()));
    let seen = &server.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("GET", "/.well-known/oauth-authorization-server")
    );
    assert!(seen.body.is_empty() && !seen.headers.contains_key("authorization"));
}

#[test]
fn the_well_known_part_stands_where_each_standard_has_it() {
    let issuer = |text: &str| Issuer::new(text, Url::parse(text).unwrap());
    for (text, oauth, oidc) in [
        ("https://a.example", "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"),
        (
            "https://a.example/",
            "/.well-known/oauth-authorization-server",
            "/.well-known/openid-configuration",
        ),
        (
            "https://a.example/t/1",
            "/.well-known/oauth-authorization-server/t/1",
            "/t/1/.well-known/openid-configuration",
        ),
        (
            "https://a.example/t/",
            "/.well-known/oauth-authorization-server/t",
            "/t/.well-known/openid-configuration",
        ),
    ] {
        assert_eq!(address(Discovery::Oauth, &issuer(text)).path(), oauth, "{text}");
        assert_eq!(address(Discovery::Oidc, &issuer(text)).path(), oidc, "{text}");
    }
}

#[tokio::test]
async fn metadata_that_is_not_plainly_the_issuers_own_is_void() {
    let server = FakeServer::start().await;
    let base = server.base.clone();
    let good = honest(&server);
    let twice = good.to_string().replacen('{', "{\"token_endpoint\":\"http://127.0.0.1:1/t\",", 1);
    let nested = good.to_string().replacen(
        "\"mtls_endpoint_aliases\":{",
        "\"mtls_endpoint_aliases\":{\"token_endpoint\":\"http://127.0.0.1:1/t\",",
        1,
    );
    let (policy, configuration) = (Class::Policy, Class::Configuration);
    for (body, class) in [
        (with(good.clone(), "issuer", json!(format!("{base}/"))).to_string(), policy),
        (with(good.clone(), "issuer", json!(base.to_uppercase())).to_string(), policy),
        (with(good.clone(), "issuer", json!("https://idp.example")).to_string(), policy),
        (with(good.clone(), "issuer", json!([base])).to_string(), configuration),
        (with(good.clone(), "issuer", Value::Null).to_string(), configuration),
        (json!({"token_endpoint": format!("{base}/t")}).to_string(), configuration),
        (with(good.clone(), "token_endpoint", json!("http://10.0.0.1/t")).to_string(), policy),
        (with(good.clone(), "token_endpoint", json!("http://idp.example/t")).to_string(), policy),
        (with(good.clone(), "token_endpoint", json!("https://u:p@idp.example/t")).to_string(), policy),
        (
            with(good.clone(), "token_endpoint", json!("https://idp.example\\@evil.example")).to_string(),
            policy,
        ),
        (with(good.clone(), "token_endpoint", json!("https://idp.example/\nt")).to_string(), policy),
        (with(good.clone(), "token_endpoint", json!("https://idp.example/t#f")).to_string(), policy),
        (with(good.clone(), "token_endpoint", json!("file:///etc/passwd")).to_string(), policy),
        (with(good.clone(), "token_endpoint", json!("/t")).to_string(), policy),
        (with(good.clone(), "token_endpoint", json!("")).to_string(), policy),
        (
            with(good.clone(), "token_endpoint", json!(format!("{base}/{}", "a".repeat(2000)))).to_string(),
            policy,
        ),
        (with(good.clone(), "token_endpoint", json!(7)).to_string(), configuration),
        (with(good.clone(), "token_endpoint", json!({"a": 1})).to_string(), configuration),
        (with(good.clone(), "mtls_endpoint_aliases", json!("x")).to_string(), configuration),
        (
            with(good.clone(), "mtls_endpoint_aliases", json!({"token_endpoint": 1})).to_string(),
            configuration,
        ),
        (with(good.clone(), "grant_types_supported", json!("a")).to_string(), configuration),
        (with(good.clone(), "grant_types_supported", json!([1])).to_string(), configuration),
        (with(good.clone(), "grant_types_supported", json!(vec!["a"; 300])).to_string(), configuration),
        (
            with(good.clone(), "require_pushed_authorization_requests", json!("yes")).to_string(),
            configuration,
        ),
        (twice, configuration),
        (nested, configuration),
        (format!("[{good}]"), configuration),
        ("<html>".to_owned(), configuration),
        (String::new(), configuration),
    ] {
        let failure = resolved(&server, &body, "").await.unwrap_err();
        assert_eq!(failure.class, class, "{body}");
        assert!(!failure.leaves_open() && failure.code.is_none(), "{body}");
    }
    assert!(resolved(&server, &good, "").await.is_ok());
}

#[tokio::test]
async fn an_answer_that_is_no_metadata_says_what_to_look_at() {
    let server = FakeServer::start().await;
    let good = honest(&server).to_string();
    for (status, kind, class) in [
        (200, "text/html", Class::Configuration),
        (200, "text/plain", Class::Configuration),
        (200, "application/jsonx", Class::Configuration),
        (201, JSON, Class::Configuration),
        (204, JSON, Class::Configuration),
        (301, JSON, Class::Policy),
        (302, JSON, Class::Policy),
        (307, JSON, Class::Policy),
        (401, JSON, Class::Configuration),
        (404, JSON, Class::Configuration),
        (429, JSON, Class::NotSent),
        (500, JSON, Class::NotSent),
        (503, JSON, Class::NotSent),
    ] {
        server.then_with(status, &[("content-type", kind), ("location", "https://evil.example/")], &good);
        let directory = Directory::default();
        let failure =
            directory.resolved(&egress(), &profile(&server, ""), Endpoint::Token).await.unwrap_err();
        assert_eq!(failure.class, class, "{status} {kind}");
        assert!(!failure.leaves_open());
    }
    server.then(200, " ".repeat(70_000));
    let huge = Directory::default().resolved(&egress(), &profile(&server, ""), Endpoint::Token).await;
    assert_eq!(huge.unwrap_err().detail, "answer was larger than 64 KiB");
    assert_eq!(server.seen().len(), 14, "no redirect was followed");
}

#[tokio::test]
async fn a_host_that_nobody_approved_is_named_and_not_used() {
    let server = FakeServer::start().await;
    for (address, host) in [
        ("https://token.example/t", "token.example"),
        ("https://token.example:8443/t", "token.example:8443"),
        ("https://169.254.169.254/t", "169.254.169.254"),
        ("https://[::ffff:a9fe:a9fe]/t", "::ffff:a9fe:a9fe"),
        ("https://2852039166/t", "169.254.169.254"),
        ("https://127.0.0.1.evil.example/t", "127.0.0.1.evil.example"),
        ("http://127.0.0.1:1/t", "127.0.0.1:1"),
    ] {
        let metadata = with(honest(&server), "token_endpoint", json!(address));
        let failure = resolved(&server, &metadata, "").await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_deref()), (Class::Policy, Some(host)), "{address}");
        assert!(failure.detail.contains("`hosts`"));
    }
    // The approval: the host in the profile. The issuer's own need not be repeated.
    let metadata = with(honest(&server), "token_endpoint", json!("https://token.example/t"));
    let approved = resolved(&server, &metadata, "hosts = [\"token.example\"]").await.unwrap();
    assert_eq!(approved.token_endpoint.as_ref().unwrap().as_str(), "https://token.example/t");

    // Another endpoint elsewhere is refused to who needs it, and to nobody else.
    let metadata = with(honest(&server), "revocation_endpoint", json!("https://token.example/r"));
    server.then(200, &metadata);
    let (directory, profile) = (Directory::default(), profile(&server, ""));
    let whole = directory.resolved(&egress(), &profile, Endpoint::Token).await.unwrap();
    assert_eq!((whole.revocation_endpoint.as_ref(), whole.revocation), (None, Revocation::None));
    let failure = directory.resolved(&egress(), &profile, Endpoint::Revocation).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_deref()), (Class::Policy, Some("token.example")));
}

#[tokio::test]
async fn what_is_known_is_asked_for_once_an_hour_and_serves_on_while_the_server_is_away() {
    tokio::time::pause();
    let server = FakeServer::start().await;
    let (directory, profile) = (Directory::default(), profile(&server, ""));
    let ask = async || {
        tokio::time::resume();
        let found = directory.resolved(&egress(), &profile, Endpoint::Token).await;
        tokio::time::pause();
        found
    };
    let minutes = |n: u64| tokio::time::advance(Duration::from_secs(n * 60));
    server.then(200, honest(&server));
    assert!(ask().await.is_ok());
    minutes(59).await;
    assert!(ask().await.is_ok());
    assert_eq!(server.seen().len(), 1);

    server.then(503, "").then(500, "");
    minutes(2).await;
    assert!(ask().await.is_ok(), "the old copy");
    assert!(ask().await.is_ok(), "and the server is left alone");
    assert_eq!(server.seen().len(), 2);
    minutes(1).await;
    assert!(ask().await.is_ok());
    assert_eq!(server.seen().len(), 3);

    // It moved to a host that nobody approved: what was approved stays in use.
    minutes(10).await;
    server.then(200, with(honest(&server), "issuer", json!("https://evil.example")));
    assert_eq!(path(ask().await.unwrap().token_endpoint.as_ref()), Some("/t"));
    minutes(10).await;
    server.then_with(
        200,
        &[("cache-control", "public, max-age=1")],
        with(honest(&server), "token_endpoint", json!(format!("{}/t2", server.base))),
    );
    assert_eq!(path(ask().await.unwrap().token_endpoint.as_ref()), Some("/t2"));
    minutes(4).await;
    ask().await.unwrap();
    assert_eq!(server.seen().len(), 5, "not more often than every five minutes");
    minutes(2).await;
    server.then_with(200, &[("cache-control", "max-age=31536000")], honest(&server));
    ask().await.unwrap();
    minutes(23 * 60).await;
    ask().await.unwrap();
    assert_eq!(server.seen().len(), 6);
    minutes(61).await;
    server.then(200, honest(&server));
    ask().await.unwrap();
    assert_eq!(server.seen().len(), 7, "not less often than once a day");
}

#[tokio::test]
async fn many_who_ask_at_once_ask_once_and_a_failure_is_not_hammered() {
    let server = FakeServer::start().await;
    let (directory, profile, egress) = (Directory::default(), profile(&server, ""), egress());
    server.then(404, "").then(200, honest(&server));
    let all = (0..50).map(|_| directory.resolved(&egress, &profile, Endpoint::Token));
    for outcome in futures_util::future::join_all(all).await {
        let failure = outcome.unwrap_err();
        assert_eq!(failure.class, Class::Configuration);
        assert!(failure.retry_after.unwrap() <= PAUSE_FIRST);
    }
    assert_eq!(server.seen().len(), 1);
    tokio::time::pause();
    tokio::time::advance(PAUSE_FIRST).await;
    tokio::time::resume();
    let all = (0..50).map(|_| directory.resolved(&egress, &profile, Endpoint::Token));
    assert!(futures_util::future::join_all(all).await.iter().all(Result::is_ok));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn the_pause_after_a_failure_doubles_up_to_five_minutes() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let entry = Entry::default();
        let pauses: Vec<_> =
            (0..10).map(|_| entry.failed(local(Class::NotSent, "")).retry_after.unwrap().as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert!(entry.paused().is_some());
    });
}
