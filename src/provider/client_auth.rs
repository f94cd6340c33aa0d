//! Writes requests: which grant, and who asks (RFC 6749 §2.3). The forms come from the `oauth2` crate; sending
//! them and reading the answer is done elsewhere, because that crate's reader drops the headers, refuses what real
//! servers answer, and keeps whole bodies in its errors.

use super::egress::Outgoing;
use crate::domain::{
    profile::ClientAuth,
    token::{AccessToken, ClientSecret, RefreshToken, Secret},
};
use oauth2::{
    AuthType, ClientId, EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, RequestTokenError,
    ResourceOwnerPassword, ResourceOwnerUsername, RevocationUrl, Scope, StandardRevocableToken, TokenUrl,
    basic::BasicClient,
};
use std::{borrow::Cow, fmt};
use url::Url;

/// Who asks, with the one secret that is tried.
pub(super) struct Asking<'a> {
    pub(super) client_id: &'a str,
    pub(super) auth: ClientAuth,
    pub(super) secret: Option<&'a ClientSecret>,
}

/// What is asked for.
pub(super) enum Ask<'a> {
    RefreshToken(&'a RefreshToken),
    ClientCredentials,
    /// `password` with `credtype=authtoken` (SAP Concur).
    CompanyRequestToken {
        company_uuid: &'a str,
        request_token: &'a Secret,
    },
}

/// What is to be forgotten (RFC 7009).
pub(super) enum Forget<'a> {
    RefreshToken(&'a RefreshToken),
    AccessToken(&'a AccessToken),
}

/// Why no request was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotSpoken;

type Client = BasicClient<EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointNotSet, EndpointSet>;

/// Carries a request out of the `oauth2` crate, whose only way of showing one is to send it.
struct Drafted(Box<HttpRequest>);

impl Asking<'_> {
    /// A request for a token, to be sent to `endpoint`. No scopes, no `scope` parameter.
    pub(super) fn token_request(
        &self,
        endpoint: &Url,
        ask: &Ask<'_>,
        scopes: &[String],
    ) -> Result<Outgoing, NotSpoken> {
        let client = self.client(endpoint)?;
        let scopes = scopes.iter().cloned().map(Scope::new);
        let drafted = match ask {
            Ask::RefreshToken(token) => {
                let token = oauth2::RefreshToken::new(token.0.expose().to_owned());
                caught(client.exchange_refresh_token(&token).add_scopes(scopes).request(&draft))
            }
            Ask::ClientCredentials => {
                caught(client.exchange_client_credentials().add_scopes(scopes).request(&draft))
            }
            Ask::CompanyRequestToken { company_uuid, request_token } => {
                let username = ResourceOwnerUsername::new((*company_uuid).to_owned());
                let password = ResourceOwnerPassword::new(request_token.expose().to_owned());
                let request = client.exchange_password(&username, &password).add_scopes(scopes);
                caught(request.add_extra_param("credtype", Cow::from("authtoken")).request(&draft))
            }
        };
        drafted.map(|request| outgoing(request, endpoint))
    }

    /// An RFC 7009 request.
    pub(super) fn revocation_request(
        &self,
        endpoint: &Url,
        forget: &Forget<'_>,
    ) -> Result<Outgoing, NotSpoken> {
        // The crate drafts for https only; where a request may go is decided at the egress.
        let placeholder =
            RevocationUrl::new("https://revocation.invalid".to_owned()).map_err(|_| NotSpoken)?;
        let client = self.client(endpoint)?.set_revocation_url(placeholder);
        let token = match forget {
            Forget::RefreshToken(token) => {
                StandardRevocableToken::RefreshToken(oauth2::RefreshToken::new(token.0.expose().to_owned()))
            }
            Forget::AccessToken(token) => {
                StandardRevocableToken::AccessToken(oauth2::AccessToken::new(token.0.expose().to_owned()))
            }
        };
        let request = client.revoke_token(token).map_err(|_| NotSpoken)?;
        caught(request.request(&draft)).map(|request| outgoing(request, endpoint))
    }

    fn client(&self, endpoint: &Url) -> Result<Client, NotSpoken> {
        let auth_type = match self.auth {
            ClientAuth::ClientSecretBasic => AuthType::BasicAuth,
            ClientAuth::ClientSecretPost | ClientAuth::None => AuthType::RequestBody,
            ClientAuth::ClientSecretJwt
            | ClientAuth::PrivateKeyJwt
            | ClientAuth::TlsClientAuth
            | ClientAuth::SelfSignedTlsClientAuth => return Err(NotSpoken),
        };
        let client = BasicClient::new(ClientId::new(self.client_id.to_owned()))
            .set_auth_type(auth_type)
            .set_token_uri(TokenUrl::from_url(endpoint.clone()));
        match (self.auth, self.secret) {
            (ClientAuth::None, _) => Ok(client),
            (_, Some(secret)) => {
                Ok(client.set_client_secret(oauth2::ClientSecret::new(secret.0.expose().to_owned())))
            }
            (_, None) => Err(NotSpoken),
        }
    }
}

