//! Transitions of a record, as tables.

use super::*;
use crate::domain::{
    asking::{Known, Onward, after_asking},
    client::Noted,
    profile::{GrantKind, Introspection, Overlap, Reuse, Rotation},
    samples::{HOUR, SKEW, START, at, attempt, connection, id, mark, profile, secs, token},
};

/// Past the soft point of the sample's token, whatever its jitter.
const LATE: Duration = Duration::from_secs(50 * 60);
const OURS: u128 = 77;

/// So long before the moment that most tests are about.
fn earlier(span: Duration) -> Moment {
    at(LATE.saturating_sub(span))
}

fn with(change: impl FnOnce(&mut Connection)) -> Connection {
    let mut connection = connection();
    change(&mut connection);
    connection
}

/// Claimed by us a second ago.
fn claimed(change: impl FnOnce(&mut Connection)) -> Connection {
    with(|c| {
        c.attempt = Some(attempt(OURS, earlier(secs(1))));
        change(c);
    })
}

fn asked(connection: &Connection, ask: Ask) -> Claiming {
    claim(connection, connection.seen(), attempt(OURS, at(LATE)), ask, &profile(), at(LATE))
}

fn failure(class: Class) -> Failure {
    Failure {
        class,
        reason: None,
        hold: None,
        code: Some("code".into()),
        status: Some(400),
        retry_after: None,
        correlation_id: Some("corr".into()),
        detail: "",
    }
}

fn failed(connection: &Connection, failure: &Failure, profile: &Profile) -> Connection {
    match fail(connection, id(OURS), failure, profile, at(LATE)) {
        Failing::Write(next) => *next,
        Failing::Overtaken => panic!("overtaken"),
    }
}

fn renewal(token: Result<Token, Failure>) -> Renewal {
    Renewal {
        attempt: id(OURS),
        seen: connection().seen(),
        refresh_token: Some(Sealed::from_bytes(*b"refresh 4")),
        previous: Some(Sealed::from_bytes(*b"previous 4")),
        refresh_expires_at: None,
        token,
        scopes: None,
        api_base_url: None,
        principal: None,
        consent: None,
    }
}

fn good() -> Renewal {
    renewal(Ok(Token { sealed: Sealed::from_bytes(*b"access 4"), ..token(4, HOUR * 2, Overlap::default()) }))
}

fn committed(connection: &Connection, renewal: &Renewal) -> Connection {
    match commit(connection, renewal, at(LATE)) {
        Committing::Commit(next) => *next,
        other => panic!("{other:?}"),
    }
}

/// How long the provider is left alone from now on.
fn pause_of(connection: &Connection) -> Duration {
    at(LATE).store.until(connection.due.expect("due again"))
}

fn assert_within_a_fifth(got: Duration, want: Duration, what: &str) {
    assert!(want.mul_f64(0.8) <= got && got <= want.mul_f64(1.2), "{what}: {got:?} for {want:?}");
}

fn word(claiming: &Claiming) -> String {
    match claiming {
        Claiming::Claim(_) => "claim".into(),
        Claiming::Busy { until } => format!("busy {}", until.0),
        Claiming::Moved => "moved".into(),
        Claiming::Held { until } => format!("held {}", until.0),
        Claiming::PutOff(_) => "put off".into(),
        Claiming::Nothing(_) => "nothing".into(),
        Claiming::Ended(state) => state.word().into(),
    }
}

#[test]
fn only_living_states_are_claimed_and_a_person_may_try_what_waits_for_one() {
    // (state, scheduler, caller, operator, bootstrap)
    let need = "needs_reauthorization";
    let cases = [
        (State::Pending, ["claim"; 4]),
        (State::Active, ["claim"; 4]),
        (State::NeedsReauthorization, [need, need, "claim", need]),
        (State::Disabled, ["disabled"; 4]),
        (State::Revoking, ["revoking"; 4]),
        (State::Revoked, ["revoked"; 4]),
    ];
    assert_eq!(cases.len(), State::ALL.len());
    for (state, want) in cases {
        let got = [Ask::Scheduler, Ask::Caller, Ask::Operator, Ask::Bootstrap]
            .map(|ask| word(&asked(&with(|c| c.state = state), ask)));
        assert_eq!(got, want, "{state}");
    }
}

#[test]
fn a_due_time_holds_the_scheduler_and_after_a_failure_callers_too() {
    let later = at(LATE + secs(1)).store;
    let held = format!("held {}", later.0);
    let (held, claim) = (held.as_str(), "claim");
    // (due, failures, [scheduler, caller, operator, bootstrap])
    let cases = [
        (None, 0, [claim; 4]),
        (None, 3, [claim; 4]),
        (Some(at(LATE).store), 3, [claim; 4]),
        (Some(later), 0, [held, claim, claim, claim]),
        (Some(later), 1, [held, held, claim, claim]),
    ];
    for (due, failures, want) in cases {
        let connection = with(|c| {
            (c.due, c.failures) = (due, failures);
            c.last_failure = Some(last(Class::Down));
        });
        let got = [Ask::Scheduler, Ask::Caller, Ask::Operator, Ask::Bootstrap]
            .map(|ask| word(&asked(&connection, ask)));
        assert_eq!(got, want, "due {due:?}, {failures} failures");
    }
}

