//! What a consent on its way needs when it comes back, sealed into its connection's record until then.

use crate::{
    domain::{
        authorization::Authorization,
        names::ConnectionName,
        token::{AuthorizationSecrets, Sealable, Sealed, Secret},
    },
    provider::Grant,
    seal::{OwnerKeys, Place, SealBroken, SealError},
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uuid::Uuid;
use zeroize::Zeroizing;

/// Not printable: all of it is secret, or personal.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// RFC 7636.
    pub verifier: Option<String>,
    /// OpenID Connect Core §3.1.2.1.
    pub nonce: Option<String>,
    pub login_hint: Option<String>,
    /// RFC 8628.
    pub device_code: Option<String>,
    pub email: Option<String>,
    pub parameters: BTreeMap<String, String>,
}

impl Kept {
    pub fn seal(
        &self,
        keys: &OwnerKeys,
        name: &ConnectionName,
        id: Uuid,
    ) -> Result<Sealed<AuthorizationSecrets>, SealError> {
        // A struct of texts is always written.
        let json = Zeroizing::new(serde_json::to_string(self).unwrap_or_default());
        let secrets = AuthorizationSecrets::from_secret(Secret::new(json.as_str()));
        keys.seal(&Place { resource: &name.to_string(), family: id, generation: 0 }, &secrets)
    }

    /// What is sealed in an authorization that is still to be redeemed.
    pub fn open(
        keys: &OwnerKeys,
        name: &ConnectionName,
        authorization: &Authorization,
    ) -> Result<Self, SealBroken> {
        let Some(sealed) = &authorization.secrets else { return Ok(Self::default()) };
        let resource = name.to_string();
        let place = Place { resource: &resource, family: authorization.id, generation: 0 };
        let opened: AuthorizationSecrets = keys.open(&place, sealed)?;
        serde_json::from_str(opened.secret().expose()).map_err(|_| SealBroken)
    }

    /// The grant that is spent without a person beside it: a device code.
    pub fn device_grant(&self) -> Option<Grant> {
        self.device_code.as_ref().map(|code| Grant::DeviceCode { device_code: Secret::new(code.clone()) })
    }
}
