//! Consents on their way, as tables: who may redeem what, once, and what becomes of the connection.

use super::*;
use crate::domain::{
    attempt::{self, Ask, Claiming, Committing, Consent, Failing, Renewal},
    connection::Attempt,
    lifecycle::{Verdict, judge},
    profile::Overlap,
    samples::{at, attempt as try_at, connection, id, profile, secs, token},
    token::Secret,
};
use std::time::Duration;

const STATE: Digest = Digest([1; 32]);
const OPENER: Digest = Digest([2; 32]);
const COOKIE: Digest = Digest([3; 32]);
const OTHER: Digest = Digest([9; 32]);

fn browser() -> Browser {
    Browser {
        taker: Taker::Broker,
        state: STATE,
        opener: Some(OPENER),
        cookie: Some(COOKIE),
        redirect_uri: "https://broker.example/callback".into(),
        return_uri: None,
        issuer: Some("https://idp.example".into()),
        iss: Presence::Optional,
        state_echo: Presence::Required,
    }
}

fn authorization(way: Way) -> Authorization {
    let now = at(Duration::ZERO);
    Authorization {
        id: id(7),
        way,
        stage: Stage::Open,
        started_at: now.here,
        expires_at: now.store.plus(OPEN_FOR),
        due: Some(now.store.plus(OPEN_FOR)),
        secrets: Some(Sealed::from_bytes(*b"secrets")),
        scopes: vec!["write".into()],
        resources: vec![],
        principals: Principals::Same,
        ended_at: None,
        fault: None,
        code: None,
        correlation_id: None,
    }
}

fn active(way: Way) -> Connection {
    Connection { authorization: Some(Box::new(authorization(way))), ..connection() }
}

/// Made with an interactive grant, and nothing came yet.
fn pending(way: Way) -> Connection {
    Connection {
        state: State::Pending,
        grant: way.grant(),
        generation: 0,
        refresh_token: None,
        token: None,
        due: None,
        last_success_at: None,
        scopes: vec![],
        ..active(way)
    }
}

fn device() -> Way {
    Way::Device(Device { interval: POLL_EVERY })
}

fn brought(brought: Brought) -> Redirect {
    Redirect { taker: Taker::Broker, state: Some(STATE), cookie: Some(COOKIE), iss: None, brought }
}

fn code() -> Brought {
    Brought::Code(Secret::new("code"))
}

/// The outcome in a word, and what is written.
fn told(redeemed: Redeemed) -> (String, Option<Connection>) {
    match redeemed {
        Redeemed::Exchange(next, _) => ("exchange".into(), Some(*next)),
        Redeemed::Over(next, over) => (format!("{over:?}"), Some(*next)),
        Redeemed::Refused(refused) => (format!("{refused:?}"), None),
    }
}

/// What it shows, the consent begun, who takes the redirect, `state`, the cookie, what becomes of it.
type Case<'a> = (&'a str, &'a Browser, Taker, Option<Digest>, Option<Digest>, &'a str);

#[test]
fn only_who_knows_state_and_cookie_redeems() {
    let front = Browser { taker: Taker::FrontEnd, opener: None, cookie: None, ..browser() };
    let lenient = Browser { state_echo: Presence::Optional, ..browser() };
    let unopened = Browser { cookie: None, ..browser() };
    let cases: [Case<'_>; 15] = [
        ("as it should be", &browser(), Taker::Broker, Some(STATE), Some(COOKIE), "exchange"),
        ("another state", &browser(), Taker::Broker, Some(OTHER), Some(COOKIE), "Unknown"),
        ("no state", &browser(), Taker::Broker, None, Some(COOKIE), "Unknown"),
        ("no cookie", &browser(), Taker::Broker, Some(STATE), None, "OtherBrowser"),
        ("another cookie", &browser(), Taker::Broker, Some(STATE), Some(OTHER), "OtherBrowser"),
        ("never opened", &unopened, Taker::Broker, Some(STATE), Some(COOKIE), "OtherBrowser"),
        ("given by an API caller", &browser(), Taker::FrontEnd, Some(STATE), Some(COOKIE), "Unknown"),
        ("a front end's", &front, Taker::FrontEnd, Some(STATE), None, "exchange"),
        ("a front end's, another state", &front, Taker::FrontEnd, Some(OTHER), None, "Unknown"),
        ("a front end's, no state", &front, Taker::FrontEnd, None, None, "Unknown"),
        ("a front end's at our callback", &front, Taker::Broker, Some(STATE), Some(COOKIE), "Unknown"),
        ("no state, and it may lack", &lenient, Taker::Broker, None, Some(COOKIE), "exchange"),
        ("no state and no cookie", &lenient, Taker::Broker, None, None, "Unknown"),
        ("no state and another cookie", &lenient, Taker::Broker, None, Some(OTHER), "Unknown"),
        ("a wrong state though it may lack", &lenient, Taker::Broker, Some(OTHER), Some(COOKIE), "Unknown"),
    ];
    for (what, way, taker, state, cookie, want) in cases {
        let connection = active(Way::Browser(way.clone()));
        let redirect = Redirect { taker, state, cookie, ..brought(code()) };
        let (outcome, written) = told(redeem(&connection, redirect, at(secs(5))));
        assert_eq!((outcome.as_str(), written.is_some()), (want, want == "exchange"), "{what}");
    }
    let (outcome, _) = told(redeem(&connection(), brought(code()), at(secs(5))));
    assert_eq!(outcome, "Unknown");
    let (outcome, _) = told(redeem(&active(device()), brought(code()), at(secs(5))));
    assert_eq!(outcome, "Unknown");
}

