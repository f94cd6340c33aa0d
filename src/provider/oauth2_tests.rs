//! RFC 6749 and RFC 7009 against a scripted server.

use crate::{
    domain::{
        failure::{Class, Failure},
        profile::{ClientAuth, Profile},
        token::{AccessToken, RefreshToken, Secret},
    },
    provider::{
        ClientIdentity, Exchange, Grant, Provider, Revocation,
        rig::{self, FakeServer, NOW},
    },
};
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn a_refresh_keeps_what_comes_back_and_counts_from_the_sending() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    server.then(
        200,
        json!({"access_token": "a2", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r2", "scope": "x", "extra": {"a": [1]}}),
    );
    let answer = rig::refresh(&profile).await.unwrap();
    assert_eq!(answer.refresh_token.unwrap().0.expose(), "r2");
    let issued = answer.access.unwrap();
    assert_eq!((issued.issued_at, issued.expires_at), (NOW, NOW.plus(Duration::from_secs(3600))));
    assert_eq!(issued.access_token.0.expose(), "a2");
    assert!(answer.api_base_url.is_none() && answer.principal.is_none());

    server.then(200, json!({"access_token": "a3", "token_type": "Bearer", "refresh_token": ""}));
    assert!(rig::refresh(&profile).await.unwrap().refresh_token.is_none());
}

#[tokio::test]
async fn basic_authentication_keeps_the_secret_out_of_the_body() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    server.then(200, json!({"access_token": "a", "token_type": "Bearer"}));
    let client = rig::client(ClientAuth::ClientSecretBasic, &["s:1"]);
    let scopes = ["read".to_owned()];
    let exchange = Exchange { scopes: &scopes, ..rig::ask(&profile, &client, &Grant::ClientCredentials) };
    assert!(rig::providers().spend_unclaimed(&exchange).await.unwrap().access.is_ok());
    let seen = &server.seen()[0];
    assert_eq!(seen.body, "grant_type=client_credentials&scope=read");
    // `client-1:s%3A1` in Base64.
    assert_eq!(seen.headers["authorization"], "Basic Y2xpZW50LTE6cyUzQTE=");
}

#[tokio::test]
async fn the_next_secret_is_tried_when_the_client_is_refused() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    let (client, grant) =
        (rig::client(ClientAuth::ClientSecretPost, &["s1", "s2"]), rig::refresh_token("r1"));
    server.then(401, json!({"error": "invalid_client"}));
    server.then(200, json!({"access_token": "a", "token_type": "Bearer"}));
    assert!(rig::providers().spend_unclaimed(&rig::ask(&profile, &client, &grant)).await.is_ok());
    let seen = server.seen();
    assert!(seen[0].body.contains("client_secret=s1") && seen[1].body.contains("client_secret=s2"));
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_sent() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "client_auth = [\"client_secret_post\"]");
    let company = Grant::CompanyRequestToken { company_uuid: "u".into(), request_token: Secret::new("t") };
    let refresh = rig::refresh_token("r1");
    for (client, grant) in [
        (rig::client(ClientAuth::ClientSecretBasic, &["s"]), &refresh),
        (rig::client(ClientAuth::ClientSecretPost, &[]), &refresh),
        (rig::client(ClientAuth::ClientSecretPost, &["s"]), &company),
    ] {
        let failure =
            rig::providers().spend_unclaimed(&rig::ask(&profile, &client, grant)).await.unwrap_err();
        assert_eq!(failure.class, Class::Configuration);
    }
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn refusals_are_judged_by_rfc_6749_and_then_by_status() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    for (status, body, class) in [
        (400, json!({"error": "invalid_grant"}).to_string(), Class::Suspect),
        (200, json!({"error": "invalid_grant"}).to_string(), Class::Suspect),
        (400, json!({"error": "invalid_scope"}).to_string(), Class::Configuration),
        (400, json!({"error": "temporarily_unavailable"}).to_string(), Class::Down),
        (400, json!({"error": "slow_down"}).to_string(), Class::Throttled),
        (502, json!({"error": "invalid_grant"}).to_string(), Class::Down),
        (404, "<html>".to_owned(), Class::Configuration),
        (307, String::new(), Class::Policy),
        (200, "<html>".to_owned(), Class::Ambiguous),
        (204, String::new(), Class::Ambiguous),
    ] {
        server.then(status, &body);
        assert_eq!(rig::refresh(&profile).await.unwrap_err().class, class, "{status} {body}");
    }
}

fn revocation<'a>(profile: &'a Profile, client: &'a ClientIdentity) -> Revocation<'a> {
    Revocation {
        profile,
        client,
        refresh_token: None,
        access_token: None,
        api_base_url: None,
        correlation_id: uuid::Uuid::nil(),
    }
}

async fn revoked(revocation: &Revocation<'_>) -> Option<Class> {
    let outcome: Result<(), Failure> = rig::providers().revoke(revocation).await;
    outcome.err().map(|failure| failure.class)
}

#[tokio::test]
async fn revocation_follows_rfc_7009() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    let client = rig::client(ClientAuth::ClientSecretPost, &["s"]);
    let (refresh_token, access_token) = (RefreshToken(Secret::new("r1")), AccessToken(Secret::new("a1")));
    let asked = Revocation {
        refresh_token: Some(&refresh_token),
        access_token: Some(&access_token),
        ..revocation(&profile, &client)
    };
    for (status, body, class) in [
        (200, String::new(), None),
        (400, json!({"error": "invalid_token"}).to_string(), None),
        (400, json!({"error": "unsupported_token_type"}).to_string(), Some(Class::Configuration)),
        (401, json!({"error": "invalid_client"}).to_string(), Some(Class::Client)),
        (503, String::new(), Some(Class::Down)),
        (302, String::new(), Some(Class::Policy)),
    ] {
        server.then(status, &body);
        assert_eq!(revoked(&asked).await, class, "{status} {body}");
    }
    let seen = &server.seen()[0];
    assert_eq!(seen.path, "/revoke");
    assert_eq!(seen.body, "token=r1&token_type_hint=refresh_token&client_id=client-1&client_secret=s");

    server.then(200, "");
    let access_only = Revocation { refresh_token: None, ..asked };
    assert_eq!(revoked(&access_only).await, None);
    assert!(server.seen()[6].body.starts_with("token=a1&token_type_hint=access_token&"));

    assert_eq!(revoked(&revocation(&profile, &client)).await, None);
    assert_eq!(server.seen().len(), 7);
    let none = rig::plain(&server, "").clone();
    let none = Profile { revocation: crate::domain::profile::Revocation::None, ..none };
    assert_eq!(revoked(&revocation(&none, &client)).await, Some(Class::Configuration));
}

#[tokio::test]
async fn failures_show_neither_secrets_nor_the_servers_words() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    for (status, body) in [
        (400, json!({"error": "invalid_grant", "error_description": "canary r1 secret-1"}).to_string()),
        (200, "canary".to_owned()),
        (
            200,
            json!({"access_token": "canary", "refresh_token": "canary", "token_type": "canary"}).to_string(),
        ),
    ] {
        server.then(status, &body);
        let shown = format!("{:?}", rig::refresh(&profile).await);
        for secret in ["canary", "r1", "secret-1"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}
