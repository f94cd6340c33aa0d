//! The grants of SAP Concur, at our own simulator of it: nobody else has written one, and what Concur does differs from
//! every other server.

use super::cell::{REFRESHES, Seen, caught};
use crate::support::{
    api::{Api, TENANT, name},
    driven::Driven,
    person::Person,
    scene::{Scene, Settings},
    until,
};
use bursar::{
    api::{
        self, AuthorizationCodeGrant, AuthorizationCodeStart, ClientCredentialsGrant, ClientSecretInput,
        CompanyRequestTokenGrant, CompleteAuthorizationRequest, CreateClientRequest, Environment, GrantType,
        OtpGrant, OtpResult, OtpStart, PasswordGrant, RevokeConnectionRequest, StartAuthorizationRequest,
        client_credentials_grant::Location, client_secret_input::Value as ClientSecret,
        complete_authorization_request::Completion, connection::State, grant::Kind,
        start_authorization_request::Method as Start, start_authorization_response::NextStep,
    },
    simulator::concur::{App, Kind as Who, NewApp, NewPrincipal},
};
use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use serde_json::Value;
use std::collections::HashSet;

/// Where the companies and people live: not where the first request goes.
const HOME: &str = "eu2";
const PASSWORD: &str = "a password in a sandbox";
const CONSENTS: &str = "consents@example.com";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    CompanyRequestToken,
    /// At this data centre.
    ClientCredentials(&'static str),
    AuthorizationCode,
    Otp,
    Password,
}

const WAYS: [Way; 7] = [
    Way::CompanyRequestToken,
    Way::ClientCredentials("us2"),
    Way::ClientCredentials("eu2"),
    Way::ClientCredentials("apj1"),
    Way::AuthorizationCode,
    Way::Otp,
    Way::Password,
];

struct Stage {
    scene: Scene,
    api: Api,
    _broker: Driven,
}

/// Who is connected, and with which app.
struct Held {
    id: String,
    app: App,
    /// As the simulator knows it.
    principal: String,
    home: String,
}

/// What was seen, by the titles of the rows.
pub(super) async fn seen() -> Vec<(String, Seen)> {
    let scene = Scene::new(Settings::default()).await;
    let broker = Driven::start(&scene.profile()).await;
    let api = Api::of(broker.address);
    api.create_tenant().await;
    let stage = Stage { scene, api, _broker: broker };
    let mut rows = Vec::new();
    for way in WAYS {
        rows.push((way.title(), Box::pin(caught(stage.prove(way))).await));
    }
    rows
}

impl Stage {
    async fn prove(&self, way: Way) -> Vec<String> {
        let held = self.connected(way).await;
        let connection = self.api.connection(&held.id).await.unwrap();
        assert_eq!(connection.state(), State::Active, "{connection:?}");
        let mut last = self.api.token(&held.id).await.unwrap();
        self.is_good(&held, &last).await;
        let mut tokens = HashSet::from([last.access_token.clone()]);
        for _ in 0..REFRESHES {
            // One that is asked for while the consent's own exchange is being finished joins that.
            let newer = async || {
                let now = self.api.refresh(&held.id).await.unwrap();
                Some(now).filter(|now| now.generation > last.generation)
            };
            let refreshed = until("there is another token", newer).await;
            assert_eq!(refreshed.generation, last.generation + 1);
            last = self.api.token(&held.id).await.unwrap();
            self.is_good(&held, &last).await;
            assert!(tokens.insert(last.access_token.clone()), "the same token again");
        }
        let request = RevokeConnectionRequest { name: name(&held.id), ..Default::default() };
        let revoked = self.api.connections.clone().revoke_connection(request).await.unwrap().into_inner();
        assert_eq!(revoked.state(), State::Revoked, "{revoked:?}");

        let counts = self.scene.simulator.counters().of(&held.principal);
        let wanted = match way {
            Way::ClientCredentials(_) => (1 + REFRESHES, 0, 1, 0),
            Way::CompanyRequestToken | Way::AuthorizationCode | Way::Otp | Way::Password => {
                (1, REFRESHES, 1, 0)
            }
        };
        assert_eq!((counts.granted, counts.refreshed, counts.revoked, counts.double_uses), wanted);
        self.went_where_it_has_to(way, &held);
        let renewed = match way {
            Way::ClientCredentials(_) => "renewals",
            Way::CompanyRequestToken | Way::AuthorizationCode | Way::Otp | Way::Password => "refreshes",
        };
        vec!["token".to_owned(), format!("{REFRESHES} {renewed}"), "revoked".to_owned()]
    }

