//! One pair of grant and client authentication, from the registration at the server to the end of the grant.

use super::{Method, Registration, Site, Way};
use crate::support::{
    api::{Api, TENANT, name},
    pki::Pki,
    until,
};
use bursar::api::{
    self, AuthorizationCodeGrant, AuthorizationCodeStart, CertificateInput, ClientCredentialsGrant,
    ClientSecretInput, CreateClientRequest, CreateConnectionRequest, DeviceCodeGrant, DeviceCodeStart,
    Environment, Grant, JwtBearerGrant, PasswordGrant, PrivateKeyInput, RefreshTokenGrant,
    RevokeConnectionRequest, SigningAlgorithm, StartAuthorizationRequest, TokenExchangeGrant,
    client_secret_input::Value as Secret, connection::State, grant::Kind, jwt_bearer_grant,
    start_authorization_request::Method as Start, start_authorization_response::NextStep,
};
use futures_util::FutureExt;
use std::{any::Any, collections::HashSet, panic::AssertUnwindSafe, sync::Arc};

pub(super) const REFRESHES: u64 = 2;

pub(super) struct Cell {
    pub(super) site: Arc<dyn Site>,
    pub(super) api: Api,
    pub(super) pki: Arc<Pki>,
    pub(super) way: Way,
    pub(super) method: Method,
}

pub(super) struct Outcome {
    pub(super) site: &'static str,
    pub(super) way: Way,
    pub(super) method: Method,
    pub(super) seen: Seen,
}

pub(super) enum Seen {
    /// What was proved, in the order in which it was.
    Proved(Vec<String>),
    /// The server has no such thing.
    NotOffered(&'static str),
    /// It should have worked.
    Failed(String),
}

impl Cell {
    pub(super) async fn run(self) -> Outcome {
        let (site, way, method) = (self.site.id(), self.way, self.method);
        let seen = match self.site.refuses(way, method) {
            Some(reason) => Seen::NotOffered(reason),
            None => Box::pin(caught(self.prove())).await,
        };
        Outcome { site, way, method, seen }
    }

    async fn prove(self) -> Vec<String> {
        let mut proved = Vec::new();
        let id =
            format!("{}-{}-{}", self.site.id(), self.way.registered(), self.method.id()).replace('_', "-");
        let mut registration = self.create_client(&id).await;
        self.site.register(&registration).await;
        let connected = self.connect(&mut registration).await;
        assert_eq!(connected.state(), State::Active, "{connected:?}");

        let mut tokens = HashSet::new();
        let client_id = id;
        let id = short(&client_id);
        let mut last = self.api.token(&id).await.unwrap();
        self.is_good(&client_id, &last).await;
        proved.push("token".to_owned());
        tokens.insert(last.access_token.clone());
        for _ in 0..self.way.refreshes() {
            // One that is asked for while the consent's own exchange is being finished joins that.
            let (api, id, before) = (&self.api, id.as_str(), last.generation);
            let newer = async || Some(api.refresh(id).await.unwrap()).filter(|now| now.generation > before);
            let refreshed = until("there is another token", newer).await;
            assert_eq!(refreshed.generation, last.generation + 1);
            last = api.token(id).await.unwrap();
            self.is_good(&client_id, &last).await;
            assert!(tokens.insert(last.access_token.clone()), "the same token again");
        }
        proved.extend(match self.way {
            Way::ClientCredentials | Way::JwtBearer => Some(format!("{REFRESHES} renewals")),
            Way::AuthorizationCode | Way::DeviceCode | Way::RefreshToken | Way::Password => {
                Some(format!("{REFRESHES} refreshes"))
            }
            Way::TokenExchange => None,
        });

        let request = RevokeConnectionRequest { name: name(&id), ..Default::default() };
        let revoked = self.api.connections.clone().revoke_connection(request).await.unwrap().into_inner();
        assert_eq!(revoked.state(), State::Revoked, "{revoked:?}");
        let said = self.site.introspect(&last.access_token).await;
        assert_eq!(said["active"], false, "the token outlives its grant: {said}");
        proved.push("revoked".to_owned());
        proved
    }

    /// The server itself says that the token is good, and whose it is.
    async fn is_good(&self, client_id: &str, token: &api::Token) {
        let said = self.site.introspect(&token.access_token).await;
        assert_eq!((&said["active"], &said["client_id"]), (&true.into(), &client_id.into()), "{said}");
        for scope in self.site.scopes() {
            assert!(token.scopes.iter().any(|granted| granted == scope), "{scope} not in {:?}", token.scopes);
        }
    }

