//! RFC 6749 and RFC 7009 against a scripted server.

use crate::{
    domain::{failure::Class, profile::ClientAuth, token::Secret},
    provider::{
        Exchange, Grant,
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

/// A hostile server writes what it was sent, or what it gives, where a code or an id belongs.
#[tokio::test]
async fn a_credential_in_a_servers_words_is_not_shown_and_the_words_are_judged() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    let (sent, secret) = ("rt-canary-4711-0815", "secret-canary-0815");
    let (client, grant) = (rig::client(ClientAuth::ClientSecretPost, &[secret]), rig::refresh_token(sent));
    let given = "at-canary-new-2342";
    for (status, id, body, class) in [
        (400, "id-1", json!({"error": sent}), Class::Configuration),
        (400, "id-1", json!({"error": "invalid_grant", "code": secret}), Class::Suspect),
        (400, sent, json!({"error": "invalid_grant"}), Class::Suspect),
        (400, "id-1", json!({"error": format!("x{}y", &sent[3..15])}), Class::Configuration),
        (200, "id-1", json!({"error": given, "access_token": given}), Class::Configuration),
        (200, given, json!({"access_token": given, "token_type": "mac"}), Class::Malformed),
    ] {
        server.then_with(status, &[("x-request-id", id)], &body);
        let outcome = rig::providers().spend_unclaimed(&rig::ask(&profile, &client, &grant)).await;
        let (found, correlation_id) = match outcome {
            Ok(answer) => (answer.access.unwrap_err(), answer.correlation_id),
            Err(failure) => (failure.clone(), failure.correlation_id),
        };
        assert_eq!(found.class, class, "{body}");
        assert!(!format!("{found:?} {correlation_id:?}").contains("canary"), "{body}: {found:?}");
        let honest = id == "id-1";
        assert_eq!(correlation_id.is_some(), honest, "{body}");
    }
    server.then_with(400, &[("x-request-id", "id-1")], json!({"error": "invalid_grant"}));
    let honest = rig::providers().spend_unclaimed(&rig::ask(&profile, &client, &grant)).await.unwrap_err();
    assert_eq!(honest.code.as_deref(), Some("invalid_grant"));
}

/// Tokens bound to a key (RFC 9449).
mod bound {
    use super::*;
    use crate::{
        domain::{failure::Failure, profile::Profile},
        provider::{
            Answer, Binding, Providers,
            dpop::{DpopKey, proof},
            rig::Seen,
        },
    };
    use serde_json::Value;

    const REQUIRED: &str = "dpop = \"required\"";

    fn key() -> DpopKey {
        DpopKey::from_pem(&DpopKey::generate().unwrap()).unwrap()
    }

    fn good() -> Value {
        json!({"access_token": "a", "token_type": "DPoP", "expires_in": 60, "refresh_token": "r2"})
    }

    async fn refresh(
        providers: &Providers,
        profile: &Profile,
        key: Option<&DpopKey>,
    ) -> Result<Answer, Failure> {
        let (client, grant) = (rig::client(ClientAuth::ClientSecretPost, &["s"]), rig::refresh_token("r1"));
        providers.spend_unclaimed(&Exchange { dpop: key, ..rig::ask(profile, &client, &grant) }).await
    }

    fn claim(seen: &Seen, name: &str) -> Value {
        let proof = seen.headers["dpop"].to_str().unwrap();
        proof::peek(proof).unwrap().claims.get(name).cloned().unwrap_or_default()
    }

    #[tokio::test]
    async fn a_nonce_that_is_wanted_is_sent_once_more_and_remembered() {
        let server = FakeServer::start().await;
        let (profile, key, providers) = (rig::plain(&server, REQUIRED), key(), rig::providers());
        server.then_with(400, &[("dpop-nonce", "n-1")], json!({"error": "use_dpop_nonce"}));
        server.then_with(200, &[("dpop-nonce", "n-2")], good());
        server.then(200, good());
        let issued = refresh(&providers, &profile, Some(&key)).await.unwrap().access.unwrap();
        assert_eq!(issued.binding, Binding::Bound);
        refresh(&providers, &profile, Some(&key)).await.unwrap();
        let seen = server.seen();
        let nonces: Vec<_> = seen.iter().map(|seen| claim(seen, "nonce")).collect();
        assert_eq!(nonces, [Value::Null, json!("n-1"), json!("n-2")]);
        assert_eq!(claim(&seen[0], "htu"), json!(format!("{}/token", server.base)));
        assert_ne!(claim(&seen[0], "jti"), claim(&seen[1], "jti"), "each proof is a new one");
        assert_eq!(seen[0].body, seen[1].body);
    }

    #[tokio::test]
    async fn a_server_that_wants_one_nonce_after_the_other_is_asked_twice() {
        let server = FakeServer::start().await;
        let (profile, key) = (rig::plain(&server, REQUIRED), key());
        for nonce in ["n-1", "n-2", "n-3"] {
            server.then_with(400, &[("dpop-nonce", nonce)], json!({"error": "use_dpop_nonce"}));
        }
        let failure = refresh(&rig::providers(), &profile, Some(&key)).await.unwrap_err();
        assert_eq!((failure.class, failure.code.as_deref()), (Class::Configuration, Some("use_dpop_nonce")));
        assert_eq!(server.seen().len(), 2);
    }

    #[tokio::test]
    async fn without_a_nonce_or_without_a_key_nothing_is_sent_again() {
        let server = FakeServer::start().await;
        let key = key();
        server.then(400, json!({"error": "use_dpop_nonce"}));
        refresh(&rig::providers(), &rig::plain(&server, REQUIRED), Some(&key)).await.unwrap_err();
        server.then_with(400, &[("dpop-nonce", "n")], json!({"error": "use_dpop_nonce"}));
        refresh(&rig::providers(), &rig::plain(&server, ""), None).await.unwrap_err();
        assert_eq!(server.seen().len(), 2);
        assert!(server.seen()[1].headers.get("dpop").is_none());
        let failure = refresh(&rig::providers(), &rig::plain(&server, REQUIRED), None).await.unwrap_err();
        assert_eq!((failure.class, server.seen().len()), (Class::Configuration, 2), "no key, no request");
    }

    #[tokio::test]
    async fn the_type_of_the_answer_has_to_be_what_was_asked_for() {
        let server = FakeServer::start().await;
        let key = key();
        let bearer = json!({"access_token": "a", "token_type": "Bearer", "refresh_token": "r2"});
        let cases = [
            (
                REQUIRED,
                Some(&key),
                bearer.clone(),
                Err(
                    "answer has a token that is not bound to the connection's key, as this provider requires",
                ),
            ),
            ("dpop = \"offered\"", Some(&key), bearer.clone(), Ok(Binding::Bearer)),
            ("dpop = \"offered\"", Some(&key), good(), Ok(Binding::Bound)),
            ("dpop = \"offered\"", None, good(), Err("answer has a token type other than was asked for")),
            ("", None, bearer, Ok(Binding::Bearer)),
        ];
        for (lines, key, body, want) in cases {
            server.then(200, body);
            let answer = refresh(&rig::providers(), &rig::plain(&server, lines), key).await.unwrap();
            let got = answer.access.map(|issued| issued.binding).map_err(|failure| failure.detail);
            assert_eq!(got, want, "{lines}");
            assert!(answer.refresh_token.is_some(), "{lines}: kept, whatever is wrong beside it");
        }
    }
}
