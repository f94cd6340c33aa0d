//! What one value may be: kinds, bounds and what to say when a value does not fit. Pure.
//! Never repeats a value that may hold a secret: paths, words and URLs.

use crate::{domain::names::Id, telemetry::Filter};
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
    /// IP address and port on this machine.
    Address,
    /// A DNS label.
    Label,
    Filter,
    /// Visible ASCII.
    Word(Empty),
    Path(Empty),
    RedisUrl(Empty),
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

/// Longest word, in bytes.
const WORD_MAX: usize = 128;
/// Longest path, in bytes: what Linux takes.
const PATH_MAX: usize = 4095;
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
                | Self::Path(Empty::MeansUnset)
                | Self::RedisUrl(Empty::MeansUnset),
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
            Self::Address => address(text)?,
            Self::Label => text.parse().map(Value::Label).map_err(|_| "is not a label".to_owned()),
            Self::Filter => match text.parse::<Filter>() {
                Ok(filter) => Ok(Value::Filter(Box::new(filter))),
                Err(cause) => Err(cause.to_string()),
            },
            Self::Word(_) => word(text),
            Self::Path(_) => path(text),
            Self::RedisUrl(_) => redis_url(text),
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
            Self::Address => "an IP address and port",
            Self::Label => "a label",
            Self::Filter => "a log filter",
            Self::Word(_) => "a word",
            Self::Path(_) => "a path",
            Self::RedisUrl(_) => "a Redis URL",
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
            Self::Address => {
                "write a loopback address and a port, like \"127.0.0.1:7600\" or \"[::1]:7600\"".to_owned()
            }
            Self::Label => {
                "write 1 to 63 of a-z, 0-9 and -, beginning and ending with a letter or digit".to_owned()
            }
            Self::Filter => {
                "write a level (off, error, warn, info, debug, trace), then levels of modules, like \
                             \"info,bursar::store=debug\""
                    .to_owned()
            }
            Self::Word(_) => format!("write 1 to {WORD_MAX} visible ASCII characters, without spaces"),
            Self::Path(_) => "write the path of a file or folder".to_owned(),
            Self::RedisUrl(_) => {
                "write \"redis://HOST:PORT\" or \"redis://HOST:PORT/DATABASE\"; user name and password \
                                  go to store.redis.username and store.redis.password_file"
                    .to_owned()
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

fn address(text: &str) -> Option<Result<Value, String>> {
    let address: SocketAddr = text.parse().ok()?;
    Some(if address.ip().is_loopback() {
        Ok(Value::Address(address))
    } else {
        Err(format!(
            "`{address}` can be reached from other machines, and callers are not authenticated yet: only loopback \
             addresses are accepted"
        ))
    })
}

fn word(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > WORD_MAX {
        Err(format!("is longer than {WORD_MAX} characters"))
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        Err("has a character that is not visible ASCII".to_owned())
    } else {
        Ok(Value::Text(text.to_owned()))
    }
}

fn path(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > PATH_MAX {
        Err(format!("is longer than {PATH_MAX} bytes"))
    } else if text.contains('\0') {
        Err("has a NUL character".to_owned())
    } else {
        Ok(Value::Path(text.into()))
    }
}

/// `redis://host[:port][/database]`. The text may hold a password, so no message repeats any of it.
fn redis_url(text: &str) -> Result<Value, String> {
    let url = Url::parse(text).map_err(|_| "is not a URL".to_owned())?;
    if url.password().is_some() {
        return Err("has a password in it, which would be seen wherever configuration is shown".to_owned());
    }
    let database = url.path().strip_prefix('/').unwrap_or(url.path());
    let problem = match url.scheme() {
        "rediss" => "asks for TLS, which is not supported yet",
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
