//! What a simulated Concur that runs alone begins with, so that the first request needs no preparation.
//! Nothing in here is a secret: it is printed.

use super::{
    grants::GRANTS,
    records::{Kind, NewApp, NewPrincipal},
    world::World,
};
use crate::{clock::Timestamp, simulator::SimulatorError};

pub const APP: &str = "demo-app";
pub const SECRET: &str = "demo-secret";
/// Lives in the first data centre.
pub const COMPANY: &str = "c0ffee00-0000-4000-8000-000000000001";
/// Lives in the first data centre.
pub const LOGIN: &str = "demo@example.com";
pub const PASSWORD: &str = "demo-password";
/// Any port of this machine: whoever tries a client out has it here.
pub const REDIRECT_URIS: [&str; 3] = ["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"];

impl World {
    /// App, company and user, where they are not there already; and a new request token.
    pub(super) fn furnish(&mut self, now: Timestamp) -> Result<String, SimulatorError> {
        if !self.apps.contains_key(APP) {
            self.put_app(NewApp {
                id: Some(APP.to_owned()),
                secrets: vec![SECRET.to_owned()],
                grants: Some(GRANTS.map(str::to_owned).into()),
                redirect_uris: REDIRECT_URIS.map(str::to_owned).to_vec(),
                ..NewApp::default()
            })?;
        }
        if !self.principals.contains_key(COMPANY) {
            self.put_principal(NewPrincipal { id: Some(COMPANY.to_owned()), ..NewPrincipal::default() })?;
            self.put_principal(NewPrincipal {
                kind: Kind::User,
                login: Some(LOGIN.to_owned()),
                password: Some(PASSWORD.to_owned()),
                ..NewPrincipal::default()
            })?;
        }
        Ok(self.make_request_token(now, COMPANY, APP)?.token)
    }
}
