//! A broker on the embedded store with one provider profile, driven by the command line as a person would.

use super::process::{Broker, run, run_with};
use serde_json::Value;
use std::path::PathBuf;

pub(crate) struct Driven {
    pub(crate) endpoint: String,
    _broker: Broker,
    _folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Standard output where it went well, standard error where it did not.
    pub(crate) said: Value,
}

impl Driven {
    pub(crate) async fn start(profile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { folder.path().join(name) };
        let made = run(&["keys", "generate", "--out", path("keyset").to_str().unwrap()]).await;
        assert!(made.status.success(), "{made:?}");
        std::fs::create_dir(path("providers")).unwrap();
        std::fs::write(path("providers").join("under-test.toml"), profile).unwrap();
        let config = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n[keys]\nkeyset_file = \"{}\"\n[providers]\ndir = \"{}\"\n\
             [egress]\naddresses = \"loopback\"\n",
            path("data").display(),
            path("keyset").display(),
            path("providers").display(),
        );
        std::fs::write(path("bursar.toml"), config).unwrap();
        let broker = Broker::serve(&path("bursar.toml")).await;
        Self { endpoint: format!("http://{}", broker.address()), _broker: broker, _folder: folder }
    }

    /// Runs a command that has to go well; what it printed.
    pub(crate) async fn ok(&self, line: &str) -> Value {
        self.ok_with(line, "").await
    }

    /// With `input` as standard input: where secrets come from.
    pub(crate) async fn ok_with(&self, line: &str, input: &str) -> Value {
        let ended = self.end(line, input).await;
        assert_eq!(ended.code, Some(0), "bursar {line}: {}", ended.said);
        ended.said
    }

    /// Runs a command; how it ended.
    pub(crate) async fn end(&self, line: &str, input: &str) -> Ended {
        let mut words: Vec<_> = line.split_whitespace().collect();
        words.extend(["--output", "json", "--endpoint", &self.endpoint]);
        let output = run_with(&words, input).await;
        let said = if output.status.success() { &output.stdout } else { &output.stderr };
        Ended { code: output.status.code(), said: serde_json::from_slice(said).unwrap() }
    }
}
