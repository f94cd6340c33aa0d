//! SAP Concur: routing between data centres, what may see a secret, whose token it is, and revocation.

use crate::{
    domain::{
        connection::{Principal, PrincipalKind},
        failure::{Class, Failure, Reason},
        profile::{ClientAuth, Profile},
        token::{AccessToken, Secret},
    },
    provider::{
        Answer, Grant, Provider, Revocation, jwt,
        rig::{self, FakeServer, NOW},
    },
};
use serde_json::{Value, json};
use std::time::Duration;

const COMPANY: &str = "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee";
const POST: ClientAuth = ClientAuth::ClientSecretPost;

fn company_jwt(sub: &str) -> String {
    jwt::unsigned(
        &json!({"sub": sub, "exp": NOW.as_secs() + 3600, "concur.type": "company", "concur.version": 3}),
    )
}

fn granted(geolocation: &str) -> Value {
    json!({
        "expires_in": "3600", "scope": "openid company.read\n LIST", "token_type": "bearer",
        "access_token": company_jwt(COMPANY), "refresh_token": "r2",
        "refresh_expires_in": NOW.as_secs() + 180 * 86_400, "geolocation": geolocation
    })
}

fn elsewhere(geolocation: &str) -> Value {
    json!({"error": "invalid_request", "error_description": "user lives elsewhere", "code": 16, "geolocation": geolocation})
}

fn bootstrap() -> Grant {
    Grant::CompanyRequestToken {
        company_uuid: COMPANY.to_uppercase(),
        request_token: Secret::new("at-canary"),
    }
}

async fn exchange(profile: &Profile, grant: &Grant, at: Option<&str>) -> Result<Answer, Failure> {
    let client = rig::client(POST, &["secret-1"]);
    let exchange = crate::provider::Exchange { api_base_url: at, ..rig::ask(profile, &client, grant) };
    rig::providers().spend_unclaimed(&exchange).await
}

async fn refresh(profile: &Profile, at: &str) -> Result<Answer, Failure> {
    exchange(profile, &rig::refresh_token("r1"), Some(at)).await
}

#[tokio::test]
async fn a_bootstrap_asks_the_landing_zone_and_follows_it_home() {
    let (glz, us, eu) = (FakeServer::start().await, FakeServer::start().await, FakeServer::start().await);
    let profile = rig::concur(&[&glz, &us, &eu], "");
    glz.then(400, elsewhere(&format!("{}/oauth2/v0/token", us.base)));
    us.then(400, elsewhere(&eu.base));
    eu.then_with(200, &[("concur-correlationid", "c-1")], granted(&format!("{}/x", us.base)));

    let answer = exchange(&profile, &bootstrap(), None).await.unwrap();

    // Where the token is good is what the last answer says, not who gave it.
    assert_eq!(answer.api_base_url.as_deref(), Some(us.base.as_str()));
    assert_eq!(answer.refresh_token.unwrap().0.expose(), "r2");
    assert_eq!(answer.refresh_expires_at, Some(NOW.plus(Duration::from_secs(180 * 86_400))));
    assert_eq!(answer.scopes.unwrap(), ["openid", "company.read", "LIST"]);
    assert_eq!(answer.principal, Some(Principal { kind: PrincipalKind::Company, id: COMPANY.into() }));
    assert_eq!(answer.correlation_id.as_deref(), Some("c-1"));
    assert_eq!(answer.access.unwrap().expires_at, NOW.plus(Duration::from_secs(3600)));
    for server in [&glz, &us, &eu] {
        let [seen] = &server.seen()[..] else { panic!("asked once each") };
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("POST", "/oauth2/v0/token"));
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(seen.headers["concur-correlationid"], "9b1f0d6c-0000-4000-8000-000000000001");
        assert!(seen.headers.get("authorization").is_none());
        assert!(seen.headers.get("transfer-encoding").is_none());
        assert_eq!(
            seen.body,
            format!(
                "grant_type=password&username={}&password=at-canary&credtype=authtoken&client_id=client-1&client_secret=secret-1",
                COMPANY.to_uppercase()
            )
        );
    }
}

