//! What a person allows or denies: codes, pushed requests, devices.

use super::*;
use crate::simulator::exchange::Form;
use url::Url;

const CALLBACK: &str = "http://127.0.0.1:7600/callback/x";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const PROOF: [(&str, &str); 2] = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];

/// A client that may send browsers back, and consent that is given at once.
fn with_browser() -> Bench {
    let mut bench = bench();
    let new = NewClient {
        id: Some("my client".to_owned()),
        secrets: vec![SECRET.to_owned()],
        scopes: Some(["openid", "read", "write"].map(str::to_owned).to_vec()),
        redirect_uris: vec!["http://127.0.0.1:*".to_owned()],
        ..NewClient::default()
    };
    bench.client = bench.world.put_client(new).unwrap();
    bench.behave(&json!({"authorize": {"consent": "allow"}}));
    bench
}

impl Bench {
    /// A visit with a good query, of which members given replace their own, and empty ones are left out.
    fn visit(&mut self, members: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
        let good = [
            ("response_type", "code"),
            ("client_id", "my client"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid read"),
            ("state", "s&1"),
        ];
        let mut query: Vec<_> =
            good.into_iter().filter(|(name, _)| members.iter().all(|(given, _)| given != name)).collect();
        query.extend(members.iter().filter(|(_, value)| !value.is_empty()));
        let mut asked = request("/authorize", form);
        asked.method = if form.is_empty() { Method::GET } else { Method::POST };
        asked.query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.answer(&asked)
    }

    fn code(&mut self, members: &[(&str, &str)]) -> String {
        member(&self.visit(members, &[]), "code").unwrap()
    }

    fn exchange(&mut self, code: &str, members: &[(&str, &str)]) -> Answer {
        let good = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CALLBACK)];
        self.ask("/token", &[&good[..], members].concat())
    }
}

fn location(answer: &Answer) -> Url {
    assert_eq!(answer.status, 302, "{}", String::from_utf8_lossy(&answer.body));
    Url::parse(&answer.headers.iter().find(|(name, _)| *name == "location").unwrap().1).unwrap()
}

fn member(answer: &Answer, name: &str) -> Option<String> {
    Form::parse(location(answer).query().unwrap().as_bytes()).get(name).map(str::to_owned)
}

fn error(answer: &Answer) -> String {
    if answer.status == 200 { String::new() } else { text(&body(answer)["error"]) }
}

#[test]
fn a_person_allows_or_denies_and_the_issuer_is_named() {
    let mut bench = with_browser();
    bench.behave(&json!({"authorize": {"consent": "ask"}}));
    let page = bench.visit(&[], &[]);
    assert!(page.status == 200 && String::from_utf8(page.body).unwrap().contains("<button"));
    let allowed = bench.visit(&[], &[("decision", "allow"), ("user", "Wanda")]);
    let told = |name: &str| member(&allowed, name);
    assert_eq!((told("state").as_deref(), told("iss").as_deref()), (Some("s&1"), Some("http://as.test")));
    let members = body(&bench.exchange(&told("code").unwrap(), &[]));
    let id = bench.world.basics.key(SITE).unwrap().verify(&text(&members["id_token"])).unwrap();
    assert_eq!((&id["sub"], &id["aud"]), (&json!("wanda"), &json!("my client")));
    let denied = bench.visit(&[], &[("decision", "deny")]);
    assert_eq!(member(&denied, "error").as_deref(), Some("access_denied"));
    for (rule, want) in [("wrong", Some("https://another-issuer.example")), ("left_out", None)] {
        bench.behave(&json!({"authorize": {"iss": rule, "consent": "deny"}}));
        assert_eq!(member(&bench.visit(&[], &[]), "iss").as_deref(), want);
    }
}

