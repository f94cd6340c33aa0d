//! What a file says about one connection, checked as far as it can be without asking anybody. A mistake names the place,
//! the field and the mend, and never repeats what stands there: it may be a token in the wrong column.

use crate::{
    cli::{browser::web_address, times},
    domain::{
        names::{ClientName, ConnectionName, Id, Owner, TenantName},
        token::Secret,
    },
};
use prost_types::Timestamp;
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

/// Fields of our own files.
pub(super) const FIELDS: &[&str] = &[
    "connection",
    "client",
    "refresh_token",
    "api_base_url",
    "refresh_token_expire_time",
    "scopes",
    "labels",
];

/// What the server takes: longest refresh token in bytes, most scopes, longest scope, most labels, longest label part.
const TOKEN_MAX: usize = 16 * 1024;
const SCOPES_MAX: usize = 256;
const SCOPE_LENGTH_MAX: usize = 256;
const LABELS_MAX: usize = 64;
const LABEL_LENGTH_MAX: usize = 63;

/// Where in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Line(u64),
    Entry(u64),
}

/// As it was read.
#[derive(Debug)]
pub(super) struct Raw {
    pub(super) place: Place,
    pub(super) connection: String,
    pub(super) client: String,
    pub(super) refresh_token: Option<Secret>,
    pub(super) api_base_url: String,
    pub(super) expire_time: String,
    pub(super) scopes: Vec<String>,
    pub(super) labels: Vec<(String, String)>,
    pub(super) shape: Shape,
    /// Why there is nothing to import here, though it is no mistake.
    pub(super) left_out: Option<String>,
}

/// Whose file it is.
#[derive(Debug)]
pub(super) enum Shape {
    Own,
    /// Another system's; `key` is its own word for what is a client here.
    Foreign {
        key: String,
    },
}

/// One connection to import.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) connection: ConnectionName,
    pub(super) client: ClientName,
    pub(super) refresh_token: Secret,
    pub(super) api_base_url: String,
    pub(super) expire_time: Option<Timestamp>,
    pub(super) scopes: Vec<String>,
    pub(super) labels: BTreeMap<String, String>,
}

/// Something to mend in the file.
#[derive(Debug)]
pub(super) struct Mistake {
    pub(super) place: Place,
    pub(super) field: &'static str,
    pub(super) problem: String,
}

/// What the flags say for all entries.
#[derive(Debug)]
pub(super) struct Defaults<'a> {
    pub(super) tenant: Option<&'a TenantName>,
    pub(super) client: Option<&'a ClientName>,
    pub(super) clients_for: &'a BTreeMap<String, ClientName>,
    pub(super) labels: &'a [(String, String)],
    pub(super) now: Timestamp,
}

/// What a file came to.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) mistakes: Vec<Mistake>,
    /// What holds nothing to import, in sentences.
    pub(super) left_out: Vec<String>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Entry(entry) => write!(f, "entry {entry}"),
        }
    }
}

impl Raw {
    pub(super) fn at(place: Place) -> Self {
        Self {
            place,
            connection: String::new(),
            client: String::new(),
            refresh_token: None,
            api_base_url: String::new(),
            expire_time: String::new(),
            scopes: Vec::new(),
            labels: Vec::new(),
            shape: Shape::Own,
            left_out: None,
        }
    }
}

/// Checks every entry, and each against the others.
pub(super) fn check_all(raw: Vec<Raw>, defaults: &Defaults<'_>) -> Found {
    let mut found = Found::default();
    let mut left_out: BTreeMap<String, (usize, Place)> = BTreeMap::new();
    if raw.is_empty() {
        found.left_out.push("the file holds no connection".into());
    }
    for raw in raw {
        if let Some(why) = raw.left_out {
            left_out.entry(why).or_insert((0, raw.place)).0 += 1;
            continue;
        }
        match check(raw, defaults) {
            Ok(entry) => found.entries.push(entry),
            Err(mistakes) => found.mistakes.extend(mistakes),
        }
    }
    found.mistakes.extend(doubles(&found.entries));
    found.left_out.extend(
        left_out.iter().map(|(why, (count, first))| format!("{count} left out, the first at {first}: {why}")),
    );
    found
}

