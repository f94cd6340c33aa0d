//! What a look at a provider finds, at a scripted server and in tables.

use super::*;
use crate::{
    domain::{finding::Level, profile::ClientAuth},
    provider::{
        ClientIdentity, Provider,
        rig::{self, FakeServer, NOW},
    },
};
use serde_json::json;
use std::sync::Arc;

/// The time of [`NOW`] in the form of a `Date` header.
const DATE: (&str, &str) = ("date", "Mon, 21 Sep 2026 14:13:20 GMT");

async fn look(profile: &Arc<Profile>, client: Option<&ClientIdentity>) -> Vec<Finding> {
    rig::providers().check(&Check { profile, client, grants: &[GrantKind::RefreshToken] }).await
}

fn level(found: &[Finding], subject: &str) -> Vec<Level> {
    found.iter().filter(|one| one.subject.contains(subject)).map(|one| one.level).collect()
}

#[tokio::test]
async fn a_provider_in_order_has_nothing_to_mend() {
    let server = FakeServer::start().await;
    // The key set is fetched beside the client's request: each has its own queue of answers.
    let keys = FakeServer::start().await;
    keys.then(200, json!({"keys": [{"kty": "EC"}]}));
    let (base, beside) = (&server.base, &keys.base);
    let text = format!("issuer = \"{base}\"\ndiscovery = \"oauth\"\nhosts = [\"127.0.0.1:*\"]");
    let profile = Arc::new(rig::profile("generic-oauth2", &text));
    let methods: Vec<_> = profile.client_auth.iter().map(|method| method.word()).collect();
    let grants: Vec<_> = profile.grants.iter().filter_map(|grant| announced_as(*grant)).collect();
    let metadata = json!({
        "issuer": base, "token_endpoint": format!("{base}/token"), "jwks_uri": format!("{beside}/keys"),
        "token_endpoint_auth_methods_supported": methods, "grant_types_supported": grants,
        "code_challenge_methods_supported": ["S256"],
    });
    server.then(200, metadata).then_with(405, &[DATE], "").then(400, json!({"error": "invalid_grant"}));
    let client = rig::client(ClientAuth::ClientSecretPost, &["s"]);
    let found = look(&profile, Some(&client)).await;
    assert!(found.iter().all(|one| one.level == Level::Ok && one.mend.is_empty()), "{found:#?}");
    assert!(found.len() >= 7, "{found:#?}");
    let (seen, keys_seen) = (server.seen(), keys.seen());
    assert_eq!(keys_seen.len(), 1);
    assert_eq!(seen.iter().map(|one| one.method.as_str()).collect::<Vec<_>>(), ["GET", "GET", "POST"]);
    let looks = || seen[..2].iter().chain(&keys_seen);
    assert!(looks().all(|one| one.body.is_empty() && !one.headers.contains_key("authorization")));
    assert!(seen[2].body.contains("refresh_token=doctor-"), "a made-up token");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_what_to_do() {
    let server = FakeServer::start().await;
    let base = &server.base;
    let text = format!("issuer = \"{base}\"\ndiscovery = \"oauth\"\nclient_auth = [\"client_secret_post\"]");
    let profile = Arc::new(rig::profile("generic-oauth2", &text));
    let metadata = json!({
        "issuer": base, "token_endpoint": format!("{base}/token"), "revocation_endpoint": "https://evil.example/r",
        "token_endpoint_auth_methods_supported": ["private_key_jwt"], "grant_types_supported": ["password"],
    });
    server
        .then(200, metadata)
        .then_with(405, &[("date", "Mon, 21 Sep 2026 14:23:20 GMT")], "")
        .then(401, json!({"error": "invalid_client"}));
    let client = rig::client(ClientAuth::ClientSecretPost, &["s"]);
    let found = look(&profile, Some(&client)).await;
    assert_eq!(level(&found, "revocation_endpoint"), [Level::Fail]);
    assert_eq!(level(&found, "client_auth"), [Level::Warn]);
    assert!(level(&found, "grants").contains(&Level::Warn));
    assert_eq!(level(&found, "client authentication"), [Level::Fail]);
    assert!(found.iter().any(|one| one.text == "clocks are 600 s apart" && one.level == Level::Fail));
    assert!(found.iter().filter(|one| one.level != Level::Ok).all(|one| !one.mend.is_empty()), "{found:#?}");
    assert!(found.iter().any(|one| one.mend.contains("`evil.example`")));
}

#[tokio::test]
async fn a_server_that_is_not_there_fails_and_no_secret_goes_astray() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let profile = Arc::new(rig::profile("generic-oauth2", &format!("token_endpoint = \"{base}/token\"")));
    let client = rig::client(ClientAuth::ClientSecretPost, &["s"]);
    let found = look(&profile, Some(&client)).await;
    assert_eq!(level(&found, "discovery"), [Level::Ok]);
    assert_eq!(level(&found, "127.0.0.1"), [Level::Fail]);
    assert_eq!(level(&found, "client authentication"), [Level::Warn]);
}

