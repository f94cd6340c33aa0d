//! First exchanges with a person: consent in a browser, codes, one-time passwords; and an app's own secrets.

use super::*;
use crate::simulator::{consent::Consent, exchange::Form};
use url::Url;

const CALLBACK: &str = "http://127.0.0.1:7600/callback/x";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// With one user in `eu2`, and consent that is given at once.
fn with_user() -> Bench {
    let mut bench = bench();
    let change = json!({"redirect_uris": ["http://127.0.0.1:*"]});
    bench.app = bench.world.change_app(&bench.app.id.clone(), &change).unwrap();
    let user = NewPrincipal {
        kind: Kind::User,
        data_centre: Some("eu2".to_owned()),
        login: Some("wanda@example.com".to_owned()),
        password: Some("pw".to_owned()),
        ..NewPrincipal::default()
    };
    bench.world.put_principal(user).unwrap();
    bench.behave(&json!({"authorize": {"consent": "allow"}}));
    bench
}

impl Bench {
    fn visit(&mut self, method: Method, members: &[(&str, &str)], form: &[(&str, &str)]) -> Answer {
        let id = self.app.id.clone();
        let good = [
            ("response_type", "code"),
            ("client_id", id.as_str()),
            ("redirect_uri", CALLBACK),
            ("scope", "openid user.read"),
            ("state", "s&1"),
        ];
        let mut query: Vec<_> =
            good.into_iter().filter(|(name, _)| members.iter().all(|(given, _)| given != name)).collect();
        query.extend(members.iter().filter(|(_, value)| !value.is_empty()));
        let mut request = post("glz", "/oauth2/v0/authorize", form);
        request.method = method;
        request.query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        self.answer(&request)
    }

    fn code_for(&mut self, members: &[(&str, &str)]) -> String {
        member(&self.visit(Method::GET, members, &[]), "code").unwrap()
    }

    fn otp(&mut self, site: &str, members: &[(&str, &str)]) -> u64 {
        let (id, secret) = (self.app.id.clone(), self.app.secrets[0].clone());
        let mut form = vec![("client_id", id.as_str()), ("client_secret", secret.as_str())];
        form.retain(|(name, _)| members.iter().all(|(given, _)| given != name));
        form.extend(members.iter().filter(|(_, value)| !value.is_empty()));
        let answer = self.answer(&post(site, "/oauth2/v0/otp", &form));
        if answer.status == 200 { 0 } else { code_of(&answer) }
    }
}

fn location(answer: &Answer) -> Url {
    assert_eq!(answer.status, 302, "{}", String::from_utf8_lossy(&answer.body));
    Url::parse(&answer.headers.iter().find(|(name, _)| *name == "location").unwrap().1).unwrap()
}

fn member(answer: &Answer, name: &str) -> Option<String> {
    Form::parse(location(answer).query().unwrap().as_bytes()).get(name).map(str::to_owned)
}

#[test]
fn a_person_allows_or_denies_on_a_page() {
    let mut bench = with_user();
    bench.behave(&json!({"authorize": {"consent": "ask"}}));
    let page = bench.visit(Method::GET, &[], &[]);
    let html = String::from_utf8(page.body.clone()).unwrap();
    assert!(page.status == 200 && html.contains("wanda@example.com") && html.contains("user.read"), "{html}");
    let allowed = bench.visit(Method::POST, &[], &[("decision", "allow"), ("user", "wanda@example.com")]);
    assert_eq!(member(&allowed, "geolocation"), Some(base("eu2")));
    assert_eq!(member(&allowed, "state").as_deref(), Some("s&1"));
    assert!(location(&allowed).as_str().starts_with(CALLBACK));
    let denied = bench.visit(Method::POST, &[], &[("decision", "deny")]);
    assert_eq!(member(&denied, "error_code").as_deref(), Some("user_denied"));
    assert_eq!(member(&denied, "error_description").as_deref(), Some("The user denied your request."));
    assert_eq!(member(&denied, "state").as_deref(), Some("s&1"));
    bench.behave(&json!({"authorize": {"consent": "deny", "state": "left_out"}}));
    let denied = bench.visit(Method::GET, &[], &[]);
    assert_eq!(
        (member(&denied, "error_code").as_deref(), member(&denied, "state")),
        (Some("user_denied"), None)
    );
    assert_eq!(bench.world.basics.behaviour.authorize.consent, Consent::Deny);
}

