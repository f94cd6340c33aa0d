//! SAP Concur as an authorization server: several data centres, each on a loopback port of its own, with everything
//! that makes Concur different from a plain RFC 6749 server. Made from SAP's public documentation; what that leaves
//! open can be switched in [`Behaviour`]. Not simulated: the token exchange of before 2017 and every other API.
//!
//! The same orders can be given by the methods of [`ConcurSimulator`] and over its control endpoint.

mod answer;
mod authorize;
mod behaviour;
mod codes;
mod control;
pub mod demo;
mod grants;
mod issue;
mod otp;
mod records;
mod secrets;
#[cfg(test)]
mod tests;
mod world;

pub use behaviour::{
    AuthorizeRules, Behaviour, DataCentre, GeolocationForm, NumberForm, Options, OtpRules, Reach,
};
pub use records::{App, AppStatus, Connected, Kind, Mail, Move, NewApp, NewPrincipal, Refusal, RequestToken};
pub use world::World;

use super::{
    SimulatorError,
    host::{self, Simulator},
};
use crate::clock::Clock;
use serde_json::Value;
use std::sync::Arc;

/// A running simulated Concur; its sites are the data centres.
pub type ConcurSimulator = Simulator<World>;

/// Listens and serves. With a state file that exists, its state is taken up, options' behaviour notwithstanding.
pub async fn start(options: Options, clock: Arc<dyn Clock>) -> Result<ConcurSimulator, SimulatorError> {
    if options.data_centres.is_empty() {
        return Err(SimulatorError::Invalid("there is at least one data centre".to_owned()));
    }
    let plan = host::Plan {
        sites: options.data_centres.iter().map(|centre| (centre.name.clone(), centre.port)).collect(),
        control_port: options.control_port,
        state_file: options.state_file,
    };
    let fresh = World::new(options.behaviour, options.data_centres, options.seed);
    host::start(plan, clock, fresh).await
}

impl ConcurSimulator {
    /// Registers an app, or replaces the one with this id.
    pub fn app(&self, new: NewApp) -> Result<App, SimulatorError> {
        self.host().change(|world, _| world.put_app(new))?
    }

    /// Changes the members of an app that `change` names: `{"status": "disabled"}`.
    pub fn change_app(&self, app: &str, change: &Value) -> Result<App, SimulatorError> {
        self.host().change(|world, _| world.change_app(app, change))?
    }

    /// Creates a company or user, or replaces the one with this id; returns its id.
    pub fn principal(&self, new: NewPrincipal) -> Result<String, SimulatorError> {
        self.host().change(|world, _| world.put_principal(new))?
    }

    /// Creates a company that lives in a data centre; returns its UUID.
    pub fn company(&self, data_centre: &str) -> Result<String, SimulatorError> {
        self.principal(NewPrincipal { data_centre: Some(data_centre.to_owned()), ..NewPrincipal::default() })
    }

    /// Makes a request token, as an administrator of the company does.
    pub fn request_token(&self, company: &str, app: &str) -> Result<RequestToken, SimulatorError> {
        self.host().change(|world, now| world.make_request_token(now, company, app))?
    }

    /// Makes what [`demo`] names, where it is not there already; returns a new request token.
    pub fn furnish(&self) -> Result<String, SimulatorError> {
        self.host().change(World::furnish)?
    }

    /// What lies in the mailboxes: one-time passwords that are open.
    pub fn mailbox(&self) -> Result<Vec<Mail>, SimulatorError> {
        self.host().change(|world, now| world.mailbox(now))
    }

    /// Moves a company to another data centre; code 16 leads by `via` first, if given.
    pub fn move_company(
        &self,
        company: &str,
        to: &str,
        how: Move,
        via: Option<&str>,
    ) -> Result<(), SimulatorError> {
        let via = via.map(str::to_owned);
        self.host().change(|world, _| world.move_company(company, to, how, via))?
    }

    /// From now on refuses everything about a company or user with a code; `None` ends that.
    pub fn refuse(&self, principal: &str, code: Option<u16>) -> Result<(), SimulatorError> {
        self.host().change(|world, _| world.refuse(principal, code))?
    }

    /// Disconnects as the company's administrator does: code 53; the refresh tokens survive a new [`Self::connect`].
    pub fn disconnect(&self, principal: &str, app: &str) -> Result<(), SimulatorError> {
        self.host().change(|world, _| world.disconnect(principal, app))?
    }

    pub fn connect(&self, principal: &str, app: &str) -> Result<(), SimulatorError> {
        self.host().change(|world, _| world.connect(principal, app))?
    }

    /// Ends all refresh tokens of a company or user, for one app or for all: code 108.
    pub fn revoke(&self, principal: &str, app: Option<&str>) -> Result<(), SimulatorError> {
        self.host().change(|world, _| world.revoke(principal, app))?
    }

    /// Creates companies that are connected already; at most [`super::SEEDED_MAX`].
    pub fn seed_connections(
        &self,
        app: &str,
        count: usize,
        data_centre: Option<&str>,
    ) -> Result<Vec<Connected>, SimulatorError> {
        self.host().change(|world, now| world.seed_connections(now, app, count, data_centre))?
    }
}
