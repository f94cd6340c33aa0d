//! What comes to the callback instead of an honest answer. A grant is in place already: whatever comes, it stays until
//! a better one is committed, and what changes nothing leaves the consent open for the honest answer.

use super::{
    Scene, facing, stored,
    wire::{Act, Wire, answer, html, json, ok, raw},
};
use crate::rig::{Rig, name, numbered};
use bursar::{
    broker::admin::consent::{
        NextStep, Outcome, Start,
        redirects::{Cookies, QUERY_MAX},
    },
    domain::{
        authorization::{Fault, Principals, Stage},
        names::ConnectionName,
    },
};
use std::collections::BTreeMap;
use tokio::time::Instant;
use url::{Url, form_urlencoded};

/// One thing that comes back, where, and what has to come of it.
pub(super) struct Callback {
    pub(super) name: &'static str,
    at: At,
    query: fn(&Sent) -> String,
    token: fn(&Scene) -> Act,
    pub(super) want: Outcome,
    pub(super) then: Then,
}

/// Whose redirect URI it comes to, and from which browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Own,
    /// That of the connection beside it, from a browser that began both.
    Beside,
    OtherBrowser,
    /// A browser with the other authorization's cookie only.
    BesidesBrowser,
    /// The consent is one whose redirect a front end takes.
    FrontEnds,
    /// The same once more, after it had succeeded.
    Again,
}

/// What becomes of the consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// It waits for the honest answer, which succeeds.
    Open,
    /// It is over, and what was granted before is as it was.
    Over,
    /// A new grant took the old one's place.
    Granted,
}

impl Then {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Open => "still open",
            Self::Over => "over",
            Self::Granted => "redeemed once",
        }
    }
}

/// What the honest server was sent, of both consents, and where others are.
struct Sent {
    state: String,
    beside: String,
    iss: String,
    elsewhere: String,
}

impl Sent {
    /// An answer with these parameters and the right `state` and `iss`.
    fn with(&self, parameters: &[(&str, &str)]) -> String {
        Self::query(&self.state, Some(&self.iss), parameters)
    }

    fn issued(&self, iss: &str) -> String {
        Self::query(&self.state, Some(iss), &[("code", CODE)])
    }

    fn stated(&self, state: &str) -> String {
        Self::query(state, Some(&self.iss), &[("code", CODE)])
    }

    fn query(state: &str, iss: Option<&str>, parameters: &[(&str, &str)]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("state", state).extend_pairs(iss.map(|iss| ("iss", iss)));
        query.extend_pairs(parameters).finish()
    }
}

const CODE: &str = "canary-code";

pub(super) fn cases() -> Vec<Callback> {
    [issuers(), states(), places(), forms(), errors(), geolocations(), exchanges()]
        .into_iter()
        .flatten()
        .collect()
}

fn case(name: &'static str, query: fn(&Sent) -> String, want: Outcome, then: Then) -> Callback {
    at(At::Own, name, query, want, then)
}

fn at(at: At, name: &'static str, query: fn(&Sent) -> String, want: Outcome, then: Then) -> Callback {
    Callback { name, at, query, token: |s| ok(&s.rotation("")), want, then }
}

fn issuers() -> Vec<Callback> {
    let wrong = |name, query| case(name, query, Outcome::WrongIssuer, Then::Over);
    vec![
        case("an honest answer", |s| s.issued(&s.iss), Outcome::Succeeded, Then::Granted),
        wrong("`iss` of another server", |s| s.issued(&s.elsewhere)),
        wrong("`iss` left out where it is announced", |s| Sent::query(&s.state, None, &[("code", CODE)])),
        wrong("`iss` empty", |s| s.issued("")),
        wrong("`iss` with a slash more", |s| s.issued(&format!("{}/", s.iss))),
        wrong("`iss` in capital letters", |s| s.issued(&s.iss.to_uppercase())),
        wrong("`iss` with a blank", |s| s.issued(&format!("{} ", s.iss))),
        wrong("`iss` as a prefix of ours", |s| s.issued(&s.iss[..s.iss.len() - 1])),
        wrong("`iss` of another server beside an error", |s| {
            Sent::query(&s.state, Some(&s.elsewhere), &[("error", "access_denied")])
        }),
        wrong("`iss` left out beside an error", |s| {
            Sent::query(&s.state, None, &[("error", "access_denied")])
        }),
        case(
            "`iss` twice, ours and another's",
            |s| s.with(&[("code", CODE), ("iss", &s.elsewhere)]),
            Outcome::Nonsense,
            Then::Open,
        ),
    ]
}

