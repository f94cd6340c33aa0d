//! What people read: one page, with a heading, a sentence and what to do next. No script, nothing from elsewhere, and
//! nothing that a provider wrote but its error code, of harmless characters.

use crate::{
    broker::admin::consent::{Outcome, Turn},
    domain::{
        authorization::{Fault, Stage},
        names::ConnectionName,
    },
};
use http::{HeaderValue, StatusCode};
use url::Url;

/// One page's words.
#[derive(Debug, Clone)]
pub(super) struct Text {
    heading: &'static str,
    says: &'static str,
    next: &'static str,
    /// The provider's code, shown as it is.
    code: Option<String>,
}

impl Text {
    const fn new(heading: &'static str, says: &'static str, next: &'static str) -> Self {
        Self { heading, says, next, code: None }
    }
}

pub(super) const NOT_FOUND: Text = Text::new(
    "Nothing here",
    "This address leads nowhere.",
    "Open the link that you were given, as it is, or ask for a new one.",
);
pub(super) const UNAVAILABLE: Text = Text::new(
    "Not available just now",
    "The authorization could not be looked up at the moment.",
    "Try this page again in a minute. If it stays like this, ask whoever sent you the link.",
);
pub(super) const BROKEN: Text = Text::new(
    "Something went wrong",
    "The provider's address could not be opened.",
    "Ask whoever sent you the link to look at the provider's settings.",
);
const AGAIN: &str = "Ask for a new link and begin again.";

/// Status and words of an outcome.
pub(super) fn of(outcome: &Outcome) -> (StatusCode, Text) {
    match outcome {
        Outcome::Succeeded => (
            StatusCode::OK,
            Text::new("Authorized", "The connection is authorized.", "You can close this window."),
        ),
        Outcome::Denied => (
            StatusCode::OK,
            Text::new(
                "Not authorized",
                "You, or your organization's rules, declined the authorization. Nothing was changed.",
                "You can close this window. If this was a mistake, ask for a new link.",
            ),
        ),
        Outcome::Expired => (
            StatusCode::GONE,
            Text::new("Too late", "This authorization was open for a limited time, which is over.", AGAIN),
        ),
        Outcome::ProviderError(code) => {
            let text = Text::new(
                "The provider reported an error",
                "The provider did not authorize the connection. Nothing was changed.",
                "Ask for a new link and try again. If it happens again, pass on the code below.",
            );
            (StatusCode::BAD_GATEWAY, Text { code: code.clone(), ..text })
        }
        Outcome::WrongIssuer => (
            StatusCode::BAD_REQUEST,
            Text::new(
                "Answer from the wrong place",
                "The answer came from another provider than the one that was asked. It was not used.",
                "Do not try again before whoever sent you the link has looked at it.",
            ),
        ),
        Outcome::Nonsense => (
            StatusCode::BAD_REQUEST,
            Text::new(
                "Not understood",
                "This is not an answer that a provider gives. It was not used.",
                AGAIN,
            ),
        ),
        Outcome::Unknown => (
            StatusCode::NOT_FOUND,
            Text::new(
                "No such authorization",
                "No authorization is under way for this link in this browser: it was never made, a newer one has replaced \
                 it, or it was begun in another browser.",
                AGAIN,
            ),
        ),
        Outcome::OtherBrowser => (
            StatusCode::FORBIDDEN,
            Text::new(
                "Begun in another browser",
                "This authorization belongs to the browser in which its link was opened first.",
                "Go on there, with cookies allowed, or ask for a new link and open it here first.",
            ),
        ),
        Outcome::Replayed(stage) => (StatusCode::CONFLICT, used(*stage)),
        Outcome::SwitchedOff => (
            StatusCode::CONFLICT,
            Text::new(
                "Switched off",
                "The connection is switched off or being revoked, and takes no authorization.",
                "Ask whoever sent you the link.",
            ),
        ),
        Outcome::Failed(fault) => (StatusCode::BAD_GATEWAY, failed(*fault)),
        Outcome::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE),
    }
}

/// Somebody pressed a button twice, or opened an old address again.
const fn used(stage: Stage) -> Text {
    let says = match stage {
        Stage::Succeeded => "This link was used before, and the connection was authorized with it.",
        Stage::Taken | Stage::Open => {
            "This link was used a moment ago, and the authorization is being completed."
        }
        Stage::Denied => "This link was used before, and the authorization was declined.",
        Stage::Expired => "This link was open for a limited time, which is over.",
        Stage::Failed => "This link was used before, and the authorization did not succeed.",
    };
    let next = match stage {
        Stage::Succeeded => "You can close this window.",
        Stage::Taken | Stage::Open => "Look at the other window. If there is none, ask whether it worked.",
        Stage::Denied | Stage::Expired | Stage::Failed => AGAIN,
    };
    Text::new("Used already", says, next)
}

