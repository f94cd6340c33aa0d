//! What is asked before a consent: what is sent, and what of the answers is believed.

use super::*;
use crate::{
    domain::{profile::ClientAuth, token::Secret},
    provider::{Provider, rig},
};
use std::collections::BTreeMap;
use uuid::Uuid;

async fn asked(profile: &Profile, ask: Prelude<'_>) -> Result<Prepared, Failure> {
    let client = rig::client(profile.client_auth[0], &["s1"]);
    let preparation =
        Preparation { profile, client: &client, ask, api_base_url: None, correlation_id: Uuid::from_u128(1) };
    rig::providers().prepare(&preparation).await
}

#[tokio::test]
async fn a_device_code_is_asked_for_and_read() {
    let server = rig::FakeServer::start().await;
    let endpoint = format!("device_authorization_endpoint = \"{}/device\"", server.base);
    let profile = rig::plain(&server, &endpoint);
    server.then(
        200,
        r#"{"device_code":"d","user_code":"WDJB-MJHT","verification_uri":"https://idp.example/d",
            "verification_uri_complete":"https://idp.example/d?c=WDJB-MJHT","expires_in":1800,"interval":7}"#,
    );
    let scopes = ["read".to_owned()];
    let Ok(Prepared::Device(given)) =
        asked(&profile, Prelude::Device { scopes: &scopes, resources: &[] }).await
    else {
        panic!("no device code")
    };
    assert_eq!((given.device_code.expose(), given.user_code.as_str()), ("d", "WDJB-MJHT"));
    assert_eq!(given.verification_uri, "https://idp.example/d");
    assert_eq!((given.expires_in.as_secs(), given.interval.map(|i| i.as_secs())), (1800, Some(7)));
    let seen = server.seen();
    assert_eq!((seen[0].path.as_str(), seen[0].body.contains("scope=read")), ("/device", true));
}

#[tokio::test]
async fn answers_that_would_mislead_a_person_are_refused() {
    for body in [
        r"{}",
        r#"{"device_code":"d","user_code":"A","verification_uri":"javascript:alert(1)"}"#,
        r#"{"device_code":"d","user_code":"A\u001b[2J","verification_uri":"https://idp.example"}"#,
        r#"{"device_code":"","user_code":"A","verification_uri":"https://idp.example"}"#,
        r#"{"user_code":"A","verification_uri":"https://idp.example"}"#,
        r#"{"device_code":"d","user_code":"A","verification_uri":"https://idp.example/\u202e"}"#,
    ] {
        let server = rig::FakeServer::start().await;
        let endpoint = format!("device_authorization_endpoint = \"{}/device\"", server.base);
        let profile = rig::plain(&server, &endpoint);
        server.then(200, body);
        let failure = asked(&profile, Prelude::Device { scopes: &[], resources: &[] }).await.err();
        assert_eq!(failure.map(|failure| failure.class), Some(Class::Malformed), "{body}");
    }
}

#[tokio::test]
async fn a_request_is_handed_in_with_the_clients_credentials() {
    let server = rig::FakeServer::start().await;
    let endpoint = format!("pushed_authorization_request_endpoint = \"{}/par\"", server.base);
    let profile = rig::plain(&server, &endpoint);
    server.then(201, r#"{"request_uri":"urn:ietf:params:oauth:request_uri:x","expires_in":60}"#);
    let parameters = [("client_id".to_owned(), "client-1".to_owned()), ("state".to_owned(), "s".to_owned())];
    let Ok(Prepared::Pushed { request_uri }) = asked(&profile, Prelude::Push(&parameters)).await else {
        panic!("not taken")
    };
    assert_eq!(request_uri, "urn:ietf:params:oauth:request_uri:x");
    let body = &server.seen()[0].body;
    assert_eq!((body.matches("client_id=").count(), body.contains("state=s")), (1, true), "{body}");
}

#[tokio::test]
async fn concur_is_asked_for_a_password_where_the_person_lives() {
    let (glz, us) = (rig::FakeServer::start().await, rig::FakeServer::start().await);
    let profile = rig::concur(&[&glz, &us], "");
    glz.then(400, format!(r#"{{"code":16,"error":"invalid_request","geolocation":"{}"}}"#, us.base));
    us.then(200, r#"{"message":"otp sent"}"#);
    let parameters = BTreeMap::from([("name".to_owned(), "Anna".to_owned())]);
    let ask = Prelude::Otp { email: "anna@example.com", parameters: &parameters };
    assert!(matches!(asked(&profile, ask).await, Ok(Prepared::OtpSent)));
    let seen = us.seen();
    assert_eq!(seen[0].path, "/oauth2/v0/otp");
    assert!(seen[0].body.starts_with("channel_type=email&channel_handle=anna%40example.com&name=Anna"));
    assert_eq!(profile.client_auth[0], ClientAuth::ClientSecretPost);
    glz.then(400, r#"{"code":82,"error":"invalid_request"}"#);
    let failure = asked(&profile, ask_again(&parameters)).await.err().map(|failure| failure.code);
    assert_eq!(failure, Some(Some("82".into())));
    drop(Secret::new(""));
}

fn ask_again(parameters: &BTreeMap<String, String>) -> Prelude<'_> {
    Prelude::Otp { email: "anna@example.com", parameters }
}
