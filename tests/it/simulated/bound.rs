//! Tokens that are bound to a key (RFC 9449), at a server that wants its nonces in the proofs.

use super::{PROVIDER, Stage, claims, known};
use crate::support::{
    api::{TENANT, metadata, name, reason},
    person::Person,
};
use bursar::{
    api::{GetTokenRequest, connection::State},
    clock::{Clock, SystemClock},
    provider::dpop::DpopKey,
    simulator::oauth::Authentication,
};
use serde_json::json;

#[tokio::test]
async fn a_bound_connection_lives_with_the_servers_nonces_and_serves_who_has_the_key() {
    let behaviour = json!({
        "authorize": {"consent": "allow", "pkce": "required"}, "dpop": {"nonce": "asked", "nonce_seconds": 2},
    });
    let stage = Stage::new(behaviour, "dpop = \"required\"").await;
    // A public client: its refresh token is bound too.
    stage.server.client(known("app", Authentication::None)).unwrap();
    let line = format!(
        "client create {TENANT}/clients/app --provider {PROVIDER} --client-id app --environment sandbox \
         --auth-method none --allowed-grant authorization-code"
    );
    stage.broker.ok(&line).await;
    let pem = DpopKey::generate().unwrap();
    let key = DpopKey::from_pem(&pem).unwrap();
    let file = stage.broker.file("dpop.pem", pem.expose());
    let other = stage.broker.file("other.pem", DpopKey::generate().unwrap().expose());
    let line =
        format!("{TENANT}/connections/c0 --create --client {TENANT}/clients/app --dpop-key-file {file}");
    let arrival = stage.broker.authorize(&line, &mut Person::new(&[])).await;
    assert!(arrival.html.contains("<h1>Authorized</h1>"), "{arrival:?}");
    assert_eq!(stage.api.connection("c0").await.unwrap().dpop_jkt, key.thumbprint());
    for generation in [2, 3] {
        assert_eq!(stage.api.refresh("c0").await.unwrap().generation, generation);
    }

    let get = format!("token get {TENANT}/connections/c0");
    let token = stage.broker.ok(&format!("{get} --dpop-key-file {file}")).await;
    assert_eq!((&token["token_type"], &token["dpop_jkt"]), (&json!("DPoP"), &json!(key.thumbprint())));
    for refused in [get.clone(), format!("{get} --dpop-key-file {other}")] {
        let ended = stage.broker.end(&refused, "").await;
        assert!(ended.code != Some(0), "{ended:?}");
        assert_eq!(ended.said["error"]["reason"], "TOKEN_BOUND", "{ended:?}");
    }
    let asked = stage.asked("token");
    for event in &asked {
        assert_eq!(event.dpop_jkt.as_deref(), Some(key.thumbprint()), "{event:?}");
    }
    let refused: Vec<_> = asked.iter().filter_map(|event| event.code.as_deref()).collect();
    assert!(!refused.is_empty() && refused.iter().all(|code| *code == "use_dpop_nonce"), "{refused:?}");
    assert_eq!(stage.server.counters().total.double_uses, 0);

    // There is always a newer nonce: that ends, and nothing is lost by it.
    stage.server.change_behaviour(&json!({"dpop": {"nonce": "never_good"}})).unwrap();
    let before = stage.asked("token").len();
    let failed = stage.api.refresh("c0").await.unwrap_err();
    let why = (reason(&failed), metadata(&failed, "provider_code"));
    assert_eq!(why, ("PROVIDER_CONFIGURATION".to_owned(), "use_dpop_nonce".to_owned()));
    assert!(stage.asked("token").len() - before <= 3, "{:?}", stage.asked("token"));
    let after = stage.api.connection("c0").await.unwrap();
    assert_eq!((after.state(), after.generation), (State::Active, 3), "{after:?}");
    let proof = key.prove("POST", &format!("bursar:{}", name("c0")), SystemClock.now(), None).unwrap();
    let request =
        GetTokenRequest { name: name("c0"), dpop_proof: proof.expose().to_owned(), ..Default::default() };
    let served = stage.api.tokens.clone().get_token(request.clone()).await.unwrap().into_inner();
    assert_eq!((served.generation, &claims(&served)["cnf"]["jkt"]), (3, &json!(key.thumbprint())));
    let replayed = stage.api.tokens.clone().get_token(request).await.unwrap_err();
    assert_eq!(reason(&replayed), "TOKEN_BOUND");

    stage.server.change_behaviour(&json!({"dpop": {"nonce": "asked"}})).unwrap();
    let healed = stage.api.refresh("c0").await.unwrap();
    assert_eq!(healed.generation, 4);
    assert_eq!((healed.state(), stage.server.counters().total.double_uses), (State::Active, 0));
}
