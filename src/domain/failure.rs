//! What an exchange that brought no token means. One pure function classifies every outcome.

use super::{
    client::HoldReason,
    profile::{ANY_OTHER_CODE, Profile, Rule},
};
use std::time::Duration;

/// Longest provider code or correlation id that is kept, in characters.
pub const CODE_MAX: usize = 64;

/// What follows from a failed exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// The request was never written: the grant is as it was.
    NotSent,
    /// The grant looks refused. It ends only if that is confirmed.
    Suspect,
    /// The server refuses our client, not the grant. Every connection of the client waits.
    Client,
    /// The server refuses the request as such; the grant is kept.
    Configuration,
    /// Asked too often. No failure of the grant.
    Throttled,
    /// The server is down or in maintenance; whether it used the grant is open.
    Down,
    /// The request went out and no readable answer came: whether the grant was used up is open.
    Ambiguous,
    /// A success that cannot be used: no access token, a wrong type, no lifetime.
    Malformed,
    /// The answer leads to where secrets may not go.
    Policy,
}

/// Why a connection is not, or may soon not be, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The server refused the grant twice.
    Revoked,
    /// The server refused the grant twice, and an earlier exchange ended without an answer: the rotated token was lost on the way.
    LostRotation,
    /// The refresh token's lifetime ended.
    Expired,
    /// The user or company is disabled at the provider.
    PrincipalDisabled,
    /// The company's administrator has not (or no longer) enabled the client.
    CompanyNotEnabled,
    /// The grant belongs to another client registration.
    GrantOfAnotherClient,
    /// A one-time credential was spent without an answer; a new one is needed.
    BootstrapLost,
    /// An operator switched the connection off.
    DisabledByOperator,
    /// An operator revoked it.
    RevokedByOperator,
    /// Nobody has consented yet.
    AwaitingAuthorization,
    /// The person took longer than the authorization was open.
    AuthorizationExpired,
    /// The person, or the provider's policy, said no.
    AuthorizationDenied,
    /// The provider gave an error instead of a grant, or its answer was lost.
    AuthorizationFailed,
}

/// What is known of an exchange that brought no token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Address, connection or TLS failed before a byte of the request was written.
    NotSent(Trouble),
    /// Written, but the answer did not come whole.
    Lost(Trouble),
    /// An address that is not on the profile's list of hosts. Nothing was sent there.
    HostRefused {
        host: String,
    },
    /// 3xx, and no profile allows to follow it.
    Redirected {
        status: u16,
    },
    /// A 2xx whose body is not a token response.
    Unreadable {
        status: u16,
        trouble: Trouble,
    },
    /// A token response without a usable token.
    Unusable(Unusable),
    Refused(Refusal),
}

/// An error response (RFC 6749 §5.2 and what servers make of it).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Refusal {
    pub status: u16,
    /// RFC 6749 `error`.
    pub error: Option<String>,
    /// The server's own discriminator, where it has one (SAP Concur: `code`).
    pub code: Option<String>,
    pub retry_after: Option<Duration>,
    /// Whether the body was JSON: what is not may come from something in front of the server.
    pub body: Body,
    /// Whether the server's words may be shown.
    pub words: Words,
}

/// A server can write a credential where a code belongs. Its words are judged all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Words {
    #[default]
    Shown,
    /// They repeat a credential of the request or of the answer: neither logged nor kept.
    Withheld,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Body {
    Json,
    #[default]
    Other,
}

/// What went wrong on the way, in words of our own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    Dns,
    Connect,
    Tls,
    Timeout,
    Reset,
    Truncated,
    TooLarge,
    NotJson,
    ContentType,
    Other,
}

/// Why a success cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unusable {
    NoAccessToken,
    TokenType,
    NotBound,
    Lifetime,
    WiderScope,
    OtherPrincipal,
    Geolocation,
    RepeatedField,
}

