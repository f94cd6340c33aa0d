//! The npm package `oidc-provider`, as tests/foreign/oidc-provider/op.mjs sets it up: each use replaces the refresh
//! token, and the second use of a replaced one ends the whole grant.

use super::{Served, Web, npm_folder};
use crate::support::pki::{Identity, Pki};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::process::Command;

/// Of every client that the server knows from the start.
pub(crate) const CLIENT_SECRET: &str = "fixture-client-secret-of-32-chars";

pub(crate) struct OidcProvider {
    pub(crate) issuer: String,
    /// Base of the endpoints with TLS; empty without.
    pub(crate) tls: String,
    web: Web,
    _process: Served,
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
        Self::start_as(|_| {}).await
    }

    /// With a second port, where clients show certificates.
    pub(crate) async fn start_with_tls(pki: &Pki) -> Self {
        let Identity { certificate, key } = pki.server();
        let tls = [("TLS_CA", pki.certificate()), ("TLS_CERTIFICATE", certificate), ("TLS_KEY", key)];
        let mut server = Self::start_as(|node| {
            node.envs(tls);
        })
        .await;
        let metadata = server.web.get(&format!("{}/.well-known/openid-configuration", server.issuer)).await;
        let endpoint = metadata["mtls_endpoint_aliases"]["token_endpoint"].as_str().unwrap();
        endpoint.strip_suffix("/token").unwrap().clone_into(&mut server.tls);
        server
    }

    async fn start_as(set: impl FnOnce(&mut Command)) -> Self {
        let mut node = Command::new("node");
        // It warns of being used in a test.
        node.arg("op.mjs").current_dir(npm_folder("oidc-provider")).stderr(Stdio::null());
        set(&mut node);
        let process = Served::start("oidc-provider", node.env("CLIENT_SECRET", CLIENT_SECRET)).await;
        Self { issuer: process.issuer.clone(), tls: String::new(), web: Web::new(), _process: process }
    }

    /// Registers a client, with metadata of RFC 7591.
    pub(crate) async fn register(&self, metadata: &Value) {
        self.order("client", metadata).await;
    }

    /// A refresh token of a user's grant.
    pub(crate) async fn mint(&self, client_id: &str) -> String {
        let minted = self.order("mint", &json!({ "client_id": client_id })).await;
        minted["refresh_token"].as_str().unwrap().to_owned()
    }

    /// What users do who withdraw their consent.
    pub(crate) async fn revoke_grants(&self, client_id: &str) {
        self.order("revoke-grants", &json!({ "client_id": client_id })).await;
    }

    async fn order(&self, what: &str, body: &Value) -> Value {
        self.web.post_json(&format!("{}/test/{what}", self.issuer), body).await
    }

    /// Every token request of a client so far.
    pub(crate) async fn journal(&self, client_id: &str) -> Vec<TokenRequest> {
        let all = self.web.get(&format!("{}/test/journal", self.issuer)).await;
        let all: Vec<TokenRequest> = serde_json::from_value(all).unwrap();
        all.into_iter().filter(|request| request.client_id == client_id).collect()
    }

    /// What the server says of a token to an API that asks (RFC 7662).
    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let url = format!("{}/token/introspection", self.issuer);
        self.web.post_form(&url, Some(("resource-server", CLIENT_SECRET)), &[("token", token)]).await
    }
}
