//! Programs that we did not write, as `make setup` installs them. Each ends with the value that stands for it, however
//! the test ends: it watches its standard input.

pub(crate) mod library;
pub(crate) mod oidc_provider;
pub(crate) mod toolkit;

pub(crate) use oidc_provider::{CLIENT_SECRET, OidcProvider, TokenRequest};

use super::AT_MOST;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::Mutex,
};

/// A server in a process of its own.
pub(crate) struct Served {
    /// What it calls itself.
    pub(crate) issuer: String,
    /// To put questions to it, and what it answers: one line each.
    pipes: Mutex<(ChildStdin, Lines<BufReader<ChildStdout>>)>,
    _process: Child,
}

impl Served {
    /// Starts it and waits for the one line `{"issuer": …}` that it prints when it serves.
    pub(crate) async fn start(name: &str, command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Not killed on drop: it ends by itself then, and cleans up.
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start, run `make setup`: {error}"));
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(AT_MOST, lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("{name} did not start in time"));
        let line = line.unwrap().unwrap_or_else(|| panic!("{name} ended at once"));
        let said: Value = serde_json::from_str(&line).unwrap();
        let pipes = Mutex::new((process.stdin.take().unwrap(), lines));
        Self { issuer: said["issuer"].as_str().unwrap().to_owned(), pipes, _process: process }
    }

    /// Of one that answers each line with one.
    pub(crate) async fn ask(&self, question: &Value) -> Value {
        let (to, from) = &mut *self.pipes.lock().await;
        to.write_all(format!("{question}\n").as_bytes()).await.unwrap();
        serde_json::from_str(&from.next_line().await.unwrap().unwrap()).unwrap()
    }
}

/// A program that talks to such a server itself: whoever had the refresh token before the broker, an API that looks a
/// token up.
#[derive(Clone)]
pub(crate) struct Web(reqwest::Client);

impl Web {
    pub(crate) fn new() -> Self {
        // An error means that another test was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        // A server may close an idle connection just as the next request is written to it.
        Self(reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap())
    }

    pub(crate) async fn get(&self, url: &str) -> Value {
        answer(url, self.0.get(url)).await
    }

    pub(crate) async fn post_json(&self, url: &str, body: &Value) -> Value {
        answer(url, self.0.post(url).body(body.to_string())).await
    }

    /// A form, as RFC 6749 has it, from a client that authenticates by HTTP Basic if it has a secret.
    pub(crate) async fn post_form(
        &self,
        url: &str,
        client: Option<(&str, &str)>,
        fields: &[(&str, &str)],
    ) -> Value {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let mut request =
            self.0.post(url).body(form).header("content-type", "application/x-www-form-urlencoded");
        if let Some((id, secret)) = client {
            let encode =
                |text: &str| -> String { url::form_urlencoded::byte_serialize(text.as_bytes()).collect() };
            request = request.basic_auth(encode(id), Some(encode(secret)));
        }
        answer(url, request).await
    }
}

async fn answer(url: &str, request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.unwrap();
    let (status, body) = (answer.status(), answer.bytes().await.unwrap());
    assert!(status.is_success(), "{url}: {status} {}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).unwrap()
}

/// Runs a script of tests/foreign/python; what it printed.
pub(crate) async fn python(script: &str, arguments: &[&str]) -> Value {
    let output = python_command(script).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = output.await.unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The folder of a package from PyPI, for what else than Python is in it.
pub(crate) fn python_package(name: &str) -> PathBuf {
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/venv/lib");
    let python = std::fs::read_dir(libraries).ok().and_then(|mut found| found.next()?.ok());
    let found = python.map(|it| it.path().join("site-packages").join(name)).filter(|folder| folder.is_dir());
    found.unwrap_or_else(|| panic!("{name} is missing: run `make setup`"))
}

/// A receiver of traces over TLS: tests/foreign/python/otlp_receiver.py.
pub(crate) async fn otlp_receiver(certificate: &Path, key: &Path) -> Served {
    let mut command = python_command("otlp_receiver.py");
    Served::start("otlp_receiver", command.arg(certificate).arg(key)).await
}

fn python_command(script: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ready = root.join(".tools/venv/ready");
    assert!(ready.exists(), "{} is missing: run `make setup`", ready.display());
    let mut command = Command::new(root.join(".tools/venv/bin/python"));
    command.arg(root.join("tests/foreign/python").join(script));
    command
}

/// A folder of tests/foreign whose npm packages are there.
pub(crate) fn npm_folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(name);
    let ready = folder.join("node_modules/ready");
    assert!(ready.exists(), "{} is missing: run `make setup`", ready.display());
    folder
}
