//! A real broker: `bursar serve` as a process of its own on the embedded store, driven by the command line.
//! Ends with its value, by process id. Speaks on loopback only.

use serde_json::Value;
use std::{path::PathBuf, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command},
};

/// How long a process may take until it serves.
pub(crate) const START_MAX: Duration = Duration::from_secs(20);
const PROGRAM: &str = env!("CARGO_BIN_EXE_bursar");

pub(crate) struct Broker {
    pub(crate) endpoint: String,
    _process: Child,
    _folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Standard output where it went well, standard error where it did not.
    pub(crate) said: Value,
}

impl Broker {
    /// Starts with one provider profile beside the built-in ones.
    pub(crate) async fn start(profile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { folder.path().join(name) };
        let made = run(&["keys", "generate", "--out", path("keyset").to_str().unwrap()], "").await;
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
        let mut process = clean(Command::new(PROGRAM))
            .args(["serve", "--config", path("bursar.toml").to_str().unwrap()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let log = process.stderr.take().unwrap();
        let address = tokio::time::timeout(START_MAX, address(log)).await.expect("the broker did not start");
        Self { endpoint: format!("http://{address}"), _process: process, _folder: folder }
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
        let output = run(&words, input).await;
        let said = if output.status.success() { &output.stdout } else { &output.stderr };
        Ended { code: output.status.code(), said: serde_json::from_slice(said).unwrap() }
    }
}

async fn run(words: &[&str], input: &str) -> std::process::Output {
    let mut process = clean(Command::new(PROGRAM))
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    // An error means that it did not want to know.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes()).await;
    process.wait_with_output().await.unwrap()
}

/// Without what the environment of the tests might set.
fn clean(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BURSAR_") {
            command.env_remove(name);
        }
    }
    command
}

/// Reads the log until it says where the process serves; goes on reading it, so that it does not block.
async fn address(log: tokio::process::ChildStderr) -> String {
    let mut lines = BufReader::new(log).lines();
    let mut seen = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        let entry: Value = serde_json::from_str(&line).unwrap_or_default();
        if let Some(address) = find(&entry, "address") {
            #[expect(clippy::disallowed_methods, reason = "ends with the process whose log it reads")]
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return address;
        }
        seen.push(line);
    }
    panic!("the broker ended before it served:\n{}", seen.join("\n"));
}

/// The text of a field, however deep the log's format puts it.
fn find(entry: &Value, field: &str) -> Option<String> {
    let object = entry.as_object()?;
    let here = object.get(field).and_then(Value::as_str).map(ToOwned::to_owned);
    here.or_else(|| object.values().find_map(|value| find(value, field)))
}
