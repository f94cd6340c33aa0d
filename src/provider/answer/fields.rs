//! The members of a JSON object, with what plain maps forget: whether a name came twice. Not printable.

use crate::domain::{failure::Words, token::Secret};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use std::{borrow::Cow, collections::BTreeMap, fmt, time::Duration};
use zeroize::Zeroizing;

pub(crate) struct Fields {
    values: BTreeMap<String, Value>,
    repeated: bool,
    words: Words,
}

/// A member, as tolerant readers see it.
pub(crate) enum Given<'a> {
    /// Absent, null or empty text.
    Nothing,
    Text(&'a str),
    Other(&'a Value),
}

/// A number of seconds that is negative, no number, or beyond counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoSpan;

/// Larger numbers are no times of any kind.
const SECONDS_MAX: f64 = 1e14;

impl Fields {
    /// `None` if the body is no JSON object. A byte order mark before it (RFC 8259 §8.1) and texts that are not UTF-8
    /// are no reason to lose the refresh token in it; what is spoilt in a token makes that token unusable.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        serde_json::from_slice(body).ok().or_else(|| {
            let mended = Zeroizing::new(match String::from_utf8_lossy(body) {
                Cow::Borrowed(_) => return None,
                Cow::Owned(mended) => mended,
            });
            serde_json::from_str(&mended).ok()
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// May the server's words in it be shown?
    pub(crate) fn words(&self) -> Words {
        self.words
    }

    pub(crate) fn withhold(mut self, words: Words) -> Self {
        self.words = words;
        self
    }

    /// Did a name come twice? Of such a pair the last is kept, as most readers do.
    pub(crate) fn repeated(&self) -> bool {
        self.repeated
    }

    pub(crate) fn given(&self, name: &str) -> Given<'_> {
        match self.get(name) {
            None | Some(Value::Null) => Given::Nothing,
            Some(Value::String(text)) if text.is_empty() => Given::Nothing,
            Some(Value::String(text)) => Given::Text(text),
            Some(other) => Given::Other(other),
        }
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.given(name) {
            Given::Text(text) => Some(text),
            Given::Nothing | Given::Other(_) => None,
        }
    }

    /// RFC 6749 `error`.
    pub(crate) fn error(&self) -> Option<&str> {
        self.text("error")
    }

    pub(crate) fn has_token(&self) -> bool {
        self.text("access_token").is_some() || self.text("refresh_token").is_some()
    }

    /// Puts the members of an inner object over those at the top, unless the top has an access token itself.
    pub(crate) fn lift(&mut self, name: &str) {
        if self.text("access_token").is_none()
            && let Some(Value::Object(inner)) = self.values.remove(name)
        {
            self.values.extend(inner);
        }
    }

    /// Takes a text out; from then on it is wiped when it is dropped.
    pub(crate) fn secret(&mut self, name: &str) -> Option<Secret> {
        match self.values.remove(name)? {
            Value::String(text) if !text.is_empty() && !text.contains(char::REPLACEMENT_CHARACTER) => {
                Some(Secret::new(text))
            }
            _ => None,
        }
    }

    /// A span as a number or a numeric text, cut to whole seconds; `None` if there is nothing.
    pub(crate) fn seconds(&self, name: &str) -> Option<Result<Duration, NoSpan>> {
        let number = match self.given(name) {
            Given::Nothing => return None,
            Given::Other(value) => value.as_f64(),
            Given::Text(text) => {
                let text = text.trim();
                let numeric = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
                text.parse().ok().filter(|_| numeric)
            }
        };
        let counted = number.filter(|seconds| (0.0..SECONDS_MAX).contains(seconds));
        Some(counted.map(|seconds| Duration::from_secs_f64(seconds.floor())).ok_or(NoSpan))
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = Fields { values: BTreeMap::new(), repeated: false, words: Words::Shown };
                while let Some((name, value)) = map.next_entry()? {
                    fields.repeated |= fields.values.insert(name, value).is_some();
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Members)
    }
}