#[test]
fn a_refused_client_holds_its_connections_by_its_own_hold_only() {
    let later = at(LATE + secs(1)).store;
    for class in Class::ALL {
        let connection = with(|c| {
            (c.due, c.failures) = (Some(later), 1);
            c.last_failure = Some(last(*class));
        });
        let got = [Ask::Scheduler, Ask::Caller].map(|ask| word(&asked(&connection, ask)));
        let held = format!("held {}", later.0);
        let caller = if *class == Class::Client { "claim".to_owned() } else { held.clone() };
        assert_eq!(got, [held, caller], "{class}");
    }
}

fn last(class: Class) -> LastFailure {
    LastFailure { class, code: None, correlation_id: None, at: START }
}

#[test]
fn nobody_is_at_it_beside_a_living_lease_and_news_come_before_everything_but_the_end() {
    let begun = earlier(secs(45));
    let lapsed = with(|c| c.attempt = Some(attempt(1, begun)));
    let living = with(|c| {
        c.attempt = Some(attempt(1, begun));
        c.attempt.as_mut().unwrap().lease_until = at(LATE).store.plus(Duration::from_millis(1));
    });
    let busy = format!("busy {}", at(LATE).store.0 + 1);
    for ask in [Ask::Scheduler, Ask::Caller, Ask::Operator, Ask::Bootstrap] {
        assert_eq!(word(&asked(&living, ask)), busy, "{ask:?}");
        let patient = matches!(ask, Ask::Scheduler | Ask::Caller);
        let want = if patient { "put off" } else { "claim" };
        assert_eq!(word(&asked(&lapsed, ask)), want, "{ask:?}");
        let old = Seen { generation: 2, ..living.seen() };
        let other = Seen { family: id(99), ..living.seen() };
        for seen in [old, other] {
            let got = claim(&living, seen, attempt(OURS, at(LATE)), ask, &profile(), at(LATE));
            assert_eq!(word(&got), "moved", "{ask:?}");
        }
    }
    let ended = with(|c| c.state = State::Revoked);
    let old = Seen { generation: 2, ..ended.seen() };
    let got = claim(&ended, old, attempt(OURS, at(LATE)), Ask::Caller, &profile(), at(LATE));
    assert_eq!(word(&got), "revoked");
}

#[test]
fn a_claim_opens_the_attempt_and_is_due_again_when_its_lease_ends() {
    let before = with(|c| c.due = None);
    let Claiming::Claim(next) = asked(&before, Ask::Caller) else { panic!() };
    let ours = attempt(OURS, at(LATE));
    assert_eq!(next.due, Some(ours.lease_until));
    assert_eq!(*next, Connection { due: Some(ours.lease_until), attempt: Some(ours), ..before });
}

#[test]
fn an_attempt_whose_holder_died_leaves_a_mark_where_a_grant_can_be_lost() {
    let begun = earlier(secs(46));
    let lapsed = || with(|c| c.attempt = Some(attempt(1, begun)));
    let unknown = profile();
    let marked_at = |connection: &Connection, profile: &Profile| {
        let seen = connection.seen();
        match claim(connection, seen, attempt(OURS, at(LATE)), Ask::Scheduler, profile, at(LATE)) {
            Claiming::Claim(next) | Claiming::PutOff(next) => {
                next.ambiguous.map(|mark| (mark.generation, mark.at))
            }
            other => panic!("{other:?}"),
        }
    };
    let cases = vec![
        (lapsed(), unknown.clone(), Some((3, begun.here)), "a grant that may be used up"),
        (lapsed(), Profile { rotation: Rotation::Never, ..profile() }, None, "nothing is used up"),
        (lapsed(), Profile { reuse: Reuse::Ignore, ..profile() }, None, "reuse does no harm"),
        (with(|_| ()), unknown.clone(), None, "no attempt"),
        (
            with(|c| {
                c.attempt = Some(attempt(1, begun));
                c.refresh_token = None;
                c.grant = GrantKind::ClientCredentials;
            }),
            unknown.clone(),
            None,
            "no refresh token",
        ),
        (
            with(|c| {
                c.attempt = Some(attempt(1, begun));
                c.ambiguous = Some(mark(3));
            }),
            unknown.clone(),
            Some((3, START)),
            "the first mark stands",
        ),
        (
            with(|c| {
                c.attempt = Some(attempt(1, begun));
                c.ambiguous = Some(mark(2));
            }),
            unknown,
            Some((3, begun.here)),
            "a mark of another generation is void",
        ),
    ];
    for (mut connection, profile, want, why) in cases {
        connection.due = None;
        assert_eq!(marked_at(&connection, &profile), want, "{why}");
    }
}

