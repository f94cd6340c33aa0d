//! Every error code that SAP publishes for its token endpoints, driven through the whole broker: what becomes of a
//! connection that was refreshed with it, of a first exchange, of the client, and what the caller is told.
//! The page `docs/concur-codes.md` is written from what was seen here.

use crate::support::{
    api::{Api, TENANT, metadata, reason},
    process::Broker,
    scene::{Place, Scene, Settings},
    until,
};
use bursar::{
    api::{
        AuthorizationCodeGrant, CompanyRequestTokenGrant, Connection, FailureClass, OtpGrant, OtpStart,
        PasswordGrant, RefreshTokenGrant, authorization, connection::State, grant::Kind,
        start_authorization_request::Method as Start, state_reason::Reason,
    },
    simulator::{
        concur::{App, Kind as Who, NewApp, NewPrincipal, Refusal},
        fault::{Fault, Only, Trouble},
    },
};
use serde_json::json;
use std::fmt::Write as _;
use tonic::Status;
use url::Url;

const CALLBACK: &str = "https://app.example/callback";
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/concur-codes.md");

/// Whose business a code is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The grant is refused: confirmed, the connection needs a person, for this reason.
    Grant(Reason),
    /// The client registration is refused: all its connections wait, none ends.
    Client,
    /// The service is away, or the company lives elsewhere and no way leads there.
    Service,
    /// Asked too often.
    Patience,
    /// The request or the user's account: an operator looks, nothing is given up.
    Operator,
}

/// What a first exchange is told. Nothing is kept of it in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    /// What was presented is refused: have a new one made.
    Token,
    Disabled,
    NotEnabled,
    Client,
    Service,
    Patience,
    Request,
}

struct Row {
    code: u16,
    says: &'static str,
    refresh: Whose,
    first: First,
}

const fn row(code: u16, says: &'static str, refresh: Whose, first: First) -> Row {
    Row { code, says, refresh, first }
}

use First as F;
use Whose::{Client, Grant, Operator, Patience, Service};

#[rustfmt::skip]
const ROWS: [Row; 55] = [
    row(5, "client or user credentials are wrong; which, is not told", Client, F::Token),
    row(10, "account is disabled", Operator, F::Disabled),
    row(11, "account is disabled", Operator, F::Disabled),
    row(12, "logon is denied", Operator, F::Token),
    row(13, "logon is denied", Operator, F::Token),
    row(14, "account is locked", Operator, F::Token),
    row(16, "lives elsewhere, and no address is given that could be followed", Service, F::Service),
    row(19, "credentials are wrong", Operator, F::Token),
    row(20, "logon is denied, typically for the caller's address", Operator, F::Token),
    row(21, "single sign-on only", Operator, F::Token),
    row(51, "no username", Operator, F::Request),
    row(52, "no password", Operator, F::Request),
    row(53, "company is not enabled for the client", Grant(Reason::CompanyNotEnabled), F::NotEnabled),
    row(54, "scope exceeds what was granted", Operator, F::Request),
    row(55, "e-mail address is not known", Operator, F::Token),
    row(56, "no one-time password", Operator, F::Request),
    row(57, "no channel_type", Operator, F::Request),
    row(58, "no channel_handle", Operator, F::Request),
    row(59, "app is switched off", Client, F::Client),
    row(60, "grant type is not among the app's", Client, F::Client),
    row(61, "client is not known here; also a sandbox's app in production", Client, F::Client),
    row(62, "no client_id", Operator, F::Request),
    row(63, "no client_secret", Operator, F::Request),
    row(64, "client credentials are wrong", Client, F::Client),
    row(65, "no grant_type", Operator, F::Request),
    row(80, "channel_type is invalid", Operator, F::Request),
    row(81, "channel_handle is bad", Operator, F::Token),
    row(82, "too many one-time passwords are open", Patience, F::Patience),
    row(83, "one-time password is not known", Operator, F::Token),
    row(84, "facts sent with the one-time password differ", Operator, F::Token),
    row(85, "one-time password is not verified", Operator, F::Token),
    row(100, "company or user is not known", Operator, F::Token),
    row(101, "no code", Operator, F::Request),
    row(102, "no redirect_uri", Operator, F::Request),
    row(103, "code is bad or expired", Operator, F::Token),
    row(104, "redirect_uri differs", Operator, F::Request),
    row(105, "grant was issued to another client", Grant(Reason::IssuedToOtherClient), F::Token),
    row(106, "no refresh_token", Operator, F::Request),
    row(107, "app may not refresh", Client, F::Client),
    row(108, "refresh token is bad or expired", Grant(Reason::Revoked), F::Token),
    row(109, "no loginid", Operator, F::Request),
    row(115, "client did not authenticate", Client, F::Client),
    row(117, "no nonce", Operator, F::Request),
    row(118, "display is invalid", Operator, F::Request),
    row(119, "prompt is invalid", Operator, F::Request),
    row(120, "credtype is invalid", Operator, F::Request),
    row(121, "login_type is invalid", Operator, F::Request),
    row(122, "proxies are invalid", Operator, F::Request),
    row(123, "company or user is disabled", Grant(Reason::PrincipalDisabled), F::Disabled),
    row(124, "product is invalid", Operator, F::Request),
    row(134, "company is in scheduled maintenance", Service, F::Service),
    row(135, "request's format: content type, charset or chunked body", Operator, F::Request),
    row(136, "request token was made for another app", Grant(Reason::IssuedToOtherClient), F::Token),
    row(139, "password must be changed", Operator, F::Token),
    row(999, "any code that is not published", Operator, F::Request),
];