#[tokio::test]
async fn a_refresh_asks_where_the_token_is_good() {
    let (glz, eu) = (FakeServer::start().await, FakeServer::start().await);
    let profile = rig::concur(&[&glz, &eu], "");
    eu.then(200, granted(&eu.base));
    let answer = refresh(&profile, &eu.base).await.unwrap();
    assert!(answer.access.is_ok());
    assert!(glz.seen().is_empty());
    assert_eq!(
        eu.seen()[0].body,
        "grant_type=refresh_token&refresh_token=r1&client_id=client-1&client_secret=secret-1"
    );

    // An answer without an address changes none, and without a record the landing zone is asked.
    let mut silent = granted("");
    silent.as_object_mut().unwrap().remove("geolocation");
    glz.then(200, silent);
    let answer = exchange(&profile, &rig::refresh_token("r1"), None).await.unwrap();
    assert_eq!((answer.api_base_url, answer.access.is_ok()), (None, true));
}

#[tokio::test]
async fn being_sent_on_ends_in_loops_and_after_three_hops() {
    let mut servers = vec![];
    for _ in 0..5 {
        servers.push(FakeServer::start().await);
    }
    let [first, second, third, fourth, fifth] = &servers[..] else { panic!() };
    let profile = rig::concur(&[first, second, third, fourth, fifth], "");
    first.then(400, elsewhere(&second.base));
    second.then(400, elsewhere(&first.base));
    let failure = refresh(&profile, &first.base).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_deref()), (Class::Down, Some("16")));
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));

    for (here, there) in [(first, second), (second, third), (third, fourth), (fourth, fifth)] {
        here.then(400, elsewhere(&there.base));
    }
    let failure = refresh(&profile, &first.base).await.unwrap_err();
    assert_eq!(failure.class, Class::Down);
    assert_eq!((fourth.seen().len(), fifth.seen().len()), (1, 0));
}

#[tokio::test]
async fn no_secret_reaches_a_host_that_is_not_listed() {
    let (glz, foreign) = (FakeServer::start().await, FakeServer::start().await);
    let profile = rig::concur(&[&glz], "");
    let port = foreign.base.rsplit_once(':').unwrap().1;
    let disguised =
        [foreign.base.clone(), format!("{}@127.0.0.1:{port}", glz.base), format!("http://localhost:{port}")];
    for named in &disguised {
        glz.then(400, elsewhere(named));
        assert_eq!(refresh(&profile, &glz.base).await.unwrap_err().class, Class::Policy, "{named}");
        assert_eq!(refresh(&profile, named).await.unwrap_err().class, Class::Policy, "{named}");
        let access_token = AccessToken(Secret::new("canary"));
        let client = rig::client(POST, &["secret-1"]);
        let revocation =
            Revocation { api_base_url: Some(named), ..revocation(&profile, &client, &access_token) };
        assert_eq!(rig::providers().revoke(&revocation).await.unwrap_err().class, Class::Policy, "{named}");
    }
    assert!(foreign.seen().is_empty());

    // Beside a token, such an address costs the access token but never the refresh token.
    glz.then(200, granted(&foreign.base));
    let answer = refresh(&profile, &glz.base).await.unwrap();
    assert_eq!((answer.access.unwrap_err().class, answer.api_base_url), (Class::Malformed, None));
    assert_eq!(answer.refresh_token.unwrap().0.expose(), "r2");
}

#[tokio::test]
async fn a_redirect_is_followed_once_and_from_implementation_hosts_only() {
    let (implementation, production) = (FakeServer::start().await, FakeServer::start().await);
    let to = |server: &FakeServer| format!("{}/oauth2/v0/token", server.base);
    let host = implementation.base.strip_prefix("http://").unwrap();
    let lines = format!("quirks.redirecting_hosts = [{host:?}]");
    let profile = rig::concur(&[&implementation, &production], &lines);

    implementation.then_with(307, &[("location", &to(&production))], "");
    production.then(200, granted(&production.base));
    assert!(refresh(&profile, &implementation.base).await.is_ok());
    assert_eq!(implementation.seen()[0].body, production.seen()[0].body);

    implementation.then_with(307, &[("location", &to(&implementation))], "");
    assert_eq!(refresh(&profile, &implementation.base).await.unwrap_err().class, Class::Policy);
    implementation.then_with(307, &[("location", "https://evil.example/")], "");
    assert_eq!(refresh(&profile, &implementation.base).await.unwrap_err().class, Class::Policy);
    production.then_with(307, &[("location", &to(&implementation))], "");
    assert_eq!(refresh(&profile, &production.base).await.unwrap_err().class, Class::Policy);
    assert_eq!((implementation.seen().len(), production.seen().len()), (3, 2));
}

