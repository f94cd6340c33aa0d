//! Turns a profile as written into one that can be trusted, or says all that is wrong with it.

use super::{Mistake, Written};
use crate::domain::{
    names::{Id, ProviderName},
    profile::{
        ClientAuth, Dialect, GrantKind, HostPattern, Lifetimes, Profile, Quirks, Revocation, Rule,
        is_loopback, secure,
    },
};
use std::{collections::BTreeMap, time::Duration};
use url::Url;

/// One request may take this long, whatever a profile says.
pub const EXCHANGE_TIMEOUT_MAX: Duration = Duration::from_secs(120);
/// A shorter one would take slow networks for lost answers.
pub(super) const EXCHANGE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// Where nothing is written.
pub(super) const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(25);
/// Asking more often would help no server up again.
const RETRY_CEILING_MIN: Duration = Duration::from_secs(60);
const RETRY_CEILING_MAX: Duration = Duration::from_secs(3600);
const GRACE_MAX: Duration = Duration::from_secs(86_400);
const ACCESS_MAX: Duration = Duration::from_secs(366 * 86_400);
const REFRESH_MAX: Duration = Duration::from_secs(3660 * 86_400);
const HOSTS_MAX: usize = 64;
const DATA_CENTERS_MAX: usize = 64;
const ERRORS_MAX: usize = 512;
const CODE_MAX: usize = 64;
const SOURCES_MAX: usize = 64;
const TEXT_MAX: usize = 256;
const ID_MEND: &str = "use 1 to 63 of a-z, 0-9 and -, with no - at the ends";

/// What this build can do.
const CLIENT_AUTH: [ClientAuth; 3] =
    [ClientAuth::ClientSecretBasic, ClientAuth::ClientSecretPost, ClientAuth::None];
const GRANTS: [GrantKind; 3] =
    [GrantKind::ClientCredentials, GrantKind::RefreshToken, GrantKind::CompanyRequestToken];

/// Collects mistakes, so that one reading finds them all.
#[derive(Default)]
struct Findings(Vec<Mistake>);

pub(super) fn profile(written: Written) -> Result<Profile, Vec<Mistake>> {
    let mut found = Findings::default();
    found.bounds(&written);
    let name = found.name(&written.name);
    let issuer = found.url("issuer", written.issuer.as_deref());
    let token_endpoint = found.url("token_endpoint", written.token_endpoint.as_deref());
    let revocation_endpoint = found.url("revocation_endpoint", written.revocation_endpoint.as_deref());
    let bootstrap_at = found.base("bootstrap_at", written.bootstrap_at.as_deref());
    let data_centers = found.data_centers(&written.data_centers);
    let hosts = found.hosts("hosts", written.hosts.clone());
    let redirecting_hosts = found.hosts("quirks.redirecting_hosts", written.quirks.redirecting_hosts.clone());
    let (exchange_timeout, retry_ceiling) = found.times(&written);
    let lifetimes = Lifetimes {
        access_default: found.life("access_default", written.lifetimes.access_default.as_deref(), ACCESS_MAX),
        refresh_idle: found.life("refresh_idle", written.lifetimes.refresh_idle.as_deref(), REFRESH_MAX),
        refresh_absolute: found.life(
            "refresh_absolute",
            written.lifetimes.refresh_absolute.as_deref(),
            REFRESH_MAX,
        ),
    };
    let grace = found.span("grace", written.grace.as_deref(), GRACE_MAX).unwrap_or_default();
    found.methods(&written);
    found.rules("errors", &written.errors);
    found.rules("bootstrap_errors", &written.bootstrap_errors);
    let template = written.template;
    let mut profile = Profile {
        name: name.unwrap_or_else(nameless),
        display_name: written.display_name,
        dialect: written.dialect,
        issuer,
        token_endpoint,
        revocation_endpoint,
        revocation: written.revocation,
        data_centers,
        bootstrap_at,
        hosts,
        client_auth: written.client_auth,
        grants: written.grants,
        rotation: written.rotation,
        reuse: written.reuse,
        overlap: written.overlap,
        grace,
        refresh_expiry: written.refresh_expiry,
        lifetimes,
        quirks: Quirks {
            missing_token_type: written.quirks.missing_token_type,
            scope_separator: written.quirks.scope_separator,
            redirecting_hosts,
        },
        exchange_timeout,
        retry_ceiling,
        errors: written.errors,
        bootstrap_errors: written.bootstrap_errors,
        sources: written.sources,
    };
    if profile.hosts.is_empty() {
        profile.hosts = endpoints(&profile).into_iter().filter_map(|(_, url)| host_of(&url)).collect();
    }
    if !template {
        found.whole(&profile);
    }
    if found.0.is_empty() { Ok(profile) } else { Err(found.0) }
}

impl Findings {
    fn note(&mut self, key: impl Into<String>, problem: impl Into<String>, mend: impl Into<String>) {
        self.0.push(Mistake::new(key, problem, mend));
    }

