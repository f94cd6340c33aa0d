//! Looks at a provider for an operator, from this very process.

use super::{Admin, AdminError, Kind};
use crate::{
    domain::{
        finding::Finding,
        names::{ClientName, ProviderName},
    },
    provider::Check,
};

impl Admin {
    /// Looks whether the provider can be worked with, and, if one is named, whether it accepts the client.
    pub async fn check_provider(
        &self,
        name: &ProviderName,
        client: Option<&ClientName>,
    ) -> Result<Vec<Finding>, AdminError> {
        let missing = || AdminError::NotFound { kind: Kind::Provider, name: name.to_string() };
        let profile = self.catalogue.get(name).ok_or_else(missing)?;
        let Some(client) = client else {
            return Ok(self.provider.check(&Check { profile: &profile, client: None, grants: &[] }).await);
        };
        let client = self.client(client).await?.record;
        if client.provider != *name {
            let problem = format!("is a client of {}, not of {name}", client.provider);
            return Err(AdminError::Invalid { field: "client", problem });
        }
        let identity = self.refresher.identity(&client).await?;
        let grants: Vec<_> =
            profile.grants.iter().copied().filter(|grant| client.allows_grant(*grant)).collect();
        Ok(self.provider.check(&Check { profile: &profile, client: Some(&identity), grants: &grants }).await)
    }
}
