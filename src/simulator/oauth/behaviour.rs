//! How the plain authorization server behaves: all switches, their defaults, where it listens.
//! Only data.

use crate::simulator::{
    consent::Consent,
    refresh_tokens::{Expiry, OnReuse, RefreshRules, Rotation, Shape, Superseded},
    world,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// What to simulate. Everything but ports and the state file's path is ignored when the state file exists.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// 0 is any free port.
    pub port: u16,
    pub control_port: u16,
    pub behaviour: Behaviour,
    /// Where the whole state is kept over restarts, if anywhere.
    pub state_file: Option<PathBuf>,
    /// The same seed gives the same identifiers and tokens; absent: other ones each time.
    pub seed: Option<u64>,
}

/// The switches that can be turned while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    pub access_token_seconds: u64,
    pub access_token: TokenForm,
    pub refresh: RefreshRules,
    #[serde(default)]
    pub authorize: AuthorizeRules,
    #[serde(default)]
    pub device: DeviceRules,
    #[serde(default)]
    pub dpop: DpopRules,
    /// Scopes that every answer has beside those that were granted: more than was asked for.
    #[serde(default)]
    pub extra_scopes: Vec<String>,
    /// Another issuer in the metadata than the one it is asked for.
    #[serde(default)]
    pub metadata_issuer: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenForm {
    Opaque,
    /// With the claims of RFC 9068.
    Jwt,
}

/// The browser's part of a first exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorizeRules {
    pub consent: Consent,
    /// The parameter `iss` of the response (RFC 9207).
    pub iss: Iss,
    /// Life of a code.
    pub code_seconds: u64,
    /// Life of a pushed request (RFC 9126).
    pub request_uri_seconds: u64,
    pub pushed: Needed,
    pub pkce: Needed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Iss {
    Right,
    /// That of somebody else.
    Wrong,
    LeftOut,
}

/// Whether a request has to use what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Needed {
    Optional,
    Required,
}

/// RFC 8628.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceRules {
    pub seconds: u64,
    /// Between two polls at least; what comes sooner is told `slow_down`, and five seconds are added.
    pub interval_seconds: u64,
}

/// RFC 9449.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DpopRules {
    pub nonce: NonceRule,
    pub nonce_seconds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NonceRule {
    NotAsked,
    /// The newest one has to be in the proof.
    Asked,
    /// There is always a newer one.
    NeverGood,
}

impl Default for AuthorizeRules {
    fn default() -> Self {
        Self {
            consent: Consent::Ask,
            iss: Iss::Right,
            code_seconds: 60,
            request_uri_seconds: 90,
            pushed: Needed::Optional,
            pkce: Needed::Optional,
        }
    }
}

impl Default for DeviceRules {
    fn default() -> Self {
        Self { seconds: 600, interval_seconds: 5 }
    }
}

impl Default for DpopRules {
    fn default() -> Self {
        Self { nonce: NonceRule::NotAsked, nonce_seconds: 300 }
    }
}

impl Default for Behaviour {
    /// What RFC 9700 §4.14.2 recommends: every refresh rotates, and reuse ends the family.
    fn default() -> Self {
        Self {
            access_token_seconds: 3600,
            access_token: TokenForm::Jwt,
            refresh: RefreshRules {
                rotation: Rotation::RotateEvery,
                superseded: Superseded::Dead,
                on_reuse: OnReuse::RevokeFamily,
                expiry: Expiry::Sliding { seconds: 30 * 86_400 },
                shape: Shape::Base36,
            },
            authorize: AuthorizeRules::default(),
            device: DeviceRules::default(),
            dpop: DpopRules::default(),
            extra_scopes: Vec::new(),
            metadata_issuer: None,
        }
    }
}

impl world::Behaviour for Behaviour {
    fn refresh_rules(&self) -> &RefreshRules {
        &self.refresh
    }
}
