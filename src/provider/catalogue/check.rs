//! Turns a profile as written into one that can be trusted, or says all that is wrong with it.

mod addresses;
mod methods;
mod whole;

use super::{
    Mistake, shape,
    written::{Written, WrittenAliases, WrittenLifetimes, WrittenQuirks, WrittenSource},
};
use crate::domain::{
    names::{Id, ProviderName},
    profile::{Dialect, Lifetimes, MtlsAliases, Profile, Quirks, Rule, SigningAlg, Source},
};
use std::{collections::BTreeMap, time::Duration};

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
const NETWORKS_MAX: usize = 16;
const DATA_CENTERS_MAX: usize = 64;
const ERRORS_MAX: usize = 512;
const CODE_MAX: usize = 64;
const SOURCES_MAX: usize = 64;
const TEXT_MAX: usize = 256;
const ID_MEND: &str = "use 1 to 63 of a-z, 0-9 and -, with no - at the ends";

/// Collects mistakes, so that one reading finds them all.
struct Findings(Vec<Mistake>);

/// `before` is what was found already: of a key that could not be read nothing more is said.
pub(super) fn profile(written: Written, before: Vec<Mistake>) -> Result<Profile, Vec<Mistake>> {
    let mut found = Findings(before);
    found.bounds(&written);
    found.methods(&written);
    found.extras(&written);
    found.rules("errors", &written.errors);
    found.rules("bootstrap_errors", &written.bootstrap_errors);
    let template = written.template;
    let mut profile = found.read(written);
    if profile.hosts.is_empty() {
        profile.hosts = whole::own_hosts(&profile);
    }
    // Who is written down as issuer is approved by that: only what it names elsewhere has to stand in `hosts`.
    let own = profile.issuer.as_ref().filter(|_| profile.discovers());
    if let Some(own) =
        own.and_then(|issuer| addresses::host_of(issuer.url())).filter(|own| !profile.hosts.contains(own))
    {
        profile.hosts.push(own);
    }
    if !template {
        found.whole(&profile);
    }
    if found.0.is_empty() { Ok(profile) } else { Err(found.0) }
}

impl Findings {
    fn read(&mut self, written: Written) -> Profile {
        let name = self.name(&written.name);
        let dialect = written.dialect.unwrap_or(Dialect::Rfc6749);
        let (exchange_timeout, retry_ceiling) = self.times(&written);
        let mut url = |key: &str, given: &Option<String>| self.url(key, given.as_deref());
        let token_endpoint = url("token_endpoint", &written.token_endpoint);
        let authorization_endpoint = url("authorization_endpoint", &written.authorization_endpoint);
        let device_authorization_endpoint =
            url("device_authorization_endpoint", &written.device_authorization_endpoint);
        let pushed_authorization_request_endpoint =
            url("pushed_authorization_request_endpoint", &written.pushed_authorization_request_endpoint);
        let introspection_endpoint = url("introspection_endpoint", &written.introspection_endpoint);
        let revocation_endpoint = url("revocation_endpoint", &written.revocation_endpoint);
        let jwks_uri = url("jwks_uri", &written.jwks_uri);
        let userinfo_endpoint = url("userinfo_endpoint", &written.userinfo_endpoint);
        Profile {
            name: name.unwrap_or_else(nameless),
            display_name: written.display_name,
            dialect,
            issuer: self.issuer(written.issuer.as_deref()),
            discovery: written.discovery,
            token_endpoint,
            authorization_endpoint,
            device_authorization_endpoint,
            pushed_authorization_request_endpoint,
            introspection_endpoint,
            introspection: written.introspection,
            revocation_endpoint,
            revocation: written.revocation,
            jwks_uri,
            userinfo_endpoint,
            mtls_endpoint_aliases: self.aliases(&written.mtls_endpoint_aliases),
            data_centers: self.data_centers(&written.data_centers),
            bootstrap_at: self.base("bootstrap_at", written.bootstrap_at.as_deref()),
            authorize_at: self.base("authorize_at", written.authorize_at.as_deref()),
            hosts: self.hosts("hosts", written.hosts),
            client_auth: written.client_auth,
            grants: written.grants,
            pkce: written.pkce,
            response_iss: written.response_iss,
            pushed_authorization: written.pushed_authorization,
            resource_indicators: written.resource_indicators,
            dpop: written.dpop,
            offline_scopes: written.offline_scopes,
            authorization_parameters: written.authorization_parameters,
            token_parameters: written.token_parameters,
            request_scope_separator: written.request_scope_separator,
            assertion_audience: written.assertion_audience,
            signing_algs: written.signing_algs.unwrap_or_else(|| SigningAlg::ALL.to_vec()),
            ca_certificates: written.ca_certificates,
            minimum_tls: written.minimum_tls,
            private_networks: self.networks(&written.private_networks),
            rotation: written.rotation,
            reuse: written.reuse,
            overlap: written.overlap,
            grace: self.span("grace", written.grace.as_deref(), GRACE_MAX).unwrap_or_default(),
            refresh_expiry: written.refresh_expiry,
            lifetimes: self.lifetimes(&written.lifetimes),
            quirks: self.quirks(written.quirks),
            exchange_timeout,
            retry_ceiling,
            errors: written.errors,
            bootstrap_errors: written.bootstrap_errors,
            sources: self.sources(written.sources),
        }
    }

