//! What a token endpoint answers, in all dialects that the built-in profiles know: status, headers and body are the
//! server's. It decides about its own tokens and nothing else.
#![no_main]

use bursar::{
    domain::profile::Profile,
    provider::{
        catalogue::Catalogue,
        fuzzing::{Told, token_answer},
    },
};
use libfuzzer_sys::fuzz_target;
use std::{sync::LazyLock, time::Duration};

static PROFILES: LazyLock<Vec<Profile>> =
    LazyLock::new(|| Catalogue::built_in().unwrap().iter().cloned().collect());

/// What was sent; a server that repeats it must not have it shown.
const SENT: &str = "canary-refresh-token-4711";
const NAMES: [&str; 6] =
    ["retry-after", "content-type", "x-request-id", "dpop-nonce", "location", "concur-correlationid"];

// A byte for the profile, two for the status, then headers and body, each behind a line end.
fuzz_target!(|data: &[u8]| {
    let [which, high, low, rest @ ..] = data else { return };
    let profile = &PROFILES[usize::from(*which) % PROFILES.len()];
    let status = 100 + u16::from_be_bytes([*high, *low]) % 500;
    let mut parts = rest.splitn(NAMES.len() + 1, |byte| *byte == b'\n');
    let headers: Vec<_> = NAMES.iter().map(|name| (*name, parts.next().unwrap_or_default())).collect();
    let body = parts.next().unwrap_or_default();
    let Told { access, refresh_token, correlation_id } = token_answer(profile, SENT, status, &headers, body);
    match &access {
        Ok((token, lifetime)) => {
            assert!((200..300).contains(&status), "a token out of a refusal");
            assert!(!token.is_empty() && token.bytes().all(|byte| (0x20..=0x7e).contains(&byte)));
            assert!(*lifetime <= Duration::from_secs(366 * 86_400), "{lifetime:?}");
        }
        Err(failure) => {
            let shown = format!("{failure:?}");
            assert!(!shown.contains(SENT), "{shown}");
            assert!(failure.retry_after.is_none_or(|wait| wait <= Duration::from_secs(3600)), "{shown}");
            assert!(failure.code.as_ref().is_none_or(|code| harmless(code)), "{shown}");
        }
    }
    assert!(correlation_id.as_ref().is_none_or(|id| harmless(id) && !id.contains(SENT)), "{correlation_id:?}");
    assert!(refresh_token.is_none() || (200..300).contains(&status));
});

/// Nothing that breaks a log line, a header or a terminal.
fn harmless(word: &str) -> bool {
    word.len() <= 256 && word.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ')
}