impl Whose {
    fn class(self) -> FailureClass {
        match self {
            Grant(_) => FailureClass::Suspect,
            Client => FailureClass::Client,
            Service => FailureClass::ProviderDown,
            Patience => FailureClass::Throttled,
            Operator => FailureClass::Configuration,
        }
    }

    fn told(self) -> &'static str {
        match self {
            Grant(_) => "REFRESH_HELD",
            Client => "CLIENT_REFUSED",
            Service => "PROVIDER_UNAVAILABLE",
            Patience => "PROVIDER_THROTTLED",
            Operator => "PROVIDER_CONFIGURATION",
        }
    }

    fn follows(self) -> &'static str {
        match self {
            Grant(_) => "asked again seconds later; refused again, the connection needs a person",
            Client => "the client is held, its connections wait; no grant ends",
            Service | Patience => "tried again later; the grant is kept",
            Operator => "tried again after longer pauses; the grant is kept",
        }
    }

    fn ends_as(self) -> Option<Reason> {
        match self {
            Grant(reason) => Some(reason),
            Client | Service | Patience | Operator => None,
        }
    }
}

/// What a first exchange presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    RequestToken,
    Password,
    Code,
    Otp,
}

const ALL: [With; 4] = [With::RequestToken, With::Password, With::Code, With::Otp];

impl First {
    fn told(self, with: With) -> &'static str {
        match self {
            Self::Token if with == With::RequestToken => "REQUEST_TOKEN_REFUSED",
            Self::Token => "GRANT_REFUSED",
            Self::Disabled => "PRINCIPAL_DISABLED",
            Self::NotEnabled => "COMPANY_NOT_ENABLED",
            Self::Client => Client.told(),
            Self::Service => Service.told(),
            Self::Patience => Patience.told(),
            Self::Request => Operator.told(),
        }
    }

    /// When a one-time password is asked for.
    fn asked(self) -> &'static str {
        self.told(With::Otp)
    }
}

struct Held {
    row: &'static Row,
    app: App,
    client: String,
    id: String,
}

struct Stage {
    scene: Scene,
    api: Api,
    browser: reqwest::Client,
    _broker: Broker,
}

