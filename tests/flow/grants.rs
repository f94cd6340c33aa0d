//! Grants that need no person: spent at once, never kept, and what they leave behind.

use crate::{
    rig::{HOUR, Rig, name, secs, served},
    server::Say,
};
use bursar::{
    broker::{
        GetTokenError,
        admin::{AdminError, grants::NewGrant},
    },
    domain::{
        connection::State,
        failure::{Class, Reason},
        profile::GrantKind,
        token::Secret,
    },
    provider::TokenExchange,
};
use tokio::time::sleep;

const ALL: &str = r#"
    grants = ["authorization_code", "password", "jwt_bearer", "saml_bearer", "token_exchange"]
    authorization_endpoint = "https://idp.example/authorize"
"#;

fn secret() -> Secret {
    Secret::new("one-time-canary")
}

fn one_time() -> [NewGrant; 5] {
    [
        NewGrant::AuthorizationCode {
            code: secret(),
            redirect_uri: Some("https://a.example/cb".into()),
            code_verifier: None,
            api_base_url: None,
        },
        NewGrant::Password { username: "u".into(), password: secret() },
        NewGrant::JwtBearer { assertion: secret() },
        NewGrant::SamlBearer { assertion: secret() },
        NewGrant::TokenExchange(TokenExchange {
            subject_token: secret(),
            subject_token_type: "urn:ietf:params:oauth:token-type:access_token".into(),
            actor: None,
            requested_token_type: None,
            audiences: vec![],
            resources: vec![],
        }),
    ]
}

#[tokio::test(start_paused = true)]
async fn each_grant_is_exchanged_once_and_its_refresh_token_carries_on() {
    for grant in one_time() {
        let rig = Rig::empty(ALL).await;
        let kind = grant.kind();
        let made = rig.a.create(grant).await.unwrap();
        assert_eq!((made.state, made.grant, rig.server.tries()), (State::Active, kind, 1));
        assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
        rig.a.schedule();
        sleep(HOUR).await;
        rig.a.stop();
        assert_eq!(
            (rig.server.tries(), rig.server.spent_twice()),
            (2, 0),
            "{kind}: refreshed with the refresh token"
        );
        assert_eq!(rig.record().await.grant, kind, "how it was authorized stays");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_grant_has_is_for_the_server_to_say_and_a_refresh_never_widens_it() {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (kind, first, second) in [
        // Each token is a new grant: what it asked for, and nothing that its answer is held against.
        (GrantKind::ClientCredentials, [&["read"][..], &[]], [&["read"][..], &[]]),
        // It was brought, and asks for nothing (RFC 6749 §6).
        (GrantKind::RefreshToken, [&[], &[]], [&[], &["openid", "read"]]),
    ] {
        let rig = Rig::empty("grants = [\"client_credentials\", \"refresh_token\"]").await;
        rig.seed_as(0, "rt0", |connection| {
            connection.grant = kind;
            connection.requested_scopes = words(&["read"]);
            if kind == GrantKind::ClientCredentials {
                connection.refresh_token = None;
            }
        })
        .await;
        rig.server.grants(&["openid", "read"]);
        assert_eq!(rig.a.ask().await.unwrap(), served("at1"), "{kind}");
        assert_eq!(rig.record().await.scopes, ["openid", "read"], "{kind}");
        sleep(HOUR).await;
        assert_eq!(rig.a.ask().await.unwrap(), served("at2"), "{kind}");
        let want = [first, second].map(|both| both.map(words));
        assert_eq!(rig.server.scopes(), want, "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_refresh_token_it_lives_as_long_as_its_access_token() {
    for grant in one_time() {
        let rig = Rig::empty(ALL).await;
        rig.server.withholds_refresh_tokens();
        let kind = grant.kind();
        let made = rig.a.create(grant).await.unwrap();
        assert_eq!((made.state, made.refresh_token), (State::Active, None), "{kind}");
        rig.a.schedule();
        sleep(HOUR.saturating_sub(secs(60))).await;
        for _ in 0..10 {
            assert_eq!(
                rig.a.ask().await.unwrap(),
                served("at1"),
                "{kind}: long past its soft and hard points"
            );
        }
        let err = rig.a.ask_for(secs(120)).await.unwrap_err();
        assert!(matches!(err, GetTokenError::TooYoung { retry_in: None, .. }), "{err:?}");
        sleep(secs(120)).await;
        rig.a.stop();
        let over = rig.record().await;
        assert_eq!((over.state, over.due), (State::NeedsReauthorization, None), "{kind}");
        assert_eq!(over.reason.unwrap().reason, Reason::Expired);
        let err = rig.a.ask().await.unwrap_err();
        let GetTokenError::Ended { reason: Some(reason), .. } = err else { panic!("{err:?}") };
        assert_eq!(reason.reason, Reason::Expired);
        assert_eq!(rig.server.tries(), 1, "{kind}: nothing was asked of the provider again");
    }
}

#[tokio::test(start_paused = true)]
async fn who_asks_after_its_end_hears_it_though_no_scheduler_ran() {
    let rig = Rig::empty(ALL).await;
    rig.server.withholds_refresh_tokens();
    rig.a.create(NewGrant::JwtBearer { assertion: secret() }).await.unwrap();
    sleep(HOUR).await;
    let err = rig.a.ask().await.unwrap_err();
    assert!(matches!(err, GetTokenError::Ended { state: State::NeedsReauthorization, .. }), "{err:?}");
    assert_eq!((rig.record().await.state, rig.server.tries()), (State::NeedsReauthorization, 1));
    // The same way it came, it comes again.
    let again =
        rig.a.admin.authorize_again(&name(), NewGrant::JwtBearer { assertion: secret() }).await.unwrap();
    assert_eq!((again.state, again.generation), (State::Active, 2));
    assert_eq!(rig.a.ask().await.unwrap(), served("at2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_refused_or_lost_leaves_no_connection_behind() {
    for class in [Class::Suspect, Class::Ambiguous, Class::Configuration, Class::NotSent] {
        for grant in one_time() {
            let rig = Rig::empty(ALL).await;
            rig.server.then([Say::Fail(class)]);
            let kind = grant.kind();
            let err = rig.a.create(grant).await.unwrap_err();
            assert!(matches!(&err, AdminError::GrantRefused { grant, .. } if *grant == kind), "{err:?}");
            assert!(!format!("{err:?}").contains("canary"));
            assert!(rig.a.admin.connection(&name()).await.is_err(), "{kind}");
            assert_eq!(rig.server.tries(), 1, "{kind}: a one-time credential is not tried again");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_offer_the_grant_is_not_asked() {
    for grant in one_time() {
        let rig = Rig::empty("grants = [\"refresh_token\"]").await;
        let kind = grant.kind();
        let err = rig.a.create(grant).await.unwrap_err();
        assert!(matches!(err, AdminError::GrantNotOffered { grant, .. } if grant == kind), "{err:?}");
        assert_eq!(rig.server.tries(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_operator_cannot_refresh_what_nothing_renews_and_does_not_end_it_by_trying() {
    let rig = Rig::empty(ALL).await;
    rig.server.withholds_refresh_tokens();
    rig.a.create(NewGrant::Password { username: "u".into(), password: secret() }).await.unwrap();
    let err = rig.a.admin.refresh_connection(&name()).await.unwrap_err();
    assert!(matches!(err, AdminError::NothingRenews { grant: GrantKind::Password }), "{err:?}");
    assert_eq!((rig.record().await.state, rig.record().await.grant), (State::Active, GrantKind::Password));
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
}