    /// What the broker shows of the client is what the server is told of it.
    async fn create_client(&self, id: &str) -> Registration {
        let name = format!("{id}.clients.test");
        let client = api::Client {
            provider: format!("providers/{}", self.site.id()),
            client_id: id.into(),
            auth_method: self.method.of_api().into(),
            allowed_grants: vec![self.way.of_api().into()],
            environment: Environment::Sandbox.into(),
            ..api::Client::default()
        };
        let request = CreateClientRequest {
            parent: TENANT.into(),
            client_id: short(id),
            client: Some(client),
            client_secret: self.method.secret(self.site.secret(), &self.pki, &name),
        };
        let made = self.api.clients.clone().create_client(request).await.unwrap().into_inner();
        let certificate = made.secrets.first().map(|secret| secret.certificate_chain_pem.clone());
        Registration {
            id: id.into(),
            way: self.way,
            method: self.method,
            redirect_uris: vec!["https://elsewhere.test/callback".into()],
            jwks: Some(made.jwks)
                .filter(|keys| !keys.is_empty())
                .map(|keys| serde_json::from_str(&keys).unwrap()),
            certificate: certificate.filter(|certificate| !certificate.is_empty()),
        }
    }

    async fn connect(&self, registration: &mut Registration) -> api::Connection {
        let id = short(&registration.id);
        let (username, password) = self.site.user();
        let grant = match self.way {
            Way::AuthorizationCode => Kind::AuthorizationCode(AuthorizationCodeGrant::default()),
            Way::DeviceCode => Kind::DeviceCode(DeviceCodeGrant::default()),
            Way::ClientCredentials => Kind::ClientCredentials(ClientCredentialsGrant::default()),
            Way::RefreshToken => Kind::RefreshToken(RefreshTokenGrant {
                refresh_token: self.site.credential(registration).await,
                ..RefreshTokenGrant::default()
            }),
            Way::Password => {
                Kind::Password(PasswordGrant { username: username.into(), password: password.into() })
            }
            Way::JwtBearer => Kind::JwtBearer(JwtBearerGrant {
                source: Some(jwt_bearer_grant::Source::Subject(username.into())),
            }),
            Way::TokenExchange => Kind::TokenExchange(TokenExchangeGrant {
                subject_token: self.site.credential(registration).await,
                subject_token_type: "urn:ietf:params:oauth:token-type:access_token".into(),
                ..TokenExchangeGrant::default()
            }),
        };
        let connection = api::Connection {
            client: format!("{TENANT}/clients/{id}"),
            requested_scopes: self.site.scopes().iter().map(|&scope| scope.to_owned()).collect(),
            ..api::Connection::default()
        };
        let request = CreateConnectionRequest {
            parent: TENANT.into(),
            connection_id: id.clone(),
            connection: Some(connection),
            dpop_key_pem: String::new(),
            grant: Some(Grant { kind: Some(grant) }),
        };
        let made = self.api.connections.clone().create_connection(request).await.unwrap().into_inner();
        let started = match self.way {
            Way::AuthorizationCode => Start::AuthorizationCode(AuthorizationCodeStart::default()),
            Way::DeviceCode => Start::DeviceCode(DeviceCodeStart::default()),
            Way::ClientCredentials
            | Way::RefreshToken
            | Way::Password
            | Way::JwtBearer
            | Way::TokenExchange => {
                return made;
            }
        };
        assert_eq!(made.state(), State::Pending, "{made:?}");
        self.consent(registration, &id, started).await;
        let active = async || {
            Some(self.api.connection(&id).await.unwrap()).filter(|now| now.state() != State::Pending)
        };
        until("the connection is authorized", active).await
    }