impl Stage {
    async fn new() -> Self {
        let scene = Scene::new(Settings::default()).await;
        let broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
        let api = Api::of(broker.address());
        api.create_tenant().await;
        scene.simulator.change_behaviour(&json!({"authorize": {"consent": "allow"}})).unwrap();
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let stays = reqwest::redirect::Policy::none();
        let browser = reqwest::Client::builder().no_proxy().redirect(stays).build().unwrap();
        Self { scene, api, browser, _broker: broker }
    }

    /// An app of its own for each code, and a client of its own for each exchange: what one does to a client must not
    /// hold the others.
    async fn client(&self, row: &'static Row) -> Held {
        let grants = ["password", "refresh_token", "client_credentials", "authorization_code", "otp"];
        let new = NewApp {
            grants: Some(grants.map(str::to_owned).into()),
            redirect_uris: vec![CALLBACK.to_owned()],
            ..NewApp::default()
        };
        let app = self.scene.simulator.app(new).unwrap();
        let id = format!("c{}", row.code);
        let client = self.another_client(&id, &app).await;
        Held { row, app, client, id }
    }

    async fn another_client(&self, id: &str, app: &App) -> String {
        self.api.create_client(id, &app.id, &app.secrets[0]).await.unwrap();
        format!("{TENANT}/clients/{id}")
    }

    /// Something to start a connection with, and whose it is.
    async fn credential(&self, held: &Held, with: With) -> (String, Kind) {
        let simulator = &self.scene.simulator;
        if with == With::RequestToken {
            let company = simulator.company("us2").unwrap();
            let request_token = simulator.request_token(&company, &held.app.id).unwrap().token;
            let grant = CompanyRequestTokenGrant {
                company_uuid: company.clone(),
                request_token,
                ..Default::default()
            };
            return (company, Kind::CompanyRequestToken(grant));
        }
        let login = match with {
            With::Otp => mail(held),
            With::RequestToken | With::Password | With::Code => format!("{}@example.com", held.id),
        };
        let known = simulator.principal(NewPrincipal {
            kind: Who::User,
            login: Some(login.clone()),
            password: Some("pw".to_owned()),
            ..NewPrincipal::default()
        });
        let user = known.unwrap();
        let grant = match with {
            With::Code => Kind::AuthorizationCode(AuthorizationCodeGrant {
                code: self.code(&held.app.id, &user).await,
                redirect_uri: CALLBACK.to_owned(),
                ..Default::default()
            }),
            With::Otp => Kind::Otp(OtpGrant {}),
            With::Password | With::RequestToken => {
                Kind::Password(PasswordGrant { username: login, password: "pw".to_owned() })
            }
        };
        (user, grant)
    }

    /// What the browser brings back when the user has allowed it.
    async fn code(&self, app: &str, user: &str) -> String {
        let query =
            [("response_type", "code"), ("client_id", app), ("redirect_uri", CALLBACK), ("login_hint", user)];
        let page = format!("{}/oauth2/v0/authorize", self.scene.base("glz"));
        let page = Url::parse_with_params(&page, query).unwrap();
        let answer = self.browser.get(page).send().await.unwrap();
        let back = Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        back.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned()
    }

    /// A company of this app that is connected here and there; its id.
    async fn connected(&self, held: &Held) -> String {
        let company = self.scene.simulator.seed_connections(&held.app.id, 1, Some("us2")).unwrap().remove(0);
        let grant = RefreshTokenGrant {
            refresh_token: company.refresh_token,
            api_base_url: company.geolocation,
            ..RefreshTokenGrant::default()
        };
        self.api.create(&held.id, &held.client, Kind::RefreshToken(grant)).await.unwrap();
        company.company
    }

    async fn hold_code(&self, held: &Held) -> Option<String> {
        self.api.client(&held.client).await.hold.map(|hold| hold.provider_code)
    }
}