fn states() -> Vec<Callback> {
    let unknown = |name, query| case(name, query, Outcome::Unknown, Then::Open);
    vec![
        unknown("`state` left out", |s| format!("code={CODE}&iss={}", s.iss)),
        unknown("`state` empty", |s| s.stated("")),
        unknown("`state` of the connection beside it", |s| s.stated(&s.beside)),
        unknown("`state` with another first letter", |s| s.stated(&format!("!{}", &s.state[1..]))),
        unknown("`state` without its last letter", |s| s.stated(&s.state[..s.state.len() - 1])),
        unknown("`state` with a blank behind it", |s| s.stated(&format!("{} ", s.state))),
        unknown("`state` with a NUL behind it", |s| s.stated(&format!("{}\0", s.state))),
        unknown("`state` of 10 KiB", |s| s.stated(&s.state.repeat(10_240 / s.state.len()))),
        unknown("`state` that nobody made", |s| s.stated("tenants/t/connections/c0")),
        case(
            "`state` twice",
            |s| s.with(&[("code", CODE), ("state", &s.state)]),
            Outcome::Nonsense,
            Then::Open,
        ),
        at(
            At::Again,
            "code and `state` a second time",
            |s| s.stated(&s.state),
            Outcome::Replayed(Stage::Succeeded),
            Then::Granted,
        ),
        at(
            At::Again,
            "`state` a second time with another code",
            |s| s.with(&[("code", "canary-other-code")]),
            Outcome::Replayed(Stage::Succeeded),
            Then::Granted,
        ),
        at(
            At::Again,
            "`state` a second time with an error",
            |s| s.with(&[("error", "access_denied")]),
            Outcome::Replayed(Stage::Succeeded),
            Then::Granted,
        ),
    ]
}

fn places() -> Vec<Callback> {
    let unknown = |place, name, query| at(place, name, query, Outcome::Unknown, Then::Open);
    vec![
        unknown(At::Beside, "the answer at the redirect URI of the connection beside it", |s| {
            s.stated(&s.state)
        }),
        unknown(At::Beside, "an error at the redirect URI of the connection beside it", |s| {
            s.with(&[("error", "access_denied")])
        }),
        at(
            At::OtherBrowser,
            "the answer from a browser that did not begin",
            |s| s.stated(&s.state),
            Outcome::OtherBrowser,
            Then::Open,
        ),
        at(
            At::OtherBrowser,
            "an error from a browser that did not begin",
            |s| s.with(&[("error", "access_denied")]),
            Outcome::OtherBrowser,
            Then::Open,
        ),
        at(
            At::BesidesBrowser,
            "the answer from a browser that began for the connection beside it",
            |s| s.stated(&s.state),
            Outcome::OtherBrowser,
            Then::Open,
        ),
        unknown(At::FrontEnds, "a front end's `state` at the broker's callback", |s| s.stated(&s.state)),
        unknown(At::FrontEnds, "an error with a front end's `state` at the broker's callback", |s| {
            s.with(&[("error", "access_denied")])
        }),
    ]
}

fn forms() -> Vec<Callback> {
    let nonsense = |name, query, then| case(name, query, Outcome::Nonsense, then);
    vec![
        nonsense("two codes", |s| s.with(&[("code", CODE), ("code", "canary-other")]), Then::Open),
        nonsense("one code twice", |s| s.with(&[("code", CODE), ("code", CODE)]), Then::Open),
        nonsense("two errors", |s| s.with(&[("error", "a"), ("error", "b")]), Then::Open),
        nonsense(
            "a parameter nobody knows, twice",
            |s| s.with(&[("code", CODE), ("x", "1"), ("x", "2")]),
            Then::Open,
        ),
        nonsense("a query of 17 KiB", |s| s.with(&[("code", &"c".repeat(QUERY_MAX + 1024))]), Then::Open),
        nonsense(
            "200 parameters",
            |s| (0..200).fold(s.stated(&s.state), |query, n| format!("{query}&p{n}=1")),
            Then::Open,
        ),
        nonsense("neither code nor error", |s| s.with(&[]), Then::Over),
        nonsense("an empty code", |s| s.with(&[("code", "")]), Then::Over),
        nonsense(
            "tokens instead of a code",
            |s| s.with(&[("access_token", "canary"), ("token_type", "Bearer")]),
            Then::Over,
        ),
        case("nothing at all", |_| String::new(), Outcome::Unknown, Then::Open),
        case("bytes that are no parameters", |_| "%ff%00&&&===%zz".to_owned(), Outcome::Unknown, Then::Open),
        case(
            "parameters that nobody knows",
            |s| s.with(&[("code", CODE), ("session_state", "1"), ("scope", "admin")]),
            Outcome::Succeeded,
            Then::Granted,
        ),
    ]
}

