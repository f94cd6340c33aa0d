//! The built-in profiles as they must be, and what is said about faulty ones.

use super::*;
use crate::domain::{
    failure::{Body, Class, Evidence, Reason, Refusal, Stage, classify},
    names::ProviderName,
    profile::{
        HostPattern, MinimumTls, Offer, Pkce, RefreshExpiry, ResponseIss, Revocation, Rotation, SigningAlg,
    },
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
    let files = Catalogue::built_in_files();
    let templates = files.iter().filter(|(_, text)| text.contains("\ntemplate = true")).count();
    assert_eq!((files.len(), templates), (43, 12));
    assert_eq!(catalogue.iter().count(), files.len() - templates);
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
        (
            &[12, 13, 14, 19, 20, 21, 55, 81, 83, 84, 85, 100, 103, 139],
            (Configuration, None),
            (Suspect, None),
        ),
        (
            &[
                51, 52, 54, 56, 57, 58, 62, 63, 65, 80, 101, 102, 104, 106, 109, 117, 118, 119, 120, 121,
                122, 124, 135,
            ],
            (Configuration, None),
            (Configuration, None),
        ),
        (&[82], (Class::Throttled, None), (Class::Throttled, None)),
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
                        ..Refusal::default()
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

/// What was established says where; what the program itself chose needs no document.
#[test]
fn every_value_of_the_built_in_profiles_has_a_source() {
    // What we call things, and what is ours to choose.
    let own = ["extends", "name", "display_name", "dialect", "template", "sources", "variables"];
    let mut bare = Vec::new();
    for (file, text) in Catalogue::built_in_files().iter().filter(|(file, _)| *file != "generic-oauth2.toml")
    {
        let table: Table = text.parse().unwrap();
        let sources = table["sources"].as_array().unwrap();
        for source in sources {
            let full = ["document", "url", "read"]
                .into_iter()
                .all(|part| source.get(part).and_then(Value::as_str).is_some_and(|text| !text.is_empty()));
            assert!(full, "{file}: {source}: what was read, where, and when");
        }
        let says: Vec<String> = sources
            .iter()
            .flat_map(|source| source["says"].as_array().unwrap().clone())
            .map(|key| key.as_str().unwrap().to_owned())
            .collect();
        let mut there = Vec::new();
        for (key, value) in &table {
            let unknown = value.as_str() == Some("unknown");
            let parts: Vec<String> = match value {
                Value::Table(inner) if ["lifetimes", "quirks"].contains(&key.as_str()) => {
                    inner.keys().map(|part| format!("{key}.{part}")).collect()
                }
                _ => vec![key.clone()],
            };
            let missing = |part: &&String| !own.contains(&part.as_str()) && !unknown && !says.contains(part);
            bare.extend(parts.iter().filter(missing).map(|part| format!("{file}: {part} has no source")));
            there.extend(parts);
        }
        let empty = says.iter().filter(|key| !there.contains(key));
        bare.extend(empty.map(|key| format!("{file}: a source speaks of {key}, which is not there")));
    }
    assert!(bare.is_empty(), "{bare:#?}");
}

#[test]
fn templates_become_providers_by_their_variables() {
    for (file, text) in Catalogue::built_in_files() {
        let table: Table = text.parse().unwrap();
        let (Some(variables), true) = (table.get("variables"), table.contains_key("template")) else {
            continue;
        };
        let set: Vec<_> =
            variables.as_table().unwrap().keys().map(|name| format!("{name} = \"acme\"")).collect();
        let base = table["name"].as_str().unwrap();
        let text = format!("extends = \"{base}\"\nname = \"mine\"\nvariables = {{ {} }}", set.join(", "));
        let catalogue =
            Catalogue::built_in().unwrap().with(&files(&[&text])).map_err(|e| format!("{file}: {e:?}"));
        let profile = catalogue.unwrap().get(&name("mine")).unwrap();
        assert!(profile.hosts.iter().all(|host| host.0.contains("acme")), "{file}");
    }
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
fn what_was_added_to_rfc_6749_is_read_and_merged() {
    let base = r#"
        extends = "generic-oauth2"
        name = "base"
        issuer = "https://idp.example"
        discovery = "oidc"
        authorization_parameters = { access_type = "offline" }
        mtls_endpoint_aliases = { token_endpoint = "https://mtls.idp.example/token" }
    "#;
    let upper = r#"
        extends = "base"
        name = "upper"
        authorization_endpoint = "https://login.idp.example/authorize"
        authorization_parameters = { prompt = "consent" }
        token_parameters = { audience = "https://api.example" }
        mtls_endpoint_aliases = { revocation_endpoint = "https://mtls.idp.example/revoke" }
        offline_scopes = ["offline_access"]
        response_iss = "required"
        dpop = "offered"
        signing_algs = ["PS256", "ES256"]
        minimum_tls = "1.3"
        private_networks = ["10.20.0.0/16", "fd12:3456::/32"]
    "#;
    let catalogue = Catalogue::built_in().unwrap().with(&files(&[base, upper])).unwrap();
    let profile = catalogue.get(&name("upper")).unwrap();
    // No slash is added: issuers are compared byte for byte.
    assert_eq!(profile.issuer.as_ref().unwrap().as_str(), "https://idp.example");
    assert!(profile.discovers() && profile.token_endpoint.is_none());
    let parameters: Vec<_> = profile.authorization_parameters.iter().collect();
    assert_eq!(
        parameters,
        [(&"access_type".to_owned(), &"offline".to_owned()), (&"prompt".to_owned(), &"consent".to_owned())]
    );
    let mtls = &profile.mtls_endpoint_aliases;
    assert!(mtls.token_endpoint.is_some() && mtls.revocation_endpoint.is_some());
    // The broker sends nothing to where browsers go.
    let hosts: Vec<_> = profile.hosts.iter().map(|host| host.0.as_str()).collect();
    assert_eq!(hosts, ["mtls.idp.example", "idp.example"]);
    assert_eq!(profile.signing_algs, [SigningAlg::Ps256, SigningAlg::Es256]);
    let careful = catalogue.get(&name("base")).unwrap();
    assert_eq!((careful.pkce, careful.response_iss), (Pkce::S256, ResponseIss::Unknown));
    assert_eq!((careful.dpop, careful.pushed_authorization), (Offer::Never, Offer::Never));
    assert_eq!(careful.signing_algs.len(), 4);
    let networks: Vec<_> = profile.private_networks.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.20.0.0/16", "fd12:3456::/32"]);
    assert!(Catalogue::built_in().unwrap().iter().all(|profile| profile.private_networks.is_empty()));
    assert_eq!((careful.minimum_tls, profile.minimum_tls), (MinimumTls::Tls12, MinimumTls::Tls13));
}

#[test]
fn a_simulator_takes_the_place_of_the_data_centres() {
    let text = r#"
        extends = "sap-concur"
        name = "sap-concur"
        bootstrap_at = "http://127.0.0.1:7611"
        authorize_at = "http://127.0.0.1:7611"
        hosts = ["127.0.0.1:*"]
        data_centers = { us2 = "http://127.0.0.1:7612" }
    "#;
    // One that forgets the browsers would send them to SAP.
    let forgets = text.replace("authorize_at = \"http://127.0.0.1:7611\"", "");
    assert_eq!(keys(&forgets), ["authorize_at"]);
    let catalogue = Catalogue::built_in().unwrap().with(&files(&[text])).unwrap();
    let profile = catalogue.get(&name("sap-concur")).unwrap();
    assert_eq!(profile.data_centers.len(), 1);
    assert_eq!(profile.errors["108"].class, Class::Suspect);
    assert!(!profile.admits(&"https://us2.api.concursolutions.com".parse().unwrap()));
    assert_eq!(catalogue.iter().count(), Catalogue::built_in().unwrap().iter().count());
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
        client_auth = []
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

/// A file on the template, one that lacks nothing else, and one on SAP Concur's profile.
fn generic(line: &str) -> String {
    format!("extends = \"generic-oauth2\"\nname = \"x\"\n{line}")
}

fn ready(line: &str) -> String {
    generic(&format!("token_endpoint = \"https://a.example/t\"\n{line}"))
}

fn concur(line: &str) -> String {
    format!("extends = \"sap-concur\"\nname = \"x\"\n{line}")
}

#[test]
fn single_mistakes_are_found() {
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
        (ready("grants = [\"otp\"]"), "dialect"),
        (concur("grants = [\"token_exchange\"]"), "grants"),
        (concur("client_auth = [\"client_secret_basic\"]"), "client_auth"),
        (concur("bootstrap_at = \"https://glz.api.concursolutions.example\""), "bootstrap_at"),
        (concur("data_centers = { x = \"https://x.example\" }"), "data_centers.x"),
        (concur("data_centers = { x = \"http://us2.api.concursolutions.com\" }"), "data_centers.x"),
        (ready("discovery = \"oidc\""), "issuer"),
        (ready("issuer = \"https://a.example/?x=1\""), "issuer"),
        (ready("introspection = \"rfc7662\""), "introspection_endpoint"),
        (ready("pushed_authorization = \"offered\""), "pushed_authorization_request_endpoint"),
        (ready("hosts = [\"a.example\"]\njwks_uri = \"https://b.example/keys\""), "jwks_uri"),
        (
            ready("mtls_endpoint_aliases.token_endpoint = \"http://b.example/t\""),
            "mtls_endpoint_aliases.token_endpoint",
        ),
        (ready("authorize_at = \"https://a.example\""), "authorize_at"),
        (ready("authorization_parameters = { state = \"x\" }"), "authorization_parameters.state"),
        (ready("token_parameters = { client_secret = \"x\" }"), "token_parameters.client_secret"),
        (ready("token_parameters = { \"a b\" = \"x\" }"), "token_parameters.a b"),
        (ready("token_parameters = { audience = \"\" }"), "token_parameters.audience"),
        (ready("offline_scopes = [\"offline access\"]"), "offline_scopes"),
    ] {
        assert_eq!(keys(&text), [key], "{text}");
    }
}

#[test]
fn more_single_mistakes_are_found() {
    for (text, key) in [
        (ready("signing_algs = []"), "signing_algs"),
        (ready("ca_certificates = \"roots.pem\""), "ca_certificates"),
        (concur("discovery = \"oidc\""), "discovery"),
        (concur("authorize_at = \"https://www-glz.api.concursolutions.com/oauth2\""), "authorize_at"),
        (ready("minimum_tls = \"1.1\""), "minimum_tls"),
        (ready("private_networks = [\"10.0.0.1/8\"]"), "private_networks"),
        (ready("private_networks = [\"0.0.0.0/0\"]"), "private_networks"),
        (ready("private_networks = [\"169.254.0.0/16\"]"), "private_networks"),
        (ready("private_networks = [\"127.0.0.0/8\"]"), "private_networks"),
        ("extends = \"unknown\"\nname = \"x\"".to_owned(), "extends"),
        ("extends = 7\nname = \"x\"".to_owned(), "extends"),
        (ready("tokn_endpoint = \"x\""), "tokn_endpoint"),
        (ready("rotation = \"perhaps\""), "rotation"),
        (ready("errors.x = { class = \"fatal\" }"), "errors.x.class"),
        (ready("errors.x = { class = \"suspect\", typo = 1 }"), "errors.x.typo"),
        (ready("errors.x = { reason = \"revoked\" }"), "errors.x"),
        (ready("errors.x = { class = \"suspect\", reason = \"bad\" }"), "errors.x.reason"),
        (ready("errors.x = \"suspect\""), "errors.x"),
        (ready("errors = [\"x\"]"), "errors"),
        (ready("hosts = \"a.example\""), "hosts"),
        (ready("hosts = [7]"), "hosts"),
        (ready("client_auth = \"none\""), "client_auth"),
        (ready("client_auth = [\"basic\"]"), "client_auth"),
        (ready("grants = [7]"), "grants"),
        (ready("template = \"yes\""), "template"),
        (ready("grace = 30"), "grace"),
        (ready("lifetimes = \"1h\""), "lifetimes"),
        (ready("lifetimes.access = \"1h\""), "lifetimes.access"),
        (ready("data_centers = { eu = 1 }"), "data_centers.eu"),
        (ready("quirks.bearer_words = \"bot\""), "quirks.bearer_words"),
        (ready("quirks.nested_in = \" \""), "quirks.nested_in"),
        (ready("sources = \"RFC 6749\""), "sources"),
        (ready("sources = [{ url = \"https://a.example\" }]"), "sources"),
        (ready("sources = [{ document = \"d\", says = [\"rotations\"] }]"), "sources.says"),
        (ready("token_parameters = { audience = 1 }"), "token_parameters.audience"),
        (ready("issuer = \"https://{domain}\""), "issuer"),
        (ready("issuer = \"https://{domain}\"\nvariables = { domain = \"a.example/x\" }"), "variables.domain"),
        (ready("issuer = \"https://a.example/{p}\"\nvariables = { p = \"..\" }"), "variables.p"),
        (
            "name = \"x\"\ndisplay_name = \"X\"\nclient_auth = [\"none\"]\ngrants = [\"refresh_token\"]\ntoken_endpoint = \"https://a.example/t\"".to_owned(),
            "dialect",
        ),
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
    assert!(
        errors[2]
            .to_string()
            .starts_with("provider profile 2.toml cannot be used: `extends` (line 1) names no")
    );
}

#[test]
fn mistakes_say_where_they_stand_and_what_was_meant() {
    let text = "extends = \"generic-oauth2\"\nname = \"x\"\ntokn_endpoint = \"https://a.example/t\"\n\n[quirks]\nscope_seperator = \"whitespace\"\n[errors]\nbad = { class = \"fatal\" }\n";
    let told: Vec<_> = mistakes(text).iter().map(ToString::to_string).collect();
    let allowed = "suspect, client, configuration, throttled, down";
    assert_eq!(
        told,
        [
            "`tokn_endpoint` (line 3) is not a key; did you mean `token_endpoint`?".to_owned(),
            "`quirks.scope_seperator` (line 6) is not a key; did you mean `scope_separator`?".to_owned(),
            format!(
                "`errors.bad.class` (line 8) is `fatal`, which is no word for it; write one of {allowed}"
            ),
            "`token_endpoint` is missing; write the server's token endpoint URL".to_owned(),
        ]
    );
    let syntax = mistakes("name = \"x\nx = ");
    assert!(syntax.iter().all(|mistake| mistake.line.is_some() && !mistake.to_string().contains("``")));
    assert!(mistakes(&" ".repeat(FILE_MAX + 1))[0].to_string().starts_with("the file is larger"));
}

#[test]
fn a_variable_fills_the_addresses_of_a_template() {
    let template = r#"
        extends = "generic-oauth2"
        name = "acme"
        template = true
        issuer = "https://{domain}/oauth2/{server}"
        token_endpoint = "https://{domain}/oauth2/{server}/token"
        [variables]
        domain = "the organisation's host, as acme.example"
        server = "default"
    "#;
    let one = "extends = \"acme\"\nname = \"one\"\nvariables = { domain = \"one.acme.example:8443\" }";
    let catalogue = Catalogue::built_in().unwrap().with(&files(&[template, one])).unwrap();
    let profile = catalogue.get(&name("one")).unwrap();
    assert_eq!(profile.issuer.as_ref().unwrap().as_str(), "https://one.acme.example:8443/oauth2/default");
    assert_eq!(profile.hosts, [HostPattern("one.acme.example:8443".into())]);
    // What the template says of a variable is told to who forgets it.
    let unset = "extends = \"acme\"\nname = \"two\"";
    let errors = Catalogue::built_in().unwrap().with(&files(&[template, unset])).unwrap_err();
    assert!(errors[0].to_string().contains("`variables.domain` is not set: the organisation's host"));
}

#[test]
fn the_schema_and_the_profile_know_the_same_keys() {
    // A key that only the schema knew would be refused by the profile, with words that no author understands.
    for key in
        shape::names().iter().filter(|key| !["name", "extends"].contains(&key.as_str()) && !key.contains('.'))
    {
        let text = format!("extends = \"generic-oauth2\"\nname = \"x\"\n{key} = 7");
        let told = mistakes(&text);
        assert!(told.iter().any(|mistake| mistake.key == *key), "{key}: {told:?}");
        assert!(told.iter().all(|mistake| !mistake.key.is_empty()), "{key}: {told:?}");
    }
}

#[test]
fn every_key_is_described() {
    let described = include_str!("../../docs/providers.md");
    for key in shape::names() {
        let last = key.rsplit('.').next().unwrap();
        let written = [format!("`{key}`"), format!("`.{last}`"), format!("`{key}.")];
        assert!(written.iter().any(|written| described.contains(written)), "{key}");
    }
}
