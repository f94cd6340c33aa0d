//! Hostile answers to what is asked beside a refresh: whether a token is good (RFC 7662), to forget it (RFC 7009), and
//! for proofs with ever new nonces (RFC 9449).

use super::{
    PATIENCE, Scene, facing, facing_nothing, stored,
    wire::{Act, Wire, answer, html, json, ok, raw},
};
use crate::rig::{Rig, name, secs};
use bursar::{
    broker::{
        admin::{AdminError, grants::NewGrant},
        refresher::RefreshError,
    },
    domain::{
        attempt::Ask,
        connection::{Connection, Mark, State},
        failure::Class,
        token::{RefreshToken, Secret},
    },
    provider::dpop::DpopKey,
    store::{Room, ledger::Wrote},
};
use tokio::time::Instant;

/// One thing that a server answers, and what has to come of it.
pub(super) struct Asked {
    pub(super) name: &'static str,
    acts: fn(&Scene) -> Act,
    pub(super) want: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The token is sent, and a new one comes.
    Renewed,
    /// The token is not sent, or refused, and kept.
    Kept(Class),
    /// The connection is REVOKED.
    Revoked,
    /// It stays REVOKING with its tokens, and the next try succeeds.
    Revoking,
}

impl End {
    pub(super) fn words(self) -> String {
        match self {
            Self::Renewed => "the token is good: it is sent and renewed".to_owned(),
            Self::Kept(class) => format!("{class}; the token is kept"),
            Self::Revoked => "revoked".to_owned(),
            Self::Revoking => {
                "not revoked: the token is kept, nothing is served, the next try succeeds".to_owned()
            }
        }
    }
}

const fn asked(name: &'static str, acts: fn(&Scene) -> Act, want: End) -> Asked {
    Asked { name, acts, want }
}

const JSON: &str = "Content-Type: application/json\r\n";
const SILENT: End = End::Kept(Class::Ambiguous);