    /// Says so unless something worse was said of the key: what cannot be read looks missing.
    fn missing(&mut self, key: &str, mend: &str) {
        if self.0.iter().all(|mistake| mistake.key != key) {
            self.note(key, "is missing", mend);
        }
    }

    fn bounds(&mut self, written: &Written) {
        let counts = [
            ("hosts", written.hosts.len(), HOSTS_MAX),
            ("data_centers", written.data_centers.len(), DATA_CENTERS_MAX),
            ("errors", written.errors.len(), ERRORS_MAX),
            ("bootstrap_errors", written.bootstrap_errors.len(), ERRORS_MAX),
            ("sources", written.sources.len(), SOURCES_MAX),
        ];
        for (key, count, most) in counts {
            if count > most {
                self.note(key, format!("has {count} entries"), format!("keep at most {most}"));
            }
        }
        if written.display_name.trim().is_empty() || written.display_name.chars().count() > TEXT_MAX {
            self.note("display_name", "is empty or too long", format!("write 1 to {TEXT_MAX} characters"));
        }
    }

    fn name(&mut self, given: &str) -> Option<ProviderName> {
        let id = given.parse::<Id>().ok();
        if id.is_none() {
            self.note("name", "is not an id", ID_MEND);
        }
        id.map(ProviderName)
    }

    fn url(&mut self, key: &str, given: Option<&str>) -> Option<Url> {
        let given = given?;
        let problem = match Url::parse(given) {
            Err(_) => "is not a URL",
            Ok(url) if url.host_str().is_none() => "has no host",
            Ok(url) if !url.username().is_empty() || url.password().is_some() => "has credentials in it",
            Ok(url) if url.fragment().is_some() => "has a fragment",
            Ok(url) if !secure(&url) => "sends secrets in the clear",
            Ok(url) => return Some(url),
        };
        self.note(key, problem, "write an https URL (http only to 127.0.0.1, [::1] or localhost)");
        None
    }

    /// A URL that is scheme, host and port only.
    fn base(&mut self, key: &str, given: Option<&str>) -> Option<Url> {
        let url = self.url(key, given)?;
        if url.path() == "/" && url.query().is_none() {
            return Some(url);
        }
        self.note(key, "has a path or a query", "write scheme and host only, as https://eu.api.example.com");
        None
    }

    fn data_centers(&mut self, given: &BTreeMap<String, String>) -> BTreeMap<String, Url> {
        let mut read = BTreeMap::new();
        for (name, url) in given {
            let key = format!("data_centers.{name}");
            if name.parse::<Id>().is_err() {
                self.note(&key, "is not an id", ID_MEND);
            }
            if let Some(url) = self.base(&key, Some(url)) {
                read.insert(name.clone(), url);
            }
        }
        read
    }

    fn hosts(&mut self, key: &str, given: Vec<HostPattern>) -> Vec<HostPattern> {
        for pattern in &given {
            if let Some(problem) = trouble_with(pattern) {
                let mend = "write a host, `*.` and a domain of at least two labels, or a loopback address with a port";
                self.note(key, format!("has `{}`, which {problem}", pattern.0), mend);
            }
        }
        given
    }

    fn span(&mut self, key: &str, given: Option<&str>, most: Duration) -> Option<Duration> {
        let given = given?;
        match parse_span(given) {
            Some(span) if span <= most => Some(span),
            Some(_) => {
                self.note(key, "is too long", format!("write at most {}s", most.as_secs()));
                None
            }
            None => {
                self.note(key, "is not a duration", "write a whole number and ms, s, m, h or d, as `60s`");
                None
            }
        }
    }

    /// How long a request may take, and how long the pauses between two tries may grow.
    fn times(&mut self, written: &Written) -> (Duration, Duration) {
        let timeout = self
            .span("exchange_timeout", written.exchange_timeout.as_deref(), EXCHANGE_TIMEOUT_MAX)
            .unwrap_or(EXCHANGE_TIMEOUT);
        if timeout < EXCHANGE_TIMEOUT_MIN {
            self.note("exchange_timeout", "is shorter than 1s", "write 1s to 120s");
        }
        let ceiling = self
            .span("retry_ceiling", written.retry_ceiling.as_deref(), RETRY_CEILING_MAX)
            .unwrap_or(RETRY_CEILING_MIN);
        if ceiling < RETRY_CEILING_MIN {
            self.note("retry_ceiling", "is shorter than 1m", "write 1m to 1h");
        }
        (timeout, ceiling)
    }

    fn life(&mut self, key: &str, given: Option<&str>, most: Duration) -> Option<Duration> {
        let key = format!("lifetimes.{key}");
        let span = self.span(&key, given, most);
        if span == Some(Duration::ZERO) {
            self.note(&key, "is zero", "leave it out if the lifetime is not known");
        }
        span
    }

