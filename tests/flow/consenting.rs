//! People's consents: redeemed once whatever browsers and replicas do, and without harm to what was granted before.

use crate::{
    rig::{HOUR, LEASE, Replica, Rig, client_name, name, secs},
    server::{DELAY, Say},
};
use bursar::{
    broker::admin::{
        AdminError,
        connections::NewConnection,
        consent::{NextStep, Outcome, Start, Started, Turn, redirects::Cookies},
        grants::NewGrant,
    },
    broker::refresher::{Found, RefreshError},
    domain::{
        authorization::{Fault, Principals, Stage},
        connection::{Connection, Narrowing, State},
        failure::{Class, Reason},
        profile::GrantKind,
    },
};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::sleep;
use url::Url;

const LINES: &str = "issuer = \"https://idp.example\"\nauthorization_endpoint = \"https://idp.example/authorize\"\n\
                     device_authorization_endpoint = \"https://idp.example/device\"\n\
                     grants = [\"refresh_token\", \"authorization_code\", \"device_code\"]\n\
                     revocation = \"rfc7009\"\nrevocation_endpoint = \"https://idp.example/revoke\"\n";

/// A connection that waits for a person.
async fn waiting(grant: GrantKind) -> Rig {
    let rig = Rig::empty(LINES).await;
    let new = NewConnection {
        name: name(),
        client: client_name(),
        requested_scopes: vec![],
        requested_resources: vec![],
        dpop_key: None,
        narrowing: Narrowing::Refuse,
        labels: BTreeMap::new(),
        grant: NewGrant::Person(grant),
    };
    let made = rig.a.admin.create_connection(new).await.unwrap();
    assert_eq!(made.state, State::Pending);
    rig
}

/// One that has been serving for a while.
async fn serving() -> Rig {
    let rig = Rig::with(LINES).await;
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
    rig
}

const BROWSER: Start = Start::Browser { return_uri: None, redirect_uri: None, login_hint: None };

async fn begin(replica: &Replica, start: Start) -> Started {
    replica.admin.start_authorization(&name(), start, Principals::Same).await.unwrap()
}

/// A browser with its cookies, and where it was sent.
struct Surfer {
    cookies: Cookies,
    state: String,
    redirect_uri: String,
}

async fn surf(replica: &Replica, started: &Started) -> Surfer {
    let NextStep::Open { url, .. } = &started.next else { panic!("nothing to open") };
    let token = url.rsplit('/').next().unwrap();
    let opened = replica.admin.open_authorization(token, &Cookies::new()).await.unwrap();
    let sent: BTreeMap<_, _> = opened.location.query_pairs().into_owned().collect();
    assert_eq!((sent["response_type"].as_str(), sent["code_challenge_method"].as_str()), ("code", "S256"));
    let (cookie, value) = opened.cookie.unwrap();
    let cookies = [(cookie, value.expose().to_owned())].into();
    Surfer { cookies, state: sent["state"].clone(), redirect_uri: sent["redirect_uri"].clone() }
}

impl Surfer {
    async fn back(&self, replica: &Replica, query: &str) -> Turn {
        let query = format!("{query}&state={}", self.state);
        let place = Url::parse(&self.redirect_uri).unwrap();
        let place = place.path().strip_prefix("/oauth/callback/").unwrap().parse().unwrap();
        replica.admin.take_redirect(Some(&place), &query, &self.cookies).await
    }
}

fn ended(record: &Connection) -> (Stage, Option<Fault>) {
    let authorization = record.authorization.as_ref().unwrap();
    (authorization.stage, authorization.fault)
}

#[tokio::test(start_paused = true)]
async fn a_consent_is_begun_opened_and_redeemed_on_any_replica_once() {
    let rig = waiting(GrantKind::AuthorizationCode).await;
    let b = rig.replica("b").await;
    let surfer = surf(&b, &begin(&rig.a, BROWSER).await).await;
    assert_eq!(surfer.redirect_uri, "https://broker.example/oauth/callback/tenants/t/connections/c0");
    let stranger = Surfer { cookies: Cookies::new(), ..surf_like(&surfer) };
    assert_eq!(stranger.back(&b, "code=x").await.outcome, Outcome::OtherBrowser);
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Succeeded);
    assert_eq!(surfer.back(&b, "code=x").await.outcome, Outcome::Replayed(Stage::Succeeded));
    assert_eq!(stranger.back(&b, "code=x").await.outcome, Outcome::OtherBrowser);
    assert_eq!((rig.server.tries(), rig.a.ask().await.unwrap().token.as_str()), (1, "at1"));
    let record = rig.record().await;
    assert_eq!((record.state, record.generation, record.reason), (State::Active, 1, None));
}

