//! A profile as its file spells it. Checks types and words only.

use crate::domain::profile::{
    AssertionAudience, ClientAuth, Dialect, Discovery, GrantKind, HostPattern, Introspection, MinimumTls,
    MissingTokenType, Offer, Overlap, Pkce, RefreshExpiry, RequestScopeSeparator, ResourceIndicators,
    ResponseIss, Reuse, Revocation, Rotation, Rule, ScopeSeparator, SigningAlg,
};
use std::collections::BTreeMap;

/// A file as it is written. Every key is described in docs/providers.md.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written {
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) display_name: String,
    pub(super) dialect: Option<Dialect>,
    #[serde(default)]
    pub(super) template: bool,
    pub(super) issuer: Option<String>,
    #[serde(default)]
    pub(super) discovery: Discovery,
    pub(super) token_endpoint: Option<String>,
    pub(super) authorization_endpoint: Option<String>,
    pub(super) device_authorization_endpoint: Option<String>,
    pub(super) pushed_authorization_request_endpoint: Option<String>,
    pub(super) introspection_endpoint: Option<String>,
    #[serde(default)]
    pub(super) introspection: Introspection,
    pub(super) revocation_endpoint: Option<String>,
    #[serde(default)]
    pub(super) revocation: Revocation,
    pub(super) jwks_uri: Option<String>,
    pub(super) userinfo_endpoint: Option<String>,
    #[serde(default)]
    pub(super) mtls_endpoint_aliases: WrittenAliases,
    #[serde(default)]
    pub(super) data_centers: BTreeMap<String, String>,
    pub(super) bootstrap_at: Option<String>,
    pub(super) authorize_at: Option<String>,
    #[serde(default)]
    pub(super) hosts: Vec<HostPattern>,
    #[serde(default)]
    pub(super) client_auth: Vec<ClientAuth>,
    #[serde(default)]
    pub(super) grants: Vec<GrantKind>,
    #[serde(default)]
    pub(super) pkce: Pkce,
    #[serde(default)]
    pub(super) response_iss: ResponseIss,
    #[serde(default)]
    pub(super) pushed_authorization: Offer,
    #[serde(default)]
    pub(super) resource_indicators: ResourceIndicators,
    #[serde(default)]
    pub(super) dpop: Offer,
    #[serde(default)]
    pub(super) offline_scopes: Vec<String>,
    #[serde(default)]
    pub(super) authorization_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) token_parameters: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) request_scope_separator: RequestScopeSeparator,
    #[serde(default)]
    pub(super) assertion_audience: AssertionAudience,
    pub(super) signing_algs: Option<Vec<SigningAlg>>,
    pub(super) ca_certificates: Option<String>,
    #[serde(default)]
    pub(super) minimum_tls: MinimumTls,
    #[serde(default)]
    pub(super) private_networks: Vec<String>,
    #[serde(default)]
    pub(super) rotation: Rotation,
    #[serde(default)]
    pub(super) reuse: Reuse,
    #[serde(default)]
    pub(super) overlap: Overlap,
    pub(super) grace: Option<String>,
    #[serde(default)]
    pub(super) refresh_expiry: RefreshExpiry,
    #[serde(default)]
    pub(super) lifetimes: WrittenLifetimes,
    #[serde(default)]
    pub(super) quirks: WrittenQuirks,
    pub(super) exchange_timeout: Option<String>,
    pub(super) retry_ceiling: Option<String>,
    #[serde(default)]
    pub(super) errors: BTreeMap<String, Rule>,
    #[serde(default)]
    pub(super) bootstrap_errors: BTreeMap<String, Rule>,
    #[serde(default)]
    pub(super) sources: Vec<WrittenSource>,
    /// Were put in their places before.
    #[serde(default)]
    #[expect(dead_code, reason = "so that the key is known")]
    pub(super) variables: BTreeMap<String, String>,
}

/// A document by its name alone, or with all that is known of it.
#[derive(Debug, serde::Deserialize)]
#[serde(untagged)]
pub(super) enum WrittenSource {
    Name(String),
    Full {
        document: String,
        url: Option<String>,
        read: Option<String>,
        #[serde(default)]
        says: Vec<String>,
    },
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenLifetimes {
    pub(super) access_default: Option<String>,
    pub(super) refresh_idle: Option<String>,
    pub(super) refresh_absolute: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenQuirks {
    #[serde(default)]
    pub(super) missing_token_type: MissingTokenType,
    #[serde(default)]
    pub(super) scope_separator: ScopeSeparator,
    #[serde(default)]
    pub(super) redirecting_hosts: Vec<HostPattern>,
    #[serde(default)]
    pub(super) bearer_words: Vec<String>,
    pub(super) nested_in: Option<String>,
    pub(super) code_field: Option<String>,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the keys as RFC 8705 has them")]
pub(super) struct WrittenAliases {
    pub(super) token_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) introspection_endpoint: Option<String>,
    pub(super) device_authorization_endpoint: Option<String>,
    pub(super) pushed_authorization_request_endpoint: Option<String>,
}
