//! What requests may hold, as tables.

use super::*;
use tonic::{Status, metadata::MetadataMap};

#[test]
fn the_deadline_of_a_call_is_read_as_grpc_writes_it() {
    let cases = [
        ("1S", Some(Duration::from_secs(1))),
        ("250m", Some(Duration::from_millis(250))),
        ("2M", Some(Duration::from_secs(120))),
        ("99999999u", Some(Duration::from_micros(99_999_999))),
        ("999999999u", None),
        ("S", None),
        ("", None),
        ("10", None),
        ("-1S", None),
    ];
    for (text, want) in cases {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse().unwrap());
        assert_eq!(deadline(&metadata), want, "{text}");
    }
    assert_eq!(deadline(&MetadataMap::new()), None);
}

#[test]
fn a_page_token_reads_back_and_others_are_refused() {
    let key = Key::new("connection/acme/concur").unwrap();
    assert_eq!(page_token(&to_page_token(Some(&key))).unwrap(), Some(key));
    assert_eq!(page_token("").unwrap(), None);
    for bad in ["x!", "äö", "AA"] {
        assert!(page_token(bad).is_err(), "{bad}");
    }
}

#[test]
fn scopes_are_those_of_rfc_6749() {
    let read = |given: &[&str]| scopes("scopes", given.iter().map(|s| (*s).to_owned()).collect());
    assert_eq!(read(&["openid", "company.read", "openid"]).unwrap(), ["openid", "company.read"]);
    for bad in ["", "a b", "a\"b", "a\\b", "ä", "a\n"] {
        assert!(read(&[bad]).is_err(), "{bad:?}");
    }
    assert!(read(&["x"; 257]).is_err());
}

#[test]
fn client_identifiers_are_those_of_rfc_6749() {
    for good in ["c", "https://app.example/client.json", "an id ~!", &"x".repeat(512)] {
        assert_eq!(client_id("client.client_id", good.to_owned()).unwrap(), good);
    }
    for bad in ["", "a\n", "\u{1b}[2J", "a\u{7f}", "a\u{9b}31m", "ä", &"x".repeat(513)] {
        let refused: Status = client_id("client.client_id", bad.to_owned()).unwrap_err().into();
        assert!(refused.message().starts_with("client.client_id: "), "{bad:?}: {refused:?}");
    }
}

#[test]
fn labels_are_short_words() {
    let read = |key: &str, value: &str| labels("labels", [(key.to_owned(), value.to_owned())].into());
    assert!(read("team", "pay-roll.2").is_ok());
    assert!(read("team", "").is_ok());
    let long = "x".repeat(64);
    for (key, value) in [("", "x"), ("-a", "x"), ("a", "x-"), ("a b", "x"), ("a", &long), ("a", "ü")] {
        assert!(read(key, value).is_err(), "{key}={value}");
    }
}

#[test]
fn a_negative_or_endless_lifetime_is_refused_by_name() {
    let read = |seconds, nanos| min_lifetime(Some(prost_types::Duration { seconds, nanos }));
    assert_eq!(read(60, 0).unwrap(), Some(Duration::from_secs(60)));
    for bad in [read(-1, 0), read(0, -1), read(i64::MAX, 0)] {
        let status = Status::from(bad.unwrap_err());
        assert!(status.message().starts_with("min_lifetime: "), "{}", status.message());
    }
}

#[test]
fn a_mask_names_what_changes_and_refuses_the_rest() {
    let mask = |paths: &[&str]| {
        let paths = paths.iter().map(|s| (*s).to_owned()).collect();
        Mask::new(Some(prost_types::FieldMask { paths }), &["labels", "display_name"])
    };
    let set = |text: &&str| !text.is_empty();
    assert_eq!(mask(&["labels"]).unwrap().take("labels", "", set), Some(""));
    assert_eq!(mask(&["labels"]).unwrap().take("display_name", "x", set), None);
    assert_eq!(mask(&["*"]).unwrap().take("display_name", "", set), Some(""));
    assert_eq!(mask(&[]).unwrap().take("display_name", "", set), None);
    assert_eq!(mask(&[]).unwrap().take("display_name", "x", set), Some("x"));
    assert!(mask(&["state"]).is_err());
}