#[tokio::test]
async fn every_code_of_concur_has_its_consequence() {
    let stage = Stage::new().await;
    let mut all = Vec::new();
    for row in &ROWS {
        let held = stage.client(row).await;
        refresh(&stage, &held).await;
        for (number, with) in ALL.into_iter().enumerate() {
            let client = stage.another_client(&format!("{}-{number}", held.id), &held.app).await;
            let held = Held { client, app: held.app.clone(), id: held.id.clone(), row };
            match with {
                With::Otp => one_time_password(&stage, &held).await,
                With::RequestToken | With::Password | With::Code => first_exchange(&stage, &held, with).await,
            }
        }
        all.push(held);
    }
    for held in &all {
        let Some(wanted) = held.row.refresh.ends_as() else { continue };
        let ended = until("the refusal is confirmed", || async {
            let found = stage.api.connection(&held.id).await.unwrap();
            (found.state() == State::NeedsReauthorization).then_some(found)
        })
        .await;
        let why = ended.state_reason.unwrap();
        let code = held.row.code.to_string();
        assert_eq!((why.reason(), why.provider_code), (wanted, code.clone()), "{code}");
        assert_eq!(stage.hold_code(held).await, None, "{code}");
    }
    page_is(&page());
}

async fn first_exchange(stage: &Stage, held: &Held, with: With) {
    let (row, simulator) = (held.row, &stage.scene.simulator);
    let (principal, credential) = stage.credential(held, with).await;
    simulator.refuse(&principal, Some(row.code)).unwrap();
    let status = stage.api.create("first", &held.client, credential.clone()).await.unwrap_err();
    assert_told(row, row.first.told(with), &status);
    assert!(stage.api.connection("first").await.is_err(), "{} {with:?}: it was kept", row.code);
    let wanted = (row.first == First::Client).then(|| row.code.to_string());
    assert_eq!(stage.hold_code(held).await, wanted, "{} {with:?}", row.code);
    if wanted.is_none() {
        // Nothing was lost by it: the same credential is good as soon as the refusal is over.
        simulator.refuse(&principal, None).unwrap();
        let started = stage.api.create("first", &held.client, credential).await;
        assert_eq!(started.unwrap().state(), State::Active, "{} {with:?}", row.code);
        stage.delete("first").await;
    }
}

/// Those that may be somebody's mistake in typing, or nobody's: the consent stays open.
const MISTYPED: [u16; 4] = [16, 82, 83, 134];

/// Where one-time passwords for it go.
fn mail(held: &Held) -> String {
    format!("{}-otp@example.com", held.id)
}

async fn one_time_password(stage: &Stage, held: &Held) {
    let (row, api, simulator) = (held.row, &stage.api, &stage.scene.simulator);
    let (user, grant) = stage.credential(held, With::Otp).await;
    api.create("first", &held.client, grant).await.unwrap();
    let sent = || {
        let mails = simulator.mailbox().unwrap();
        mails.into_iter().find(|one| one.to == mail(held)).unwrap().otp
    };
    let start = async || {
        let method = Start::Otp(OtpStart { email: mail(held), ..OtpStart::default() });
        api.start("first", method).await.unwrap();
    };
    if ASKED.contains(&row.code) {
        asked_in_vain(stage, held).await;
    }
    start().await;
    simulator.refuse(&user, Some(row.code)).unwrap();
    let status = api.complete_otp("first", &sent()).await.unwrap_err();
    assert_told(row, row.first.told(With::Otp), &status);
    let waiting = api.connection("first").await.unwrap();
    assert_eq!((waiting.state(), waiting.generation), (State::Pending, 0), "{}", row.code);
    assert_eq!(stage.hold_code(held).await, None, "{}: a consent says nothing of others' grants", row.code);
    simulator.refuse(&user, None).unwrap();
    // A mistyped password or a server that is away is no end: the same one may be tried again.
    let open = waiting.authorization.unwrap().state() == authorization::State::UnderWay;
    assert!(open || !MISTYPED.contains(&row.code), "{}", row.code);
    if !open {
        start().await;
    }
    let started = api.complete_otp("first", &sent()).await;
    assert_eq!(started.unwrap().state(), State::Active, "{}", row.code);
    stage.delete("first").await;
}

