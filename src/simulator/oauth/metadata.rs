//! What the plain authorization server says of itself (RFC 8414, OpenID Connect Discovery 1.0). Only what is true.

use super::{
    behaviour::{Behaviour, Iss, Needed},
    grants::GRANTS,
};
use serde_json::{Value, json};

/// RFC 8414 §3 and OpenID Connect Discovery §4.
pub(super) const PATHS: [&str; 2] =
    ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
const METHODS: [&str; 5] =
    ["client_secret_basic", "client_secret_post", "client_secret_jwt", "private_key_jwt", "none"];
const ALGORITHMS: [&str; 4] = ["ES256", "PS256", "RS256", "EdDSA"];

pub(super) fn metadata(base: &str, behaviour: &Behaviour) -> Value {
    let at = |path: &str| format!("{base}{path}");
    let signing = [&ALGORITHMS[..], &["HS256"]].concat();
    json!({
        "issuer": behaviour.metadata_issuer.as_deref().unwrap_or(base),
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "revocation_endpoint": at("/revoke"),
        "introspection_endpoint": at("/introspect"),
        "pushed_authorization_request_endpoint": at("/par"),
        "device_authorization_endpoint": at("/device_authorization"),
        "jwks_uri": at("/jwks"),
        "grant_types_supported": GRANTS,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": signing,
        "revocation_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": signing,
        "introspection_endpoint_auth_methods_supported": METHODS[..4],
        "introspection_endpoint_auth_signing_alg_values_supported": signing,
        "dpop_signing_alg_values_supported": ALGORITHMS,
        "authorization_response_iss_parameter_supported": behaviour.authorize.iss != Iss::LeftOut,
        "require_pushed_authorization_requests": behaviour.authorize.pushed == Needed::Required,
        "scopes_supported": ["openid", "read", "write"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}
