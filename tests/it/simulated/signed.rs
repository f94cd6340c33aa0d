//! What is signed: assertions of the broker's own key, which the server finds at the broker, assertions and tokens of
//! others.

use super::{PROVIDER, Stage, claims, known, web};
use crate::support::api::{TENANT, reason};
use bursar::{
    api::{JwtBearerGrant, connection::State, grant::Kind, jwt_bearer_grant::Source, state_reason::Reason},
    clock::{Clock, SystemClock},
    domain::profile::SigningAlg,
    provider::keys::SigningKey,
    simulator::oauth::{Authentication, NewClient, SITE},
};
use serde_json::{Value, json};

impl Stage {
    /// A client that signs with a key which the broker has made.
    async fn keyed(&self, id: &str, grant: &str) {
        let line = format!(
            "client create {TENANT}/clients/{id} --provider {PROVIDER} --client-id {id} --environment sandbox \
             --auth-method private-key-jwt --generate-key es256 --allowed-grant {grant}"
        );
        self.broker.ok(&line).await;
    }

    /// As a server that is told the `jwks_uri` has them.
    async fn keys(&self, path: &str) -> (u16, Value) {
        let url = format!("{}/clients/{path}/jwks.json", self.broker.public_url);
        let answer = web().get(url).send().await.unwrap();
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let text = answer.text().await.unwrap();
        if status != 200 {
            assert_eq!(status, 404, "{text}");
            assert!(text.contains("<h1>Nothing here</h1>"), "{text}");
            return (status, Value::Null);
        }
        assert_eq!(headers["content-type"], "application/jwk-set+json");
        assert_eq!(headers["cache-control"], "max-age=300");
        (status, serde_json::from_str(&text).unwrap())
    }

    /// What the server knows of the client: the keys that it finds at the broker.
    async fn registered(&self, id: &str) {
        let keys = Some(self.keys(&format!("acme/{id}")).await.1);
        let client = NewClient { jwks: keys, ..known(id, Authentication::PrivateKeyJwt) };
        self.server.client(client).unwrap();
    }
}

#[tokio::test]
async fn a_clients_keys_are_found_where_the_callback_listens_and_nothing_else_of_it() {
    let stage = Stage::new(json!({}), "").await;
    stage.keyed("app", "jwt-bearer").await;
    let (_, keys) = stage.keys("acme/app").await;
    let key = keys["keys"][0].as_object().unwrap();
    let mut members: Vec<_> = key.keys().map(String::as_str).collect();
    members.sort_unstable();
    assert_eq!(
        (keys["keys"].as_array().unwrap().len(), members),
        (1, vec!["alg", "crv", "kid", "kty", "use", "x", "y"])
    );
    let added = format!("client secret add {TENANT}/clients/app --generate-key eddsa");
    stage.broker.ok(&added).await;
    let (_, both) = stage.keys("acme/app").await;
    assert_eq!(both["keys"].as_array().unwrap().len(), 2, "{both}");
    let shown = stage.api.client(&format!("{TENANT}/clients/app")).await.jwks;
    assert_eq!(both, serde_json::from_str::<Value>(&shown).unwrap());

    let line = format!(
        "client create platform/clients/shared --provider {PROVIDER} --client-id shared --environment sandbox \
         --auth-method private-key-jwt --generate-key es256 --allowed-grant jwt-bearer"
    );
    stage.broker.ok(&line).await;
    assert_eq!(stage.keys("shared").await.1["keys"].as_array().unwrap().len(), 1);
    stage.client("secretive", "client-credentials").await;
    for absent in ["acme/secretive", "acme/nobody", "nobody/app", "platform/shared", "app"] {
        assert_eq!(stage.keys(absent).await.0, 404, "{absent}");
    }
}