/// A failed exchange, judged. Carries nothing that a server could use to write into our logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub class: Class,
    /// Why the connection would end, if this is confirmed.
    pub reason: Option<Reason>,
    /// Why the client is refused, where it is and that is known.
    pub hold: Option<HoldReason>,
    /// The server's code or RFC 6749 `error`, cut to [`CODE_MAX`] harmless characters.
    pub code: Option<String>,
    pub status: Option<u16>,
    pub retry_after: Option<Duration>,
    /// What support of the provider asks for.
    pub correlation_id: Option<String>,
    pub detail: &'static str,
}

/// Whether the credential of this exchange is a lasting grant or is used once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Bootstrap,
    Steady,
}

/// Judges what an exchange left behind: the profile's own codes first, then RFC 6749, then the HTTP status.
pub fn classify(
    profile: &Profile,
    stage: Stage,
    evidence: &Evidence,
    correlation_id: Option<&str>,
) -> Failure {
    let mut failure = Failure {
        class: Class::Ambiguous,
        reason: None,
        hold: None,
        code: None,
        status: None,
        retry_after: None,
        correlation_id: correlation_id.and_then(harmless),
        detail: "",
    };
    (failure.class, failure.detail) = match evidence {
        Evidence::NotSent(trouble) => (Class::NotSent, trouble.says()),
        Evidence::Lost(trouble) => (Class::Ambiguous, trouble.says()),
        Evidence::HostRefused { .. } => (Class::Policy, "address is not among the provider's allowed hosts"),
        Evidence::Redirected { status } => {
            failure.status = Some(*status);
            (Class::Policy, "server answered with a redirect that is not followed")
        }
        Evidence::Unreadable { status, trouble } => {
            failure.status = Some(*status);
            (Class::Ambiguous, trouble.says())
        }
        Evidence::Unusable(unusable) => (Class::Malformed, unusable.says()),
        Evidence::Refused(refusal) => {
            failure.status = Some(refusal.status);
            failure.retry_after = refusal.retry_after;
            failure.code = match refusal.words {
                Words::Shown => {
                    [&refusal.code, &refusal.error].into_iter().flatten().find_map(|code| harmless(code))
                }
                Words::Withheld => None,
            };
            let rule = rule_of(profile, stage, refusal);
            failure.reason = rule.reason;
            failure.hold = rule.hold;
            (rule.class, "server refused the request")
        }
    };
    failure
}

fn rule_of(profile: &Profile, stage: Stage, refusal: &Refusal) -> Rule {
    let tables: &[_] = match stage {
        Stage::Bootstrap => &[&profile.bootstrap_errors, &profile.errors],
        Stage::Steady => &[&profile.errors],
    };
    let named =
        |code: Option<&str>| code.and_then(|code| tables.iter().find_map(|table| table.get(code).copied()));
    // A throttled or failing server may wrap any text: its status speaks first.
    let by_status = match refusal.status {
        429 => Some(Class::Throttled),
        408 | 500..=599 => Some(Class::Down),
        _ => None,
    };
    let other_code = refusal.code.as_ref().map(|_| ANY_OTHER_CODE);
    // What is not JSON may come from something in front of the server, which knows nothing of grants.
    let bare_status = (refusal.body == Body::Json).then(|| format!("http_{}", refusal.status));
    named(refusal.code.as_deref())
        .or_else(|| by_status.map(Rule::of))
        .or_else(|| named(other_code))
        .or_else(|| named(refusal.error.as_deref()))
        .or_else(|| named(bare_status.as_deref()))
        .unwrap_or_else(|| Rule { hold: hold_by_rfc_6749(refusal), ..Rule::of(by_rfc_6749(refusal)) })
}

/// RFC 6749 §5.2, RFC 8628 §3.5; what has no name is judged by its status.
fn by_rfc_6749(refusal: &Refusal) -> Class {
    match refusal.error.as_deref() {
        Some("invalid_grant") => Class::Suspect,
        Some("invalid_client" | "unauthorized_client") => Class::Client,
        Some("slow_down") => Class::Throttled,
        Some("temporarily_unavailable" | "server_error") => Class::Down,
        Some(_) => Class::Configuration,
        None => match (refusal.status, refusal.body) {
            (401, Body::Json) => Class::Client,
            // A page in HTML comes from something in front of the server, which knows nothing of grants.
            (401 | 403, Body::Other) => Class::Down,
            _ => Class::Configuration,
        },
    }
}

