//! The catalogue against its document, and against what is written when somebody asks.

use super::*;
use crate::{
    clock::{Timestamp, TokioClock},
    monitor::{Metrics, Standing},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio_util::sync::CancellationToken;

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
const BEGIN: &str = "| metric | type | labels | what it tells |\n";

#[test]
fn the_reference_page_of_the_metrics_says_what_the_catalogue_does() {
    let page = std::fs::read_to_string(DOCUMENT).unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap_or((&page, "\n"));
    let after = rest.split_once("\n\n").map_or("", |(_, after)| after);
    let after = if after.is_empty() { String::new() } else { format!("\n{after}") };
    let written = format!("{before}{}{after}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(DOCUMENT, &written).unwrap();
        return;
    }
    assert!(
        page == written,
        "docs/metrics.md is stale: run `UPDATE_DOCS=1 cargo test --lib the_reference_page`"
    );
}

#[test]
fn names_are_as_prometheus_wants_them_and_each_is_there_once() {
    let mut names = BTreeSet::new();
    for metric in ALL {
        let name = metric.full_name();
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        let ours = name.starts_with("bursar_");
        assert!(ours || name.starts_with("rpc_") || name.starts_with("db_") || name.starts_with("process_"));
        for ending in ["_total", "_seconds", "_bytes", "_info", "_count", "_sum", "_bucket"] {
            assert!(!metric.name.ends_with(ending), "{name}: endings are added");
        }
        assert!(!metric.meaning.ends_with('.') && !metric.meaning.is_empty(), "{name}");
        assert!(metric.kind != Histogram || metric.unit == Seconds, "{name}: what is it a histogram of?");
        assert!(names.insert(name), "twice: {}", metric.name);
    }
}

/// Types by name, as an exposition declares them.
fn declared(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

#[tokio::test]
async fn nothing_is_written_that_is_not_in_the_catalogue_and_as_what_it_is_there() {
    let clock = Arc::new(TokioClock::starting_at(Timestamp::from_secs(1)));
    let standing = Standing::new(clock, Duration::ZERO, CancellationToken::new());
    let text = Metrics::new(standing, "redb").text().unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let known: BTreeMap<_, _> =
        ALL.iter().map(|metric| (format!("{}{}", metric.name, metric.unit.ending()), metric)).collect();
    let declared = declared(&text);
    assert!(declared.len() > 10, "{declared:?}");
    for (name, kind) in declared {
        let metric = known.get(&name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(format!("{:?}", metric.kind).to_lowercase(), kind, "{name}");
        let help = format!("# HELP {name} {}.\n", metric.meaning);
        assert!(text.contains(&help), "{help}");
        assert_eq!(text.contains(&format!("# UNIT {name} ")), metric.unit != Count, "{name}");
    }
}
