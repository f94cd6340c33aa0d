//! What a profile file may say, key by key, checked where it stands: unknown keys, wrong types and unknown words are told
//! all at once, each with its line. What the values mean together is checked elsewhere.

use super::Mistake;
use crate::domain::{
    client::HoldReason,
    failure::{Class, Reason},
    profile::{
        AssertionAudience, ClientAuth, Dialect, Discovery, GrantKind, Introspection, MinimumTls,
        MissingTokenType, Offer, Overlap, Pkce, RefreshExpiry, RequestScopeSeparator, ResourceIndicators,
        ResponseIss, Reuse, Revocation, Rotation, ScopeSeparator, SigningAlg,
    },
};
use std::{collections::BTreeMap, sync::LazyLock};
use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

/// Names alike enough to be meant, from 0 to 1 (Jaro-Winkler).
const ALIKE: f64 = 0.85;
/// Longest part of a file's own words that a message repeats, in characters.
const SHOWN_MAX: usize = 64;

/// What a profile may say an error code means; the other classes come of what happens on the way.
const CLASSES: [Class; 5] =
    [Class::Suspect, Class::Client, Class::Configuration, Class::Throttled, Class::Down];
const REASONS: [Reason; 6] = [
    Reason::Revoked,
    Reason::LostRotation,
    Reason::Expired,
    Reason::PrincipalDisabled,
    Reason::CompanyNotEnabled,
    Reason::GrantOfAnotherClient,
];
/// Why a client is refused; the one that is not among them is a conclusion from many refusals.
const HOLDS: [HoldReason; 4] = [
    HoldReason::SecretsRefused,
    HoldReason::ClientUnknown,
    HoldReason::ClientDisabled,
    HoldReason::GrantNotAllowed,
];

enum Kind {
    Text,
    Flag,
    Texts,
    Word(Vec<String>),
    Words(Vec<String>),
    /// Any keys, each with a text.
    TextTable,
    /// Error codes and their rules.
    Rules,
    /// Texts, or tables with these keys.
    Sources(Vec<Key>),
    Section(Vec<Key>),
}

struct Key {
    name: &'static str,
    kind: Kind,
}

fn words<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys = words_keys();
    let texts =
        ["name", "display_name", "extends", "issuer", "bootstrap_at", "authorize_at", "ca_certificates"];
    let urls = [
        "token_endpoint",
        "authorization_endpoint",
        "device_authorization_endpoint",
        "pushed_authorization_request_endpoint",
        "introspection_endpoint",
        "revocation_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
    ];
    let spans = ["grace", "exchange_timeout", "retry_ceiling"];
    keys.extend(texts.iter().chain(&urls).chain(&spans).map(|name| Key { name, kind: Kind::Text }));
    keys.push(Key { name: "template", kind: Kind::Flag });
    keys.extend(["hosts", "offline_scopes", "private_networks"].map(|name| Key { name, kind: Kind::Texts }));
    let tables = ["data_centers", "authorization_parameters", "token_parameters", "variables"];
    keys.extend(tables.map(|name| Key { name, kind: Kind::TextTable }));
    keys.extend(["errors", "bootstrap_errors"].map(|name| Key { name, kind: Kind::Rules }));
    keys.extend(sections());
    keys
});

fn words_keys() -> Vec<Key> {
    let one = |name, words| Key { name, kind: Kind::Word(words) };
    let many = |name, words| Key { name, kind: Kind::Words(words) };
    vec![
        one("dialect", words(Dialect::ALL)),
        one("discovery", words(Discovery::ALL)),
        one("introspection", words(Introspection::ALL)),
        one("revocation", words(Revocation::ALL)),
        many("client_auth", words(ClientAuth::ALL)),
        many("grants", words(GrantKind::ALL)),
        one("pkce", words(Pkce::ALL)),
        one("response_iss", words(ResponseIss::ALL)),
        one("pushed_authorization", words(Offer::ALL)),
        one("resource_indicators", words(ResourceIndicators::ALL)),
        one("dpop", words(Offer::ALL)),
        one("request_scope_separator", words(RequestScopeSeparator::ALL)),
        one("assertion_audience", words(AssertionAudience::ALL)),
        many("signing_algs", words(SigningAlg::ALL)),
        one("minimum_tls", words(MinimumTls::ALL)),
        one("rotation", words(Rotation::ALL)),
        one("reuse", words(Reuse::ALL)),
        one("overlap", words(Overlap::ALL)),
        one("refresh_expiry", words(RefreshExpiry::ALL)),
    ]
}