fn draft(request: HttpRequest) -> Result<HttpResponse, Drafted> {
    Err(Drafted(Box::new(request)))
}

fn caught<T, E: oauth2::ErrorResponse + 'static>(
    result: Result<T, RequestTokenError<Drafted, E>>,
) -> Result<HttpRequest, NotSpoken> {
    match result {
        Err(RequestTokenError::Request(drafted)) => Ok(*drafted.0),
        Ok(_) | Err(_) => Err(NotSpoken),
    }
}

fn outgoing(request: HttpRequest, endpoint: &Url) -> Outgoing {
    let (mut parts, body) = request.into_parts();
    if let Some(credentials) = parts.headers.get_mut(http::header::AUTHORIZATION) {
        credentials.set_sensitive(true);
    }
    Outgoing { method: parts.method, url: endpoint.clone(), headers: parts.headers, body }
}

impl fmt::Debug for Drafted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[drafted request]")
    }
}

impl fmt::Display for Drafted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("request was drafted, not sent")
    }
}

impl std::error::Error for Drafted {}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(auth: ClientAuth, secret: &ClientSecret) -> Asking<'_> {
        Asking { client_id: "cli:ent", auth, secret: Some(secret) }
    }

    fn written(auth: ClientAuth, ask: &Ask<'_>, scopes: &[&str]) -> (Option<String>, String) {
        let secret = ClientSecret(Secret::new("s e+c/r%t"));
        let endpoint = Url::parse("http://127.0.0.1:1/token").unwrap();
        let scopes: Vec<_> = scopes.iter().map(ToString::to_string).collect();
        let request = asking(auth, &secret).token_request(&endpoint, ask, &scopes).unwrap();
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request.headers["accept"], "application/json");
        let credentials = request.headers.get("authorization").map(|v| {
            assert!(v.is_sensitive());
            v.to_str().unwrap().to_owned()
        });
        (credentials, String::from_utf8(request.body).unwrap())
    }

    #[test]
    fn requests_are_written_as_rfc_6749_says() {
        let token = RefreshToken(Secret::new("r&1"));
        let request_token = Secret::new("at-1");
        let company = Ask::CompanyRequestToken { company_uuid: "uuid", request_token: &request_token };
        let post = ClientAuth::ClientSecretPost;
        assert_eq!(
            written(post, &Ask::RefreshToken(&token), &[]),
            (None, "grant_type=refresh_token&refresh_token=r%261&client_id=cli%3Aent&client_secret=s+e%2Bc%2Fr%25t".into())
        );
        assert_eq!(
            written(post, &company, &[]),
            (
                None,
                "grant_type=password&username=uuid&password=at-1&client_id=cli%3Aent&client_secret=s+e%2Bc%2Fr%25t&credtype=authtoken".into()
            )
        );
        let (credentials, body) =
            written(ClientAuth::ClientSecretBasic, &Ask::ClientCredentials, &["a", "b"]);
        assert_eq!(body, "grant_type=client_credentials&scope=a+b");
        // §2.3.1: both halves are form-encoded before they are joined.
        let encoded =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "cli%3Aent:s+e%2Bc%2Fr%25t");
        assert_eq!(credentials, Some(format!("Basic {encoded}")));
        let (_, body) = written(ClientAuth::None, &Ask::ClientCredentials, &[]);
        assert_eq!(body, "grant_type=client_credentials&client_id=cli%3Aent");
    }

    #[test]
    fn a_method_that_is_not_spoken_writes_no_request() {
        let secret = ClientSecret(Secret::new("s"));
        let endpoint = Url::parse("https://a.example").unwrap();
        for auth in [ClientAuth::PrivateKeyJwt, ClientAuth::ClientSecretJwt, ClientAuth::TlsClientAuth] {
            let request = asking(auth, &secret).token_request(&endpoint, &Ask::ClientCredentials, &[]);
            assert!(request.is_err());
        }
        let nobody = Asking { client_id: "c", auth: ClientAuth::ClientSecretPost, secret: None };
        assert!(nobody.token_request(&endpoint, &Ask::ClientCredentials, &[]).is_err());
    }

    #[test]
    fn a_drafted_request_shows_nothing() {
        let request =
            http::Request::builder().uri("https://a.example/?canary").body(b"canary".to_vec()).unwrap();
        let error = draft(request).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("canary"));
    }
}
