//! People's consents where the server wants more than a code: pushed requests, another device, resources.

use super::{Stage, claims, code_grant, web, willing};
use crate::support::{api::TENANT, person::Person};
use bursar::{
    api::{
        DeviceCodeGrant, DeviceCodeStart, StateReason, connection::State, grant::Kind,
        start_authorization_request::Method as Start, start_authorization_response::NextStep,
        state_reason::Reason,
    },
    simulator::journal::Ending::{Granted, Refreshed, Served},
};
use serde_json::json;

#[tokio::test]
async fn an_authorization_request_is_pushed_where_the_server_insists() {
    let behaviour = json!({"authorize": {"consent": "allow", "pkce": "required", "pushed": "required"}});
    let stage = Stage::new(behaviour, "pushed_authorization = \"required\"").await;
    stage.client("app", "authorization-code").await;
    stage.pending("c0", "app", code_grant()).await;
    stage.consent("c0").await;
    let pushed = stage.asked("par");
    assert_eq!(pushed.iter().map(|event| event.status).collect::<Vec<_>>(), [201]);
    assert_eq!(pushed[0].auth.as_deref(), Some("client_secret_basic"));
    assert_eq!(claims(&stage.api.token("c0").await.unwrap())["client_id"], "app");
    assert_eq!(stage.api.refresh("c0").await.unwrap().generation, 2);

    // What the browser carries is the reference alone.
    stage.pending("c1", "app", code_grant()).await;
    let prompt = stage.start_in_browser("c1").await;
    let answer = web().get(&prompt.authorization_url).send().await.unwrap();
    let sent = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
    let names: Vec<_> = sent.query_pairs().map(|(name, _)| name.into_owned()).collect();
    assert_eq!(names, ["client_id", "request_uri"], "{sent}");
    stage.went_smoothly();
}

#[tokio::test]
async fn a_person_answers_on_another_device_and_the_broker_hears_of_it() {
    let stage = Stage::new(json!({"device": {"interval_seconds": 1}}), "").await;
    stage.client("app", "device-code").await;
    for (id, decision) in [("c0", "allow"), ("c1", "deny")] {
        stage.pending(id, "app", Kind::DeviceCode(DeviceCodeGrant::default())).await;
        let started = stage.api.start(id, Start::DeviceCode(DeviceCodeStart {})).await.unwrap();
        let Some(NextStep::DeviceCode(prompt)) = started.next_step else { panic!("{started:?}") };
        assert!(prompt.verification_uri_complete.ends_with(&prompt.user_code), "{prompt:?}");
        let answers = match decision {
            "allow" => &[("decision", "allow"), ("user", "wanda")],
            _ => &[("decision", "deny"), ("user", "wanda")],
        };
        let arrival = Person::new(answers).go(&prompt.verification_uri_complete, |_| false).await;
        assert!(arrival.html.contains("<h1>Done</h1>"), "{arrival:?}");
    }
    stage.decided("c0", |now| now.state() == State::Active).await;
    assert_eq!(claims(&stage.api.token("c0").await.unwrap())["sub"], "wanda");
    assert_eq!(stage.api.refresh("c0").await.unwrap().generation, 2);
    let denied = stage.decided("c1", |now| now.state_reason.is_some()).await;
    let why = denied.state_reason.as_ref().map(StateReason::reason);
    assert_eq!((denied.state(), why), (State::Pending, Some(Reason::AuthorizationDenied)));
    let too_soon: Vec<_> =
        stage.asked("token").into_iter().filter(|event| event.code.as_deref() == Some("slow_down")).collect();
    assert_eq!(too_soon, []);
}

#[tokio::test]
async fn resources_are_named_at_the_authorization_at_the_exchange_and_at_each_refresh() {
    let resources = ["https://orders.example/api", "https://stock.example/"];
    let stage = Stage::new(willing(), "resource_indicators = \"everywhere\"").await;
    stage.client("app", "authorization-code").await;
    let [orders, stock] = resources;
    let line = format!(
        "{TENANT}/connections/c0 --create --client {TENANT}/clients/app --resource {orders} --resource {stock}"
    );
    let arrival = stage.broker.authorize(&line, &mut Person::new(&[])).await;
    assert!(arrival.html.contains("<h1>Authorized</h1>"), "{arrival:?}");
    for generation in 1..=3 {
        let token = stage.api.token("c0").await.unwrap();
        assert_eq!((claims(&token)["aud"].clone(), token.generation), (json!(resources), generation));
        stage.api.refresh("c0").await.unwrap();
    }
    let asked: Vec<_> = ["authorize", "token"].iter().flat_map(|endpoint| stage.asked(endpoint)).collect();
    let endings: Vec<_> = asked.iter().map(|event| event.ending).collect();
    assert_eq!(endings, [Served, Granted, Refreshed, Refreshed, Refreshed]);
    for event in asked {
        assert_eq!(event.resource, resources, "{event:?}");
    }
    stage.went_smoothly();
}
