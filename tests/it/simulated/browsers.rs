//! The callback over HTTP: how a browser is bound, and what each of its ways back comes to.

use super::{Stage, code_grant, web, willing};
use crate::support::person::{Arrival, Person};
use bursar::api::{StateReason, connection::State, state_reason::Reason};
use serde_json::json;

fn is(arrival: &Arrival, status: u16, heading: &str) {
    assert_eq!(arrival.status, status, "{arrival:?}");
    assert!(arrival.html.contains(&format!("<h1>{heading}</h1>")), "{heading}: {arrival:?}");
}

#[tokio::test]
async fn a_consent_ends_once_and_in_the_browser_in_which_it_was_begun() {
    let stage = Stage::new(willing(), "").await;
    stage.client("app", "authorization-code").await;
    stage.pending("c0", "app", code_grant()).await;
    let prompt = stage.start_in_browser("c0").await;
    let back = |url: &url::Url| url.as_str().starts_with(&prompt.redirect_uri);
    assert_eq!(
        prompt.redirect_uri,
        format!("{}/callback/tenants/acme/connections/c0", stage.broker.public_url)
    );

    let (mut person, mut stranger) = (Person::new(&[]), Person::new(&[]));
    let brought = person.go(&prompt.authorization_url, back).await.url;
    // The address is one browser's, and so is the answer.
    is(&stranger.go(&prompt.authorization_url, back).await, 403, "Begun in another browser");
    is(&stranger.go(brought.as_str(), |_| false).await, 403, "Begun in another browser");
    let forged: String = brought.as_str().split("state=").next().unwrap().to_owned() + "state=forged.acme.c0";
    is(&person.go(&forged, |_| false).await, 404, "No such authorization");
    let elsewhere = brought.as_str().replacen("/connections/c0", "/connections/c1", 1);
    is(&person.go(&elsewhere, |_| false).await, 404, "No such authorization");
    assert_eq!(stage.api.connection("c0").await.unwrap().state(), State::Pending);
    assert_eq!(stage.asked("token"), [], "no code was spent");

    is(&person.go(brought.as_str(), |_| false).await, 200, "Authorized");
    is(&person.go(brought.as_str(), |_| false).await, 409, "Used already");
    is(&stranger.go(brought.as_str(), |_| false).await, 403, "Begun in another browser");
    assert_eq!(stage.api.token("c0").await.unwrap().generation, 1);
    assert_eq!(stage.asked("token").len(), 1, "the code was spent once");
    stage.went_smoothly();
}

#[tokio::test]
async fn who_declines_is_told_so_and_may_begin_again() {
    let stage = Stage::new(json!({"authorize": {"consent": "deny"}}), "").await;
    stage.client("app", "authorization-code").await;
    stage.pending("c0", "app", code_grant()).await;
    let prompt = stage.start_in_browser("c0").await;
    is(&Person::new(&[]).go(&prompt.authorization_url, |_| false).await, 200, "Not authorized");
    let denied = stage.api.connection("c0").await.unwrap();
    let why = denied.state_reason.as_ref().map(StateReason::reason);
    assert_eq!((denied.state(), why), (State::Pending, Some(Reason::AuthorizationDenied)));
    assert_eq!(stage.asked("token"), []);

    stage.server.change_behaviour(&json!({"authorize": {"consent": "allow", "iss": "wrong"}})).unwrap();
    let prompt = stage.start_in_browser("c0").await;
    let arrival = Person::new(&[]).go(&prompt.authorization_url, |_| false).await;
    is(&arrival, 400, "Answer from the wrong place");
    assert_eq!(stage.asked("token"), []);

    stage.server.change_behaviour(&willing()).unwrap();
    stage.server.change_behaviour(&json!({"authorize": {"iss": "right"}})).unwrap();
    stage.consent("c0").await;
}

#[tokio::test]
async fn the_cookie_is_for_the_callback_alone_and_the_pages_are_kept_by_nobody() {
    let stage = Stage::new(willing(), "").await;
    stage.client("app", "authorization-code").await;
    stage.pending("c0", "app", code_grant()).await;
    let prompt = stage.start_in_browser("c0").await;
    // Whoever only looks binds nothing.
    let ahead = web().get(&prompt.authorization_url).header("sec-purpose", "prefetch").send().await.unwrap();
    assert_eq!((ahead.status().as_u16(), ahead.headers().get("set-cookie")), (503, None));
    assert_eq!(web().head(&prompt.authorization_url).send().await.unwrap().status(), 204);

    let opened = web().get(&prompt.authorization_url).send().await.unwrap();
    assert_eq!(
        (opened.status().as_u16(), &opened.headers()["cache-control"]),
        (303, &"no-store".parse().unwrap())
    );
    assert_eq!(opened.headers()["referrer-policy"], "no-referrer");
    let cookie = opened.headers()["set-cookie"].to_str().unwrap();
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    let (_, value) = pair.split_once('=').unwrap();
    assert!(pair.starts_with("bursar-") && value.len() >= 43, "256 bits: {pair}");
    assert_eq!(attributes, "Path=/; Max-Age=900; HttpOnly; SameSite=Lax");
    let sent = url::Url::parse(opened.headers()["location"].to_str().unwrap()).unwrap();
    let echoed = sent.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
    assert!(!echoed.contains(value), "the server does not learn the cookie");
    assert_eq!(web().post(&prompt.redirect_uri).send().await.unwrap().status(), 405);
}
