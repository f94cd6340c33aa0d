//! What the answers of a Transit engine mean. Pure; repeats nothing of them.

use crate::{
    egress::Reply,
    seal::{KEK_CIPHERTEXT_MAX, KekError},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use zeroize::Zeroizing;

/// What a ciphertext begins with, at OpenBao too; then come the version, a colon and base64.
const PREFIX: &str = "vault:v";
/// What the engine writes when a key's `min_decryption_version` is above the ciphertext's.
const TOO_OLD: &str = "disallowed by policy (too old)";
/// What it writes when there is no such key, and this process may not make one.
const NO_KEY: &str = "encryption key not found";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Encrypt,
    Decrypt,
}

/// As the engine gave it.
pub(super) struct Ciphertext {
    pub(super) text: String,
    pub(super) version: u32,
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
struct Encrypted {
    ciphertext: String,
    key_version: Option<u32>,
}

/// Borrowed from the body, which is wiped: base64 has nothing that JSON escapes.
#[derive(Deserialize)]
struct Decrypted<'a> {
    plaintext: &'a str,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

impl Op {
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
        }
    }
}

/// A success, or what the refusal means.
pub(super) fn judged(op: Op, mount: &str, key: &str, reply: Reply) -> Result<Reply, KekError> {
    if reply.status == 200 {
        return Ok(reply);
    }
    let refused = |mend: String| Err(KekError::Refused { mend });
    let word = op.word();
    match reply.status {
        400 => wrong_request(op, mount, key, &reply),
        403 => refused(format!(
            "it answered 403 for {mount}/{word}/{key}: the token has ended, or its policy does not grant `update` on \
             that path"
        )),
        404 => refused(format!(
            "nothing is mounted at {mount}: check keys.transit.mount and keys.transit.namespace"
        )),
        405 => refused(format!("what is mounted at {mount} is no Transit engine: check keys.transit.mount")),
        status => Err(away(status)),
    }
}

/// What went wrong before anybody looked at the request.
pub(super) fn away(status: u16) -> KekError {
    let away = |cause: String| KekError::Unavailable { cause };
    match status {
        300..=399 => away(
            "the server at keys.transit.address is a standby that redirects: name the address of the active one".into(),
        ),
        412 | 429 => away(format!("the server answered {status}: it is behind, or asked too often")),
        472 | 473 => away(format!("the server answered {status}: it is a standby of another cluster")),
        503 => away("the server is sealed or under maintenance".into()),
        500..=599 => away(format!("the server answered {status}")),
        _ => KekError::Misbehaved { what: "a status that OpenBao and Vault do not have was answered" },
    }
}

fn wrong_request(op: Op, mount: &str, key: &str, reply: &Reply) -> Result<Reply, KekError> {
    let says = |words: &str| match serde_json::from_slice::<Errors>(&reply.body) {
        Ok(said) => said.errors.iter().any(|error| error.contains(words)),
        Err(_) => false,
    };
    let refused = |mend: String| Err(KekError::Refused { mend });
    if says(NO_KEY) {
        return refused(format!("there is no key {mount}/keys/{key}: make it, or check keys.transit.key"));
    }
    match op {
        Op::Encrypt => refused(format!(
            "the key {mount}/keys/{key} does not encrypt for this program: it has to be of a kind that encrypts, as \
             aes256-gcm96, and not derived"
        )),
        Op::Decrypt if says(TOO_OLD) => refused(format!(
            "min_decryption_version of the key {mount}/keys/{key} is above the version that wrapped the root key: lower \
             it until the KEK is rotated here"
        )),
        Op::Decrypt => Err(KekError::Broken),
    }
}

pub(super) fn ciphertext(reply: &Reply) -> Result<Ciphertext, KekError> {
    let wrong = KekError::Misbehaved { what: "no ciphertext of a Transit engine was answered" };
    let Ok(Data { data: Encrypted { ciphertext, key_version } }) = serde_json::from_slice(&reply.body) else {
        return Err(wrong);
    };
    match checked(ciphertext.as_bytes()) {
        Some((_, version)) if key_version.is_none_or(|said| said == version) => {
            Ok(Ciphertext { text: ciphertext, version })
        }
        Some(_) | None => Err(wrong),
    }
}

/// A ciphertext as the engine writes them, and its key's version: `vault:v3:` and base64. Nothing else is kept, or sent
/// back to it.
pub(super) fn checked(ciphertext: &[u8]) -> Option<(&str, u32)> {
    let text = std::str::from_utf8(ciphertext).ok().filter(|text| text.len() <= KEK_CIPHERTEXT_MAX)?;
    let (version, rest) = text.strip_prefix(PREFIX)?.split_once(':')?;
    let version = version.parse().ok().filter(|&number: &u32| number > 0 && number.to_string() == version)?;
    let fits = !rest.is_empty() && BASE64.decode(rest).is_ok();
    fits.then_some((text, version))
}

pub(super) fn plaintext(reply: &Reply) -> Result<Zeroizing<Vec<u8>>, KekError> {
    let wrong = KekError::Misbehaved { what: "no plaintext was answered" };
    let Ok(Data { data: Decrypted { plaintext } }) = serde_json::from_slice(&reply.body) else {
        return Err(wrong);
    };
    BASE64.decode(plaintext.as_bytes()).map(Zeroizing::new).map_err(|_| wrong)
}
