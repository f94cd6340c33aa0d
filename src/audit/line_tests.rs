//! What each event looks like, byte by byte: docs/audit.md describes exactly this.

use super::*;
use crate::{
    audit::{
        event::{FileStart, Name, Outcome, Previous, Release, Releases, Reloaded, Step, Summary},
        hex::Bytes,
    },
    domain::token::Secret,
};

fn name(text: &str) -> Name {
    Name::of(&text)
}

fn release() -> Release {
    Release {
        caller: name("spiffe://example.org/billing"),
        connection: name("tenants/acme/connections/concur"),
        family: Uuid::from_u128(2),
        generation: 3,
        token: Bytes([0xab; 16]),
        expires_at: Timestamp(1_800_000_000_123),
    }
}

#[expect(clippy::too_many_lines, reason = "one row an event")]
fn samples() -> Vec<(Event, &'static str)> {
    let replica = || name("one");
    let change = |step, reason| Event::Change {
        call: Uuid::from_u128(4),
        caller: name("unix:1000"),
        action: name("DeleteConnection"),
        target: name("tenants/acme/connections/concur"),
        step,
        reason,
    };
    vec![
        (
            Event::File(FileStart {
                chain: Uuid::from_u128(1),
                number: 1,
                replica: replica(),
                previous: None,
            }),
            r#""event":"file","chain":"00000000-0000-0000-0000-000000000001","number":1,"replica":"one""#,
        ),
        (
            Event::File(FileStart {
                chain: Uuid::from_u128(1),
                number: 2,
                replica: replica(),
                previous: Some(Previous { number: 1, bytes: 900 }),
            }),
            r#""event":"file","chain":"00000000-0000-0000-0000-000000000001","number":2,"replica":"one","previous":{"number":1,"bytes":900}"#,
        ),
        (
            Event::Start {
                replica: replica(),
                version: name("0.1.0"),
                releases: Releases::First,
                key: name("0011"),
            },
            r#""event":"start","replica":"one","version":"0.1.0","releases":"first","key":"0011""#,
        ),
        (Event::Stop { replica: replica() }, r#""event":"stop","replica":"one""#),
        (
            Event::Reload { what: Reloaded::Policies, outcome: Outcome::Refused },
            r#""event":"reload","what":"policies","outcome":"refused""#,
        ),
        (
            Event::Release(release()),
            r#""event":"release","caller":"spiffe://example.org/billing","connection":"tenants/acme/connections/concur","family":"00000000-0000-0000-0000-000000000002","generation":3,"token":"abababababababababababababababab","expires_at":"2027-01-15T08:00:00.123Z""#,
        ),
        (
            Event::ReleaseSummary(Summary {
                release: release(),
                count: 7,
                first_at: Timestamp(0),
                last_at: Timestamp(1),
            }),
            r#""event":"release_summary","caller":"spiffe://example.org/billing","connection":"tenants/acme/connections/concur","family":"00000000-0000-0000-0000-000000000002","generation":3,"token":"abababababababababababababababab","expires_at":"2027-01-15T08:00:00.123Z","count":7,"first_at":"1970-01-01T00:00:00.000Z","last_at":"1970-01-01T00:00:00.001Z""#,
        ),
        (
            Event::Denied {
                caller: name("oidc:corp:alice"),
                action: name("GetToken"),
                target: name("tenants/acme/connections/concur"),
                reason: name("no_policy"),
            },
            r#""event":"denied","caller":"oidc:corp:alice","action":"GetToken","target":"tenants/acme/connections/concur","reason":"no_policy""#,
        ),
        (
            Event::Unauthenticated { transport: name("tls"), reason: name("no_credential"), count: 2 },
            r#""event":"unauthenticated","transport":"tls","reason":"no_credential","count":2"#,
        ),
        (
            Event::Throttled {
                caller: name("unix:1000"),
                limit: name("limits.serve_per_second"),
                count: 12_345,
            },
            r#""event":"throttled","caller":"unix:1000","limit":"limits.serve_per_second","count":12345"#,
        ),
        (
            change(Step::Asked, None),
            r#""event":"change","call":"00000000-0000-0000-0000-000000000004","caller":"unix:1000","action":"DeleteConnection","target":"tenants/acme/connections/concur","step":"asked""#,
        ),
        (
            change(Step::Refused, Some(name("ETAG_MISMATCH"))),
            r#""event":"change","call":"00000000-0000-0000-0000-000000000004","caller":"unix:1000","action":"DeleteConnection","target":"tenants/acme/connections/concur","step":"refused","reason":"ETAG_MISMATCH""#,
        ),
        (
            Event::State {
                connection: name("tenants/acme/connections/c"),
                to: name("revoked"),
                reason: None,
            },
            r#""event":"state","connection":"tenants/acme/connections/c","to":"revoked""#,
        ),
        (
            Event::Key { owner: name("tenants/acme"), version: 2, step: name("destroyed") },
            r#""event":"key","owner":"tenants/acme","version":2,"step":"destroyed""#,
        ),
        (Event::Dropped { sink: name("syslog"), count: 9 }, r#""event":"dropped","sink":"syslog","count":9"#),
    ]
}

const CHAIN: Uuid = Uuid::from_u128(1);

fn written(key: &AuditKey, event: &Event) -> (Vec<u8>, Head) {
    let mut line = Vec::new();
    let before = Head { seq: 41, hash: Bytes([0x01; 32]) };
    let head = write(&mut line, Pen { chain: CHAIN, key }, before, Timestamp(1_800_000_000_123), event);
    assert_eq!(line.pop(), Some(b'\n'));
    (line, head)
}

#[test]
fn every_event_has_its_fields_in_their_order_and_is_read_back() {
    let key = AuditKey::parse(&crate::seal::fresh_audit_key()).unwrap();
    let docs = include_str!("../../docs/audit.md");
    for (event, fields) in samples() {
        let (line, head) = written(&key, &event);
        let text = std::str::from_utf8(&line).unwrap();
        let begin = format!(
            r#"{{"v":1,"seq":42,"prev":"{}","at":"2027-01-15T08:00:00.123Z",{fields},"mac":""#,
            "01".repeat(32)
        );
        assert!(text.starts_with(&begin), "{text}\n{begin}");
        assert_eq!(text.len(), begin.len() + 34, "{text}");
        assert_eq!(read(&line).unwrap().event, event);
        assert_eq!(link(&line).unwrap(), Link { v: 1, seq: 42, prev: Bytes([0x01; 32]) });
        assert_eq!(head, Head::after(42, &line));
        assert!(is_genuine(&line, Pen { chain: CHAIN, key: &key }));
        assert!(!is_genuine(&line, Pen { chain: Uuid::nil(), key: &key }));
        // Every event and every field of it is described.
        let parsed: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).unwrap();
        let word = parsed["event"].as_str().unwrap();
        assert!(docs.contains(&format!("\n### `{word}`\n")), "{word} is not in docs/audit.md");
        for field in parsed.keys() {
            assert!(docs.contains(&format!("| `{field}` |")), "`{field}` of {word} is not in docs/audit.md");
        }
    }
}

#[test]
fn no_byte_of_a_line_can_change_unseen_by_who_has_the_key() {
    let key = AuditKey::parse(&crate::seal::fresh_audit_key()).unwrap();
    let pen = Pen { chain: CHAIN, key: &key };
    for (event, _) in samples() {
        let (line, _) = written(&key, &event);
        for at in 0..line.len() {
            let mut altered = line.clone();
            altered[at] ^= 1;
            assert!(!is_genuine(&altered, pen), "byte {at} of {}", String::from_utf8_lossy(&line));
        }
    }
    let other = AuditKey::parse(&Secret::new(crate::seal::fresh_audit_key().expose())).unwrap();
    let (line, _) = written(&other, &samples()[0].0);
    assert!(!is_genuine(&line, pen));
}

#[test]
fn a_name_has_no_place_for_text_from_outside() {
    let cases = [
        ("tenants/acme", "tenants/acme"),
        ("", ""),
        ("a\",\"event\":\"stop", "a?,?event?:?stop"),
        ("a\\\"b", "a??b"),
        ("two\nlines\r\0\u{1b}[31m", "two?lines???[31m"),
        ("a b\tc", "a?b?c"),
        ("münchen", "m?nchen"),
    ];
    for (given, want) in cases {
        assert_eq!(name(given).as_str(), want);
    }
    let long = "x".repeat(crate::audit::event::NAME_MAX + 1);
    assert_eq!(name(&long).as_str().len(), crate::audit::event::NAME_MAX);
    let read: Name = serde_json::from_str(r#""a\u001bb""#).unwrap();
    assert_eq!(read.as_str(), "a?b");
}

#[test]
fn the_longest_line_is_within_its_bound() {
    let key = AuditKey::parse(&crate::seal::fresh_audit_key()).unwrap();
    let long = || name(&"x".repeat(crate::audit::event::NAME_MAX));
    let event = Event::Denied { caller: long(), action: name("GetToken"), target: long(), reason: name("r") };
    let release = Release { caller: long(), connection: long(), ..release() };
    let summary = Summary { release, count: u64::MAX, first_at: Timestamp(0), last_at: Timestamp(0) };
    for event in [event, Event::ReleaseSummary(summary)] {
        assert!(written(&key, &event).0.len() < crate::audit::chain::LINE_MAX);
    }
}
