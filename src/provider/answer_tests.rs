//! Tolerant parsing and strict lifetimes, as tables. The requests are never sent.

use super::*;
use crate::{
    domain::profile::ClientAuth,
    provider::rig::{self, NOW},
};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

struct Case {
    profile: Profile,
    scopes: Vec<String>,
    granted: Vec<String>,
}

fn case(lines: &str) -> Case {
    let lines = format!("token_endpoint = \"https://a.example/token\"\n{lines}");
    Case { profile: rig::profile("generic-oauth2", &lines), scopes: vec![], granted: vec![] }
}

impl Case {
    fn judge(&self, body: &str) -> Answer {
        let (client, grant) = (rig::client(ClientAuth::ClientSecretPost, &["s"]), rig::refresh_token("r1"));
        let exchange = Exchange {
            scopes: &self.scopes,
            granted: &self.granted,
            ..rig::ask(&self.profile, &client, &grant)
        };
        judged(&exchange, Fields::read(body.as_bytes()).unwrap(), NOW, None)
    }

    /// How long the token lives, or why it is not used.
    fn life(&self, body: &str) -> Result<Duration, &'static str> {
        self.judge(body).access.map(|issued| NOW.until(issued.expires_at)).map_err(|failure| failure.detail)
    }
}

fn body(member: &str) -> String {
    format!(r#"{{"access_token":"a","refresh_token":"r2","token_type":"Bearer"{member}}}"#)
}

fn response(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response {
    let headers = headers.iter().map(|(name, value)| {
        (http::HeaderName::from_static(name), http::HeaderValue::try_from(*value).unwrap())
    });
    let reply =
        Reply { status, headers: headers.collect(), body: zeroize::Zeroizing::new(body.as_bytes().to_vec()) };
    Response::read(&reply, &Quirks::default(), Credentials::default(), NOW)
}

#[test]
fn lifetimes_are_read_in_every_spelling_and_bounded() {
    let lifetime = Err(Unusable::Lifetime.says());
    let cases = [
        (r#","expires_in":3600"#, Ok(HOUR)),
        (r#","expires_in":3600.9"#, Ok(HOUR)),
        (r#","expires_in":3.6e3"#, Ok(HOUR)),
        (r#","expires_in":"3600""#, Ok(HOUR)),
        (r#","expires_in":" 3600.0 ""#, Ok(HOUR)),
        (r#","expires_in":1"#, Ok(Duration::from_secs(1))),
        ("", Ok(LIFETIME_UNKNOWN)),
        (r#","expires_in":null"#, Ok(LIFETIME_UNKNOWN)),
        (r#","expires_in":"""#, Ok(LIFETIME_UNKNOWN)),
        (r#","expires_in":31622400"#, Ok(LIFETIME_MAX)),
        (r#","expires_in":31622401"#, lifetime),
        (r#","expires_in":1790003600"#, lifetime),
        (r#","expires_in":1e300"#, lifetime),
        (r#","expires_in":0"#, lifetime),
        (r#","expires_in":0.5"#, lifetime),
        (r#","expires_in":-1"#, lifetime),
        (r#","expires_in":"-1""#, lifetime),
        (r#","expires_in":"soon""#, lifetime),
        (r#","expires_in":"inf""#, lifetime),
        (r#","expires_in":"NaN""#, lifetime),
        (r#","expires_in":true"#, lifetime),
        (r#","expires_in":[3600]"#, lifetime),
    ];
    for (member, want) in cases {
        assert_eq!(case("").life(&body(member)), want, "{member}");
    }
    assert_eq!(case("lifetimes.access_default = \"1h\"").life(&body("")), Ok(HOUR));
}

#[test]
fn the_earlier_of_expires_in_and_exp_counts() {
    let with = |exp: serde_json::Value, expires_in: &str| {
        let token = jwt::unsigned(&json!({ "exp": exp }));
        case("").life(&format!(r#"{{"access_token":"{token}","token_type":"Bearer"{expires_in}}}"#))
    };
    let in_secs = |secs: u64| json!(NOW.as_secs() + secs);
    assert_eq!(with(in_secs(60), r#","expires_in":3600"#), Ok(Duration::from_secs(60)));
    assert_eq!(with(in_secs(7200), r#","expires_in":3600"#), Ok(HOUR));
    assert_eq!(with(in_secs(7200), ""), Ok(2 * HOUR));
    assert_eq!(with(json!(NOW.as_secs()), r#","expires_in":3600"#), Err(Unusable::Lifetime.says()));
    assert_eq!(with(in_secs(1_000_000_000), ""), Ok(LIFETIME_UNKNOWN));
    assert_eq!(with(json!("never"), r#","expires_in":3600"#), Ok(HOUR));
}

#[test]
fn only_bearer_tokens_that_fit_a_header_are_used() {
    let token_type = Err(Unusable::TokenType.says());
    for (kind, want) in [
        (r#","token_type":"bearer""#, Ok(LIFETIME_UNKNOWN)),
        (r#","token_type":"BEARER ""#, Ok(LIFETIME_UNKNOWN)),
        (r#","token_type":"DPoP""#, token_type),
        (r#","token_type":"N_A""#, token_type),
        (r#","token_type":7"#, token_type),
        (r#","token_type":null"#, token_type),
        ("", token_type),
    ] {
        assert_eq!(case("").life(&format!(r#"{{"access_token":"a"{kind}}}"#)), want, "{kind}");
    }
    let lenient = case("quirks.missing_token_type = \"means_bearer\"");
    assert_eq!(lenient.life(r#"{"access_token":"a"}"#), Ok(LIFETIME_UNKNOWN));
    assert_eq!(lenient.life(r#"{"access_token":"a","token_type":"mac"}"#), token_type);
    for token in [r#""""#, "null", "7", r#""a\r\nX: y""#, r#""ä""#, r#"{"a":1}"#] {
        let answer = case("").life(&format!(r#"{{"access_token":{token},"token_type":"Bearer"}}"#));
        assert_eq!(answer, Err(Unusable::NoAccessToken.says()), "{token}");
    }
}

#[test]
fn the_refresh_token_is_kept_whatever_else_is_wrong() {
    for wrong in [
        r#"{"refresh_token":"r2"}"#.to_owned(),
        body(r#","expires_in":-1"#),
        body(r#","expires_in":3600,"expires_in":3600"#),
        body(r#","refresh_token":"r2""#),
        body(r#","error":"invalid_scope""#),
        r#"{"refresh_token":"r2","access_token":"a","token_type":"mac"}"#.to_owned(),
    ] {
        let answer = case("").judge(&wrong);
        assert!(answer.access.is_err(), "{wrong}");
        assert_eq!(answer.refresh_token.unwrap().0.expose(), "r2", "{wrong}");
    }
    assert_eq!(
        case("").life(&body(r#","expires_in":9,"expires_in":9"#)),
        Err(Unusable::RepeatedField.says())
    );
    for absent in [r#"{"refresh_token":""}"#, r#"{"refresh_token":null}"#, "{}"] {
        assert!(case("").judge(absent).refresh_token.is_none(), "{absent}");
    }
}

#[test]
fn scopes_are_split_and_may_not_grow() {
    let read = |lines: &str, member: &str| case(lines).judge(&body(member)).scopes;
    let two = Some(vec!["a".to_owned(), "b".to_owned()]);
    assert_eq!(read("", r#","scope":"a b""#), two);
    assert_eq!(read("", r#","scope":" a\n\t b ""#), two);
    assert_eq!(read("", r#","scope":["a","b"]"#), two);
    assert_eq!(read("", r#","scope":"a,b""#), Some(vec!["a,b".to_owned()]));
    assert_eq!(read("quirks.scope_separator = \"whitespace_or_comma\"", r#","scope":"a, b""#), two);
    for none in ["", r#","scope":"""#, r#","scope":null"#, r#","scope":7"#, r#","scope":[]"#] {
        assert_eq!(read("", none), None, "{none}");
    }

    let wider = Err(Unusable::WiderScope.says());
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (asked, granted, member, want) in [
        (&[][..], &[][..], r#","scope":"a b""#, Ok(LIFETIME_UNKNOWN)),
        (&["a"], &[], r#","scope":"a""#, Ok(LIFETIME_UNKNOWN)),
        (&["a"], &[], r#","scope":"a b""#, Ok(LIFETIME_UNKNOWN)),
        (&["a"], &[], r#","scope":"https://as.example/a openid""#, Ok(LIFETIME_UNKNOWN)),
        (&["a"], &["a", "b"], r#","scope":"b a""#, Ok(LIFETIME_UNKNOWN)),
        (&[], &["a", "b"], r#","scope":"a""#, Ok(LIFETIME_UNKNOWN)),
        (&[], &["a", "b"], "", Ok(LIFETIME_UNKNOWN)),
        (&[], &["a", "b"], r#","scope":"a c""#, wider),
        (&[], &["a"], r#","scope":"A""#, wider),
    ] {
        let case = Case { scopes: strings(asked), granted: strings(granted), ..case("") };
        assert_eq!(case.life(&body(member)), want, "{asked:?} {granted:?} {member}");
    }
}

#[test]
fn refresh_expiry_is_read_as_the_profile_says() {
    let day = Duration::from_secs(86_400);
    let at = |secs: u64| Some(NOW.plus(Duration::from_secs(secs)));
    let now = NOW.as_secs();
    for (kind, member, want) in [
        ("none", r#","refresh_expires_in":3600"#.to_owned(), None),
        ("relative", r#","refresh_expires_in":3600"#.to_owned(), at(3600)),
        ("relative", r#","refresh_token_expires_in":"3600""#.to_owned(), at(3600)),
        ("relative", r#","refresh_expires_in":0"#.to_owned(), None),
        ("relative", r#","refresh_expires_in":1e11"#.to_owned(), None),
        ("relative", String::new(), None),
        ("epoch", format!(r#","refresh_expires_in":{}"#, now + 86_400), Some(NOW.plus(day))),
        ("epoch", format!(r#","refresh_expires_in":"{}""#, now + 86_400), Some(NOW.plus(day))),
        ("epoch", format!(r#","refresh_expires_in":{}"#, (now + 86_400) * 1000), Some(NOW.plus(day))),
        ("epoch", format!(r#","refresh_expiry":{}"#, now + 86_400), Some(NOW.plus(day))),
        ("epoch", r#","refresh_expires_in":15552000"#.to_owned(), at(15_552_000)),
        ("epoch", format!(r#","refresh_expires_in":{}"#, now - 1), None),
        ("epoch", r#","refresh_expires_in":-1"#.to_owned(), None),
        ("epoch", r#","refresh_expires_in":"never""#.to_owned(), None),
        ("epoch", String::new(), None),
    ] {
        let answer = case(&format!("refresh_expiry = \"{kind}\"")).judge(&body(&member));
        assert_eq!(answer.refresh_expires_at, want, "{kind} {member}");
    }
}

#[test]
fn answers_are_sorted_into_granted_refused_and_unreadable() {
    let error = |body: &str| response(200, &[], body).granted().err();
    assert!(error(r#"{"access_token":"a"}"#).is_none());
    assert!(response(201, &[], r#"{"access_token":"a"}"#).granted().is_ok());
    assert!(error(r#"{"access_token":"a","error":""}"#).is_none());
    assert!(error(r#"{"refresh_token":"r","error":"invalid_scope"}"#).is_none());
    let Some(Evidence::Refused(refusal)) = error(r#"{"ok":false,"error":"invalid_grant"}"#) else { panic!() };
    assert_eq!((refusal.status, refusal.error.as_deref()), (200, Some("invalid_grant")));

    let not_json = Evidence::Unreadable { status: 200, trouble: Trouble::NotJson };
    for broken in ["", "[]", "\"a\"", "7", "{", r#"{"a":1}x"#, "access_token=a&token_type=bearer"] {
        assert_eq!(error(broken), Some(not_json.clone()), "{broken}");
    }
    let page = response(200, &[("content-type", "text/html")], "<html>").granted().err();
    assert_eq!(page, Some(Evidence::Unreadable { status: 200, trouble: Trouble::ContentType }));
    let mislabelled = response(200, &[("content-type", "text/html")], r#"{"access_token":"a"}"#);
    assert!(mislabelled.granted().is_ok());
    let moved = response(302, &[("location", "https://evil.example")], r#"{"access_token":"a"}"#);
    assert_eq!(moved.granted().err(), Some(Evidence::Redirected { status: 302 }));
    assert!(matches!(response(400, &[], r#"{"access_token":"a"}"#).granted(), Err(Evidence::Refused(_))));
}

#[test]
fn codes_are_numbers_or_words() {
    for (body, want) in [
        (r#"{"code":16}"#, Some("16")),
        (r#"{"code":16.0}"#, Some("16")),
        (r#"{"code":"16"}"#, Some("16")),
        (r#"{"code":" 16 "}"#, Some("16")),
        (r#"{"code":""}"#, None),
        (r#"{"code":null}"#, None),
        (r#"{"code":[16, 17]}"#, Some("16")),
        (r#"{"code":[]}"#, None),
        (r#"{"code":[[16]]}"#, None),
        (r#"{"code":{"code":16}}"#, None),
        ("<html>", None),
    ] {
        assert_eq!(response(400, &[], body).code().as_deref(), want, "{body}");
    }
}

#[test]
fn retry_after_is_a_number_or_a_date_and_bounded() {
    for (value, want) in [
        ("7", Some(7)),
        (" 7 ", Some(7)),
        ("99999", Some(3600)),
        ("Mon, 21 Sep 2026 14:14:20 GMT", Some(60)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Tue, 29 Feb 2028 00:00:00 GMT", Some(3600)),
        ("soon", None),
        ("-7", None),
        ("Mon, 21 Foo 2026 14:14:20 GMT", None),
        ("Mon, 21 Sep 2026 25:14:20 GMT", None),
        ("Mon, 21 Sep 18446744073709551615 14:14:20 GMT", None),
    ] {
        let refusal = response(429, &[("retry-after", value)], "").refusal();
        assert_eq!(refusal.retry_after, want.map(Duration::from_secs), "{value}");
    }
}

#[test]
fn a_correlation_id_is_found_and_made_harmless() {
    let id = |headers: &[(&'static str, &str)], body: &str| response(400, headers, body).correlation_id;
    assert_eq!(id(&[("concur-correlationid", "c-1"), ("x-request-id", "x")], "").as_deref(), Some("c-1"));
    assert_eq!(id(&[("x-request-id", "x y\t\"z")], "").as_deref(), Some("xyz"));
    assert_eq!(id(&[], r#"{"concur-correlationid":"b-1"}"#).as_deref(), Some("b-1"));
    assert_eq!(id(&[], "<html>"), None);
    assert_eq!(id(&[("x-request-id", &"a".repeat(200))], "").unwrap().len(), 64);
}