/// RFC 6749 §5.2: who is not known and who did not prove it have one word, and `unauthorized_client` is about the grant.
fn hold_by_rfc_6749(refusal: &Refusal) -> Option<HoldReason> {
    match refusal.error.as_deref() {
        Some("invalid_client") => Some(HoldReason::SecretsRefused),
        Some("unauthorized_client") => Some(HoldReason::GrantNotAllowed),
        // Without a word: what `invalid_client` has as its status.
        None if refusal.status == 401 && refusal.body == Body::Json => Some(HoldReason::SecretsRefused),
        Some(_) | None => None,
    }
}

impl Failure {
    /// Something of our own is missing or broken: nothing was sent.
    pub const fn of_ours(detail: &'static str) -> Self {
        Self {
            class: Class::Configuration,
            reason: None,
            hold: None,
            code: None,
            status: None,
            retry_after: None,
            correlation_id: None,
            detail,
        }
    }

    /// Whether the server may have used the grant up although no answer came of it. A server that says in so many
    /// words that it is in maintenance (a 4xx with a code) has not.
    pub fn leaves_open(&self) -> bool {
        match self.class {
            Class::Ambiguous => true,
            Class::Down => self.status.is_none_or(|status| status == 408 || status >= 500),
            Class::NotSent
            | Class::Suspect
            | Class::Client
            | Class::Configuration
            | Class::Throttled
            | Class::Malformed
            | Class::Policy => false,
        }
    }

    /// The same refusal, which could not be counted: it ends nothing, holds nobody, and is asked about again like a server that
    /// is down. It was a refusal all the same (RFC 6749 §5.2), so that nothing is used up by it.
    #[must_use]
    pub fn uncounted(self) -> Self {
        let status = self.status.filter(|status| (400..500).contains(status) && *status != 408);
        Self {
            class: Class::Down,
            status: status.or(Some(400)),
            detail: "server refused the grant again, which could not be counted",
            ..self
        }
    }

    /// The same refusal, laid at the client's door: so many grants are not revoked at once.
    #[must_use]
    pub fn of_the_client(self) -> Self {
        Self {
            class: Class::Client,
            hold: Some(HoldReason::ManyGrantsRefused),
            detail: "server refused many grants of this client within a short time",
            ..self
        }
    }
}

/// Cuts a foreign word down to what may stand in a log or a record.
pub fn harmless(word: &str) -> Option<String> {
    let mut kept = legible(word);
    kept.truncate(CODE_MAX);
    (!kept.is_empty()).then_some(kept)
}

/// The characters of a foreign word that may be shown, all of them ASCII.
pub fn legible(word: &str) -> String {
    word.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':')).collect()
}

impl Rule {
    pub const fn of(class: Class) -> Self {
        Self { class, reason: None, hold: None }
    }
}

impl Trouble {
    pub const fn says(self) -> &'static str {
        match self {
            Self::Dns => "host name was not resolved",
            Self::Connect => "connection was not made",
            Self::Tls => "TLS handshake failed",
            Self::Timeout => "no answer came in time",
            Self::Reset => "connection broke before the answer was whole",
            Self::Truncated => "answer ended early",
            Self::TooLarge => "answer was larger than 64 KiB",
            Self::NotJson => "answer was not a JSON object",
            Self::ContentType => "answer had a content type other than JSON",
            Self::Other => "request failed",
        }
    }
}

impl Unusable {
    pub const fn says(self) -> &'static str {
        match self {
            Self::NoAccessToken => "answer has no access token",
            Self::TokenType => "answer has a token type other than was asked for",
            Self::NotBound => {
                "answer has a token that is not bound to the connection's key, as this provider requires"
            }
            Self::Lifetime => "answer has a lifetime that is not a positive number of seconds",
            Self::WiderScope => "answer grants more scopes than were asked for",
            Self::OtherPrincipal => "answer is for another principal",
            Self::Geolocation => "answer names an API base URL that is not allowed",
            Self::RepeatedField => "answer gives the same field twice",
        }
    }
}

#[cfg(test)]
#[path = "failure_tests.rs"]
mod tests;