#[test]
fn nobody_is_sent_to_a_place_that_is_not_the_clients() {
    let mut bench = with_user();
    for members in [
        [("client_id", "nobody")],
        [("client_id", "")],
        [("redirect_uri", "https://elsewhere.test/")],
        [("redirect_uri", "")],
    ] {
        assert_eq!(bench.visit(Method::GET, &members, &[]).status, 400, "{members:?}");
    }
}

#[test]
fn a_wrong_authorization_request_is_sent_back_with_its_code() {
    let cases: [(&str, &[(&str, &str)]); 10] = [
        ("60", &[("response_type", "")]),
        ("60", &[("response_type", "token"), ("nonce", "n")]),
        ("117", &[("response_type", "token")]),
        ("54", &[("scope", "openid LIST")]),
        ("118", &[("display", "wall")]),
        ("119", &[("prompt", "often")]),
        ("119", &[("scope", "offline_access")]),
        ("121", &[("login_type", "magic")]),
        ("124", &[("product", "com.example")]),
        ("invalid_request", &[("code_challenge", VERIFIER), ("code_challenge_method", "plain")]),
    ];
    let mut bench = with_user();
    for (want, members) in cases {
        let answer = bench.visit(Method::GET, members, &[]);
        assert_eq!(member(&answer, "error_code").as_deref(), Some(want), "{members:?}");
    }
    bench.world.basics.faults().push(Fault::once(Trouble::Refuse(Refusal::code(59)))).unwrap();
    assert_eq!(member(&bench.visit(Method::GET, &[], &[]), "error_code").as_deref(), Some("59"));
    bench.world.change_app(&bench.app.id.clone(), &json!({"status": "disabled"})).unwrap();
    assert_eq!(member(&bench.visit(Method::GET, &[], &[]), "error_code").as_deref(), Some("59"));
}

