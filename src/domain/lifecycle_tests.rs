//! When a token is served and renewed, as tables.

use super::*;
use crate::domain::{
    connection::LastFailure,
    profile::GrantKind,
    samples::{HOUR, START, at, attempt, connection, id, mark, secs, token},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// An hour's token with round points: soft at 45 min, hard at 55 min.
fn round() -> Connection {
    let mut connection = connection();
    let token = connection.token.as_mut().unwrap();
    token.soft_at = START.plus(secs(45 * 60));
    token.hard_at = START.plus(secs(55 * 60));
    connection
}

fn with(change: impl FnOnce(&mut Connection)) -> Connection {
    let mut connection = round();
    change(&mut connection);
    connection
}

fn failing(class: Class) -> LastFailure {
    LastFailure { class, code: None, correlation_id: None, at: START }
}

/// Failed a moment ago, and left alone until so long after the start.
fn held(until: u64) -> Connection {
    with(|c| {
        c.failures = 1;
        c.last_failure = Some(failing(Class::Down));
        c.due = Some(at(secs(until)).store);
    })
}

#[test]
fn a_verdict_follows_from_the_region_of_the_tokens_life() {
    use Verdict::{RefreshElseServe, RefreshFirst, Serve, ServeAndRefresh};
    let minutes = |n: u64| n * 60_000;
    let cases = [
        (0, Serve),
        (minutes(45) - 1, Serve),
        (minutes(45), ServeAndRefresh),
        (minutes(55) - 1, ServeAndRefresh),
        (minutes(55), RefreshElseServe),
        (minutes(60) - 30_001, RefreshElseServe),
        // Less than the 30 s that hold without a wish.
        (minutes(60) - 30_000, RefreshFirst),
        (minutes(60), RefreshFirst),
        (minutes(600), RefreshFirst),
    ];
    for (ms, verdict) in cases {
        assert_eq!(judge(&round(), at(Duration::from_millis(ms)), None), verdict, "after {ms} ms");
    }
}

#[test]
fn a_connection_that_is_left_alone_serves_what_it_has_and_says_when_to_come_again() {
    let until = at(secs(59 * 60 + 50)).store;
    let cases = [
        (46 * 60, Verdict::Serve),
        (56 * 60, Verdict::Serve),
        (59 * 60 + 40, Verdict::Held { until }),
        (59 * 60 + 50, Verdict::RefreshFirst),
    ];
    for (now, verdict) in cases {
        assert_eq!(judge(&held(59 * 60 + 50), at(secs(now)), None), verdict, "after {now} s");
    }
    let due_without_failure = with(|c| c.due = Some(at(HOUR * 2).store));
    assert_eq!(
        judge(&due_without_failure, at(HOUR), None),
        Verdict::RefreshFirst,
        "a due time alone holds nothing"
    );
}

#[test]
fn a_wish_for_more_life_than_is_left_is_met_refused_or_called_too_young() {
    use Verdict::{RefreshFirst, Serve, TooLong, TooYoung};
    let too_young =
        |secs_left| TooYoung { remaining: secs(secs_left), renewed_in: Some(secs(secs_left - (3600 - 450))) };
    let cases = [
        // (seconds since it was issued, wish, verdict); an eighth of its life is 450 s.
        (10, 0, Serve),
        (10, 3589, Serve),
        (10, 3590, too_young(3590)),
        (10, 3600, too_young(3590)),
        (10, 3601, TooLong { lifetime: HOUR }),
        (449, 3600, too_young(3151)),
        (450, 3600, RefreshFirst),
        (3599, 0, Verdict::RefreshElseServe),
        (3600, 0, RefreshFirst),
        (3600, 3601, TooLong { lifetime: HOUR }),
    ];
    for (now, wish, verdict) in cases {
        assert_eq!(judge(&round(), at(secs(now)), Some(secs(wish))), verdict, "after {now} s, wish {wish} s");
    }
}

#[test]
fn a_token_that_nothing_renews_is_served_while_it_lives_and_then_looked_at_once_more() {
    use Verdict::{RefreshFirst, Serve, TooLong, TooYoung};
    let last = with(|c| {
        c.grant = GrantKind::Password;
        c.refresh_token = None;
    });
    let left = |remaining| TooYoung { remaining: secs(remaining), renewed_in: None };
    let cases = [
        // (seconds since it was issued, wish, verdict); soft and hard point are long past at the end.
        (10, None, Serve),
        (3569, None, Serve),
        (3570, None, left(30)),
        (3599, Some(0), Serve),
        (3000, Some(700), left(600)),
        (3600, Some(0), RefreshFirst),
        (3600, None, RefreshFirst),
        (10, Some(3601), TooLong { lifetime: HOUR }),
    ];
    for (now, wish, verdict) in cases {
        assert_eq!(judge(&last, at(secs(now)), wish.map(secs)), verdict, "after {now} s, wish {wish:?}");
    }
    let minted = with(|c| {
        (c.grant, c.subject, c.refresh_token) = (GrantKind::JwtBearer, Some("s".into()), None);
    });
    assert_eq!(judge(&minted, at(secs(3599)), Some(secs(0))), Verdict::RefreshElseServe);
}

#[test]
fn each_state_serves_refreshes_or_ends() {
    use Verdict::{Ended, RefreshElseServe, RefreshFirst, Serve};
    // (state, verdict past the hard point, verdict once expired)
    let cases = [
        (State::Pending, RefreshElseServe, RefreshFirst),
        (State::Active, RefreshElseServe, RefreshFirst),
        (State::NeedsReauthorization, Serve, Ended(State::NeedsReauthorization)),
        (State::Disabled, Ended(State::Disabled), Ended(State::Disabled)),
        (State::Revoking, Ended(State::Revoking), Ended(State::Revoking)),
        (State::Revoked, Ended(State::Revoked), Ended(State::Revoked)),
    ];
    assert_eq!(cases.len(), State::ALL.len());
    for (state, living, expired) in cases {
        let connection = with(|c| c.state = state);
        assert_eq!(judge(&connection, at(secs(56 * 60)), None), living, "{state}, living");
        assert_eq!(judge(&connection, at(HOUR), None), expired, "{state}, expired");
    }
    let empty = with(|c| c.token = None);
    assert_eq!(judge(&empty, at(secs(0)), Some(DAY)), RefreshFirst, "nothing is known of its lifetime yet");
}

#[test]
fn a_token_that_dies_with_its_renewal_is_not_served_while_somebody_renews_it() {
    let dying = |c: &mut Connection| {
        c.token = Some(token(3, HOUR, Overlap::Dies));
        c.attempt = Some(attempt(9, at(secs(60))));
    };
    let cases = [
        (with(dying), 104, Verdict::RefreshFirst, "the lease runs"),
        (with(dying), 105, Verdict::Serve, "the lease is over"),
        (with(|c| c.attempt = Some(attempt(9, at(secs(60))))), 104, Verdict::Serve, "the old one lives on"),
        (
            with(|c| {
                dying(c);
                c.state = State::NeedsReauthorization;
            }),
            104,
            Verdict::Serve,
            "nothing will come of a renewal",
        ),
    ];
    for (connection, now, verdict, why) in cases {
        assert_eq!(judge(&connection, at(secs(now)), None), verdict, "{why}");
    }
    let token = token(3, HOUR, Overlap::Dies);
    assert_eq!(token.soft_at, token.hard_at);
}

#[test]
fn without_a_wish_a_token_lasts_30_seconds_but_at_most_a_quarter_of_its_life() {
    let of = |lifetime| min_lifetime(Some(&token(3, lifetime, Overlap::default())), None);
    let cases = [
        (secs(5), Duration::from_millis(1250)),
        (secs(60), secs(15)),
        (secs(120), secs(30)),
        (HOUR, secs(30)),
    ];
    for (lifetime, least) in cases {
        assert_eq!(of(lifetime), least, "{lifetime:?}");
    }
    assert_eq!(min_lifetime(None, None), Duration::ZERO);
    assert_eq!(min_lifetime(None, Some(DAY)), DAY);
    assert_eq!(
        min_lifetime(Some(&token(3, secs(5), Overlap::default())), Some(Duration::ZERO)),
        Duration::ZERO
    );
}

#[test]
fn margins_follow_the_lifetime_within_a_fifth_and_never_take_more_than_half() {
    // (lifetime, soft margin, hard margin), in milliseconds before jitter
    let cases: [(Duration, u64, u64); 9] = [
        (secs(5), 2_500, 2_500),
        (secs(20), 10_000, 10_000),
        (secs(40), 20_000, 20_000),
        (secs(120), 60_000, 20_000),
        (secs(600), 150_000, 50_000),
        (HOUR, 900_000, 300_000),
        (HOUR * 12, 900_000, 300_000),
        (DAY, 900_000, 300_000),
        (DAY * 30, 900_000, 300_000),
    ];
    for (lifetime, soft, hard) in cases {
        let expires = START.plus(lifetime);
        for n in 0..500 {
            let points = points(id(n), 1, START, expires, Overlap::OldAccessTokenSurvives);
            let margin = u64::try_from(points.soft_at.until(expires).as_millis()).unwrap();
            let half = u64::try_from(lifetime.as_millis() / 2).unwrap();
            assert!((soft * 4 / 5..=(soft * 6 / 5).min(half)).contains(&margin), "{lifetime:?}: {margin}");
            let margin = u64::try_from(points.hard_at.until(expires).as_millis()).unwrap();
            assert!((hard * 4 / 5..=hard).contains(&margin), "{lifetime:?}: hard {margin}");
            assert!(points.soft_at <= points.hard_at && points.hard_at < expires, "{lifetime:?}");
            assert!(START < points.soft_at, "{lifetime:?}: due at once");
        }
    }
}

#[test]
fn jitter_is_drawn_once_per_token_and_spreads_evenly_over_a_fifth_to_either_side() {
    let span = secs(1000);
    assert_eq!(jittered(span, id(7), 4, 2), jittered(span, id(7), 4, 2));
    let of = |uid, generation, turn| jittered(span, id(uid), generation, turn).as_secs();
    let mut buckets = [0_u32; 8];
    for uid in 0..4000 {
        let drawn = of(uid, 1, 0);
        assert!((800..=1200).contains(&drawn), "{drawn}");
        buckets[usize::try_from((drawn - 800) / 50).unwrap().min(7)] += 1;
    }
    // 500 are expected in each; five standard deviations are 105.
    assert!(buckets.iter().all(|count| (395..=605).contains(count)), "{buckets:?}");
    let differing = |draw: &dyn Fn(u64) -> u64| (1..100).filter(|n| draw(*n) != draw(0)).count();
    assert!(differing(&|generation| of(7, generation, 0)) > 90, "each generation draws anew");
    assert!(differing(&|turn| of(7, 1, u32::try_from(turn).unwrap())) > 90, "each turn draws anew");
}

#[test]
fn jitter_is_the_same_on_replicas_of_other_versions() {
    // Computed by the same rule in another language: two versions side by side must not disagree on when a token is due.
    for (uid, generation, turn, ms) in [
        (7, 4, 2, 1_058_569),
        (7, 4, 3, 1_142_581),
        (0, 0, 0, 1_060_979),
        (0x0123_4567_89ab_cdef_0fed_cba9_8765_4321, 1, 0, 810_043),
    ] {
        assert_eq!(
            jittered(secs(1000), id(uid), generation, turn).as_millis(),
            ms,
            "{uid} {generation} {turn}"
        );
    }
}

#[test]
fn soft_points_of_short_tokens_are_spread_too() {
    let (from, to) = (START, START.plus(secs(100)));
    let left = (0..200)
        .map(|uid| points(id(uid), 1, from, to, Overlap::OldAccessTokenSurvives).soft_at.until(to).as_secs());
    let (least, most) = (left.clone().min().unwrap(), left.max().unwrap());
    assert!(least < 43 && most == 50, "from {least} s to {most} s before the end");
}

#[test]
fn a_connection_whose_client_waits_serves_without_asking_for_more() {
    let due = at(secs(50 * 60));
    let waiting = |failures| {
        with(|c| {
            c.failures = failures;
            c.last_failure = Some(failing(Class::Client));
            c.due = Some(due.store);
        })
    };
    let soft = secs(46 * 60);
    assert_eq!(judge(&waiting(1), at(soft), None), Verdict::Serve);
    assert_eq!(judge(&waiting(0), at(soft), None), Verdict::ServeAndRefresh, "that is over");
    assert_eq!(judge(&waiting(1), due, None), Verdict::ServeAndRefresh, "the wait is over");
    let moment = Moment { store: due.store.minus(Duration::from_millis(1)), ..due };
    assert_eq!(judge(&waiting(1), moment, None), Verdict::Serve);
}

#[test]
fn the_reason_for_degraded_service_is_the_one_that_matters_most() {
    use Degraded::{ConfigurationRefused, GrantAtRisk, NeedsReauthorization, ProviderFailing};
    let failed = |class| {
        with(|c| {
            c.failures = 1;
            c.last_failure = Some(failing(class));
        })
    };
    let (early, late) = (secs(46 * 60), secs(55 * 60));
    let mut cases = vec![
        (round(), late, None),
        (failed(Class::Down), early, None),
        (with(|c| c.ambiguous = Some(mark(3))), early, Some(GrantAtRisk)),
        (with(|c| c.ambiguous = Some(mark(2))), late, None),
        (
            with(|c| {
                c.ambiguous = Some(mark(3));
                c.state = State::NeedsReauthorization;
            }),
            early,
            Some(NeedsReauthorization),
        ),
        (with(|c| c.last_failure = Some(failing(Class::Down))), late, None),
    ];
    for class in Class::ALL {
        let want = match class {
            Class::Client | Class::Configuration | Class::Policy => ConfigurationRefused,
            Class::NotSent
            | Class::Suspect
            | Class::Throttled
            | Class::Down
            | Class::Ambiguous
            | Class::Malformed => ProviderFailing,
        };
        cases.push((failed(*class), late, Some(want)));
    }
    for (connection, now, want) in cases {
        assert_eq!(degraded(&connection, START.plus(now)), want, "{connection:?}");
    }
}

#[test]
fn a_refresh_token_that_runs_out_is_spoken_of_at_thirty_and_at_seven_days() {
    let seen = |at: Timestamp, ends: Option<Duration>| {
        with(|c| {
            c.last_success_at = Some(at);
            c.refresh_expires_at = ends.map(|ends| START.plus(ends));
        })
    };
    let days = |n: u32| DAY * n;
    // When it was refreshed last and when now, as days since the start; when its end was told to be then, and now.
    let cases = [
        ("moved with each refresh", 0, days(180), 1, days(181), None),
        ("far from its end", 0, days(90), 1, days(90), None),
        ("thirty days before", 59, days(90), 60, days(90), Some(days(30))),
        ("a day later", 60, days(90), 61, days(90), None),
        ("seven days before", 82, days(90), 83, days(90), Some(days(7))),
        ("the last days", 83, days(90), 84, days(90), None),
        ("both at once, after a long pause", 0, days(90), 85, days(90), Some(days(5))),
        ("over", 60, days(90), 95, days(90), Some(days(0))),
        ("shortened by the server", 0, days(180), 1, days(21), Some(days(20))),
        ("short, and moved with each refresh", 0, days(14), 1, days(15), None),
        ("moved, but not far enough", 0, days(31), 5, days(32), Some(days(27))),
    ];
    for (what, then, ended, now, ends, told) in cases {
        let (before, after) =
            (seen(START.plus(days(then)), Some(ended)), seen(START.plus(days(now)), Some(ends)));
        assert_eq!(running_out(&before, &after), told, "{what}");
    }
    let known = seen(START.plus(days(1)), Some(days(3)));
    assert_eq!(running_out(&seen(START, None), &known), None, "there was no end before");
    assert_eq!(running_out(&known, &seen(START.plus(days(2)), None)), None, "there is none now");
    assert_eq!(running_out(&with(|c| c.last_success_at = None), &known), None, "the first answer");
}
