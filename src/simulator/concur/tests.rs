//! Tables over the pure decisions of the simulated Concur; what needs sockets is in `wire`.

mod first;
mod wire;

use super::{codes::CODES, *};
use crate::{
    clock::Timestamp,
    simulator::{
        SEEDED_MAX,
        exchange::{Answer, Request},
        fault::{Fault, Only, Trouble},
        world::answer,
    },
};
use http::{HeaderMap, HeaderValue, Method};
use serde_json::json;
use std::collections::BTreeMap;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);
const DAY: u64 = 86_400;

/// A Concur with one app, one company in `us2` and a request token.
struct Bench {
    world: World,
    now: Timestamp,
    app: App,
    company: String,
    request_token: String,
}

fn bench() -> Bench {
    let options = Options::default();
    let mut world = World::new(options.behaviour, options.data_centres, Some(1));
    let bases = ["us2", "eu2", "apj1", "glz"].map(|name| (name.to_owned(), base(name)));
    world.basics.bases = BTreeMap::from(bases);
    let grants = super::grants::GRANTS.map(str::to_owned).into();
    let app = world.put_app(NewApp { grants: Some(grants), ..NewApp::default() }).unwrap();
    let company = world.put_principal(NewPrincipal::default()).unwrap();
    let request_token = world.make_request_token(NOW, &company, &app.id).unwrap().token;
    Bench { world, now: NOW, app, company, request_token }
}

fn base(data_centre: &str) -> String {
    format!("http://{data_centre}.test")
}

fn request(site: &str, method: Method, path: &str) -> Request {
    Request {
        site: site.to_owned(),
        method,
        path: path.to_owned(),
        query: String::new(),
        headers: HeaderMap::new(),
        body: Vec::new(),
    }
}

fn post(site: &str, path: &str, form: &[(&str, &str)]) -> Request {
    let mut request = request(site, Method::POST, path);
    let form_encoded = HeaderValue::from_static("application/x-www-form-urlencoded");
    request.headers.insert("content-type", form_encoded);
    request.body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish().into();
    request
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

impl Bench {
    fn answer(&mut self, request: &Request) -> Answer {
        answer(&mut self.world, self.now, request)
    }

    /// A token request of the app; members given replace its own, empty ones are left out.
    fn ask(&mut self, site: &str, members: &[(&str, &str)]) -> Answer {
        let (id, secret) = (self.app.id.clone(), self.app.secrets[0].clone());
        let mut form = vec![("client_id", id.as_str()), ("client_secret", secret.as_str())];
        form.retain(|(name, _)| members.iter().all(|(given, _)| given != name));
        form.extend(members.iter().filter(|(_, value)| !value.is_empty()));
        self.answer(&post(site, "/oauth2/v0/token", &form))
    }

    fn code(&mut self, site: &str, members: &[(&str, &str)]) -> u64 {
        let answer = self.ask(site, members);
        if answer.status == 200 { 0 } else { body(&answer)["code"].as_u64().unwrap() }
    }

    fn bootstrap(&mut self, site: &str) -> Answer {
        let (company, token) = (self.company.clone(), self.request_token.clone());
        self.ask(site, &bootstrap(&company, &token))
    }

    fn connected(&mut self) -> String {
        let answer = self.bootstrap("glz");
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        text(&answer, "refresh_token")
    }

    fn refresh(&mut self, site: &str, token: &str) -> Answer {
        self.ask(site, &[("grant_type", "refresh_token"), ("refresh_token", token)])
    }

    fn behave(&mut self, change: &Value) {
        self.world.basics.change_behaviour(change).unwrap();
    }

    fn later(&mut self, seconds: u64) {
        self.now = self.now.plus(std::time::Duration::from_secs(seconds));
    }
}

fn bootstrap<'a>(company: &'a str, token: &'a str) -> [(&'a str, &'a str); 4] {
    [("grant_type", "password"), ("credtype", "authtoken"), ("username", company), ("password", token)]
}

