//! Which grants are taken, and which field is named when one is not.

use super::*;
use crate::api::{jwt_bearer_grant::Source, *};

const ACCESS: &str = "urn:ietf:params:oauth:token-type:access_token";

fn read(kind: Kind) -> Result<NewGrant, tonic::Status> {
    grant(Some(api::Grant { kind: Some(kind) })).map_err(tonic::Status::from)
}

fn exchange(change: impl FnOnce(&mut TokenExchangeGrant)) -> Kind {
    let mut given = TokenExchangeGrant {
        subject_token: "st".into(),
        subject_token_type: ACCESS.into(),
        ..TokenExchangeGrant::default()
    };
    change(&mut given);
    Kind::TokenExchange(given)
}

fn code(change: impl FnOnce(&mut AuthorizationCodeGrant)) -> Kind {
    let mut given = AuthorizationCodeGrant { code: "c".into(), ..AuthorizationCodeGrant::default() };
    change(&mut given);
    Kind::AuthorizationCode(given)
}

fn assertion(text: &str) -> Kind {
    Kind::JwtBearer(JwtBearerGrant { source: Some(Source::Assertion(text.into())) })
}

fn subject(text: &str) -> Kind {
    Kind::JwtBearer(JwtBearerGrant { source: Some(Source::Subject(text.into())) })
}

fn password(username: &str, password: &str) -> Kind {
    Kind::Password(PasswordGrant { username: username.into(), password: password.into() })
}

fn saml(text: &str) -> Kind {
    Kind::SamlBearer(SamlBearerGrant { assertion: text.into() })
}

#[test]
fn each_grant_is_taken_with_what_it_needs() {
    let verifier = "v".repeat(43);
    let taken = [
        (password("u", "p"), GrantKind::Password),
        (assertion("aGVhZA.cGF5.c2ln"), GrantKind::JwtBearer),
        (subject("someone@example.com"), GrantKind::JwtBearer),
        (saml("PHNhbWw-"), GrantKind::SamlBearer),
        (exchange(|_| ()), GrantKind::TokenExchange),
        (
            exchange(|e| {
                (e.actor_token, e.actor_token_type) = ("at".into(), ACCESS.into());
                e.audiences = vec!["a".into()];
                e.resources = vec!["https://r.example/x?y=1".into()];
            }),
            GrantKind::TokenExchange,
        ),
        (
            code(|c| (c.code_verifier, c.redirect_uri) = (verifier, "https://a.example/cb".into())),
            GrantKind::AuthorizationCode,
        ),
        (code(|_| ()), GrantKind::AuthorizationCode),
    ];
    for (kind, want) in taken {
        let new = read(kind).unwrap();
        assert_eq!(new.kind(), want);
        assert!(!matches!(new, NewGrant::Person(_)), "{want}");
    }
}

#[test]
fn a_wrong_grant_names_the_field_and_nothing_that_was_given() {
    let long = "x".repeat(513);
    let refused = [
        (password("", "p"), "grant.password.username"),
        (password("u", ""), "grant.password.password"),
        (password(&long, "p"), "grant.password.username"),
        (assertion(""), "grant.jwt_bearer.assertion"),
        (assertion("canary"), "grant.jwt_bearer.assertion"),
        (assertion("canary.b c.d"), "grant.jwt_bearer.assertion"),
        (subject(""), "grant.jwt_bearer.subject"),
        (subject(&long), "grant.jwt_bearer.subject"),
        (Kind::JwtBearer(JwtBearerGrant { source: None }), "grant.jwt_bearer"),
        (saml("<canary/>"), "grant.saml_bearer.assertion"),
        (saml(""), "grant.saml_bearer.assertion"),
        (exchange(|e| e.subject_token.clear()), "grant.token_exchange.subject_token"),
        (exchange(|e| e.subject_token_type.clear()), "grant.token_exchange.subject_token_type"),
        (
            exchange(|e| e.subject_token_type = "access_token".into()),
            "grant.token_exchange.subject_token_type",
        ),
        (exchange(|e| e.actor_token = "canary".into()), "grant.token_exchange.actor_token_type"),
        (exchange(|e| e.actor_token_type = ACCESS.into()), "grant.token_exchange.actor_token_type"),
        (exchange(|e| e.audiences = vec![String::new()]), "grant.token_exchange.audiences"),
        (exchange(|e| e.audiences = vec!["a".into(); 17]), "grant.token_exchange.audiences"),
        (exchange(|e| e.resources = vec!["/relative".into()]), "grant.token_exchange.resources"),
        (exchange(|e| e.resources = vec!["https://r.example/#f".into()]), "grant.token_exchange.resources"),
        (exchange(|e| e.requested_token_type = "x y".into()), "grant.token_exchange.requested_token_type"),
        (code(|c| c.code_verifier = "canary".into()), "grant.authorization_code.code_verifier"),
        (code(|c| c.redirect_uri = "canary".into()), "grant.authorization_code.redirect_uri"),
        (
            code(|c| {
                c.code.clear();
                c.redirect_uri = "https://a.example/cb".into();
            }),
            "grant.authorization_code.redirect_uri",
        ),
    ];
    for (kind, field) in refused {
        let status = read(kind).unwrap_err();
        let said = format!("{} {:?}", status.message(), status);
        assert!(status.message().contains(field), "{field}: {}", status.message());
        assert!(!said.contains("canary"), "{said}");
    }
}
