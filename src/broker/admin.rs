//! What platform teams do: tenants, clients and connections made, looked at, changed and ended. Rules are the
//! domain's; here they meet the store and the refresher.

pub mod authorizing;
mod binding;
pub mod checking;
pub mod clients;
pub mod connections;
pub mod consent;
pub mod credentials;
pub mod grants;
pub mod pages;
pub mod revoking;
pub mod rotating;
pub mod strangers;
pub mod tenants;

use super::{
    bells::Bells,
    custodian::{Custodian, KeysError},
    keys::Keyring,
    refresher::{RefreshError, Refresher},
    warm::WarmCopies,
};
use crate::{
    clock::Clock,
    domain::{
        authorization::Fault,
        client::SecretsError,
        connection::State,
        failure::Failure,
        names::{Id, Owner},
        profile::GrantKind,
        rotation::NotBegun,
    },
    provider::{Provider, catalogue::Catalogue},
    seal::SealError,
    store::{StoreError, ledger::Ledger},
};
use consent::ConsentRules;
pub use pages::{Listing, Page, Shown, Sight};
use std::{sync::Arc, time::Duration};
use strangers::Strangers;
use uuid::Uuid;

pub struct Admin {
    pub ledger: Arc<Ledger>,
    pub keys: Arc<Keyring>,
    pub refresher: Refresher,
    pub warm: Arc<WarmCopies>,
    pub bells: Arc<Bells>,
    pub provider: Arc<dyn Provider>,
    pub catalogue: Arc<Catalogue>,
    pub clock: Arc<dyn Clock>,
    pub consent: ConsentRules,
    pub custodian: Arc<Custodian>,
    pub strangers: Strangers,
}

#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    #[error("`{name}` does not exist")]
    NotFound { kind: Kind, name: String },
    #[error("`{name}` exists already")]
    AlreadyExists { kind: Kind, name: String },
    /// Somebody changed it since the caller looked: get it again, decide again.
    #[error("`{name}` was changed since this etag was read")]
    EtagMismatch { name: String },
    #[error("{field}: {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("`{name}` still has `{child}`: delete what belongs to it first")]
    NotEmpty { name: String, child: String },
    /// Also by a connection that can be restored with its tenant, and by one that cannot be read: it may be.
    #[error("`{name}` is used by `{connection}`: delete that connection first")]
    ClientInUse { name: String, connection: String },
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("grant {grant} is not among the client's allowed grants")]
    GrantNotAllowed { grant: GrantKind },
    #[error("{provider} does not offer grant {grant}")]
    GrantNotOffered { grant: GrantKind, provider: String },
    #[error("scope `{scope}` is not among the client's allowed scopes")]
    ScopeNotAllowed { scope: String },
    #[error("connection is {state}, in which this cannot be done")]
    WrongState { state: State },
    /// There is a token and no way to another one but a new authorization.
    #[error(
        "the provider gave no refresh token, so nothing renews this {grant} grant: authorize the connection again"
    )]
    NothingRenews { grant: GrantKind },
    /// The provider refused what was given to start the connection with; nothing was kept.
    #[error("provider refused the grant: {}", .failure.detail)]
    GrantRefused { grant: GrantKind, failure: Failure },
    /// Nothing is under way that this belongs to.
    #[error("no authorization is under way")]
    AuthorizationNotFound,
    /// The person has not answered yet.
    #[error("the person has not consented yet")]
    AuthorizationPending { retry: Duration },
    #[error("the person took longer than the authorization was open")]
    AuthorizationExpired,
    /// The person, or the provider's policy, said no.
    #[error("the authorization was denied")]
    AuthorizationDenied { code: Option<String> },
    /// What came back is no grant.
    #[error("the authorization brought no grant: {fault}")]
    AuthorizationFailed { fault: Fault, code: Option<String> },
    /// The connection stands for somebody else: create another connection for this principal.
    #[error("grant is for another principal than the connection's")]
    OtherPrincipal,
    /// The provider did not revoke; the connection is kept until it does.
    #[error("provider did not revoke the grant: {}", .0.detail)]
    RevocationRefused(Failure),
    /// The provider does not let a client change its own secret.
    #[error("{provider} does not let a client change its own secret: add the next one by hand")]
    RotationNotOffered { provider: String },
    #[error(transparent)]
    RotationNotBegun(#[from] NotBegun),
    /// A step failed; the next call goes on with it.
    #[error("secret was not changed yet: {}", .0.detail)]
    RotationFailed(Failure),
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Keys(#[from] KeysError),
}

/// What does not exist, or does already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Provider,
    Tenant,
    Client,
    Connection,
}

/// Changes with what callers can change, not with a refresh: read-modify-write survives those.
pub fn etag(uid: Uuid, revision: u64) -> String {
    // The last half of a UUIDv7 is random; the first is the time, which neighbours share.
    format!("{:08x}-{revision}", uid.as_u64_pair().1 & 0xffff_ffff)
}

/// An empty etag asks for no check.
fn check_etag(given: &str, uid: Uuid, revision: u64, name: &dyn std::fmt::Display) -> Result<(), AdminError> {
    if given.is_empty() || given == etag(uid, revision) {
        Ok(())
    } else {
        Err(AdminError::EtagMismatch { name: name.to_string() })
    }
}

impl Admin {
    /// A new id from the present, so that ids sort by when they were made (UUIDv7).
    fn new_uid(&self) -> Uuid {
        self.clock.now().uuid()
    }
}

/// A record without keys is a record without a tenant.
fn tenant_missing(err: StoreError, owner: &Owner) -> AdminError {
    match err {
        StoreError::NoKeys { .. } => AdminError::NotFound { kind: Kind::Tenant, name: owner.to_string() },
        other => other.into(),
    }
}

/// An id that callers left to us.
pub fn new_id(uid: Uuid) -> Id {
    // The last part of a UUIDv7 is random: 12 hexadecimal digits.
    let text = format!("c{:012x}", uid.as_u64_pair().1 & 0xffff_ffff_ffff);
    text.parse().expect("letters and digits are an id")
}