fn surf_like(surfer: &Surfer) -> Surfer {
    Surfer {
        cookies: surfer.cookies.clone(),
        state: surfer.state.clone(),
        redirect_uri: surfer.redirect_uri.clone(),
    }
}

#[tokio::test(start_paused = true)]
async fn of_two_replicas_that_get_the_same_redirect_one_exchanges_it() {
    let rig = waiting(GrantKind::AuthorizationCode).await;
    let b = rig.replica("b").await;
    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    let (one, other) = tokio::join!(surfer.back(&rig.a, "code=x"), surfer.back(&b, "code=x"));
    let outcomes = [one.outcome, other.outcome];
    assert!(outcomes.contains(&Outcome::Succeeded), "{outcomes:?}");
    assert!(outcomes.iter().any(|outcome| matches!(outcome, Outcome::Replayed(_))), "{outcomes:?}");
    assert_eq!((rig.server.tries(), rig.record().await.generation), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn ten_minutes_are_all_there_is_and_then_it_can_begin_again() {
    let rig = waiting(GrantKind::AuthorizationCode).await;
    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    rig.a.schedule();
    sleep(secs(599)).await;
    assert_eq!(ended(&rig.record().await).0, Stage::Open);
    sleep(secs(7)).await;
    let record = rig.record().await;
    assert_eq!((ended(&record).0, record.state), (Stage::Expired, State::Pending));
    assert_eq!(record.reason.unwrap().reason, Reason::AuthorizationExpired);
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Expired);
    assert_eq!(rig.server.tries(), 0);
    let again = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Unknown, "a newer one is under way");
    assert_eq!(again.back(&rig.a, "code=x").await.outcome, Outcome::Succeeded);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_living_connection_serves_on_until_the_new_consent_takes_its_place() {
    let rig = serving().await;
    let before = rig.record().await;
    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    assert_eq!(rig.a.ask().await.unwrap().token, "at1");
    assert_eq!(surfer.back(&rig.a, "error=access_denied").await.outcome, Outcome::Denied);
    let denied = rig.record().await;
    assert_eq!((denied.family, denied.state, denied.reason), (before.family, State::Active, None));

    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Succeeded);
    let after = rig.record().await;
    assert_ne!(after.family, before.family);
    assert_eq!((after.generation, after.grant, after.uid), (2, GrantKind::AuthorizationCode, before.uid));
    assert_eq!(rig.a.ask().await.unwrap().token, "at2");
    rig.a.schedule();
    sleep(HOUR).await;
    assert_eq!(rig.a.ask().await.unwrap().token, "at3", "the new family is refreshed");
    assert_eq!(rig.server.spent_twice(), 0);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_fails_or_breaks_off_leaves_the_old_consent_as_it_was() {
    for (say, want) in [
        (Say::Fail(Class::Suspect), Fault::Refused),
        (Say::Fail(Class::Client), Fault::Client),
        (Say::Malformed, Fault::Malformed),
        (Say::Panic, Fault::Lost),
    ] {
        let rig = serving().await;
        let before = rig.record().await;
        let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
        rig.server.then([say]);
        let turn = surfer.back(&rig.a, "code=x").await;
        assert_eq!(turn.outcome, Outcome::Failed(want), "{say:?}");
        assert_eq!(rig.a.ask().await.unwrap().token, "at1", "{say:?}");
        rig.a.schedule();
        sleep(LEASE + secs(6)).await;
        let after = rig.record().await;
        assert_eq!(ended(&after), (Stage::Failed, Some(want)), "{say:?}");
        assert_eq!((after.family, after.generation), (before.family, before.generation), "{say:?}");
        assert_eq!((after.suspicion, after.ambiguous, after.failures), (None, None, 0), "{say:?}");
        let again = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
        assert_eq!(again.back(&rig.a, "code=x").await.outcome, Outcome::Succeeded, "{say:?}");
        assert_eq!(rig.server.spent_twice(), 0, "{say:?}");
        rig.a.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_else_takes_a_connection_over_unless_that_is_wanted() {
    let rig = serving().await;
    rig.server.speaks_for("anna");
    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Succeeded);
    let before = rig.record().await;
    assert_eq!(before.principal.as_ref().unwrap().id, "anna");

    rig.server.speaks_for("bob");
    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Failed(Fault::OtherPrincipal));
    let after = rig.record().await;
    assert_eq!((after.family, after.principal), (before.family, before.principal));
    assert_eq!(rig.server.revoked(), 0, "bob may have a connection of his own, which must not end with this");

    let started = rig.a.admin.start_authorization(&name(), BROWSER, Principals::Any).await.unwrap();
    assert_eq!(surf(&rig.a, &started).await.back(&rig.a, "code=x").await.outcome, Outcome::Succeeded);
    assert_eq!(rig.record().await.principal.unwrap().id, "bob");
}

/// Servers may revoke all that the client has of a person with any one of the grants.
#[tokio::test(start_paused = true)]
async fn what_is_not_kept_is_given_back_only_where_nothing_else_can_end_with_it() {
    let rig = waiting(GrantKind::AuthorizationCode).await;
    for (say, revoked, what) in [
        (Say::Malformed, 1, "there is nothing yet"),
        (Say::Good, 1, "kept"),
        (Say::Malformed, 1, "the old grant serves on"),
    ] {
        rig.server.then([say]);
        let turn = surf(&rig.a, &begin(&rig.a, BROWSER).await).await.back(&rig.a, "code=x").await;
        assert_eq!(turn.outcome == Outcome::Succeeded, say == Say::Good, "{what}");
        assert_eq!(rig.server.revoked(), revoked, "{what}");
    }
    assert_eq!(rig.record().await.state, State::Active);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_of_the_old_consent_that_comes_late_takes_nothing_from_the_new_one() {
    let rig = serving().await;
    let b = rig.replica("b").await;
    let refreshing = async { rig.a.admin.refresh_connection(&name()).await };
    // Replica a has the answer of a refresh, and no store to put it into, until its lease is over.
    let cut_off = async {
        sleep(DELAY / 2).await;
        rig.a.store.go_away();
        sleep(LEASE).await;
        let surfer = surf(&b, &begin(&b, BROWSER).await).await;
        rig.server.then([Say::Late(secs(10))]);
        let (turn, ()) = tokio::join!(surfer.back(&b, "code=x"), async {
            sleep(secs(2)).await;
            rig.a.store.come_back();
        });
        turn.outcome
    };
    let (refreshed, outcome) = tokio::join!(refreshing, cut_off);
    assert_eq!(outcome, Outcome::Succeeded);
    assert_eq!(refreshed.unwrap().generation, 2);
    let record = rig.record_at(&b).await;
    assert_eq!((record.generation, record.grant), (3, GrantKind::AuthorizationCode));
    assert_eq!((rig.server.answers(), rig.server.spent_twice()), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn a_consent_without_a_refresh_token_is_served_to_its_end_and_says_what_then() {
    let rig = waiting(GrantKind::AuthorizationCode).await;
    rig.server.withholds_refresh_tokens();
    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Succeeded);
    let err = rig.a.admin.refresh_connection(&name()).await.unwrap_err();
    assert!(matches!(err, AdminError::NothingRenews { grant: GrantKind::AuthorizationCode }), "{err:?}");
    assert_eq!((rig.server.tries(), rig.a.ask().await.unwrap().token.as_str()), (1, "at1"));
    sleep(HOUR).await;
    let err = rig.a.admin.refresh_connection(&name()).await.unwrap_err();
    assert!(matches!(err, AdminError::Refresh(RefreshError::Ended(State::NeedsReauthorization))), "{err:?}");
}

#[tokio::test(start_paused = true)]
async fn a_front_end_brings_what_it_took() {
    let rig = waiting(GrantKind::AuthorizationCode).await;
    let start = Start::Browser {
        return_uri: None,
        redirect_uri: Some("https://app.example/back".into()),
        login_hint: Some("anna@example.com".into()),
    };
    let NextStep::Open { url, .. } = begin(&rig.a, start).await.next else { panic!("nothing to open") };
    let sent: BTreeMap<_, _> = Url::parse(&url).unwrap().query_pairs().into_owned().collect();
    assert_eq!(
        (sent["redirect_uri"].as_str(), sent["login_hint"].as_str()),
        ("https://app.example/back", "anna@example.com")
    );
    let wrong = rig.a.admin.complete_redirect(&name(), "code=x&state=y").await.unwrap_err();
    assert!(matches!(wrong, AdminError::AuthorizationNotFound), "{wrong:?}");
    let twice = rig.a.admin.complete_redirect(&name(), "code=x&code=y").await.unwrap_err();
    assert!(matches!(twice, AdminError::Invalid { .. }), "{twice:?}");
    let query = format!("code=x&state={}&iss=https%3A%2F%2Fidp.example", sent["state"]);
    assert_eq!(rig.a.admin.complete_redirect(&name(), &query).await.unwrap().state, State::Active);
    let again = rig.a.admin.complete_redirect(&name(), &query).await.unwrap_err();
    assert!(matches!(again, AdminError::AuthorizationNotFound), "{again:?}");
    let unlisted = Start::Browser {
        return_uri: Some("https://evil.example".into()),
        redirect_uri: None,
        login_hint: None,
    };
    let refused = rig.a.admin.start_authorization(&name(), unlisted, Principals::Same).await;
    assert!(matches!(refused, Err(AdminError::Invalid { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_device_code_is_polled_by_one_replica_at_a_time_as_the_server_wishes() {
    let rig = waiting(GrantKind::DeviceCode).await;
    let b = rig.replica("b").await;
    rig.a.schedule();
    b.schedule();
    let pending = Say::Code("authorization_pending", Class::Configuration);
    rig.server.then([pending, Say::Code("slow_down", Class::Throttled), pending, Say::Good]);
    let start = rig.clock.now();
    let NextStep::Show { user_code, .. } = begin(&rig.a, Start::Device).await.next else { panic!("no code") };
    assert_eq!(user_code, "WDJB-MJHT");
    let early = b.admin.complete_device(&name()).await.unwrap_err();
    assert!(matches!(early, AdminError::AuthorizationPending { .. }), "{early:?}");
    assert_eq!(rig.server.tries(), 0, "not before the server lets us");
    sleep(secs(60)).await;
    let record = rig.record().await;
    assert_eq!((record.state, ended(&record).0), (State::Active, Stage::Succeeded));
    let asked = rig.server.asked();
    let gaps: Vec<_> = asked.windows(2).map(|two| two[0].1.until(two[1].1)).collect();
    assert_eq!(asked.len(), 4);
    assert!(start.until(asked[0].1) >= secs(5), "{gaps:?}");
    for (gap, least) in gaps.iter().zip([5, 10, 10]) {
        assert!(*gap >= secs(least) && *gap < secs(least + 7), "{gaps:?}");
    }
    assert_eq!(b.admin.complete_device(&name()).await.unwrap().state, State::Active);
    rig.a.stop();
    b.stop();
}

#[tokio::test(start_paused = true)]
async fn a_device_code_ends_by_word_or_by_time() {
    for (say, stage, reason) in [
        (Say::Code("access_denied", Class::Configuration), Stage::Denied, Reason::AuthorizationDenied),
        (Say::Code("expired_token", Class::Configuration), Stage::Expired, Reason::AuthorizationExpired),
        (
            Say::Code("authorization_pending", Class::Configuration),
            Stage::Expired,
            Reason::AuthorizationExpired,
        ),
    ] {
        let rig = waiting(GrantKind::DeviceCode).await;
        rig.server.always(say);
        rig.a.schedule();
        begin(&rig.a, Start::Device).await;
        sleep(secs(620)).await;
        let record = rig.record().await;
        assert_eq!((ended(&record).0, record.state), (stage, State::Pending), "{say:?}");
        assert_eq!(record.reason.unwrap().reason, reason, "{say:?}");
        let tries = rig.server.tries();
        sleep(secs(300)).await;
        assert_eq!(rig.server.tries(), tries, "nothing is asked after the end");
        rig.a.stop();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_switched_off_takes_no_consent_and_what_waits_is_asked_of_nobody() {
    let rig = waiting(GrantKind::AuthorizationCode).await;
    rig.a.schedule();
    sleep(HOUR).await;
    assert!(rig.a.ask().await.is_err());
    assert_eq!((rig.server.tries(), rig.record().await.state), (0, State::Pending));
    let surfer = surf(&rig.a, &begin(&rig.a, BROWSER).await).await;
    rig.a.admin.disable_connection(&name(), "").await.unwrap();
    assert_eq!(surfer.back(&rig.a, "code=x").await.outcome, Outcome::Unknown);
    rig.a.admin.enable_connection(&name(), "").await.unwrap();
    sleep(Duration::from_secs(30)).await;
    assert_eq!((rig.server.tries(), rig.record().await.state), (0, State::Pending));
    rig.a.stop();
}

/// A device code that nobody has confirmed yet is no answer to a caller who needs a token.
#[tokio::test(start_paused = true)]
async fn who_needs_a_token_while_a_device_code_is_polled_gets_one() {
    let rig = serving().await;
    begin(&rig.a, Start::Device).await;
    sleep(HOUR).await;
    assert!(rig.record().await.token.unwrap().expires_at <= rig.clock.now(), "the token has run out");
    begin(&rig.a, Start::Device).await;
    sleep(secs(5)).await;
    let id = rig.record().await.authorization.unwrap().id;
    rig.server.then([Say::Code("authorization_pending", Class::Configuration)]);
    let found = Found { shard: 0, provider: "providers/under-test".parse().unwrap() };
    rig.a.admin.refresher.poll(&name(), id, &found);
    sleep(DELAY / 2).await;
    assert_eq!(rig.server.tries(), 2, "the poll is on its way");
    assert_eq!(rig.a.ask().await.unwrap().token, "at2");
    let record = rig.record().await;
    assert_eq!((ended(&record).0, record.failures), (Stage::Open, 0));
    assert_eq!(rig.server.spent_twice(), 0);
}