fn errors() -> Vec<Callback> {
    let error = |name, query, code: Option<&str>| {
        case(name, query, Outcome::ProviderError(code.map(str::to_owned)), Then::Over)
    };
    vec![
        case(
            "a code and a denial together",
            |s| s.with(&[("code", CODE), ("error", "access_denied")]),
            Outcome::Denied,
            Then::Over,
        ),
        error(
            "a code and an error together",
            |s| s.with(&[("code", CODE), ("error", "server_error")]),
            Some("server_error"),
        ),
        error(
            "HTML in `error_description`",
            |s| s.with(&[("error", "server_error"), ("error_description", "<script>alert(1)</script>")]),
            Some("server_error"),
        ),
        error(
            "HTML as `error`",
            |s| s.with(&[("error", "<script>alert(1)</script>")]),
            Some("scriptalert1script"),
        ),
        error(
            "an error that writes to a terminal",
            |s| s.with(&[("error", "\u{1b}]0;owned\u{7}")]),
            Some("0owned"),
        ),
        error(
            "an error with a line break",
            |s| s.with(&[("error", "a\r\nSet-Cookie: x=y")]),
            Some("aSet-Cookie:xy"),
        ),
        error("an error of 10 KiB", |s| s.with(&[("error", &"e".repeat(10_240))]), Some(&"e".repeat(64))),
        error(
            "a page for the error elsewhere",
            |s| s.with(&[("error", "server_error"), ("error_uri", &s.elsewhere)]),
            Some("server_error"),
        ),
    ]
}

fn geolocations() -> Vec<Callback> {
    let refused = |name, query| case(name, query, Outcome::Nonsense, Then::Over);
    vec![
        refused("`geolocation` on another host", |s| {
            s.with(&[("code", CODE), ("geolocation", &s.elsewhere)])
        }),
        refused("`geolocation` at the cloud's metadata", |s| {
            s.with(&[("code", CODE), ("geolocation", "http://169.254.169.254")])
        }),
        refused("`geolocation` on a private host", |s| {
            s.with(&[("code", CODE), ("geolocation", "https://10.0.0.1")])
        }),
        refused("`geolocation` with credentials in it", |s| {
            s.with(&[("code", CODE), ("geolocation", &s.iss.replace("://", "://user@"))])
        }),
        refused("`geolocation` that is no address", |s| {
            s.with(&[("code", CODE), ("geolocation", "javascript:alert(1)")])
        }),
    ]
}