    /// A person opens what the broker says, and consents.
    async fn consent(&self, registration: &mut Registration, id: &str, method: Start) {
        let request =
            StartAuthorizationRequest { name: name(id), method: Some(method), allow_principal_change: false };
        let started = self.api.connections.clone().start_authorization(request).await.unwrap().into_inner();
        let mut person = self.site.person();
        let arrival = match started.next_step.unwrap() {
            NextStep::AuthorizationCode(prompt) => {
                registration.redirect_uris = vec![prompt.redirect_uri];
                self.site.register(registration).await;
                person.go(&prompt.authorization_url, |_| false).await
            }
            NextStep::DeviceCode(prompt) => {
                person.go(&self.site.for_people(&prompt.verification_uri_complete), |_| false).await
            }
            NextStep::Otp(_) => panic!("nobody asked for a one-time password"),
        };
        assert_eq!(arrival.status, 200, "{arrival:?}");
        let led_back = registration.redirect_uris.iter().any(|back| arrival.url.as_str().starts_with(back));
        assert!(arrival.html.contains("<h1>") && (led_back || self.way == Way::DeviceCode), "{arrival:?}");
    }
}

/// An id of a resource: at most 63 characters.
fn short(id: &str) -> String {
    id.replace("client-secret", "secret")
        .replace("django-oauth-", "")
        .replace("authorization-", "")
        .replace("client-auth", "auth")
}

/// One that fails takes none of the others with it: all of them are in the report.
pub(super) async fn caught(proof: impl Future<Output = Vec<String>>) -> Seen {
    match AssertUnwindSafe(proof).catch_unwind().await {
        Ok(proved) => Seen::Proved(proved),
        Err(panicked) => Seen::Failed(words(panicked.as_ref())),
    }
}

fn words(panicked: &(dyn Any + Send)) -> String {
    let fixed = panicked.downcast_ref::<&str>().map(|&words| words.to_owned());
    fixed.or_else(|| panicked.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Method {
    /// As RFC 7591 and OpenID Connect call it.
    pub(super) fn registered(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::ClientSecretJwt => "client_secret_jwt",
            Self::PrivateKeyJwt(_) => "private_key_jwt",
            Self::TlsClientAuth => "tls_client_auth",
            Self::SelfSignedTlsClientAuth => "self_signed_tls_client_auth",
            Self::None => "none",
        }
    }

    /// As RFC 7518 and RFC 8037 call it.
    pub(super) fn algorithm(self) -> Option<&'static str> {
        match self {
            Self::PrivateKeyJwt(SigningAlgorithm::Es256) => Some("ES256"),
            Self::PrivateKeyJwt(SigningAlgorithm::Ps256) => Some("PS256"),
            Self::PrivateKeyJwt(SigningAlgorithm::Eddsa) => Some("EdDSA"),
            Self::PrivateKeyJwt(SigningAlgorithm::Rs256 | SigningAlgorithm::Unspecified)
            | Self::ClientSecretBasic
            | Self::ClientSecretPost
            | Self::ClientSecretJwt
            | Self::TlsClientAuth
            | Self::SelfSignedTlsClientAuth
            | Self::None => None,
        }
    }

    fn of_api(self) -> api::ClientAuthMethod {
        match self {
            Self::ClientSecretBasic => api::ClientAuthMethod::ClientSecretBasic,
            Self::ClientSecretPost => api::ClientAuthMethod::ClientSecretPost,
            Self::ClientSecretJwt => api::ClientAuthMethod::ClientSecretJwt,
            Self::PrivateKeyJwt(_) => api::ClientAuthMethod::PrivateKeyJwt,
            Self::TlsClientAuth => api::ClientAuthMethod::TlsClientAuth,
            Self::SelfSignedTlsClientAuth => api::ClientAuthMethod::SelfSignedTlsClientAuth,
            Self::None => api::ClientAuthMethod::None,
        }
    }

    /// As part of a name.
    fn id(self) -> String {
        let algorithm = self.algorithm().map(|name| format!("-{}", name.to_lowercase()));
        self.registered().to_owned() + &algorithm.unwrap_or_default()
    }

    pub(super) fn has_secret(self) -> bool {
        match self {
            Self::ClientSecretBasic | Self::ClientSecretPost | Self::ClientSecretJwt => true,
            Self::PrivateKeyJwt(_) | Self::TlsClientAuth | Self::SelfSignedTlsClientAuth | Self::None => {
                false
            }
        }
    }

    /// What the broker is told, for a client with a DNS name.
    fn secret(self, shared: &str, pki: &Pki, name: &str) -> Option<ClientSecretInput> {
        let value = match self {
            Self::ClientSecretBasic | Self::ClientSecretPost | Self::ClientSecretJwt => {
                Secret::SharedSecret(shared.into())
            }
            Self::PrivateKeyJwt(algorithm) => Secret::PrivateKey(PrivateKeyInput {
                generate: true,
                algorithm: algorithm.into(),
                ..PrivateKeyInput::default()
            }),
            Self::TlsClientAuth => {
                let identity = pki.client(name);
                Secret::Certificate(CertificateInput {
                    certificate_chain_pem: identity.certificate,
                    private_key_pem: identity.key,
                    ..CertificateInput::default()
                })
            }
            Self::SelfSignedTlsClientAuth => {
                Secret::Certificate(CertificateInput { generate: true, ..CertificateInput::default() })
            }
            Self::None => return None,
        };
        Some(ClientSecretInput { value: Some(value), ..ClientSecretInput::default() })
    }
}

impl Way {
    /// How often the test asks for another token; an exchanged token has no successor.
    fn refreshes(self) -> u64 {
        match self {
            Self::AuthorizationCode
            | Self::DeviceCode
            | Self::ClientCredentials
            | Self::RefreshToken
            | Self::Password
            | Self::JwtBearer => REFRESHES,
            Self::TokenExchange => 0,
        }
    }

    /// As RFC 6749 and its family call it.
    pub(super) fn registered(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::DeviceCode => "device_code",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::Password => "password",
            Self::JwtBearer => "jwt_bearer",
            Self::TokenExchange => "token_exchange",
        }
    }

    fn of_api(self) -> api::GrantType {
        match self {
            Self::AuthorizationCode => api::GrantType::AuthorizationCode,
            Self::DeviceCode => api::GrantType::DeviceCode,
            Self::ClientCredentials => api::GrantType::ClientCredentials,
            Self::RefreshToken => api::GrantType::RefreshToken,
            Self::Password => api::GrantType::Password,
            Self::JwtBearer => api::GrantType::JwtBearer,
            Self::TokenExchange => api::GrantType::TokenExchange,
        }
    }
}
