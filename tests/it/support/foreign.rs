//! Programs that we did not write, as `make setup` installs them.

use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
};

/// How long a program may take until it serves.
const START_MAX: Duration = Duration::from_secs(20);
/// Of every client that the authorization server knows.
pub(crate) const CLIENT_SECRET: &str = "fixture-client-secret-of-32-chars";

/// The npm package `oidc-provider`, as tests/foreign/oidc-provider/op.mjs sets it up.
pub(crate) struct OidcProvider {
    pub(crate) issuer: String,
    http: reqwest::Client,
    /// It ends when its standard input does, so with this value, however the test ends.
    _process: Child,
}

/// A token request as the authorization server took it.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub(crate) struct TokenRequest {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    pub(crate) client_id: String,
    pub(crate) auth: String,
    pub(crate) grant_type: String,
    /// SHA-256, in hex.
    pub(crate) refresh_token: Option<String>,
    /// Whether another refresh token was issued for it.
    pub(crate) rotated: bool,
    pub(crate) status: u16,
    pub(crate) error: Option<String>,
}

impl OidcProvider {
    pub(crate) async fn start() -> Self {
        let folder = installed("oidc-provider/node_modules/ready").ancestors().nth(2).unwrap().to_owned();
        let mut process = Command::new("node")
            .arg("op.mjs")
            .current_dir(folder)
            .env("CLIENT_SECRET", CLIENT_SECRET)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node does not start: run `make setup`");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(START_MAX, lines.next_line()).await;
        let line = line.expect("oidc-provider did not start").unwrap().expect("oidc-provider ended");
        let said: Value = serde_json::from_str(&line).unwrap();
        // An error means that another test was first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { issuer: said["issuer"].as_str().unwrap().to_owned(), http, _process: process }
    }

    /// A refresh token of a user's grant.
    pub(crate) async fn mint(&self, client_id: &str) -> String {
        let minted = self.order("mint", client_id).await;
        minted["refresh_token"].as_str().unwrap().to_owned()
    }

    /// What users do who withdraw their consent.
    pub(crate) async fn revoke_grants(&self, client_id: &str) {
        self.order("revoke-grants", client_id).await;
    }

    async fn order(&self, what: &str, client_id: &str) -> Value {
        let url = format!("{}/test/{what}", self.issuer);
        let body = json!({ "client_id": client_id }).to_string();
        let answer = self.http.post(url).body(body).send().await.unwrap().error_for_status().unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// Every token request of a client so far.
    pub(crate) async fn journal(&self, client_id: &str) -> Vec<TokenRequest> {
        let answer = self.http.get(format!("{}/test/journal", self.issuer)).send().await.unwrap();
        let all: Vec<TokenRequest> = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        all.into_iter().filter(|request| request.client_id == client_id).collect()
    }
}

/// Runs a script of tests/foreign/python; what it printed.
pub(crate) async fn python(script: &str, arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ready = root.join(".tools/venv/ready");
    assert!(ready.exists(), "{} is missing: run `make setup`", ready.display());
    let output = Command::new(root.join(".tools/venv/bin/python"))
        .arg(root.join("tests/foreign/python").join(script))
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn installed(path: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign").join(path);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}
