//! Who held what, when.

use super::*;
use crate::audit::{
    faulty::{opened, release, trail},
    hex::Bytes,
};
use tempfile::TempDir;

const fn at(second: u64) -> Timestamp {
    Timestamp::from_secs(second)
}

fn of(caller: &str, connection: &str, expires: u64) -> Release {
    Release {
        caller: Name::of(&caller),
        connection: Name::of(&connection),
        token: Bytes([u8::try_from(expires % 256).unwrap(); 16]),
        expires_at: at(expires),
        ..release(1)
    }
}

const A: &str = "tenants/acme/connections/a";
const B: &str = "tenants/acme/connections/b";
const OTHER: &str = "tenants/acme2/connections/a";

/// Two replicas.
fn trails() -> (TempDir, TempDir, Vec<Trail>) {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let revoking = |target: &str, step| Event::Change {
        call: Uuid::nil(),
        caller: Name::of(&"ann"),
        action: Name::of(&"RevokeConnection"),
        target: Name::of(&target),
        step,
        reason: None,
    };
    let (revoked, not_revoked) = (revoking(A, Step::Done), revoking(B, Step::Refused));
    let state = Event::State { connection: Name::of(&OTHER), to: Name::of(&"active"), reason: None };
    let denied = Event::Denied {
        caller: Name::of(&"eve"),
        action: Name::of(&"GetToken"),
        target: Name::of(&A),
        reason: Name::of(&"no_policy"),
    };
    let stranger =
        Event::Unauthenticated { transport: Name::of(&"tls"), reason: Name::of(&"expired"), count: 3 };
    let change = Event::Change {
        call: Uuid::nil(),
        caller: Name::of(&"ann"),
        action: Name::of(&"DeleteTenant"),
        target: Name::of(&"tenants/acme"),
        step: Step::Asked,
        reason: None,
    };
    let summary = |count, first, last| {
        Event::ReleaseSummary(Summary {
            release: of("ann", A, 200),
            count,
            first_at: at(first),
            last_at: at(last),
        })
    };
    let first = [
        (at(100), Event::Release(of("ann", A, 200))),
        (at(110), Event::Release(of("bob", B, 300))),
        (at(120), Event::Release(of("bob", OTHER, 300))),
        (at(130), summary(5, 101, 129)),
        (at(149), not_revoked),
        (at(150), revoked),
        (at(151), state),
        (at(160), denied),
    ];
    let second = [(at(90), Event::Release(of("ann", A, 200))), (at(140), stranger), (at(170), change)];
    opened(one.path(), 1 << 30).append(at(0), &first).unwrap();
    opened(two.path(), 1 << 30).append(at(0), &second).unwrap();
    let trails = vec![trail(one.path()), trail(two.path())];
    (one, two, trails)
}

#[test]
fn who_held_a_live_token_at_a_time_is_known_to_the_millisecond() {
    let (_one, _two, trails) = trails();
    let held = |second: u64, plus: u64| {
        let filter = Filter { tenant: Some("tenants/acme".to_owned()), ..Filter::default() };
        let when = Timestamp(second * 1000 + plus);
        let holders = holders(&trails, &filter, Some(when)).unwrap();
        holders.iter().map(|held| format!("{} {:?}", held.caller, held.state)).collect::<Vec<_>>()
    };
    assert_eq!(held(89, 999), Vec::<String>::new());
    assert_eq!(held(90, 0), ["ann Live"]);
    assert_eq!(held(109, 999), ["ann Live"]);
    assert_eq!(held(110, 0), ["ann Live", "bob Live"]);
    assert_eq!(held(149, 999), ["ann Live", "bob Live"]);
    assert_eq!(held(150, 0), ["ann Revoked", "bob Live"]);
    assert_eq!(held(199, 999), ["ann Revoked", "bob Live"]);
    assert_eq!(held(200, 0), ["bob Live"]);
    assert_eq!(held(300, 0), Vec::<String>::new());
}

#[test]
fn lines_of_all_replicas_make_one_holding() {
    let (_one, _two, trails) = trails();
    let filter = Filter { connection: Some(A.to_owned()), ..Filter::default() };
    let found = holders(&trails, &filter, None).unwrap();
    let [held] = &found[..] else { panic!("{found:?}") };
    assert_eq!((held.released_at, held.last_at, held.count), (at(90), at(129), 7));
    assert_eq!(held.state, Held::Revoked);
    let token = Some(Bytes([200; 16]));
    let by_token = holders(&trails, &Filter { token, ..Filter::default() }, None).unwrap();
    assert_eq!(by_token, found);
    let none = Filter { token: Some(Bytes([1; 16])), ..Filter::default() };
    assert_eq!(holders(&trails, &none, None).unwrap(), []);
    let caller = |caller: &str| Filter { caller: Some(caller.to_owned()), ..Filter::default() };
    assert_eq!(holders(&trails, &caller("bob"), None).unwrap().len(), 2);
    assert_eq!(holders(&trails, &caller("bo"), None).unwrap().len(), 0);
}

#[test]
fn lines_are_found_by_what_they_are_about() {
    let (_one, _two, trails) = trails();
    let found = |filter: Filter| {
        let hits = lines(&trails, &filter).unwrap();
        hits.iter().map(|hit| About::of(&hit.line.event).word).collect::<Vec<_>>()
    };
    let text = |text: &str| Some(text.to_owned());
    let all = Filter::default();
    assert_eq!(found(all.clone()).len(), 13);
    assert_eq!(found(Filter { kind: Kind::Denied, ..all.clone() }), ["unauthenticated", "denied"]);
    assert_eq!(found(Filter { kind: Kind::Changes, ..all.clone() }), ["change", "change", "change"]);
    assert_eq!(
        found(Filter { kind: Kind::Releases, caller: text("bob"), ..all.clone() }),
        ["release", "release"]
    );
    assert_eq!(found(Filter { action: text("GetToken"), ..all.clone() }), ["denied"]);
    assert_eq!(found(Filter { connection: text(B), ..all.clone() }), ["release", "change"]);
    assert_eq!(found(Filter { tenant: text("tenants/acme2"), ..all.clone() }), ["release", "state"]);
    let acme = ["release", "release", "release", "release_summary", "change", "change", "denied", "change"];
    assert_eq!(found(Filter { tenant: text("tenants/acme"), ..all.clone() }), acme);
    let (since, until) = (Some(at(140)), Some(at(160)));
    assert_eq!(
        found(Filter { since, until, ..all.clone() }),
        ["unauthenticated", "change", "change", "state"]
    );
    let token = Some(Bytes([200; 16]));
    assert_eq!(found(Filter { token, ..all }), ["release", "release", "release_summary"]);
}

#[test]
fn what_was_never_confirmed_is_not_found() {
    let (one, _two, trails) = trails();
    let path = one.path().join(file_name(1));
    let bytes = std::fs::read(&path).unwrap();
    opened(one.path(), 1 << 30).append(at(0), &[(at(400), Event::Release(of("ann", A, 500)))]).unwrap();
    // A whole line behind the end that the next file tells.
    let line = bytes.split_inclusive(|&byte| byte == b'\n').nth(2).unwrap();
    std::fs::write(&path, [&bytes, line].concat()).unwrap();
    let bob = Filter { caller: Some("bob".to_owned()), ..Filter::default() };
    assert_eq!(lines(&trails, &bob).unwrap().len(), 3, "the old list of files");
    assert_eq!(lines(&[trail(one.path())], &bob).unwrap().len(), 2);
}
