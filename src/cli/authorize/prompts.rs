//! What the person is shown, on standard error: the answer alone goes to standard output. Text of a server is shown
//! without what could steer a terminal, and only a web address is shown as a URL to open.

use super::qr;
use crate::{
    api::{AuthorizationCodePrompt, DeviceCodePrompt, OtpPrompt},
    cli::{browser::web_address, console::Console, failure::Failure, table::plain, times},
};
use prost_types::Timestamp;

/// Longest user code that is shown; RFC 8628 has none, real ones have at most a dozen characters.
const USER_CODE_MAX: usize = 64;

/// Opens the URL, or says where to go.
pub(super) fn browser(
    prompt: &AuthorizationCodePrompt,
    no_browser: bool,
    console: &mut Console,
) -> Result<(), Failure> {
    let url = checked(&prompt.authorization_url)?;
    if !no_browser && console.input.browse(&url).is_ok() {
        console
            .complain(&format!("A browser was opened. If it shows nothing, open this URL:\n\n  {url}\n\n"));
    } else {
        console.complain(&format!("Open this URL in a browser and consent there:\n\n  {url}\n\n"));
    }
    Ok(())
}

/// The URL for a front end, which brings back the query.
pub(super) fn front_end(prompt: &AuthorizationCodePrompt, console: &mut Console) -> Result<(), Failure> {
    let url = checked(&prompt.authorization_url)?;
    let back = plain(&prompt.redirect_uri);
    console.complain(&format!(
        "Open this URL in a browser and consent there:\n\n  {url}\n\n\
         The browser is then sent to {back}: give the part behind the question mark, or the whole URL.\n"
    ));
    Ok(())
}

/// URL, code, and the URL as a picture for a phone.
pub(super) fn device(prompt: &DeviceCodePrompt, no_qr: bool, console: &mut Console) -> Result<(), Failure> {
    let url = checked(&prompt.verification_uri)?;
    let code: String = plain(&prompt.user_code).chars().take(USER_CODE_MAX).collect();
    let mut text =
        format!("Open this URL on any device, and type the code there:\n\n  {url}\n\n  code: {code}\n\n");
    // The complete URL only saves typing; a broken one is left out.
    let complete = Some(&prompt.verification_uri_complete).filter(|url| !url.is_empty());
    let complete = complete.and_then(|url| checked(url).ok());
    if let Some(complete) = &complete {
        let lead = "Or open the URL that has the code in it, and compare the code:";
        text.extend([lead, "\n\n  ", complete, "\n\n"]);
    }
    if !no_qr {
        let variable = |name: &str| console.input.variable(name);
        text += &qr::drawn(complete.as_ref().unwrap_or(&url), qr::ink(variable)).unwrap_or_default();
    }
    console.complain(&text);
    Ok(())
}

pub(super) fn password_sent(prompt: &OtpPrompt, until: Option<&Timestamp>, console: &mut Console) {
    let within = until.map(|until| format!("; it can be used {}", times::within(until, &(console.now)())));
    let text = format!(
        "A one-time password was sent to {}{}.\n",
        plain(&prompt.sent_to),
        within.unwrap_or_default()
    );
    console.complain(&text);
}

/// What follows the question mark of a URL, up to the fragment; the text itself where it is no URL.
pub(super) fn query_of(given: &str) -> &str {
    let given = given.trim();
    let query = given.split_once('?').map_or(given, |(_, query)| query);
    query.split_once('#').map_or(query, |(query, _)| query)
}

fn checked(url: &str) -> Result<String, Failure> {
    let url = web_address(url).map_err(|_| {
        Failure::Local(anyhow::anyhow!(
            "the provider gave something to open that is not a web address: check its profile with \
             `bursar provider show`"
        ))
    })?;
    Ok(plain(url.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_taken_out_of_what_was_pasted() {
        let cases = [
            ("code=1&state=2", "code=1&state=2"),
            (" code=1&state=2\n", "code=1&state=2"),
            ("?code=1", "code=1"),
            ("https://app.example.com/back?code=1&state=2#top", "code=1&state=2"),
            ("https://app.example.com/back?code=a?b", "code=a?b"),
            ("", ""),
        ];
        for (given, want) in cases {
            assert_eq!(query_of(given), want, "{given}");
        }
    }
}
