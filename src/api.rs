//! The public API as generated from `proto/bursar/v1`: messages, server traits, clients. By hand there are
//! only the names of its status codes, for whoever shows one.

#![expect(clippy::pedantic, clippy::allow_attributes_without_reason, reason = "generated code")]

tonic::include_proto!("bursar.v1");

// `Debug` of everything that holds a secret.
include!(concat!(env!("OUT_DIR"), "/redacted.rs"));

/// Every file of the API, for reflection and for JSON with the proto's field names.
pub const DESCRIPTORS: &[u8] = tonic::include_file_descriptor_set!("api_descriptor");

/// Names of `google.rpc.Code`, by number.
pub const STATUS_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_message_with_a_secret_does_not_show_it() {
        let secret = || "canary-secret".to_owned();
        let request = CreateClientRequest {
            client_secret: Some(ClientSecretInput {
                value: Some(client_secret_input::Value::SharedSecret(secret())),
                ..Default::default()
            }),
            ..Default::default()
        };
        let token = Token { access_token: secret(), ..Default::default() };
        let grant = Grant {
            kind: Some(grant::Kind::RefreshToken(RefreshTokenGrant {
                refresh_token: secret(),
                ..Default::default()
            })),
        };
        let shown = format!("{request:?} {token:?} {grant:?}");
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("Token [secret]"), "{shown}");
    }

    #[test]
    fn every_status_code_has_its_own_name() {
        for (number, name) in (0..).zip(STATUS_CODES) {
            let code = tonic::Code::from_i32(number);
            assert_eq!(format!("{code:?}").to_uppercase(), name.replace('_', ""), "{number}");
        }
    }
}