fn text(answer: &Answer, member: &str) -> String {
    body(answer)[member].as_str().unwrap_or_else(|| panic!("no {member}")).to_owned()
}

fn code_of(answer: &Answer) -> u64 {
    body(answer)["code"].as_u64().unwrap()
}

#[test]
fn every_code_can_be_ordered_and_has_its_published_form() {
    let mut bench = bench();
    let token = bench.connected();
    for code in CODES {
        bench.world.basics.faults().push(Fault::once(Trouble::Refuse(Refusal::code(code.number)))).unwrap();
        let answer = bench.refresh("us2", &token);
        let want = json!({"error": code.error, "error_description": code.description, "code": code.number});
        assert_eq!((answer.status, body(&answer)), (code.status, want));
    }
    assert_eq!(bench.refresh("us2", &token).status, 200);
}

#[test]
fn requests_earn_their_codes_by_themselves() {
    let mut bench = bench();
    let refresh_token = bench.connected();
    let (company, request_token) = (bench.company.clone(), bench.request_token.clone());
    let other_app = bench.world.put_app(NewApp::default()).unwrap();
    let other_company = bench.world.put_principal(NewPrincipal::default()).unwrap();
    let foreign = bench.world.make_request_token(NOW, &company, &other_app.id).unwrap().token;
    let login = Some("wanda@example.com".to_owned());
    let password = Some("pw".to_owned());
    let user = NewPrincipal { kind: Kind::User, login, password, ..NewPrincipal::default() };
    let reader = NewPrincipal { kind: Kind::User, login: Some("a@b".to_owned()), ..NewPrincipal::default() };
    bench.world.put_principal(reader).unwrap();
    bench.world.put_principal(user).unwrap();
    let company = company.as_str();
    let (grant, refresh) = ("grant_type", ("grant_type", "refresh_token"));
    let good = ("refresh_token", refresh_token.as_str());
    let authtoken = [(grant, "password"), ("credtype", "authtoken")];
    let login = ("username", "wanda@example.com");
    let cases: Vec<(u64, Vec<(&str, &str)>)> = vec![
        (0, vec![refresh, good]),
        (0, vec![refresh, good, ("scope", "company.read")]),
        (54, vec![refresh, good, ("scope", "company.read LIST")]),
        (65, vec![good]),
        (62, vec![refresh, good, ("client_id", "")]),
        (63, vec![refresh, good, ("client_secret", "")]),
        (61, vec![refresh, good, ("client_id", "nobody")]),
        (64, vec![refresh, good, ("client_secret", "wrong")]),
        (60, vec![(grant, "urn:ietf:params:oauth:grant-type:token-exchange")]),
        (106, vec![refresh]),
        (108, vec![refresh, ("refresh_token", "unknown")]),
        (105, vec![refresh, good, ("client_id", &other_app.id), ("client_secret", &other_app.secrets[0])]),
        (0, vec![(grant, "client_credentials")]),
        (0, bootstrap(company, &request_token).to_vec()),
        (51, [&authtoken[..], &[("password", &request_token)]].concat()),
        (52, [&authtoken[..], &[("username", company)]].concat()),
        (120, vec![(grant, "password"), ("credtype", "magic"), ("username", "u"), ("password", "p")]),
        (100, bootstrap("no-such-company", &request_token).to_vec()),
        (5, bootstrap(company, "at-unknown").to_vec()),
        (5, bootstrap(&other_company, &request_token).to_vec()),
        (136, bootstrap(company, &foreign).to_vec()),
        (5, vec![(grant, "password"), ("username", company), ("password", &request_token)]),
        (0, vec![(grant, "password"), login, ("password", "pw")]),
        (5, vec![(grant, "password"), ("credtype", "password"), login, ("password", "bad")]),
        (100, vec![(grant, "password"), ("username", "nobody@example.com"), ("password", "pw")]),
        (118, vec![refresh, good, ("display", "wall")]),
        (119, vec![refresh, good, ("prompt", "often")]),
        (119, vec![refresh, good, ("scope", "offline_access")]),
        (121, vec![refresh, good, ("login_type", "magic")]),
        (122, vec![refresh, good, ("proxies", "p")]),
        (124, vec![refresh, good, ("product", "p")]),
        (101, vec![(grant, "authorization_code"), ("redirect_uri", "https://a")]),
        (102, vec![(grant, "authorization_code"), ("code", "c")]),
        (103, vec![(grant, "authorization_code"), ("code", "c"), ("redirect_uri", "https://a")]),
        (56, vec![(grant, "otp"), ("channel_type", "email"), ("channel_handle", "a@b")]),
        (57, vec![(grant, "otp"), ("otp", "1"), ("channel_handle", "a@b")]),
        (58, vec![(grant, "otp"), ("otp", "1"), ("channel_type", "email")]),
        (80, vec![(grant, "otp"), ("otp", "1"), ("channel_type", "fax"), ("channel_handle", "a@b")]),
        (81, vec![(grant, "otp"), ("otp", "1"), ("channel_type", "email"), ("channel_handle", "ab")]),
        (83, vec![(grant, "otp"), ("otp", "1"), ("channel_type", "email"), ("channel_handle", "a@b")]),
    ];
    for (want, members) in cases {
        assert_eq!(bench.code("us2", &members), want, "{members:?}");
    }
}

