//! The npm package `oidc-provider` as a site of the matrix.

use super::{Method, PUBLIC_CLIENT, Registration, Site, Way};
use crate::support::{foreign::OidcProvider, person::Person, pki::Pki};
use serde_json::{Value, json};

pub(super) struct OidcProviderSite {
    server: OidcProvider,
    authority: String,
}

impl OidcProviderSite {
    pub(super) async fn start(pki: &Pki) -> Self {
        Self { server: OidcProvider::start_with_tls(pki).await, authority: pki.certificate() }
    }
}

#[async_trait::async_trait]
impl Site for OidcProviderSite {
    fn id(&self) -> &'static str {
        "oidc-provider"
    }

    fn title(&self) -> &'static str {
        "oidc-provider (npm)"
    }

    fn profile(&self, offered: &str) -> String {
        let (issuer, authority) = (&self.server.issuer, &self.authority);
        // All its endpoints, those for certificates too, are found from its issuer.
        format!(
            "extends = \"generic-oauth2\"\nname = \"oidc-provider\"\ndisplay_name = \"oidc-provider\"\n\
             issuer = \"{issuer}\"\ndiscovery = \"oidc\"\npushed_authorization = \"required\"\n{offered}\
             response_iss = \"required\"\noffline_scopes = [\"openid\", \"offline_access\"]\n\
             ca_certificates = \"\"\"\n{authority}\"\"\"\nrevocation = \"rfc7009\"\n\
             hosts = [\"127.0.0.1:*\"]\nrotation = \"always\"\nreuse = \"revoke_family\"\n\
             exchange_timeout = \"25s\"\n[authorization_parameters]\nprompt = \"consent\"\n"
        )
    }

    fn refuses(&self, way: Way, method: Method) -> Option<&'static str> {
        match (way, method) {
            (Way::ClientCredentials, Method::None) => Some(PUBLIC_CLIENT),
            (Way::Password | Way::JwtBearer | Way::TokenExchange, _) => {
                Some("the server does not have this grant")
            }
            (Way::AuthorizationCode | Way::DeviceCode | Way::ClientCredentials | Way::RefreshToken, _) => {
                None
            }
        }
    }

    fn scopes(&self) -> &'static [&'static str] {
        &[]
    }

    async fn register(&self, client: &Registration) {
        let mut metadata = json!({
            "client_id": client.id,
            "token_endpoint_auth_method": client.method.registered(),
            "token_endpoint_auth_signing_alg": client.method.algorithm(),
            "jwks": client.jwks,
            "client_secret": client.method.has_secret().then_some(self.secret()),
            "grant_types": [],
            "redirect_uris": [],
            "response_types": [],
        });
        match client.way {
            Way::ClientCredentials | Way::Password | Way::JwtBearer | Way::TokenExchange => {
                metadata["grant_types"] = json!(["client_credentials"]);
            }
            Way::DeviceCode => {
                metadata["grant_types"] =
                    json!(["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]);
            }
            Way::AuthorizationCode | Way::RefreshToken => {
                metadata["grant_types"] = json!(["authorization_code", "refresh_token"]);
                metadata["redirect_uris"] = json!(client.redirect_uris);
                metadata["response_types"] = json!(["code"]);
            }
        }
        match client.method {
            Method::TlsClientAuth => {
                metadata["tls_client_auth_san_dns"] = json!(format!("{}.clients.test", client.id));
            }
            Method::SelfSignedTlsClientAuth => metadata["certificate"] = json!(client.certificate),
            Method::ClientSecretBasic
            | Method::ClientSecretPost
            | Method::ClientSecretJwt
            | Method::PrivateKeyJwt(_)
            | Method::None => {}
        }
        metadata.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.server.register(&metadata).await;
    }

    async fn credential(&self, client: &Registration) -> String {
        self.server.mint(&client.id).await
    }

    fn user(&self) -> (&'static str, &'static str) {
        ("user", "")
    }

    /// It names the port that it was asked at, and people do not know the authority of the one with TLS.
    fn for_people(&self, address: &str) -> String {
        address.replace(&self.server.tls, &self.server.issuer)
    }

    fn person(&self) -> Person {
        Person::new(&[("login", "user"), ("password", "any")])
    }

    async fn introspect(&self, token: &str) -> Value {
        self.server.introspect(token).await
    }
}
