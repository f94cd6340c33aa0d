//! Tokens that are bound to a key: who gets one, and which key it is.

use crate::rig::{HOUR, Rig, name, secs};
use bursar::{
    broker::{
        GetTokenError, Possession, Wish,
        admin::{AdminError, grants::NewGrant},
    },
    domain::{
        connection::State,
        failure::Class,
        token::{RefreshToken, Secret},
    },
    provider::dpop::{DpopKey, proof::ProofError},
};
use tokio::time::sleep;

const REQUIRED: &str = "dpop = \"required\"";
const OFFERED: &str = "dpop = \"offered\"";

fn grant(token: &str) -> NewGrant {
    NewGrant::RefreshToken { token: RefreshToken(Secret::new(token)), api_base_url: None, expires_at: None }
}

fn proven(rig: &Rig, key: &DpopKey) -> Wish {
    let at = rig.clock.now();
    let proof = key.prove("POST", &format!("bursar:{}", name()), at, None).unwrap().expose().to_owned();
    Wish { proof: Some(Possession { proof, at }), ..Wish::default() }
}

fn problem(err: &GetTokenError) -> ProofError {
    let GetTokenError::Bound { problem, .. } = err else { panic!("{err:?}") };
    *problem
}

#[tokio::test(start_paused = true)]
async fn a_bound_token_is_given_to_who_holds_its_key_and_once_for_each_proof() {
    let rig = Rig::empty(OFFERED).await;
    let pem = DpopKey::generate().unwrap();
    let (key, other) =
        (DpopKey::from_pem(&pem).unwrap(), DpopKey::from_pem(&DpopKey::generate().unwrap()).unwrap());
    let made = rig.a.create_bound(grant("rt0"), Some(pem)).await.unwrap();
    assert_eq!(made.dpop.as_ref().unwrap().thumbprint, key.thumbprint());
    assert_eq!(problem(&rig.a.ask().await.unwrap_err()), ProofError::Missing);
    let err = rig.a.ask_of(&name(), proven(&rig, &other)).await.unwrap_err();
    assert_eq!(problem(&err), ProofError::OtherKey);
    let wish = proven(&rig, &key);
    assert_eq!(rig.a.ask_of(&name(), wish.clone()).await.unwrap().token, "at1");
    assert_eq!(problem(&rig.a.ask_of(&name(), wish).await.unwrap_err()), ProofError::Replayed);
    // A refresh in between: the key stays.
    sleep(HOUR).await;
    assert_eq!(rig.a.ask_of(&name(), proven(&rig, &key)).await.unwrap().token, "at2");
    let stale = proven(&rig, &key);
    sleep(secs(61)).await;
    let late = Wish {
        proof: stale.proof.map(|shown| Possession { at: rig.clock.now(), ..shown }),
        ..Wish::default()
    };
    assert_eq!(problem(&rig.a.ask_of(&name(), late).await.unwrap_err()), ProofError::Stale);
}

#[tokio::test(start_paused = true)]
async fn the_key_outlives_the_consent() {
    let rig = Rig::empty(REQUIRED).await;
    let pem = DpopKey::generate().unwrap();
    let key = DpopKey::from_pem(&pem).unwrap();
    let made = rig.a.create_bound(grant("rt0"), Some(pem)).await.unwrap();
    rig.server.then([crate::server::Say::Fail(Class::Suspect), crate::server::Say::Fail(Class::Suspect)]);
    for _ in 0..2 {
        rig.a.admin.refresh_connection(&name()).await.unwrap_err();
        sleep(secs(10)).await;
    }
    assert_eq!(rig.record().await.state, State::NeedsReauthorization);
    let again = rig.a.admin.authorize_again(&name(), grant("rt1")).await.unwrap();
    assert_ne!(again.family, made.family);
    assert_eq!(again.dpop, made.dpop);
    assert_eq!(rig.a.ask_of(&name(), proven(&rig, &key)).await.unwrap().token, "at2");
}

#[tokio::test(start_paused = true)]
async fn a_key_is_made_where_one_is_needed_and_refused_where_none_is_known() {
    let rig = Rig::empty(REQUIRED).await;
    let made = rig.a.create(grant("rt0")).await.unwrap();
    let thumbprint = made.dpop.unwrap().thumbprint;
    assert_eq!(made.token.unwrap().bound_to, Some(thumbprint));
    let rig = Rig::empty(OFFERED).await;
    let made = rig.a.create(grant("rt0")).await.unwrap();
    assert_eq!((made.dpop, made.token.unwrap().bound_to), (None, None));
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
    let rig = Rig::empty("").await;
    let wrong = [
        rig.a.create_bound(grant("rt0"), Some(DpopKey::generate().unwrap())).await,
        Rig::empty(OFFERED).await.a.create_bound(grant("rt0"), Some(Secret::new("canary"))).await,
    ];
    for outcome in wrong {
        let err = outcome.unwrap_err();
        assert!(matches!(&err, AdminError::Invalid { field: "dpop_key_pem", .. }), "{err:?}");
        assert!(!err.to_string().contains("canary"));
    }
    assert_eq!(rig.server.tries(), 0);
}