#[test]
fn the_state_of_app_and_company_decides_a_good_refresh() {
    type Change = fn(&mut Bench);
    let cases: [(u64, Change); 11] = [
        (0, |_| {}),
        (59, |b| drop(b.world.change_app(&b.app.id, &json!({"status": "disabled"})).unwrap())),
        (107, |b| drop(b.world.change_app(&b.app.id, &json!({"grants": ["password"]})).unwrap())),
        (53, |b| drop(b.world.change_app(&b.app.id, &json!({"principals": ["someone"]})).unwrap())),
        (64, |b| drop(b.world.change_app(&b.app.id, &json!({"secrets": ["new"]})).unwrap())),
        (0, |b| drop(b.world.change_app(&b.app.id, &json!({"secrets": ["new", b.app.secrets[0]]})).unwrap())),
        (53, |b| b.world.disconnect(&b.company, &b.app.id).unwrap()),
        (134, |b| b.world.refuse(&b.company, Some(134)).unwrap()),
        (16, |b| b.world.move_company(&b.company, "eu2", Move::Redirect, None).unwrap()),
        (108, |b| b.world.revoke(&b.company, None).unwrap()),
        (108, |b| b.later(180 * DAY)),
    ];
    for (at, (want, change)) in cases.into_iter().enumerate() {
        let mut bench = bench();
        let token = bench.connected();
        change(&mut bench);
        let code = bench.code("us2", &[("grant_type", "refresh_token"), ("refresh_token", &token)]);
        assert_eq!(code, want, "case {at}");
    }
}

#[test]
fn disconnecting_spares_the_refresh_token() {
    let mut bench = bench();
    let token = bench.connected();
    bench.world.disconnect(&bench.company, &bench.app.id).unwrap();
    assert_eq!(code_of(&bench.refresh("us2", &token)), 53);
    bench.world.connect(&bench.company, &bench.app.id).unwrap();
    assert_eq!(bench.refresh("us2", &token).status, 200);
}

#[test]
fn a_moved_company_is_found_by_following_code_16() {
    let mut bench = bench();
    let token = bench.connected();
    bench.world.move_company(&bench.company, "eu2", Move::Redirect, Some("apj1".to_owned())).unwrap();
    for (site, next) in [("us2", "apj1"), ("apj1", "eu2"), ("glz", "apj1")] {
        let answer = bench.refresh(site, &token);
        assert_eq!((code_of(&answer), text(&answer, "geolocation")), (16, base(next)), "{site}");
        assert_eq!(answer.status, 400);
    }
    assert_eq!(text(&bench.refresh("eu2", &token), "geolocation"), base("eu2"));
}

