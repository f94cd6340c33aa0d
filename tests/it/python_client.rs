//! A client in another language, of another maker, that knows the API by server reflection only.

use crate::support::{
    driven::Driven,
    foreign::{CLIENT_SECRET, OidcProvider, python},
};

const CONNECTION: &str = "tenants/acme/connections/app";
const MISSING: &str = "tenants/acme/connections/missing";

#[tokio::test]
async fn a_generic_client_gets_the_same_token_as_the_command_line() {
    let provider = OidcProvider::start().await;
    let broker = Driven::start(&format!(
        "extends = \"generic-oauth2\"\nname = \"oidc-provider\"\ndisplay_name = \"oidc-provider\"\n\
         token_endpoint = \"{}/token\"\nhosts = [\"127.0.0.1:*\"]\n",
        provider.issuer
    ))
    .await;
    broker.ok("tenant create tenants/acme --display-name Acme").await;
    let client = "client create tenants/acme/clients/app --provider providers/oidc-provider --client-id by-basic \
                  --environment sandbox --allowed-grant client-credentials --client-secret-file -";
    broker.ok_with(client, CLIENT_SECRET).await;
    let connection =
        format!("connection create {CONNECTION} --client tenants/acme/clients/app client-credentials");
    broker.ok(&connection).await;
    let ours = broker.ok(&format!("token get {CONNECTION}")).await;

    let address = broker.endpoint.strip_prefix("http://").unwrap();
    let report = python("get_token.py", &[address, CONNECTION, MISSING]).await;

    assert!(ours["access_token"].as_str().is_some_and(|token| !token.is_empty()));
    for field in ["access_token", "token_type", "expire_time"] {
        assert_eq!(report["token"][field], ours[field], "{field}");
    }
    assert_eq!(report["health"]["status"], "SERVING");
    let services = report["services"].as_array().unwrap();
    assert!(services.iter().any(|service| service == "bursar.v1.ConnectionService"), "{services:?}");
    let error = &report["error"];
    assert_eq!(error["code"], "NOT_FOUND", "{error}");
    assert_eq!(error["reason"], "CONNECTION_NOT_FOUND", "{error}");
    assert_eq!(error["domain"], "bursar", "{error}");
}
