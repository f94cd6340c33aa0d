//! The built-in profiles as they must be, and what is said about faulty ones.

use super::*;
use crate::domain::{
    failure::{Body, Class, Evidence, Reason, Refusal, Stage, classify},
    names::ProviderName,
};
use std::time::Duration;

fn name(id: &str) -> ProviderName {
    format!("providers/{id}").parse().unwrap()
}

fn files(texts: &[&str]) -> Vec<(String, String)> {
    texts.iter().enumerate().map(|(at, text)| (format!("{at}.toml"), (*text).to_owned())).collect()
}

fn mistakes(text: &str) -> Vec<Mistake> {
    let mut errors = Catalogue::built_in().unwrap().with(&files(&[text])).unwrap_err();
    assert_eq!(errors.len(), 1);
    errors.remove(0).mistakes
}

fn keys(text: &str) -> Vec<String> {
    mistakes(text).into_iter().map(|mistake| mistake.key).collect()
}

#[test]
fn the_built_in_profiles_are_valid_and_the_template_is_no_provider() {
    let catalogue = Catalogue::built_in().unwrap();
    let names: Vec<_> = catalogue.iter().map(|profile| profile.name.to_string()).collect();
    assert_eq!(names, ["providers/sap-concur"]);
    assert!(catalogue.get(&name("generic-oauth2")).is_none());
    let concur = catalogue.get(&name("sap-concur")).unwrap();
    assert_eq!(concur.exchange_timeout, Duration::from_secs(60));
    assert_eq!(concur.retry_ceiling, Duration::from_secs(300));
    assert_eq!(concur.refresh_expiry, RefreshExpiry::Epoch);
    assert_eq!(concur.revocation, Revocation::ConcurDelete);
    assert_eq!(concur.rotation, Rotation::Sometimes);
    assert_eq!(concur.bootstrap_at.as_ref().unwrap().as_str(), "https://glz.api.concursolutions.com/");
    assert!(concur.data_centers.values().all(|url| concur.admits(url)));
}

/// Every code that `/token` is documented to answer with, for a refresh and for a bootstrap.
#[test]
fn every_code_of_sap_concur_has_its_meaning() {
    type Meaning = (Class, Option<Reason>);
    use Class::{Client, Configuration, Down, Suspect};
    let catalogue = Catalogue::built_in().unwrap();
    let concur = &*catalogue.get(&name("sap-concur")).unwrap();
    let table: [(&[u32], Meaning, Meaning); 12] = [
        (&[108], (Suspect, None), (Suspect, None)),
        (&[53], (Suspect, Some(Reason::CompanyNotEnabled)), (Suspect, Some(Reason::CompanyNotEnabled))),
        (
            &[105, 136],
            (Suspect, Some(Reason::GrantOfAnotherClient)),
            (Suspect, Some(Reason::GrantOfAnotherClient)),
        ),
        (&[123], (Suspect, Some(Reason::PrincipalDisabled)), (Suspect, Some(Reason::PrincipalDisabled))),
        (&[5], (Client, None), (Suspect, None)),
        (&[59, 60, 61, 64, 107, 115], (Client, None), (Client, None)),
        (&[16, 134], (Down, None), (Down, None)),
        (&[10, 11], (Configuration, None), (Suspect, Some(Reason::PrincipalDisabled))),
        (&[19, 100, 103], (Configuration, None), (Suspect, None)),
        (&[12, 13, 14, 20, 21, 139], (Configuration, None), (Configuration, None)),
        (
            &[
                51, 52, 54, 55, 56, 57, 58, 62, 63, 65, 80, 81, 83, 84, 85, 101, 102, 104, 106, 109, 117,
                118, 119, 120, 121, 122, 124, 135,
            ],
            (Configuration, None),
            (Configuration, None),
        ),
        (&[999], (Configuration, None), (Configuration, None)),
    ];
    let mut named = 0;
    for (codes, steady, bootstrap) in table {
        for code in codes {
            named += usize::from(concur.errors.contains_key(&code.to_string()));
            for (stage, want) in [(Stage::Steady, steady), (Stage::Bootstrap, bootstrap)] {
                // The status and the RFC 6749 word do not matter where there is a number.
                for (status, error) in
                    [(400, "invalid_grant"), (403, "invalid_client"), (401, "access_denied")]
                {
                    let refusal = Refusal {
                        status,
                        error: Some(error.into()),
                        code: Some(code.to_string()),
                        retry_after: None,
                        body: Body::Json,
                    };
                    let failure = classify(concur, stage, &Evidence::Refused(refusal), None);
                    assert_eq!((failure.class, failure.reason), want, "{code} {stage:?} {status}");
                    assert_eq!(failure.code, Some(code.to_string()));
                }
            }
        }
    }
    // All rules but `*` and `http_403` are in the table above.
    assert_eq!(named + 2, concur.errors.len());
    assert!(concur.bootstrap_errors.keys().all(|code| concur.errors.contains_key(code)));
}