#[tokio::test]
async fn a_token_for_somebody_else_is_not_used_and_its_refresh_token_not_lost() {
    let glz = FakeServer::start().await;
    let profile = rig::concur(&[&glz], "");
    let user = json!({"sub": COMPANY, "concur.type": "user", "exp": NOW.as_secs() + 60});
    for token in [company_jwt("11111111-2222-4333-8444-555555555555"), jwt::unsigned(&user)] {
        let mut body = granted(&glz.base);
        body["access_token"] = json!(token);
        glz.then(200, body);
        let answer = exchange(&profile, &bootstrap(), None).await.unwrap();
        let failure = answer.access.unwrap_err();
        assert_eq!((failure.class, failure.detail), (Class::Malformed, "answer is for another principal"));
        assert!(answer.refresh_token.is_some());
    }
    // An opaque token says nothing; then it is for whom it was asked.
    let mut body = granted(&glz.base);
    body["access_token"] = json!("opaque");
    glz.then(200, body);
    let answer = exchange(&profile, &bootstrap(), None).await.unwrap();
    assert!(answer.access.is_ok());
    assert_eq!(answer.principal.unwrap().kind, PrincipalKind::Company);
}

#[tokio::test]
async fn the_second_secret_is_tried_when_the_client_is_refused_and_only_then() {
    let glz = FakeServer::start().await;
    let profile = rig::concur(&[&glz], "");
    let (client, grant) = (rig::client(POST, &["new", "old", "older"]), rig::refresh_token("r1"));
    let exchange = rig::ask(&profile, &client, &grant);
    glz.then(401, json!({"code": 64, "error": "invalid_client"})).then(200, granted(&glz.base));
    assert!(rig::providers().spend_unclaimed(&exchange).await.unwrap().access.is_ok());
    let bodies: Vec<_> = glz.seen().into_iter().map(|seen| seen.body).collect();
    assert!(bodies[0].ends_with("client_secret=new") && bodies[1].ends_with("client_secret=old"));

    glz.then(401, json!({"code": 64})).then(401, json!({"code": 61}));
    let failure = rig::providers().spend_unclaimed(&exchange).await.unwrap_err();
    assert_eq!((failure.class, failure.code.as_deref()), (Class::Client, Some("61")));
    glz.then(400, json!({"code": 108}));
    assert_eq!(rig::providers().spend_unclaimed(&exchange).await.unwrap_err().class, Class::Suspect);
    assert_eq!(glz.seen().len(), 5);
}

#[tokio::test]
async fn errors_are_read_leniently() {
    let glz = FakeServer::start().await;
    let profile = rig::concur(&[&glz], "");
    let html = [("content-type", "text/html")];
    let page = "<html>canary</html>";
    let cases: [(u16, String, Class, Option<Reason>); 12] = [
        (400, json!({"code": "108"}).to_string(), Class::Suspect, None),
        (403, json!({"code": 108.0}).to_string(), Class::Suspect, None),
        (403, json!({"code": 53}).to_string(), Class::Suspect, Some(Reason::CompanyNotEnabled)),
        (403, json!({"error": "canary"}).to_string(), Class::Suspect, Some(Reason::CompanyNotEnabled)),
        (403, json!({}).to_string(), Class::Suspect, Some(Reason::CompanyNotEnabled)),
        (403, page.to_owned(), Class::Down, None),
        (401, page.to_owned(), Class::Down, None),
        (400, json!({"code": 134}).to_string(), Class::Down, None),
        (503, page.to_owned(), Class::Down, None),
        (500, json!({"error": "invalid_grant"}).to_string(), Class::Down, None),
        (400, json!({"code": 999, "error": "invalid_grant"}).to_string(), Class::Configuration, None),
        (429, String::new(), Class::Throttled, None),
    ];
    for (status, body, class, reason) in cases {
        glz.then_with(status, if body.starts_with('<') { &html } else { &[] }, &body);
        let failure = refresh(&profile, &glz.base).await.unwrap_err();
        assert_eq!((failure.class, failure.reason), (class, reason), "{status} {body}");
    }
}

