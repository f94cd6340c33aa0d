//! What begins a consent: in a browser, on another device, with a one-time password.

use super::Problem;
use crate::{
    api::start_authorization_request::Method,
    broker::admin::consent::Start,
    domain::{authorization::Principals, token::Secret},
};

/// Longest URL, and longest hint of whom to log in, in characters.
const URL_MAX: usize = 2048;
const HINT_MAX: usize = 256;
const EMAIL_MAX: usize = 320;
const OTP_MAX: usize = 512;
/// Further parameters for the provider's mail: how many, and their longest key and value.
const PARAMETERS_MAX: usize = 16;
const KEY_MAX: usize = 64;
const VALUE_MAX: usize = 1024;
/// Parameters of the protocol itself, which a mail cannot have.
const RESERVED: &[&str] = &[
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "channel_type",
    "channel_handle",
    "grant_type",
    "scope",
    "otp",
    "code",
    "redirect_uri",
    "refresh_token",
    "resource",
    "state",
];

pub fn start(method: Option<Method>) -> Result<Start, Problem> {
    match method {
        None => Err(Problem::field("method", "is required: set authorization_code, device_code or otp")),
        Some(Method::DeviceCode(_)) => Ok(Start::Device),
        Some(Method::AuthorizationCode(start)) => Ok(Start::Browser {
            return_uri: url("method.authorization_code.return_uri", start.return_uri)?,
            redirect_uri: url("method.authorization_code.redirect_uri", start.redirect_uri)?,
            login_hint: plain("method.authorization_code.login_hint", start.login_hint, HINT_MAX)?,
        }),
        Some(Method::Otp(start)) => {
            let field = "method.otp.email";
            let email = plain(field, start.email, EMAIL_MAX)?
                .filter(|email| email.contains('@'))
                .ok_or_else(|| Problem::field(field, "is required: a mail address"))?;
            Ok(Start::Otp { email, parameters: parameters(start.parameters)? })
        }
    }
}

pub const fn principals(change: bool) -> Principals {
    if change { Principals::Any } else { Principals::Same }
}

pub fn otp(given: String) -> Result<Secret, Problem> {
    match given.chars().count() {
        1..=OTP_MAX => Ok(Secret::new(given)),
        _ => Err(Problem::field("completion.otp.otp", format!("is required: 1 to {OTP_MAX} characters"))),
    }
}

/// Exactly as it is on the list: it is compared there.
fn url(field: &'static str, given: String) -> Result<Option<String>, Problem> {
    match given.len() {
        0 => Ok(None),
        1..=URL_MAX => Ok(Some(given)),
        _ => Err(Problem::field(field, format!("is longer than {URL_MAX} characters"))),
    }
}

fn plain(field: &'static str, given: String, most: usize) -> Result<Option<String>, Problem> {
    if given.is_empty() {
        return Ok(None);
    }
    if given.chars().count() > most || given.chars().any(char::is_control) {
        return Err(Problem::field(field, format!("is at most {most} characters without control ones")));
    }
    Ok(Some(given))
}

type Parameters = std::collections::BTreeMap<String, String>;

fn parameters(given: Parameters) -> Result<Parameters, Problem> {
    let field = "method.otp.parameters";
    if given.len() > PARAMETERS_MAX {
        return Err(Problem::field(field, format!("has more than {PARAMETERS_MAX} parameters")));
    }
    for (key, value) in &given {
        let well_formed = (1..=KEY_MAX).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_graphic())
            && value.chars().count() <= VALUE_MAX;
        if !well_formed || RESERVED.contains(&key.to_ascii_lowercase().as_str()) {
            let mend = format!(
                "names are 1 to {KEY_MAX} visible ASCII characters and none of OAuth's own, values at most \
                 {VALUE_MAX} characters"
            );
            return Err(Problem::field(field, mend));
        }
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api;

    #[test]
    fn parameters_of_a_mail_are_none_of_the_protocols() {
        let of = |key: &str, value: &str| Parameters::from([(key.to_owned(), value.to_owned())]);
        assert!(parameters(of("name", "Anna")).is_ok());
        for (key, value) in [
            ("client_secret", "x"),
            ("Scope", "x"),
            ("", "x"),
            ("a b", "x"),
            ("name", "x".repeat(VALUE_MAX + 1).as_str()),
        ] {
            assert!(parameters(of(key, value)).is_err(), "{key}");
        }
    }

    #[test]
    fn a_start_names_its_way() {
        assert!(start(None).is_err());
        let otp =
            |email: &str| Method::Otp(api::OtpStart { email: email.into(), ..api::OtpStart::default() });
        assert!(start(Some(otp("anna"))).is_err());
        assert!(matches!(start(Some(otp("anna@example.com"))), Ok(Start::Otp { .. })));
    }
}