/// The callback is honest, and what the code is exchanged for is not.
fn exchanges() -> Vec<Callback> {
    let failed = |name, token, fault| Callback {
        name,
        at: At::Own,
        query: |s| s.stated(&s.state),
        token,
        want: Outcome::Failed(fault),
        then: Then::Over,
    };
    vec![
        failed(
            "the code is refused",
            |_| json("400 Bad Request", r#"{"error":"invalid_grant"}"#),
            Fault::Refused,
        ),
        failed("the code brings a page in HTML", |_| html("200 OK"), Fault::Ambiguous),
        failed(
            "the code's exchange is sent elsewhere",
            |s| answer("307 Temporary Redirect", &format!("Location: {}/token\r\n", s.elsewhere), b""),
            Fault::Policy,
        ),
        failed("the code's exchange is cut off", |_| raw(""), Fault::Ambiguous),
        failed("the code's exchange never ends", |_| Act::Hang(vec![]), Fault::Ambiguous),
        failed("the server is down at the exchange", |_| html("503 Service Unavailable"), Fault::Down),
        failed("the code brings a token of no type", |s| ok(&s.typed("")), Fault::Malformed),
    ]
}

struct Browser {
    cookies: Cookies,
    state: String,
}

/// Begins a consent and goes as far as the provider.
async fn gone(rig: &Rig, name: &ConnectionName) -> Browser {
    let start = Start::Browser { return_uri: None, redirect_uri: None, login_hint: None };
    let started = rig.a.admin.start_authorization(name, start, Principals::Same).await.unwrap();
    let NextStep::Open { url, .. } = &started.next else { panic!("nothing to open") };
    let opened =
        rig.a.admin.open_authorization(url.rsplit('/').next().unwrap(), &Cookies::new()).await.unwrap();
    let sent: BTreeMap<_, _> = opened.location.query_pairs().into_owned().collect();
    let (cookie, value) = opened.cookie.unwrap();
    Browser { cookies: [(cookie, value.expose().to_owned())].into(), state: sent["state"].clone() }
}

/// Begins one whose redirect a front end takes; nobody has a cookie then.
async fn gone_for_a_front_end(rig: &Rig) -> Browser {
    let redirect_uri = Some("https://app.example/back".to_owned());
    let start = Start::Browser { return_uri: None, redirect_uri, login_hint: None };
    let started = rig.a.admin.start_authorization(&name(), start, Principals::Same).await.unwrap();
    let NextStep::Open { url, .. } = &started.next else { panic!("nothing to open") };
    let sent: BTreeMap<_, _> = Url::parse(url).unwrap().query_pairs().into_owned().collect();
    Browser { cookies: Cookies::new(), state: sent["state"].clone() }
}

fn profile(base: &str) -> String {
    format!(
        "issuer = \"{base}\"\ntoken_endpoint = \"{base}/token\"\nauthorization_endpoint = \"{base}/authorize\"\n\
         response_iss = \"required\"\ngrants = [\"refresh_token\", \"authorization_code\"]\nexchange_timeout = \"8s\""
    )
}

pub(super) async fn faced(n: usize, case: &Callback) {
    let (server, elsewhere) = (Wire::start().await, Wire::start().await);
    let scene = Scene::new(n, &server.base, &elsewhere.base);
    server.does("/token", (case.token)(&scene));
    let rig = facing(&profile(&server.base), &scene).await;
    rig.seed_as(1, "canary-beside", |_| {}).await;
    let own = match case.at {
        At::FrontEnds => gone_for_a_front_end(&rig).await,
        At::Own | At::Beside | At::OtherBrowser | At::BesidesBrowser | At::Again => gone(&rig, &name()).await,
    };
    let beside = gone(&rig, &numbered(1)).await;
    let sent = Sent {
        state: own.state.clone(),
        beside: beside.state.clone(),
        iss: server.base.clone(),
        elsewhere: elsewhere.base.clone(),
    };
    let both: Cookies =
        own.cookies.iter().chain(&beside.cookies).map(|(k, v)| (k.clone(), v.clone())).collect();
    let (place, cookies) = match case.at {
        At::Own | At::FrontEnds | At::Again => (name(), both.clone()),
        At::Beside => (numbered(1), both.clone()),
        At::OtherBrowser => (name(), Cookies::new()),
        At::BesidesBrowser => (name(), beside.cookies.clone()),
    };
    let (what, before) = (case.name, rig.record().await);
    let honest = sent.stated(&sent.state);
    if case.at == At::Again {
        assert_eq!(
            rig.a.admin.take_redirect(Some(&place), &honest, &cookies).await.outcome,
            Outcome::Succeeded
        );
    }
    let begun = Instant::now();
    let turn = rig.a.admin.take_redirect(Some(&place), &(case.query)(&sent), &cookies).await;
    assert!(begun.elapsed() < super::PATIENCE, "{what}");
    assert_eq!(turn.outcome, case.want, "{what}");
    assert!(!format!("{turn:?}").contains("canary"), "{what}: {turn:?}");
    let asked = matches!(case.want, Outcome::Failed(_)) || case.then == Then::Granted;
    assert_eq!(server.seen().len(), usize::from(asked), "{what}: the code was sent, or sent twice");
    let after = rig.record().await;
    let kept = if case.then == Then::Granted { &scene.new } else { &scene.old };
    assert_eq!(&stored(&rig).await, kept, "{what}");
    if case.then != Then::Granted {
        let marks = (after.family, after.generation, after.state, &after.suspicion, &after.ambiguous);
        let as_before =
            (before.family, before.generation, before.state, &before.suspicion, &before.ambiguous);
        assert_eq!(marks, as_before, "{what}: the grant in place is touched");
    }
    let stage = after.authorization.as_ref().unwrap().stage;
    assert_eq!(stage == Stage::Open, case.then == Then::Open, "{what}: {stage:?}");
    if case.then == Then::Open && case.at != At::FrontEnds {
        let turn = rig.a.admin.take_redirect(Some(&name()), &honest, &both).await;
        assert_eq!(
            (turn.outcome, &stored(&rig).await),
            (Outcome::Succeeded, &scene.new),
            "{what}: then the honest one"
        );
    }
    if case.at == At::FrontEnds {
        let done = rig.a.admin.complete_redirect(&name(), &honest).await;
        assert!(done.is_ok() && stored(&rig).await == scene.new, "{what}: then the front end");
    }
    assert!(elsewhere.seen().is_empty(), "{what}: something was sent elsewhere");
    rig.a.stop();
}