#[test]
fn a_wrong_request_is_sent_back_or_shown_and_never_sent_elsewhere() {
    let mut bench = with_browser();
    let shown: [(&str, &str); 3] =
        [("client_id", "nobody"), ("redirect_uri", "https://elsewhere.test/"), ("redirect_uri", "")];
    for one in shown {
        assert_eq!(bench.visit(&[one], &[]).status, 400, "{one:?}");
    }
    let sent_back = [
        ("unsupported_response_type", ("response_type", "token")),
        ("invalid_scope", ("scope", "admin")),
        ("invalid_request", ("code_challenge", "plain")),
        ("invalid_target", ("resource", "relative")),
        ("invalid_request_uri", ("request_uri", "urn:unknown")),
    ];
    for (want, one) in sent_back {
        assert_eq!(member(&bench.visit(&[one], &[]), "error").as_deref(), Some(want), "{one:?}");
    }
    bench.behave(&json!({"authorize": {"pkce": "required"}}));
    assert_eq!(member(&bench.visit(&[], &[]), "error").as_deref(), Some("invalid_request"));
    assert!(member(&bench.visit(&PROOF, &[]), "code").is_some());
}

#[test]
fn a_code_is_good_once_and_ends_what_it_brought_when_it_comes_again() {
    let good = ("code_verifier", VERIFIER);
    let bad: [&[(&str, &str)]; 2] = [&[], &[("code_verifier", CHALLENGE)]];
    let mut bench = with_browser();
    for members in bad {
        let code = bench.code(&PROOF);
        assert_eq!(error(&bench.exchange(&code, members)), "invalid_grant", "{members:?}");
    }
    let code = bench.code(&PROOF);
    let elsewhere = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", "http://127.0.0.1:1/"),
        good,
    ];
    assert_eq!(error(&bench.ask("/token", &elsewhere)), "invalid_grant");
    let members = body(&bench.exchange(&code, &[good]));
    let first = text(&members["refresh_token"]);
    let second = bench.refresh(&first).unwrap();
    assert_eq!(error(&bench.exchange(&code, &[good])), "invalid_grant");
    assert_eq!(bench.refresh(&second), Err("invalid_grant".to_owned()));
    let code = bench.code(&[]);
    bench.now = bench.now.plus(std::time::Duration::from_secs(60));
    assert_eq!(error(&bench.exchange(&code, &[])), "invalid_grant");
}

#[test]
fn a_pushed_request_is_good_for_one_decision_of_its_client() {
    let mut bench = with_browser();
    let pushed =
        [("response_type", "code"), ("redirect_uri", CALLBACK), ("state", "pushed"), PROOF[0], PROOF[1]];
    let answer = bench.ask("/par", &pushed);
    assert_eq!((answer.status, &body(&answer)["expires_in"]), (201, &json!(90)));
    let uri = text(&body(&answer)["request_uri"]);
    bench.behave(&json!({"authorize": {"pushed": "required", "consent": "ask"}}));
    assert_eq!(member(&bench.visit(&[], &[]), "error").as_deref(), Some("invalid_request"));
    let query = [("request_uri", uri.as_str()), ("redirect_uri", ""), ("state", "of the query")];
    assert_eq!(bench.visit(&query, &[]).status, 200, "the page");
    let allowed = bench.visit(&query, &[("decision", "allow")]);
    assert_eq!(member(&allowed, "state").as_deref(), Some("pushed"));
    assert_eq!(bench.visit(&query, &[("decision", "allow")]).status, 400, "used");
    let code = member(&allowed, "code").unwrap();
    assert_eq!(error(&bench.exchange(&code, &[("code_verifier", VERIFIER)])), "");
    let uri = text(&body(&bench.ask("/par", &pushed))["request_uri"]);
    let foreign = [("request_uri", uri.as_str()), ("client_id", "nobody")];
    assert_eq!(bench.visit(&foreign, &[]).status, 400);
    bench.now = bench.now.plus(std::time::Duration::from_secs(90));
    assert_eq!(
        bench.visit(&[("request_uri", uri.as_str()), ("redirect_uri", "")], &[]).status,
        400,
        "run out"
    );
    for (want, change) in [
        ("invalid_request", ("redirect_uri", "https://x.test/")),
        ("invalid_request", ("request_uri", "urn:x")),
        ("invalid_scope", ("scope", "admin")),
    ] {
        let mut members: Vec<_> = pushed.iter().copied().filter(|(name, _)| *name != change.0).collect();
        members.push(change);
        assert_eq!(error(&bench.ask("/par", &members)), want, "{change:?}");
    }
}

