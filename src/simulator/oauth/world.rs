//! What the plain authorization server knows: its clients and switches; and the orders that change it.
//! Answers no client: that is `answer`.

use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        refresh_tokens::{Expiry, OnReuse, Owner, RefreshRules, Rotation, Shape, Superseded},
        world::{self, Basics, require_seedable},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

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
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenForm {
    Opaque,
    /// With the claims of RFC 9068.
    Jwt,
}

/// A registered client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    pub id: String,
    /// Each of them is good.
    pub secrets: Vec<String>,
    pub authentication: Authentication,
    /// `client_credentials`, `refresh_token`.
    pub grants: BTreeSet<String>,
    pub scopes: Vec<String>,
}

/// How a client has to show its secret (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    ClientSecretBasic,
    ClientSecretPost,
    #[default]
    Either,
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

/// The whole state of the plain authorization server.
#[derive(Debug, Serialize, Deserialize)]
pub struct World {
    pub(super) basics: Basics<Behaviour, Refusal>,
    pub(super) clients: BTreeMap<String, Client>,
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
        }
    }
}

impl world::Behaviour for Behaviour {
    fn refresh_rules(&self) -> &RefreshRules {
        &self.refresh
    }
}

impl Refusal {
    pub fn error(error: &str) -> Self {
        Self { error: error.to_owned(), description: None, status: None }
    }
}

impl World {
    pub(super) fn new(behaviour: Behaviour, seed: Option<u64>) -> Self {
        Self { basics: Basics::new(behaviour, seed), clients: BTreeMap::new() }
    }

    pub(super) fn put_client(&mut self, new: NewClient) -> Result<Client, SimulatorError> {
        let mut secrets = new.secrets;
        if secrets.is_empty() {
            secrets.push(self.basics.dice.base36(40));
        }
        let client = Client {
            id: new.id.unwrap_or_else(|| self.basics.dice.uuid()),
            secrets,
            authentication: new.authentication,
            grants: new.grants.unwrap_or_else(|| super::grants::GRANTS.map(str::to_owned).into()),
            scopes: new.scopes.unwrap_or_else(|| ["read", "write"].map(str::to_owned).into()),
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
        let owner = Owner { app: client.to_owned(), principal: subject.clone(), scope };
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
}