/// Before a token that may have been used up is sent again.
pub(super) fn introspections() -> Vec<Asked> {
    vec![
        asked("`active` true", |_| ok(r#"{"active":true}"#), End::Renewed),
        asked("`active` false", |_| ok(r#"{"active":false}"#), SILENT),
        asked("`active` as text", |_| ok(r#"{"active":"true"}"#), SILENT),
        asked("`active` \"false\" as text", |_| ok(r#"{"active":"false"}"#), SILENT),
        asked("`active` as a number", |_| ok(r#"{"active":1}"#), SILENT),
        asked("`active` twice", |_| ok(r#"{"active":true,"active":false}"#), SILENT),
        asked("no `active`", |_| ok("{}"), SILENT),
        asked("a list", |_| ok(r#"[{"active":true}]"#), SILENT),
        asked("HTML", |_| html("200 OK"), SILENT),
        asked(
            "JSON called text/html",
            |_| answer("200 OK", "Content-Type: text/html\r\n", br#"{"active":false}"#),
            SILENT,
        ),
        asked("half an answer", |_| ok(r#"{"active":tr"#), SILENT),
        asked(
            "an answer that breaks off",
            |_| raw(&format!("HTTP/1.1 200 OK\r\n{JSON}Content-Length: 99\r\n\r\n{{\"active\":false")),
            SILENT,
        ),
        asked("an error with `active` false", |_| json("400 Bad Request", r#"{"active":false}"#), SILENT),
        asked("401", |_| json("401 Unauthorized", r#"{"error":"invalid_client"}"#), SILENT),
        asked("403 in HTML", |_| html("403 Forbidden"), SILENT),
        asked("503", |_| html("503 Service Unavailable"), SILENT),
        asked(
            "a redirect elsewhere",
            |s| answer("307 Temporary Redirect", &format!("Location: {}/introspect\r\n", s.elsewhere), b""),
            SILENT,
        ),
        asked(
            "the token as an error",
            |s| json("400 Bad Request", &format!(r#"{{"error":"{}"}}"#, s.old)),
            SILENT,
        ),
        asked("nothing", |_| Act::Hang(vec![]), SILENT),
        asked(
            "an answer without end",
            |_| Act::Flood(format!("HTTP/1.1 200 OK\r\n{JSON}\r\n").into_bytes(), vec![b' '; 4096]),
            SILENT,
        ),
    ]
}

/// When the grant is given back; the second request is for the access token.
pub(super) fn revocations() -> Vec<Asked> {
    const NO: End = End::Revoking;
    vec![
        asked("200", |_| answer("200 OK", "", b""), End::Revoked),
        asked("200 with a page in HTML", |_| html("200 OK"), End::Revoked),
        asked(
            "400 `invalid_token`",
            |_| json("400 Bad Request", r#"{"error":"invalid_token"}"#),
            End::Revoked,
        ),
        asked("200 with an error", |_| ok(r#"{"error":"invalid_client"}"#), NO),
        asked("200 with `unsupported_token_type`", |_| ok(r#"{"error":"unsupported_token_type"}"#), NO),
        asked(
            "400 `unsupported_token_type`",
            |_| json("400 Bad Request", r#"{"error":"unsupported_token_type"}"#),
            NO,
        ),
        asked("401", |_| json("401 Unauthorized", r#"{"error":"invalid_client"}"#), NO),
        asked("403 in HTML", |_| html("403 Forbidden"), NO),
        asked("404", |_| html("404 Not Found"), NO),
        asked(
            "429 for a thousand years",
            |_| answer("429 Too Many Requests", "Retry-After: 31536000000\r\n", b""),
            NO,
        ),
        asked("503", |_| html("503 Service Unavailable"), NO),
        asked(
            "302 elsewhere",
            |s| answer("302 Found", &format!("Location: {}/revoke\r\n", s.elsewhere), b""),
            NO,
        ),
        asked(
            "307 elsewhere",
            |s| answer("307 Temporary Redirect", &format!("Location: {}/revoke\r\n", s.elsewhere), b""),
            NO,
        ),
        asked("a connection that is closed", |_| raw(""), NO),
        asked("another protocol", |_| raw("220 smtp ready\r\n"), NO),
        asked("nothing", |_| Act::Hang(vec![]), NO),
        asked(
            "the token as an error",
            |s| json("400 Bad Request", &format!(r#"{{"error":"{}"}}"#, s.new)),
            NO,
        ),
        asked(
            "200, then 503",
            |_| Act::Turns(vec![answer("200 OK", "", b""), html("503 Service Unavailable")]),
            End::Revoked,
        ),
        asked(
            "200, then a redirect elsewhere",
            |s| {
                let away = answer("302 Found", &format!("Location: {}/revoke\r\n", s.elsewhere), b"");
                Act::Turns(vec![answer("200 OK", "", b""), away])
            },
            End::Revoked,
        ),
        asked(
            "200, then nothing",
            |_| Act::Turns(vec![answer("200 OK", "", b""), Act::Hang(vec![])]),
            End::Revoked,
        ),
    ]
}

fn wants(status: &str, nonce: &str) -> Act {
    let headers = format!("{JSON}DPoP-Nonce: {nonce}\r\n");
    answer(status, &headers, br#"{"error":"use_dpop_nonce"}"#)
}

/// When a bound refresh token is spent.
pub(super) fn proofs() -> Vec<Asked> {
    const NO: End = End::Kept(Class::Configuration);
    vec![
        asked(
            "a nonce, then tokens",
            |s| Act::Turns(vec![wants("400 Bad Request", "one"), bound(s, &s.old)]),
            End::Renewed,
        ),
        asked("the same nonce for ever", |_| wants("400 Bad Request", "one"), NO),
        asked(
            "a new nonce for ever",
            |_| Act::Turns((0..50).map(|n| wants("400 Bad Request", &format!("nonce-{n}"))).collect()),
            NO,
        ),
        asked("401 with a new nonce for ever", |_| wants("401 Unauthorized", "one"), NO),
        asked("a nonce that is not there", |_| json("400 Bad Request", r#"{"error":"use_dpop_nonce"}"#), NO),
        asked("an empty nonce", |_| wants("400 Bad Request", ""), NO),
        asked("a nonce of 8 KiB", |_| wants("400 Bad Request", &"n".repeat(8192)), NO),
        asked("a nonce in quotes with a backslash", |_| wants("400 Bad Request", r#""a\"b"#), NO),
        asked(
            "a nonce, then a redirect elsewhere",
            |s| {
                let away =
                    answer("307 Temporary Redirect", &format!("Location: {}/token\r\n", s.elsewhere), b"");
                Act::Turns(vec![wants("400 Bad Request", "one"), away])
            },
            End::Kept(Class::Policy),
        ),
        asked(
            "a nonce, then nothing",
            |_| Act::Turns(vec![wants("400 Bad Request", "one"), raw("")]),
            End::Kept(Class::Ambiguous),
        ),
        asked(
            "a nonce, then `invalid_grant`",
            |_| {
                let refused = json("400 Bad Request", r#"{"error":"invalid_grant"}"#);
                Act::Turns(vec![wants("400 Bad Request", "one"), refused])
            },
            End::Kept(Class::Suspect),
        ),
        asked("`invalid_dpop_proof`", |_| json("400 Bad Request", r#"{"error":"invalid_dpop_proof"}"#), NO),
    ]
}

/// Tokens that are bound.
fn bound(scene: &Scene, refresh_token: &str) -> Act {
    let access = &scene.access;
    ok(&format!(
        r#"{{"access_token":"{access}","token_type":"DPoP","expires_in":3600,"refresh_token":"{refresh_token}"}}"#
    ))
}

/// What is sent to this path.
fn sent_to(server: &Wire, path: &str) -> usize {
    server.seen().iter().filter(|request| request.starts_with(&format!("POST {path} "))).count()
}

fn class_of(err: &RefreshError, what: &str) -> Class {
    let RefreshError::Failed(failure) = err else { panic!("{what}: {err:?}") };
    failure.class
}

/// A connection that serves a token of ten minutes, with a refresh token that may have been used up.
async fn in_doubt(profile: &str, scene: &Scene) -> Rig {
    let rig = facing(profile, scene).await;
    rig.a.ask().await.unwrap();
    let loaded = rig.a.ledger.read::<Connection>(&name()).await.unwrap().unwrap();
    let mut doubtful = loaded.record.clone();
    let (generation, at) = (doubtful.generation, rig.clock.now());
    doubtful.ambiguous = Some(Mark { generation, at, code: None, correlation_id: None });
    assert!(matches!(rig.a.ledger.update(&loaded, &doubtful, Room::Needed).await, Ok(Wrote::Done(_))));
    rig
}

pub(super) async fn introspected(n: usize, case: &Asked) {
    let (server, elsewhere) = (Wire::start().await, Wire::start().await);
    let scene = Scene::new(n, &server.base, &elsewhere.base);
    server.does("/introspect", (case.acts)(&scene));
    let first = ok(&scene.access(r#","expires_in":600"#));
    server.does("/token", Act::Turns(vec![first, ok(&scene.rotation(r#","expires_in":3600"#))]));
    let profile = format!(
        "token_endpoint = \"{0}/token\"\nintrospection = \"rfc7662\"\nintrospection_endpoint = \"{0}/introspect\"\n\
         exchange_timeout = \"8s\"",
        server.base
    );
    let rig = in_doubt(&profile, &scene).await;
    let begun = Instant::now();
    let seen = rig.record().await.seen();
    let outcome = rig.a.broker.refresher.refreshed(&name(), seen, Ask::Caller).await;
    let (what, record) = (case.name, rig.record().await);
    assert!(begun.elapsed() < PATIENCE, "{what}");
    assert_eq!(sent_to(&server, "/introspect"), 1, "{what}");
    let spent = sent_to(&server, "/token") - 1;
    if case.want == End::Renewed {
        outcome.unwrap_or_else(|err| panic!("{what}: {err:?}"));
        assert_eq!(record.ambiguous, None, "{what}");
        assert_eq!((stored(&rig).await, spent), (scene.new.clone(), 1), "{what}");
    } else {
        let Err(err) = outcome else { panic!("{what}: was renewed") };
        let failure = record.last_failure.as_ref().expect(what);
        assert_eq!(End::Kept(failure.class), case.want, "{what}: {err:?}");
        let shown = format!("{err} {err:?} {failure:?} {:?}", record.suspicion);
        assert!(!shown.contains("canary"), "{what}: {shown}");
        assert_eq!((stored(&rig).await, record.state), (scene.old.clone(), State::Active), "{what}");
        assert_eq!(spent, 0, "{what}: a token in doubt was sent");
        assert!(record.due.is_some() && record.ambiguous.is_some(), "{what}: the doubt is forgotten");
        assert_eq!(rig.a.ask().await.unwrap().token, scene.access, "{what}: what lives is served");
    }
    assert!(elsewhere.seen().is_empty(), "{what}: something was sent elsewhere");
    rig.a.stop();
}

pub(super) async fn revoked(n: usize, case: &Asked) {
    let (server, elsewhere) = (Wire::start().await, Wire::start().await);
    let scene = Scene::new(n, &server.base, &elsewhere.base);
    server.does("/revoke", (case.acts)(&scene));
    server.does("/token", ok(&scene.rotation("")));
    let profile = format!(
        "token_endpoint = \"{0}/token\"\nrevocation = \"rfc7009\"\nrevocation_endpoint = \"{0}/revoke\"\n\
         exchange_timeout = \"8s\"",
        server.base
    );
    let (rig, what) = (facing(&profile, &scene).await, case.name);
    rig.a.ask().await.unwrap();
    let begun = Instant::now();
    let outcome = rig.a.admin.revoke_connection(&name(), "").await;
    assert!(begun.elapsed() < PATIENCE, "{what}");
    assert!(rig.a.ask().await.is_err(), "{what}: served after a revocation began");
    let record = rig.record().await;
    if case.want == End::Revoked {
        assert_eq!(outcome.map(|record| record.state).unwrap(), State::Revoked, "{what}");
        assert!(record.refresh_token.is_none() && record.token.is_none(), "{what}");
        assert_eq!(sent_to(&server, "/revoke"), 2, "{what}: both tokens are named");
    } else {
        let err = outcome.expect_err(what);
        assert!(matches!(err, AdminError::RevocationRefused(_)), "{what}: {err:?}");
        assert!(!format!("{err} {err:?}").contains("canary"), "{what}: {err:?}");
        assert_eq!((record.state, stored(&rig).await), (State::Revoking, scene.new.clone()), "{what}");
        assert_eq!(sent_to(&server, "/revoke"), 1, "{what}");
        server.does("/revoke", answer("200 OK", "", b""));
        let again = rig.a.admin.revoke_connection(&name(), "").await;
        assert_eq!(again.map(|record| record.state).unwrap(), State::Revoked, "{what}: the next try");
        assert!(server.seen().last().is_some_and(|request| request.contains(&scene.access)), "{what}");
    }
    assert!(elsewhere.seen().is_empty(), "{what}: something was sent elsewhere");
    rig.a.stop();
}

pub(super) async fn proven(n: usize, case: &Asked) {
    let (server, elsewhere) = (Wire::start().await, Wire::start().await);
    let scene = Scene::new(n, &server.base, &elsewhere.base);
    server.does("/token", bound(&scene, &scene.new));
    let profile =
        format!("token_endpoint = \"{}/token\"\ndpop = \"required\"\nexchange_timeout = \"8s\"", server.base);
    let (rig, what): (Rig, _) = (facing_nothing(&profile, &scene).await, case.name);
    let token = RefreshToken(Secret::new("canary-import"));
    let grant = NewGrant::RefreshToken { token, api_base_url: None, expires_at: None };
    rig.a.create_bound(grant, Some(DpopKey::generate().unwrap())).await.unwrap();
    server.does("/token", (case.acts)(&scene));
    let (begun, before) = (Instant::now(), server.seen().len());
    let outcome = rig.a.admin.refresh_connection(&name()).await;
    assert!(begun.elapsed() < PATIENCE, "{what}");
    let requests = server.seen().len() - before;
    assert!(requests <= 2, "{what}: {requests} requests, of which one may be for a nonce");
    if case.want == End::Renewed {
        outcome.unwrap_or_else(|err| panic!("{what}: {err:?}"));
        assert_eq!((stored(&rig).await, requests), (scene.old.clone(), 2), "{what}");
    } else {
        let err = outcome.expect_err(what);
        let AdminError::Refresh(err) = &err else { panic!("{what}: {err:?}") };
        assert_eq!(End::Kept(class_of(err, what)), case.want, "{what}: {err:?}");
        let record = rig.record().await;
        assert_eq!((stored(&rig).await, record.state), (scene.new.clone(), State::Active), "{what}");
        let key = record.dpop.is_some() && record.token.is_some_and(|token| token.bound_to.is_some());
        assert!(key, "{what}: the key is gone");
        assert!(record.due.is_some_and(|due| rig.clock.now().until(due) <= secs(3660)), "{what}");
        server.does("/token", bound(&scene, &scene.old));
        rig.a.admin.refresh_connection(&name()).await.unwrap_or_else(|err| panic!("{what}, then: {err:?}"));
        assert_eq!(stored(&rig).await, scene.old, "{what}: then the honest server");
    }
    assert!(elsewhere.seen().is_empty(), "{what}: something was sent elsewhere");
    rig.a.stop();
}
