//! Pages for people, in a real browser: what they say, what they keep to themselves, and that everybody can read them.

use crate::support::{
    api::{Api, name},
    browser::{Browser, Check, Page, Surfer},
    driven::Driven,
    foreign::{CLIENT_SECRET, OidcProvider},
    scene::{Scene, Settings},
    until,
};
use bursar::{
    api::{
        AuthorizationCodeGrant, AuthorizationCodeStart, StartAuthorizationRequest, authorization,
        connection::State, grant::Kind, start_authorization_request::Method,
        start_authorization_response::NextStep,
    },
    simulator::concur::NewApp,
};
use serde_json::json;
use url::Url;

/// What every page of ours owes to whoever reads it.
fn is_sound(page: &Check, heading: &str) {
    assert_eq!(page.headings, [heading]);
    assert_eq!(page.lang, "en");
    assert_eq!(page.scripts, 0, "it has to work without");
    assert_eq!(page.asked, Vec::<String>::new(), "it asks others for something");
    // It names the page's own status, where that is an error.
    let own = "Failed to load resource: the server responded with a status of ";
    let complaints: Vec<_> = page.said.iter().filter(|said| !said.starts_with(own)).collect();
    assert_eq!(complaints, Vec::<&String>::new());
    assert_eq!(page.violations, Vec::<String>::new());
    assert!(!page.overflows);
    let policy = page.headers.get("content-security-policy").map_or("", String::as_str);
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(page.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn the_simulated_concur_asks_for_consent_and_leads_back() {
    let scene = Scene::new(Settings::default()).await;
    let base = scene.base("us2");
    let back = format!("{base}/back");
    let grants = Some(["authorization_code".to_owned()].into());
    let app = NewApp { redirect_uris: vec![back.clone()], grants, ..NewApp::default() };
    let app = scene.simulator.app(app).unwrap();
    scene.simulator.company("us2").unwrap();
    let surfer = Browser::start().await.surfer().await;

    for (button, brings) in [("Allow", "code="), ("Deny", "error")] {
        let page = surfer
            .open(&format!(
                "{base}/oauth2/v0/authorize?client_id={}&redirect_uri={back}&scope=openid&response_type=code&state=s",
                app.id
            ))
            .await;
        assert_eq!((page.status, page.title.as_str()), (Some(200), "Allow access?"), "{page:?}");
        assert!(page.text.contains(&app.id) && page.text.contains("openid"), "{page:?}");
        let check = surfer.check().await;
        is_sound(&check, "Allow access?");
        assert!(!check.html.contains(&app.secrets[0]));
        surfer.picture("simulated-consent").await;
        let page = surfer.click("button", button).await;
        assert!(page.url.starts_with(&format!("{back}?")) && page.url.contains(brings), "{page:?}");
    }
}

/// A person's first consent, at oidc-provider's own pages.
struct Consents {
    provider: OidcProvider,
    api: Api,
    browser: Browser,
    broker: Driven,
}

impl Consents {
    async fn new() -> Self {
        Self::open_for("10m").await
    }

    /// With as much time for a person.
    async fn open_for(time: &str) -> Self {
        let (provider, browser) = tokio::join!(OidcProvider::start(), Browser::start());
        let issuer = &provider.issuer;
        let profile = format!(
            "extends = \"generic-oauth2\"\nname = \"oidc-provider\"\ndisplay_name = \"oidc-provider\"\n\
             issuer = \"{issuer}\"\ngrants = [\"authorization_code\"]\nresponse_iss = \"required\"\n\
             authorization_endpoint = \"{issuer}/auth\"\ntoken_endpoint = \"{issuer}/token\"\n\
             offline_scopes = [\"openid\", \"offline_access\"]\nhosts = [\"127.0.0.1:*\"]\n\
             rotation = \"always\"\nreuse = \"revoke_family\"\nexchange_timeout = \"25s\"\n\
             [authorization_parameters]\nprompt = \"consent\"\n"
        );
        let broker = Driven::start_configured(&[profile], &format!("open_for = \"{time}\"\n")).await;
        broker.ok("tenant create tenants/acme --display-name Acme").await;
        Self { provider, api: Api::of(broker.address), browser, broker }
    }

    /// A new connection that waits for its first consent; the address for the person.
    async fn begun(&self, id: &str) -> String {
        let line = format!(
            "client create tenants/acme/clients/{id} --provider providers/oidc-provider --client-id {id} \
             --environment sandbox --auth-method client-secret-basic --allowed-grant authorization-code \
             --client-secret-file -"
        );
        self.broker.ok_with(&line, CLIENT_SECRET).await;
        let client = format!("tenants/acme/clients/{id}");
        let grant = Kind::AuthorizationCode(AuthorizationCodeGrant::default());
        self.api.create(id, &client, grant).await.unwrap();
        let way = Method::AuthorizationCode(AuthorizationCodeStart::default());
        let request = StartAuthorizationRequest { name: name(id), method: Some(way), ..Default::default() };
        let started = self.api.connections.clone().start_authorization(request).await.unwrap().into_inner();
        let Some(NextStep::AuthorizationCode(prompt)) = started.next_step else { panic!("{started:?}") };
        let metadata = json!({
            "client_id": id, "client_secret": CLIENT_SECRET, "redirect_uris": [prompt.redirect_uri],
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        });
        self.provider.register(&metadata).await;
        prompt.authorization_url
    }

    /// Opens the address, logs in at the provider, and is asked for consent.
    async fn asked(&self, surfer: &Surfer, address: &str) {
        let page = surfer.open(address).await;
        assert!(page.url.starts_with(&self.provider.issuer), "{page:?}");
        surfer.fill("Enter any login", "user").await;
        surfer.fill("and password", "any").await;
        let page = surfer.click("button", "Sign-in").await;
        assert!(page.text.contains("offline access"), "{page:?}");
    }

    async fn state(&self, id: &str) -> State {
        self.api.connection(id).await.unwrap().state()
    }
}

/// A page of the callback; the page itself, so that the caller can look for more.
async fn shown(surfer: &Surfer, page: &Page, status: u16, heading: &str) -> Check {
    assert_eq!((page.status, page.title.as_str()), (Some(status), heading), "{page:?}");
    let check = surfer.check().await;
    is_sound(&check, heading);
    assert_eq!(check.headers["referrer-policy"], "no-referrer");
    // What came with the redirect stays out of the page.
    for (field, value) in Url::parse(&page.url).unwrap().query_pairs().filter(|(field, _)| field != "iss") {
        assert!(!check.html.contains(value.as_ref()), "{field} is in the page");
    }
    surfer.picture(&heading.to_lowercase().replace(' ', "-")).await;
    check
}

#[tokio::test]
async fn a_consent_ends_at_a_page_that_says_what_came_of_it() {
    let consents = Consents::new().await;
    let surfer = consents.browser.surfer().await;

    let address = consents.begun("agreed").await;
    consents.asked(&surfer, &address).await;
    let page = surfer.click("button", "Continue").await;
    shown(&surfer, &page, 200, "Authorized").await;
    assert!(page.text.contains("tenants/acme/connections/agreed"), "{page:?}");
    assert_eq!(consents.state("agreed").await, State::Active);
    let token = consents.api.token("agreed").await.unwrap();
    let said = consents.provider.introspect(&token.access_token).await;
    assert_eq!((&said["active"], &said["client_id"]), (&true.into(), &"agreed".into()), "{said}");

    // The same answer again, as a browser sends it that goes back and forth.
    let again = surfer.open(&page.url).await;
    shown(&surfer, &again, 409, "Used already").await;
    assert_eq!(consents.state("agreed").await, State::Active);
    assert_eq!(consents.api.connection("agreed").await.unwrap().generation, 1);
}

#[tokio::test]
async fn a_person_who_declines_reads_so_and_the_connection_goes_on_waiting() {
    let consents = Consents::new().await;
    let surfer = consents.browser.surfer().await;
    let address = consents.begun("declined").await;
    consents.asked(&surfer, &address).await;
    let page = surfer.click("link", "[ Cancel ]").await;
    shown(&surfer, &page, 200, "Not authorized").await;
    assert_eq!(consents.state("declined").await, State::Pending);
}

#[tokio::test]
async fn a_consent_belongs_to_the_browser_that_opened_its_link_first() {
    let consents = Consents::new().await;
    let (first, other) = (consents.browser.surfer().await, consents.browser.surfer().await);
    let address = consents.begun("bound").await;
    consents.asked(&first, &address).await;

    let page = other.open(&address).await;
    shown(&other, &page, 403, "Begun in another browser").await;
    assert_eq!(consents.state("bound").await, State::Pending);

    // Nothing is lost to the one whose it is.
    let page = first.click("button", "Continue").await;
    shown(&first, &page, 200, "Authorized").await;
    assert_eq!(consents.state("bound").await, State::Active);
}

#[tokio::test]
async fn a_newer_link_makes_an_older_one_worthless() {
    let consents = Consents::new().await;
    let surfer = consents.browser.surfer().await;
    let older = consents.begun("renewed").await;
    let way = Method::AuthorizationCode(AuthorizationCodeStart::default());
    let request =
        StartAuthorizationRequest { name: name("renewed"), method: Some(way), ..Default::default() };
    consents.api.connections.clone().start_authorization(request).await.unwrap();
    let page = surfer.open(&older).await;
    shown(&surfer, &page, 404, "No such authorization").await;
}

#[tokio::test]
async fn a_person_who_takes_too_long_reads_so_wherever_they_were() {
    let consents = Consents::open_for("60s").await;
    let (asked, waiting) = (consents.browser.surfer().await, consents.browser.surfer().await);
    let unopened = consents.begun("unopened").await;
    let address = consents.begun("late").await;
    consents.asked(&asked, &address).await;
    for id in ["unopened", "late"] {
        let over = async || {
            let now = consents.api.connection(id).await.unwrap().authorization.unwrap();
            (now.state() == authorization::State::Expired).then_some(())
        };
        until("the time is over", over).await;
    }

    let page = asked.click("button", "Continue").await;
    shown(&asked, &page, 410, "Too late").await;
    let page = waiting.open(&unopened).await;
    shown(&waiting, &page, 410, "Too late").await;
    for id in ["unopened", "late"] {
        assert_eq!(consents.state(id).await, State::Pending);
    }
}