#[test]
fn a_file_extends_a_template_and_replaces_keys() {
    let text = r#"
        extends = "generic-oauth2"
        name = "acme-idp"
        display_name = "Acme"
        token_endpoint = "https://idp.acme.example:8443/token"
        rotation = "always"
        lifetimes.refresh_idle = "30d"
        errors.invalid_refresh_token = { class = "suspect", reason = "revoked" }
    "#;
    let catalogue = Catalogue::built_in().unwrap().with(&files(&[text])).unwrap();
    let profile = catalogue.get(&name("acme-idp")).unwrap();
    assert_eq!(profile.rotation, Rotation::Always);
    assert_eq!(profile.lifetimes.access_default, Some(Duration::from_secs(300)));
    assert_eq!(profile.lifetimes.refresh_idle, Some(Duration::from_secs(30 * 86_400)));
    // Without `hosts`, the endpoints are the hosts.
    assert_eq!(profile.hosts, [HostPattern("idp.acme.example:8443".into())]);
    assert!(!profile.admits(&"https://idp.acme.example/token".parse().unwrap()));
}

#[test]
fn a_simulator_takes_the_place_of_the_data_centres() {
    let text = r#"
        extends = "sap-concur"
        name = "sap-concur"
        bootstrap_at = "http://127.0.0.1:7611"
        hosts = ["127.0.0.1:*"]
        data_centers = { us2 = "http://127.0.0.1:7612" }
    "#;
    let catalogue = Catalogue::built_in().unwrap().with(&files(&[text])).unwrap();
    let profile = catalogue.get(&name("sap-concur")).unwrap();
    assert_eq!(profile.data_centers.len(), 1);
    assert_eq!(profile.errors["108"].class, Class::Suspect);
    assert!(!profile.admits(&"https://us2.api.concursolutions.com".parse().unwrap()));
    assert_eq!(catalogue.iter().count(), 1);
}

#[test]
fn later_files_extend_earlier_ones() {
    let first = "extends = \"sap-concur\"\nname = \"a\"\nexchange_timeout = \"30s\"";
    let second = "extends = \"a\"\nname = \"b\"\ngrace = \"5m\"";
    let catalogue = Catalogue::built_in().unwrap().with(&files(&[first, second])).unwrap();
    let profile = catalogue.get(&name("b")).unwrap();
    assert_eq!((profile.exchange_timeout.as_secs(), profile.grace.as_secs()), (30, 300));
    assert_eq!(Catalogue::built_in().unwrap().with(&files(&[second, first])).unwrap_err().len(), 1);
}

#[test]
fn every_mistake_is_told_at_once_with_key_and_mend() {
    let text = r#"
        extends = "generic-oauth2"
        name = "Not An Id"
        display_name = " "
        issuer = "http://idp.example"
        token_endpoint = "https://user:pass@idp.example/token"
        revocation = "rfc7009"
        bootstrap_at = "https://idp.example/path"
        hosts = ["*", "idp.example"]
        client_auth = ["private_key_jwt"]
        grants = []
        grace = "2d"
        exchange_timeout = "121s"
        data_centers = { "US 2" = "nonsense" }
        lifetimes.access_default = "0s"
        lifetimes.refresh_idle = "a year"
        errors."a b" = { class = "suspect" }
    "#;
    let mut keys = keys(text);
    keys.sort();
    keys.dedup();
    assert_eq!(
        keys,
        [
            "bootstrap_at",
            "client_auth",
            "data_centers.US 2",
            "display_name",
            "errors.a b",
            "exchange_timeout",
            "grace",
            "grants",
            "hosts",
            "issuer",
            "lifetimes.access_default",
            "lifetimes.refresh_idle",
            "name",
            "revocation_endpoint",
            "token_endpoint"
        ]
    );
    assert!(mistakes(text).iter().all(|mistake| !mistake.problem.is_empty() && !mistake.mend.is_empty()));
}

