//! The PyPI package `django-oauth-toolkit`, as tests/foreign/python/django_toolkit.py sets it up: refresh tokens are
//! replaced, and the second use of a replaced one ends all that came of it.

use super::{Served, Web, python_command};
use serde_json::{Value, json};

const USER: &str = "user";
const USER_PASSWORD: &str = "fixture password of the user";
const RESOURCE_SERVER: (&str, &str) = ("resource-server", "fixture-secret-of-the-resource-server");

pub(crate) struct Toolkit {
    /// Ends with `/o`, under which all endpoints are.
    pub(crate) issuer: String,
    web: Web,
    _process: Served,
    _database: tempfile::TempDir,
}

impl Toolkit {
    pub(crate) async fn start() -> Self {
        let database = tempfile::tempdir().unwrap();
        let mut python = python_command("django_toolkit.py");
        python.arg(database.path()).env("USER_PASSWORD", USER_PASSWORD);
        let process = Served::start("django-oauth-toolkit", &mut python).await;
        let toolkit =
            Self { issuer: process.issuer.clone(), web: Web::new(), _process: process, _database: database };
        let (id, secret) = RESOURCE_SERVER;
        let resource_server = json!({
            "client_id": id, "client_secret": secret, "client_type": "confidential",
            "authorization_grant_type": "client-credentials",
        });
        toolkit.register(&resource_server).await;
        toolkit
    }

    /// Registers a client: the fields of the toolkit's `Application`.
    pub(crate) async fn register(&self, application: &Value) {
        let host = self.issuer.strip_suffix("/o").unwrap();
        self.web.post_json(&format!("{host}/test/client"), application).await;
    }

    /// The user's name and password.
    pub(crate) fn user() -> (&'static str, &'static str) {
        (USER, USER_PASSWORD)
    }

    /// A refresh token as a program got it that asked the user for the password. `secret`: of a client that has one.
    pub(crate) async fn refresh_token(&self, client_id: &str, secret: Option<&str>) -> String {
        let grant = [("grant_type", "password"), ("username", USER), ("password", USER_PASSWORD)];
        let public = secret.is_none().then_some(("client_id", client_id));
        let fields: Vec<_> = grant.into_iter().chain(public).collect();
        let client = secret.map(|secret| (client_id, secret));
        let tokens = self.web.post_form(&format!("{}/token/", self.issuer), client, &fields).await;
        tokens["refresh_token"].as_str().unwrap().to_owned()
    }

    /// What the server says of a token to an API that asks (RFC 7662).
    pub(crate) async fn introspect(&self, token: &str) -> Value {
        let url = format!("{}/introspect/", self.issuer);
        self.web.post_form(&url, Some(RESOURCE_SERVER), &[("token", token)]).await
    }
}
