//! SAP Concur's ways, over the wire: companies that move between data centres, addresses that are refused, codes and
//! what they become, connections that end and come back.

use crate::support::{
    api::{Api, CLIENT, TENANT, metadata, name, reason},
    process::Broker,
    scene::{Place, Scene, Settings},
    until,
};
use bursar::{
    api::{DeleteConnectionRequest, RevokeConnectionRequest, connection::State, state_reason::Reason},
    simulator::{
        concur::{Move, NewApp, Refusal},
        fault::{Fault, Only, Trouble},
    },
};
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;

async fn start(settings: Settings) -> (Scene, Broker, Api) {
    let scene = Scene::new(settings).await;
    let broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    (scene, broker, api)
}

#[tokio::test]
async fn the_next_token_of_a_company_that_moved_carries_its_new_address() {
    let (scene, _broker, api) = start(Settings::default()).await;
    let held = scene.connect(&api, 3).await;
    for one in &held {
        assert_eq!(api.token(&one.id).await.unwrap().api_base_url, scene.base("us2"));
    }
    // Told by code 16; told by code 16 of a data centre on the way; told beside the last token of the old home.
    let moves = [(Move::Redirect, None), (Move::Redirect, Some("apj1")), (Move::Farewell, None)];
    for (one, (how, via)) in held.iter().zip(moves) {
        scene.simulator.move_company(&one.company.company, "eu2", how, via).unwrap();
        api.refresh(&one.id).await.unwrap();
        let token = api.token(&one.id).await.unwrap();
        assert_eq!((token.api_base_url, token.generation), (scene.base("eu2"), 2), "{how:?} {via:?}");
    }
    // From now on it is asked there at once.
    let refused = scene.simulator.counters().total.refused;
    for one in &held {
        api.refresh(&one.id).await.unwrap();
    }
    assert_eq!(scene.simulator.counters().total.refused, refused);
}

#[tokio::test]
async fn nothing_is_sent_to_an_address_that_is_not_listed() {
    let (scene, _broker, api) = start(Settings { unlisted: &["apj1"], ..Settings::default() }).await;
    let held = scene.connect(&api, 2).await;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let elsewhere = format!("http://{}", listener.local_addr().unwrap());
    let token = api.token("c0").await.unwrap().access_token;
    let refusal = Refusal { code: 16, geolocation: Some(elsewhere.clone()) };
    let fault = Fault::once(Trouble::Refuse(refusal)).only(Only::principal(&held[0].company.company));
    scene.simulator.break_next(fault).unwrap();
    let status = api.refresh("c0").await.unwrap_err();
    assert_eq!(reason(&status), "PROVIDER_ADDRESS_REFUSED", "{status}");
    // The grant is as it was, and so is the token.
    assert_eq!(api.token("c0").await.unwrap().access_token, token);
    assert_eq!(api.refresh("c0").await.unwrap().generation, 2);

    // A token for an address that is not listed is not handed out, and the refresh token beside it is kept.
    scene.simulator.move_company(&held[1].company.company, "apj1", Move::Farewell, None).unwrap();
    let status = api.refresh("c1").await.unwrap_err();
    assert_eq!(reason(&status), "PROVIDER_MALFORMED_ANSWER", "{status}");
    assert_eq!(api.token("c1").await.unwrap().api_base_url, scene.base("us2"));
    scene.simulator.move_company(&held[1].company.company, "us2", Move::Redirect, None).unwrap();
    api.refresh("c1").await.unwrap();
    assert_eq!(scene.simulator.counters().total.double_uses, 0);

    // Nor by what a caller says.
    let status = api.import("c2", "a-refresh-token", &elsewhere).await.unwrap_err();
    assert_eq!(reason(&status), "INVALID_ARGUMENT", "{status}");
    assert!(scene.simulator.events().iter().all(|event| event.site != "apj1"));
    let visit = tokio::time::timeout(Duration::from_millis(200), listener.accept()).await;
    assert!(visit.is_err(), "somebody came: {visit:?}");
}

#[tokio::test]
async fn request_tokens_start_connections_or_say_why_not() {
    let (scene, _broker, api) = start(Settings::default()).await;
    api.create_tenant().await;
    api.create_client("concur", &scene.app.id, &scene.app.secrets[0]).await.unwrap();
    let company = scene.simulator.company("eu2").unwrap();
    let token = scene.simulator.request_token(&company, &scene.app.id).unwrap().token;
    let made = api.request_token("good", CLIENT, &company, &token).await.unwrap();
    assert_eq!((made.state(), made.api_base_url.clone()), (State::Active, scene.base("eu2")));
    assert_eq!(made.principal.unwrap().id, company);
    assert_eq!(api.refresh("good").await.unwrap().generation, 2);

    let other = scene.simulator.app(NewApp::default()).unwrap();
    let of_other = scene.simulator.request_token(&company, &other.id).unwrap().token;
    for (given, code) in [("at-not-a-request-token", "5"), (of_other.as_str(), "136")] {
        let status = api.request_token("bad", CLIENT, &company, given).await.unwrap_err();
        let told = (reason(&status), metadata(&status, "provider_code"));
        assert_eq!(told, ("REQUEST_TOKEN_REFUSED".into(), code.into()), "{status}");
        assert!(api.connection("bad").await.is_err(), "it was kept");
    }
    // The client is not held for that.
    assert_eq!(api.client(CLIENT).await.hold, None);
    assert_eq!(api.refresh("good").await.unwrap().generation, 3);

    api.create_client("unknown", "no-such-app", "secret").await.unwrap();
    let unknown = format!("{TENANT}/clients/unknown");
    let status = api.request_token("bad", &unknown, &company, &token).await.unwrap_err();
    assert_eq!((reason(&status), metadata(&status, "provider_code")), ("CLIENT_REFUSED".into(), "61".into()));
    let hold = api.client(&unknown).await.hold.unwrap();
    assert_eq!(hold.provider_code, "61");
}