#[test]
fn what_is_put_off_after_its_holder_died_holds_callers_too_whatever_failed_before() {
    let begun = earlier(secs(46));
    for before in [None, Some(Class::Client), Some(Class::Down)] {
        let lapsed = with(|c| {
            c.attempt = Some(attempt(1, begun));
            c.last_failure = before.map(last);
        });
        let Claiming::PutOff(next) = asked(&lapsed, Ask::Scheduler) else { panic!("{before:?}") };
        let failure = next.last_failure.clone().unwrap();
        assert_eq!((failure.class, failure.at), (Class::Ambiguous, begun.here), "{before:?}");
        let held = format!("held {}", next.due.unwrap().0);
        for ask in [Ask::Scheduler, Ask::Caller] {
            assert_eq!(word(&asked(&next, ask)), held, "{before:?}, {ask:?}");
        }
    }
    let introspects = Profile {
        introspection: Introspection::Rfc7662,
        introspection_endpoint: Some("https://idp.example/introspect".parse().unwrap()),
        ..profile()
    };
    let lapsed = with(|c| {
        c.attempt = Some(attempt(1, begun));
        c.last_failure = Some(last(Class::Down));
    });
    let ours = attempt(OURS, at(LATE));
    let Claiming::Claim(next) = claim(&lapsed, lapsed.seen(), ours, Ask::Scheduler, &introspects, at(LATE))
    else {
        panic!("it is asked first");
    };
    let onward = after_asking(&next, Known::Nothing, &introspects, at(LATE));
    assert!(
        matches!(onward, Onward::Fail(_)),
        "a server that was down once says nothing of this: {onward:?}"
    );

    let minting = with(|c| {
        c.attempt = Some(attempt(1, begun));
        (c.refresh_token, c.grant) = (None, GrantKind::ClientCredentials);
    });
    let Claiming::Claim(next) = asked(&minting, Ask::Scheduler) else { panic!() };
    assert_eq!(next.last_failure, None, "nothing is in doubt");
}

#[test]
fn a_connection_without_anything_to_spend_waits_for_a_person() {
    for grant in GrantKind::ALL {
        let spent = with(|c| {
            c.grant = *grant;
            (c.refresh_token, c.token) = (None, None);
            c.generation = 0;
            c.state = State::Pending;
            c.attempt = Some(attempt(1, earlier(secs(60))));
        });
        let renewable = *grant == GrantKind::ClientCredentials;
        assert_eq!(word(&asked(&spent, Ask::Bootstrap)), "claim", "{grant}");
        match asked(&spent, Ask::Operator) {
            Claiming::Claim(_) => assert!(renewable, "{grant}"),
            Claiming::Nothing(next) => {
                assert!(!renewable, "{grant}");
                assert_eq!(next.state, State::NeedsReauthorization);
                assert_eq!(next.reason.map(|reason| reason.reason), Some(Reason::BootstrapLost));
                assert_eq!((next.due, next.attempt), (None, None));
            }
            other => panic!("{grant}: {other:?}"),
        }
    }
}

#[test]
fn a_client_that_signs_for_a_subject_needs_nothing_kept() {
    let minting = with(|c| {
        (c.grant, c.subject, c.refresh_token) = (GrantKind::JwtBearer, Some("s".into()), None);
    });
    assert_eq!(word(&asked(&minting, Ask::Scheduler)), "claim");
    let subject_of_another_grant = with(|c| {
        (c.grant, c.subject, c.refresh_token, c.due) = (GrantKind::Password, Some("s".into()), None, None);
    });
    assert_eq!(word(&asked(&subject_of_another_grant, Ask::Scheduler)), "nothing");
}

#[test]
fn an_answer_without_a_refresh_token_is_good_until_it_expires_and_then_over() {
    let before = claimed(|c| {
        c.grant = GrantKind::TokenExchange;
        c.refresh_token = None;
    });
    let renewal = Renewal { refresh_token: None, ..good() };
    let active = committed(&before, &renewal);
    let expires_at = active.token.as_ref().unwrap().expires_at;
    let due = active.due.unwrap();
    assert_eq!((active.state, due), (State::Active, expires_at.plus(SKEW)), "not at the soft point");
    let ask_at = |store: Timestamp| {
        let moment = Moment { here: store.minus(SKEW), store };
        claim(&active, active.seen(), attempt(9, moment), Ask::Scheduler, &profile(), moment)
    };
    assert_eq!(ask_at(due.minus(secs(1))), Claiming::Held { until: due });
    let Claiming::Nothing(ended) = ask_at(due) else { panic!() };
    assert_eq!(ended.state, State::NeedsReauthorization);
    assert_eq!(ended.reason.map(|reason| reason.reason), Some(Reason::Expired));
    let mut disabled = active.clone();
    disabled.disable(at(LATE));
    disabled.enable(at(LATE));
    assert_eq!(disabled.due, Some(due), "switching it off and on does not end it");
}