#[tokio::test]
async fn an_app_token_brings_neither_refresh_token_nor_company() {
    let glz = FakeServer::start().await;
    let profile = rig::concur(&[&glz], "");
    let claims = json!({"sub": "client-1", "concur.type": "app", "exp": NOW.as_secs() + 3600});
    glz.then(
        200,
        json!({"expires_in": 3600, "token_type": "Bearer", "access_token": jwt::unsigned(&claims), "geolocation": glz.base}),
    );
    let answer = exchange(&profile, &Grant::ClientCredentials, None).await.unwrap();
    assert_eq!(answer.principal, Some(Principal { kind: PrincipalKind::App, id: "client-1".into() }));
    assert!(answer.refresh_token.is_none() && answer.refresh_expires_at.is_none() && answer.access.is_ok());
    assert_eq!(glz.seen()[0].body, "grant_type=client_credentials&client_id=client-1&client_secret=secret-1");
}

fn revocation<'a>(
    profile: &'a Profile,
    client: &'a crate::provider::ClientIdentity,
    access_token: &'a AccessToken,
) -> Revocation<'a> {
    Revocation {
        profile,
        client,
        refresh_token: None,
        access_token: Some(access_token),
        api_base_url: None,
        correlation_id: uuid::Uuid::nil(),
    }
}

#[tokio::test]
async fn revocation_deletes_the_connection_with_the_principals_own_token() {
    let glz = FakeServer::start().await;
    let profile = rig::concur(&[&glz], "");
    let (client, token) = (rig::client(POST, &["secret-1"]), AccessToken(Secret::new("a.b.c")));
    let asked = revocation(&profile, &client, &token);
    for (status, body, class) in [
        (200, "", None),
        (200, "\"deleted\"", None),
        (204, "", None),
        (404, "", None),
        (401, "", Some(Class::Suspect)),
        (403, "<html>", Some(Class::Suspect)),
        (500, "", Some(Class::Down)),
        (302, "", Some(Class::Policy)),
    ] {
        glz.then(status, body);
        let outcome = rig::providers().revoke(&asked).await;
        assert_eq!(outcome.err().map(|failure| failure.class), class, "{status}");
    }
    let seen = &glz.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("DELETE", "/app-mgmt/v0/connections"));
    assert_eq!(
        (&seen.headers["authorization"], seen.body.as_str()),
        (&"Bearer a.b.c".try_into().unwrap(), "")
    );

    let without = Revocation { access_token: None, ..asked };
    assert_eq!(rig::providers().revoke(&without).await.unwrap_err().class, Class::NotSent);
}

#[tokio::test]
async fn failures_show_no_secret_and_no_word_of_the_server() {
    let glz = FakeServer::start().await;
    let profile = rig::concur(&[&glz], "");
    let canary = json!({
        "code": "108\ncanary!<script>", "error": "invalid_grant", "error_description": "canary at-canary secret-1",
        "concur-correlationid": "id\r\nfake: line"
    });
    glz.then(400, canary)
        .then(200, "canary")
        .then(200, json!({"access_token": "canary", "refresh_token": "canary"}));
    let first = exchange(&profile, &bootstrap(), None).await.unwrap_err();
    assert_eq!(first.code.as_deref(), Some("108canaryscript"));
    assert_eq!(first.correlation_id.as_deref(), Some("idfake:line"));
    let second = exchange(&profile, &bootstrap(), None).await.unwrap_err();
    assert_eq!(second.class, Class::Ambiguous);
    let third = exchange(&profile, &bootstrap(), None).await.unwrap();
    let shown = format!("{second:?} {third:?}");
    assert!(!shown.contains("canary") && !shown.contains("secret-1"), "{shown}");
    assert_eq!(third.access.unwrap_err().detail, "answer has a token type other than was asked for");
}