/// Those with which the endpoint that sends one-time passwords refuses.
const ASKED: [u16; 11] = [16, 57, 58, 60, 61, 62, 63, 80, 81, 82, 135];

/// No password is sent: what the caller is told, and that nothing has begun.
async fn asked_in_vain(stage: &Stage, held: &Held) {
    let row = held.row;
    let only = Only { app: Some(held.app.id.clone()), ..Only::grant("send_otp") };
    let fault = Fault::once(Trouble::Refuse(Refusal::code(row.code))).only(only);
    stage.scene.simulator.break_next(fault).unwrap();
    let method = Start::Otp(OtpStart { email: mail(held), ..OtpStart::default() });
    let status = stage.api.start("first", method).await.unwrap_err();
    assert_told(row, row.first.asked(), &status);
    let waiting = stage.api.connection("first").await.unwrap();
    assert_eq!((waiting.state(), waiting.authorization), (State::Pending, None), "{}", row.code);
    assert!(stage.scene.simulator.mailbox().unwrap().iter().all(|one| one.to != mail(held)), "{}", row.code);
    assert_eq!(stage.hold_code(held).await, None, "{}: nothing was exchanged", row.code);
}

async fn refresh(stage: &Stage, held: &Held) {
    let row = held.row;
    let company = stage.connected(held).await;
    let before = stage.api.token(&held.id).await.unwrap();
    stage.scene.simulator.refuse(&company, Some(row.code)).unwrap();
    let status = stage.api.refresh(&held.id).await.unwrap_err();
    assert_told(row, row.refresh.told(), &status);
    let after = stage.api.connection(&held.id).await.unwrap();
    let failure = after.last_failure.clone().unwrap();
    let seen = (after.state(), failure.class(), failure.provider_code);
    assert_eq!(seen, (State::Active, row.refresh.class(), row.code.to_string()), "{}", row.code);
    assert!(!failure.correlation_id.is_empty(), "{}: support asks for the correlation id", row.code);
    let wanted = (row.refresh == Client).then(|| row.code.to_string());
    assert_eq!(stage.hold_code(held).await, wanted, "{}", row.code);
    // Whatever it was: the token that is good still is served.
    assert_eq!(stage.api.token(&held.id).await.unwrap().access_token, before.access_token, "{}", row.code);
}

fn assert_told(row: &Row, wanted: &str, status: &Status) {
    let told = (reason(status), metadata(status, "provider_code"));
    assert_eq!(told, (wanted.to_owned(), row.code.to_string()), "{status}");
    assert!(!metadata(status, "correlation_id").is_empty(), "{status}");
}

impl Stage {
    async fn delete(&self, id: &str) {
        let name = crate::support::api::name(id);
        let request = bursar::api::DeleteConnectionRequest { name, ..Default::default() };
        self.api.connections.clone().delete_connection(request).await.unwrap();
    }
}

