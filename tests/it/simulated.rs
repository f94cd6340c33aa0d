//! The whole broker against the simulated OAuth 2.0 server, whose journal tells what was sent: consents, device codes,
//! pushed requests, resource indicators, bound tokens, assertions, exchanged tokens.

mod bound;
mod browsers;
mod consents;
mod signed;

use crate::support::{
    api::{Api, TENANT},
    driven::Driven,
    person::Person,
    until,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bursar::{
    api::{
        AuthorizationCodeGrant, AuthorizationCodePrompt, AuthorizationCodeStart, Connection, Token,
        connection::State, grant::Kind, start_authorization_request::Method as Start,
        start_authorization_response::NextStep,
    },
    clock::SystemClock,
    simulator::{
        journal::Event,
        oauth::{self, Authentication, NewClient, OAuthSimulator, Options, SITE},
    },
};
use serde_json::{Value, json};
use std::sync::Arc;

const PROVIDER: &str = "providers/simulated";

struct Stage {
    server: OAuthSimulator,
    broker: Driven,
    api: Api,
}

impl Stage {
    /// A server that behaves so, and a broker whose profile of it has these lines too.
    async fn new(behaviour: Value, lines: &str) -> Self {
        let server = oauth::start(Options::default(), Arc::new(SystemClock)).await.unwrap();
        server.change_behaviour(&behaviour).unwrap();
        let base = server.base_url(SITE).unwrap();
        let profile = format!(
            "extends = \"generic-oauth2\"\nname = \"simulated\"\ndisplay_name = \"Simulated\"\nissuer = \"{base}\"\n\
             grants = [\"authorization_code\", \"device_code\", \"refresh_token\", \"client_credentials\", \
             \"jwt_bearer\", \"token_exchange\"]\n\
             client_auth = [\"client_secret_basic\", \"private_key_jwt\", \"none\"]\n\
             authorization_endpoint = \"{base}/authorize\"\ntoken_endpoint = \"{base}/token\"\n\
             device_authorization_endpoint = \"{base}/device_authorization\"\n\
             pushed_authorization_request_endpoint = \"{base}/par\"\nresponse_iss = \"required\"\n\
             hosts = [\"127.0.0.1:*\"]\nrotation = \"always\"\nreuse = \"revoke_family\"\n\
             exchange_timeout = \"25s\"\n{lines}\n"
        );
        let broker = Driven::start(&profile).await;
        broker.ok("tenant create tenants/acme --display-name Acme").await;
        Self { server, api: Api::of(broker.address), broker }
    }

    /// A client with a secret, known on both sides.
    async fn client(&self, id: &str, grant: &str) {
        let client = self.server.client(known(id, Authentication::ClientSecretBasic)).unwrap();
        let line = format!(
            "client create {TENANT}/clients/{id} --provider {PROVIDER} --client-id {id} --environment sandbox \
             --auth-method client-secret-basic --allowed-grant {grant} --client-secret-file -"
        );
        self.broker.ok_with(&line, &client.secrets[0]).await;
    }

    /// A connection that waits for a person.
    async fn pending(&self, id: &str, client: &str, grant: Kind) {
        let made = self.api.create(id, &format!("{TENANT}/clients/{client}"), grant).await.unwrap();
        assert_eq!(made.state(), State::Pending);
    }

    async fn start_in_browser(&self, id: &str) -> AuthorizationCodePrompt {
        let started =
            self.api.start(id, Start::AuthorizationCode(AuthorizationCodeStart::default())).await.unwrap();
        let Some(NextStep::AuthorizationCode(prompt)) = started.next_step else { panic!("{started:?}") };
        prompt
    }

    /// Somebody consents in a browser, as the server's switches say.
    async fn consent(&self, id: &str) {
        let prompt = self.start_in_browser(id).await;
        let arrival = Person::new(&[]).go(&prompt.authorization_url, |_| false).await;
        assert_eq!(arrival.status, 200, "{arrival:?}");
        assert!(arrival.html.contains("<h1>Authorized</h1>"), "{arrival:?}");
        assert_eq!(self.api.connection(id).await.unwrap().state(), State::Active);
    }

    /// Waits until a person's answer has reached the broker.
    async fn decided(&self, id: &str, done: impl Fn(&Connection) -> bool) -> Connection {
        let look = || async { Some(self.api.connection(id).await.unwrap()).filter(&done) };
        until("the answer has arrived", look).await
    }

    /// What the server was asked at an endpoint, oldest first.
    fn asked(&self, endpoint: &str) -> Vec<Event> {
        self.server.events().into_iter().filter(|event| event.endpoint == endpoint).collect()
    }

    /// Nothing was refused, and no refresh token was spent twice.
    fn went_smoothly(&self) {
        let total = self.server.counters().total;
        assert_eq!((total.refused, total.failed, total.double_uses), (0, 0, 0), "{:?}", self.server.events());
    }

    async fn order(&self, word: &str, members: Value) {
        let url = format!("{}/control/{word}", self.server.control_url());
        let request = web().post(url).header("content-type", "application/json").body(members.to_string());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
    }
}

/// As the server has it.
fn known(id: &str, authentication: Authentication) -> NewClient {
    NewClient {
        id: Some(id.to_owned()),
        authentication,
        redirect_uris: vec!["http://127.0.0.1:*".to_owned()],
        ..NewClient::default()
    }
}

fn code_grant() -> Kind {
    Kind::AuthorizationCode(AuthorizationCodeGrant::default())
}

/// A program that asks, follows nothing and keeps nothing.
fn web() -> reqwest::Client {
    // An error means that another test was first.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// What a token says of itself.
fn claims(token: &Token) -> Value {
    let middle = token.access_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(middle).unwrap()).unwrap()
}

/// Everybody says yes.
fn willing() -> Value {
    json!({"authorize": {"consent": "allow", "pkce": "required"}})
}
