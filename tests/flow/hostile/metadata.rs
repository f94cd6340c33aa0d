//! What a hostile server says of itself. The profile has its issuer and nothing else; the token endpoint at the
//! issuer's own host answers well, and hears nothing until the metadata is right.

use super::{
    Case, Kept, Scene, Want, facing, stored,
    wire::{Act, Wire, answer, html, json, ok, raw},
};
use bursar::{
    broker::{GetTokenError, refresher::RefreshError},
    domain::{connection::State, failure::Class},
};
use tokio::time::Instant;

const POLICY: Want = Want::Refused(Class::Policy, Kept::Old);
const WRONG: Want = Want::Refused(Class::Configuration, Kept::Old);
const AWAY: Want = Want::Refused(Class::NotSent, Kept::Old);
const SERVED: Want = Want::Served(Kept::New);

pub(super) fn cases() -> Vec<Case> {
    [honest(), issuers(), endpoints(), forms(), answers()].into_iter().flatten().collect()
}

fn case(name: &'static str, act: fn(&Scene) -> Act, want: Want) -> Case {
    Case { name, act, want }
}

/// The issuer's metadata with these members besides.
fn of(scene: &Scene, members: &str) -> String {
    format!(r#"{{"issuer":"{}"{members}}}"#, scene.base)
}

/// With this token endpoint.
fn at(scene: &Scene, endpoint: &str) -> Act {
    ok(&of(scene, &format!(r#","token_endpoint":"{endpoint}""#)))
}

/// With the right token endpoint, and these members.
fn right(scene: &Scene, members: &str) -> Act {
    ok(&of(scene, &format!(r#","token_endpoint":"{}/token"{members}"#, scene.base)))
}

fn honest() -> Vec<Case> {
    vec![
        case("honest metadata", |s| right(s, ""), SERVED),
        case(
            "metadata with much that is not known",
            |s| right(s, r#","x":{"y":[1,null,{"z":"w"}]}"#),
            SERVED,
        ),
        case(
            "metadata with a revocation endpoint elsewhere",
            |s| right(s, &format!(r#","revocation_endpoint":"{}/revoke""#, s.elsewhere)),
            SERVED,
        ),
        case(
            "metadata with an alias for certificates elsewhere",
            |s| right(s, &format!(r#","mtls_endpoint_aliases":{{"token_endpoint":"{}/t"}}"#, s.elsewhere)),
            SERVED,
        ),
    ]
}

fn issuers() -> Vec<Case> {
    vec![
        case("metadata of another issuer", |_| ok(r#"{"issuer":"https://idp.example"}"#), POLICY),
        case("an issuer with a slash more", |s| ok(&format!(r#"{{"issuer":"{}/"}}"#, s.base)), POLICY),
        case(
            "an issuer in capital letters",
            |s| ok(&format!(r#"{{"issuer":"{}"}}"#, s.base.to_uppercase())),
            POLICY,
        ),
        case("an issuer behind a blank", |s| ok(&format!(r#"{{"issuer":" {}"}}"#, s.base)), POLICY),
        case("an issuer as a list", |s| ok(&format!(r#"{{"issuer":["{}"]}}"#, s.base)), WRONG),
        case(
            "two issuers",
            |s| ok(&format!(r#"{{"issuer":"https://idp.example","issuer":"{}"}}"#, s.base)),
            WRONG,
        ),
        case("no issuer", |s| ok(&format!(r#"{{"token_endpoint":"{}/token"}}"#, s.base)), WRONG),
    ]
}

fn endpoints() -> Vec<Case> {
    vec![
        case("a token endpoint elsewhere", |s| at(s, &format!("{}/token", s.elsewhere)), POLICY),
        case("a token endpoint on another host", |s| at(s, "https://evil.example/token"), POLICY),
        case(
            "a token endpoint on a host that begins like ours",
            |s| at(s, "https://127.0.0.1.evil.example/token"),
            POLICY,
        ),
        case("a token endpoint at the cloud's metadata", |s| at(s, "https://169.254.169.254/latest"), POLICY),
        case("the cloud's metadata as one number", |s| at(s, "https://2852039166/"), POLICY),
        case("the cloud's metadata as octal numbers", |s| at(s, "https://0251.0376.0251.0376/"), POLICY),
        case("the cloud's metadata inside IPv6", |s| at(s, "https://[::ffff:169.254.169.254]/"), POLICY),
        case("the cloud's metadata behind NAT64", |s| at(s, "https://[64:ff9b::a9fe:a9fe]/"), POLICY),
        case("a private address", |s| at(s, "https://10.0.0.1/token"), POLICY),
        case("a private address over plain HTTP", |s| at(s, "http://192.168.0.1/token"), POLICY),
        case("a link-local address", |s| at(s, "https://[fe80::1]/token"), POLICY),
        case("another port of this machine", |s| at(s, "http://127.0.0.1:1/token"), POLICY),
        case("a token endpoint with credentials in it", |s| at(s, "https://user:pass@evil.example/"), POLICY),
        case("a token endpoint with a backslash", |s| at(s, r"https://evil.example\\@127.0.0.1/"), POLICY),
        case("a file as token endpoint", |s| at(s, "file:///etc/passwd"), POLICY),
        case("a script as token endpoint", |s| at(s, "javascript:alert(1)"), POLICY),
        case("a relative token endpoint", |s| at(s, "/token"), POLICY),
        case("a token endpoint with a line break", |s| at(s, r"https://evil.example/\r\nX: y"), POLICY),
        case("a token endpoint with a fragment", |s| at(s, &format!("{}/token#x", s.base)), POLICY),
        case("no token endpoint", |s| ok(&of(s, "")), WRONG),
        case("a token endpoint as a number", |s| ok(&of(s, r#","token_endpoint":1"#)), WRONG),
        case(
            "two token endpoints",
            |s| right(s, &format!(r#","token_endpoint":"{}/token""#, s.elsewhere)),
            WRONG,
        ),
        case(
            "two token endpoints among the aliases",
            |s| {
                right(
                    s,
                    r#","mtls_endpoint_aliases":{"token_endpoint":"https://a.example/","token_endpoint":"https://b.example/"}"#,
                )
            },
            WRONG,
        ),
    ]
}

fn forms() -> Vec<Case> {
    vec![
        case("metadata in a list", |s| ok(&format!("[{}]", of(s, ""))), WRONG),
        case("half of the metadata", |s| ok(&of(s, "")[..12]), WRONG),
        case(
            "metadata of 300 levels",
            |s| right(s, &format!(r#","a":{}{}"#, "[".repeat(300), "]".repeat(300))),
            WRONG,
        ),
        case(
            "metadata with a list of 5000 words",
            |s| right(s, &format!(r#","scopes_supported":[{}"a"]"#, "\"a\",".repeat(5000))),
            WRONG,
        ),
        case(
            "metadata with a list of other things",
            |s| right(s, r#","grant_types_supported":[{"a":1}]"#),
            WRONG,
        ),
        case(
            "metadata with text for a truth value",
            |s| right(s, r#","require_pushed_authorization_requests":"no""#),
            WRONG,
        ),
        case("metadata behind a byte order mark", |s| ok(&format!("\u{feff}{}", of(s, ""))), WRONG),
        case("metadata in HTML", |_| html("200 OK"), WRONG),
        case(
            "metadata called text/plain",
            |s| answer("200 OK", "Content-Type: text/plain\r\n", of(s, "").as_bytes()),
            WRONG,
        ),
        case("metadata of 70 KiB", |s| right(s, &format!(r#","a":"{}""#, "a".repeat(70_000))), WRONG),
        case(
            "metadata without end",
            |_| {
                Act::Flood(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n".to_vec(),
                    vec![b' '; 4096],
                )
            },
            WRONG,
        ),
    ]
}

fn answers() -> Vec<Case> {
    vec![
        case("no metadata", |_| json("404 Not Found", "{}"), WRONG),
        case("metadata behind a login", |_| html("401 Unauthorized"), WRONG),
        case(
            "metadata elsewhere by redirect",
            |s| answer("302 Found", &format!("Location: {}/\r\n", s.elsewhere), b""),
            POLICY,
        ),
        case(
            "metadata elsewhere for good",
            |s| answer("308 Permanent Redirect", &format!("Location: {}/\r\n", s.elsewhere), b""),
            POLICY,
        ),
        case("metadata that is away", |_| html("503 Service Unavailable"), AWAY),
        case("metadata that is throttled", |_| html("429 Too Many Requests"), AWAY),
        case("metadata that never comes", |_| Act::Hang(vec![]), AWAY),
        case(
            "metadata that drips",
            |_| Act::Drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{".to_vec()),
            AWAY,
        ),
        case("metadata that breaks off", |_| raw("HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n{"), AWAY),
        case("metadata in another protocol", |_| raw("220 smtp ready\r\n"), AWAY),
    ]
}

/// A broker that finds its token endpoint there.
pub(super) async fn faced(n: usize, case: &Case) {
    let (server, elsewhere) = (Wire::start().await, Wire::start().await);
    let scene = Scene::new(n, &server.base, &elsewhere.base);
    server.does("/.well-known/", (case.act)(&scene));
    server.does("/token", ok(&scene.rotation("")));
    let profile = format!("issuer = \"{}\"\ndiscovery = \"oauth\"\nexchange_timeout = \"8s\"", server.base);
    let rig = facing(&profile, &scene).await;
    let begun = Instant::now();
    let outcome = rig.a.ask().await;
    let (what, record, took) = (case.name, rig.record().await, begun.elapsed());
    let (requests, kept) = match case.want {
        Want::Served(_) => {
            outcome.unwrap_or_else(|err| panic!("{what}: {err:?}"));
            (2, &scene.new)
        }
        Want::Refused(class, _) => {
            let err = outcome.map(|served| served.degraded).expect_err(what);
            let GetTokenError::Refresh(RefreshError::Failed(failure)) = &err else {
                panic!("{what}: {err:?}");
            };
            assert_eq!(failure.class, class, "{what}: {}", failure.detail);
            assert!(!failure.leaves_open() && !failure.detail.is_empty(), "{what}");
            assert!(!format!("{err:?} {record:?}").contains("canary"), "{what}");
            assert_eq!((record.state, record.failures), (State::Pending, 1), "{what}");
            (1, &scene.old)
        }
    };
    assert_eq!((&record.ambiguous, &record.attempt), (&None, &None), "{what}: no grant is in doubt");
    assert_eq!(&stored(&rig).await, kept, "{what}");
    assert!(took < super::PATIENCE, "{what} took {took:?}");
    assert!(server.written() < super::TAKEN_MAX, "{what}: {} bytes were taken", server.written());
    let seen = server.seen();
    assert_eq!(seen.len(), requests, "{what}");
    assert!(!seen[0].contains("canary"), "{what}: a secret was sent for metadata");
    assert!(elsewhere.seen().is_empty(), "{what}: something was sent elsewhere");
    rig.a.stop();
}