#[tokio::test]
async fn a_success_is_read_in_every_form_that_concur_gives_it() {
    let stage = Stage::new().await;
    let held = stage.client(&ROWS[0]).await;
    let company = stage.connected(&held).await;
    let simulator = &stage.scene.simulator;
    let home = stage.scene.base("us2");
    let mut last = stage.api.connection(&held.id).await.unwrap();
    let expiry = |found: &Connection| found.refresh_token_expire_time.unwrap().seconds;
    let cases = [
        json!({"expires_in": "text"}),
        json!({"refresh": {"rotation": "same"}}),
        json!({"refresh": {"rotation": "rotate_every"}}),
        json!({"geolocation": "with_path"}),
        json!({"geolocation": "upper_case"}),
        json!({"geolocation": "left_out"}),
        json!({"refresh_expires_in": "left_out"}),
        json!({"id_token": "left_out", "url_claims": "sent"}),
    ];
    for change in cases {
        simulator.change_behaviour(&change).unwrap();
        let now = stage.api.refresh(&held.id).await.unwrap();
        assert_eq!(now.generation, last.generation + 1, "{change}");
        let lives = now.access_token_expire_time.unwrap().seconds - now.last_success_time.unwrap().seconds;
        assert!((3598..=3600).contains(&lives), "{change}: {lives}");
        assert_eq!(stage.api.token(&held.id).await.unwrap().api_base_url, home, "{change}");
        assert!(expiry(&now) >= expiry(&last), "{change}");
        last = now;
    }
    // What an answer leaves out stays as it was, and is not made up.
    simulator.change_behaviour(&json!({"refresh": {"expiry": {"sliding": {"seconds": 60}}}})).unwrap();
    assert_eq!(expiry(&stage.api.refresh(&held.id).await.unwrap()), expiry(&last));
    // What it says counts, though it is earlier.
    simulator.change_behaviour(&json!({"refresh_expires_in": "sent"})).unwrap();
    let sooner = stage.api.refresh(&held.id).await.unwrap();
    assert!(expiry(&sooner) < expiry(&last));
    // The next refresh goes to the kept address, also after an answer without one.
    let counted = simulator.counters().of(&company);
    assert_eq!((counted.refused, counted.double_uses), (0, 0));
    assert!(simulator.events().iter().all(|event| event.site == "us2"));
}

fn page() -> String {
    let mut page = String::from(
        "# SAP Concur's error codes and what Bursar makes of them\n\n\
         <!-- Written by a test that drives each code through a broker and a simulated Concur:\n\
         `UPDATE_DOCS=1 cargo test --test it every_code_of_concur` writes it anew. -->\n\n\
         SAP's token endpoints refuse with a number; HTTP status and `error` say less. Each line of this table was tried:\n\
         a connection was refreshed while the provider answered with the code, and others were to be started by a company\n\
         request token, by a login with a password, by an authorization code and by a one-time password. While a refresh\n\
         fails, the access token that is good still is served. A first exchange that fails keeps nothing, and what was\n\
         presented can be tried again as long as the provider takes it. A person's consent that fails, with a one-time\n\
         password or in a browser, holds no client.\n\n\
         The classes are those of [the architecture](../ARCHITECTURE.md#the-life-of-a-token); the reasons are those of\n\
         `bursar.v1.ErrorReason`, beside `provider_code` and `correlation_id` in the error's metadata.\n\n\
         | code | Concur says | refresh: the caller is told | what follows | first exchange by request token | by login, code or one-time password |\n\
         |---|---|---|---|---|---|\n",
    );
    for row in &ROWS {
        let follows = match row.refresh.ends_as() {
            Some(reason) => format!("{} (`{}`)", row.refresh.follows(), word(reason)),
            None => row.refresh.follows().to_owned(),
        };
        let code = if row.code == 999 { "other".to_owned() } else { row.code.to_string() };
        let told = row.refresh.told();
        let (token, other) = (row.first.told(With::RequestToken), row.first.told(With::Code));
        let _ = writeln!(page, "| {code} | {} | `{told}` | {follows} | `{token}` | `{other}` |", row.says);
    }
    page.push_str(
        "\nThe endpoint that sends one-time passwords refuses with some of these numbers, too. StartAuthorization then ends\n\
         like this; nothing has begun, no password is sent, and the client is not held.\n\n\
         | code | a one-time password is asked for: the caller is told |\n|---|---|\n",
    );
    for row in ROWS.iter().filter(|row| ASKED.contains(&row.code)) {
        let _ = writeln!(page, "| {} | `{}` |", row.code, row.first.asked());
    }
    page
}

fn word(reason: Reason) -> &'static str {
    reason.as_str_name().trim_start_matches("REASON_")
}

fn page_is(wanted: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PAGE, wanted).unwrap();
    }
    println!("{wanted}");
    let written = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert_eq!(written, wanted, "run `UPDATE_DOCS=1 cargo test --test it every_code_of_concur`");
}
