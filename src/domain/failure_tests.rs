//! Table of outcomes. The Concur codes are tested beside their profile.

use super::*;
use crate::domain::samples;
use std::collections::BTreeMap;

fn profile(errors: &[(&str, Rule)], bootstrap_errors: &[(&str, Rule)]) -> Profile {
    let table = |rules: &[(&str, Rule)]| -> BTreeMap<String, Rule> {
        rules.iter().map(|(code, rule)| ((*code).to_owned(), *rule)).collect()
    };
    Profile { errors: table(errors), bootstrap_errors: table(bootstrap_errors), ..samples::profile() }
}

fn refused(status: u16, code: &str, error: &str, body: Body) -> Evidence {
    let given = |word: &str| (!word.is_empty()).then(|| word.to_owned());
    Evidence::Refused(Refusal {
        status,
        error: given(error),
        code: given(code),
        retry_after: None,
        body,
        ..Refusal::default()
    })
}

fn class(profile: &Profile, evidence: &Evidence) -> Class {
    classify(profile, Stage::Steady, evidence, None).class
}

#[test]
fn what_is_not_a_refusal_is_judged_by_what_is_known_of_the_request() {
    let plain = profile(&[], &[]);
    for trouble in [Trouble::Dns, Trouble::Connect, Trouble::Tls, Trouble::Timeout] {
        assert_eq!(class(&plain, &Evidence::NotSent(trouble)), Class::NotSent);
    }
    for trouble in [Trouble::Timeout, Trouble::Reset, Trouble::Truncated, Trouble::Other] {
        assert_eq!(class(&plain, &Evidence::Lost(trouble)), Class::Ambiguous);
    }
    let unreadable = Evidence::Unreadable { status: 200, trouble: Trouble::NotJson };
    assert_eq!(class(&plain, &unreadable), Class::Ambiguous);
    assert_eq!(class(&plain, &Evidence::Unusable(Unusable::Lifetime)), Class::Malformed);
    assert_eq!(class(&plain, &Evidence::Redirected { status: 302 }), Class::Policy);
    assert_eq!(class(&plain, &Evidence::HostRefused { host: "h".into() }), Class::Policy);
}

#[test]
fn refusals_without_a_rule_are_judged_by_status_then_rfc_6749() {
    let plain = profile(&[], &[]);
    let (json, other) = (Body::Json, Body::Other);
    for (status, error, body, want) in [
        (400, "invalid_grant", json, Class::Suspect),
        (401, "invalid_grant", json, Class::Suspect),
        (401, "invalid_client", json, Class::Client),
        (400, "unauthorized_client", json, Class::Client),
        (400, "invalid_request", json, Class::Configuration),
        (400, "invalid_scope", json, Class::Configuration),
        (400, "unsupported_grant_type", json, Class::Configuration),
        (400, "never_heard_of", json, Class::Configuration),
        (400, "slow_down", json, Class::Throttled),
        (400, "temporarily_unavailable", json, Class::Down),
        (400, "server_error", json, Class::Down),
        (429, "invalid_grant", json, Class::Throttled),
        (408, "invalid_grant", json, Class::Down),
        (500, "invalid_grant", json, Class::Down),
        (503, "invalid_client", json, Class::Down),
        (599, "", other, Class::Down),
        (401, "", json, Class::Client),
        (401, "", other, Class::Down),
        (403, "", json, Class::Configuration),
        (403, "", other, Class::Down),
        (400, "", json, Class::Configuration),
        (404, "", other, Class::Configuration),
    ] {
        assert_eq!(class(&plain, &refused(status, "", error, body)), want, "{status} {error} {body:?}");
    }
}

#[test]
fn rules_are_asked_from_the_most_telling_to_the_least() {
    let suspect = Rule { class: Class::Suspect, reason: Some(Reason::CompanyNotEnabled), hold: None };
    let ruled = profile(
        &[
            ("7", Rule::of(Class::Client)),
            ("*", Rule::of(Class::Configuration)),
            ("bad_token", Rule::of(Class::Suspect)),
            ("http_403", suspect),
        ],
        &[("7", Rule::of(Class::Suspect))],
    );
    let json = Body::Json;
    for (status, code, error, body, want) in [
        // The server's own code stands above all, even in a 5xx.
        (400, "7", "invalid_grant", json, Class::Client),
        (500, "7", "", json, Class::Client),
        (429, "7", "", json, Class::Client),
        // A code that nobody knows ends nothing, whatever word stands beside it; but a failing server is a failing server.
        (400, "8", "invalid_grant", json, Class::Configuration),
        (400, "8", "bad_token", json, Class::Configuration),
        (500, "8", "bad_token", json, Class::Down),
        // Then the profile's words, and its statuses where there is JSON.
        (400, "", "bad_token", json, Class::Suspect),
        (500, "", "bad_token", json, Class::Down),
        (403, "", "bad_token", json, Class::Suspect),
        (403, "", "access_denied", json, Class::Suspect),
        (403, "", "", Body::Other, Class::Down),
        (400, "", "invalid_client", json, Class::Client),
    ] {
        assert_eq!(
            class(&ruled, &refused(status, code, error, body)),
            want,
            "{status} {code} {error} {body:?}"
        );
    }
    let evidence = refused(400, "7", "", json);
    assert_eq!(classify(&ruled, Stage::Bootstrap, &evidence, None).class, Class::Suspect);
    let forbidden = classify(&ruled, Stage::Bootstrap, &refused(403, "", "", json), None);
    assert_eq!((forbidden.class, forbidden.reason), (Class::Suspect, Some(Reason::CompanyNotEnabled)));
}