    /// Signed by the data centre where its principal lives, for that principal and this app.
    async fn is_good(&self, held: &Held, token: &api::Token) {
        assert_eq!(token.api_base_url, held.home);
        let keys = reqwest::get(format!("{}/oauth2/v0/jwks", held.home)).await.unwrap();
        let keys: JwkSet = serde_json::from_slice(&keys.bytes().await.unwrap()).unwrap();
        let header = jsonwebtoken::decode_header(&token.access_token).unwrap();
        let mut rules = Validation::new(header.alg);
        rules.validate_aud = false;
        let read = keys.keys.iter().find_map(|key| {
            let key = DecodingKey::from_jwk(key).ok()?;
            jsonwebtoken::decode::<Value>(&token.access_token, &key, &rules).ok()
        });
        let claims = read.expect("a token that this data centre has signed").claims;
        let whose = (&claims["iss"], &claims["sub"], &claims["concur.appId"]);
        let wanted = [&held.home, &held.principal, &held.app.id].map(|text| Value::from(text.as_str()));
        assert_eq!(whose, (&wanted[0], &wanted[1], &wanted[2]));
    }

    /// The first exchange begins at the global data centre where Concur has it so; all that follows is at home.
    fn went_where_it_has_to(&self, way: Way, held: &Held) {
        let events = self.scene.simulator.events();
        let served = |grant: &str| -> Vec<_> {
            let ours = events.iter().filter(|event| {
                event.app.as_deref() == Some(&held.app.id) && event.grant == grant && event.status == 200
            });
            ours.map(|event| self.scene.base(&event.site)).collect()
        };
        let (grant, place) = match way {
            Way::CompanyRequestToken => ("password", self.scene.base("glz")),
            Way::AuthorizationCode => ("authorization_code", self.scene.base("glz")),
            Way::ClientCredentials(_) => ("client_credentials", held.home.clone()),
            Way::Otp => ("otp", held.home.clone()),
            Way::Password => ("password", held.home.clone()),
        };
        assert!(!served(grant).is_empty() && served(grant).iter().all(|site| *site == place), "{events:?}");
        assert!(served("refresh_token").iter().all(|site| *site == held.home), "{events:?}");
        assert_eq!(served("revoke"), std::slice::from_ref(&held.home));
        let posted = events.iter().filter(|event| event.endpoint == "token");
        assert!(posted.into_iter().all(|event| event.auth.as_deref() == Some("client_secret_post")));
    }

    async fn connected(&self, way: Way) -> Held {
        let id = way.id();
        let grants = ["refresh_token", "password", "client_credentials", "authorization_code", "otp"];
        let new = NewApp {
            grants: Some(grants.map(str::to_owned).into()),
            redirect_uris: vec!["http://127.0.0.1:*".to_owned()],
            ..NewApp::default()
        };
        let app = self.scene.simulator.app(new).unwrap();
        self.create_client(way, &id, &app).await;
        let principal = match way {
            Way::ClientCredentials(_) => app.id.clone(),
            Way::CompanyRequestToken => self.scene.simulator.company(HOME).unwrap(),
            Way::AuthorizationCode | Way::Otp | Way::Password => self.user(&way.login()),
        };
        let home = match way {
            Way::ClientCredentials(site) => self.scene.base(site),
            Way::CompanyRequestToken | Way::AuthorizationCode | Way::Otp | Way::Password => {
                self.scene.base(HOME)
            }
        };
        let grant = match way {
            Way::CompanyRequestToken => Kind::CompanyRequestToken(CompanyRequestTokenGrant {
                company_uuid: principal.clone(),
                request_token: self.scene.simulator.request_token(&principal, &app.id).unwrap().token,
                ..CompanyRequestTokenGrant::default()
            }),
            Way::ClientCredentials(site) => Kind::ClientCredentials(ClientCredentialsGrant {
                location: Some(Location::DataCenter(site.into())),
            }),
            Way::AuthorizationCode => Kind::AuthorizationCode(AuthorizationCodeGrant::default()),
            Way::Otp => Kind::Otp(OtpGrant {}),
            Way::Password => {
                Kind::Password(PasswordGrant { username: way.login(), password: PASSWORD.to_owned() })
            }
        };
        self.api.create(&id, &format!("{TENANT}/clients/{id}"), grant).await.unwrap();
        match way {
            Way::AuthorizationCode => self.consent(&id).await,
            Way::Otp => self.password_by_mail(&id, &way.login()).await,
            Way::CompanyRequestToken | Way::ClientCredentials(_) | Way::Password => {}
        }
        Held { id, app, principal, home }
    }