#[test]
fn what_is_about_to_be_started_with_a_one_time_credential_is_nobody_elses() {
    let begun = with(|c| {
        c.grant = GrantKind::CompanyRequestToken;
        (c.refresh_token, c.token, c.attempt) = (None, None, None);
        c.state = State::Pending;
        c.due = Some(at(LATE + secs(30)).store);
    });
    for ask in [Ask::Scheduler, Ask::Caller, Ask::Operator] {
        assert_eq!(word(&asked(&begun, ask)), format!("held {}", at(LATE + secs(30)).store.0), "{ask:?}");
    }
    assert_eq!(word(&asked(&begun, Ask::Bootstrap)), "claim");
    let given_up = with(|c| {
        c.clone_from(&begun);
        c.due = Some(at(LATE).store);
    });
    assert_eq!(word(&asked(&given_up, Ask::Scheduler)), "nothing");
}

#[test]
fn a_commit_replaces_the_tokens_and_closes_all_that_stood_on_the_old_ones() {
    let before = claimed(|c| {
        c.state = State::Pending;
        c.suspicion = Some(mark(3));
        c.ambiguous = Some(mark(3));
        c.failures = 4;
        c.api_base_url = Some("https://old.example".into());
        c.refresh_expires_at = Some(START);
    });
    let next = committed(&before, &good());
    let token = good().token.unwrap();
    assert_eq!((next.generation, next.family), (4, before.family));
    assert_eq!(next.state, State::Active);
    assert_eq!(next.revision, before.revision + 1, "the state changed");
    assert_eq!(next.settled, Some(id(OURS)));
    assert_eq!((&next.attempt, &next.suspicion, &next.ambiguous, next.failures), (&None, &None, &None, 0));
    assert_eq!(next.refresh_token.as_ref().unwrap().bytes(), b"refresh 4");
    assert_eq!(next.previous_refresh_token.as_ref().unwrap().bytes(), b"previous 4");
    assert_eq!(
        pause_of(&next),
        at(LATE).here.until(token.soft_at),
        "due at the soft point, by the store's clock"
    );
    assert_eq!(next.token, Some(token));
    assert_eq!(next.last_success_at, Some(at(LATE).here));
    // What the answer leaves out stays.
    assert_eq!(next.api_base_url.as_deref(), Some("https://old.example"));
    assert_eq!((next.refresh_expires_at, next.scopes), (Some(START), before.scopes.clone()));

    let renewal = Renewal {
        api_base_url: Some("https://new.example".into()),
        refresh_expires_at: Some(at(HOUR).here),
        scopes: Some(vec![]),
        ..good()
    };
    let next = committed(&before, &renewal);
    assert_eq!(next.api_base_url.as_deref(), Some("https://new.example"));
    assert_eq!((next.refresh_expires_at, next.scopes), (Some(at(HOUR).here), vec![]));
}

#[test]
fn a_commit_asks_for_family_and_generation_and_for_nothing_else() {
    let (settled, superseded, orphaned, commits) = ("settled", "superseded", "orphaned", "commit");
    let cases = vec![
        (claimed(|_| ()), commits, "ours"),
        (claimed(|c| c.attempt = Some(attempt(5, at(LATE)))), commits, "a newer claim has no answer yet"),
        (claimed(|c| c.attempt = None), commits, "somebody closed the attempt"),
        (claimed(|c| c.attempt.as_mut().unwrap().lease_until = START), commits, "the lease ran out"),
        (claimed(|c| c.state = State::Disabled), commits, "disabled in flight"),
        (claimed(|c| c.state = State::NeedsReauthorization), commits, "given up in flight"),
        (claimed(|c| c.generation = 4), superseded, "another answer came first"),
        (claimed(|c| c.generation = 2), superseded, "the store went back"),
        (claimed(|c| c.family = id(99)), orphaned, "a new consent"),
        (
            claimed(|c| {
                c.family = id(99);
                c.generation = 4;
            }),
            orphaned,
            "a new consent with an answer",
        ),
        (claimed(|c| c.state = State::Revoking), commits, "the newest token is the one to revoke with"),
        (claimed(|c| c.state = State::Revoked), orphaned, "revoked"),
        (
            claimed(|c| {
                c.generation = 4;
                c.settled = Some(id(OURS));
                c.state = State::Revoked;
            }),
            settled,
            "only the reply was lost",
        ),
        (claimed(|c| c.settled = Some(id(1))), commits, "an older attempt is settled"),
    ];
    for (connection, want, why) in cases {
        let got = match commit(&connection, &good(), at(LATE)) {
            Committing::Commit(_) => commits,
            Committing::Settled => settled,
            Committing::Superseded => superseded,
            Committing::Orphaned => orphaned,
        };
        assert_eq!(got, want, "{why}");
    }
}

