//! A request and its answer as plain data: what stands between the decisions and the sockets.
//! Never reads or writes a socket itself.

use http::{HeaderMap, Method};
use std::time::Duration;

/// One HTTP request, read completely.
#[derive(Debug, Clone)]
pub struct Request {
    /// The listener it came in by: a data centre's name.
    pub(super) site: String,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn form(&self) -> Form {
        Form::parse(&self.body)
    }

    /// What follows the given scheme (`Basic`, `Bearer`) in `Authorization`.
    pub(super) fn authorization(&self, scheme: &str) -> Option<&str> {
        let (given, credentials) = self.header("authorization")?.split_once(' ')?;
        given.eq_ignore_ascii_case(scheme).then(|| credentials.trim())
    }
}

/// The parameters of an `application/x-www-form-urlencoded` body or query.
#[derive(Debug, Clone, Default)]
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        Self(url::form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// A parameter without a value counts as omitted (RFC 6749 §3.2).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    pub(super) fn of(pairs: Vec<(String, String)>) -> Self {
        Self(pairs)
    }

    /// The values of a parameter that may come more than once.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.iter().filter(move |(key, _)| *key == name).map(|(_, value)| value)
    }

    /// All parameters with a value, in the order they were sent.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let given = self.0.iter().filter(|(_, value)| !value.is_empty());
        given.map(|(key, value)| (key.as_str(), value.as_str()))
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// The scope asked for, or all that was granted; `None` if it asks for more.
    pub(super) fn scope_within(&self, granted: &[String]) -> Option<Vec<String>> {
        let Some(asked) = self.get("scope") else { return Some(granted.to_vec()) };
        let asked: Vec<String> = asked.split_whitespace().map(str::to_owned).collect();
        asked.iter().all(|one| granted.contains(one)).then_some(asked)
    }

    /// Whether some parameter was sent twice, which RFC 6749 §3.2 forbids but for those of RFC 8707 and RFC 8693.
    pub(super) fn repeats(&self) -> bool {
        let once = |key: &str| !matches!(key, "resource" | "audience");
        let twice = |at: usize, key: &str| self.0[..at].iter().any(|(earlier, _)| earlier == key);
        self.0.iter().enumerate().any(|(at, (key, _))| once(key) && twice(at, key))
    }
}

/// How an answer reaches the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    /// The head promises the whole body, the connection ends after half of it.
    Truncated,
    /// The connection ends without one byte.
    Dropped,
    /// After the body come blanks, as long as the client takes them.
    Endless,
    /// One byte at a time.
    Drip {
        gap: Duration,
    },
}

/// One HTTP response and the way it is delivered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delivery: Delivery,
    pub(super) delay: Duration,
}

impl Answer {
    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, "application/json", body.to_string().into_bytes())
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain", body.as_bytes().to_vec())
    }

    pub(super) fn new(status: u16, content_type: &str, body: Vec<u8>) -> Self {
        Self {
            status,
            headers: vec![("content-type", content_type.to_owned())],
            body,
            delivery: Delivery::Whole,
            delay: Duration::ZERO,
        }
    }

    #[must_use]
    pub(super) fn with(mut self, header: &'static str, value: String) -> Self {
        self.headers.push((header, value));
        self
    }
}
