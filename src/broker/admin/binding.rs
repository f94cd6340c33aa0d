//! The key that a connection's tokens are bound to (RFC 9449): brought by its operator, who gives it to the callers
//! too, or made here where the provider binds whatever it issues.

use super::{Admin, AdminError, tenant_missing};
use crate::{
    domain::{
        connection::{BoundKey, Connection},
        profile::{Offer, Profile},
        token::{self, Sealable, Secret},
    },
    provider::dpop::DpopKey,
    seal::Place,
};

const FIELD: &str = "dpop_key_pem";

/// A key on its way to be sealed.
pub(super) struct NewKey {
    pem: Secret,
    thumbprint: String,
}

/// Which key a new connection gets.
pub(super) fn key(given: Option<Secret>, profile: &Profile) -> Result<Option<NewKey>, AdminError> {
    let invalid = |problem: String| AdminError::Invalid { field: FIELD, problem };
    let pem = match (given, profile.dpop) {
        (None, Offer::Never | Offer::Offered) => return Ok(None),
        (Some(_), Offer::Never) => {
            let problem = format!(
                "{} does not bind tokens to keys, as far as its profile says: leave it out",
                profile.name
            );
            return Err(invalid(problem));
        }
        (Some(pem), Offer::Offered | Offer::Required) => pem,
        (None, Offer::Required) => DpopKey::generate().map_err(|err| invalid(err.to_string()))?,
    };
    let read = DpopKey::from_pem(&pem).map_err(|err| invalid(err.to_string()))?;
    Ok(Some(NewKey { thumbprint: read.thumbprint().to_owned(), pem }))
}

impl Admin {
    /// Seals the key into the record.
    pub(super) async fn bind(
        &self,
        connection: &mut Connection,
        key: Option<NewKey>,
    ) -> Result<(), AdminError> {
        let Some(key) = key else { return Ok(()) };
        let owner = connection.name.owner();
        let keys = self.keys.sealing(&owner).await.map_err(|err| tenant_missing(err, &owner))?;
        let resource = connection.name.to_string();
        let place = Place { resource: &resource, family: connection.uid, generation: 0 };
        let sealed = keys.seal(&place, &token::DpopKey::from_secret(key.pem))?;
        connection.dpop = Some(BoundKey { sealed, thumbprint: key.thumbprint });
        Ok(())
    }
}