#[test]
fn a_farewell_names_the_new_home_once_in_a_success() {
    let mut bench = bench();
    let token = bench.connected();
    bench.world.move_company(&bench.company, "eu2", Move::Farewell, None).unwrap();
    assert_eq!(code_of(&bench.refresh("apj1", &token)), 16);
    let answer = bench.refresh("us2", &token);
    assert_eq!((answer.status, text(&answer, "geolocation")), (200, base("eu2")));
    let access_token = text(&answer, "access_token");
    assert_eq!(bench.world.basics.key("eu2").unwrap().verify(&access_token).unwrap()["iss"], base("eu2"));
    assert_eq!(code_of(&bench.refresh("us2", &token)), 16);
    assert_eq!(bench.refresh("eu2", &token).status, 200);
}

#[test]
fn the_global_data_centre_connects_everybody_and_a_regional_one_only_its_own() {
    let mut bench = bench();
    bench.world.move_company(&bench.company, "eu2", Move::Redirect, None).unwrap();
    assert_eq!(code_of(&bench.bootstrap("us2")), 16);
    for site in ["glz", "eu2"] {
        assert_eq!(text(&bench.bootstrap(site), "geolocation"), base("eu2"));
    }
}

#[test]
fn a_request_token_lasts_a_day_and_its_number_of_uses() {
    for (uses, want) in [(json!(1), 1), (json!(5), 5), (json!(null), 9)] {
        let mut bench = bench();
        bench.behave(&json!({"request_token_uses": uses}));
        let good = (0..9).filter(|_| bench.bootstrap("us2").status == 200).count();
        assert_eq!(good, want);
    }
    let mut bench = bench();
    assert_eq!(code_of(&bench.bootstrap("eu2")), 16);
    bench.later(DAY - 1);
    assert_eq!(bench.bootstrap("us2").status, 200);
    bench.later(1);
    assert_eq!(code_of(&bench.bootstrap("us2")), 5);
}

#[test]
fn only_the_exact_content_type_is_read() {
    let cases = [
        ("application/x-www-form-urlencoded", 200),
        ("application/x-www-form-urlencoded; charset=utf-8", 400),
        ("application/x-www-form-urlencoded;charset=UTF-8", 400),
        ("application/json", 400),
        ("", 400),
    ];
    let mut bench = bench();
    let (id, secret) = (bench.app.id.clone(), bench.app.secrets[0].clone());
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", id.as_str()),
        ("client_secret", secret.as_str()),
    ];
    for (content_type, want) in cases {
        let mut request = post("us2", "/oauth2/v0/token", &form);
        request.headers.insert("content-type", HeaderValue::from_static(content_type));
        assert_eq!(bench.answer(&request).status, want, "{content_type}");
    }
    let mut chunked = post("us2", "/oauth2/v0/token", &form);
    chunked.headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
    let mut in_query = post("us2", "/oauth2/v0/token", &form);
    in_query.query = format!("client_secret={secret}");
    for request in [chunked, in_query] {
        assert_eq!(code_of(&bench.answer(&request)), 135);
    }
}

#[test]
fn a_response_takes_every_form_that_was_seen() {
    let mut bench = bench();
    let token = bench.connected();
    let plain = body(&bench.refresh("us2", &token));
    assert_eq!(plain["expires_in"], 3600);
    assert_eq!(plain["refresh_expires_in"], NOW.as_secs() + 180 * DAY);
    assert_eq!(plain["token_type"], "Bearer");
    assert!(plain["id_token"].is_string());
    let cases = [
        (json!({"expires_in": "text"}), "expires_in", json!("3600")),
        (json!({"refresh_expires_in": "left_out"}), "refresh_expires_in", json!(null)),
        (json!({"id_token": "left_out"}), "id_token", json!(null)),
        (json!({"geolocation": "with_path"}), "geolocation", json!("http://us2.test/oauth2/v0/token")),
        (json!({"geolocation": "upper_case"}), "geolocation", json!("HTTP://US2.TEST")),
        (json!({"geolocation": "left_out"}), "geolocation", json!(null)),
    ];
    for (change, member, want) in cases {
        bench.behave(&change);
        assert_eq!(body(&bench.refresh("us2", &token))[member], want);
    }
    bench.behave(&json!({"body_correlation_id": "sent", "statuses": {"108": 403}}));
    let refused = bench.refresh("us2", "unknown");
    assert_eq!(refused.status, 403);
    assert!(body(&refused)["concur-correlationid"].is_string());
}