#[test]
fn a_redirect_is_redeemed_once_and_in_time() {
    let first = active(Way::Browser(browser()));
    let (outcome, taken) = told(redeem(&first, brought(code()), at(secs(599))));
    let taken = taken.unwrap();
    assert_eq!(outcome, "exchange");
    let ours = taken.authorization.as_ref().unwrap();
    assert_eq!((ours.stage, &ours.secrets), (Stage::Taken, &None));
    assert_eq!(Connection { authorization: first.authorization.clone(), ..taken.clone() }, first);
    let (outcome, _) = told(redeem(&taken, brought(code()), at(secs(599))));
    assert_eq!(outcome, "Replayed(Taken)");
    let (outcome, written) = told(redeem(&first, brought(code()), at(secs(600))));
    assert_eq!(outcome, "Expired");
    assert_eq!(written.unwrap().authorization.unwrap().stage, Stage::Expired);
}

#[test]
fn the_issuer_is_compared_before_anything_is_believed() {
    let required = Browser { iss: Presence::Required, ..browser() };
    let unknown = Browser { issuer: None, ..browser() };
    let cases: [(&Browser, Option<&str>, &str); 7] = [
        (&browser(), None, "exchange"),
        (&browser(), Some("https://idp.example"), "exchange"),
        (&browser(), Some("https://idp.example/"), "WrongIssuer"),
        (&browser(), Some("https://evil.example"), "WrongIssuer"),
        (&required, None, "WrongIssuer"),
        (&required, Some("https://idp.example"), "exchange"),
        (&unknown, Some("https://idp.example"), "exchange"),
    ];
    for (way, iss, want) in cases {
        for what in [code(), Brought::Error("access_denied".into())] {
            let want = match (&what, want) {
                (Brought::Error(_), "exchange") => "Denied",
                _ => want,
            };
            let redirect = Redirect { iss: iss.map(str::to_owned), ..brought(what) };
            let (outcome, _) = told(redeem(&active(Way::Browser(way.clone())), redirect, at(secs(5))));
            assert_eq!(outcome, want, "{iss:?}");
        }
    }
}

#[test]
fn what_brings_no_grant_shows_on_who_waits_for_one_and_leaves_others_alone() {
    let cases = [
        (Brought::Error("access_denied".into()), "Denied", Reason::AuthorizationDenied),
        (Brought::Error("user_denied".into()), "Denied", Reason::AuthorizationDenied),
        (Brought::Error("server_error".into()), "ProviderError", Reason::AuthorizationFailed),
        (Brought::Nonsense, "Nonsense", Reason::AuthorizationFailed),
    ];
    for (what, want, reason) in cases {
        let again = match &what {
            Brought::Error(code) => Brought::Error(code.clone()),
            Brought::Code(_) | Brought::Nonsense => Brought::Nonsense,
        };
        let (outcome, waiting) = told(redeem(&pending(Way::Browser(browser())), brought(what), at(secs(5))));
        let waiting = waiting.unwrap();
        assert_eq!((outcome.as_str(), waiting.state), (want, State::Pending));
        assert_eq!(waiting.reason.unwrap().reason, reason);
        let before = active(Way::Browser(browser()));
        let (_, after) = told(redeem(&before, brought(again), at(secs(5))));
        let after = after.unwrap();
        assert!(after.authorization.as_ref().unwrap().stage.is_over());
        assert_eq!(Connection { authorization: before.authorization.clone(), ..after }, before);
    }
}

