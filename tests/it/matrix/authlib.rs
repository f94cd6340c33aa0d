//! A server made with the PyPI package `Authlib` as a site of the matrix: for signed JWTs as grants.

use super::{Method, Registration, Site, Way};
use crate::support::{foreign::library::Library, person::Person};
use bursar::api::SigningAlgorithm;
use serde_json::{Value, json};

pub(super) struct AuthlibSite(Library);

impl AuthlibSite {
    pub(super) async fn start() -> Self {
        Self(Library::authlib().await)
    }
}

#[async_trait::async_trait]
impl Site for AuthlibSite {
    fn id(&self) -> &'static str {
        "authlib"
    }

    fn title(&self) -> &'static str {
        "Authlib (PyPI)"
    }

    fn profile(&self, offered: &str) -> String {
        let issuer = &self.0.issuer;
        format!(
            "extends = \"generic-oauth2\"\nname = \"authlib\"\ndisplay_name = \"Authlib\"\nissuer = \"{issuer}\"\n\
             {offered}\
             token_endpoint = \"{issuer}/token\"\nrevocation = \"rfc7009\"\n\
             revocation_endpoint = \"{issuer}/revoke\"\nhosts = [\"127.0.0.1:*\"]\nexchange_timeout = \"25s\"\n"
        )
    }

    fn refuses(&self, way: Way, method: Method) -> Option<&'static str> {
        match (way, method) {
            (
                Way::AuthorizationCode
                | Way::DeviceCode
                | Way::RefreshToken
                | Way::Password
                | Way::TokenExchange,
                _,
            ) => Some("the test does not set it up here: the servers above have it"),
            (
                _,
                Method::PrivateKeyJwt(
                    SigningAlgorithm::Ps256
                    | SigningAlgorithm::Eddsa
                    | SigningAlgorithm::Rs256
                    | SigningAlgorithm::Unspecified,
                ),
            ) => Some("the server refuses this algorithm as not recommended"),
            (_, Method::TlsClientAuth | Method::SelfSignedTlsClientAuth | Method::None) => {
                Some("the server does not have this way of authenticating")
            }
            (Way::ClientCredentials, _)
            | (Way::JwtBearer, Method::PrivateKeyJwt(SigningAlgorithm::Es256)) => None,
            (
                Way::JwtBearer,
                Method::ClientSecretBasic | Method::ClientSecretPost | Method::ClientSecretJwt,
            ) => Some("the grant is signed with the client's private key, and such a client has none"),
        }
    }

    fn scopes(&self) -> &'static [&'static str] {
        &["read"]
    }

    /// Takes the two parts of HTTP Basic as they are, where RFC 6749 section 2.3.1 has them encoded.
    fn secret(&self) -> &'static str {
        "a-secret-of-unreserved-characters-only"
    }

    async fn register(&self, client: &Registration) {
        let mut metadata = json!({
            "client_id": client.id,
            "token_endpoint_auth_method": client.method.registered(),
            "grant_types": ["client_credentials", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        });
        match &client.jwks {
            Some(keys) => metadata["jwks"] = keys.clone(),
            None => metadata["client_secret"] = json!(self.secret()),
        }
        self.0.register(&metadata).await;
    }

    async fn credential(&self, _client: &Registration) -> String {
        panic!("no grant here begins with one")
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
