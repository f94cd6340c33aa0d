//! Words, lists of them, and paths. No message repeats one: somebody may have written a secret there.

use super::Value;
use crate::domain::host_port::HostPort;
use std::collections::BTreeSet;

/// Longest word, in bytes.
pub(super) const WORD_MAX: usize = 128;
/// Longest identifier, in bytes, and most of a list.
pub(super) const IDENTIFIER_MAX: usize = 1024;
pub(super) const IDENTIFIERS_MAX: usize = 64;
/// Longest path, in bytes: what Linux takes.
const PATH_MAX: usize = 4095;
/// Most hosts in one list.
const HOSTS_MAX: usize = 32;

pub(super) fn word(text: &str, most: usize) -> Result<Value, String> {
    if text.is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > most {
        Err(format!("is longer than {most} characters"))
    } else if !text.bytes().all(|b| b.is_ascii_graphic()) {
        Err("has a character that is not visible ASCII".to_owned())
    } else {
        Ok(Value::Text(text.to_owned()))
    }
}

pub(super) fn identifiers(text: &str) -> Result<Value, String> {
    let mut words = text.split_whitespace();
    if words.clone().count() > IDENTIFIERS_MAX {
        return Err(format!("has more than {IDENTIFIERS_MAX} words"));
    }
    let wrong = words.find_map(|each| word(each, IDENTIFIER_MAX).err());
    wrong.map_or_else(|| Ok(Value::Text(text.to_owned())), |wrong| Err(format!("has a word that {wrong}")))
}

pub(super) fn path(text: &str) -> Result<Value, String> {
    if text.is_empty() {
        Err("is empty".to_owned())
    } else if text.len() > PATH_MAX {
        Err(format!("is longer than {PATH_MAX} bytes"))
    } else if text.contains('\0') {
        Err("has a NUL character".to_owned())
    } else {
        Ok(Value::Path(text.into()))
    }
}

/// Each may hold a password that somebody wrote there, so none is repeated.
pub(super) fn hosts(text: &str) -> Result<Value, String> {
    let (mut seen, mut count) = (BTreeSet::new(), 0);
    for word in text.split_whitespace() {
        count += 1;
        let host: HostPort = word.parse().map_err(|problem| format!("has an entry that {problem}"))?;
        if !seen.insert(host) {
            return Err("names the same host and port twice".to_owned());
        }
    }
    match count {
        0 => Err("is blank".to_owned()),
        1..=HOSTS_MAX => Ok(Value::Text(text.to_owned())),
        _ => Err(format!("has more than {HOSTS_MAX} entries")),
    }
}