#[test]
fn the_first_browser_that_opens_it_keeps_it() {
    let unopened = active(Way::Browser(Browser { cookie: None, ..browser() }));
    let Opening::Bind(bound) = open(&unopened, &OPENER, &COOKIE, at(secs(1))) else { panic!("not bound") };
    assert!(matches!(open(&bound, &OPENER, &COOKIE, at(secs(2))), Opening::Again));
    let other = open(&bound, &OPENER, &OTHER, at(secs(2)));
    assert!(matches!(other, Opening::Refused(Refused::OtherBrowser)), "{other:?}");
    let unknown = open(&bound, &OTHER, &COOKIE, at(secs(2)));
    assert!(matches!(unknown, Opening::Refused(Refused::Unknown)), "{unknown:?}");
    let late = open(&unopened, &OPENER, &COOKIE, at(OPEN_FOR));
    assert!(matches!(late, Opening::Over(_, Over::Expired)), "{late:?}");
}

fn claimed(connection: &Connection, now: Moment) -> Claiming {
    let attempt = Attempt { authorization: Some(id(7)), ..try_at(8, now) };
    attempt::claim(connection, connection.seen(), attempt, Ask::Authorization(id(7)), &profile(), now)
}

#[test]
fn what_was_brought_is_exchanged_beside_nothing_else() {
    let now = at(secs(30));
    let taken = |state| {
        let mut taken = active(Way::Browser(browser()));
        taken.authorization.as_mut().unwrap().stage = Stage::Taken;
        Connection { state, ..taken }
    };
    for state in [State::Pending, State::Active, State::NeedsReauthorization, State::Revoked] {
        let Claiming::Claim(next) = claimed(&taken(state), now) else { panic!("{state}") };
        assert_eq!(next.due, taken(state).due, "refreshes stay as they are planned");
    }
    for state in [State::Disabled, State::Revoking] {
        assert_eq!(claimed(&taken(state), now), Claiming::Ended(state));
    }
    let busy = Connection { attempt: Some(try_at(9, now)), ..taken(State::Active) };
    assert!(matches!(claimed(&busy, now), Claiming::Busy { .. }));
    assert_eq!(claimed(&connection(), now), Claiming::Moved);
    // A refresh that ended without a word is not forgotten.
    let lapsed = Connection { attempt: Some(try_at(9, now)), ..taken(State::Active) };
    let Claiming::Claim(next) = claimed(&lapsed, at(secs(300))) else { panic!("lapsed") };
    assert!(next.ambiguous.is_some());
    assert_eq!(
        next.last_failure.as_ref().map(|last| (last.class, last.at)),
        Some((Class::Ambiguous, now.here))
    );
    // And it is not spent again before it must be, whatever comes of the consent.
    let late = at(secs(300));
    let hard = late.store.plus(late.here.until(lapsed.token.as_ref().unwrap().hard_at));
    assert_eq!((next.due, next.failures), (Some(hard), 1));
    let refused = Failure { class: Class::Suspect, ..Failure::of_ours("refused") };
    let Failing::Write(after) = attempt::fail(&next, id(8), &refused, &profile(), at(secs(301))) else {
        panic!("overtaken")
    };
    let again = attempt::claim(
        &after,
        after.seen(),
        try_at(10, at(secs(302))),
        Ask::Scheduler,
        &profile(),
        at(secs(302)),
    );
    assert_eq!(again, Claiming::Held { until: hard });
}

fn renewal(connection: &Connection) -> Renewal {
    Renewal {
        attempt: id(8),
        seen: connection.seen(),
        refresh_token: Some(Sealed::from_bytes(*b"new")),
        previous: None,
        refresh_expires_at: None,
        token: Ok(token(connection.generation + 1, secs(3600), Overlap::OldAccessTokenSurvives)),
        scopes: None,
        api_base_url: None,
        principal: None,
        consent: Some(Consent { authorization: id(7), family: id(77) }),
    }
}

#[test]
fn a_consent_whose_commit_was_not_heard_of_is_settled_whatever_came_after_it() {
    let now = at(secs(30));
    let mut before = active(Way::Browser(browser()));
    before.authorization.as_mut().unwrap().stage = Stage::Taken;
    let renewal = renewal(&before);
    let Committing::Commit(after) = attempt::commit(&before, &renewal, now) else { panic!("not committed") };
    let refreshed = Connection { settled: Some(id(80)), generation: after.generation + 1, ..*after };
    assert_eq!(attempt::commit(&refreshed, &renewal, now), Committing::Settled);
}

