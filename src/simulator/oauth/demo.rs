//! What a plain authorization server that runs alone begins with, so that the first request needs no preparation.
//! Nothing in here is a secret: it is printed.

use super::world::{Authentication, NewClient, World};
use crate::{clock::Timestamp, simulator::SimulatorError};

pub const CLIENT: &str = "demo-client";
pub const SECRET: &str = "demo-secret";
/// Has no secret.
pub const PUBLIC_CLIENT: &str = "demo-public";
pub const USER: &str = "demo-user";
pub const PASSWORD: &str = "demo-password";
/// Any port of this machine: whoever tries a client out has it here.
const REDIRECT_URIS: [&str; 3] = ["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"];

impl World {
    /// Clients and a user, where they are not there already; and a new refresh token.
    pub(super) fn furnish(&mut self, now: Timestamp) -> Result<String, SimulatorError> {
        for (id, secrets, authentication) in [
            (CLIENT, vec![SECRET.to_owned()], Authentication::Either),
            (PUBLIC_CLIENT, Vec::new(), Authentication::None),
        ] {
            if !self.clients.contains_key(id) {
                self.put_client(NewClient {
                    id: Some(id.to_owned()),
                    secrets,
                    authentication,
                    scopes: Some(["openid", "read", "write"].map(str::to_owned).to_vec()),
                    redirect_uris: REDIRECT_URIS.map(str::to_owned).to_vec(),
                    ..NewClient::default()
                })?;
            }
        }
        self.users.entry(USER.to_owned()).or_insert_with(|| PASSWORD.to_owned());
        Ok(self.connect(now, CLIENT, USER, None)?.refresh_token)
    }
}
