//! A one-time password of SAP Concur from the mail to the token, and what becomes of wrong ones.

use crate::support::{
    api::{Api, CLIENT, reason},
    process::Broker,
    scene::{Place, Scene, Settings},
};
use bursar::{
    api::{
        OtpGrant, OtpStart, authorization, connection::State, grant::Kind,
        start_authorization_request::Method as Start, start_authorization_response::NextStep,
        state_reason::Reason,
    },
    simulator::concur::{App, Kind as Who, NewApp, NewPrincipal},
};

const MAIL: &str = "ann@example.com";
/// As many wrong ones as a person may type.
const TRIES: usize = 5;

struct Stage {
    scene: Scene,
    api: Api,
    user: String,
    _broker: Broker,
}

impl Stage {
    /// A connection that waits for Ann, whose company lives there.
    async fn new(data_centre: &str) -> Self {
        let scene = Scene::new(Settings::default()).await;
        let broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
        let api = Api::of(broker.address());
        api.create_tenant().await;
        let grants = Some(["otp", "refresh_token"].map(str::to_owned).into());
        let app: App = scene.simulator.app(NewApp { grants, ..NewApp::default() }).unwrap();
        api.create_client("concur", &app.id, &app.secrets[0]).await.unwrap();
        let ann = NewPrincipal {
            kind: Who::User,
            login: Some(MAIL.to_owned()),
            data_centre: Some(data_centre.to_owned()),
            ..NewPrincipal::default()
        };
        let user = scene.simulator.principal(ann).unwrap();
        let made = api.create("c0", CLIENT, Kind::Otp(OtpGrant {})).await.unwrap();
        assert_eq!(made.state(), State::Pending);
        Self { scene, api, user, _broker: broker }
    }

    /// What the mail says, and where the link in it leads.
    async fn sent(&self) -> (String, Option<String>) {
        let parameters = [("company", "Acme"), ("link", "https://app.example/otp")];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let start = OtpStart { email: MAIL.to_owned(), parameters };
        let started = self.api.start("c0", Start::Otp(start)).await.unwrap();
        let Some(NextStep::Otp(prompt)) = started.next_step else { panic!("{started:?}") };
        assert!(prompt.sent_to.contains("@example.com") && prompt.sent_to != MAIL, "{prompt:?}");
        let mail = self.scene.simulator.mailbox().unwrap().pop().unwrap();
        assert_eq!(mail.to, MAIL);
        (mail.otp, mail.link)
    }

    async fn is_open(&self) -> bool {
        let now = self.api.connection("c0").await.unwrap();
        assert_eq!((now.state(), now.generation), (State::Pending, 0));
        now.authorization.is_some_and(|one| one.state() == authorization::State::UnderWay)
    }
}

#[tokio::test]
async fn a_password_from_the_mail_brings_a_token_that_is_refreshed() {
    let stage = Stage::new("us2").await;
    let (otp, link) = stage.sent().await;
    assert_eq!(link, Some(format!("https://app.example/otp?token={otp}")));
    let wrong = stage.api.complete_otp("c0", "dd-wrong").await.unwrap_err();
    assert_eq!(reason(&wrong), "GRANT_REFUSED", "{wrong}");
    assert!(stage.is_open().await, "a mistyped one is no end");
    let made = stage.api.complete_otp("c0", &otp).await.unwrap();
    assert_eq!((made.state(), made.generation), (State::Active, 1));
    let first = stage.api.token("c0").await.unwrap();
    assert_eq!(first.api_base_url, stage.scene.base("us2"));
    assert_eq!(stage.api.refresh("c0").await.unwrap().generation, 2);
    assert_ne!(stage.api.token("c0").await.unwrap().access_token, first.access_token);
    let counted = stage.scene.simulator.counters().of(&stage.user);
    assert_eq!((counted.granted, counted.refreshed, counted.double_uses), (1, 1, 0), "{counted:?}");
    let again = stage.api.complete_otp("c0", &otp).await.unwrap_err();
    assert_eq!(reason(&again), "AUTHORIZATION_NOT_FOUND", "{again}");
}

#[tokio::test]
async fn whoever_guesses_has_five_tries_and_then_the_right_one_is_too_late() {
    let stage = Stage::new("glz").await;
    let (otp, _) = stage.sent().await;
    for tried in 1..=TRIES {
        let wrong = stage.api.complete_otp("c0", &format!("dd-{tried}")).await.unwrap_err();
        assert_eq!(reason(&wrong), "GRANT_REFUSED", "{wrong}");
        assert_eq!(stage.is_open().await, tried < TRIES, "{tried}");
    }
    let late = stage.api.complete_otp("c0", &otp).await.unwrap_err();
    assert_eq!(reason(&late), "AUTHORIZATION_NOT_FOUND", "{late}");
    let ended = stage.api.connection("c0").await.unwrap();
    assert_eq!(ended.state_reason.unwrap().reason(), Reason::AuthorizationFailed);
    assert_eq!(stage.scene.simulator.counters().total.granted, 0);
    let (otp, _) = stage.sent().await;
    assert_eq!(stage.api.complete_otp("c0", &otp).await.unwrap().state(), State::Active);
}