#[test]
fn a_new_consent_replaces_the_old_one_at_once_and_goes_on_counting() {
    let now = at(secs(30));
    for state in [State::Active, State::NeedsReauthorization, State::Revoked, State::Pending] {
        let mut before = active(Way::Browser(browser()));
        before.authorization.as_mut().unwrap().stage = Stage::Taken;
        before.state = state;
        let renewal = renewal(&before);
        let Committing::Commit(after) = attempt::commit(&before, &renewal, now) else { panic!("{state}") };
        assert_eq!((after.family, after.generation, after.state), (id(77), 4, State::Active), "{state}");
        assert_eq!(after.refresh_token, renewal.refresh_token);
        assert_eq!(
            (after.previous_refresh_token.as_ref(), after.scopes.as_slice()),
            (None, &["write".to_owned()][..])
        );
        assert_eq!(after.grant, GrantKind::AuthorizationCode);
        assert_eq!(after.authorization.as_ref().unwrap().stage, Stage::Succeeded);
        assert_eq!(attempt::commit(&after, &renewal, now), Committing::Settled);
        // A refresh of the old family that comes late finds nothing to go into.
        let late = Renewal { attempt: id(9), consent: None, ..renewal.clone() };
        assert_eq!(attempt::commit(&after, &late, now), Committing::Orphaned);
    }
}

#[test]
fn a_new_consent_is_no_use_once_it_was_replaced_and_waits_for_what_came_between() {
    let now = at(secs(30));
    let mut before = active(Way::Browser(browser()));
    before.authorization.as_mut().unwrap().stage = Stage::Taken;
    let renewal = renewal(&before);
    let between = Connection { generation: 4, ..before.clone() };
    assert_eq!(attempt::commit(&between, &renewal, now), Committing::Superseded);
    let mut replaced = before.clone();
    replaced.authorization.as_mut().unwrap().id = id(70);
    assert_eq!(attempt::commit(&replaced, &renewal, now), Committing::Orphaned);
    let revoking = Connection { state: State::Revoking, ..before.clone() };
    assert_eq!(attempt::commit(&revoking, &renewal, now), Committing::Orphaned);
    let dropped = Connection { authorization: None, ..before };
    assert_eq!(attempt::commit(&dropped, &renewal, now), Committing::Orphaned);
}

#[test]
fn a_failed_exchange_leaves_the_old_consent_as_it_was() {
    let now = at(secs(30));
    let classes = [Class::NotSent, Class::Suspect, Class::Client, Class::Ambiguous, Class::Malformed];
    for class in classes {
        let mut before = active(Way::Browser(browser()));
        before.authorization.as_mut().unwrap().stage = Stage::Taken;
        let Claiming::Claim(claimed) = claimed(&before, now) else { panic!("{class}") };
        let failure = Failure { class, ..Failure::of_ours("test") };
        let Failing::Write(after) = attempt::fail(&claimed, id(8), &failure, &profile(), now) else {
            panic!("{class}")
        };
        assert_eq!(after.authorization.as_ref().unwrap().stage, Stage::Failed);
        assert_eq!(Connection { authorization: before.authorization.clone(), ..*after }, before, "{class}");
    }
}

#[test]
fn a_device_code_is_asked_for_as_the_server_wishes() {
    let now = at(secs(30));
    let cases = [
        (Some("authorization_pending"), Class::Configuration, Some((5, 5)), Stage::Open),
        (Some("slow_down"), Class::Throttled, Some((10, 10)), Stage::Open),
        (None, Class::NotSent, Some((10, 10)), Stage::Open),
        (None, Class::Ambiguous, Some((10, 10)), Stage::Open),
        (Some("expired_token"), Class::Configuration, None, Stage::Expired),
        (Some("access_denied"), Class::Configuration, None, Stage::Denied),
        (Some("invalid_grant"), Class::Suspect, None, Stage::Failed),
        (Some("invalid_client"), Class::Client, None, Stage::Failed),
    ];
    for (code, class, polls, stage) in cases {
        let mut before = pending(device());
        before.authorization.as_mut().unwrap().due = Some(now.store);
        assert_eq!(before.chore(now), Chore::Poll(id(7)));
        let Claiming::Claim(claimed) = claimed(&before, now) else { panic!("{code:?}") };
        assert_eq!(claimed.chore(now), Chore::Nothing, "its lease keeps others away");
        let failure = Failure { class, code: code.map(str::to_owned), ..Failure::of_ours("test") };
        let Failing::Write(after) = attempt::fail(&claimed, id(8), &failure, &profile(), now) else {
            panic!("{code:?}")
        };
        let ours = after.authorization.as_ref().unwrap();
        let interval = match &ours.way {
            Way::Device(device) => device.interval,
            Way::Browser(_) | Way::Otp { .. } => Duration::ZERO,
        };
        let wanted = polls.map(|(pause, interval)| (now.store.plus(secs(pause)), secs(interval)));
        assert_eq!(ours.due.map(|due| (due, interval)), wanted, "{code:?}");
        assert_eq!((ours.stage, ours.secrets.is_some()), (stage, stage == Stage::Open), "{code:?}");
        assert_eq!(after.attempt, None);
    }
    let mut early = pending(device());
    early.authorization.as_mut().unwrap().due = Some(now.store.plus(secs(1)));
    assert_eq!(claimed(&early, now), Claiming::Held { until: now.store.plus(secs(1)) });
}