#[test]
fn a_device_polls_until_its_owner_has_decided() {
    let mut bench = with_browser();
    bench.behave(&json!({"authorize": {"consent": "ask"}}));
    let begin = |bench: &mut Bench| body(&bench.ask("/device_authorization", &[("scope", "read")]));
    let poll = |bench: &mut Bench, started: &Value, seconds: u64| {
        bench.now = bench.now.plus(std::time::Duration::from_secs(seconds));
        let code = text(&started["device_code"]);
        bench.ask("/token", &[("grant_type", super::super::grants::DEVICE_CODE), ("device_code", &code)])
    };
    let decide = |bench: &mut Bench, started: &Value, decision: &str| {
        let code = text(&started["user_code"]).to_ascii_lowercase().replace('-', "");
        bench
            .answer(&request("/device", &[("user_code", &code), ("decision", decision), ("user", "Wanda")]))
            .status
    };
    let started = begin(&mut bench);
    assert_eq!((&started["interval"], &started["expires_in"]), (&json!(5), &json!(600)));
    assert!(text(&started["verification_uri_complete"]).contains(&text(&started["user_code"])));
    let mut look = request("/device", &[]);
    (look.method, look.query) = (Method::GET, format!("user_code={}", text(&started["user_code"])));
    assert!(String::from_utf8(bench.answer(&look).body).unwrap().contains(&text(&started["user_code"])));
    assert_eq!(error(&poll(&mut bench, &started, 0)), "authorization_pending");
    assert_eq!(error(&poll(&mut bench, &started, 4)), "slow_down");
    assert_eq!(error(&poll(&mut bench, &started, 9)), "slow_down", "ten seconds by now");
    assert_eq!(error(&poll(&mut bench, &started, 15)), "authorization_pending");
    assert_eq!(decide(&mut bench, &started, "allow"), 200);
    let members = body(&poll(&mut bench, &started, 15));
    assert_eq!((text(&members["scope"]), members["refresh_token"].is_string()), ("read".to_owned(), true));
    assert_eq!(error(&poll(&mut bench, &started, 15)), "invalid_grant", "spent");
    let started = begin(&mut bench);
    assert_eq!(decide(&mut bench, &started, "deny"), 200);
    assert_eq!(error(&poll(&mut bench, &started, 0)), "access_denied");
    let started = begin(&mut bench);
    assert_eq!(error(&poll(&mut bench, &started, 600)), "expired_token");
    assert_eq!(decide(&mut bench, &started, "allow"), 400);
}

#[test]
fn resources_are_reflected_and_only_ever_narrowed() {
    let mut bench = with_browser();
    let (one, two) = (("resource", "https://one.test/"), ("resource", "https://two.test/"));
    let code = bench.code(&[one, two]);
    let members = body(&bench.exchange(&code, &[]));
    let aud = |bench: &mut Bench, members: &Value| {
        let token = text(&members["access_token"]);
        bench.world.basics.key(SITE).unwrap().verify(&token).unwrap()["aud"].clone()
    };
    assert_eq!(aud(&mut bench, &members), json!([one.1, two.1]));
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", &text(&members["refresh_token"]))];
    let other = [&refresh[..], &[("resource", "https://three.test/")]].concat();
    assert_eq!(error(&bench.ask("/token", &other)), "invalid_target");
    let members = body(&bench.ask("/token", &[&refresh[..], &[two]].concat()));
    assert_eq!(aud(&mut bench, &members), json!(two.1));
    let events = serde_json::to_value(bench.world.basics.journal().events().collect::<Vec<_>>()).unwrap();
    let last = events.as_array().unwrap().last().unwrap();
    assert_eq!((&last["resource"], &last["auth"]), (&json!([two.1]), &json!("client_secret_basic")));
}
