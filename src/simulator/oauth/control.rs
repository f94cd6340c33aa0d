//! The orders that only the plain authorization server understands, each a call of a method of the world.
//! Decides nothing.

use super::world::{DeviceDecision, NewClient, World};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        control::{done, value},
    },
};
use serde::Deserialize;
use serde_json::Value;

/// `POST /control/…`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    Client(NewClient),
    /// Somebody who can log in with the grant `password`.
    User {
        name: String,
        password: String,
    },
    /// Believes the assertions that are signed with these keys.
    Trust {
        issuer: String,
        jwks: Value,
    },
    /// What a person says on the page for devices.
    DecideDevice {
        user_code: String,
        decision: Answered,
        #[serde(default)]
        user: Option<String>,
    },
    Connection {
        client: String,
        subject: String,
        #[serde(default)]
        scope: Option<Vec<String>>,
    },
    SeedConnections {
        client: String,
        count: usize,
    },
    Revoke {
        subject: String,
        #[serde(default)]
        client: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answered {
    Allow,
    Deny,
}

impl World {
    pub(super) fn follow(&mut self, now: Timestamp, order: Order) -> Result<Value, SimulatorError> {
        match order {
            Order::Client(new) => value(&self.put_client(new)?),
            Order::User { name, password } => {
                self.users.insert(name, password);
                done(Ok(()))
            }
            Order::Trust { issuer, jwks } => {
                self.trusted.insert(issuer, jwks);
                done(Ok(()))
            }
            Order::DecideDevice { user_code, decision, user } => {
                let subject =
                    user.unwrap_or_else(|| super::authorize::SOMEBODY.to_owned()).to_ascii_lowercase();
                let decided = match decision {
                    Answered::Allow => DeviceDecision::Allowed { subject },
                    Answered::Deny => DeviceDecision::Denied,
                };
                done(self.decide_device(now, &user_code, decided))
            }
            Order::Connection { client, subject, scope } => {
                value(&self.connect(now, &client, &subject, scope)?)
            }
            Order::SeedConnections { client, count } => value(&self.seed_connections(now, &client, count)?),
            Order::Revoke { subject, client } => {
                self.revoke(&subject, client.as_deref());
                done(Ok(()))
            }
        }
    }
}
