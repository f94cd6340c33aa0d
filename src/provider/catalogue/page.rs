//! The part of `docs/providers.md` that lists the built-in profiles, written from their files: each value with the
//! document that it comes from, and `unknown` where nothing was established.

use super::built_in::BUILT_IN;
use std::{collections::BTreeMap, fmt::Write as _};
use toml::{Table, Value};

const BEGIN: &str = "<!-- Built-in profiles: written by `make docs` from providers/. -->\n";
const END: &str = "<!-- End of the built-in profiles. -->\n";

/// What decides how grants are treated, shown even where it is not known.
const DECISIVE: [&str; 9] = [
    "pkce",
    "response_iss",
    "rotation",
    "reuse",
    "grace",
    "overlap",
    "lifetimes.access_default",
    "lifetimes.refresh_idle",
    "lifetimes.refresh_absolute",
];
/// Of no interest in the table: said above it, or not a fact about the server.
const ASIDE: [&str; 8] =
    ["extends", "name", "display_name", "template", "sources", "variables", "errors", "bootstrap_errors"];

fn pages() -> String {
    let mut page = String::new();
    for (_, text) in BUILT_IN.iter().filter(|(file, _)| *file != "generic-oauth2.toml") {
        let table: Table = text.parse().expect("a built-in profile is TOML");
        let _ = section(&mut page, text, &table);
    }
    page
}

fn section(page: &mut String, text: &str, table: &Table) -> std::fmt::Result {
    let word = |key: &str| table.get(key).and_then(Value::as_str).unwrap_or_default();
    writeln!(page, "\n### {} (`{}`)\n", word("display_name"), word("name"))?;
    let intro: Vec<_> = text.lines().map_while(|line| line.strip_prefix("# ")).collect();
    writeln!(page, "{}\n", intro.join(" "))?;
    if let Some(Value::Table(variables)) = table.get("variables") {
        for (name, value) in variables {
            writeln!(page, "Variable `{name}`: {}.\n", cell(value))?;
        }
    }
    let sources = sources(table);
    writeln!(page, "| key | value | source |\n|---|---|---|")?;
    let values = values(table);
    for (key, value) in &values {
        writeln!(page, "| `{key}` | {value} | {} |", marks(&sources, key))?;
    }
    for key in DECISIVE.iter().filter(|key| !values.contains_key(**key)) {
        writeln!(page, "| `{key}` | unknown | |")?;
    }
    for key in ["errors", "bootstrap_errors"] {
        if let Some(Value::Table(rules)) = table.get(key) {
            let told: Vec<_> = rules.iter().map(|(code, rule)| rule_words(code, rule)).collect();
            writeln!(page, "| `{key}` | {} | {} |", told.join(", "), marks(&sources, key))?;
        }
    }
    writeln!(page)?;
    for (number, (told, _)) in sources.iter().enumerate() {
        writeln!(page, "{}. {told}", number + 1)?;
    }
    Ok(())
}

/// Each key with its value; the members of tables by themselves.
fn values(table: &Table) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    for (key, value) in table.iter().filter(|(key, _)| !ASIDE.contains(&key.as_str())) {
        match value {
            Value::Table(inner)
                if ["lifetimes", "quirks", "mtls_endpoint_aliases"].contains(&key.as_str()) =>
            {
                for (member, value) in inner {
                    values.insert(format!("{key}.{member}"), cell(value));
                }
            }
            value => drop(values.insert(key.clone(), cell(value))),
        }
    }
    values
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) if text == "unknown" || text.contains(' ') => text.clone(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(list) => list.iter().map(cell).collect::<Vec<_>>().join(", "),
        Value::Table(table) => {
            let each = |(key, value): (&String, &Value)| format!("`{key}` = {}", cell(value));
            table.iter().map(each).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn rule_words(code: &str, rule: &Value) -> String {
    let word = |key: &str| rule.get(key).and_then(Value::as_str);
    let reason = word("reason").map(|reason| format!(" ({reason})")).unwrap_or_default();
    format!("`{code}` {}{reason}", word("class").unwrap_or_default())
}

/// What is printed of each source, and the keys it speaks of.
fn sources(table: &Table) -> Vec<(String, Vec<String>)> {
    let list = table.get("sources").and_then(Value::as_array).cloned().unwrap_or_default();
    let each = |source: &Value| {
        let word = |key: &str| source.get(key).and_then(Value::as_str);
        let document = word("document").unwrap_or_default();
        let linked = word("url").map_or_else(|| document.to_owned(), |url| format!("[{document}]({url})"));
        let read = word("read").map(|day| format!(", read {day}")).unwrap_or_default();
        let says = source.get("says").and_then(Value::as_array).cloned().unwrap_or_default();
        let says = says.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        (format!("{linked}{read}"), says)
    };
    list.iter().map(each).collect()
}

fn marks(sources: &[(String, Vec<String>)], key: &str) -> String {
    let marks: Vec<_> = (1..)
        .zip(sources)
        .filter(|(_, (_, says))| says.iter().any(|said| said == key))
        .map(|(number, _)| number.to_string())
        .collect();
    marks.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_page_of_the_providers_says_what_their_files_say() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/providers.md");
        let present = std::fs::read_to_string(path).unwrap();
        let (head, rest) = present.split_once(BEGIN).unwrap();
        let (_, tail) = rest.split_once(END).unwrap();
        let fresh = format!("{head}{BEGIN}{}{END}{tail}", pages());
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &fresh).unwrap();
        } else {
            assert!(present == fresh, "docs/providers.md is stale: run `make docs`");
        }
    }
}