fn check(raw: Raw, defaults: &Defaults<'_>) -> Result<Entry, Vec<Mistake>> {
    let mut mistakes = Vec::new();
    let place = raw.place;
    let mut wrong = |field: &'static str, problem: String| mistakes.push(Mistake { place, field, problem });
    let connection = connection(&raw, defaults).map_err(|problem| wrong("connection", problem)).ok();
    let client = client(&raw, defaults).map_err(|problem| wrong("client", problem)).ok();
    if let (Some(ConnectionName { tenant, .. }), Some(ClientName { owner: Owner::Tenant(owner), .. })) =
        (&connection, &client)
        && tenant != owner
    {
        wrong(
            "client",
            "belongs to another tenant than the connection: use one of its own, or a platform client".into(),
        );
    }
    let token = token(raw.refresh_token).map_err(|problem| wrong("refresh_token", problem)).ok();
    if !raw.api_base_url.is_empty() && web_address(&raw.api_base_url).is_err() {
        wrong("api_base_url", "is not a URL: give it as https://host, or leave it out".into());
    }
    let expire_time = expiry(&raw.expire_time, &defaults.now)
        .map_err(|problem| wrong("refresh_token_expire_time", problem))
        .unwrap_or_default();
    if let Some(problem) = wrong_scopes(&raw.scopes) {
        wrong("scopes", problem);
    }
    // A label for all gives way to the entry's own.
    let labels: BTreeMap<_, _> = defaults.labels.iter().cloned().chain(raw.labels).collect();
    if let Some(problem) = wrong_labels(&labels) {
        wrong("labels", problem);
    }
    match (connection, client, token) {
        (Some(connection), Some(client), Some(refresh_token)) if mistakes.is_empty() => Ok(Entry {
            place,
            connection,
            client,
            refresh_token,
            api_base_url: raw.api_base_url,
            expire_time,
            scopes: raw.scopes,
            labels,
        }),
        _ => Err(mistakes),
    }
}

fn connection(raw: &Raw, defaults: &Defaults<'_>) -> Result<ConnectionName, String> {
    if raw.connection.is_empty() {
        return Err(
            "is missing: give tenants/{tenant}/connections/{connection}, or with --tenant an id".into()
        );
    }
    if raw.connection.contains('/') {
        let form = "is not a name of the form tenants/{tenant}/connections/{connection}";
        return raw.connection.parse().map_err(|_| form.to_owned());
    }
    let tenant =
        defaults.tenant.ok_or("is without a tenant: add --tenant tenants/{tenant}, or give whole names")?;
    let id: Id = raw.connection.parse().map_err(|_| {
        "is not an id: use 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit".to_owned()
    })?;
    Ok(ConnectionName { tenant: tenant.clone(), id })
}

fn client(raw: &Raw, defaults: &Defaults<'_>) -> Result<ClientName, String> {
    if !raw.client.is_empty() {
        let form = "is not a name of the form tenants/{tenant}/clients/{client} or platform/clients/{client}";
        return raw.client.parse().map_err(|_| form.to_owned());
    }
    let named = match &raw.shape {
        Shape::Own => None,
        Shape::Foreign { key } => defaults.clients_for.get(key),
    };
    named.or(defaults.client).cloned().ok_or_else(|| match &raw.shape {
        Shape::Own => "is missing: give it here, or --client for all".into(),
        Shape::Foreign { key } => {
            format!("is not known: add --client-for {}=CLIENT, or --client for all", shown(key))
        }
    })
}

/// A key of another system, if it looks like one.
fn shown(key: &str) -> &str {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if (1..=LABEL_LENGTH_MAX).contains(&key.len()) && key.bytes().all(harmless) { key } else { "KEY" }
}