#[test]
fn an_app_token_comes_without_refresh_token_and_names_where_it_is_good() {
    let mut bench = bench();
    let answer = bench.ask("glz", &[("grant_type", "client_credentials")]);
    let members = body(&answer);
    assert!(members["refresh_token"].is_null() && members["id_token"].is_null());
    assert_eq!(members["geolocation"], base("glz"));
}

#[test]
fn the_claims_are_those_of_version_3() {
    let mut bench = bench();
    let answer = bench.bootstrap("glz");
    let claims = bench.world.basics.key("us2").unwrap().verify(&text(&answer, "access_token")).unwrap();
    let at = NOW.as_secs();
    let want = json!({
        "concur.scopes": ["openid", "company.read", "user.read"], "aud": "*", "concur.appId": bench.app.id,
        "sub": bench.company, "iss": base("us2"), "exp": at + 3600, "concur.version": 3,
        "concur.type": "company", "nbf": at - 10, "iat": at, "jti": claims["jti"],
    });
    assert_eq!(claims, want);
    let id = bench.world.basics.key("us2").unwrap().verify(&text(&answer, "id_token")).unwrap();
    assert_eq!((&id["aud"], &id["sub"]), (&json!(bench.app.id), &json!(bench.company)));
    assert_eq!(id["at_hash"].as_str().unwrap().len(), 16);
}

#[test]
fn rotation_hands_out_new_tokens_and_counts_a_double_use() {
    let cases = [("dead", 108), ("valid", 0)];
    for (superseded, want) in cases {
        let mut bench = bench();
        bench.behave(
            &json!({"refresh": {"rotation": "rotate_every", "superseded": superseded, "shape": "base36"}}),
        );
        let old = bench.connected();
        let new = text(&bench.refresh("us2", &old), "refresh_token");
        assert_ne!(old, new);
        assert_eq!(new.len(), 30);
        let code = bench.code("us2", &[("grant_type", "refresh_token"), ("refresh_token", &old)]);
        assert_eq!(code, want);
        assert_eq!(bench.refresh("us2", &new).status, 200);
        let counts = bench.world.basics.journal().counters().of(&bench.company);
        assert_eq!((counts.double_uses, counts.token_requests, counts.granted), (1, 4, 1));
        assert_eq!((counts.refreshed, counts.refused), if want == 0 { (3, 0) } else { (2, 1) });
    }
}

#[test]
fn a_lost_answer_keeps_its_effect_and_a_dropped_request_has_none() {
    let cases = [
        (Trouble::DropAfter, 108),
        (Trouble::Garbage, 108),
        (Trouble::Truncated, 108),
        (Trouble::Huge { bytes: 100_000 }, 108),
        (Trouble::DropBefore, 0),
        (Trouble::Status { status: 503, body: None, retry_after_seconds: Some(7) }, 0),
        (Trouble::Refuse(Refusal::code(134)), 0),
    ];
    for (trouble, want) in cases {
        let mut bench = bench();
        bench.behave(&json!({"refresh": {"rotation": "rotate_every"}}));
        let token = bench.connected();
        let fault = Fault::once(trouble.clone()).only(Only::principal(&bench.company));
        bench.world.basics.faults().push(fault).unwrap();
        bench.refresh("us2", &token);
        let code = bench.code("us2", &[("grant_type", "refresh_token"), ("refresh_token", &token)]);
        assert_eq!(code, want, "{trouble:?}");
        let counts = bench.world.basics.journal().counters().of(&bench.company);
        let effect = u64::from(want == 108);
        assert_eq!((counts.lost, counts.double_uses), (effect, effect), "{trouble:?}");
    }
}

