//! An OAuth client registration at a provider (SAP Concur: an App), and the tenant it belongs to.

use super::{
    connection::{Connection, LastFailure},
    credential::{Said, StoredSecret, Verdict},
    failure::Class,
    names::{ClientName, ProviderName, TenantName},
    profile::{ClientAuth, GrantKind},
    rotation::Rotation,
    token::{ClientSecret, Sealed},
};
use crate::clock::Timestamp;
use std::{collections::BTreeMap, time::Duration};
use uuid::Uuid;

/// Most secrets that a client has in use at once: the present one and the next.
pub const ACTIVE_SECRETS_MAX: usize = 2;
/// Most secrets, retired ones included, that a client remembers.
pub const SECRETS_MAX: usize = 8;

#[derive(Debug, Clone, PartialEq)]
pub struct Client {
    pub name: ClientName,
    pub uid: Uuid,
    /// Counts what callers changed; behind the etag.
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub provider: ProviderName,
    /// RFC 6749 §2.2.
    pub client_id: String,
    pub auth: ClientAuth,
    /// Empty allows every grant of the provider.
    pub allowed_grants: Vec<GrantKind>,
    /// Empty allows every scope.
    pub allowed_scopes: Vec<String>,
    pub environment: Environment,
    pub secrets: Vec<StoredSecret>,
    /// The secret that was accepted last: it is tried first.
    pub preferred: Option<Uuid>,
    /// A change of its secret that is under way, where the provider lets a client do that itself.
    pub rotation: Option<Rotation>,
    pub hold: Option<Hold>,
    /// When grants of this client ended lately, at most [`ENDINGS_MAX`], oldest first.
    pub endings: Vec<Timestamp>,
}

/// Whether one more grant of a client may be declared over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Allowed,
    /// So many within so short a time say that the client was rotated or the app removed, not that every user
    /// revoked: nothing more ends.
    Frozen,
}

/// So many grants of one client may end within [`ENDINGS_WITHIN`]; the next ones are frozen.
pub const ENDINGS_MAX: usize = 3;
pub const ENDINGS_WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Environment {
    Sandbox,
    Production,
}

/// Whether a change is worth a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Noted {
    Changed,
    KnownAlready,
}

/// Why a client is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// Every active secret was refused.
    SecretsRefused,
    /// The server does not know the client id.
    ClientUnknown,
    /// The client is switched off at the server.
    ClientDisabled,
    /// The server does not allow the client this grant.
    GrantNotAllowed,
    /// Many grants of this client were refused within a short time.
    ManyGrantsRefused,
}

/// The provider refused the client: all its connections wait, and none of their grants is spent on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// By the store's clock.
    pub until: Timestamp,
    /// `None`: not known, or held by a version that did not tell.
    pub reason: Option<HoldReason>,
    pub code: Option<String>,
    pub correlation_id: Option<String>,
    pub at: Timestamp,
    pub failures: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    pub name: TenantName,
    pub uid: Uuid,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub display_name: String,
    pub labels: BTreeMap<String, String>,
    /// `None`: it was not deleted.
    pub deletion: Option<Deletion>,
}

/// A tenant that is deleted and not gone yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    pub deleted_at: Timestamp,
    /// By the store's clock: from then on its keys are destroyed.
    pub purge_at: Timestamp,
    pub undo: Undo,
}

/// Whether a deleted tenant can be restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undo {
    Possible,
    /// Its keys are being destroyed, or are gone.
    TooLate,
}

impl From<&Hold> for LastFailure {
    /// What a connection waits for, when it waits with its client.
    fn from(hold: &Hold) -> Self {
        Self {
            class: Class::Client,
            code: hold.code.clone(),
            correlation_id: hold.correlation_id.clone(),
            at: hold.at,
        }
    }
}

/// Why a secret cannot be added or retired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretsError {
    #[error("client has {ACTIVE_SECRETS_MAX} active secrets: retire one first")]
    TooMany,
    #[error(
        "this is the only active secret that fits the client's authentication method: add the next one first"
    )]
    Last,
    #[error("client has no such active secret")]
    NotFound,
}

impl Client {
    /// Whether its credentials are for the provider that a connection is with. A name is free again once its client is
    /// deleted: what bears it then may be another provider's, and is nothing to this connection.
    pub fn serves(&self, connection: &Connection) -> bool {
        self.provider == connection.provider
    }

    /// The secrets in use, in the order in which they are tried: first the one that was accepted last, then the newest.
    pub fn active_secrets(&self) -> impl Iterator<Item = (&StoredSecret, &Sealed<ClientSecret>)> {
        let active = || {
            let sealed = |secret: &'_ StoredSecret| secret.retired_at.is_none() && secret.sealed.is_some();
            self.secrets.iter().rev().filter(move |secret| sealed(secret))
        };
        let preferred = self.preferred;
        let first = active().filter(move |secret| Some(secret.id) == preferred);
        let others = active().filter(move |secret| Some(secret.id) != preferred);
        first.chain(others).filter_map(|secret| secret.sealed.as_ref().map(|sealed| (secret, sealed)))
    }

