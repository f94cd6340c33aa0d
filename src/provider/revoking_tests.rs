//! RFC 7009 against a scripted server.

use crate::{
    domain::{
        failure::Class,
        profile::{ClientAuth, Profile, Revocation as Kind},
        token::{AccessToken, RefreshToken, Secret},
    },
    provider::{
        Provider, Revocation, Revoked,
        rig::{self, FakeServer},
    },
};

/// What a server says, and with what status.
type Says = (u16, &'static str);

const YES: Says = (200, "");
const UNKNOWN: Says = (400, r#"{"error":"invalid_token"}"#);
const NOT_THIS_KIND: Says = (400, r#"{"error":"unsupported_token_type"}"#);
const NOT_YOU: Says = (401, r#"{"error":"invalid_client"}"#);
const AWAY: Says = (503, "");
const ELSEWHERE: Says = (302, "");

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Whole,
    /// The access token lives, after this failure.
    Lives(Option<Class>),
    Failed(Class),
}

/// Which tokens there are, what the server says one after the other, and what comes of it.
const CASES: [(&[&str], &[Says], Outcome); 15] = [
    (&["r", "a"], &[YES, YES], Outcome::Whole),
    (&["r", "a"], &[YES, UNKNOWN], Outcome::Whole),
    (&["r", "a"], &[UNKNOWN, YES], Outcome::Whole),
    (&["r", "a"], &[YES, NOT_THIS_KIND], Outcome::Lives(None)),
    (&["r", "a"], &[YES, AWAY], Outcome::Lives(Some(Class::Down))),
    (&["r", "a"], &[YES, ELSEWHERE], Outcome::Lives(Some(Class::Policy))),
    (&["r", "a"], &[NOT_THIS_KIND], Outcome::Failed(Class::Configuration)),
    (&["r", "a"], &[NOT_YOU], Outcome::Failed(Class::Client)),
    (&["r", "a"], &[AWAY], Outcome::Failed(Class::Down)),
    (&["r", "a"], &[ELSEWHERE], Outcome::Failed(Class::Policy)),
    (&["r"], &[YES], Outcome::Whole),
    (&["a"], &[YES], Outcome::Whole),
    (&["a"], &[NOT_THIS_KIND], Outcome::Lives(None)),
    (&["a"], &[AWAY], Outcome::Failed(Class::Down)),
    (&[], &[], Outcome::Whole),
];

#[tokio::test]
async fn the_refresh_token_goes_first_and_decides() {
    let server = FakeServer::start().await;
    let profile = rig::plain(&server, "");
    let client = rig::client(ClientAuth::ClientSecretPost, &["s"]);
    let (refresh_token, access_token) = (RefreshToken(Secret::new("r1")), AccessToken(Secret::new("a1")));
    let mut asked = 0;
    for (tokens, says, want) in CASES {
        for (status, body) in says {
            server.then(*status, *body);
        }
        let revocation = Revocation {
            profile: &profile,
            client: &client,
            refresh_token: tokens.contains(&"r").then_some(&refresh_token),
            access_token: tokens.contains(&"a").then_some(&access_token),
            api_base_url: None,
            correlation_id: uuid::Uuid::nil(),
        };
        let got = match rig::providers().revoke(&revocation).await {
            Ok(Revoked::Whole) => Outcome::Whole,
            Ok(Revoked::AccessTokenLives(why)) => Outcome::Lives(why.map(|failure| failure.class)),
            Err(failure) => Outcome::Failed(failure.class),
        };
        assert_eq!(got, want, "{tokens:?} {says:?}");
        asked += says.len();
        assert_eq!(server.seen().len(), asked, "{tokens:?} {says:?}");
    }
    let seen = server.seen();
    assert_eq!(seen[0].path, "/revoke");
    assert_eq!(seen[0].body, "token=r1&token_type_hint=refresh_token&client_id=client-1&client_secret=s");
    assert_eq!(seen[1].body, "token=a1&token_type_hint=access_token&client_id=client-1&client_secret=s");
}

#[tokio::test]
async fn a_provider_without_a_way_to_revoke_is_asked_nothing() {
    let server = FakeServer::start().await;
    let client = rig::client(ClientAuth::ClientSecretPost, &["s"]);
    let profile = Profile { revocation: Kind::None, ..rig::plain(&server, "") };
    let revocation = Revocation {
        profile: &profile,
        client: &client,
        refresh_token: None,
        access_token: None,
        api_base_url: None,
        correlation_id: uuid::Uuid::nil(),
    };
    let failure = rig::providers().revoke(&revocation).await.unwrap_err();
    assert_eq!((failure.class, server.seen().len()), (Class::Configuration, 0));
}
