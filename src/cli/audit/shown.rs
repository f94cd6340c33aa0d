//! Answers about trails, for people and for programs. A trail may have been written over by anybody: nothing of it
//! steers a terminal.

use super::super::{
    console::{Format, structured},
    table::{aligned, plain},
};
use crate::audit::{
    query::{About, Hit, Holding},
    verify::{Report, Weight},
};
use std::fmt::Write as _;

/// Digits of a digest that a table shows.
const SHORT: usize = 12;

fn rows<T>(heading: &[&str], items: &[T], row: impl Fn(&T) -> Vec<String>) -> String {
    let mut cells = vec![heading.iter().map(|cell| (*cell).to_owned()).collect()];
    let filled = |cell: String| if cell.is_empty() { "-".to_owned() } else { plain(&cell) };
    cells.extend(items.iter().map(|item| row(item).into_iter().map(filled).collect::<Vec<_>>()));
    aligned(cells)
}

pub(super) fn reports(reports: &[Report], format: Format) -> String {
    match format {
        Format::Json | Format::Yaml => return structured(&reports, format),
        Format::Table => {}
    }
    let mut text = String::new();
    for report in reports {
        let folder = plain(&report.folder);
        for found in &report.findings {
            let weight = match found.weight {
                Weight::Problem => "PROBLEM",
                Weight::Note => "note",
            };
            let file = plain(&found.file);
            // Writing to a `String` does not fail.
            let _ = match found.line {
                0 => writeln!(text, "{weight}  {folder}/{file}: {}", found.text),
                line => writeln!(text, "{weight}  {folder}/{file}:{line}: {}", found.text),
            };
        }
        if report.more > 0 {
            let _ = writeln!(text, "PROBLEM  {folder}: and {} more", report.more);
        }
        let verdict = if report.problems() == 0 { "sound" } else { "NOT SOUND" };
        let head =
            report.head.map(|head| format!(", head {}:{}", head.last_seq, head.head)).unwrap_or_default();
        let _ = writeln!(text, "{folder}: {verdict}, {} lines in {} files{head}", report.lines, report.files);
    }
    text
}

pub(super) fn heads(reports: &[Report], format: Format) -> String {
    #[derive(serde::Serialize)]
    struct Shown<'a> {
        folder: &'a str,
        chain: String,
        head: String,
    }
    let shown = |report: &Report| report.head.map(|head| format!("{}:{}", head.last_seq, head.head));
    let all: Vec<Shown<'_>> = reports
        .iter()
        .map(|report| Shown {
            folder: &report.folder,
            chain: report.chain.map(|chain| chain.to_string()).unwrap_or_default(),
            head: shown(report).unwrap_or_default(),
        })
        .collect();
    match format {
        Format::Table => rows(&["FOLDER", "CHAIN", "HEAD"], &all, |one| {
            vec![one.folder.to_owned(), one.chain.clone(), one.head.clone()]
        }),
        Format::Json | Format::Yaml => structured(&all, format),
    }
}

pub(super) fn holdings(holdings: &[Holding], format: Format) -> String {
    match format {
        Format::Json | Format::Yaml => return structured(&holdings, format),
        Format::Table => {}
    }
    let heading = ["CALLER", "CONNECTION", "TOKEN", "RELEASED", "LAST", "TIMES", "EXPIRES", "STATE"];
    rows(&heading, holdings, |held| {
        vec![
            held.caller.to_string(),
            held.connection.to_string(),
            held.token.to_string().chars().take(SHORT).collect(),
            held.released_at.to_string(),
            held.last_at.to_string(),
            held.count.to_string(),
            held.expires_at.to_string(),
            format!("{:?}", held.state).to_lowercase(),
        ]
    })
}

pub(super) fn hits(hits: &[Hit], format: Format) -> String {
    match format {
        Format::Json | Format::Yaml => return structured(&hits, format),
        Format::Table => {}
    }
    rows(&["TIME", "EVENT", "CALLER", "ACTION", "TARGET", "WHAT"], hits, |hit| {
        let about = About::of(&hit.line.event);
        let name = |name: Option<&crate::audit::Name>| name.map(ToString::to_string).unwrap_or_default();
        vec![
            hit.line.at.to_string(),
            about.word.to_owned(),
            name(about.caller),
            name(about.action),
            name(about.target),
            about.detail,
        ]
    })
}