#[test]
fn a_code_is_good_once_for_its_client_its_address_and_its_proof() {
    let challenge = [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")];
    let cases: Vec<(u64, Vec<(&str, &str)>)> = vec![
        (0, vec![("code_verifier", VERIFIER)]),
        (103, vec![]),
        (103, vec![("code_verifier", CHALLENGE)]),
        (103, vec![("code_verifier", VERIFIER), ("code", "another")]),
        (101, vec![("code_verifier", VERIFIER), ("code", "")]),
        (102, vec![("code_verifier", VERIFIER), ("redirect_uri", "")]),
        (104, vec![("code_verifier", VERIFIER), ("redirect_uri", "http://127.0.0.1:1/")]),
    ];
    for (want, change) in cases {
        let mut bench = with_user();
        let code = bench.code_for(&challenge);
        let mut members =
            vec![("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
        members.retain(|(name, _)| change.iter().all(|(given, _)| given != name));
        members.extend(change.clone());
        assert_eq!(bench.code("us2", &members), if want == 0 { 16 } else { want }, "{change:?}");
        assert_eq!(bench.code("glz", &members), want, "{change:?}");
        assert_eq!(bench.code("eu2", &members), if want == 0 { 103 } else { want }, "used up: {change:?}");
    }
}

#[test]
fn a_code_ends_by_the_clock_and_belongs_to_one_app() {
    let mut bench = with_user();
    let code = bench.code_for(&[]);
    let grants = Some(["authorization_code".to_owned()].into());
    let other = bench.world.put_app(NewApp { grants, ..NewApp::default() }).unwrap();
    let members = [("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", CALLBACK)];
    let foreign = [&members[..], &[("client_id", &other.id), ("client_secret", &other.secrets[0])]].concat();
    assert_eq!(bench.code("glz", &foreign), 105);
    bench.later(599);
    let answer = bench.ask("glz", &members);
    assert_eq!(
        (text(&answer, "geolocation"), text(&answer, "scope")),
        (base("eu2"), "openid user.read".to_owned())
    );
    let claims = bench.world.basics.key("eu2").unwrap().verify(&text(&answer, "id_token")).unwrap();
    assert_eq!(claims["concur.type"], "user");
    let code = bench.code_for(&[]);
    bench.later(600);
    assert_eq!(bench.code("glz", &[members[0], ("code", &code), members[2]]), 103);
}

#[test]
fn a_one_time_password_is_asked_for_read_and_spent_with_the_same_facts() {
    let (channel, handle) = (("channel_type", "email"), ("channel_handle", "wanda@example.com"));
    let facts = [("link", "https://app.test/in?x=1"), ("name", "Wanda")];
    let ask = [&[channel, handle][..], &facts].concat();
    let mut bench = with_user();
    assert_eq!(bench.otp("us2", &ask), 16);
    assert_eq!(bench.otp("eu2", &ask), 0);
    let mail = bench.world.mailbox(NOW).remove(0);
    assert_eq!((mail.to.as_str(), mail.link), (handle.1, Some(format!("{}&token={}", facts[0].1, mail.otp))));
    let spend = [&[("grant_type", "otp"), ("otp", &mail.otp), channel, handle][..], &facts].concat();
    let cases: [(u64, &[(&str, &str)]); 7] = [
        (56, &[("otp", "")]),
        (57, &[("channel_type", "")]),
        (58, &[("channel_handle", "")]),
        (55, &[("channel_handle", "nobody@example.com")]),
        (83, &[("otp", "dd-unknown")]),
        (84, &[("name", "")]),
        (84, &[("company", "new")]),
    ];
    for (want, change) in cases {
        let mut members = spend.clone();
        members.retain(|(name, _)| change.iter().all(|(given, _)| given != name));
        members.extend(change);
        assert_eq!(bench.code("eu2", &members), want, "{change:?}");
    }
    let other =
        NewPrincipal { kind: Kind::User, login: Some("x@example.com".to_owned()), ..NewPrincipal::default() };
    bench.world.put_principal(other).unwrap();
    let mut elsewhere = spend.clone();
    elsewhere[3].1 = "x@example.com";
    assert_eq!(bench.code("eu2", &elsewhere), 85);
    assert_eq!(bench.code("us2", &spend), 16);
    assert_eq!(bench.code("eu2", &spend), 0);
    assert_eq!(bench.code("eu2", &spend), 83);
}

#[test]
fn open_one_time_passwords_are_counted_and_run_out() {
    let mut bench = with_user();
    let ask = [("channel_type", "email"), ("channel_handle", "wanda@example.com")];
    let codes: Vec<_> = (0..4).map(|_| bench.otp("eu2", &ask)).collect();
    assert_eq!(codes, [0, 0, 0, 82]);
    let mail = bench.world.mailbox(bench.now).remove(0);
    assert_eq!(mail.link, None);
    bench.later(600);
    assert_eq!(bench.code("eu2", &[("grant_type", "otp"), ("otp", &mail.otp), ask[0], ask[1]]), 83);
    assert_eq!(bench.otp("eu2", &ask), 0);
    assert_eq!(bench.otp("eu2", &[ask[0], ("channel_handle", "nobody@example.com")]), 0);
    assert_eq!(bench.world.mailbox(bench.now).len(), 1);
    for (want, change) in [
        (57, ("channel_type", "")),
        (58, ("channel_handle", "")),
        (80, ("channel_type", "fax")),
        (81, ("channel_handle", "ab")),
        (62, ("client_id", "")),
        (63, ("client_secret", "")),
        (61, ("client_id", "nobody")),
    ] {
        let mut members = ask.to_vec();
        members.retain(|(name, _)| *name != change.0);
        members.push(change);
        assert_eq!(bench.otp("eu2", &members), want, "{change:?}");
    }
    bench.world.change_app(&bench.app.id.clone(), &json!({"grants": ["password"]})).unwrap();
    assert_eq!(bench.otp("eu2", &ask), 60);
}

#[test]
fn an_app_manages_its_secrets_with_its_own_token() {
    let mut bench = bench();
    let token = text(&bench.ask("us2", &[("grant_type", "client_credentials")]), "access_token");
    let company = text(&bench.bootstrap("us2"), "access_token");
    let path = format!("/app-mgmt/v4/{}/secrets", bench.app.id);
    let call = |bench: &mut Bench, method: Method, path: &str, token: &str, body: Value| {
        let mut asked = request("us2", method, path);
        asked.headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {token}")).unwrap());
        asked.body = body.to_string().into_bytes();
        bench.answer(&asked)
    };
    let set = |status: &str| json!({"Operations": [{"op": "replace", "path": "/status", "value": status}]});
    assert_eq!(call(&mut bench, Method::GET, &path, &company, json!(null)).status, 401);
    assert_eq!(call(&mut bench, Method::GET, "/app-mgmt/v4/other/secrets", &token, json!(null)).status, 401);
    let first = body(&call(&mut bench, Method::GET, &path, &token, json!(null)));
    assert_eq!((first.as_array().unwrap().len(), &first[0]["status"]), (1, &json!("Active")));
    assert!(first[0]["secret"].is_null());
    let made = body(&call(&mut bench, Method::POST, &path, &token, json!({})));
    let (secret, one) =
        (made["secret"].as_str().unwrap(), format!("{path}/{}", made["id"].as_str().unwrap()));
    assert_eq!(made["status"], "Inactive");
    let grant = ("grant_type", "client_credentials");
    let with_new = [grant, ("client_secret", secret)];
    assert_eq!(bench.code("us2", &with_new), 64);
    assert_eq!(call(&mut bench, Method::PATCH, &one, &token, set("on")).status, 400);
    assert_eq!(call(&mut bench, Method::PATCH, &one, &token, set("active")).status, 200);
    assert_eq!((bench.code("us2", &with_new), bench.code("us2", &[grant])), (0, 0));
    assert_eq!(call(&mut bench, Method::DELETE, &one, &token, json!(null)).status, 400);
    let old = format!("{path}/{}", first[0]["id"].as_str().unwrap());
    assert_eq!(call(&mut bench, Method::PATCH, &old, &token, set("inactive")).status, 200);
    assert_eq!((bench.code("us2", &with_new), bench.code("us2", &[grant])), (0, 64));
    assert_eq!(call(&mut bench, Method::PATCH, &one, &token, set("inactive")).status, 400, "the last one");
    assert_eq!(call(&mut bench, Method::DELETE, &old, &token, json!(null)).status, 204);
    assert_eq!(call(&mut bench, Method::DELETE, &old, &token, json!(null)).status, 404);
    let more: Vec<_> =
        (0..4).map(|_| call(&mut bench, Method::POST, &path, &token, json!({})).status).collect();
    assert_eq!(more, [200, 200, 200, 400]);
    bench.later(3600);
    assert_eq!(call(&mut bench, Method::GET, &path, &token, json!(null)).status, 401);
}

#[test]
fn an_app_of_one_data_centre_is_unknown_in_the_others() {
    let mut bench = bench();
    bench.world.change_app(&bench.app.id.clone(), &json!({"data_centres": ["eu2"]})).unwrap();
    let ask = [("grant_type", "client_credentials")];
    assert_eq!((bench.code("us2", &ask), bench.code("eu2", &ask)), (61, 0));
    assert!(bench.world.change_app(&bench.app.id.clone(), &json!({"data_centres": ["mars"]})).is_err());
}

#[test]
fn the_app_center_leads_to_a_landing_page_with_a_request_token() {
    let mut bench = bench();
    let (company, app) = (bench.company.clone(), bench.app.id.clone());
    let link = bench.world.connect_link(NOW, &company, &app, "https://app.test/connect?x=1").unwrap();
    let query = Form::parse(Url::parse(&link).unwrap().query().unwrap().as_bytes());
    assert_eq!((query.get("x"), query.get("id")), (Some("1"), Some(company.as_str())));
    bench.request_token = query.get("requestToken").unwrap().to_owned();
    assert_eq!(bench.bootstrap("glz").status, 200);
    assert!(bench.world.connect_link(NOW, &company, &app, "nonsense").is_err());
}
