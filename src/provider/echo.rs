//! Notices when a server writes back what it was sent, or what it gave, in a field that is shown: an error code, a
//! correlation id. Such a word is used to judge the answer and then withheld, so that no credential reaches a log, a
//! record or a caller through it.

use crate::{domain::failure::legible, egress::Outgoing};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::header;
use zeroize::Zeroizing;

/// So many characters in a row of a credential, at least, are taken for a piece of it.
const PIECE: usize = 8;
/// A shorter credential is looked for only as the whole word.
const WHOLE: usize = 4;
/// More form fields than any request has.
const FIELDS_MAX: usize = 64;

/// Form fields that are no secrets and that servers rightly repeat in their codes.
const PUBLIC: [&str; 14] = [
    "grant_type",
    "response_type",
    "scope",
    "client_id",
    "client_assertion_type",
    "subject_token_type",
    "actor_token_type",
    "requested_token_type",
    "token_type_hint",
    "credtype",
    "redirect_uri",
    "resource",
    "audience",
    "code_challenge_method",
];
/// Fields of an answer that are credentials (RFC 6749 §5.1, OIDC Core §3.1.3.3, RFC 8628 §3.2, RFC 9126 §2.2).
const GIVEN: [&str; 5] = ["access_token", "refresh_token", "id_token", "device_code", "request_uri"];

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The credentials of one request and its answer, each cut down to the characters that would be shown.
#[derive(Default)]
pub(super) struct Credentials(Vec<Zeroizing<String>>);

impl Credentials {
    /// Whatever in a request may be secret: all form values but those that are known to be public, and what stands
    /// in its credentials' headers.
    pub(super) fn sent(outgoing: &Outgoing) -> Self {
        let mut found = Self::default();
        for (name, value) in url::form_urlencoded::parse(&outgoing.body).take(FIELDS_MAX) {
            if !PUBLIC.contains(&name.as_ref()) {
                found.add(&value);
            }
        }
        let headers = [header::AUTHORIZATION.as_str(), "dpop"];
        for value in headers.iter().filter_map(|name| outgoing.headers.get(*name)?.to_str().ok()) {
            let (scheme, credentials) = value.split_once(' ').unwrap_or(("", value));
            found.add(credentials);
            if scheme.eq_ignore_ascii_case("basic") {
                let decoded = BASE64.decode(credentials).map(Zeroizing::new).unwrap_or_default();
                let secret = decoded.split(|byte| *byte == b':').skip(1).collect::<Vec<_>>().join(&b':');
                // RFC 6749 §2.3.1: it is form-encoded inside.
                let pair = Zeroizing::new([b"s=".as_slice(), &secret].concat());
                for (_, secret) in url::form_urlencoded::parse(&pair).take(1) {
                    found.add(&secret);
                }
            }
        }
        found
    }

    /// And what the answer gave.
    pub(super) fn given<'a>(&mut self, text_of: impl Fn(&str) -> Option<&'a str>) {
        for value in GIVEN.iter().filter_map(|name| text_of(name)) {
            self.add(value);
        }
    }

    fn add(&mut self, value: &str) {
        let shown = Zeroizing::new(legible(value).to_ascii_lowercase());
        if !shown.is_empty() {
            self.0.push(shown);
        }
    }

    /// Would showing this word show a credential, or a piece of one?
    pub(super) fn shown_by(&self, word: &str) -> bool {
        let word = Zeroizing::new(legible(word).to_ascii_lowercase());
        self.0.iter().any(|credential| shows(&word, credential))
    }
}

/// Both are ASCII by now, so bytes are characters.
fn shows(word: &str, credential: &str) -> bool {
    word == credential
        || (credential.len() >= WHOLE && word.contains(credential))
        || (0..(word.len() + 1).saturating_sub(PIECE)).any(|at| credential.contains(&word[at..at + PIECE]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method};

    fn request(body: &str, authorization: Option<&'static str>) -> Outgoing {
        let mut headers = HeaderMap::new();
        if let Some(value) = authorization {
            headers.insert(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        let url = url::Url::parse("https://idp.example/token").unwrap();
        Outgoing { method: Method::POST, url, headers, body: body.as_bytes().to_vec(), presenting: None }
    }

    #[test]
    fn a_word_that_repeats_a_credential_is_noticed() {
        let body =
            "grant_type=refresh_token&refresh_token=rt%2F1-Canary.90210&client_id=cli&client_secret=pw+9";
        // `cli:p%40ss` in Base64.
        let sent = Credentials::sent(&request(body, Some("Basic Y2xpOnAlNDBzcw==")));
        for (word, shown) in [
            ("rt/1-Canary.90210", true),
            ("rt1-Canary.90210", true),
            ("RT1-CANARY.90210", true),
            ("invalid_grant_rt1-Canary.90210", true),
            ("1-Canary.90", true),
            ("x1-Canary.x", true),
            ("1-Canar", false),
            ("pw9", true),
            ("pw9_is_wrong", false),
            ("p@ss", true),
            ("pss", true),
            ("Y2xpOnAlNDBzcw", true),
            ("invalid_grant", false),
            ("refresh_token", false),
            ("unsupported_grant_type", false),
            ("cli", false),
            ("", false),
        ] {
            assert_eq!(sent.shown_by(word), shown, "{word}");
        }
        assert!(!Credentials::default().shown_by("anything"));
    }

    #[test]
    fn what_an_answer_gives_counts_too_and_so_does_what_is_no_form() {
        let mut given = Credentials::sent(&request("", Some("Bearer living-access-token")));
        given.given(|name| (name == "refresh_token").then_some("brand-new-refresh-token"));
        assert!(given.shown_by("new-refresh-token") && given.shown_by("living-access"));
        let json = Credentials::sent(&request(r#"{"password":"correct-horse"}"#, None));
        assert!(!json.shown_by("something"));
    }
}