#[tokio::test]
async fn the_broker_signs_a_new_assertion_for_a_subject_at_each_refresh() {
    let stage = Stage::new(json!({}), "").await;
    stage.keyed("app", "jwt-bearer").await;
    stage.registered("app").await;
    let line = format!(
        "connection create {TENANT}/connections/c0 --client {TENANT}/clients/app jwt-bearer --subject Wanda"
    );
    stage.broker.ok(&line).await;
    for generation in 1..=3 {
        let token = stage.api.token("c0").await.unwrap();
        assert_eq!((claims(&token)["sub"].clone(), token.generation), (json!("wanda"), generation));
        stage.api.refresh("c0").await.unwrap();
    }
    let asked = stage.asked("token");
    assert_eq!(asked.len(), 4, "one each: the server takes none twice");
    for event in &asked {
        assert_eq!(event.grant, "urn:ietf:params:oauth:grant-type:jwt-bearer");
        assert_eq!(event.auth.as_deref(), Some("private_key_jwt"));
    }
    stage.went_smoothly();

    // The key is no longer the client's: nothing is granted, and what is good is served.
    let retired =
        NewClient { jwks: Some(json!({"keys": []})), ..known("app", Authentication::PrivateKeyJwt) };
    stage.server.client(retired).unwrap();
    assert_eq!(reason(&stage.api.refresh("c0").await.unwrap_err()), "CLIENT_REFUSED");
    assert_eq!(stage.api.token("c0").await.unwrap().generation, 4);
}

#[tokio::test]
async fn an_assertion_of_somebody_else_is_good_for_one_token() {
    let stage = Stage::new(json!({"access_token_seconds": 12}), "").await;
    stage.client("app", "jwt-bearer").await;
    let pem = SigningKey::generate(SigningAlg::Es256).unwrap();
    let key = SigningKey::from_pem(&pem, Some(SigningAlg::Es256), None).unwrap();
    let issuer = "https://idp.example";
    let order = json!({"issuer": issuer, "jwks": {"keys": [key.public_jwk()]}});
    let now = SystemClock.now().as_secs();
    let assertion = |jti: &str| {
        let claims = json!({
            "iss": issuer, "sub": "wanda", "aud": stage.server.base_url(SITE).unwrap(), "iat": now,
            "exp": now + 120, "jti": jti,
        });
        key.jwt("JWT", &claims).unwrap().expose().to_owned()
    };
    let grant =
        |jti: &str| Kind::JwtBearer(JwtBearerGrant { source: Some(Source::Assertion(assertion(jti))) });
    let client = format!("{TENANT}/clients/app");
    let refused = stage.api.create("c0", &client, grant("0")).await.unwrap_err();
    assert_eq!(reason(&refused), "GRANT_REFUSED", "nobody vouches for the issuer yet");
    stage.order("trust", order).await;
    let made = stage.api.create("c0", &client, grant("1")).await.unwrap();
    assert_eq!((made.state(), made.next_refresh_time), (State::Active, None));
    assert_eq!(claims(&stage.api.token("c0").await.unwrap())["sub"], "wanda");
    let again = stage.api.create("c1", &client, grant("1")).await.unwrap_err();
    assert_eq!(reason(&again), "GRANT_REFUSED", "the server has seen it");
    // Without a refresh token the end of the token is the end.
    let ended = stage.decided("c0", |now| now.state() == State::NeedsReauthorization).await;
    assert_eq!(ended.state_reason.unwrap().reason(), Reason::Expired);
    assert_eq!(stage.asked("token").len(), 3);
}

#[tokio::test]
async fn a_token_is_exchanged_for_one_for_another_service() {
    let stage = Stage::new(json!({}), "").await;
    stage.client("portal", "refresh-token").await;
    stage.client("app", "token-exchange").await;
    let seeded = stage.server.connection("portal", "wanda", None).unwrap();
    let line = format!(
        "connection create {TENANT}/connections/user --client {TENANT}/clients/portal refresh-token \
         --refresh-token-file -"
    );
    stage.broker.ok_with(&line, &seeded.refresh_token).await;
    let users = stage.api.token("user").await.unwrap().access_token;
    let line = format!(
        "connection create {TENANT}/connections/c0 --client {TENANT}/clients/app --scope read token-exchange \
         --subject-token-file - --for-resource https://orders.example/"
    );
    stage.broker.ok_with(&line, &users).await;
    let token = stage.api.token("c0").await.unwrap();
    let said = claims(&token);
    assert_eq!(
        (&said["sub"], &said["aud"], &said["client_id"], &said["scope"]),
        (&json!("wanda"), &json!("https://orders.example/"), &json!("app"), &json!("read"))
    );
    assert_eq!(token.scopes, ["read"]);
    let forged = users.replacen('.', ".e30", 1);
    let line = line.replace("connections/c0", "connections/c1");
    let ended = stage.broker.end(&line, &forged).await;
    assert!(ended.code != Some(0), "{ended:?}");
    assert!(stage.api.connection("c1").await.is_err());
}