    /// Whether there is something to authenticate with in this way.
    pub fn can_use(&self, auth: ClientAuth) -> bool {
        auth.needs().is_none_or(|kind| self.active_secrets().any(|(secret, _)| secret.public.kind() == kind))
    }

    /// What the server said of the client's secrets. The one that it accepted is tried first from now on. Counts no
    /// revision: nothing that a caller set has changed.
    pub fn fared(&mut self, verdicts: &[Verdict], now: Timestamp) -> Noted {
        let before = (self.preferred, self.secrets.clone());
        for verdict in verdicts {
            let Some(secret) = self.secrets.iter_mut().find(|secret| secret.id == verdict.secret) else {
                continue;
            };
            if secret.retired_at.is_some() {
                continue;
            }
            secret.fared(verdict.said, now);
            if verdict.said == Said::Accepted {
                self.preferred = Some(verdict.secret);
            }
        }
        if before == (self.preferred, self.secrets.clone()) { Noted::KnownAlready } else { Noted::Changed }
    }

    /// A new secret lifts the hold: what was refused may be accepted now.
    pub fn add_secret(&mut self, secret: StoredSecret, now: Timestamp) -> Result<(), SecretsError> {
        if self.active_secrets().count() >= ACTIVE_SECRETS_MAX {
            return Err(SecretsError::TooMany);
        }
        self.secrets.push(secret);
        while self.secrets.len() > SECRETS_MAX {
            let Some(oldest) = self.secrets.iter().position(|secret| secret.retired_at.is_some()) else {
                break;
            };
            self.secrets.remove(oldest);
        }
        self.hold = None;
        self.changed(now);
        Ok(())
    }

    pub fn retire_secret(&mut self, id: Uuid, now: Timestamp) -> Result<(), SecretsError> {
        let needed = self.auth.needs();
        let fitting = self.active_secrets().filter(|(secret, _)| Some(secret.public.kind()) == needed);
        let only =
            matches!(fitting.map(|(secret, _)| secret.id).collect::<Vec<_>>()[..], [only] if only == id);
        let secret = self
            .secrets
            .iter_mut()
            .find(|secret| secret.id == id && secret.retired_at.is_none())
            .ok_or(SecretsError::NotFound)?;
        if only {
            return Err(SecretsError::Last);
        }
        secret.retired_at = Some(now);
        secret.sealed = None;
        if self.preferred == Some(id) {
            self.preferred = None;
        }
        // Without one of its secrets a rotation cannot go on.
        self.rotation = self.rotation.take().filter(|open| !open.is_about(id));
        self.changed(now);
        Ok(())
    }

    pub fn changed(&mut self, now: Timestamp) {
        self.revision += 1;
        self.updated_at = now;
    }

    /// A grant of this client was refused twice. Counts it, if it may end.
    pub fn ending(&mut self, now: Timestamp) -> Ending {
        self.endings.retain(|at| now < at.plus(ENDINGS_WITHIN));
        if self.endings.len() >= ENDINGS_MAX {
            return Ending::Frozen;
        }
        self.endings.push(now);
        Ending::Allowed
    }

    /// Until when (store's clock) nothing is asked of the provider for this client.
    pub fn held(&self, store_now: Timestamp) -> Option<&Hold> {
        self.hold.as_ref().filter(|hold| store_now < hold.until)
    }

    pub fn allows_grant(&self, grant: GrantKind) -> bool {
        self.allowed_grants.is_empty() || self.allowed_grants.contains(&grant)
    }

    /// The first scope that the client may not ask for.
    pub fn forbidden_scope<'a>(&self, scopes: &'a [String]) -> Option<&'a String> {
        scopes.iter().find(|scope| !self.allowed_scopes.is_empty() && !self.allowed_scopes.contains(scope))
    }
}

impl Tenant {
    pub fn changed(&mut self, now: Timestamp) {
        self.revision += 1;
        self.updated_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        credential::LAST_USE_WITHIN,
        samples::{START, client, id, secret},
    };
    use std::time::Duration;

    const LATER: Timestamp = Timestamp(START.0 + 1000);

    fn active(client: &Client) -> Vec<u128> {
        client.active_secrets().map(|(secret, _)| secret.id.as_u128()).collect()
    }

    fn held() -> Client {
        let hold =
            Hold { until: LATER, reason: None, code: None, correlation_id: None, at: START, failures: 3 };
        Client { hold: Some(hold), ..client() }
    }

