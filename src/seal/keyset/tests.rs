//! Keysets: what text is taken, what is said about text that is not, and which keys unwrap what.

use super::*;

/// Keys whose bytes are all this number; `A…` in base64 marks them in what must not leak.
fn key(version: u32, byte: u8) -> KeysetKey {
    KeysetKey::new(version, KeyBytes::from_slice(&[byte; 32]).unwrap())
}

fn line(version: u32, role: &str, byte: u8) -> String {
    format!("key {version} {role} {} {}", key(version, byte).id, BASE64.encode([byte; 32]))
}

fn text(lines: &[String]) -> String {
    format!("{FIRST_LINE}\n{}\n", lines.join("\n"))
}

fn refusal(text: &str) -> String {
    FileKeyset::parse(text).expect_err(text).to_string()
}

#[tokio::test]
async fn a_keyset_reads_what_it_wrote() {
    let keyset = FileKeyset::generate().rotated().unwrap().rotated().unwrap();
    let text = keyset.to_text();
    let read = FileKeyset::parse(text.expose()).unwrap();
    assert_eq!(read.to_text().expose(), text.expose());
    assert_eq!((read.primary.version, read.decrypt_only.len()), (3, 2));
    let wrapped = keyset.wrap(b"context", &KeyBytes::from_slice(&[1; 32]).unwrap()).await.unwrap();
    assert_eq!(read.unwrap(b"context", &wrapped).await.unwrap().expose(), &[1; 32]);
}

#[test]
fn comments_blank_lines_and_windows_line_ends_are_taken() {
    let text = format!("# mine\r\n\r\n{FIRST_LINE}\r\n  # old\r\n  {}  \r\n\r\n", line(1, "primary", 1));
    assert_eq!(FileKeyset::parse(&text).unwrap().primary.id, key(1, 1).id);
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let mut lines = [line(3, "primary", 3), line(2, "decrypt-only", 2), line(1, "decrypt-only", 1)];
    let shuffled = FileKeyset::parse(&text(&lines)).unwrap().to_text();
    lines.reverse();
    let ordered = shuffled.expose().strip_prefix(TEXT_HEAD).unwrap();
    assert_eq!(ordered, text(&lines));
}

#[test]
fn each_mistake_in_a_keyset_names_its_line_and_mend() {
    let good = line(1, "primary", 1);
    let with = |second: &str| text(&[good.clone(), second.to_owned()]);
    let id = key(2, 2).id;
    let (short, long) = (BASE64.encode([2; 31]), BASE64.encode([2; 33]));
    let cases = [
        (String::new(), "keyset: is empty"),
        ("# only a comment\n".to_owned(), "keyset: is empty"),
        (good.clone(), "keyset line 1: begin"),
        (format!("bursar-keyset 2\n{good}"), "keyset line 1: begin"),
        (text(&[]), "keyset: mark one key `primary`"),
        (text(&[line(1, "decrypt-only", 1)]), "keyset: mark one key `primary`"),
        (with("key 2 primary"), "keyset line 3: write `key`"),
        (with(&format!("{} more", line(2, "decrypt-only", 2))), "keyset line 3: write `key`"),
        (with(&line(2, "decrypt-only", 2).replace("key", "kee")), "keyset line 3: write `key`"),
        (with(&line(0, "decrypt-only", 2)), "keyset line 3: version"),
        (with(&line(2, "decrypt-only", 2).replacen('2', "-2", 1)), "keyset line 3: version"),
        (with(&line(2, "Primary", 2)), "keyset line 3: role"),
        (
            with(&format!("key 2 decrypt-only {id} !{}", &short[1..])),
            "keyset line 3: key: use standard base64",
        ),
        (with(&format!("key 2 decrypt-only {id} {short}")), "keyset line 3: key: use exactly 32 bytes"),
        (with(&format!("key 2 decrypt-only {id} {long}")), "keyset line 3: key: use exactly 32 bytes"),
        (with(&format!("key 2 decrypt-only {id} {}", long.repeat(9))), "keyset line 3: key: use standard"),
        (with(&format!("key 2 decrypt-only {id} {}", BASE64.encode([3; 32]))), "keyset line 3: id"),
        (with(&line(2, "primary", 2)), "keyset line 3: mark this key `decrypt-only`"),
        (with(&line(1, "decrypt-only", 2)), "keyset line 3: give each key a version"),
        (with(&line(2, "decrypt-only", 1)), "keyset line 3: remove this key"),
    ];
    for (text, want) in cases {
        let said = refusal(&text);
        assert!(said.starts_with(want), "{said:?} for {text:?}");
        for echo in ["AQEB", "AgIC", "AwMD"] {
            assert!(!said.contains(echo), "{said:?} echoes the key");
        }
    }
}

