//! Against an authorization server that we did not write, which replaces the refresh token at every use and takes the
//! second use of a replaced one for theft: it then ends the whole grant.

use crate::support::{
    driven::Driven,
    foreign::{CLIENT_SECRET, OidcProvider, TokenRequest},
};
use bursar::provider::dpop::DpopKey;
use serde_json::{Value, json};
use std::{collections::HashSet, ops::RangeInclusive, time::Duration};
use tokio::time::Instant;

const ROTATIONS: usize = 20;
/// Between the refusal that raises suspicion and the one that confirms it, in milliseconds. Meant are 2.8 to 4.2 s and
/// a tick of the scheduler; a busy machine adds to that.
const CONFIRMED_AFTER: RangeInclusive<u64> = 2000..=20_000;
/// Longest that a connection may take to end after the first refusal.
const END_MAX: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(100);
const CONNECTION: &str = "tenants/acme/connections/user";

struct Rig {
    provider: OidcProvider,
    broker: Driven,
}

impl Rig {
    async fn start() -> Self {
        let provider = OidcProvider::start().await;
        let broker = Driven::start(&profile(&provider.issuer)).await;
        broker.ok("tenant create tenants/acme --display-name Acme").await;
        Self { provider, broker }
    }

    async fn client(&self, id: &str, auth: &str, grant: &str) {
        let line = format!(
            "client create tenants/acme/clients/{id} --provider providers/oidc-provider --client-id {id} \
             --environment sandbox --auth-method {auth} --allowed-grant {grant} --client-secret-file -"
        );
        self.broker.ok_with(&line, CLIENT_SECRET).await;
    }

    /// A user's connection, started with a refresh token that was obtained elsewhere.
    async fn user(&self) {
        self.client("for-users", "client-secret-basic", "refresh-token").await;
        let token = self.provider.mint("for-users").await;
        let line = format!(
            "connection create {CONNECTION} --client tenants/acme/clients/for-users refresh-token \
             --refresh-token-file -"
        );
        self.broker.ok_with(&line, &token).await;
    }

    async fn show(&self) -> Value {
        self.broker.ok(&format!("connection show {CONNECTION}")).await
    }

    async fn token_requests(&self) -> Vec<TokenRequest> {
        self.provider.journal("for-users").await
    }
}

fn profile(issuer: &str) -> String {
    format!(
        "extends = \"generic-oauth2\"\nname = \"oidc-provider\"\ndisplay_name = \"oidc-provider\"\n\
         token_endpoint = \"{issuer}/token\"\nrevocation = \"rfc7009\"\n\
         revocation_endpoint = \"{issuer}/token/revocation\"\nhosts = [\"127.0.0.1:*\"]\n\
         rotation = \"always\"\nreuse = \"revoke_family\"\nexchange_timeout = \"25s\"\n\
         dpop = \"offered\"\nresource_indicators = \"everywhere\"\n"
    )
}

#[tokio::test]
async fn client_credentials_are_exchanged_with_either_way_of_authenticating() {
    let rig = Rig::start().await;
    for (id, auth, seen_as) in
        [("by-basic", "client-secret-basic", "basic"), ("by-post", "client-secret-post", "post")]
    {
        rig.client(id, auth, "client-credentials").await;
        let connection = format!("tenants/acme/connections/{id}");
        let line = format!(
            "connection create {connection} --client tenants/acme/clients/{id} --scope api:read client-credentials"
        );
        rig.broker.ok(&line).await;
        let token = rig.broker.ok(&format!("token get {connection}")).await;
        assert_eq!(token["scopes"], serde_json::json!(["api:read"]));
        assert_eq!(token["access_token"].as_str().unwrap().split('.').count(), 3, "not a JWT");
        let requests = rig.provider.journal(id).await;
        let [request] = requests.as_slice() else { panic!("{requests:?}") };
        assert_eq!((request.auth.as_str(), request.status), (seen_as, 200));
        assert_eq!(request.grant_type, "client_credentials");
    }
}

#[tokio::test]
async fn twenty_rotations_in_a_row_keep_the_grant_and_never_send_a_refresh_token_twice() {
    let rig = Rig::start().await;
    rig.user().await;
    let before = rig.token_requests().await.len();
    let generation = rig.show().await["generation"].as_u64().unwrap();
    for done in 1..=ROTATIONS {
        let refreshed = rig.broker.ok(&format!("connection refresh {CONNECTION}")).await;
        assert_eq!(refreshed["state"], "STATE_ACTIVE");
        assert_eq!(refreshed["generation"].as_u64(), Some(generation + done as u64));
    }
    let requests = rig.token_requests().await;
    assert_eq!(requests.len(), before + ROTATIONS);
    for request in &requests {
        assert_eq!((request.grant_type.as_str(), request.status), ("refresh_token", 200));
        assert!(request.rotated, "this server did not replace the refresh token: the test tests nothing");
    }
    let distinct: HashSet<_> = requests.iter().map(|request| request.refresh_token.clone()).collect();
    assert_eq!(distinct.len(), requests.len());
}

