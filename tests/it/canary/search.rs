//! Finds known secrets in anything: as they are, and in every encoding in which a program is likely to spill them.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use std::collections::{HashMap, HashSet};

/// Bytes by which places worth a closer look are found; every form of a secret is at least so long.
const HEAD: usize = 8;

/// Secrets by name.
#[derive(Default)]
pub(super) struct Search {
    /// By their first bytes: whole forms, and what they are.
    forms: HashMap<[u8; HEAD], Vec<(Vec<u8>, String)>>,
    known: HashSet<Vec<u8>>,
}

impl Search {
    pub(super) fn add(&mut self, name: &str, secret: &[u8]) {
        if !self.known.insert(secret.to_vec()) {
            return;
        }
        for (form, encoding) in forms(secret) {
            let head = form[..HEAD].try_into().unwrap();
            self.forms.entry(head).or_default().push((form, format!("{name} ({encoding})")));
        }
    }

    pub(super) fn secrets(&self) -> usize {
        self.known.len()
    }

    /// Names of all secrets that are in there.
    pub(super) fn found_in(&self, text: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for (at, head) in text.windows(HEAD).enumerate() {
            let Some(forms) = self.forms.get(head) else { continue };
            let here = forms.iter().filter(|(form, _)| text[at..].starts_with(form));
            found.extend(here.map(|(_, what)| what.clone()));
        }
        found.sort();
        found.dedup();
        found
    }
}

/// Every form of a secret that is looked for, with its name.
pub(super) fn forms(secret: &[u8]) -> Vec<(Vec<u8>, String)> {
    let url: String = url::form_urlencoded::byte_serialize(secret).collect();
    let lower_url = lower_escapes(&url);
    let mut forms = vec![
        (secret.to_vec(), "raw".to_owned()),
        (hex(secret).into_bytes(), "hex".to_owned()),
        (hex(secret).to_uppercase().into_bytes(), "HEX".to_owned()),
        (url.into_bytes(), "url".to_owned()),
        (lower_url.into_bytes(), "url, lower case".to_owned()),
    ];
    for offset in 0..3 {
        forms.push((base64(secret, offset, &STANDARD_NO_PAD), format!("base64, {offset} bytes in")));
        forms.push((base64(secret, offset, &URL_SAFE_NO_PAD), format!("base64url, {offset} bytes in")));
    }
    let mut seen = HashSet::new();
    forms.retain(|(form, _)| seen.insert(form.clone()));
    forms
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The characters that depend on nothing but the secret, when so many other bytes come before it.
fn base64(secret: &[u8], offset: usize, engine: &impl Engine) -> Vec<u8> {
    let before = vec![0; offset];
    let text = engine.encode([&before, secret].concat());
    let (first, end) = ((offset * 8).div_ceil(6), (offset + secret.len()) * 8 / 6);
    text.as_bytes()[first..end].to_vec()
}

fn lower_escapes(text: &str) -> String {
    let mut parts = text.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push('%');
        out.push_str(&part[..2].to_lowercase());
        out.push_str(&part[2..]);
    }
    out
}

#[test]
fn a_secret_is_found_in_every_encoding() {
    let secret: &[u8] = b"p\xe4ss/word+%?~\xff\xfe<canary>";
    let mut search = Search::default();
    search.add("it", secret);
    let escaped: String = url::form_urlencoded::byte_serialize(secret).collect();
    let hex = hex(secret);
    let mut planted = vec![
        secret.to_vec(),
        hex.to_uppercase().into_bytes(),
        hex.into_bytes(),
        lower_escapes(&escaped).into_bytes(),
        escaped.into_bytes(),
    ];
    for offset in 0..3 {
        let inside = [&b"ab"[..offset], secret, b"behind"].concat();
        planted.push(STANDARD_NO_PAD.encode(&inside).into_bytes());
        planted.push(URL_SAFE_NO_PAD.encode(&inside).into_bytes());
    }
    assert_eq!(planted.len(), forms(secret).len());
    let mut found = HashSet::new();
    for text in planted {
        let hay = [b"before it ".to_vec(), text.clone(), b" behind it".to_vec()].concat();
        let names = search.found_in(&hay);
        assert_eq!(names.len(), 1, "{:?}: {names:?}", String::from_utf8_lossy(&text));
        found.extend(names);
        assert!(search.found_in(&hay[..hay.len() - text.len()]).is_empty());
    }
    assert_eq!(found.len(), forms(secret).len());
}
