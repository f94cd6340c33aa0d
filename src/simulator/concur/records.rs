//! The things a simulated Concur keeps: apps, companies and users, request tokens, refusals.
//! Only data; their rules are in `world` and `answer`.

use crate::clock::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An app as registered with SAP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct App {
    pub id: String,
    /// One or two; each is good.
    pub secrets: Vec<String>,
    pub status: AppStatus,
    /// `refresh_token`, `password`, `client_credentials`, `authorization_code`, `otp`.
    pub grants: BTreeSet<String>,
    pub scopes: Vec<String>,
    /// Who may connect; empty is everybody.
    pub principals: BTreeSet<String>,
    /// Where a browser may be sent back to; one that ends in `*` stands for all that begin so.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Where the app is known; empty is everywhere. Elsewhere: code 61, as for a sandbox's app in production.
    #[serde(default)]
    pub data_centres: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppStatus {
    Enabled,
    /// All its requests end with code 59.
    Disabled,
}

/// An app to register; what is absent is made up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewApp {
    pub id: Option<String>,
    pub secrets: Vec<String>,
    pub grants: Option<BTreeSet<String>>,
    pub scopes: Option<Vec<String>>,
    pub principals: BTreeSet<String>,
    pub redirect_uris: Vec<String>,
    pub data_centres: BTreeSet<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    #[default]
    Company,
    User,
}

/// A company or user to create; what is absent is made up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewPrincipal {
    pub id: Option<String>,
    pub kind: Kind,
    /// Its home; absent: the first data centre.
    pub data_centre: Option<String>,
    /// For `credtype=password`; also the address of one-time passwords, if it is one.
    pub login: Option<String>,
    pub password: Option<String>,
}

/// A company or user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Principal {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) home: String,
    /// Where code 16 leads first, before it leads home.
    pub(super) via: Option<String>,
    /// The former home that still answers one refresh with 200 and the new geolocation.
    pub(super) farewell: Option<String>,
    /// Every request for it ends with this code.
    pub(super) refused_with: Option<u16>,
    pub(super) disconnected_from: BTreeSet<String>,
    pub(super) login: Option<String>,
    pub(super) password: Option<String>,
}

impl Principal {
    /// Login ids are e-mail addresses, whose case does not matter.
    pub(super) fn is_called(&self, login: &str) -> bool {
        self.login.as_ref().is_some_and(|own| own.eq_ignore_ascii_case(login))
    }
}

/// What an authorization code stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Code {
    pub(super) app: String,
    pub(super) redirect_uri: String,
    pub(super) user: String,
    pub(super) scope: Vec<String>,
    /// `S256`, if the client sent one.
    pub(super) challenge: Option<String>,
}

/// What a one-time password stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Otp {
    pub(super) app: String,
    pub(super) user: String,
    pub(super) handle: String,
    /// What else was sent: it has to be sent again.
    pub(super) facts: BTreeMap<String, String>,
}

/// A message with a one-time password, as a user would find it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mail {
    pub to: String,
    pub otp: String,
    /// The client's `link` with the password in it, if there was one.
    pub link: Option<String>,
}

/// A secret as its app manages it; active are those that the app has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ManagedSecret {
    pub(super) id: String,
    pub(super) value: String,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
}

/// How a company leaves its data centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Move {
    /// The former home answers with code 16 from now on.
    #[default]
    Redirect,
    /// The former home answers the next refresh with 200 and the new geolocation, then with code 16.
    Farewell,
}

/// What an administrator of a company hands to the operator of an app; good for a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestToken {
    pub token: String,
    pub app: String,
    pub company: String,
    pub expires_at: Timestamp,
    /// Successful exchanges so far.
    pub uses: u32,
}

/// A refusal in Concur's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub code: u16,
    /// A base URI for the client to go to; normally only with code 16.
    #[serde(default)]
    pub geolocation: Option<String>,
}

impl Refusal {
    pub const fn code(code: u16) -> Self {
        Self { code, geolocation: None }
    }
}

/// A company that is connected already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    pub company: String,
    pub refresh_token: String,
    pub refresh_expires_at: Timestamp,
    pub geolocation: String,
}