#[test]
fn single_mistakes_are_found() {
    let generic = |line: &str| format!("extends = \"generic-oauth2\"\nname = \"x\"\n{line}");
    let ready = |line: &str| generic(&format!("token_endpoint = \"https://a.example/t\"\n{line}"));
    let concur = |line: &str| format!("extends = \"sap-concur\"\nname = \"x\"\n{line}");
    for (text, key) in [
        (generic(""), "token_endpoint"),
        (generic("token_endpoint = \"http://a.example/t\""), "token_endpoint"),
        (generic("token_endpoint = \"http://localhost.a.example/t\""), "token_endpoint"),
        (ready("hosts = [\"b.example\"]"), "token_endpoint"),
        (ready("hosts = [\"a.example\", \"*.com\"]"), "hosts"),
        (ready("hosts = [\"a.example\", \"b.example:*\"]"), "hosts"),
        (ready("hosts = [\"a.example\", \"B.example\"]"), "hosts"),
        (ready("hosts = [\"a.example\", \"b.example/x\"]"), "hosts"),
        (ready("hosts = [\"a.example\", \"*.127.0.0.1:*\"]"), "hosts"),
        (ready("hosts = [\"a.example\", \"b.*.example\"]"), "hosts"),
        (ready("hosts = [\"a.example\", \"b.example:99999\"]"), "hosts"),
        (ready("exchange_timeout = \"999ms\""), "exchange_timeout"),
        (ready("exchange_timeout = \"25\""), "exchange_timeout"),
        (ready("retry_ceiling = \"59s\""), "retry_ceiling"),
        (ready("retry_ceiling = \"2h\""), "retry_ceiling"),
        (ready("exchange_timeout = \"18446744073709551615d\""), "exchange_timeout"),
        (ready("revocation = \"concur_delete\""), "dialect"),
        (ready("grants = [\"company_request_token\"]"), "dialect"),
        (ready("grants = [\"otp\"]"), "grants"),
        (concur("client_auth = [\"client_secret_basic\"]"), "client_auth"),
        (concur("bootstrap_at = \"https://glz.api.concursolutions.example\""), "bootstrap_at"),
        (concur("data_centers = { x = \"https://x.example\" }"), "data_centers.x"),
        (concur("data_centers = { x = \"http://us2.api.concursolutions.com\" }"), "data_centers.x"),
        ("extends = \"unknown\"\nname = \"x\"".to_owned(), "extends"),
        ("extends = 7\nname = \"x\"".to_owned(), "extends"),
        (ready("tokn_endpoint = \"x\""), ""),
        (ready("rotation = \"perhaps\""), ""),
        (ready("errors.x = { class = \"fatal\" }"), ""),
        (ready("errors.x = { class = \"suspect\", typo = 1 }"), ""),
        ("not toml".to_owned(), ""),
        (" ".repeat(FILE_MAX + 1), ""),
    ] {
        assert_eq!(keys(&text), [key], "{text}");
    }
}

#[test]
fn every_faulty_file_is_named() {
    let errors =
        Catalogue::built_in().unwrap().with(&files(&["name = 1", "", "extends = \"x\""])).unwrap_err();
    let names: Vec<_> = errors.iter().map(|error| error.file.as_str()).collect();
    assert_eq!(names, ["0.toml", "1.toml", "2.toml"]);
    assert!(errors[2].to_string().starts_with("provider profile 2.toml cannot be used: `extends` names no"));
}

#[test]
fn every_key_is_described() {
    let described = include_str!("../../docs/providers.md");
    for table in ["", "lifetimes.", "quirks."] {
        let unknown = format!("extends = \"generic-oauth2\"\n{table}zzz = 1");
        let problem = mistakes(&unknown).remove(0).problem;
        let (_, expected) = problem.split_once("expected one of").unwrap();
        let keys: Vec<_> = expected.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() >= 3, "{problem}");
        for key in keys.iter().filter(|key| !["lifetimes", "quirks"].contains(key)) {
            let written = [format!("`{table}{key}`"), format!("`.{key}`")];
            assert!(written.iter().any(|written| described.contains(written)), "{table}{key}");
        }
    }
}
