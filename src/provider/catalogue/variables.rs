//! Templates of products that run in many places: `{domain}` in an address stands for an entry of `[variables]`.
//! A value is a host or one part of a path; it cannot add a part, a query or credentials of its own.

use super::Mistake;
use toml::{Table, Value};

/// Longest value, in characters: that of a host name.
const VALUE_MAX: usize = 253;
/// Stands in for a value that a template leaves to others.
const SAMPLE: &str = "x.example";

/// Keys whose texts are addresses.
fn is_address(key: &str) -> bool {
    key.ends_with("_endpoint")
        || [
            "issuer",
            "jwks_uri",
            "hosts",
            "bootstrap_at",
            "authorize_at",
            "mtls_endpoint_aliases",
            "data_centers",
        ]
        .contains(&key)
}

/// Puts the values in their places. What a template leaves open is filled with a sample: nothing connects to it.
pub(super) fn filled(mut table: Table, found: &mut Vec<Mistake>) -> Table {
    let template = table.get("template").and_then(Value::as_bool) == Some(true);
    let mut values = Vec::new();
    if let Some(Value::Table(given)) = table.get("variables") {
        for (name, value) in given {
            let text = value.as_str().unwrap_or_default();
            if template {
                values.push((name.clone(), SAMPLE.to_owned()));
            } else if fits(text) {
                values.push((name.clone(), text.to_owned()));
            } else {
                let mend =
                    "write a host, or one part of a path: letters, digits, dots, hyphens and underscores";
                // What a template says of it is a sentence.
                let problem = if text.contains(' ') {
                    format!("is not set: {}", text.replace(char::is_control, " "))
                } else {
                    "is neither a host nor one part of a path".to_owned()
                };
                found.push(Mistake::new(format!("variables.{name}"), problem, mend));
                values.push((name.clone(), SAMPLE.to_owned()));
            }
        }
    }
    for (key, value) in &mut table {
        if is_address(key) {
            fill(key, value, &values, found);
        }
    }
    table
}

fn fill(key: &str, value: &mut Value, values: &[(String, String)], found: &mut Vec<Mistake>) {
    match value {
        Value::String(text) => {
            for (name, with) in values {
                *text = text.replace(&format!("{{{name}}}"), with);
            }
            if text.contains(['{', '}']) {
                let mend = "name it in [variables], or leave the braces out";
                found.push(Mistake::new(key, "has a variable that is not there", mend));
                *value = Value::String(format!("https://{SAMPLE}"));
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|each| fill(key, each, values, found)),
        Value::Table(table) => {
            for (name, each) in table.iter_mut() {
                fill(&format!("{key}.{name}"), each, values, found);
            }
        }
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

fn fits(value: &str) -> bool {
    let (name, port) = value.split_once(':').map_or((value, None), |(name, port)| (name, Some(port)));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let edge = |c: char| c.is_ascii_alphanumeric();
    value.len() <= VALUE_MAX
        && name.chars().all(plain)
        && name.starts_with(edge)
        && name.ends_with(edge)
        && !name.contains("..")
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_a_host_or_one_part_of_a_path() {
        for good in
            ["acme.okta.example", "acme", "idp.acme.example:8443", "127.0.0.1:9000", "my_realm", "a-b"]
        {
            assert!(fits(good), "{good}");
        }
        for bad in [
            "",
            "a/b",
            "a?b",
            "a#b",
            "u@evil.example",
            "a b",
            ".",
            "..",
            "a..b",
            ".a",
            "a.",
            "a%2fb",
            "a\\b",
            "a:b",
            "a:99999",
            "{a}",
            "é.example",
            "a\n",
        ] {
            assert!(!fits(bad), "{bad:?}");
        }
    }
}
