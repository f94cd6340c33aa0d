//! What one value may be: kinds, bounds and what to say when a value does not fit. Pure.
//! Never repeats a value that may hold a secret: paths, words and URLs.

mod words;

use self::words::{IDENTIFIER_MAX, IDENTIFIERS_MAX, WORD_MAX, hosts, identifiers, path, word};
use crate::{
    domain::{names::Id, profile::secure},
    telemetry::Filter,
};
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use toml::de::DeValue;
use url::Url;

/// A value as it was written, in the file or the environment.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Text(String),
    /// Its digits, sign included.
    Integer(String),
    Boolean(bool),
    /// Something that no key takes; how TOML calls it.
    Other(&'static str),
}

/// What a key takes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Integer {
        least: u64,
        most: u64,
    },
    Duration {
        least: Duration,
        most: Duration,
    },
    OneOf(Vec<String>),
    Boolean,
    /// A DNS label.
    Label,
    Filter,
    /// Visible ASCII.
    Word(Empty),
    /// The same, as long as foreign names are.
    Identifier(Empty),
    /// Separated by spaces.
    Identifiers(Empty),
    Path(Empty),
    RedisUrl(Empty),
    /// IP address and port, reachable from anywhere.
    AnyAddress(Empty),
    /// `https`, or `http` to this machine; without query, fragment and credentials.
    WebAddress(Empty),
    WebAddresses(Empty),
    /// Of DNS, without wildcards, separated by spaces.
    Names(Empty),
    /// Scheme, host and port of an HTTP proxy.
    ProxyAddress(Empty),
    /// `host:port`, separated by spaces.
    Hosts(Empty),
}

/// What an empty text means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    MeansUnset,
    Refused,
}

/// A value that fits its key.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Unset,
    Integer(u64),
    Duration(Duration),
    Boolean(bool),
    Address(SocketAddr),
    Label(Id),
    Filter(Box<Filter>),
    /// Of a word or a choice.
    Text(String),
    Path(PathBuf),
    Url(Url),
}

/// Why a value does not fit, and what would.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) problem: String,
    pub(super) mend: String,
}

/// Mistakes repeat at most this much of a value, in characters.
const ECHO_MAX: usize = 80;

impl Raw {
    pub(super) fn from_toml(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) if integer.radix() == 10 => Self::Integer(integer.as_str().to_owned()),
            DeValue::Integer(_) => Self::Other("integer that is not decimal"),
            DeValue::Boolean(flag) => Self::Boolean(*flag),
            DeValue::Float(_) => Self::Other("float"),
            DeValue::Datetime(_) => Self::Other("datetime"),
            DeValue::Array(_) => Self::Other("array"),
            DeValue::Table(_) => Self::Other("table"),
        }
    }

    /// A variable has no types of its own: it is read as what the key takes, where that is possible.
    pub(super) fn from_env(text: String, kind: &Kind) -> Self {
        match kind {
            Kind::Integer { .. } if text.parse::<i128>().is_ok() => Self::Integer(text),
            Kind::Boolean if text == "true" || text == "false" => Self::Boolean(text == "true"),
            _ => Self::Text(text),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::Text(String::new())
    }

    /// For kinds whose values are never secret.
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => {
                let short: String = text.chars().take(ECHO_MAX).collect();
                format!("`{}` is text", short.escape_debug())
            }
            Self::Integer(digits) => format!("`{digits}` is an integer"),
            Self::Boolean(flag) => format!("`{flag}` is a boolean"),
            Self::Other(name) => format!("this is a TOML {name}"),
        }
    }
}

impl Kind {
    pub(super) fn check(&self, raw: &Raw) -> Result<Value, Wrong> {
        let checked = match (self, raw) {
            (Self::Integer { least, most }, Raw::Integer(digits)) => integer(digits, *least, *most),
            (Self::Boolean, Raw::Boolean(flag)) => Ok(Value::Boolean(*flag)),
            (
                Self::Word(Empty::MeansUnset)
                | Self::Identifier(Empty::MeansUnset)
                | Self::Identifiers(Empty::MeansUnset)
                | Self::Path(Empty::MeansUnset)
                | Self::RedisUrl(Empty::MeansUnset)
                | Self::AnyAddress(Empty::MeansUnset)
                | Self::WebAddress(Empty::MeansUnset)
                | Self::WebAddresses(Empty::MeansUnset)
                | Self::Names(Empty::MeansUnset)
                | Self::ProxyAddress(Empty::MeansUnset)
                | Self::Hosts(Empty::MeansUnset),
                raw,
            ) if raw.is_empty() => Ok(Value::Unset),
            (_, Raw::Text(text)) => self.check_text(text).unwrap_or_else(|| Err(self.misfit(raw))),
            (_, Raw::Integer(_) | Raw::Boolean(_) | Raw::Other(_)) => Err(self.misfit(raw)),
        };
        checked.map_err(|problem| Wrong { problem, mend: self.mend() })
    }