#[test]
fn an_answer_that_comes_to_a_disabled_connection_is_kept_and_starts_nothing() {
    let mut disabled = claimed(|_| ());
    disabled.disable(at(LATE));
    let next = committed(&disabled, &good());
    assert_eq!((next.state, next.due, next.generation), (State::Disabled, None, 4));
    assert_eq!(next.token, Some(good().token.unwrap()));
    assert_eq!(next.refresh_token.as_ref().unwrap().bytes(), b"refresh 4");

    let mut next = committed(&claimed(|c| (c.state, c.before) = (State::Disabled, Some(ended()))), &good());
    next.enable(at(LATE));
    assert_eq!((next.state, next.reason), (State::Active, None), "the grant that had ended works again");
}

fn ended() -> Before {
    let reason = Some(StateReason::plain(Reason::Revoked, START));
    Before { state: State::NeedsReauthorization, reason }
}

#[test]
fn a_success_without_a_usable_token_keeps_its_refresh_token_and_serves_the_old_one() {
    let before = claimed(|_| ());
    let next = committed(&before, &renewal(Err(failure(Class::Malformed))));
    assert_eq!((next.generation, next.state), (4, State::Active));
    assert_eq!(next.refresh_token.as_ref().unwrap().bytes(), b"refresh 4");
    assert_eq!(next.token, before.token, "sealed for the generation it came with");
    assert_eq!(next.failures, 1);
    assert_eq!(next.last_failure.as_ref().unwrap().class, Class::Malformed);
    assert_eq!(next.last_success_at, before.last_success_at);
    assert_within_a_fifth(pause_of(&next), secs(30), "malformed");
}

#[test]
fn a_failure_is_written_by_the_holder_of_the_open_attempt_only() {
    let down = failure(Class::Down);
    for overtaken in [claimed(|c| c.attempt = None), claimed(|c| c.attempt = Some(attempt(5, at(LATE))))] {
        assert_eq!(fail(&overtaken, id(OURS), &down, &profile(), at(LATE)), Failing::Overtaken);
    }
}

#[test]
fn every_class_of_failure_has_its_pause_its_mark_and_never_ends_a_grant_at_once() {
    let ms = Duration::from_millis;
    // (class, pause, ambiguous, suspicious)
    let cases = [
        (Class::NotSent, secs(2), false, false),
        (Class::Suspect, ms(3500), false, true),
        (Class::Client, secs(30), false, false),
        (Class::Configuration, secs(30), false, false),
        (Class::Throttled, secs(2), false, false),
        // A server that says so in a 4xx has used nothing up.
        (Class::Down, secs(2), false, false),
        (Class::Ambiguous, secs(2), true, false),
        (Class::Malformed, secs(30), false, false),
        (Class::Policy, secs(30), false, false),
    ];
    assert_eq!(cases.len(), Class::ALL.len());
    let gateway = Failure { status: Some(503), ..failure(Class::Down) };
    assert!(failed(&claimed(|_| ()), &gateway, &profile()).ambiguous.is_some());
    for (class, pause, ambiguous, suspicious) in cases {
        let before = claimed(|_| ());
        let next = failed(&before, &failure(class), &Profile { reuse: Reuse::Reject, ..profile() });
        assert_within_a_fifth(pause_of(&next), pause, class.word());
        assert_eq!(next.ambiguous.is_some(), ambiguous, "{class}");
        assert_eq!(next.suspicion.is_some(), suspicious, "{class}");
        assert_eq!((next.state, next.failures, &next.attempt), (State::Active, 1, &None), "{class}");
        let last = next.last_failure.as_ref().unwrap();
        assert_eq!((last.class, last.at, last.code.as_deref()), (class, at(LATE).here, Some("code")));
        assert_eq!((&next.token, &next.refresh_token), (&before.token, &before.refresh_token), "{class}");
        assert_eq!((next.generation, next.revision), (before.generation, before.revision), "{class}");
    }
}