fn sections() -> Vec<Key> {
    let text = |name| Key { name, kind: Kind::Text };
    let aliases = [
        "token_endpoint",
        "revocation_endpoint",
        "introspection_endpoint",
        "device_authorization_endpoint",
        "pushed_authorization_request_endpoint",
    ];
    let quirks = vec![
        Key { name: "missing_token_type", kind: Kind::Word(words(MissingTokenType::ALL)) },
        Key { name: "scope_separator", kind: Kind::Word(words(ScopeSeparator::ALL)) },
        Key { name: "redirecting_hosts", kind: Kind::Texts },
        Key { name: "bearer_words", kind: Kind::Texts },
        text("nested_in"),
        text("code_field"),
    ];
    let source = vec![text("document"), text("url"), text("read"), Key { name: "says", kind: Kind::Texts }];
    vec![
        Key { name: "mtls_endpoint_aliases", kind: Kind::Section(aliases.map(text).into()) },
        Key {
            name: "lifetimes",
            kind: Kind::Section(["access_default", "refresh_idle", "refresh_absolute"].map(text).into()),
        },
        Key { name: "quirks", kind: Kind::Section(quirks) },
        Key { name: "sources", kind: Kind::Sources(source) },
    ]
}

/// The keys of a file, tables among them by their own name and by those of their members.
pub(super) fn names() -> Vec<String> {
    let mut names = Vec::new();
    for key in KEYS.iter() {
        names.push(key.name.to_owned());
        if let Kind::Section(members) = &key.kind {
            names.extend(members.iter().map(|member| format!("{}.{}", key.name, member.name)));
        }
    }
    names
}

/// A file by itself: where its keys stand, and what of it cannot be read.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) mistakes: Vec<Mistake>,
    lines: BTreeMap<String, usize>,
    unreadable: Vec<Vec<String>>,
}