#[test]
fn a_keyset_has_a_bound() {
    let lines = |count: u8| {
        let old = (2..=count).map(|i| line(i.into(), "decrypt-only", i));
        text(&old.chain([line(1, "primary", 1)]).collect::<Vec<_>>())
    };
    let full = FileKeyset::parse(&lines(100)).unwrap();
    assert!(refusal(&lines(101)).starts_with("keyset line 102: keep at most 100"));
    assert!(matches!(full.rotated(), Err(KekError::Keyset { .. })));
    assert_eq!(FileKeyset::parse(&lines(99)).unwrap().rotated().unwrap().primary.version, 100);
}

/// Version and role of each key, in the order in which they are listed.
fn listed(keyset: &FileKeyset) -> Vec<(u32, &'static str, KekId)> {
    keyset.keys().collect()
}

#[test]
fn keys_are_listed_oldest_first_with_their_roles() {
    let keyset = FileKeyset::parse(&text(&[
        line(3, "primary", 3),
        line(2, "decrypt-only", 2),
        line(1, "decrypt-only", 1),
    ]));
    let want =
        [(1, "decrypt-only", key(1, 1).id), (2, "decrypt-only", key(2, 2).id), (3, "primary", key(3, 3).id)];
    assert_eq!(listed(&keyset.unwrap()), want);
}

#[test]
fn only_a_key_that_no_longer_wraps_can_be_taken_away() {
    let keyset = || FileKeyset { primary: key(3, 3), decrypt_only: vec![key(1, 1), key(2, 2)] };
    let left = keyset().without(2).unwrap();
    assert_eq!(listed(&left), [(1, "decrypt-only", key(1, 1).id), (3, "primary", key(3, 3).id)]);

    let refused = |version| keyset().without(version).unwrap_err().to_string();
    assert!(refused(3).starts_with("keyset: that key is the primary one"), "{}", refused(3));
    assert!(refused(4).starts_with("keyset: has no key of that version"), "{}", refused(4));
}

#[tokio::test]
async fn an_old_key_unwraps_what_it_wrapped_and_no_longer_wraps() {
    let old = FileKeyset { primary: key(1, 1), decrypt_only: Vec::new() };
    let both = FileKeyset { primary: key(2, 2), decrypt_only: vec![key(1, 1)] };
    let secret = KeyBytes::generate();
    let wrapped = old.wrap(b"place", &secret).await.unwrap();
    assert_eq!(both.unwrap(b"place", &wrapped).await.unwrap().expose(), secret.expose());
    let anew = both.wrap(b"place", &secret).await.unwrap();
    let refused = old.unwrap(b"place", &anew).await.unwrap_err();
    assert_eq!(refused, KekError::Unknown { wanted: key(2, 2).named() });
}

#[tokio::test]
async fn a_wrapped_key_unwraps_in_its_own_context_only() {
    let keyset = FileKeyset::generate();
    let wrapped = keyset.wrap(b"here", &KeyBytes::generate()).await.unwrap();
    for elsewhere in [&b""[..], b"her", b"here ", b"there"] {
        assert_eq!(keyset.unwrap(elsewhere, &wrapped).await.unwrap_err(), KekError::Broken);
    }
    let long = envelope::seal(
        Sealer { secret: &keyset.primary.secret, version: 1, kek: keyset.primary.id },
        &framed(b"here"),
        &[0; 33],
    );
    assert_eq!(keyset.unwrap(b"here", &long.unwrap()).await.unwrap_err(), KekError::Broken);
    assert_eq!(keyset.unwrap(b"here", &[0; 372]).await.unwrap_err(), KekError::Broken);
}

#[test]
fn debug_of_a_keyset_shows_no_key() {
    let shown = format!("{:?} {:?}", FileKeyset::generate(), KeyBytes::from_slice(&[7; 32]));
    assert!(shown.starts_with("[keyset: primary "), "{shown}");
    assert!(shown.ends_with(" Some([key])"), "{shown}");
    assert!(shown.len() < 90, "{shown}");
}