    /// `None`: this kind is not written as text.
    fn check_text(&self, text: &str) -> Option<Result<Value, String>> {
        Some(match self {
            Self::Integer { .. } | Self::Boolean => return None,
            Self::Duration { least, most } => span(text, *least, *most)?,
            Self::OneOf(words) => Ok(Value::Text(words.iter().find(|word| *word == text)?.clone())),
            Self::Label => text.parse().map(Value::Label).map_err(|_| "is not a label".to_owned()),
            Self::Filter => match text.parse::<Filter>() {
                Ok(filter) => Ok(Value::Filter(Box::new(filter))),
                Err(cause) => Err(cause.to_string()),
            },
            Self::Word(_) => word(text, WORD_MAX),
            Self::Identifier(_) => word(text, IDENTIFIER_MAX),
            Self::Identifiers(_) => identifiers(text),
            Self::Path(_) => path(text),
            Self::RedisUrl(_) => redis_url(text),
            Self::AnyAddress(_) => Ok(Value::Address(text.parse().ok()?)),
            Self::WebAddress(_) => web_address(text).map(Value::Url),
            Self::ProxyAddress(_) => proxy_address(text).map(Value::Url),
            Self::Hosts(_) => hosts(text),
            Self::Names(_) => match text.split_whitespace().find(|name| !is_dns_name(name)) {
                None => Ok(Value::Text(text.to_owned())),
                Some(_) => Err("has a word that is no DNS name".to_owned()),
            },
            Self::WebAddresses(_) => match text.split_whitespace().try_for_each(listed) {
                Ok(()) => Ok(Value::Text(text.to_owned())),
                Err(problem) => Err(problem),
            },
        })
    }

    fn misfit(&self, raw: &Raw) -> String {
        match self {
            Self::Word(_) | Self::Path(_) | Self::RedisUrl(_) if matches!(raw, Raw::Integer(_)) => {
                format!("is an integer, not {}", self.noun())
            }
            _ => format!("{}, not {}", raw.shown(), self.noun()),
        }
    }

    fn noun(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "an integer",
            Self::Duration { .. } => "a duration",
            Self::OneOf(_) => "one of the words it can be",
            Self::Boolean => "a boolean",
            Self::AnyAddress(_) => "an IP address and port",
            Self::Label => "a label",
            Self::Filter => "a log filter",
            Self::Word(_) => "a word",
            Self::Identifier(_) => "an identifier",
            Self::Identifiers(_) => "a list of identifiers",
            Self::Path(_) => "a path",
            Self::RedisUrl(_) => "a Redis URL",
            Self::WebAddress(_) => "a web address",
            Self::WebAddresses(_) => "a list of web addresses",
            Self::Names(_) => "a list of DNS names",
            Self::ProxyAddress(_) => "the address of a proxy",
            Self::Hosts(_) => "a list of hosts with ports",
        }
    }

    pub(super) fn mend(&self) -> String {
        match self {
            Self::Integer { least, most } => {
                format!("write a whole number from {least} to {most}, without quotes")
            }
            Self::Duration { least, most } => format!(
                "write a whole number and one of ms, s, m, h in quotes, from \"{}\" to \"{}\"",
                shown(*least),
                shown(*most)
            ),
            Self::OneOf(words) => format!("write \"{}\"", words.join("\" or \"")),
            Self::Boolean => "write true or false, without quotes".to_owned(),
            Self::Label => {
                "write 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit".to_owned()
            }
            Self::Filter => {
                "write a level (off, error, warn, info, debug, trace), then levels of modules, like \
                             \"info,bursar::store=debug\""
                    .to_owned()
            }
            Self::Identifier(_) => {
                format!("write 1 to {IDENTIFIER_MAX} visible ASCII characters, without spaces")
            }
            Self::Identifiers(_) => format!(
                "write at most {IDENTIFIERS_MAX} words of visible ASCII characters, with spaces between them"
            ),
            Self::Word(_) => format!("write 1 to {WORD_MAX} visible ASCII characters, without spaces"),
            Self::Path(_) => "write the path of a file or folder".to_owned(),
            Self::RedisUrl(_) => {
                "write \"redis://HOST:PORT\" or \"redis://HOST:PORT/DATABASE\"; user name and password \
                                  go to store.redis.username and store.redis.password_file"
                    .to_owned()
            }
            Self::AnyAddress(_) => "write an IP address and a port, like \"127.0.0.1:7600\" or \"[::]:7600\"".to_owned(),
            Self::WebAddress(_) => {
                "write \"https://HOST\" or \"https://HOST/PATH\"; \"http\" is for this machine only"
                    .to_owned()
            }
            Self::Names(_) => {
                "write names like \"billing.internal\" with spaces between them; each is compared as a whole, and \
                 wildcards are not taken"
                    .to_owned()
            }
            Self::WebAddresses(_) => {
                "write addresses like \"https://HOST/PATH\" with spaces between them".to_owned()
            }
            Self::Hosts(_) => {
                "write \"HOST:PORT\" with spaces between them, an IPv6 address in brackets; user names and passwords have \
                 keys of their own"
                    .to_owned()
            }
            Self::ProxyAddress(_) => {
                "write \"https://HOST:PORT\" or \"http://HOST:PORT\"; credentials for a proxy are not supported".to_owned()
            }
        }
    }
}