    fn user(&self, login: &str) -> String {
        let user = NewPrincipal {
            kind: Who::User,
            data_centre: Some(HOME.to_owned()),
            login: Some(login.to_owned()),
            password: Some(PASSWORD.to_owned()),
            ..NewPrincipal::default()
        };
        self.scene.simulator.principal(user).unwrap()
    }

    async fn create_client(&self, way: Way, id: &str, app: &App) {
        let client = api::Client {
            provider: "providers/concur-here".into(),
            client_id: app.id.clone(),
            allowed_grants: vec![way.of_api().into()],
            environment: Environment::Sandbox.into(),
            ..api::Client::default()
        };
        let secret = ClientSecretInput {
            value: Some(ClientSecret::SharedSecret(app.secrets[0].clone())),
            ..ClientSecretInput::default()
        };
        let request = CreateClientRequest {
            parent: TENANT.into(),
            client_id: id.into(),
            client: Some(client),
            client_secret: Some(secret),
        };
        self.api.clients.clone().create_client(request).await.unwrap();
    }

    async fn start(&self, id: &str, method: Start) -> NextStep {
        let request =
            StartAuthorizationRequest { name: name(id), method: Some(method), ..Default::default() };
        let started = self.api.connections.clone().start_authorization(request).await.unwrap();
        started.into_inner().next_step.unwrap()
    }

    /// A person opens what the broker says, and consents on the simulator's page.
    async fn consent(&self, id: &str) {
        let start = Start::AuthorizationCode(AuthorizationCodeStart::default());
        let NextStep::AuthorizationCode(prompt) = self.start(id, start).await else { panic!("no address") };
        let mut person = Person::new(&[("user", CONSENTS), ("decision", "allow")]);
        let arrival = person.go(&prompt.authorization_url, |_| false).await;
        assert!(arrival.url.as_str().starts_with(&prompt.redirect_uri), "{arrival:?}");
        assert!(arrival.status == 200 && arrival.html.contains("<h1>Authorized</h1>"), "{arrival:?}");
    }

    /// A person reads the mail, and types what is in it.
    async fn password_by_mail(&self, id: &str, to: &str) {
        let parameters = [("company".to_owned(), "Acme".to_owned())].into();
        let start = Start::Otp(OtpStart { email: to.to_owned(), parameters });
        let NextStep::Otp(_) = self.start(id, start).await else { panic!("no password") };
        let mails = self.scene.simulator.mailbox().unwrap();
        let mail = mails.into_iter().find(|mail| mail.to == to).expect("a mail");
        let result = Completion::Otp(OtpResult { otp: mail.otp });
        let request = CompleteAuthorizationRequest { name: name(id), completion: Some(result) };
        self.api.connections.clone().complete_authorization(request).await.unwrap();
    }
}

impl Way {
    fn id(self) -> String {
        match self {
            Self::ClientCredentials(site) => format!("client-credentials-{site}"),
            Self::CompanyRequestToken | Self::AuthorizationCode | Self::Otp | Self::Password => {
                self.registered().replace('_', "-")
            }
        }
    }

    fn title(self) -> String {
        match self {
            Self::ClientCredentials(site) => format!("`client_credentials` at `{site}`"),
            Self::CompanyRequestToken | Self::AuthorizationCode | Self::Otp | Self::Password => {
                format!("`{}`", self.registered())
            }
        }
    }

    /// The person's mail address.
    fn login(self) -> String {
        if self == Self::AuthorizationCode {
            CONSENTS.to_owned()
        } else {
            format!("{}@example.com", self.id())
        }
    }

    /// As profiles call it.
    fn registered(self) -> &'static str {
        match self {
            Self::CompanyRequestToken => "company_request_token",
            Self::ClientCredentials(_) => "client_credentials",
            Self::AuthorizationCode => "authorization_code",
            Self::Otp => "otp",
            Self::Password => "password",
        }
    }

    fn of_api(self) -> GrantType {
        match self {
            Self::CompanyRequestToken => GrantType::CompanyRequestToken,
            Self::ClientCredentials(_) => GrantType::ClientCredentials,
            Self::AuthorizationCode => GrantType::AuthorizationCode,
            Self::Otp => GrantType::Otp,
            Self::Password => GrantType::Password,
        }
    }
}