#[tokio::test]
async fn a_withdrawn_consent_ends_the_connection_after_a_second_refusal_and_not_before() {
    let rig = Rig::start().await;
    rig.user().await;
    rig.provider.revoke_grants("for-users").await;
    let refused = rig.broker.end(&format!("connection refresh {CONNECTION}"), "").await;
    assert_eq!(refused.code, Some(1), "{}", refused.said);

    let refused_at = Instant::now();
    let ended = loop {
        // Read first, so that the state is at least as old as what the server has seen.
        let shown = rig.show().await;
        let refusals = refusals(&rig.token_requests().await).len();
        match shown["state"].as_str().unwrap() {
            "STATE_ACTIVE" => assert!(refusals <= 2, "{shown}"),
            "STATE_NEEDS_REAUTHORIZATION" => break shown,
            _ => panic!("{shown}"),
        }
        assert!(refused_at.elapsed() < END_MAX, "{shown}");
        tokio::time::sleep(POLL).await;
    };

    let refusals = refusals(&rig.token_requests().await);
    let [first, second] = refusals.as_slice() else { panic!("{refusals:?}") };
    assert!(CONFIRMED_AFTER.contains(&(second.at - first.at)), "{} ms", second.at - first.at);
    assert_eq!(first.refresh_token, second.refresh_token);
    assert_eq!(first.error.as_deref(), Some("invalid_grant"));
    assert_eq!(ended["state_reason"]["reason"], "REASON_REVOKED");
    assert_eq!(ended["state_reason"]["provider_code"], "invalid_grant");
    // The access token is good for what is left of its hour, and nothing longer is to be had.
    let token = rig.broker.ok(&format!("token get {CONNECTION}")).await;
    assert_eq!(token["degraded_reason"], "DEGRADED_REASON_NEEDS_REAUTHORIZATION");
    let longer = rig.broker.end(&format!("token get {CONNECTION} --min-lifetime 3599s"), "").await;
    assert_eq!(longer.code, Some(3), "{}", longer.said);
}

#[tokio::test]
async fn tokens_are_bound_to_a_key_with_the_servers_nonces_and_meant_for_the_resource_that_was_asked_for() {
    const RESOURCE: &str = "https://orders.acme.test";
    let rig = Rig::start().await;
    let pem = DpopKey::generate().unwrap();
    let key = DpopKey::from_pem(&pem).unwrap();
    let file = rig.broker.file("dpop.pem", pem.expose());
    rig.client("by-basic", "client-secret-basic", "client-credentials").await;
    let line = format!(
        "connection create {CONNECTION} --client tenants/acme/clients/by-basic --resource {RESOURCE} \
         --dpop-key-file {file} --scope api:read client-credentials"
    );
    rig.broker.ok(&line).await;
    let mut tokens = HashSet::new();
    for generation in 1..=3 {
        let token = rig.broker.ok(&format!("token get {CONNECTION} --dpop-key-file {file}")).await;
        assert_eq!((&token["token_type"], &token["dpop_jkt"]), (&json!("DPoP"), &json!(key.thumbprint())));
        let token = token["access_token"].as_str().unwrap().to_owned();
        let said = rig.provider.introspect(&token).await;
        assert_eq!(
            (&said["active"], &said["cnf"]["jkt"]),
            (&json!(true), &json!(key.thumbprint())),
            "{said}"
        );
        assert_eq!((&said["aud"], &said["token_type"]), (&json!(RESOURCE), &json!("DPoP")), "{said}");
        assert!(tokens.insert(token), "generation {generation}: the same token again");
        rig.broker.ok(&format!("connection refresh {CONNECTION}")).await;
    }
    // The server takes no proof without a nonce of its own: only the first request did not know one.
    let refused = refusals(&rig.provider.journal("by-basic").await);
    let errors: Vec<_> = refused.iter().map(|request| request.error.as_deref()).collect();
    assert_eq!(errors, [Some("use_dpop_nonce")]);
}

fn refusals(requests: &[TokenRequest]) -> Vec<TokenRequest> {
    requests.iter().filter(|request| request.status != 200).cloned().collect()
}
