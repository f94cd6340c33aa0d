//! The PyPI package `django-oauth-toolkit` as a site of the matrix.

use super::{Method, PUBLIC_CLIENT, Registration, Site, Way};
use crate::support::{foreign::toolkit::Toolkit, person::Person};
use serde_json::{Value, json};

pub(super) struct ToolkitSite(Toolkit);

impl ToolkitSite {
    pub(super) async fn start() -> Self {
        Self(Toolkit::start().await)
    }
}

#[async_trait::async_trait]
impl Site for ToolkitSite {
    fn id(&self) -> &'static str {
        "django-oauth-toolkit"
    }

    fn title(&self) -> &'static str {
        "django-oauth-toolkit (PyPI)"
    }

    fn profile(&self, offered: &str) -> String {
        let issuer = &self.0.issuer;
        format!(
            "extends = \"generic-oauth2\"\nname = \"django-oauth-toolkit\"\ndisplay_name = \"Django OAuth Toolkit\"\n\
             issuer = \"{issuer}\"\n{offered}\
             authorization_endpoint = \"{issuer}/authorize/\"\nresponse_iss = \"required\"\n\
             device_authorization_endpoint = \"{issuer}/device-authorization/\"\n\
             token_endpoint = \"{issuer}/token/\"\nrevocation = \"rfc7009\"\n\
             revocation_endpoint = \"{issuer}/revoke_token/\"\nhosts = [\"127.0.0.1:*\"]\n\
             rotation = \"always\"\nreuse = \"revoke_family\"\nexchange_timeout = \"25s\"\n"
        )
    }

    fn refuses(&self, way: Way, method: Method) -> Option<&'static str> {
        match (way, method) {
            (Way::ClientCredentials, Method::None) => Some(PUBLIC_CLIENT),
            (Way::JwtBearer | Way::TokenExchange, _) => Some("the server does not have this grant"),
            (_, Method::ClientSecretBasic | Method::ClientSecretPost | Method::None) => None,
            (
                _,
                Method::ClientSecretJwt
                | Method::PrivateKeyJwt(_)
                | Method::TlsClientAuth
                | Method::SelfSignedTlsClientAuth,
            ) => Some("the server does not have this way of authenticating"),
        }
    }

    fn scopes(&self) -> &'static [&'static str] {
        &["read", "write"]
    }

    async fn register(&self, client: &Registration) {
        let grant = match client.way {
            Way::ClientCredentials | Way::JwtBearer | Way::TokenExchange => "client-credentials",
            Way::AuthorizationCode => "authorization-code",
            Way::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            // How the one got it who has it first.
            Way::RefreshToken | Way::Password => "password",
        };
        let secret = client.method.has_secret().then_some(self.secret());
        let application = json!({
            "client_id": client.id,
            "name": client.id,
            "authorization_grant_type": grant,
            "client_type": if secret.is_some() { "confidential" } else { "public" },
            "client_secret": secret.unwrap_or_default(),
            "redirect_uris": client.redirect_uris.join(" "),
        });
        self.0.register(&application).await;
    }

    async fn credential(&self, client: &Registration) -> String {
        let secret = client.method.has_secret().then_some(self.secret());
        self.0.refresh_token(&client.id, secret).await
    }

    fn user(&self) -> (&'static str, &'static str) {
        Toolkit::user()
    }

    fn person(&self) -> Person {
        Person::new(&[("allow", "Authorize"), ("action", "accept")])
    }

    async fn introspect(&self, token: &str) -> Value {
        self.0.introspect(token).await
    }
}
