//! A client's secret changed at the provider and here, broken off at every step of the way.

use crate::{
    rig::{Rig, client_name},
    server::Break,
};
use bursar::{
    broker::admin::AdminError,
    domain::{client::Client, profile::GrantKind},
    seal::Place,
};

/// A provider that lets clients change their secrets.
const CONCUR: &str = "dialect = \"sap_concur\"\nbootstrap_at = \"https://idp.example\"\n\
                      client_auth = [\"client_secret_post\"]\ngrants = [\"refresh_token\", \"client_credentials\"]";
/// List, list, create, activate, prove, deactivate, delete.
const STEPS: usize = 7;

async fn client(rig: &Rig) -> Client {
    rig.a.admin.client(&client_name()).await.unwrap().record
}

/// The values of the client's active secrets, in the order in which they are tried.
async fn values(rig: &Rig) -> Vec<String> {
    let client = client(rig).await;
    let keys = rig.a.broker.keys.keys(&client.name.owner).await.unwrap();
    let resource = client.name.to_string();
    let open = |(secret, sealed): (&bursar::domain::credential::StoredSecret, _)| {
        let place = Place { resource: &resource, family: secret.id, generation: 0 };
        let value: bursar::domain::token::ClientSecret = keys.open(&place, sealed).unwrap();
        value.0.expose().to_owned()
    };
    client.active_secrets().map(open).collect()
}

async fn settled(rig: &Rig) {
    let (there, _) = rig.server.managed();
    let here = values(rig).await;
    assert_eq!(there.len(), 1, "the old one is gone: {there:?}");
    assert!(there[0].active);
    assert_eq!(here, [there[0].value.clone()], "one secret, the same here and there");
    assert_ne!(here, ["secret-1"]);
    let client = client(rig).await;
    assert_eq!((client.rotation, client.secrets.len()), (None, 2));
    assert!(client.secrets[0].sealed.is_none() && client.preferred == Some(client.secrets[1].id));
}

#[tokio::test(start_paused = true)]
async fn a_rotation_ends_with_one_secret_that_both_sides_have() {
    let rig = Rig::empty(CONCUR).await;
    rig.server.manages("secret-1", None);
    rig.a.admin.rotate_client_secret(&client_name(), "").await.unwrap();
    settled(&rig).await;
    assert_eq!(rig.server.managed().1, STEPS);
}

#[tokio::test(start_paused = true)]
async fn a_rotation_that_breaks_off_anywhere_leaves_a_secret_that_works_and_goes_on() {
    for step in 0..STEPS {
        for half in [Break::Before, Break::After] {
            let rig = Rig::empty(CONCUR).await;
            rig.server.manages("secret-1", Some((step, half)));
            let err = rig.a.admin.rotate_client_secret(&client_name(), "").await.unwrap_err();
            assert!(matches!(err, AdminError::RotationFailed(_)), "{step} {half:?}: {err}");
            let (there, _) = rig.server.managed();
            let good = |value: &String| there.iter().any(|one| one.active && one.value == *value);
            let here = values(&rig).await;
            assert!(here.iter().any(good), "{step} {half:?}: {here:?} {there:?}");
            // Another replica, as after a crash.
            let b = rig.replica("b").await;
            b.admin.rotate_client_secret(&client_name(), "").await.unwrap();
            settled(&rig).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_offer_it_is_not_asked() {
    let rig = Rig::empty("").await;
    rig.server.manages("secret-1", None);
    let err = rig.a.admin.rotate_client_secret(&client_name(), "").await.unwrap_err();
    assert!(matches!(err, AdminError::RotationNotOffered { .. }), "{err}");
    assert_eq!(rig.server.managed().1, 0);
    assert!(client(&rig).await.allows_grant(GrantKind::RefreshToken));
}
