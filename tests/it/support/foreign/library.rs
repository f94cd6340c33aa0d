//! Servers made of PyPI libraries that leave it to their user to serve: `Authlib` (tests/foreign/python/authlib_server.py)
//! and `idpyoidc` (idpy_server.py).

use super::{Served, Web, python_command};
use serde_json::{Value, json};

const RESOURCE_SERVER: (&str, &str) = ("resource-server", "fixture-secret-of-the-resource-server");

pub(crate) struct Library {
    pub(crate) issuer: String,
    introspection: &'static str,
    web: Web,
    _process: Served,
}

impl Library {
    /// Takes signed JWTs as grants.
    pub(crate) async fn authlib() -> Self {
        Self::start("authlib_server.py", "introspect").await
    }

    /// Exchanges tokens.
    pub(crate) async fn idpy() -> Self {
        Self::start("idpy_server.py", "introspection").await
    }

    async fn start(script: &str, introspection: &'static str) -> Self {
        let process = Served::start(script, &mut python_command(script)).await;
        let server =
            Self { issuer: process.issuer.clone(), introspection, web: Web::new(), _process: process };
        let (id, secret) = RESOURCE_SERVER;
        let resource_server = json!({
            "client_id": id, "client_secret": secret, "token_endpoint_auth_method": "client_secret_post",
            "grant_types": ["introspection"],
        });
        server.register(&resource_server).await;
        server
    }

    /// Registers a client, with metadata of RFC 7591.
    pub(crate) async fn register(&self, metadata: &Value) {
        self.web.post_json(&format!("{}/test/client", self.issuer), metadata).await;
    }

    /// The access token that this client has of the one user.
    pub(crate) async fn users_token(&self, client_id: &str) -> String {
        let url = format!("{}/test/token", self.issuer);
        let tokens = self.web.post_json(&url, &json!({ "client_id": client_id })).await;
        tokens["access_token"].as_str().unwrap().to_owned()
    }

    /// What the server says of a token to an API that asks (RFC 7662).
    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let url = format!("{}/{}", self.issuer, self.introspection);
        let (id, secret) = RESOURCE_SERVER;
        let fields = [("token", token), ("client_id", id), ("client_secret", secret)];
        self.web.post_form(&url, None, &fields).await
    }
}
