//! A person consents, or does not, at a simulated SAP Concur, whose redirects have words of their own: `error_code` for
//! a refusal, a `geolocation` beside the code, and perhaps no `state`: that it comes back is not published.

use crate::support::{
    api::{Api, CLIENT},
    driven::Driven,
    person::{Arrival, Person},
    scene::{Scene, Settings},
};
use bursar::{
    api::{
        AuthorizationCodeGrant, AuthorizationCodeStart, authorization, connection::State, grant::Kind,
        start_authorization_request::Method as Start, start_authorization_response::NextStep,
        state_reason::Reason,
    },
    simulator::concur::{App, Kind as Who, NewApp, NewPrincipal},
};
use serde_json::{Value, json};

const HOME: &str = "eu2";

struct Stage {
    scene: Scene,
    api: Api,
    app: App,
    _broker: Driven,
}

impl Stage {
    /// A connection that waits for the one user there is.
    async fn new(behaviour: Value) -> Self {
        let scene = Scene::new(Settings::default()).await;
        scene.simulator.change_behaviour(&behaviour).unwrap();
        let broker = Driven::start(&scene.profile()).await;
        let api = Api::of(broker.address);
        api.create_tenant().await;
        let new = NewApp {
            grants: Some(["authorization_code", "refresh_token"].map(str::to_owned).into()),
            redirect_uris: vec!["http://127.0.0.1:*".to_owned()],
            ..NewApp::default()
        };
        let app = scene.simulator.app(new).unwrap();
        let user =
            NewPrincipal { kind: Who::User, data_centre: Some(HOME.to_owned()), ..NewPrincipal::default() };
        scene.simulator.principal(user).unwrap();
        api.create_client("concur", &app.id, &app.secrets[0]).await.unwrap();
        let waits = Kind::AuthorizationCode(AuthorizationCodeGrant::default());
        assert_eq!(api.create("c0", CLIENT, waits).await.unwrap().state(), State::Pending);
        Self { scene, api, app, _broker: broker }
    }

    /// Begins a consent and opens its address; where the browser ends up.
    async fn opened(&self) -> Arrival {
        let start = Start::AuthorizationCode(AuthorizationCodeStart::default());
        let started = self.api.start("c0", start).await.unwrap();
        let Some(NextStep::AuthorizationCode(prompt)) = started.next_step else { panic!("{started:?}") };
        Person::new(&[]).go(&prompt.authorization_url, |_| false).await
    }

    /// What the page says; the connection still waits, for this reason, and no code was spent.
    async fn ended_at(&self, arrival: &Arrival, status: u16, heading: &str, reason: Reason) {
        assert_eq!(arrival.status, status, "{arrival:?}");
        assert!(arrival.html.contains(&format!("<h1>{heading}</h1>")), "{heading}: {arrival:?}");
        let now = self.api.connection("c0").await.unwrap();
        assert_eq!((now.state(), now.generation), (State::Pending, 0));
        assert_eq!(now.state_reason.unwrap().reason(), reason);
        assert_ne!(now.authorization.unwrap().state(), authorization::State::UnderWay);
        assert!(self.scene.simulator.events().iter().all(|event| event.endpoint != "token"));
    }
}

#[tokio::test]
async fn who_declines_at_concur_is_told_so_and_may_begin_again() {
    let stage = Stage::new(json!({"authorize": {"consent": "deny"}})).await;
    let arrival = stage.opened().await;
    let error = arrival.url.query_pairs().find(|(name, _)| name == "error_code").map(|(_, code)| code);
    assert_eq!(error.as_deref(), Some("user_denied"), "Concur's own word: {arrival:?}");
    stage.ended_at(&arrival, 200, "Not authorized", Reason::AuthorizationDenied).await;

    stage.scene.simulator.change_behaviour(&json!({"authorize": {"consent": "allow"}})).unwrap();
    let arrival = stage.opened().await;
    assert!(arrival.html.contains("<h1>Authorized</h1>"), "{arrival:?}");
    assert_eq!(stage.api.token("c0").await.unwrap().api_base_url, stage.scene.base(HOME));
}

#[tokio::test]
async fn a_number_that_concur_gives_the_browser_is_passed_on() {
    let stage = Stage::new(json!({"authorize": {"consent": "allow"}})).await;
    stage.scene.simulator.change_app(&stage.app.id, &json!({"status": "disabled"})).unwrap();
    let arrival = stage.opened().await;
    stage.ended_at(&arrival, 502, "The provider reported an error", Reason::AuthorizationFailed).await;
    assert!(arrival.html.contains("59"), "the code for whoever looks into it: {arrival:?}");
    assert_eq!(stage.api.client(CLIENT).await.hold, None, "a browser's word holds no client");
}

#[tokio::test]
async fn without_state_the_browsers_cookie_tells_whose_answer_it_is() {
    let stage = Stage::new(json!({"authorize": {"consent": "allow", "state": "left_out"}})).await;
    let arrival = stage.opened().await;
    assert!(arrival.url.query_pairs().all(|(name, _)| name != "state"), "{arrival:?}");
    // Somebody else brings the same answer: for who never began there is nothing here.
    let stranger = Person::new(&[]).go(arrival.url.as_str(), |_| false).await;
    assert_eq!(stranger.status, 404, "{stranger:?}");
    assert!(arrival.html.contains("<h1>Authorized</h1>"), "{arrival:?}");
    let token = stage.api.token("c0").await.unwrap();
    assert_eq!((token.api_base_url, token.generation), (stage.scene.base(HOME), 1));
    let exchanged: Vec<_> =
        stage.scene.simulator.events().into_iter().filter(|event| event.endpoint == "token").collect();
    assert_eq!(exchanged.len(), 1, "{exchanged:?}");
    assert_eq!(exchanged[0].site, "glz", "a code is exchanged at the global data centre");
}