#[test]
fn the_principals_own_access_token_revokes_its_refresh_tokens() {
    let mut bench = bench();
    let answer = bench.bootstrap("glz");
    let (access, refresh) = (text(&answer, "access_token"), text(&answer, "refresh_token"));
    let mut delete = request("us2", Method::DELETE, "/app-mgmt/v0/connections");
    assert_eq!(bench.answer(&delete).status, 401);
    delete.headers.insert("authorization", HeaderValue::from_str(&format!("Bearer {access}")).unwrap());
    let elsewhere = Request { site: "eu2".to_owned(), ..delete.clone() };
    assert_eq!(bench.answer(&elsewhere).status, 401);
    assert_eq!(bench.refresh("us2", &refresh).status, 200);
    assert_eq!(bench.answer(&delete).body, b"\"deleted\"");
    assert_eq!(code_of(&bench.refresh("us2", &refresh)), 108);
    bench.later(3600);
    assert_eq!(bench.answer(&delete).status, 401);
    assert_eq!(bench.world.basics.journal().counters().of(&bench.company).revoked, 1);
}

#[test]
fn a_correlation_id_is_echoed_or_made() {
    let mut bench = bench();
    let mut request = request("us2", Method::GET, "/oauth2/v0/jwks");
    let made = bench.answer(&request);
    let id = |answer: &Answer| {
        let found = answer.headers.iter().find(|(name, _)| *name == "concur-correlationid");
        found.unwrap().1.clone()
    };
    assert_eq!(id(&made).len(), 36);
    request.headers.insert("concur-correlationid", HeaderValue::from_static("mine"));
    assert_eq!(id(&bench.answer(&request)), "mine");
}

#[test]
fn nothing_secret_is_in_the_journal() {
    let mut bench = bench();
    let token = bench.connected();
    bench.ask("us2", &[("grant_type", &token), ("client_id", &token)]);
    bench.refresh("us2", &token);
    let journal = serde_json::to_string(bench.world.basics.journal()).unwrap();
    for secret in [&token, &bench.request_token, &bench.app.secrets[0]] {
        assert!(!journal.contains(secret.as_str()));
    }
}

#[test]
fn otp_is_refused_in_its_own_words() {
    let mut bench = bench();
    let (id, secret) = (bench.app.id.clone(), bench.app.secrets[0].clone());
    let client = [("client_id", id.as_str()), ("client_secret", secret.as_str())];
    let sent = [&client[..], &[("channel_type", "email"), ("channel_handle", "a@b")]].concat();
    let missing = [&client[..], &[("channel_handle", "a@b")]].concat();
    let good = bench.answer(&post("us2", "/oauth2/v0/otp", &sent));
    assert_eq!(body(&good), json!({"message": "otp sent"}));
    let bad = bench.answer(&post("us2", "/oauth2/v0/otp", &missing));
    assert_eq!(
        (code_of(&bad), text(&bad, "error_description")),
        (57, "channel_type was not supplied".to_owned())
    );
}

#[test]
fn orders_that_make_no_sense_are_refused() {
    let mut bench = bench();
    let app = bench.app.id.clone();
    let world = &mut bench.world;
    assert!(world.change_app(&app, &json!({"secrets": []})).is_err());
    assert!(world.change_app(&app, &json!({"id": "other"})).is_err());
    assert!(world.basics.change_behaviour(&json!({"no_such_switch": 1})).is_err());
    assert!(world.move_company("nobody", "eu2", Move::Redirect, None).is_err());
    let company = bench.company.clone();
    assert!(world.move_company(&company, "mars", Move::Redirect, None).is_err());
    assert!(world.seed_connections(NOW, &app, SEEDED_MAX + 1, None).is_err());
    assert!(world.seed_connections(NOW, "nobody", 1, None).is_err());
}
