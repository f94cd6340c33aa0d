//! Connections in CSV (RFC 4180), with a line of headings.

use super::entry::{FIELDS, Place, Raw};
use crate::domain::token::Secret;
use csv::{ReaderBuilder, StringRecord, Trim};

/// Reads every record; the columns may come in any order.
pub(super) fn read(text: &str) -> Result<Vec<Raw>, String> {
    // Of a line that ends in two characters the reader counts the second one to the next line.
    let text = Secret::new(text.replace("\r\n", "\n"));
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text.expose().as_bytes());
    let headings = reader.headers().map_err(|error| broken(&error))?.clone();
    check(&headings)?;
    let mut entries = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| broken(&error))?;
        let line = record.position().map_or(0, csv::Position::line);
        let mut raw = Raw::at(Place::Line(line));
        for (heading, value) in headings.iter().zip(&record) {
            put(&mut raw, heading, value);
        }
        entries.push(raw);
    }
    Ok(entries)
}

fn put(raw: &mut Raw, heading: &str, value: &str) {
    if value.is_empty() {
        return;
    }
    let value = || value.to_owned();
    match heading {
        "connection" => raw.connection = value(),
        "client" => raw.client = value(),
        "refresh_token" => raw.refresh_token = Some(Secret::new(value())),
        "api_base_url" => raw.api_base_url = value(),
        "refresh_token_expire_time" => raw.expire_time = value(),
        "scopes" => raw.scopes = value().split_whitespace().map(str::to_owned).collect(),
        "labels" => raw.labels = labels(&value()),
        // Headings were checked.
        _ => {}
    }
}

/// `a=b;c=d`; what has no `=` is a key without value, which the check refuses.
fn labels(text: &str) -> Vec<(String, String)> {
    let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| match pair.split_once('=') {
            Some((key, value)) => (key.trim().to_owned(), value.trim().to_owned()),
            None => (String::new(), pair.to_owned()),
        })
        .collect()
}

fn check(headings: &StringRecord) -> Result<(), String> {
    // A file without headings begins with a token or a name: not repeated.
    for heading in headings {
        if !FIELDS.contains(&heading) {
            let nearest = FIELDS
                .iter()
                .max_by(|a, b| strsim::jaro_winkler(heading, a).total_cmp(&strsim::jaro_winkler(heading, b)));
            let guess = nearest
                .filter(|field| strsim::jaro_winkler(heading, field) > 0.8)
                .map(|field| format!(" (did you mean {field}?)"))
                .unwrap_or_default();
            return Err(format!(
                "the first line has to be the headings, and one of them is none{guess}: use {}",
                FIELDS.join(", ")
            ));
        }
    }
    for (index, heading) in headings.iter().enumerate() {
        if headings.iter().skip(index + 1).any(|other| other == heading) {
            return Err(format!("the heading {heading} is there twice"));
        }
    }
    for needed in ["connection", "refresh_token"] {
        if !headings.iter().any(|heading| heading == needed) {
            return Err(format!("the column {needed} is missing"));
        }
    }
    Ok(())
}

/// What is wrong with the form of the file, without the text that is.
fn broken(error: &csv::Error) -> String {
    let line = error.position().map_or(0, csv::Position::line);
    match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => format!(
            "line {line} has {len} columns where the headings have {expected_len}: put values with a comma or a \
             quote in double quotes"
        ),
        _ => format!("line {line} is not CSV: check its double quotes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_come_in_any_order_and_values_in_quotes() {
        let text = "labels,refresh_token , connection,scopes\r\n\
                    team=pay; plan = gold ,\"a,\"\"b\",one,openid  user.read\r\n\
                    ,t2,\"two\",\r\n";
        let entries = read(text).unwrap();
        assert_eq!(entries.len(), 2);
        let first = &entries[0];
        assert_eq!((first.place, first.connection.as_str()), (Place::Line(2), "one"));
        assert_eq!(first.refresh_token.as_ref().unwrap().expose(), "a,\"b");
        assert_eq!(first.scopes, ["openid", "user.read"]);
        let labels: Vec<_> = first.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(labels, [("team", "pay"), ("plan", "gold")]);
        assert_eq!(entries[1].place, Place::Line(3));
        assert!(entries[1].labels.is_empty() && entries[1].scopes.is_empty());
    }

    #[test]
    fn a_file_of_another_form_is_refused_without_repeating_it() {
        let cases = [
            ("connection,refresh_tokn\nx,canary\n", "did you mean refresh_token"),
            ("tenants/a/connections/b,canary\n", "headings"),
            ("connection,client\na,b\n", "refresh_token is missing"),
            ("connection,refresh_token,connection\na,b,c\n", "twice"),
            ("connection,refresh_token\na,canary,b\n", "line 2 has 3 columns"),
            ("", "missing"),
        ];
        for (text, want) in cases {
            let wrong = read(text).map(|_| ()).unwrap_err();
            assert!(wrong.contains(want) && !wrong.contains("canary"), "{wrong}");
        }
    }
}