#[test]
fn a_failure_carries_harmless_words_only() {
    let plain = profile(&[], &[]);
    let evidence = refused(400, "7\u{1b}[31m\ncanary", "invalid_grant", Body::Json);
    let failure = classify(&plain, Stage::Steady, &evidence, Some("id\r\nSet-Cookie: x"));
    assert_eq!(failure.code.as_deref(), Some("731mcanary"));
    assert_eq!(failure.correlation_id.as_deref(), Some("idSet-Cookie:x"));
    assert_eq!(harmless(&"a".repeat(1000)).unwrap().len(), CODE_MAX);
    assert_eq!(harmless(" \n\u{202e}"), None);
    // Where the code is not printable at all, the word stands in for it.
    let failure = classify(&plain, Stage::Steady, &refused(400, "\n", "invalid_grant", Body::Json), None);
    assert_eq!(failure.code.as_deref(), Some("invalid_grant"));
}

#[test]
fn why_a_client_waits_is_told_from_the_servers_word_or_its_bare_401() {
    let ruled = profile(&[("9", Rule { hold: None, ..Rule::of(Class::Client) })], &[]);
    let (refused_secrets, not_allowed) =
        (Some(HoldReason::SecretsRefused), Some(HoldReason::GrantNotAllowed));
    for (status, code, error, body, want) in [
        (401, "", "invalid_client", Body::Json, refused_secrets),
        (400, "", "unauthorized_client", Body::Json, not_allowed),
        (401, "", "", Body::Json, refused_secrets),
        // Nothing of these says that the secrets are wrong.
        (401, "", "", Body::Other, None),
        (403, "", "", Body::Json, None),
        (400, "", "", Body::Json, None),
        (400, "", "invalid_grant", Body::Json, None),
        (401, "", "invalid_token", Body::Json, None),
        // A rule of the profile has its own say.
        (401, "9", "invalid_client", Body::Json, None),
    ] {
        let failure = classify(&ruled, Stage::Steady, &refused(status, code, error, body), None);
        assert_eq!(failure.hold, want, "{status} {code} {error} {body:?}");
    }
}

#[test]
fn what_is_laid_at_the_clients_door_keeps_what_the_server_said() {
    let failure = classify(
        &profile(&[], &[]),
        Stage::Steady,
        &refused(400, "7", "invalid_grant", Body::Json),
        Some("corr"),
    );
    let laid = failure.clone().of_the_client();
    assert_eq!((laid.class, laid.hold), (Class::Client, Some(HoldReason::ManyGrantsRefused)));
    assert!(laid.detail.contains("many grants"), "{}", laid.detail);
    let as_it_was = Failure { class: failure.class, hold: failure.hold, detail: failure.detail, ..laid };
    assert_eq!(as_it_was, failure);
}

#[test]
fn a_refusal_that_was_not_counted_is_one_of_a_server_that_used_nothing_up() {
    for status in [None, Some(400), Some(401), Some(408), Some(503)] {
        let failure = Failure { class: Class::Suspect, status, ..Failure::of_ours("refused") };
        let uncounted = failure.clone().uncounted();
        assert_eq!((uncounted.class, uncounted.hold), (Class::Down, None), "{status:?}");
        assert!(!uncounted.leaves_open(), "{status:?}");
        assert_eq!(uncounted.code, failure.code);
    }
}

#[test]
fn each_trouble_has_words_of_its_own() {
    let troubles = [
        Trouble::Dns,
        Trouble::Connect,
        Trouble::Tls,
        Trouble::Timeout,
        Trouble::Reset,
        Trouble::Truncated,
        Trouble::TooLarge,
        Trouble::NotJson,
        Trouble::ContentType,
        Trouble::Other,
    ];
    let unusable = [
        Unusable::NoAccessToken,
        Unusable::TokenType,
        Unusable::NotBound,
        Unusable::Lifetime,
        Unusable::WiderScope,
        Unusable::OtherPrincipal,
        Unusable::Geolocation,
        Unusable::RepeatedField,
    ];
    let words = troubles.map(Trouble::says).into_iter().chain(unusable.map(Unusable::says));
    let told: std::collections::BTreeSet<_> = words.filter(|word| word.len() > 10).collect();
    assert_eq!(told.len(), troubles.len() + unusable.len());
}
