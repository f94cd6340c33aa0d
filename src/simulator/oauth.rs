//! A plain authorization server: RFC 6749 with everything around it that a client may be asked to do. Codes with PKCE,
//! pushed requests, devices, assertions, token exchange, proof of possession, resource indicators, introspection,
//! revocation, metadata and keys. Connections are made by consent or by order.
//!
//! The same orders can be given by the methods of [`OAuthSimulator`] and over its control endpoint.

mod answer;
mod authorize;
mod behaviour;
mod client_auth;
mod control;
pub mod demo;
mod device;
mod dpop;
mod grants;
mod issue;
mod metadata;
#[cfg(test)]
mod tests;
mod world;

pub use behaviour::{
    AuthorizeRules, Behaviour, DeviceRules, DpopRules, Iss, Needed, NonceRule, Options, TokenForm,
};
pub use world::{Authentication, Client, Connected, NewClient, Refusal, World};

use super::{
    SimulatorError,
    host::{self, Simulator},
};
use crate::clock::Clock;
use std::sync::Arc;

/// The only site of this server.
pub const SITE: &str = "oauth";

/// A running authorization server with one site, [`SITE`].
pub type OAuthSimulator = Simulator<World>;

/// Listens and serves. With a state file that exists, its state is taken up, options' behaviour notwithstanding.
pub async fn start(options: Options, clock: Arc<dyn Clock>) -> Result<OAuthSimulator, SimulatorError> {
    let plan = host::Plan {
        sites: vec![(SITE.to_owned(), options.port)],
        control_port: options.control_port,
        state_file: options.state_file,
    };
    host::start(plan, clock, World::new(options.behaviour, options.seed)).await
}

impl Simulator<World> {
    /// The token endpoint's URL.
    pub fn token_url(&self) -> String {
        self.base_url(SITE).unwrap_or_default() + "/token"
    }

    /// Makes what [`demo`] names, where it is not there already; returns a new refresh token.
    pub fn furnish(&self) -> Result<String, SimulatorError> {
        self.host().change(World::furnish)?
    }

    /// Registers a client, or replaces the one with this id.
    pub fn client(&self, new: NewClient) -> Result<Client, SimulatorError> {
        self.host().change(|world, _| world.put_client(new))?
    }

    /// Makes a refresh token for a subject, as if it had consented; absent scope is all of the client's.
    pub fn connection(
        &self,
        client: &str,
        subject: &str,
        scope: Option<Vec<String>>,
    ) -> Result<Connected, SimulatorError> {
        self.host().change(|world, now| world.connect(now, client, subject, scope))?
    }

    /// Makes connections of new subjects; at most [`super::SEEDED_MAX`].
    pub fn seed_connections(&self, client: &str, count: usize) -> Result<Vec<Connected>, SimulatorError> {
        self.host().change(|world, now| world.seed_connections(now, client, count))?
    }

    /// Ends all refresh tokens of a subject, for one client or for all: `invalid_grant`.
    pub fn revoke(&self, subject: &str, client: Option<&str>) -> Result<(), SimulatorError> {
        self.host().change(|world, _| world.revoke(subject, client))
    }
}
