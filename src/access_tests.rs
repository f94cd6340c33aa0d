//! Permits: who gets one, that decisions are remembered no longer than their policies, and what a set that is tried out
//! may do.

use super::*;
use policies::PolicyFile;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};
use uuid::Uuid;

const EVERYTHING: &str = "@across(\"environments\") permit (principal, action, resource);";
const NO_TOKENS: &str = "@across(\"environments\") permit (principal, action, resource)\n\
                         unless { action == Action::\"GetToken\" };";

fn set(text: &str) -> Arc<Policies> {
    let file = PolicyFile { name: "a.cedar".into(), text: text.into() };
    Arc::new(Policies::load(&[file]).unwrap_or_else(|err| panic!("{err}")).0)
}

fn web() -> Caller {
    let identity = Identity::Spiffe("spiffe://example.org/web".into());
    Caller::new(identity, Transport::Mtls, BTreeSet::new())
}

fn name() -> ConnectionName {
    "tenants/a/connections/concur".parse().unwrap()
}

const RECORD: RecordId = RecordId { uid: Uuid::nil(), version: 7 };

fn facts(record: Option<RecordId>) -> Facts {
    Facts::Connection(Box::new(ConnectionFacts {
        record,
        provider: "providers/sap-concur".parse().unwrap(),
        client: "tenants/a/clients/app".parse().unwrap(),
        environment: None,
        labels: BTreeMap::new(),
    }))
}

fn asked(audience: &str) -> Asked {
    Asked { audience: audience.into(), ..Asked::default() }
}

fn permit_of(access: &Access, record: Option<RecordId>) -> Result<Permit, Denied> {
    access.permit(&web(), Action::GetToken, name(), &facts(record), &asked(""))
}

fn known(access: &Access) -> Option<bool> {
    let known = access.known(&web(), Action::GetToken, (&name(), RECORD), &asked(""));
    known.map(|permit| permit.is_ok())
}

#[test]
fn a_permit_says_who_may_do_what_to_what() {
    let access = Access::new(set(EVERYTHING), None);
    let permit = permit_of(&access, Some(RECORD)).unwrap();
    assert_eq!((permit.caller(), permit.action(), permit.on()), (&web(), Action::GetToken, &name()));
    let known = access.known(&web(), Action::GetToken, (&name(), RECORD), &asked("")).unwrap().unwrap();
    assert_eq!((known.caller(), known.action(), known.on()), (&web(), Action::GetToken, &name()));
}

#[test]
fn who_could_be_told_that_there_is_none_is_and_nobody_else() {
    // What is not there is of no client: this caller may ask for it, and for what is of that client not.
    let client = "permit (principal, action, resource) unless { resource has client && resource.client == \
                  Client::\"tenants/a/clients/app\" };";
    for (policies, want) in [(client, Denied::Hidden), (NO_TOKENS, Denied::Refused)] {
        let access = Access::new(set(policies), None);
        for _ in 0..2 {
            assert_eq!(permit_of(&access, Some(RECORD)).unwrap_err(), want);
        }
        let known = access.known(&web(), Action::GetToken, (&name(), RECORD), &asked("")).unwrap();
        assert_eq!(known.unwrap_err(), want);
    }
}

#[test]
fn what_was_decided_of_a_record_is_known_until_policies_change() {
    let access = Access::new(set(EVERYTHING), None);
    assert_eq!(known(&access), None);
    assert!(permit_of(&access, None).is_ok(), "there is no record yet");
    assert_eq!(known(&access), None);
    assert!(permit_of(&access, Some(RECORD)).is_ok());
    assert_eq!(known(&access), Some(true));

    access.put(&set(NO_TOKENS));
    assert_eq!(known(&access), None);
    assert_eq!(permit_of(&access, Some(RECORD)).unwrap_err(), Denied::Refused);
    assert_eq!(known(&access), Some(false));
}

#[test]
fn a_set_that_is_tried_out_changes_no_decision_and_each_is_compared_once() {
    let access = Access::new(set(EVERYTHING), None);
    assert!(permit_of(&access, Some(RECORD)).is_ok());
    access.put_shadow(&set(NO_TOKENS));
    assert_eq!(known(&access), None, "it is to be compared");

    let told = told(|| {
        for _ in 0..3 {
            assert!(permit_of(&access, Some(RECORD)).is_ok());
        }
    });
    assert_eq!(told.lines().count(), 1, "{told}");
    for part in ["web", "GetToken", "tenants/a/connections/concur", "now=\"allowed\"", "shadow=\"denied\""] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // It stays beside new policies, and where both say the same there is nothing to tell.
    access.put(&set(NO_TOKENS));
    assert_eq!(self::told(|| assert!(permit_of(&access, Some(RECORD)).is_err())), "");
    access.put(&set(EVERYTHING));
    assert_ne!(self::told(|| assert!(permit_of(&access, Some(RECORD)).is_ok())), "");
}

#[test]
fn differences_beyond_those_told_are_counted_and_said_at_the_next_tick() {
    let access = Access::new(set(EVERYTHING), Some(set(NO_TOKENS)));
    let ask = |count: usize, salt: &str| {
        for number in 0..count {
            let asked = asked(&format!("{salt}{number}"));
            let permit = access.permit(&web(), Action::GetToken, name(), &facts(Some(RECORD)), &asked);
            assert!(permit.is_ok());
        }
    };
    assert_eq!(told(|| ask(25, "a")).lines().count(), 20);
    let said = told(|| access.tick());
    assert!(said.contains("more=5"), "{said}");
    assert_eq!(told(|| access.tick()), "", "none since");
    assert_eq!(told(|| ask(20, "b")).lines().count(), 20);
    assert_eq!(told(|| access.tick()), "", "all were told");
    Access::new(set(EVERYTHING), None).tick();
}

/// What is logged meanwhile.
fn told(work: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, work);
    let bytes = lines.0.lock().clone();
    String::from_utf8(bytes).unwrap()
}
