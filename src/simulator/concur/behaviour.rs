//! How a simulated Concur behaves: all switches, their defaults, where it listens.
//! Only data.

use crate::simulator::{
    Member,
    consent::Consent,
    refresh_tokens::{Expiry, HALF_A_YEAR_SECONDS, OnReuse, RefreshRules, Rotation, Shape, Superseded},
    world,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// What to simulate. Everything but ports and the state file's path is ignored when the state file exists.
#[derive(Debug, Clone)]
pub struct Options {
    pub data_centres: Vec<DataCentre>,
    /// 0 is any free port.
    pub control_port: u16,
    pub behaviour: Behaviour,
    /// Where the whole state is kept over restarts, if anywhere.
    pub state_file: Option<PathBuf>,
    /// The same seed gives the same identifiers and tokens; absent: other ones each time.
    pub seed: Option<u64>,
}

/// One virtual data centre.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataCentre {
    /// Lower-case letters and digits: `us2`.
    pub name: String,
    /// 0 is any free port.
    pub port: u16,
    pub reach: Reach,
}

/// Whose first exchanges a data centre answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Only of those who live there; others are told code 16.
    Home,
    /// Of everybody, as the Global Landing Zone; refreshes still go home.
    Global,
}

/// The switches that can be turned while it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Behaviour {
    pub access_token_seconds: u64,
    pub refresh: RefreshRules,
    pub request_token_seconds: u64,
    /// Successful exchanges per request token; absent is unlimited.
    pub request_token_uses: Option<u32>,
    pub expires_in: NumberForm,
    pub refresh_expires_in: Member,
    /// Sent only with scope `openid` anyway.
    pub id_token: Member,
    pub geolocation: GeolocationForm,
    /// `concur-correlationid` in the body of errors.
    pub body_correlation_id: Member,
    /// The claims `concur.profile` and `concur.app` that SAP announced to remove.
    pub url_claims: Member,
    /// HTTP status by error code, where it is not to be the default.
    pub statuses: BTreeMap<u16, u16>,
    #[serde(default)]
    pub authorize: AuthorizeRules,
    #[serde(default)]
    pub otp: OtpRules,
}

/// The browser's part of a first exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthorizeRules {
    pub consent: Consent,
    /// Whether `state` comes back; SAP does not say.
    pub state: Member,
    /// Life of a code; SAP does not say.
    pub code_seconds: u64,
}

/// One-time passwords; SAP publishes neither number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtpRules {
    pub seconds: u64,
    /// Open ones per address; one more is refused with code 82.
    pub open_max: usize,
}

impl Default for AuthorizeRules {
    fn default() -> Self {
        Self { consent: Consent::Ask, state: Member::Sent, code_seconds: 600 }
    }
}

impl Default for OtpRules {
    fn default() -> Self {
        Self { seconds: 600, open_max: 3 }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NumberForm {
    Number,
    Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GeolocationForm {
    Plain,
    /// With `/oauth2/v0/token` appended.
    WithPath,
    UpperCase,
    LeftOut,
}

impl world::Behaviour for Behaviour {
    fn refresh_rules(&self) -> &RefreshRules {
        &self.refresh
    }
}

impl Default for Options {
    fn default() -> Self {
        let centre = |name: &str, reach| DataCentre { name: name.to_owned(), port: 0, reach };
        Self {
            data_centres: vec![
                centre("us2", Reach::Home),
                centre("eu2", Reach::Home),
                centre("apj1", Reach::Home),
                centre("glz", Reach::Global),
            ],
            control_port: 0,
            behaviour: Behaviour::default(),
            state_file: None,
            seed: None,
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            access_token_seconds: 3600,
            refresh: RefreshRules {
                rotation: Rotation::Same,
                superseded: Superseded::Dead,
                on_reuse: OnReuse::RefuseIt,
                expiry: Expiry::Sliding { seconds: HALF_A_YEAR_SECONDS },
                shape: Shape::Uuid,
            },
            request_token_seconds: 86_400,
            request_token_uses: Some(5),
            expires_in: NumberForm::Number,
            refresh_expires_in: Member::Sent,
            id_token: Member::Sent,
            geolocation: GeolocationForm::Plain,
            body_correlation_id: Member::LeftOut,
            url_claims: Member::LeftOut,
            statuses: BTreeMap::new(),
            authorize: AuthorizeRules::default(),
            otp: OtpRules::default(),
        }
    }
}
