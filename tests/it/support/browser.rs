//! A real browser, Chromium, driven by tests/foreign/browser/browser.mjs.

use super::foreign::{Served, npm_folder};
use serde_json::{Value, json};
use std::{path::Path, process::Stdio, sync::Arc};
use tokio::process::Command;

const CHROMIUM: &str = "/usr/bin/chromium";

#[derive(Clone)]
pub(crate) struct Browser(Arc<Served>);

/// Somebody at a browser of their own: without cookies of anybody else.
pub(crate) struct Surfer {
    browser: Browser,
    number: Value,
}

/// What a person sees.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Page {
    pub(crate) url: String,
    pub(crate) status: Option<u16>,
    pub(crate) title: String,
    pub(crate) text: String,
}

/// What can be said of a page without knowing it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Check {
    pub(crate) lang: String,
    /// Texts of all `h1`.
    pub(crate) headings: Vec<String>,
    pub(crate) scripts: u32,
    pub(crate) html: String,
    /// Wider than the window.
    pub(crate) overflows: bool,
    pub(crate) headers: std::collections::BTreeMap<String, String>,
    /// URLs that were asked for besides the page's own.
    pub(crate) asked: Vec<String>,
    /// What the browser complained of.
    pub(crate) said: Vec<String>,
    /// What axe-core finds wrong.
    pub(crate) violations: Vec<String>,
}

impl Browser {
    pub(crate) async fn start() -> Self {
        assert!(
            Path::new(CHROMIUM).exists(),
            "{CHROMIUM} is missing: run `make setup`, or install Chromium there"
        );
        let mut node = Command::new("node");
        node.arg("browser.mjs")
            .current_dir(npm_folder("browser"))
            .env("CHROMIUM", CHROMIUM)
            .stderr(Stdio::null());
        Self(Arc::new(Served::start("Chromium", &mut node).await))
    }

    /// Another browser.
    pub(crate) async fn surfer(&self) -> Surfer {
        let made = self.0.ask(&json!({ "do": "person" })).await;
        Surfer { browser: self.clone(), number: made["person"].clone() }
    }
}

impl Surfer {
    pub(crate) async fn open(&self, url: &str) -> Page {
        self.page("open", json!({ "url": url })).await
    }

    /// Types into the field with this label.
    pub(crate) async fn fill(&self, label: &str, value: &str) {
        self.page("fill", json!({ "label": label, "value": value })).await;
    }

    pub(crate) async fn click(&self, role: &str, name: &str) -> Page {
        self.page("click", json!({ "role": role, "name": name })).await
    }

    pub(crate) async fn check(&self) -> Check {
        serde_json::from_value(self.ask("check", json!({})).await).unwrap()
    }

    /// A picture for people, target/pages/NAME.png.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("pages");
        std::fs::create_dir_all(&folder).unwrap();
        self.ask("picture", json!({ "path": folder.join(format!("{name}.png")) })).await;
    }

    async fn page(&self, what: &str, arguments: Value) -> Page {
        serde_json::from_value(self.ask(what, arguments).await).unwrap()
    }

    async fn ask(&self, what: &str, mut command: Value) -> Value {
        command["do"] = what.into();
        command["person"] = self.number.clone();
        let answer = self.browser.0.ask(&command).await;
        assert!(answer["error"].is_null(), "{command}: {}", answer["error"]);
        answer
    }
}
