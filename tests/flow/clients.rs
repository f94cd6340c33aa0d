//! A client that the server refuses: its connections wait together, no grant dies of it, a new secret heals.

use crate::{
    rig::{HOUR, LEASE, Rig, START, client_name, name, new_client, numbered, secs, served},
    server::{DELAY, Say},
    way::Fault,
};
use bursar::{
    access::Facts,
    broker::{
        GetTokenError, Wish,
        admin::{
            AdminError, Kind,
            clients::{ClientPatch, NewClient},
            connections::Revoking,
            consent::Start,
            credentials::{NewCredential, NewSecret, jwks},
            tenants::Deleting,
        },
        knowing::Knowing,
        refresher::RefreshError,
    },
    domain::{
        attempt::{Ask, Seen},
        authorization::Principals,
        client::{Client, Environment, HoldReason, SecretsError},
        connection::{Attempt, State},
        failure::Class,
        names::ClientName,
        profile::{ClientAuth, SigningAlg},
        token::{ClientSecret, Secret},
    },
    store::{Room, Version, records::Record},
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const CONNECTIONS: u128 = 50;

async fn fifty() -> Rig {
    let rig = Rig::empty("").await;
    for n in 0..CONNECTIONS {
        rig.seed(n).await;
    }
    rig
}

async fn all_active(rig: &Rig) -> bool {
    how_many(rig, State::Active).await == CONNECTIONS
}

async fn how_many(rig: &Rig, state: State) -> u128 {
    let mut found = 0;
    for n in 0..CONNECTIONS {
        found += u128::from(rig.a.admin.connection(&numbered(n)).await.unwrap().record.state == state);
    }
    found
}

#[tokio::test(start_paused = true)]
async fn fifty_connections_of_a_refused_client_make_one_exchange_per_hold() {
    let rig = fifty().await;
    rig.a.schedule();
    sleep(secs(60)).await;
    assert_eq!(rig.server.tries(), 50, "all were taken up");
    assert!(all_active(&rig).await);
    rig.server.knows_secrets(&["another"]);
    sleep(3 * HOUR).await;
    let tries = rig.server.tries() - 50;
    // The first token is due 42 minutes in: holds of 30, 60, 120, 240 and 480 s, then of 15 minutes, with a few
    // seconds of spread and a tick after each.
    assert_eq!(tries, 14);
    for n in 0..CONNECTIONS {
        let record = rig.a.admin.connection(&numbered(n)).await.unwrap().record;
        assert_eq!((record.state, record.suspicion), (State::Active, None));
    }
    assert_eq!(rig.a.admin.client(&client_name()).await.unwrap().record.hold.unwrap().failures, 14);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_heals_every_connection_at_once() {
    let rig = fifty().await;
    rig.server.knows_secrets(&["secret-2"]);
    for n in 0..CONNECTIONS {
        let err = rig.a.ask_of(&numbered(n), Wish::default()).await.unwrap_err();
        let refused =
            matches!(err, GetTokenError::Refresh(RefreshError::Failed(_) | RefreshError::Held { .. }));
        assert!(refused, "{err:?}");
    }
    assert_eq!(rig.server.tries(), 1, "the others were not tried");
    let secret = ClientSecret(Secret::new("secret-2")).into();
    rig.a.admin.add_client_secret(&client_name(), "", &secret).await.unwrap();
    for n in 0..CONNECTIONS {
        let asked = Instant::now();
        rig.a.ask_of(&numbered(n), Wish::default()).await.unwrap();
        assert_eq!(asked.elapsed(), DELAY, "{n}");
    }
    assert_eq!(rig.server.tries(), 51);
    assert!(all_active(&rig).await);
}

#[tokio::test(start_paused = true)]
async fn a_success_of_one_lifts_the_hold_of_all() {
    let rig = fifty().await;
    rig.server.then([Say::Fail(Class::Client)]);
    rig.a.ask_of(&numbered(0), Wish::default()).await.unwrap_err();
    rig.a.schedule();
    sleep(secs(60)).await;
    rig.a.stop();
    assert!(
        all_active(&rig).await,
        "30 s of hold, 5 s for the first, each with a spread of 3 to 5 s and a tick"
    );
    assert_eq!(rig.a.admin.client(&client_name()).await.unwrap().record.hold, None);
    assert_eq!(rig.server.tries(), 51);
}

/// The app was removed or its client replaced, and the server says so of each grant.
#[tokio::test(start_paused = true)]
async fn a_crowd_of_refused_grants_holds_the_client_and_few_of_them_end() {
    let rig = fifty().await;
    let hold = async || rig.a.admin.client(&client_name()).await.unwrap().record.hold;
    rig.server.always(Say::Code("invalid_grant", Class::Suspect));
    rig.a.schedule();
    sleep(secs(10)).await;
    let found = hold().await.unwrap();
    assert_eq!(
        (found.reason, found.code.as_deref(), found.failures),
        (Some(HoldReason::ManyGrantsRefused), Some("invalid_grant"), 1)
    );
    let tries = rig.server.tries();
    for n in 0..CONNECTIONS {
        let err = rig.a.ask_of(&numbered(n), Wish::default()).await.unwrap_err();
        let waits =
            matches!(err, GetTokenError::Ended { .. } | GetTokenError::Refresh(RefreshError::Held { .. }));
        assert!(waits, "{n}: {err:?}");
    }
    assert_eq!(rig.server.tries(), tries, "who has no token makes no exchange while the client is held");

    // Three at first, and three each time that the hold runs out more than a minute later.
    sleep(secs(5 * 60)).await;
    let ended = how_many(&rig, State::NeedsReauthorization).await;
    assert!((3..=10).contains(&ended), "{ended}");
    rig.server.always(Say::Good);
    // Who tried for the others in vain waits longer, at most 15 minutes and a fifth.
    sleep(secs(20 * 60)).await;
    rig.a.stop();
    assert_eq!(how_many(&rig, State::NeedsReauthorization).await, ended);
    assert_eq!(how_many(&rig, State::Active).await, CONNECTIONS - ended);
    assert_eq!(hold().await, None);
}

/// What became of one grant, which the store could not take down, is no matter of the client's others.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_could_not_be_counted_ends_nothing_and_holds_nobody() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    rig.server.always(Say::Code("invalid_grant", Class::Suspect));
    let refused = async || rig.a.admin.refresh_connection(&name()).await.unwrap_err();
    refused().await;
    sleep(secs(3)).await;
    rig.a.store.then(Fault::RefusedWrite("client/"));
    refused().await;
    let suspected = rig.record().await;
    assert_eq!((suspected.state, suspected.last_failure.unwrap().class), (State::Active, Class::Down));
    assert!(suspected.suspicion.is_some() && suspected.ambiguous.is_none(), "refused, and not used up");
    assert_eq!(rig.a.admin.client(&client_name()).await.unwrap().record.hold, None);
    sleep(secs(3)).await;
    refused().await;
    assert_eq!(rig.record().await.state, State::NeedsReauthorization);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_old_secret_does_not_hold_a_client_that_has_a_new_one() {
    let rig = Rig::new().await;
    rig.server.knows_secrets(&["secret-2"]);
    let asking = rig.a.asking();
    sleep(DELAY / 2).await;
    let secret = ClientSecret(Secret::new("secret-2")).into();
    rig.a.admin.add_client_secret(&client_name(), "", &secret).await.unwrap();
    asking.await.unwrap().unwrap_err();
    let client = rig.a.admin.client(&client_name()).await.unwrap().record;
    assert_eq!(client.hold, None);
    assert!(client.secrets[0].refused_at.is_some(), "what the server said of the old one is kept");
    rig.a.ask().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_tries_a_held_client_waits_for_a_slot_and_not_for_itself() {
    let rig = Rig::new().await;
    let other: ClientName = "tenants/t/clients/other".parse().unwrap();
    let secret = ClientSecret(Secret::new("secret-1"));
    rig.a.admin.create_client(new_client(other.clone(), "providers/under-test", secret)).await.unwrap();
    rig.server.then([Say::Fail(Class::Client)]);
    rig.a.ask().await.unwrap_err();
    sleep(secs(31)).await;
    // All of the provider's slots are taken by another client's connections.
    rig.server.always(Say::Late(secs(3)));
    for n in 1..=48 {
        rig.seed_as(n, "rt0", |connection| connection.client = other.clone()).await;
        rig.a.broker.refresher.start(&numbered(n), seen(&rig, n).await, Ask::Operator);
    }
    sleep(DELAY).await;
    rig.server.always(Say::Good);
    assert_eq!(rig.a.ask().await.unwrap(), served("at1"));
    assert_eq!(rig.a.admin.client(&client_name()).await.unwrap().record.hold, None);
}

async fn seen(rig: &Rig, n: u128) -> Seen {
    rig.a.admin.connection(&numbered(n)).await.unwrap().record.seen()
}

#[tokio::test(start_paused = true)]
async fn an_attempt_whose_holder_died_waits_with_its_client_and_is_written_once() {
    let rig = Rig::empty("").await;
    let lapsed = Attempt {
        id: Uuid::from_u128(9),
        replica: "gone".to_owned(),
        generation: 0,
        started_at: START.minus(LEASE),
        lease_until: START,
        authorization: None,
    };
    rig.seed_as(0, "rt0", |connection| connection.attempt = Some(lapsed.clone())).await;
    rig.seed(1).await;
    rig.server.always(Say::Fail(Class::Client));
    rig.a.ask_of(&numbered(1), Wish::default()).await.unwrap_err();
    let b = rig.replica("b").await;
    rig.a.schedule();
    b.schedule();
    sleep(secs(20)).await;
    let waiting = rig.a.admin.connection(&name()).await.unwrap();
    assert_eq!(waiting.version, Version(2), "of the seed and of whoever came first");
    assert_eq!(waiting.record.attempt, Some(lapsed));
    rig.server.always(Say::Good);
    sleep(secs(40)).await;
    rig.a.stop();
    b.stop();
    assert_eq!(rig.record().await.state, State::Active);
    assert_eq!(rig.server.spent_twice(), 0);
}

/// Two secrets, the server's side of a rotation: each is good in its time, and no connection waits.
#[tokio::test(start_paused = true)]
async fn the_second_secret_is_used_when_the_first_is_refused_and_is_preferred_from_then_on() {
    let rig = fifty().await;
    let client = async || rig.a.admin.client(&client_name()).await.unwrap().record;
    let refresh = async |n| rig.a.ask_of(&numbered(n), Wish::default()).await.unwrap();
    refresh(0).await;
    let first = client().await;
    let (old, used) = (first.secrets[0].id, first.secrets[0].last_used_at);
    assert_eq!((first.preferred, used.is_some()), (Some(old), true));
    refresh(1).await;
    assert_eq!(client().await, first, "known for an hour: nothing is written");

    rig.a
        .admin
        .add_client_secret(&client_name(), "", &ClientSecret(Secret::new("secret-2")).into())
        .await
        .unwrap();
    let new = client().await.secrets[1].id;
    let order = async || client().await.active_secrets().map(|(secret, _)| secret.id).collect::<Vec<_>>();
    assert_eq!(order().await, [old, new], "the one that is known to be good comes first");
    rig.server.knows_secrets(&["secret-2"]);
    refresh(2).await;
    let turned = client().await;
    assert_eq!((turned.preferred, turned.hold.clone()), (Some(new), None));
    assert_eq!(order().await, [new, old]);
    assert!(turned.secrets[0].refused_at.is_some() && turned.secrets[1].last_used_at.is_some());
    assert_eq!(turned.revision, first.revision + 1, "adding the secret; what a server says changes no etag");

    rig.server.knows_secrets(&["another"]);
    rig.a.ask_of(&numbered(3), Wish::default()).await.unwrap_err();
    let held = client().await;
    assert_eq!(held.hold.unwrap().reason, Some(HoldReason::SecretsRefused));
    assert!(held.secrets.iter().all(|secret| secret.refused_at.is_some()));
}

/// A provider that can be asked in every way in which a secret is sent.
const MANY: &str = "device_authorization_endpoint = \"https://idp.example/device\"\n\
                    grants = [\"refresh_token\", \"device_code\"]\n\
                    revocation = \"rfc7009\"\nrevocation_endpoint = \"https://idp.example/revoke\"\n";

/// A name is free again once its client is deleted: what bears it then may be another provider's.
#[tokio::test(start_paused = true)]
async fn a_secret_goes_to_no_provider_but_its_clients() {
    let rig = Rig::with(MANY).await;
    rig.a.ask().await.unwrap();
    let ours = rig.a.admin.client(&client_name()).await.unwrap();
    let theirs = Client { provider: "providers/generic-oauth2".parse().unwrap(), ..ours.record.clone() };
    rig.a.ledger.update(&ours, &theirs, Room::Needed).await.unwrap();

    let refused = rig.a.admin.refresh_connection(&name()).await.unwrap_err();
    assert!(matches!(refused, AdminError::Refresh(RefreshError::NoClient(_))), "{refused:?}");
    assert_eq!(rig.record().await.last_failure.unwrap().class, Class::Configuration);
    let no_client = |refused: &AdminError| matches!(refused, AdminError::NotFound { kind: Kind::Client, .. });
    let started = rig.a.admin.start_authorization(&name(), Start::Device, Principals::Same).await;
    assert!(started.as_ref().err().is_some_and(no_client), "{:?}", started.err());
    let revoked = rig.a.admin.revoke_connection(&name(), "").await;
    assert!(revoked.as_ref().err().is_some_and(no_client), "{revoked:?}");
    assert_eq!((rig.server.tries(), rig.server.revoked()), (1, 0));
}

/// So the wall between sandbox and production goes by the client that gets the tokens.
#[tokio::test(start_paused = true)]
async fn the_environment_of_a_connection_is_that_of_the_client_that_it_has_by_now() {
    let rig = Rig::new().await;
    rig.a.ask().await.unwrap();
    let knowing = Knowing::new(rig.a.broker.clone());
    let environment = async || {
        let met = knowing.meet(&name()).await.unwrap().unwrap();
        match knowing.facts(&met).await.unwrap() {
            Facts::Connection(facts) => facts.environment,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(environment().await, Some(Environment::Sandbox));
    let old = rig.a.admin.client(&client_name()).await.unwrap();
    let uid = uuid::Uuid::from_u128(7);
    let anew = Client { uid, environment: Environment::Production, ..old.record.clone() };
    rig.a.ledger.delete(&old).await.unwrap();
    rig.a.ledger.create(&anew).await.unwrap();
    for _ in 0..2 {
        rig.a.admin.refresh_connection(&name()).await.unwrap();
        assert_eq!(environment().await, Some(Environment::Production));
    }
    rig.a.admin.refresh_connection(&name()).await.unwrap();
    rig.a.store.go_away();
    assert_eq!(environment().await, Some(Environment::Production), "as it was known last");
}

/// What brings a connection back brings back one that needs its client.
#[tokio::test(start_paused = true)]
async fn a_client_stays_while_a_connection_of_a_deleted_tenant_may_come_back() {
    let rig = Rig::new().await;
    let platform: ClientName = "platform/clients/app".parse().unwrap();
    let new = NewClient {
        name: platform.clone(),
        provider: "providers/under-test".parse().unwrap(),
        client_id: "client-1".into(),
        auth: None,
        allowed_grants: vec![],
        allowed_scopes: vec![],
        environment: Environment::Sandbox,
        secret: Some(ClientSecret(Secret::new("secret-1")).into()),
    };
    rig.a.admin.create_client(new).await.unwrap();
    rig.seed_as(1, "rt1", |connection| connection.client = platform.clone()).await;
    let used = async |client: &ClientName| match rig.a.admin.delete_client(client, "").await {
        Err(AdminError::ClientInUse { connection, .. }) => connection,
        other => panic!("{other:?}"),
    };
    assert_eq!(used(&platform).await, numbered(1).to_string());
    rig.a.admin.delete_tenant(&"tenants/t".parse().unwrap(), "", Deleting::Everything).await.unwrap();
    assert_eq!(used(&platform).await, numbered(1).to_string());
    rig.a.admin.undelete_tenant(&"tenants/t".parse().unwrap(), "").await.unwrap();
    rig.a.admin.delete_connection(&numbered(1), "", Revoking::Skipped).await.unwrap();
    // Nobody can say what one that cannot be read needs.
    rig.tamper(|body| *body.last_mut().unwrap() ^= 1).await;
    assert_eq!(used(&platform).await, name().to_string());
    rig.a.admin.delete_connection(&name(), "", Revoking::Skipped).await.unwrap();
    rig.a.admin.delete_client(&platform, "").await.unwrap();
}

/// What the broker makes it keeps: the private half is sealed in the store, and nowhere else.
#[tokio::test(start_paused = true)]
async fn a_private_key_that_is_made_here_lies_in_the_store_sealed_and_is_shown_in_public_only() {
    let methods = "[\"client_secret_basic\", \"private_key_jwt\", \"tls_client_auth\"]";
    let rig = Rig::empty(&format!("client_auth = {methods}\nsigning_algs = [\"ES256\"]")).await;
    let algorithm = SigningAlg::EdDsa;
    let other =
        NewSecret { value: NewCredential::GeneratedKey { key_id: None, algorithm }, expires_at: None };
    let refused = rig.a.admin.add_client_secret(&client_name(), "", &other).await;
    let field = "client_secret.private_key.algorithm";
    assert!(
        matches!(refused, Err(AdminError::Invalid { field: named, .. }) if named == field),
        "{refused:?}"
    );
    let key = NewCredential::GeneratedKey { key_id: Some("kid-1".into()), algorithm: SigningAlg::Es256 };
    let secret = NewSecret { value: key, expires_at: None };
    let client = rig.a.admin.add_client_secret(&client_name(), "", &secret).await.unwrap();
    let stored = rig.documents.read(&Client::key_of(&client_name()).unwrap()).await.unwrap().value.unwrap();
    let body = String::from_utf8_lossy(&stored.body).into_owned();
    assert!(body.contains("kid-1"), "the public half is open");
    assert!(!body.contains("PRIVATE KEY") && !body.contains("secret-1"));
    let identity = rig.a.broker.refresher.identity(&client).await.unwrap();
    let shown = format!("{client:?} {identity:?} {secret:?}");
    assert!(!shown.contains("PRIVATE KEY") && !shown.contains("secret-1"), "{shown}");
    let keys = jwks(&client).unwrap()["keys"].as_array().unwrap().clone();
    assert_eq!((keys.len(), keys[0]["kid"].as_str(), keys[0].get("d")), (1, Some("kid-1"), None));

    // A method waits for its credential, and the last one that fits stays.
    let patch = |auth| ClientPatch { auth: Some(auth), ..ClientPatch::default() };
    let mut refused = rig.a.admin.update_client(&client_name(), "", &patch(ClientAuth::TlsClientAuth)).await;
    assert!(matches!(refused, Err(AdminError::Invalid { field: "client.auth_method", .. })), "{refused:?}");
    rig.a.admin.update_client(&client_name(), "", &patch(ClientAuth::PrivateKeyJwt)).await.unwrap();
    let [shared, key] = [client.secrets[0].id, client.secrets[1].id];
    refused = rig.a.admin.retire_client_secret(&client_name(), "", key).await;
    assert!(matches!(refused, Err(AdminError::Secrets(SecretsError::Last))), "{refused:?}");
    rig.a.admin.retire_client_secret(&client_name(), "", shared).await.unwrap();
}
