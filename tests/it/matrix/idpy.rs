//! A server made with the PyPI package `idpyoidc` as a site of the matrix: for exchanges of tokens.

use super::{Method, Registration, Site, Way};
use crate::support::{foreign::library::Library, person::Person};
use serde_json::{Value, json};

/// The client that has a token of the user.
const PORTAL: &str = "portal";

pub(super) struct IdpySite(Library);

impl IdpySite {
    pub(super) async fn start() -> Self {
        let server = Library::idpy().await;
        let portal = json!({
            "client_id": PORTAL, "client_secret": "fixture-secret-of-the-portal-itself",
            "token_endpoint_auth_method": "client_secret_post", "grant_types": ["authorization_code"],
        });
        server.register(&portal).await;
        Self(server)
    }
}

#[async_trait::async_trait]
impl Site for IdpySite {
    fn id(&self) -> &'static str {
        "idpyoidc"
    }

    fn title(&self) -> &'static str {
        "idpyoidc (PyPI)"
    }

    fn profile(&self, offered: &str) -> String {
        let issuer = &self.0.issuer;
        format!(
            "extends = \"generic-oauth2\"\nname = \"idpyoidc\"\ndisplay_name = \"idpyoidc\"\nissuer = \"{issuer}\"\n\
             {offered}assertion_audience = \"token_endpoint\"\n\
             token_endpoint = \"{issuer}/token\"\nrevocation = \"rfc7009\"\n\
             revocation_endpoint = \"{issuer}/revocation\"\nhosts = [\"127.0.0.1:*\"]\nexchange_timeout = \"25s\"\n"
        )
    }

    fn refuses(&self, way: Way, method: Method) -> Option<&'static str> {
        match (way, method) {
            (
                Way::AuthorizationCode | Way::DeviceCode | Way::RefreshToken | Way::Password | Way::JwtBearer,
                _,
            ) => Some("the test does not set it up here: the servers above have it"),
            (Way::ClientCredentials, _) => Some("the server answers with a token type that does not exist"),
            (_, Method::TlsClientAuth | Method::SelfSignedTlsClientAuth) => {
                Some("the server does not have this way of authenticating")
            }
            (_, Method::None) => Some("the test does not set up public clients here"),
            (
                Way::TokenExchange,
                Method::ClientSecretBasic
                | Method::ClientSecretPost
                | Method::ClientSecretJwt
                | Method::PrivateKeyJwt(_),
            ) => None,
        }
    }

    fn scopes(&self) -> &'static [&'static str] {
        &["profile"]
    }

    /// Takes the two parts of HTTP Basic as they are, where RFC 6749 section 2.3.1 has them encoded.
    fn secret(&self) -> &'static str {
        "a-secret-of-unreserved-characters-only"
    }

    async fn register(&self, client: &Registration) {
        let mut metadata = json!({
            "client_id": client.id,
            "token_endpoint_auth_method": client.method.registered(),
            "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange"],
        });
        match &client.jwks {
            Some(keys) => metadata["jwks"] = keys.clone(),
            None => metadata["client_secret"] = json!(self.secret()),
        }
        self.0.register(&metadata).await;
    }

    async fn credential(&self, _client: &Registration) -> String {
        self.0.users_token(PORTAL).await
    }

    fn user(&self) -> (&'static str, &'static str) {
        ("user", "")
    }

    fn person(&self) -> Person {
        panic!("nobody is asked here")
    }

    async fn introspect(&self, token: &str) -> Value {
        self.0.introspect(token).await
    }
}
