//! What the plain authorization server knows: clients, people, codes; and the orders that change it.
//! Answers no client: that is `answer`.

use super::{behaviour::Behaviour, grants};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        refresh_tokens::Owner,
        tickets::Tickets,
        world::{Basics, require_seedable},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub id: String,
    /// Each of them is good. A public client has none.
    pub secrets: Vec<String>,
    pub authentication: Authentication,
    /// Values of `grant_type`.
    pub grants: BTreeSet<String>,
    pub scopes: Vec<String>,
    /// Where a browser may be sent back to; one that ends in `*` stands for all that begin so.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Its public keys (RFC 7517).
    #[serde(default)]
    pub jwks: Option<Value>,
}

/// How a client has to show who it is (RFC 6749 §2.3, RFC 7523 §2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    ClientSecretBasic,
    ClientSecretPost,
    /// One of the two above.
    #[default]
    Either,
    ClientSecretJwt,
    PrivateKeyJwt,
    /// A public client.
    None,
}

/// A client to register; what is absent is made up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewClient {
    pub id: Option<String>,
    pub secrets: Vec<String>,
    pub authentication: Authentication,
    pub grants: Option<BTreeSet<String>>,
    pub scopes: Option<Vec<String>>,
    pub redirect_uris: Vec<String>,
    pub jwks: Option<Value>,
}

/// A refusal in the words of RFC 6749 §5.2.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub error: String,
    #[serde(default)]
    pub description: Option<String>,
    /// Absent: 401 for `invalid_client`, else 400.
    #[serde(default)]
    pub status: Option<u16>,
}

/// A connection as made by order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    pub subject: String,
    pub refresh_token: String,
    pub refresh_expires_at: Timestamp,
}

/// What an authorization code stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Code {
    pub(super) owner: Owner,
    pub(super) redirect_uri: String,
    pub(super) challenge: Option<String>,
    pub(super) nonce: Option<String>,
    /// The refresh token it brought, once it was used.
    pub(super) spent_for: Option<String>,
}

/// What a device code stands for (RFC 8628).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Device {
    pub(super) client: String,
    pub(super) user_code: String,
    pub(super) scope: Vec<String>,
    pub(super) resource: Vec<String>,
    pub(super) decided: DeviceDecision,
    pub(super) interval_seconds: u64,
    pub(super) polled_at: Option<Timestamp>,
    pub(super) expires_at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum DeviceDecision {
    Open,
    Allowed { subject: String },
    Denied,
}

/// The whole state of the plain authorization server.
#[derive(Debug, Serialize, Deserialize)]
pub struct World {
    pub(super) basics: Basics<Behaviour, Refusal>,
    pub(super) clients: BTreeMap<String, Client>,
    /// Passwords by login, for the grant `password` (RFC 6749 §4.3).
    #[serde(default)]
    pub(super) users: BTreeMap<String, String>,
    /// Keys of those whose assertions are believed, by issuer (RFC 7523).
    #[serde(default)]
    pub(super) trusted: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) codes: Tickets<Code>,
    /// Pushed authorization requests: the form as it came (RFC 9126).
    #[serde(default)]
    pub(super) pushed: Tickets<Vec<(String, String)>>,
    #[serde(default)]
    pub(super) devices: Tickets<Device>,
    /// Claims of opaque access tokens.
    #[serde(default)]
    pub(super) opaque: Tickets<Value>,
    /// `jti` of access tokens that were revoked.
    #[serde(default)]
    pub(super) revoked: Tickets<()>,
    /// `jti` of assertions and proofs that were used.
    #[serde(default)]
    pub(super) seen: Tickets<()>,
    /// For proofs of possession, and until when.
    #[serde(default)]
    pub(super) nonce: Option<(String, Timestamp)>,
}

impl Refusal {
    pub fn error(error: &str) -> Self {
        Self { error: error.to_owned(), description: None, status: None }
    }
}

impl World {
    pub(super) fn new(behaviour: Behaviour, seed: Option<u64>) -> Self {
        Self {
            basics: Basics::new(behaviour, seed),
            clients: BTreeMap::new(),
            users: BTreeMap::new(),
            trusted: BTreeMap::new(),
            codes: Tickets::default(),
            pushed: Tickets::default(),
            devices: Tickets::default(),
            opaque: Tickets::default(),
            revoked: Tickets::default(),
            seen: Tickets::default(),
            nonce: None,
        }
    }

    pub(super) fn put_client(&mut self, new: NewClient) -> Result<Client, SimulatorError> {
        let mut secrets = new.secrets;
        if secrets.is_empty() && new.authentication != Authentication::None {
            secrets.push(self.basics.dice.base36(40));
        }
        let client = Client {
            id: new.id.unwrap_or_else(|| self.basics.dice.uuid()),
            secrets,
            authentication: new.authentication,
            grants: new.grants.unwrap_or_else(|| grants::GRANTS.map(str::to_owned).into()),
            scopes: new.scopes.unwrap_or_else(|| ["read", "write"].map(str::to_owned).into()),
            redirect_uris: new.redirect_uris,
            jwks: new.jwks,
        };
        if client.secrets.iter().any(String::is_empty) {
            return Err(SimulatorError::Invalid("an empty secret is none".to_owned()));
        }
        self.clients.insert(client.id.clone(), client.clone());
        Ok(client)
    }

    pub(super) fn connect(
        &mut self,
        now: Timestamp,
        client: &str,
        subject: &str,
        scope: Option<Vec<String>>,
    ) -> Result<Connected, SimulatorError> {
        let known = self.clients.get(client).ok_or_else(|| SimulatorError::unknown("client", client))?;
        let scope = scope.unwrap_or_else(|| known.scopes.clone());
        let subject = subject.to_ascii_lowercase();
        let owner = Owner { app: client.to_owned(), principal: subject.clone(), scope, ..Owner::default() };
        let handed = self.basics.issue(now, owner);
        Ok(Connected { subject, refresh_token: handed.token, refresh_expires_at: handed.expires_at })
    }

    pub(super) fn seed_connections(
        &mut self,
        now: Timestamp,
        client: &str,
        count: usize,
    ) -> Result<Vec<Connected>, SimulatorError> {
        require_seedable(count)?;
        (0..count)
            .map(|_| {
                let subject = self.basics.dice.uuid();
                self.connect(now, client, &subject, None)
            })
            .collect()
    }

    pub(super) fn revoke(&mut self, subject: &str, client: Option<&str>) {
        self.basics.refresh_tokens.revoke_principal(&subject.to_ascii_lowercase(), client);
    }

    /// What a person says on the page for devices; with the code as it was shown.
    pub(super) fn decide_device(
        &mut self,
        now: Timestamp,
        user_code: &str,
        decided: DeviceDecision,
    ) -> Result<(), SimulatorError> {
        let plain = |text: &str| text.replace('-', "").to_ascii_uppercase();
        let wanted = plain(user_code);
        let found = self
            .devices
            .all_good(now)
            .find(|(_, device)| plain(&device.user_code) == wanted && device.expires_at > now);
        let text = found
            .map(|(text, _)| text.to_owned())
            .ok_or_else(|| SimulatorError::unknown("user code", user_code))?;
        if let Some(device) = self.devices.good_mut(now, &text) {
            device.decided = decided;
        }
        Ok(())
    }
}