    #[test]
    fn the_newest_secret_is_tried_first_and_a_third_is_refused() {
        let mut client = held();
        client.add_secret(secret(11), LATER).unwrap();
        assert_eq!(active(&client), [11, 10]);
        assert_eq!((client.revision, client.updated_at, &client.hold), (2, LATER, &None));
        let before = Client { hold: held().hold, ..client };
        let mut client = before.clone();
        assert_eq!(client.add_secret(secret(12), LATER), Err(SecretsError::TooMany));
        assert_eq!(client, before, "what is refused changes nothing");
    }

    #[test]
    fn a_retired_secret_is_wiped_and_the_last_one_stays() {
        let mut client = client();
        client.add_secret(secret(11), START).unwrap();
        client.retire_secret(id(10), LATER).unwrap();
        assert_eq!(active(&client), [11]);
        let retired = &client.secrets[0];
        assert_eq!((&retired.sealed, retired.retired_at), (&None, Some(LATER)));
        assert_eq!(client.revision, 3);
        for (n, want) in
            [(10, SecretsError::NotFound), (12, SecretsError::NotFound), (11, SecretsError::Last)]
        {
            assert_eq!(client.retire_secret(id(n), LATER), Err(want), "{n}");
        }
        assert_eq!((active(&client), client.revision), (vec![11], 3));
    }

    #[test]
    fn no_more_than_eight_secrets_are_remembered_and_never_fewer_than_are_active() {
        let mut client = client();
        for n in 11..30 {
            client.add_secret(secret(n), START).unwrap();
            client.retire_secret(id(n - 1), START).unwrap();
            assert!(client.secrets.len() <= SECRETS_MAX);
            assert_eq!(active(&client), [n]);
        }
        let kept: Vec<_> = client.secrets.iter().map(|secret| secret.id.as_u128()).collect();
        assert_eq!(kept, (22..30).collect::<Vec<_>>(), "the oldest go first");
    }

    #[test]
    fn the_secret_that_was_accepted_last_is_tried_first_and_its_use_is_noted_once_an_hour() {
        let verdict = |n, said| Verdict { secret: id(n), said };
        let mut client = client();
        assert_eq!(client.fared(&[verdict(10, Said::Accepted)], START), Noted::Changed);
        client.add_secret(secret(11), START).unwrap();
        assert_eq!(active(&client), [10, 11], "the new one is tried when the old one is refused");
        let turned = [verdict(10, Said::Refused), verdict(11, Said::Accepted)];
        assert_eq!(client.fared(&turned, LATER), Noted::Changed);
        assert_eq!(active(&client), [11, 10]);
        assert_eq!((client.secrets[0].refused_at, client.secrets[1].refused_at), (Some(LATER), None));
        assert_eq!(client.secrets[1].last_used_at, Some(LATER));
        let hour = LATER.plus(LAST_USE_WITHIN);
        let before = hour.minus(Duration::from_millis(1));
        assert_eq!(client.fared(&[verdict(11, Said::Accepted)], before), Noted::KnownAlready);
        assert_eq!(client.fared(&[verdict(11, Said::Accepted)], hour), Noted::Changed);
        assert_eq!(client.secrets[1].last_used_at, Some(hour));
        client.retire_secret(id(11), hour).unwrap();
        assert_eq!((client.preferred, active(&client)), (None, vec![10]));
        assert_eq!(client.fared(&[verdict(11, Said::Accepted)], hour), Noted::KnownAlready, "it is gone");
        assert_eq!(client.fared(&[verdict(10, Said::Accepted)], hour), Noted::Changed);
        assert_eq!(client.secrets[0].refused_at, None);
        assert_eq!(client.revision, 3, "what a server says is no change of a caller's");
    }

    #[test]
    fn a_method_needs_a_secret_of_its_kind() {
        let client = client();
        let can: Vec<_> = ClientAuth::ALL.iter().copied().filter(|auth| client.can_use(*auth)).collect();
        let shared =
            [ClientAuth::ClientSecretBasic, ClientAuth::ClientSecretPost, ClientAuth::ClientSecretJwt];
        assert_eq!(can, [&shared[..], &[ClientAuth::None]].concat());
    }

    #[test]
    fn a_hold_ends_by_the_stores_clock() {
        let client = held();
        assert!(client.held(LATER.minus(Duration::from_millis(1))).is_some());
        assert!(client.held(LATER).is_none());
    }

    #[test]
    fn empty_lists_allow_everything_and_others_what_they_name() {
        let (read, write) = (vec!["read".to_owned()], vec!["read".to_owned(), "write".to_owned()]);
        let open = client();
        let narrow = Client {
            allowed_grants: vec![GrantKind::RefreshToken],
            allowed_scopes: read.clone(),
            ..client()
        };
        assert_eq!((open.allows_grant(GrantKind::Password), open.forbidden_scope(&write)), (true, None));
        assert_eq!(
            (narrow.allows_grant(GrantKind::RefreshToken), narrow.forbidden_scope(&read)),
            (true, None)
        );
        assert!(!narrow.allows_grant(GrantKind::Password));
        assert_eq!(narrow.forbidden_scope(&write), Some(&write[1]));
    }
}
