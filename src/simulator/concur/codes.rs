//! The numeric error codes of the Concur token endpoint with what they look like on the wire.
//! Texts are protocol constants as published; HTTP statuses other than those of 16 are assumptions, so they can be overridden.

/// One refusal as the wire shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) number: u16,
    pub(super) error: &'static str,
    pub(super) description: &'static str,
    pub(super) status: u16,
}

/// How `/oauth2/v0/token` and `/oauth2/v0/otp` refuse.
pub(super) const CODES: [Code; 54] = [
    code(5, INVALID_GRANT, "Incorrect credentials. Please Retry", 400),
    code(10, INVALID_GRANT, "Account is disabled. Please contact support", 400),
    code(11, INVALID_GRANT, "Account is disabled. Please contact support", 400),
    code(12, INVALID_GRANT, "Logon Denied. Please contact support", 400),
    code(13, INVALID_GRANT, "Logon Denied. Please contact support", 400),
    code(14, INVALID_GRANT, "Account Locked. Please contact support", 400),
    code(16, INVALID_REQUEST, "user lives elsewhere", 400),
    code(19, INVALID_GRANT, "Incorrect credentials. Please Retry", 400),
    code(20, INVALID_GRANT, "Logon Denied. Please contact support", 400),
    code(21, INVALID_REQUEST, "Incorrect credentials.", 400),
    code(51, INVALID_REQUEST, "username was not supplied", 400),
    code(52, INVALID_REQUEST, "password was not supplied", 400),
    code(53, INVALID_CLIENT, "company is not enabled for this client", 403),
    code(54, "invalid_scope", "requested scope exceeds granted scope", 400),
    code(55, INVALID_REQUEST, "we don't know this email", 400),
    code(56, INVALID_REQUEST, "otp was not supplied", 400),
    code(57, INVALID_REQUEST, "channel_type missing", 400),
    code(58, INVALID_REQUEST, "channel_handle missing", 400),
    code(59, "access_denied", "client disabled", 403),
    code(60, INVALID_GRANT, "these are not the grants you are looking for", 400),
    code(61, INVALID_CLIENT, "client not found", 401),
    code(62, INVALID_REQUEST, "client_id was not supplied", 400),
    code(63, INVALID_REQUEST, "client_secret was not supplied", 400),
    code(64, INVALID_CLIENT, "Incorrect credentials. Please Retry", 401),
    code(65, INVALID_REQUEST, "grant_type was not supplied", 400),
    code(80, INVALID_REQUEST, "invalid channel type", 400),
    code(81, INVALID_REQUEST, "bad channel handle", 400),
    code(82, INVALID_REQUEST, "the number of open otp requests has been exceeded", 400),
    code(83, INVALID_REQUEST, "otp not found", 400),
    code(84, INVALID_REQUEST, "fact verification failed", 400),
    code(85, INVALID_REQUEST, "otp verification failed", 400),
    code(100, INVALID_REQUEST, "backend does not know about this username", 400),
    code(101, INVALID_REQUEST, "code was not supplied", 400),
    code(102, INVALID_REQUEST, "redirect_uri was not supplied", 400),
    code(103, INVALID_REQUEST, "code is bad or expired", 400),
    code(104, INVALID_GRANT, "redirect_uri does not match the previous grant", 400),
    code(105, INVALID_GRANT, "this grant was not issued to you!", 400),
    code(106, INVALID_REQUEST, "refresh_token was not supplied", 400),
    code(107, INVALID_REQUEST, "refresh disallowed for app", 400),
    code(108, INVALID_GRANT, "bad or expired refresh token", 400),
    code(109, INVALID_REQUEST, "loginid was not supplied", 400),
    code(115, INVALID_REQUEST, "unauthenticated client will not be issued token!", 401),
    code(117, INVALID_REQUEST, "nonce is mandatory for this response_type", 400),
    code(118, INVALID_REQUEST, "display is invalid", 400),
    code(119, INVALID_REQUEST, "prompt is invalid", 400),
    code(120, INVALID_REQUEST, "credtype is invalid", 400),
    code(121, INVALID_REQUEST, "login_type is invalid", 400),
    code(122, INVALID_REQUEST, "proxies supplied are invalid", 400),
    code(123, INVALID_REQUEST, "principal is disabled", 400),
    code(124, INVALID_REQUEST, "product is invalid", 400),
    code(134, INVALID_REQUEST, "Company undergoing scheduled maintenance.", 400),
    code(135, INVALID_REQUEST, "unsupported request format", 400),
    code(136, INVALID_REQUEST, "Authtoken was not issued for you", 400),
    code(139, INVALID_REQUEST, "Logon Denied. Password must be changed to meet company policy.", 400),
];

const INVALID_REQUEST: &str = "invalid_request";
const INVALID_GRANT: &str = "invalid_grant";
const INVALID_CLIENT: &str = "invalid_client";

const fn code(number: u16, error: &'static str, description: &'static str, status: u16) -> Code {
    Code { number, error, description, status }
}

/// A number that nobody has published can be ordered all the same: clients must cope with it.
pub(super) fn look_up(number: u16) -> Code {
    let unknown = code(number, INVALID_REQUEST, "unknown", 400);
    CODES.iter().find(|known| known.number == number).copied().unwrap_or(unknown)
}

/// `/otp` words three refusals differently.
pub(super) fn otp_description(code: Code) -> &'static str {
    match code.number {
        57 => "channel_type was not supplied",
        58 => "channel_handle was not supplied",
        61 => "client_id is not known to us",
        _ => code.description,
    }
}