const fn failed(fault: Fault) -> Text {
    const ASK: &str =
        "Ask for a new link and try again. If it happens again, tell whoever sent you the link.";
    let (says, next) = match fault {
        Fault::OtherPrincipal => (
            "You are logged in as somebody else than before. The connection goes on as it was.",
            "Log out at the provider, ask for a new link, and log in with the account that was used before.",
        ),
        Fault::Client | Fault::Configuration | Fault::Policy => (
            "The provider refused the application's own credentials or settings. Nothing was changed.",
            "Tell whoever sent you the link: they have to compare the settings with the provider's.",
        ),
        Fault::NotSent | Fault::Down | Fault::Throttled => {
            ("The provider could not be reached, or was busy. Nothing was changed.", ASK)
        }
        Fault::Lost | Fault::Ambiguous => {
            ("The provider's answer was lost on the way. Nothing was changed.", ASK)
        }
        Fault::ProviderError | Fault::WrongIssuer | Fault::Nonsense | Fault::Refused | Fault::Malformed => {
            ("The provider did not accept the authorization in the end. Nothing was changed.", ASK)
        }
    };
    Text::new("Authorization not completed", says, next)
}

/// The word that a front end gets.
const fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "authorized",
        Outcome::Denied => "denied",
        Outcome::Expired => "expired",
        Outcome::ProviderError(_) => "provider_error",
        Outcome::WrongIssuer => "wrong_issuer",
        Outcome::Nonsense => "malformed",
        Outcome::Failed(Fault::OtherPrincipal) => "principal_mismatch",
        Outcome::Failed(_) => "failed",
        Outcome::Unknown | Outcome::OtherBrowser | Outcome::Replayed(_) | Outcome::SwitchedOff => "refused",
        Outcome::Unavailable => "unavailable",
    }
}

/// Where a front end gets its browser back, with what came of it.
pub(super) fn returning(uri: &str, turn: &Turn) -> Option<HeaderValue> {
    let mut address = Url::parse(uri).ok()?;
    if let Some(name) = &turn.connection {
        address.query_pairs_mut().append_pair("connection", &name.to_string());
    }
    address.query_pairs_mut().append_pair("outcome", word(&turn.outcome));
    HeaderValue::try_from(address.as_str()).ok()
}

/// The only style; the content security policy names its hash.
pub(super) const STYLE: &str = "body{font:1.125rem/1.6 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1.5rem;color:#1a1a1a;background:#fff}h1{font-size:1.75rem;line-height:1.25}code{overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}}";

/// Names are of letters, digits and hyphens, codes of harmless characters: there is nothing to escape.
pub(super) fn html(text: Text, connection: Option<&ConnectionName>) -> String {
    let named =
        connection.map(|name| format!("<p>Connection: <code>{name}</code></p>\n")).unwrap_or_default();
    let code = text.code.map(|code| format!("<p>Code: <code>{code}</code></p>\n")).unwrap_or_default();
    let Text { heading, says, next, .. } = text;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{heading}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{heading}</h1>\n<p>{says}</p>\n{named}{code}<p>{next}</p>\n</main>\n</body>\n</html>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &[Outcome] = &[
        Outcome::Succeeded,
        Outcome::Denied,
        Outcome::Expired,
        Outcome::ProviderError(None),
        Outcome::WrongIssuer,
        Outcome::Nonsense,
        Outcome::Unknown,
        Outcome::OtherBrowser,
        Outcome::Replayed(Stage::Succeeded),
        Outcome::SwitchedOff,
        Outcome::Failed(Fault::OtherPrincipal),
        Outcome::Unavailable,
    ];

    #[test]
    fn every_page_is_whole_and_says_what_to_do() {
        let name: ConnectionName = "tenants/t/connections/c".parse().unwrap();
        for outcome in ALL {
            let (_, text) = of(outcome);
            let html = html(text.clone(), Some(&name));
            assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"), "{outcome:?}");
            for part in [
                format!("<title>{}</title>", text.heading),
                format!("<h1>{}</h1>", text.heading),
                "<code>tenants/t/connections/c</code>".into(),
                format!("<p>{}</p>", text.next),
            ] {
                assert!(html.contains(&part), "{outcome:?}: {part}");
            }
            for banned in ["<script", "http://", "https://", "src=", "href="] {
                assert!(!html.contains(banned), "{outcome:?}: {banned}");
            }
        }
    }

    #[test]
    fn a_front_end_gets_name_and_outcome_beside_what_it_had() {
        let turn = Turn {
            connection: Some("tenants/t/connections/c".parse().unwrap()),
            outcome: Outcome::Denied,
            return_uri: None,
        };
        let address = returning("https://app.example/done?a=b", &turn).unwrap();
        assert_eq!(
            address.to_str().unwrap(),
            "https://app.example/done?a=b&connection=tenants%2Ft%2Fconnections%2Fc&outcome=denied"
        );
    }
}
