//! What a Prometheus sees of a process, and waits for what becomes of it.

use super::{foreign::python, probes::Probes, until};
use parking_lot::Mutex;
use serde_json::Value;
use std::collections::BTreeSet;

/// One process that is scraped, and which of its metrics were seen to do as they should.
pub(crate) struct Scraped {
    pub(crate) at: Probes,
    seen: Mutex<BTreeSet<String>>,
}

impl Scraped {
    pub(crate) const fn new(at: Probes) -> Self {
        Self { at, seen: Mutex::new(BTreeSet::new()) }
    }

    pub(crate) async fn text(&self) -> String {
        let answered = self.at.get("/metrics").await;
        assert_eq!(answered.status, 200, "{answered:?}");
        answered.body
    }

    /// The sum of all series of this name with these labels, `name{label="value",…}`; `None`: there is none.
    pub(crate) async fn value(&self, series: &str) -> Option<f64> {
        value(&self.text().await, series)
    }

    /// Waits until the value is as wanted.
    pub(crate) async fn becomes(&self, series: &str, wanted: impl Fn(f64) -> bool) -> f64 {
        let value = until(&format!("{series} is as it should be"), || async {
            self.value(series).await.filter(|value| wanted(*value))
        })
        .await;
        self.note(series);
        value
    }

    /// Waits until it is this number of things.
    pub(crate) async fn counts(&self, series: &str, things: u32) {
        self.becomes(series, |value| (value - f64::from(things)).abs() < 0.5).await;
    }

    /// Waits until it is more than it was.
    pub(crate) async fn rises(&self, series: &str, before: Option<f64>) {
        self.becomes(series, |value| value > before.unwrap_or_default()).await;
    }

    fn note(&self, series: &str) {
        let name = series.split('{').next().unwrap();
        self.seen.lock().insert(name.to_owned());
    }

    /// The metrics that were seen to move, as queries name them without the endings of a histogram.
    pub(crate) fn moved(&self) -> BTreeSet<String> {
        let endings = ["_count", "_sum", "_bucket"];
        let family = |name: &String| {
            let ending = endings.iter().find_map(|ending| name.strip_suffix(ending));
            ending.unwrap_or(name).to_owned()
        };
        self.seen.lock().iter().map(family).collect()
    }
}

/// See [`Scraped::value`].
pub(crate) fn value(text: &str, series: &str) -> Option<f64> {
    let (name, wanted) = series.split_once('{').unwrap_or((series, ""));
    let wanted: Vec<_> = wanted.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
    let values = text.lines().filter_map(|line| {
        let (found, value) = line.rsplit_once(' ')?;
        let (found, labels) = found.split_once('{').unwrap_or((found, ""));
        let fits = found == name && wanted.iter().all(|label| labels.contains(label));
        fits.then(|| value.parse::<f64>().unwrap())
    });
    values.fold(None, |sum, value| Some(sum.unwrap_or_default() + value))
}

/// The families of an exposition, as a parser reads them that is not ours.
pub(crate) async fn families(text: &str) -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics.txt");
    std::fs::write(&file, text).unwrap();
    let found = python("metrics.py", &["read", file.to_str().unwrap()]).await;
    found.as_array().unwrap().clone()
}