#[tokio::test]
async fn a_company_that_disconnects_the_app_is_believed_the_second_time() {
    let (scene, _broker, api) = start(Settings::default()).await;
    let held = scene.connect(&api, 2).await;
    let company = &held[0].company.company;
    scene.simulator.disconnect(company, &scene.app.id).unwrap();
    let status = api.refresh("c0").await.unwrap_err();
    assert_eq!((reason(&status), metadata(&status, "provider_code")), ("REFRESH_HELD".into(), "53".into()));
    assert_eq!(api.connection("c0").await.unwrap().state(), State::Active);
    let ended = until("the refusal is confirmed", || async {
        let found = api.connection("c0").await.unwrap();
        (found.state() == State::NeedsReauthorization).then_some(found)
    })
    .await;
    let why = ended.state_reason.unwrap();
    assert_eq!((why.reason(), why.provider_code.as_str()), (Reason::CompanyNotEnabled, "53"));
    assert_eq!(scene.simulator.counters().of(company).refused, 2);
    // Its token lives on until it expires, and more than that is not to be had.
    api.token("c0").await.unwrap();
    scene.simulator.connect(company, &scene.app.id).unwrap();
    let healed = api.refresh("c0").await.unwrap();
    assert_eq!((healed.state(), healed.generation), (State::Active, 2));
    assert_eq!(api.connection("c1").await.unwrap().generation, 1);
}

#[tokio::test]
async fn a_disabled_app_holds_its_connections_and_costs_no_grant() {
    let (scene, _broker, api) = start(Settings::default()).await;
    let held = scene.connect(&api, 3).await;
    scene.simulator.change_app(&scene.app.id, &json!({"status": "disabled"})).unwrap();
    let status = api.refresh("c0").await.unwrap_err();
    assert_eq!((reason(&status), metadata(&status, "provider_code")), ("CLIENT_REFUSED".into(), "59".into()));
    let waits = api.client(CLIENT).await.hold.unwrap();
    assert_eq!(waits.provider_code, "59");
    for one in &held {
        assert_eq!(api.connection(&one.id).await.unwrap().state(), State::Active);
        api.token(&one.id).await.unwrap();
    }
    scene.simulator.change_app(&scene.app.id, &json!({"status": "enabled"})).unwrap();
    until("it heals by itself", || async {
        (api.connection("c0").await.unwrap().generation == 2).then_some(())
    })
    .await;
    until("the hold is lifted", || async { api.client(CLIENT).await.hold.is_none().then_some(()) }).await;
    for one in &held {
        let company = scene.simulator.counters().of(&one.company.company);
        assert_eq!(api.refresh(&one.id).await.unwrap().generation, company.refreshed + 1);
    }
}

#[tokio::test]
async fn revoking_and_deleting_end_the_grant_at_the_provider() {
    let (scene, _broker, api) = start(Settings::default()).await;
    let held = scene.connect(&api, 2).await;
    let request = RevokeConnectionRequest { name: name("c0"), ..Default::default() };
    let revoked = api.connections.clone().revoke_connection(request).await.unwrap().into_inner();
    assert_eq!(revoked.state(), State::Revoked);
    assert_eq!(reason(&api.token("c0").await.unwrap_err()), "CONNECTION_REVOKED");
    assert_eq!(scene.simulator.counters().of(&held[0].company.company).revoked, 1);

    let request = DeleteConnectionRequest { name: name("c1"), ..Default::default() };
    api.connections.clone().delete_connection(request).await.unwrap();
    assert_eq!(reason(&api.token("c1").await.unwrap_err()), "CONNECTION_NOT_FOUND");
    assert_eq!(scene.simulator.counters().of(&held[1].company.company).revoked, 1);
    assert_eq!(api.all().await.len(), 1);
}

#[tokio::test]
async fn a_refresh_token_whose_end_comes_near_is_told_once() {
    const TOLD: &str = "refresh token runs out";
    let (scene, broker, api) = start(Settings::default()).await;
    scene.connect(&api, 1).await;
    api.refresh("c0").await.unwrap();
    assert!(!broker.logged().contains(TOLD), "SAP Concur's own 180 days");
    let short = json!({"refresh": {"expiry": {"sliding": {"seconds": 6 * 24 * 3600}}}});
    scene.simulator.change_behaviour(&short).unwrap();
    api.refresh("c0").await.unwrap();
    api.refresh("c0").await.unwrap();
    let log = broker.logged();
    let told: Vec<_> = log.lines().filter(|line| line.contains(TOLD)).collect();
    let [told] = told.as_slice() else { panic!("{told:?}") };
    let told: serde_json::Value = serde_json::from_str(told).unwrap();
    assert_eq!((&told["connection"], &told["days_left"]), (&json!(name("c0")), &json!(5)), "{told}");
    let listed = api.connection("c0").await.unwrap().refresh_token_expire_time.unwrap();
    let expires = told["refresh_token_expires"].as_str().unwrap();
    assert!(expires.starts_with(&listed.to_string()[..16]), "{expires} {listed}");
}