#[test]
fn a_password_may_be_mistyped_a_few_times() {
    let now = at(secs(30));
    let mut connection = pending(Way::Otp { refused: 0 });
    let failure = Failure { class: Class::Suspect, ..Failure::of_ours("test") };
    for tried in 1..=OTP_TRIES {
        let Claiming::Claim(claimed) = claimed(&connection, now) else { panic!("{tried}") };
        let Failing::Write(next) = attempt::fail(&claimed, id(8), &failure, &profile(), now) else {
            panic!("{tried}")
        };
        let open = next.authorization.as_ref().unwrap().stage == Stage::Open;
        assert_eq!(open, tried < OTP_TRIES, "{tried}");
        connection = *next;
    }
    assert_eq!(connection.reason.unwrap().reason, Reason::AuthorizationFailed);
}

#[test]
fn time_closes_what_nobody_closed() {
    let mut open = pending(Way::Browser(browser()));
    assert_eq!(open.chore(at(secs(599))), Chore::Nothing);
    assert_eq!(open.queued_at(), Some(at(OPEN_FOR).store));
    assert_eq!(open.chore(at(OPEN_FOR)), Chore::Close);
    open.close_authorization(at(OPEN_FOR));
    assert_eq!(open.reason.as_ref().unwrap().reason, Reason::AuthorizationExpired);
    assert_eq!((open.queued_at(), open.chore(at(secs(9999)))), (None, Chore::Nothing));

    // A replica died between taking the code and exchanging it: the old consent serves on.
    let mut taken = active(Way::Browser(browser()));
    let before = taken.clone();
    let ours = taken.authorization.as_mut().unwrap();
    (ours.stage, ours.due) = (Stage::Taken, Some(at(secs(45)).store));
    assert_eq!(taken.chore(at(secs(44))), Chore::Nothing);
    taken.close_authorization(at(secs(45)));
    assert_eq!(taken.authorization.as_ref().unwrap().stage, Stage::Failed);
    assert_eq!(Connection { authorization: before.authorization.clone(), ..taken }, before);
}

#[test]
fn who_waits_for_a_person_is_left_alone_until_then() {
    let waiting = pending(Way::Browser(browser()));
    assert_eq!(judge(&waiting, at(secs(5)), None), Verdict::Ended(State::Pending));
    for ask in [Ask::Scheduler, Ask::Caller, Ask::Operator] {
        let claim =
            attempt::claim(&waiting, waiting.seen(), try_at(8, at(secs(5))), ask, &profile(), at(secs(5)));
        assert_eq!(claim, Claiming::Ended(State::Pending));
    }
    let mut switched = waiting.clone();
    switched.disable(at(secs(5)));
    assert_eq!(switched.authorization, None);
    switched.enable(at(secs(6)));
    assert_eq!((switched.state, switched.due), (State::Pending, None));
}

#[test]
fn an_exchange_for_a_consent_that_left_no_word_puts_the_old_grant_at_no_risk() {
    let mut lapsed = active(Way::Browser(browser()));
    lapsed.attempt = Some(Attempt { authorization: Some(id(7)), ..try_at(8, at(secs(0))) });
    let later = at(secs(3000));
    let claim = attempt::claim(&lapsed, lapsed.seen(), try_at(9, later), Ask::Operator, &profile(), later);
    let Claiming::Claim(next) = claim else { panic!("{claim:?}") };
    assert_eq!(next.ambiguous, None);
}

#[test]
fn digests_compare_whole() {
    assert!(STATE.matches(&Digest([1; 32])));
    let mut nearly = STATE;
    nearly.0[31] = 0;
    assert!(!STATE.matches(&nearly));
    assert_eq!(format!("{STATE:?}"), "[digest]");
}