    fn methods(&mut self, written: &Written) {
        if written.client_auth.is_empty() {
            self.note("client_auth", "is empty", "name at least one method, as `client_secret_basic`");
        }
        if written.client_auth.iter().any(|method| !CLIENT_AUTH.contains(method)) {
            let mend = "use client_secret_basic, client_secret_post or none";
            self.note("client_auth", "names a method that this version does not speak", mend);
        }
        if written.grants.is_empty() {
            self.note("grants", "is empty", "name at least one grant, as `refresh_token`");
        }
        if written.grants.iter().any(|grant| !GRANTS.contains(grant)) {
            let mend = "use refresh_token, client_credentials or company_request_token";
            self.note("grants", "names a grant that this version does not speak", mend);
        }
        let foreign = written.dialect == Dialect::Rfc6749
            && (written.grants.contains(&GrantKind::CompanyRequestToken)
                || written.revocation == Revocation::ConcurDelete);
        if foreign {
            let mend = "leave out company_request_token and concur_delete, or set dialect = \"sap_concur\"";
            self.note("dialect", "does not know a grant or revocation of SAP Concur", mend);
        }
        if written.dialect == Dialect::SapConcur && written.client_auth != [ClientAuth::ClientSecretPost] {
            self.note(
                "client_auth",
                "is more than SAP Concur reads",
                "write client_auth = [\"client_secret_post\"]",
            );
        }
    }

    fn rules(&mut self, table: &str, rules: &BTreeMap<String, Rule>) {
        for code in rules.keys() {
            if code.is_empty() || code.len() > CODE_MAX || !code.bytes().all(|b| b.is_ascii_graphic()) {
                let mend = format!("use 1 to {CODE_MAX} visible ASCII characters, as the server sends it");
                self.note(format!("{table}.{}", code.escape_debug()), "is not a code", mend);
            }
        }
    }

    /// What only the whole profile shows.
    fn whole(&mut self, profile: &Profile) {
        match profile.dialect {
            Dialect::Rfc6749 if profile.token_endpoint.is_none() => {
                self.missing("token_endpoint", "write the server's token endpoint URL");
            }
            Dialect::SapConcur if profile.bootstrap_at.is_none() => {
                self.missing("bootstrap_at", "write the base URI where a bootstrap starts");
            }
            Dialect::Rfc6749 | Dialect::SapConcur => {}
        }
        if profile.revocation == Revocation::Rfc7009 && profile.revocation_endpoint.is_none() {
            let mend = "write the RFC 7009 endpoint, or revocation = \"none\"";
            self.missing("revocation_endpoint", mend);
        }
        for (key, url) in endpoints(profile) {
            if !profile.admits(&url) {
                let host = url.host_str().unwrap_or_default();
                self.note(key, "is not admitted by `hosts`", format!("add `{host}` to hosts"));
            }
        }
    }
}

/// Every address in the profile that is sent secrets.
fn endpoints(profile: &Profile) -> Vec<(String, Url)> {
    let single = [
        ("token_endpoint", &profile.token_endpoint),
        ("revocation_endpoint", &profile.revocation_endpoint),
        ("bootstrap_at", &profile.bootstrap_at),
    ];
    let single = single.into_iter().filter_map(|(key, url)| Some((key.to_owned(), url.clone()?)));
    let centers =
        profile.data_centers.iter().map(|(name, url)| (format!("data_centers.{name}"), url.clone()));
    single.chain(centers).collect()
}

fn host_of(url: &Url) -> Option<HostPattern> {
    let host = url.host_str()?;
    Some(HostPattern(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))))
}

/// Patterns that would admit more than their author meant.
fn trouble_with(pattern: &HostPattern) -> Option<&'static str> {
    let (host, port) = pattern.parts();
    let (stars, name) = host.strip_prefix("*.").map_or((false, host), |rest| (true, rest));
    let Ok(url) = Url::parse(&format!("https://{name}")) else { return Some("is not a host") };
    if url.host_str() != Some(name) {
        return Some("is not written as hosts are compared (lower case, no path, no port words)");
    }
    let labels = name.split('.').filter(|label| !label.is_empty()).count();
    let is_name = url.domain().is_some();
    if is_name && (name.starts_with('.') || name.ends_with('.') || name.contains('*')) {
        return Some("has a dot or star where none may be");
    }
    if stars && (!is_name || labels < 2) {
        return Some("has a star over more than one domain");
    }
    match port {
        Some("*") if !is_loopback(&url) => Some("opens every port of another machine"),
        Some(port) if port != "*" && port.parse::<u16>().is_err() => Some("has a port that is none"),
        _ => None,
    }
}

fn parse_span(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let unit_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(unit_ms).map(Duration::from_millis)
}

/// Stands in while the other keys are still looked at; a profile with it is never given out.
fn nameless() -> ProviderName {
    ProviderName("nameless".parse().unwrap_or_else(|_| unreachable!("the literal is an id")))
}
