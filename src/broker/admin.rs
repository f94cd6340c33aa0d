//! What platform teams do: tenants, clients and connections made, looked at, changed and ended. Rules are the
//! domain's; here they meet the store and the refresher.

pub mod authorizing;
pub mod clients;
pub mod connections;
pub mod grants;
pub mod revoking;
pub mod tenants;

use super::{
    bells::Bells,
    keys::Keyring,
    refresher::{RefreshError, Refresher},
    warm::WarmCopies,
};
use crate::{
    clock::Clock,
    domain::{
        client::SecretsError,
        connection::State,
        failure::Failure,
        names::{Id, Owner},
        profile::GrantKind,
    },
    provider::{Provider, catalogue::Catalogue},
    seal::SealError,
    store::{
        Key, StoreError,
        ledger::{Ledger, Loaded},
        records::{Record, prefix},
    },
};
use std::sync::Arc;
use uuid::Uuid;

/// Most records that one page of a list looks at, whether or not they pass its filter.
const LOOKED_AT_MAX: usize = 2000;
/// How many records one step of a scan loads.
const STEP: usize = 200;

pub struct Admin {
    pub ledger: Arc<Ledger>,
    pub keys: Arc<Keyring>,
    pub refresher: Refresher,
    pub warm: Arc<WarmCopies>,
    pub bells: Arc<Bells>,
    pub provider: Arc<dyn Provider>,
    pub catalogue: Arc<Catalogue>,
    pub clock: Arc<dyn Clock>,
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
    #[error("`{name}` is used by `{connection}`: delete that connection first")]
    ClientInUse { name: String, connection: String },
    #[error(transparent)]
    Secrets(#[from] SecretsError),
    #[error("grant {grant} is not among the client's allowed grants")]
    GrantNotAllowed { grant: GrantKind },
    #[error("{provider} does not offer grant {grant}")]
    GrantNotOffered { grant: GrantKind, provider: String },
    /// The grant is in the API and not in this version.
    #[error("grant {grant} is not implemented yet")]
    GrantNotImplemented { grant: GrantKind },
    #[error("scope `{scope}` is not among the client's allowed scopes")]
    ScopeNotAllowed { scope: String },
    #[error("connection is {state}, in which this cannot be done")]
    WrongState { state: State },
    /// The provider refused what was given to start the connection with; nothing was kept.
    #[error("provider refused the grant: {}", .failure.detail)]
    GrantRefused { grant: GrantKind, failure: Failure },
    /// The connection stands for somebody else: create another connection for this principal.
    #[error("grant is for another principal than the connection's")]
    OtherPrincipal,
    /// The provider did not revoke; the connection is kept until it does.
    #[error("provider did not revoke the grant: {}", .0.detail)]
    RevocationRefused(Failure),
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// What does not exist, or does already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Provider,
    Tenant,
    Client,
    Connection,
}

/// One page of a list.
#[derive(Debug)]
pub struct Page<R> {
    pub items: Vec<Loaded<R>>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<Key>,
}

/// What a list asks for.
pub struct Listing<'a, R> {
    pub owner: Option<&'a Owner>,
    pub after: Option<Key>,
    pub limit: usize,
    pub keep: &'a (dyn Fn(&R) -> bool + Send + Sync),
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
    async fn page<R: Record>(&self, kind: &str, listing: Listing<'_, R>) -> Result<Page<R>, AdminError> {
        let prefix = prefix(kind, listing.owner);
        let (mut items, mut after, mut looked) = (Vec::new(), listing.after, 0);
        loop {
            let found = self.ledger.list::<R>(&prefix, after.as_ref(), STEP).await?;
            for loaded in found.items {
                after = Some(R::key_of(loaded.record.name())?);
                looked += 1;
                if (listing.keep)(&loaded.record) {
                    items.push(loaded);
                }
                if items.len() == listing.limit || looked == LOOKED_AT_MAX {
                    return Ok(Page { items, next: after });
                }
            }
            match found.next {
                Some(next) => after = Some(next),
                None => return Ok(Page { items, next: None }),
            }
        }
    }

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