impl Shape {
    /// What is wrong with the text as TOML, or its table without what cannot be read, and what that is.
    pub(super) fn of(text: &str) -> Result<(Table, Self), Vec<Mistake>> {
        let line = |at: usize| text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
        let (parsed, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let told = errors.iter().map(|error| Mistake {
                line: Some(line(error.span().map_or(0, |span| span.start))),
                // Only the message: the rest of the error quotes the line.
                ..Mistake::new("", error.message(), "mend the syntax; nothing else was looked at")
            });
            return Err(told.collect());
        }
        let mut shape = Self::default();
        shape.table(&[], parsed.get_ref(), &KEYS, &line);
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            vec![Mistake::new("", error.message(), "mend the syntax; nothing else was looked at")]
        })?;
        for path in &shape.unreadable {
            drop_at(&mut table, path);
        }
        Ok((table, shape))
    }

    /// Where a key stands, or the table around it.
    pub(super) fn line_of(&self, key: &str) -> Option<usize> {
        let mut key = key;
        loop {
            if let Some(line) = self.lines.get(key) {
                return Some(*line);
            }
            key = key.rsplit_once('.')?.0;
        }
    }

    fn table(&mut self, above: &[String], table: &DeTable<'_>, keys: &[Key], line: &dyn Fn(usize) -> usize) {
        for (word, value) in table {
            let path = self.place(above, word, line);
            match keys.iter().find(|key| key.name == path[above.len()]) {
                Some(key) => self.value(&path, value, &key.kind, line),
                None => self.unknown(&path, keys),
            }
        }
    }

    fn place(
        &mut self,
        above: &[String],
        word: &Spanned<impl AsRef<str>>,
        line: &dyn Fn(usize) -> usize,
    ) -> Vec<String> {
        let mut path = above.to_vec();
        path.push(word.get_ref().as_ref().to_owned());
        self.lines.entry(shown(&path)).or_insert_with(|| line(word.span().start));
        path
    }

    fn value(
        &mut self,
        path: &[String],
        value: &Spanned<DeValue<'_>>,
        kind: &Kind,
        line: &dyn Fn(usize) -> usize,
    ) {
        match (kind, value.get_ref()) {
            (Kind::Text, DeValue::String(_)) | (Kind::Flag, DeValue::Boolean(_)) => {}
            (Kind::Word(allowed), DeValue::String(word)) => self.word(path, word, allowed),
            (Kind::Texts, DeValue::Array(list)) => {
                if list.iter().any(|each| !matches!(each.get_ref(), DeValue::String(_))) {
                    self.note(
                        path,
                        "has an entry that is no text".to_owned(),
                        "write a list of texts".to_owned(),
                    );
                }
            }
            (Kind::Words(allowed), DeValue::Array(list)) => {
                for each in list {
                    match each.get_ref() {
                        DeValue::String(word) => self.word(path, word, allowed),
                        _ => self.note(path, "has an entry that is no text".to_owned(), one_of(allowed)),
                    }
                }
            }
            (Kind::TextTable, DeValue::Table(table)) => {
                for (word, value) in table {
                    let path = self.place(path, word, line);
                    self.value(&path, value, &Kind::Text, line);
                }
            }
            (Kind::Rules, DeValue::Table(table)) => {
                let rule = [
                    Key { name: "class", kind: Kind::Word(words(&CLASSES)) },
                    Key { name: "reason", kind: Kind::Word(words(&REASONS)) },
                    Key { name: "hold", kind: Kind::Word(words(&HOLDS)) },
                ];
                for (code, value) in table {
                    let path = self.place(path, code, line);
                    self.rule(&path, value, &rule, line);
                }
            }
            (Kind::Sources(keys), DeValue::Array(list)) => {
                for each in list {
                    match each.get_ref() {
                        DeValue::String(_) => {}
                        DeValue::Table(source) => self.source(path, source, keys, line),
                        _ => self.wrong_type(path, kind),
                    }
                }
            }
            (Kind::Section(keys), DeValue::Table(table)) => self.table(path, table, keys, line),
            _ => self.wrong_type(path, kind),
        }
    }

    fn rule(
        &mut self,
        path: &[String],
        value: &Spanned<DeValue<'_>>,
        keys: &[Key],
        line: &dyn Fn(usize) -> usize,
    ) {
        let before = self.mistakes.len();
        match value.get_ref() {
            DeValue::Table(rule) => {
                self.table(path, rule, keys, line);
                if !rule.iter().any(|(word, _)| word.get_ref() == "class") {
                    let mend = format!("write `class`: {}", one_of(&words(&CLASSES)));
                    self.note(path, "has no class".to_owned(), mend);
                }
            }
            _ => self.wrong_type(path, &Kind::Rules),
        }
        // Half a rule is none.
        if self.mistakes.len() > before {
            self.unreadable.push(path.to_vec());
        }
    }

    fn source(&mut self, path: &[String], source: &DeTable<'_>, keys: &[Key], line: &dyn Fn(usize) -> usize) {
        let before = self.mistakes.len();
        self.table(path, source, keys, line);
        if !source.iter().any(|(word, _)| word.get_ref() == "document") {
            self.note(path, "has an entry without `document`".to_owned(), "name the document".to_owned());
        }
        if self.mistakes.len() > before {
            self.unreadable.push(path.to_vec());
        }
    }

    fn word(&mut self, path: &[String], word: &str, allowed: &[String]) {
        if !allowed.iter().any(|known| known == word) {
            let problem = format!("is `{}`, which is no word for it", cut(word));
            self.note(path, problem, one_of(allowed));
        }
    }

    fn wrong_type(&mut self, path: &[String], kind: &Kind) {
        let (problem, mend) = match kind {
            Kind::Text => ("is not a text", "write it between quotes".to_owned()),
            Kind::Flag => ("is neither true nor false", "write true or false".to_owned()),
            Kind::Texts | Kind::TextTable if matches!(kind, Kind::Texts) => {
                ("is not a list", "write texts between brackets, as [\"a\", \"b\"]".to_owned())
            }
            Kind::Word(allowed) => ("is not a text", one_of(allowed)),
            Kind::Words(allowed) => {
                ("is not a list", format!("write a list between brackets; {}", one_of(allowed)))
            }
            Kind::Texts | Kind::TextTable => {
                ("is not a table", "write texts as { name = \"value\" }".to_owned())
            }
            Kind::Rules => {
                ("is not a table", "write a rule for each code, as { class = \"suspect\" }".to_owned())
            }
            Kind::Sources(_) => (
                "is not a list of sources",
                "write texts, or tables with document, url, read and says".to_owned(),
            ),
            Kind::Section(_) => ("is not a table", "write its keys below a [line] of their own".to_owned()),
        };
        self.note(path, problem.to_owned(), mend);
    }

    fn unknown(&mut self, path: &[String], keys: &[Key]) {
        let last = path.last().map(String::as_str).unwrap_or_default();
        let scored = keys.iter().map(|key| (strsim::jaro_winkler(key.name, last), key.name));
        let best = scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
        let mend = match best {
            Some((_, name)) => format!("did you mean `{name}`?"),
            None => "remove it; docs/providers.md lists every key".to_owned(),
        };
        self.note(path, "is not a key".to_owned(), mend);
    }

    fn note(&mut self, path: &[String], problem: String, mend: String) {
        self.unreadable.push(path.to_vec());
        self.mistakes.push(Mistake::new(shown(path), problem, mend));
    }
}

/// A path as it is told: harmless, and not longer than a line.
fn shown(path: &[String]) -> String {
    path.iter().map(|part| cut(part)).collect::<Vec<_>>().join(".")
}

fn cut(text: &str) -> String {
    text.escape_debug().take(SHOWN_MAX).collect()
}

fn one_of(allowed: &[String]) -> String {
    format!("write one of {}", allowed.join(", "))
}

fn drop_at(table: &mut Table, path: &[String]) {
    match path {
        [] => {}
        [last] => drop(table.remove(last)),
        [first, rest @ ..] => {
            if let Some(Value::Table(inner)) = table.get_mut(first) {
                drop_at(inner, rest);
            }
        }
    }
}
