//! Checks what a profile asks the broker to speak: client authentication, grants, and what is sent with them.

use super::Findings;
use crate::{
    domain::profile::{ClientAuth, Dialect, GrantKind, Revocation},
    provider::catalogue::written::Written,
};
use std::collections::BTreeMap;

/// What SAP Concur does not know of grants.
const NOT_CONCUR: [GrantKind; 4] =
    [GrantKind::DeviceCode, GrantKind::JwtBearer, GrantKind::SamlBearer, GrantKind::TokenExchange];

/// Parameters of authorization requests that the broker itself decides on.
const AUTHORIZATION_RESERVED: [&str; 12] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "redirect_uri",
    "request",
    "request_uri",
    "resource",
    "response_mode",
    "response_type",
    "scope",
    "state",
];
/// The same for token requests.
const TOKEN_RESERVED: [&str; 20] = [
    "actor_token",
    "actor_token_type",
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "requested_token_type",
    "resource",
    "scope",
    "subject_token",
    "subject_token_type",
    "username",
];
const PARAMETERS_MAX: usize = 32;
const PARAMETER_NAME_MAX: usize = 64;
const PARAMETER_VALUE_MAX: usize = 1024;
const OFFLINE_SCOPES_MAX: usize = 16;
const SCOPE_MAX: usize = 256;
/// Characters of PEM.
const CERTIFICATES_MAX: usize = 32 * 1024;

impl Findings {
    pub(super) fn methods(&mut self, written: &Written) {
        if written.client_auth.is_empty() {
            self.missing("client_auth", "name at least one method, as `client_secret_basic`");
        }
        if written.grants.is_empty() {
            self.missing("grants", "name at least one grant, as `refresh_token`");
        }
        let foreign = written.dialect == Some(Dialect::Rfc6749)
            && (written.grants.contains(&GrantKind::CompanyRequestToken)
                || written.grants.contains(&GrantKind::Otp)
                || written.revocation == Revocation::ConcurDelete);
        if foreign {
            let mend =
                "leave out company_request_token, otp and concur_delete, or set dialect = \"sap_concur\"";
            self.note("dialect", "does not know a grant or revocation of SAP Concur", mend);
        }
        let concur = written.dialect == Some(Dialect::SapConcur);
        if concur && written.grants.iter().any(|grant| NOT_CONCUR.contains(grant)) {
            let mend = format!("leave out {}", NOT_CONCUR.map(GrantKind::word).join(", "));
            self.note("grants", "names a grant that SAP Concur does not have", mend);
        }
        if concur && written.client_auth != [ClientAuth::ClientSecretPost] {
            self.note(
                "client_auth",
                "is more than SAP Concur reads",
                "write client_auth = [\"client_secret_post\"]",
            );
        }
    }

    /// What is sent along with every request.
    pub(super) fn extras(&mut self, written: &Written) {
        self.parameters(
            "authorization_parameters",
            &written.authorization_parameters,
            &AUTHORIZATION_RESERVED,
        );
        self.parameters("token_parameters", &written.token_parameters, &TOKEN_RESERVED);
        let is_scope = |scope: &String| {
            let graphic = |b: u8| b.is_ascii_graphic() && b != b'"' && b != b'\\';
            !scope.is_empty() && scope.len() <= SCOPE_MAX && scope.bytes().all(graphic)
        };
        if written.offline_scopes.len() > OFFLINE_SCOPES_MAX || !written.offline_scopes.iter().all(is_scope) {
            let mend = format!("write at most {OFFLINE_SCOPES_MAX} scopes, each a text without blanks");
            self.note("offline_scopes", "is no list of scopes", mend);
        }
        if written.signing_algs.as_ref().is_some_and(Vec::is_empty) {
            self.note("signing_algs", "is empty", "name an algorithm, or leave the key out");
        }
        let pem = written.ca_certificates.as_deref();
        if pem.is_some_and(|pem| pem.len() > CERTIFICATES_MAX || !pem.contains("-----BEGIN CERTIFICATE-----"))
        {
            let mend = "write certificates as PEM text, at most 32 KiB, between \"\"\" and \"\"\"";
            self.note("ca_certificates", "has no certificate, or is too long", mend);
        }
        if pem.is_some_and(|pem| pem.contains("PRIVATE KEY")) {
            let mend = "leave the private key out, and take it for known to others";
            self.note("ca_certificates", "has a private key in it", mend);
        }
    }

    fn parameters(&mut self, table: &str, given: &BTreeMap<String, String>, reserved: &[&str]) {
        if given.len() > PARAMETERS_MAX {
            self.note(
                table,
                format!("has {} entries", given.len()),
                format!("keep at most {PARAMETERS_MAX}"),
            );
        }
        for (name, value) in given {
            let key = format!("{table}.{}", name.escape_debug());
            let is_name = !name.is_empty()
                && name.len() <= PARAMETER_NAME_MAX
                && name.bytes().all(|b| b.is_ascii_graphic());
            if !is_name {
                let mend = format!("use 1 to {PARAMETER_NAME_MAX} visible ASCII characters");
                self.note(&key, "is not the name of a parameter", mend);
            } else if reserved.contains(&name.as_str()) {
                self.note(&key, "is a parameter that the broker decides on", "leave it out");
            }
            if value.is_empty() || value.len() > PARAMETER_VALUE_MAX || value.chars().any(char::is_control) {
                self.note(&key, "is empty, too long, or has control characters", "mend its value");
            }
        }
    }
}