#[test]
fn pauses_double_up_to_their_ceiling() {
    let concur = Profile { retry_ceiling: secs(300), ..profile() };
    let down = [2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
    let refused = [30, 60, 120, 240, 480, 900, 900, 900, 900, 900];
    for (failures, (down, refused)) in down.into_iter().zip(refused).enumerate() {
        let before = claimed(|c| c.failures = u32::try_from(failures).unwrap());
        for (class, want) in [(Class::Down, down), (Class::NotSent, down), (Class::Configuration, refused)] {
            let next = failed(&before, &failure(class), &concur);
            assert_within_a_fifth(pause_of(&next), secs(want), &format!("{class} after {failures}"));
        }
    }
    let ages = failed(&claimed(|c| c.failures = u32::MAX), &failure(Class::Down), &profile());
    assert_eq!(ages.failures, u32::MAX);
    assert_within_a_fifth(pause_of(&ages), secs(60), "after ages");
}

#[test]
fn retry_after_is_honoured_up_to_an_hour_and_never_shortens_a_pause() {
    for (asked, want) in [(0, None), (1, None), (90, Some(90)), (3600, Some(3600)), (86_400, Some(3600))] {
        let throttled = Failure { retry_after: Some(secs(asked)), ..failure(Class::Throttled) };
        let next = failed(&claimed(|_| ()), &throttled, &profile());
        match want {
            Some(want) => assert_eq!(pause_of(&next), secs(want), "{asked}"),
            None => assert_within_a_fifth(pause_of(&next), secs(2), "shorter than the pause"),
        }
    }
}

#[test]
fn a_grant_ends_on_the_second_refusal_and_is_called_lost_where_an_answer_was_lost() {
    let suspect = |reason| Failure { reason, ..failure(Class::Suspect) };
    // (suspicion, ambiguous, the failure's own reason, what the end is called; none: it goes on)
    let cases = [
        (None, None, None, None),
        (None, Some(3), None, None),
        (Some(2), None, None, None),
        (Some(3), None, None, Some(Reason::Revoked)),
        (Some(3), None, Some(Reason::PrincipalDisabled), Some(Reason::PrincipalDisabled)),
        (Some(3), Some(3), None, Some(Reason::LostRotation)),
        (Some(3), Some(3), Some(Reason::PrincipalDisabled), Some(Reason::LostRotation)),
        (Some(3), Some(2), None, Some(Reason::Revoked)),
    ];
    for (suspicion, ambiguous, reason, want) in cases {
        let before = claimed(|c| {
            c.suspicion = suspicion.map(mark);
            c.ambiguous = ambiguous.map(mark);
        });
        let next = failed(&before, &suspect(reason), &profile());
        let why = format!("suspicion {suspicion:?}, ambiguous {ambiguous:?}, {reason:?}");
        match want {
            None => {
                assert_eq!((next.state, &next.reason), (State::Active, &None), "{why}");
                assert_eq!(next.suspicion.as_ref().unwrap().generation, 3, "{why}");
                assert_within_a_fifth(pause_of(&next), Duration::from_millis(3500), &why);
            }
            Some(want) => {
                assert_eq!((next.state, next.due), (State::NeedsReauthorization, None), "{why}");
                let reason = next.reason.as_ref().unwrap();
                assert_eq!((reason.reason, reason.code.as_deref()), (want, Some("code")), "{why}");
                assert_eq!(reason.correlation_id.as_deref(), Some("corr"), "{why}");
                assert_eq!(
                    (&next.token, &next.refresh_token),
                    (&before.token, &before.refresh_token),
                    "{why}"
                );
                assert_eq!((next.revision, next.failures), (before.revision + 1, 1), "{why}");
            }
        }
    }
}

#[test]
fn where_reuse_revokes_the_family_a_retry_waits_until_the_token_has_nearly_run_out() {
    let harmful = Profile { reuse: Reuse::RevokeFamily, ..profile() };
    let hard_at = connection().token.unwrap().hard_at;
    let until_hard = at(LATE).here.until(hard_at);
    assert!(!until_hard.is_zero());
    let soon = secs(2);
    let cases = [
        (claimed(|_| ()), harmful.clone(), Class::Ambiguous, until_hard, "put off"),
        (claimed(|c| c.ambiguous = Some(mark(3))), harmful.clone(), Class::NotSent, soon, "nothing was sent"),
        (claimed(|_| ()), profile(), Class::Ambiguous, until_hard, "unknown is taken for the worse"),
        (
            claimed(|_| ()),
            Profile { reuse: Reuse::Reject, ..profile() },
            Class::Ambiguous,
            soon,
            "reuse does the grant no harm",
        ),
        (
            claimed(|_| ()),
            Profile { grace: secs(30), ..harmful.clone() },
            Class::Ambiguous,
            soon,
            "within the grace window",
        ),
        (
            claimed(|_| ()),
            Profile { grace: secs(11), ..harmful.clone() },
            Class::Ambiguous,
            until_hard,
            "a window that opened with the attempt a second ago, and ends before a request is there",
        ),
        (claimed(|c| c.token = None), harmful.clone(), Class::Ambiguous, soon, "no token to wait with"),
        (
            claimed(|c| c.token.as_mut().unwrap().hard_at = at(LATE).here),
            harmful.clone(),
            Class::Ambiguous,
            soon,
            "nothing left to wait for",
        ),
        (
            claimed(|_| ()),
            Profile { rotation: Rotation::Never, ..harmful },
            Class::Ambiguous,
            soon,
            "nothing is used up",
        ),
    ];
    for (connection, profile, class, want, why) in cases {
        let next = failed(&connection, &failure(class), &profile);
        if want == until_hard {
            assert_eq!(pause_of(&next), until_hard, "{why}");
        } else {
            assert_within_a_fifth(pause_of(&next), want, why);
        }
    }
}

#[test]
fn a_try_that_comes_too_late_for_the_grace_window_waits_until_the_token_has_nearly_run_out() {
    let grace = secs(30);
    let harmful = || Profile { reuse: Reuse::RevokeFamily, grace, ..profile() };
    let at_its_end = |class| (class, grace, harmful());
    let short = || Profile { grace: secs(10), ..harmful() };
    let introspects = Profile {
        introspection: Introspection::Rfc7662,
        introspection_endpoint: Some("https://idp.example/introspect".parse().unwrap()),
        ..harmful()
    };
    // (the last failure, how long ago the attempt with the lost answer began, the profile), and what comes of it
    let cases = vec![
        ((Class::Ambiguous, secs(19), harmful()), "claim", "the window is open"),
        (
            (Class::Ambiguous, secs(20), harmful()),
            "put off",
            "a request might reach the server too late for it",
        ),
        ((Class::Ambiguous, secs(9), short()), "put off", "too short to reach the server within it"),
        (at_its_end(Class::Ambiguous), "put off", "it has closed"),
        (at_its_end(Class::NotSent), "put off", "it closed while the server could not be reached"),
        (at_its_end(Class::Down), "claim", "at its own pace"),
        (at_its_end(Class::Suspect), "claim", "a confirmation"),
        ((Class::Ambiguous, grace, Profile { reuse: Reuse::Reject, ..harmful() }), "claim", "no harm"),
        ((Class::Ambiguous, grace, Profile { grace: Duration::ZERO, ..harmful() }), "claim", "it has waited"),
        ((Class::Ambiguous, grace, introspects), "claim", "the server is asked first"),
    ];
    for ((class, ago, profile), want, why) in cases {
        let begun = earlier(ago).here;
        let doubtful = with(|c| {
            c.ambiguous = Some(Mark { at: begun, ..mark(3) });
            c.last_failure = Some(last(class));
            (c.due, c.failures) = (Some(at(LATE).store), 1);
        });
        for ask in [Ask::Scheduler, Ask::Caller, Ask::Operator] {
            let ours = attempt(OURS, at(LATE));
            let got = claim(&doubtful, doubtful.seen(), ours, ask, &profile, at(LATE));
            let want = if ask == Ask::Operator { "claim" } else { want };
            assert_eq!(word(&got), want, "{why}, {ask:?}");
            if let Claiming::PutOff(next) = got {
                assert_eq!(
                    pause_of(&next),
                    at(LATE).here.until(next.token.as_ref().unwrap().hard_at),
                    "{why}"
                );
                assert_eq!((&next.ambiguous, &next.attempt), (&doubtful.ambiguous, &None), "{why}");
            }
        }
    }
}

#[test]
fn a_lost_answer_is_dated_at_the_beginning_of_its_attempt() {
    let next = failed(&claimed(|_| ()), &failure(Class::Ambiguous), &profile());
    assert_eq!(next.ambiguous.unwrap().at, earlier(secs(1)).here);
}

#[test]
fn a_server_that_can_be_asked_is_asked_soon_and_the_token_is_not_waited_out() {
    let asked = Profile {
        reuse: Reuse::RevokeFamily,
        introspection: Introspection::Rfc7662,
        introspection_endpoint: Some("https://idp.example/introspect".parse().unwrap()),
        ..profile()
    };
    let next = failed(&claimed(|_| ()), &failure(Class::Ambiguous), &asked);
    assert_within_a_fifth(pause_of(&next), secs(2), "asking does no harm");
    // Never later than the token's own end, however long the pause is by now.
    let hard_at = connection().token.unwrap().hard_at;
    let often = claimed(|c| c.failures = 16);
    let next = failed(&often, &failure(Class::Ambiguous), &Profile { retry_ceiling: HOUR * 24, ..asked });
    assert_eq!(pause_of(&next), at(LATE).here.until(hard_at));
}

#[test]
fn scopes_that_an_answer_leaves_out_are_those_that_were_asked_for_or_granted_before() {
    let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (none, read, both) = (&[][..], &["read"][..], &["read", "write"][..]);
    for (grant, asked, granted, want) in [
        (GrantKind::AuthorizationCode, both, none, both),
        (GrantKind::AuthorizationCode, both, read, read),
        (GrantKind::ClientCredentials, both, none, both),
        (GrantKind::ClientCredentials, both, read, both),
        (GrantKind::ClientCredentials, none, read, read),
        // It was brought: nobody asked for anything.
        (GrantKind::RefreshToken, both, none, none),
        (GrantKind::RefreshToken, both, read, read),
    ] {
        let before = claimed(|c| {
            c.grant = grant;
            (c.scopes, c.requested_scopes) = (words(granted), words(asked));
        });
        let found = committed(&before, &Renewal { scopes: None, ..good() }).scopes;
        assert_eq!(found, words(want), "{grant:?}, asked {asked:?}, granted {granted:?}");
    }
}

#[test]
fn a_consent_is_what_a_person_brought_and_nothing_else() {
    assert!(Ask::Authorization(id(1)).is_consent());
    for ask in [Ask::Scheduler, Ask::Caller, Ask::Operator, Ask::Revocation, Ask::Bootstrap] {
        assert!(!ask.is_consent(), "{ask:?}");
    }
}

#[test]
fn a_failure_after_an_operators_step_does_not_undo_it() {
    for class in Class::ALL {
        for state in [State::Disabled, State::Revoking] {
            let before = claimed(|c| {
                c.suspicion = Some(mark(3));
                match state {
                    State::Disabled => c.disable(at(LATE)),
                    _ => c.revoking(at(LATE)),
                }
            });
            let next = failed(&before, &failure(*class), &profile());
            assert_eq!((next.state, next.due), (state, None), "{class}");
            assert_eq!(next.reason, before.reason, "{class}");
        }
    }
}

#[test]
fn a_grant_that_ended_while_disabled_waits_for_a_person_once_it_is_enabled() {
    let mut before = claimed(|c| c.suspicion = Some(mark(3)));
    before.disable(at(LATE));
    let mut next = failed(&before, &failure(Class::Suspect), &profile());
    next.enable(at(LATE));
    assert_eq!((next.state, next.due), (State::NeedsReauthorization, None));
    assert_eq!(next.reason.unwrap().reason, Reason::Revoked);
}

#[test]
fn enabling_returns_to_the_state_before() {
    let ended = StateReason::plain(Reason::Revoked, START);
    let soft_in = earlier(secs(10 * 60)).here.until(connection().token.unwrap().soft_at);
    let (early, zero) = (earlier(secs(10 * 60)), Duration::ZERO);
    let cases = [
        (with(|c| c.failures = 5), State::Active, Some(soft_in), "the token lives"),
        (with(|c| c.token = None), State::Active, Some(zero), "no token"),
        (with(|c| c.token.as_mut().unwrap().soft_at = START), State::Active, Some(zero), "a late token"),
        (with(|c| c.state = State::Pending), State::Pending, Some(soft_in), "pending"),
        (
            with(|c| {
                c.state = State::NeedsReauthorization;
                c.reason = Some(ended.clone());
                c.due = None;
            }),
            State::NeedsReauthorization,
            None,
            "it waited for a person",
        ),
    ];
    for (before, state, due_in, why) in cases {
        let mut next = before.clone();
        next.disable(early);
        assert_eq!((next.state, next.due), (State::Disabled, None), "{why}");
        assert_eq!(next.reason.as_ref().unwrap().reason, Reason::DisabledByOperator, "{why}");
        next.disable(early);
        next.enable(early);
        assert_eq!((next.state, &next.reason), (state, &before.reason), "{why}");
        assert_eq!(next.due.map(|due| early.store.until(due)), due_in, "{why}");
        assert_eq!((next.failures, &next.before, next.revision), (0, &None, before.revision + 2), "{why}");
        let again = next.clone();
        next.enable(early);
        assert_eq!(next, again, "{why}: enabling twice changes nothing");
    }
}

#[test]
fn revoking_stops_everything_and_revoked_leaves_nothing_to_use() {
    let mut connection = claimed(|c| c.previous_refresh_token = Some(Sealed::from_bytes(*b"old")));
    connection.revoking(at(LATE));
    assert_eq!((connection.state, connection.due), (State::Revoking, None));
    assert!(connection.refresh_token.is_some(), "it is needed for revoking");
    connection.revoked(at(LATE));
    assert_eq!(connection.state, State::Revoked);
    assert_eq!((&connection.refresh_token, &connection.previous_refresh_token), (&None, &None));
    assert_eq!((&connection.token, &connection.attempt, connection.due), (&None, &None, None));
}

#[test]
fn only_what_is_due_and_not_under_way_is_postponed() {
    let until = at(HOUR * 9).store;
    let lease_end = at(HOUR).store;
    let lapsed = attempt(1, earlier(secs(46)));
    let cases = [
        (with(|_| ()), Some(until), Noted::Changed),
        (with(|c| c.due = None), None, Noted::KnownAlready),
        (with(|c| c.due = Some(until)), Some(until), Noted::KnownAlready),
        (claimed(|c| c.due = Some(lease_end)), Some(lease_end), Noted::KnownAlready),
        (with(|c| c.attempt = Some(lapsed.clone())), Some(until), Noted::Changed),
    ];
    let why = LastFailure { class: Class::Client, code: None, correlation_id: None, at: at(LATE).here };
    for (before, want, noted) in cases {
        let mut next = before.clone();
        assert_eq!(next.postponed(until, why.clone(), at(LATE)), noted);
        assert_eq!((next.due, &next.attempt), (want, &before.attempt), "the next claim marks what is open");
        match noted {
            Noted::Changed => assert_eq!((next.failures, next.last_failure), (1, Some(why.clone()))),
            Noted::KnownAlready => assert_eq!(next, before),
        }
    }
}
