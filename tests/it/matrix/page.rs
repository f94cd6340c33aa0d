//! docs/matrix.md: written from what was seen, and compared with what is in the repository.

use super::{
    METHODS, Method, Site, WAYS, Way,
    cell::{Outcome, Seen},
};
use std::{fmt::Write, sync::Arc};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/matrix.md");

const HEAD: &str = "\
# Grants and client authentication, as seen

<!-- Written by a test: `UPDATE_DOCS=1 cargo test --test it matrix` writes it anew. -->

Each cell is one connection of a running broker at an authorization server that is not ours, but for the last section,
which is about a simulator of our own: the client is registered there, the connection is made, and the server's own
introspection (RFC 7662) is asked about each access token. A cell says what was seen to work. A dash means that there is
nothing to see; the reasons are below each table, and so are the grants that are missing from it.

- *token*: the first access token, which the server calls active and the client's.
- *2 refreshes*, *2 renewals*: twice a new access token, with a refresh token or without one.
- *revoked*: after `RevokeConnection` the server calls the last access token inactive.
";

const CONCUR: &str = "
## SAP Concur, simulated

This server is **ours**: `bursar simulate concur`, written from SAP's public documentation. It proves that the broker does
what that documentation says, not that SAP's servers do. There is no introspection; each access token is checked against
the keys of the data centre where the company or person lives. Revoking is a `DELETE` with the last access token, and the
simulator has counted it.

| | `client_secret_post` |
|---|---|
";

/// Fails for each pair that did not work, and where the page says something else.
pub(super) fn compare(sites: &[Arc<dyn Site>], outcomes: &[Outcome], concur: &[(String, Seen)]) {
    let page = page(sites, outcomes) + &section(concur);
    println!("{page}");
    let foreign = outcomes
        .iter()
        .map(|outcome| (format!("{} {:?} {:?}", outcome.site, outcome.way, outcome.method), &outcome.seen));
    let ours = concur.iter().map(|(title, seen)| (format!("Concur {title}"), seen));
    let failed = foreign.chain(ours).filter_map(|(which, seen)| match seen {
        Seen::Failed(how) => Some(format!("{which}: {how}")),
        Seen::Proved(_) | Seen::NotOffered(_) => None,
    });
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{} failed:\n{}", failed.len(), failed.join("\n"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, &page).unwrap();
    }
    let there = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(there == page, "docs/matrix.md is stale: run `UPDATE_DOCS=1 cargo test --test it matrix`");
}

fn page(sites: &[Arc<dyn Site>], outcomes: &[Outcome]) -> String {
    let mut page = HEAD.to_owned();
    for site in sites {
        writeln!(page, "\n## {}\n", site.title()).unwrap();
        let titles: Vec<_> = METHODS.iter().map(|&method| heading(method)).collect();
        writeln!(page, "| | {} |\n|---|{}", titles.join(" | "), "---|".repeat(METHODS.len())).unwrap();
        let (mut reasons, mut absent) = (Vec::new(), Vec::new());
        for way in WAYS {
            let row: Vec<_> = outcomes
                .iter()
                .filter(|one| one.site == site.id() && one.way == way)
                .map(|one| &one.seen)
                .collect();
            if let Some(reason) = throughout(&row) {
                absent.push(format!("- {}: {reason}", title(way)));
                continue;
            }
            let cells: Vec<_> = row.into_iter().map(|seen| words(seen, &mut reasons)).collect();
            writeln!(page, "| {} | {} |", title(way), cells.join(" | ")).unwrap();
        }
        let reasons = reasons.iter().enumerate().map(|(number, reason)| format!("{}. {reason}", number + 1));
        for block in [reasons.collect(), absent] {
            if !block.is_empty() {
                writeln!(page, "\n{}", block.join("\n")).unwrap();
            }
        }
    }
    page
}

fn section(concur: &[(String, Seen)]) -> String {
    let mut section = CONCUR.to_owned();
    for (title, seen) in concur {
        writeln!(section, "| {title} | {} |", words(seen, &mut Vec::new())).unwrap();
    }
    section
}

/// The reason why a whole row is not there, if it is one.
fn throughout(row: &[&Seen]) -> Option<&'static str> {
    let reason = |seen: &&Seen| match seen {
        Seen::NotOffered(reason) => Some(*reason),
        Seen::Proved(_) | Seen::Failed(_) => None,
    };
    let first = row.first().and_then(reason)?;
    row.iter().all(|seen| reason(seen) == Some(first)).then_some(first)
}

fn words(seen: &Seen, reasons: &mut Vec<&'static str>) -> String {
    match seen {
        Seen::Proved(proved) => proved.join(", "),
        Seen::NotOffered(reason) => {
            let at = reasons.iter().position(|known| known == reason).unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            });
            format!("– ({})", at + 1)
        }
        Seen::Failed(_) => "failed".to_owned(),
    }
}

fn heading(method: Method) -> String {
    let algorithm = method.algorithm().map(|name| format!(" {name}"));
    format!("`{}`{}", method.registered(), algorithm.unwrap_or_default())
}

fn title(way: Way) -> String {
    format!("`{}`", way.registered())
}