/// Hosts that take connections and never answer: each is told, and all of them together take no longer than one.
#[tokio::test(start_paused = true)]
async fn hosts_that_do_not_answer_are_told_and_hold_nobody_up() {
    let mut silent = Vec::new();
    for _ in 0..30 {
        silent.push(tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap());
    }
    let base = |n: usize| format!("http://{}", silent[n].local_addr().unwrap());
    let centers: Vec<_> = (1..silent.len()).map(|n| format!("c{n} = \"{}\"", base(n))).collect();
    let centers = centers.join("\n");
    let lines = format!(
        "hosts = [\"127.0.0.1:*\"]\nissuer = \"{}\"\ndiscovery = \"oauth\"\n\
         token_endpoint = \"{0}/token\"\njwks_uri = \"{0}/keys\"\n[data_centers]\n{centers}",
        base(0)
    );
    let profile = Arc::new(rig::profile("generic-oauth2", &lines));
    let client = rig::client(ClientAuth::ClientSecretPost, &["s"]);
    let begun = tokio::time::Instant::now();
    let found = look(&profile, Some(&client)).await;
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let late = |subject: &str| {
        let mut about = found.iter().filter(|one| one.subject.contains(subject));
        about.all(|one| one.level == Level::Fail && one.text.contains("no answer within"))
    };
    assert_eq!(level(&found, "127.0.0.1").len(), silent.len(), "{found:#?}");
    assert!(
        ["127.0.0.1", "discovery", "jwks_uri", "client authentication"].into_iter().all(late),
        "{found:#?}"
    );
}

#[test]
fn clocks_and_certificates_are_told_by_how_bad_they_are() {
    for (ahead, want) in
        [(0, Level::Ok), (29, Level::Ok), (30, Level::Warn), (299, Level::Warn), (300, Level::Fail)]
    {
        let apart = Duration::from_secs(ahead);
        assert_eq!(clocks("h", NOW.plus(apart), NOW).level, want, "{ahead} ahead");
        assert_eq!(clocks("h", NOW.minus(apart), NOW).level, want, "{ahead} behind");
    }
    let day = Duration::from_secs(86_400);
    for (left, want) in [(day * 15, Level::Ok), (day * 14, Level::Warn), (day, Level::Warn)] {
        let looked = Looked { status: 200, date: None, certificate_ends: Some(NOW.plus(left)) };
        assert_eq!(judged("h", "u", "TLS 1.3", &looked, NOW)[1].level, want, "{left:?}");
    }
}

#[test]
fn the_answer_to_a_made_up_token_tells_whether_the_client_is_known() {
    for (class, want) in [
        (Class::Suspect, Level::Ok),
        (Class::Client, Level::Fail),
        (Class::Configuration, Level::Warn),
        (Class::Down, Level::Warn),
        (Class::NotSent, Level::Warn),
    ] {
        let failure = Failure { class, ..Failure::of_ours("as it is") };
        assert_eq!(of_client(String::new(), &failure).level, want, "{class:?}");
    }
}
