//! The filter of list calls: a part of AIP-160. Conditions joined by `AND`; each names a field, compares it with
//! one value. Parsed and checked before anything is looked at.

use super::problem::Problem;
use crate::clock::Timestamp;

/// Longest filter, in characters, and most conditions in it.
const LENGTH_MAX: usize = 1024;
const CONDITIONS_MAX: usize = 16;

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter(Vec<Condition>);

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    path: String,
    test: Test,
}

#[derive(Debug, PartialEq, Eq)]
enum Test {
    Is(String),
    IsNot(String),
    Before(Timestamp),
    After(Timestamp),
    Has(String),
}

/// What a field can be compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    Text,
    /// One of these words: another one is a slip that would match nothing for ever.
    Word(&'static [&'static str]),
    Time,
}

/// A field of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Unset,
    Text(String),
    Time(Timestamp),
}

/// The fields that a list may be filtered by, beside `labels.*`.
pub type Fields = &'static [(&'static str, Type)];

impl Filter {
    pub fn parse(text: &str, fields: Fields) -> Result<Self, Problem> {
        let wrong = |mend: String| Problem::field("filter", mend);
        if text.chars().count() > LENGTH_MAX {
            return Err(wrong(format!("is longer than {LENGTH_MAX} characters")));
        }
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let mut rest = text;
        let mut conditions = Vec::new();
        loop {
            let (condition, after) = condition(rest, fields).map_err(wrong)?;
            conditions.push(condition);
            if conditions.len() > CONDITIONS_MAX {
                return Err(wrong(format!("has more than {CONDITIONS_MAX} conditions")));
            }
            let after = after.trim_start();
            if after.is_empty() {
                return Ok(Self(conditions));
            }
            rest = after
                .strip_prefix("AND")
                .filter(|rest| rest.starts_with(char::is_whitespace))
                .ok_or_else(|| wrong("join conditions by ` AND `; nothing else is understood".into()))?;
        }
    }

    pub fn matches(&self, field: impl Fn(&str) -> Value) -> bool {
        self.0.iter().all(|condition| {
            match (&condition.test, field(&condition.path)) {
                (Test::Is(wanted), Value::Text(found)) => *wanted == found,
                (Test::IsNot(wanted), Value::Text(found)) => *wanted != found,
                (Test::IsNot(_), Value::Unset) => true,
                (Test::Before(at), Value::Time(found)) => found < *at,
                (Test::After(at), Value::Time(found)) => found > *at,
                (Test::Has(_), found) => found != Value::Unset,
                // A field that is not set matches no comparison.
                (Test::Is(_) | Test::IsNot(_) | Test::Before(_) | Test::After(_), _) => false,
            }
        })
    }
}

fn condition(text: &str, fields: Fields) -> Result<(Condition, &str), String> {
    let text = text.trim_start();
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/')));
    let (path, rest) = text.split_at(end.unwrap_or(text.len()));
    let rest = rest.trim_start();
    let (operator, rest) = ["!=", "=", "<", ">", ":"]
        .into_iter()
        .find_map(|operator| rest.strip_prefix(operator).map(|rest| (operator, rest)))
        .ok_or_else(|| format!("expected =, !=, <, > or : after `{path}`"))?;
    let (value, rest) = value(rest.trim_start())?;
    if operator == ":" {
        let path = match (path, value.as_str()) {
            ("labels", label) => format!("labels.{label}"),
            (path, "*") if fields.iter().any(|(name, _)| *name == path) => path.to_owned(),
            _ => return Err("`:` asks whether something is set: write labels:NAME or FIELD:*".into()),
        };
        return Ok((Condition { path, test: Test::Has(value) }, rest));
    }
    let kind = if path.strip_prefix("labels.").is_some_and(|label| !label.is_empty()) {
        Type::Text
    } else {
        let known = || fields.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let found = fields.iter().find(|(name, _)| *name == path);
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| format!("`{path}` is not one of {}, labels.NAME", known()))?
    };
    if let Type::Word(words) = kind
        && !words.contains(&value.as_str())
    {
        return Err(format!("`{value}` is not a value of `{path}`: {}", words.join(", ")));
    }
    let comparison = match (kind, operator) {
        (Type::Text | Type::Word(_), "=") => Test::Is(value),
        (Type::Text | Type::Word(_), "!=") => Test::IsNot(value),
        (Type::Time, "<") => Test::Before(time(&value)?),
        (Type::Time, ">") => Test::After(time(&value)?),
        (Type::Text | Type::Word(_), _) => return Err(format!("`{path}` is compared by = and != only")),
        (Type::Time, _) => return Err(format!("`{path}` is a time and compared by < and > only")),
    };
    Ok((Condition { path: path.to_owned(), test: comparison }, rest))
}

/// A word, or text in double quotes without escapes.
fn value(text: &str) -> Result<(String, &str), String> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (value, rest) = quoted.split_once('"').ok_or("a quoted value does not end")?;
        return Ok((value.to_owned(), rest));
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    match text.split_at(end) {
        ("", _) => Err("a value is missing".into()),
        (value, rest) => Ok((value.to_owned(), rest)),
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    let parsed: prost_types::Timestamp =
        text.parse().map_err(|_| format!("`{text}` is not a time: write it as \"2027-01-31T00:00:00Z\""))?;
    Ok(super::from_proto::timestamp(&parsed))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELDS: Fields = &[("state", Type::Word(&["ACTIVE", "a"])), ("create_time", Type::Time)];

    fn field(path: &str) -> Value {
        match path {
            "state" => Value::Text("ACTIVE".into()),
            "create_time" => Value::Time(Timestamp::from_secs(1_800_000_000)),
            "labels.team" => Value::Text("pay roll".into()),
            _ => Value::Unset,
        }
    }

    #[test]
    fn a_filter_matches_what_it_says() {
        let cases = [
            ("", true),
            ("  ", true),
            ("state = ACTIVE", true),
            ("state=ACTIVE", true),
            ("state != ACTIVE", false),
            ("state = \"ACTIVE\" AND labels.team = \"pay roll\"", true),
            ("labels:team", true),
            ("labels:other", false),
            ("state:*", true),
            ("labels.other != x", true),
            ("labels.other = x", false),
            ("create_time < \"2027-02-01T00:00:00Z\"", true),
            ("create_time > 2027-02-01T00:00:00Z", false),
        ];
        for (text, want) in cases {
            assert_eq!(Filter::parse(text, FIELDS).unwrap().matches(field), want, "{text}");
        }
    }

    #[test]
    fn a_filter_that_is_not_understood_is_refused() {
        let long = "x".repeat(1025);
        for bad in [
            "state",
            "state =",
            "state < x",
            "stat = x",
            "state = a OR state = b",
            "create_time = x",
            "create_time < tomorrow",
            "state = \"x",
            "state = a AND",
            "state = a ANDstate = b",
            "owner:x",
            &long,
        ] {
            assert!(Filter::parse(bad, FIELDS).is_err(), "{bad}");
        }
    }
}
