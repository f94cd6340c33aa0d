//! What a deployment allows for consents, and what is checked before one is begun.

use super::super::AdminError;
use crate::{
    broker::refresher::RefreshError,
    domain::{
        authorization::{OPEN_FOR, Stage},
        client::Client,
        connection::{Connection, State},
        lifecycle::Moment,
        names::ConnectionName,
        profile::{GrantKind, Profile},
    },
};
use std::time::Duration;
use url::Url;

pub(super) const RETURN_FIELD: &str = "method.authorization_code.return_uri";
pub(super) const REDIRECT_FIELD: &str = "method.authorization_code.redirect_uri";

/// What the deployment allows for consents in a browser.
#[derive(Debug, Clone)]
pub struct ConsentRules {
    /// Where browsers reach the broker; `None`: it has no callback, and front ends take redirects.
    pub public_url: Option<Url>,
    pub redirect: RedirectUris,
    /// Redirect URIs of front ends, compared byte for byte.
    pub redirect_uris: Vec<String>,
    /// Where the callback may send browsers in the end, compared byte for byte.
    pub return_uris: Vec<String>,
    /// How long a person has for a consent in a browser or a one-time password; at most [`OPEN_FOR`].
    pub open_for: Duration,
}

impl Default for ConsentRules {
    fn default() -> Self {
        Self {
            public_url: None,
            redirect: RedirectUris::default(),
            redirect_uris: Vec::new(),
            return_uris: Vec::new(),
            open_for: OPEN_FOR,
        }
    }
}

/// Which redirect URI providers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RedirectUris {
    /// Each connection has its own: an answer meant for another server's connection arrives elsewhere (RFC 9700 §4.4.2).
    #[default]
    PerConnection,
    /// One for all, where a registration cannot list thousands; `state` and `iss` tell answers apart.
    Shared,
}

impl ConsentRules {
    /// The redirect URI of a connection; `None` where there is no callback.
    pub(super) fn callback(&self, name: &ConnectionName) -> Option<String> {
        let base = self.public_url.as_ref()?.as_str().trim_end_matches('/');
        Some(match self.redirect {
            RedirectUris::PerConnection => format!("{base}/callback/{name}"),
            RedirectUris::Shared => format!("{base}/callback"),
        })
    }

    /// The address that begins a consent in a browser.
    pub(super) fn opening(&self, token: &str) -> Option<Url> {
        let base = self.public_url.as_ref()?.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/authorize/{token}")).ok()
    }
}

pub(super) fn startable(connection: &Connection, now: Moment) -> Result<(), AdminError> {
    match connection.state {
        State::Pending | State::Active | State::NeedsReauthorization | State::Revoked => {}
        state @ (State::Disabled | State::Revoking) => return Err(AdminError::WrongState { state }),
    }
    // What a person brought is being exchanged at this moment: it is not thrown away.
    let busy = connection.live_attempt(now.store).is_some_and(|open| open.authorization.is_some());
    let taken = connection.authorization.as_ref().is_some_and(|ours| ours.stage == Stage::Taken);
    if busy && taken { Err(RefreshError::Busy.into()) } else { Ok(()) }
}

pub(super) fn may_start(
    grant: GrantKind,
    scopes: &[String],
    client: &Client,
    profile: &Profile,
) -> Result<(), AdminError> {
    if !profile.grants.contains(&grant) {
        return Err(AdminError::GrantNotOffered { grant, provider: profile.name.to_string() });
    }
    if !client.allows_grant(grant) {
        return Err(AdminError::GrantNotAllowed { grant });
    }
    match client.forbidden_scope(scopes) {
        Some(scope) => Err(AdminError::ScopeNotAllowed { scope: scope.clone() }),
        None => Ok(()),
    }
}

pub(super) fn is_openid(scopes: &[String]) -> bool {
    scopes.iter().any(|scope| scope == "openid")
}

pub(super) fn no_callback() -> AdminError {
    let problem = "is required: this deployment has no callback of its own (its operator sets \
                   authorization.listen and authorization.public_url)";
    AdminError::Invalid { field: REDIRECT_FIELD, problem: problem.into() }
}

pub(super) fn not_listed(field: &'static str) -> AdminError {
    let list =
        if field == RETURN_FIELD { "authorization.return_uris" } else { "authorization.redirect_uris" };
    AdminError::Invalid { field, problem: format!("is not on the deployment's list, {list}") }
}

/// `j***@example.com`.
pub(super) fn hinted(email: &str) -> String {
    match email.split_once('@') {
        Some((person, host)) => format!("{}***@{host}", person.chars().take(1).collect::<String>()),
        None => "***".into(),
    }
}