    fn aliases(&mut self, written: &WrittenAliases) -> MtlsAliases {
        let mut url = |key: &str, given: &Option<String>| {
            self.url(&format!("mtls_endpoint_aliases.{key}"), given.as_deref())
        };
        MtlsAliases {
            token_endpoint: url("token_endpoint", &written.token_endpoint),
            revocation_endpoint: url("revocation_endpoint", &written.revocation_endpoint),
            introspection_endpoint: url("introspection_endpoint", &written.introspection_endpoint),
            device_authorization_endpoint: url(
                "device_authorization_endpoint",
                &written.device_authorization_endpoint,
            ),
            pushed_authorization_request_endpoint: url(
                "pushed_authorization_request_endpoint",
                &written.pushed_authorization_request_endpoint,
            ),
        }
    }

    fn lifetimes(&mut self, written: &WrittenLifetimes) -> Lifetimes {
        let absolute = written.refresh_absolute.as_deref();
        Lifetimes {
            access_default: self.life("access_default", written.access_default.as_deref(), ACCESS_MAX),
            refresh_idle: self.life("refresh_idle", written.refresh_idle.as_deref(), REFRESH_MAX),
            refresh_absolute: self.life("refresh_absolute", absolute, REFRESH_MAX),
        }
    }

    fn quirks(&mut self, written: WrittenQuirks) -> Quirks {
        Quirks {
            missing_token_type: written.missing_token_type,
            scope_separator: written.scope_separator,
            redirecting_hosts: self.hosts("quirks.redirecting_hosts", written.redirecting_hosts),
            bearer_words: written.bearer_words,
            nested_in: written.nested_in,
            code_field: written.code_field,
        }
    }

    fn sources(&mut self, written: Vec<WrittenSource>) -> Vec<Source> {
        let known = shape::names();
        let mut sources = Vec::new();
        for source in written {
            let source = match source {
                WrittenSource::Name(document) => Source { document, url: None, read: None, says: Vec::new() },
                WrittenSource::Full { document, url, read, says } => Source { document, url, read, says },
            };
            self.text("sources.document", &source.document);
            for key in source.says.iter().filter(|key| !known.contains(key)) {
                let problem = format!("speaks of `{}`, which is no key", key.escape_debug());
                self.note(
                    "sources.says",
                    problem,
                    "name keys as docs/providers.md does, as `lifetimes.refresh_idle`",
                );
            }
            sources.push(source);
        }
        sources
    }

    fn text(&mut self, key: &str, text: &str) {
        if text.trim().is_empty() || text.chars().count() > TEXT_MAX {
            self.note(key, "is empty or too long", format!("write 1 to {TEXT_MAX} characters"));
        }
    }

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
            ("private_networks", written.private_networks.len(), NETWORKS_MAX),
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
        if written.display_name.is_empty() {
            self.missing("display_name", "write the provider's name for people");
        } else {
            self.text("display_name", &written.display_name);
        }
        if written.dialect.is_none() {
            self.missing("dialect", "write dialect = \"rfc6749\", or extend a profile");
        }
        let members = [
            ("quirks.nested_in", written.quirks.nested_in.as_deref()),
            ("quirks.code_field", written.quirks.code_field.as_deref()),
        ];
        for (key, text) in members.iter().filter_map(|(key, text)| Some((key, (*text)?))) {
            self.text(key, text);
        }
    }

    fn name(&mut self, given: &str) -> Option<ProviderName> {
        let id = given.parse::<Id>().ok();
        if given.is_empty() {
            self.missing("name", ID_MEND);
        } else if id.is_none() {
            self.note("name", "is not an id", ID_MEND);
        }
        id.map(ProviderName)
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

    fn rules(&mut self, table: &str, rules: &BTreeMap<String, Rule>) {
        for code in rules.keys() {
            if code.is_empty() || code.len() > CODE_MAX || !code.bytes().all(|b| b.is_ascii_graphic()) {
                let mend = format!("use 1 to {CODE_MAX} visible ASCII characters, as the server sends it");
                self.note(format!("{table}.{}", code.escape_debug()), "is not a code", mend);
            }
        }
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