fn integer(digits: &str, least: u64, most: u64) -> Result<Value, String> {
    match digits.parse() {
        Ok(number) if (least..=most).contains(&number) => Ok(Value::Integer(number)),
        _ => Err(format!("`{digits}` is out of bounds")),
    }
}

/// A whole number and a unit: `250ms`, `30s`, `5m`, `1h`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(millis).map(Duration::from_millis)
}

/// As [`duration`] reads it, in the largest unit that is exact.
pub(super) fn shown(span: Duration) -> String {
    let ms = span.as_millis();
    match ms {
        _ if ms == 0 || !ms.is_multiple_of(1_000) => format!("{ms}ms"),
        _ if !ms.is_multiple_of(60_000) => format!("{}s", ms / 1_000),
        _ if !ms.is_multiple_of(3_600_000) => format!("{}m", ms / 60_000),
        _ => format!("{}h", ms / 3_600_000),
    }
}

fn span(text: &str, least: Duration, most: Duration) -> Option<Result<Value, String>> {
    let span = duration(text)?;
    let fits = (least..=most).contains(&span);
    Some(if fits { Ok(Value::Duration(span)) } else { Err(format!("`{text}` is out of bounds")) })
}

/// `https`, or `http` to this machine.
fn web_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    let problem = match url.scheme() {
        _ if url.password().is_some() || !url.username().is_empty() => "has credentials in it",
        _ if url.fragment().is_some() => "has a fragment",
        _ if url.query().is_some() => "has a query",
        "https" | "http" if !secure(&url) => "would be reached over plain HTTP from other machines",
        "https" | "http" => return Ok(url),
        _ => "has another scheme than https",
    };
    Err(problem.to_owned())
}

/// Scheme, host and port, and nothing more. The text may hold a password, so no message repeats any of it.
fn proxy_address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    let problem = match url.scheme() {
        _ if url.password().is_some() || !url.username().is_empty() => "has credentials in it",
        "https" | "http" if url.host_str().is_none_or(str::is_empty) => "has no host",
        "https" | "http" if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => {
            "has a path"
        }
        "https" | "http" => return Ok(url),
        _ => "has another scheme than https or http",
    };
    Err(problem.to_owned())
}

/// As hosts are named (RFC 1123 section 2.1): no wildcard, no dot at the end.
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

/// One address of a list; a query is allowed.
fn listed(text: &str) -> Result<(), String> {
    let without_query = text.split_once('?').map_or(text, |(address, _)| address);
    web_address(without_query).map(drop).map_err(|problem| format!("has an address that {problem}"))
}

/// `redis://host[:port][/database]`. The text may hold a password, so no message repeats any of it.
fn redis_url(text: &str) -> Result<Value, String> {
    let url = Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    if url.password().is_some() {
        return Err("has a password in it, which would be seen wherever configuration is shown".to_owned());
    }
    let database = url.path().strip_prefix('/').unwrap_or(url.path());
    let problem = match url.scheme() {
        "rediss" => {
            "asks for TLS in a way that is not taken here: write redis:// and store.redis.tls = \"on\""
        }
        "redis" if !url.username().is_empty() => "has a user name in it",
        "redis" if url.host_str().is_none_or(str::is_empty) => "has no host",
        "redis" if url.query().is_some() || url.fragment().is_some() => "has a query or fragment",
        "redis" if !database.is_empty() && database.parse::<u16>().is_err() => {
            "has a path that is no database number"
        }
        "redis" => return Ok(Value::Url(url)),
        _ => "has another scheme than redis",
    };
    Err(problem.to_owned())
}