fn token(given: Option<Secret>) -> Result<Secret, String> {
    let token = given.ok_or("is missing")?;
    let text = token.expose();
    if text.len() > TOKEN_MAX {
        return Err(format!("is longer than {TOKEN_MAX} bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character in it: was a line broken?".into());
    }
    Ok(token)
}

fn expiry(given: &str, now: &Timestamp) -> Result<Option<Timestamp>, String> {
    if given.is_empty() {
        return Ok(None);
    }
    let at = times::parse_time(given).map_err(|_| "is not a time such as 2027-01-31T00:00:00Z".to_owned())?;
    if at.seconds <= now.seconds {
        return Err("is over: this connection has to be authorized anew, leave it out".into());
    }
    Ok(Some(at))
}

/// RFC 6749 section 3.3.
fn wrong_scopes(scopes: &[String]) -> Option<String> {
    if scopes.len() > SCOPES_MAX {
        return Some(format!("has more than {SCOPES_MAX} scopes"));
    }
    let good = |scope: &String| {
        (1..=SCOPE_LENGTH_MAX).contains(&scope.len())
            && scope.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
    };
    (!scopes.iter().all(good)).then(|| {
        "has a scope that is none: visible ASCII without quotes and backslash, separated by spaces".into()
    })
}

fn wrong_labels(labels: &BTreeMap<String, String>) -> Option<String> {
    if labels.len() > LABELS_MAX {
        return Some(format!("has more than {LABELS_MAX} labels"));
    }
    let good = |(key, value): (&String, &String)| !key.is_empty() && is_label(key) && is_label(value);
    (!labels.iter().all(good)).then(|| {
        "has a label that is none: key=value;key=value with up to 63 letters, digits, -, _ and . each, beginning and \
         ending with a letter or digit"
            .into()
    })
}

/// Whether a text can be a part of a label.
pub(super) fn is_label(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edges = edge(text.chars().next()) && edge(text.chars().last());
    text.len() <= LABEL_LENGTH_MAX && edges && text.chars().all(inner)
}

/// Two connections that share a name or, worse, a grant: at a rotating provider each would end the other's.
fn doubles(entries: &[Entry]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut names: HashMap<&ConnectionName, Place> = HashMap::new();
    let mut tokens: HashMap<&str, Place> = HashMap::new();
    for entry in entries {
        let mut twice = |field, first: Option<Place>| {
            if let Some(first) = first {
                let problem = format!("is the same as at {first}: keep the newer one of the two");
                mistakes.push(Mistake { place: entry.place, field, problem });
            }
        };
        twice("connection", names.get(&entry.connection).copied());
        twice("refresh_token", tokens.get(entry.refresh_token.expose()).copied());
        names.entry(&entry.connection).or_insert(entry.place);
        tokens.entry(entry.refresh_token.expose()).or_insert(entry.place);
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp { seconds: 1_800_000_000, nanos: 0 };

    fn raw() -> Raw {
        Raw {
            connection: "travel".into(),
            client: "tenants/acme/clients/concur".into(),
            refresh_token: Some(Secret::new("canary-1")),
            ..Raw::at(Place::Line(2))
        }
    }

    fn found(raw: Vec<Raw>) -> Found {
        let (tenant, clients) = ("tenants/acme".parse().unwrap(), BTreeMap::new());
        let labels = [("source".to_owned(), "old".to_owned())];
        let defaults = Defaults {
            tenant: Some(&tenant),
            client: None,
            clients_for: &clients,
            labels: &labels,
            now: NOW,
        };
        check_all(raw, &defaults)
    }

    #[test]
    fn a_good_entry_is_taken_with_the_flags_for_all() {
        let labels = vec![("source".to_owned(), "own".to_owned()), ("team".to_owned(), "pay".to_owned())];
        let found = found(vec![Raw { labels, expire_time: "2027-01-31T00:00:00Z".into(), ..raw() }]);
        let entry = &found.entries[0];
        assert_eq!(entry.connection.to_string(), "tenants/acme/connections/travel");
        assert_eq!((entry.labels["source"].as_str(), entry.labels["team"].as_str()), ("own", "pay"));
        assert!(entry.expire_time.is_some() && found.mistakes.is_empty());
    }

    #[test]
    fn every_mistake_is_told_by_field_and_without_what_stands_there() {
        type Spoil = fn(&mut Raw);
        let cases: [(Spoil, &str, &str); 15] = [
            (|raw| raw.connection.clear(), "connection", "missing"),
            (|raw| raw.connection = "canary canary".into(), "connection", "not an id"),
            (|raw| raw.connection = "canary/x".into(), "connection", "form"),
            (|raw| raw.client.clear(), "client", "--client for all"),
            (|raw| raw.client = "canary".into(), "client", "form"),
            (|raw| raw.client = "tenants/other/clients/canary".into(), "client", "another tenant"),
            (|raw| raw.refresh_token = None, "refresh_token", "missing"),
            (|raw| raw.refresh_token = Some(Secret::new("canary\n")), "refresh_token", "control"),
            (
                |raw| raw.refresh_token = Some(Secret::new("c".repeat(16 * 1024 + 1))),
                "refresh_token",
                "longer",
            ),
            (|raw| raw.api_base_url = "canary".into(), "api_base_url", "https://"),
            (|raw| raw.expire_time = "canary".into(), "refresh_token_expire_time", "not a time"),
            (|raw| raw.expire_time = "2020-01-31T00:00:00Z".into(), "refresh_token_expire_time", "is over"),
            (|raw| raw.scopes = vec!["canary\"".into()], "scopes", "none"),
            (|raw| raw.labels = vec![("k".into(), "canary canary".into())], "labels", "none"),
            (|raw| raw.labels = vec![(String::new(), "canary".into())], "labels", "none"),
        ];
        for (spoil, field, says) in cases {
            let mut spoilt = raw();
            spoil(&mut spoilt);
            let found = found(vec![spoilt]);
            assert_eq!(found.mistakes.len(), 1, "{field} {says}: {:?}", found.mistakes);
            let Mistake { place, field: told, problem } = &found.mistakes[0];
            assert_eq!((*place, *told), (Place::Line(2), field));
            assert!(problem.contains(says) && !problem.contains("canary"), "{problem}");
            assert!(found.entries.is_empty());
        }
        let several = found(vec![Raw { refresh_token: None, client: String::new(), ..raw() }]);
        assert_eq!(several.mistakes.len(), 2, "all mistakes of an entry at once");
    }

    #[test]
    fn names_and_tokens_are_there_once() {
        let second = |token: &str, id: &str| Raw {
            refresh_token: Some(Secret::new(token)),
            connection: id.into(),
            ..Raw { place: Place::Line(3), ..raw() }
        };
        let of = |second| found(vec![raw(), second]).mistakes.iter().map(|m| m.field).collect::<Vec<_>>();
        assert!(of(second("other", "other")).is_empty());
        assert_eq!(of(second("other", "travel")), ["connection"]);
        assert_eq!(of(second("canary-1", "other")), ["refresh_token"]);
    }

    #[test]
    fn what_holds_nothing_to_import_is_told_once_for_a_reason() {
        let out = |line| Raw {
            left_out: Some("its credentials are API_KEY".into()),
            ..Raw::at(Place::Entry(line))
        };
        let found = found(vec![raw(), out(2), out(3)]);
        assert_eq!(found.left_out, ["2 left out, the first at entry 2: its credentials are API_KEY"]);
        assert_eq!((found.entries.len(), found.mistakes.len()), (1, 0));
    }

    #[test]
    fn a_word_of_another_system_finds_its_client() {
        let clients = BTreeMap::from([("hubspot".to_owned(), "platform/clients/hubspot".parse().unwrap())]);
        let tenant = "tenants/acme".parse().unwrap();
        let defaults =
            Defaults { tenant: Some(&tenant), client: None, clients_for: &clients, labels: &[], now: NOW };
        let of = |key: &str| {
            let shape = Shape::Foreign { key: key.into() };
            check_all(vec![Raw { client: String::new(), shape, ..raw() }], &defaults)
        };
        assert_eq!(of("hubspot").entries[0].client.to_string(), "platform/clients/hubspot");
        assert!(of("slack").mistakes[0].problem.contains("--client-for slack=CLIENT"));
        assert!(of("a b").mistakes[0].problem.contains("--client-for KEY=CLIENT"));
    }
}
