//! Authorizing a connection again: a new consent under the old name. What was there before comes back when the
//! provider refuses the new grant.

use super::{
    Admin, AdminError,
    connections::{TAKEN_UP_AFTER, missing},
    grants::{NewGrant, allowed},
};
use crate::{
    broker::refresher::RefreshError,
    domain::{
        attempt::Ask,
        connection::{Connection, State},
        names::ConnectionName,
    },
    store::{Room, ledger::Wrote},
};

impl Admin {
    /// Starts a new family with the grant. Only where the old grant is over or never began: a living one is
    /// revoked first. The principal stays: an answer for another one is refused.
    pub async fn authorize_again(
        &self,
        name: &ConnectionName,
        grant: NewGrant,
    ) -> Result<Connection, AdminError> {
        if let NewGrant::Person(_) = grant {
            let problem = "needs a person: begin with StartAuthorization";
            return Err(AdminError::Invalid { field: "completion.grant", problem: problem.into() });
        }
        let before = self.connection(name).await?;
        match before.record.state {
            State::NeedsReauthorization | State::Revoked | State::Pending => {}
            state @ (State::Active | State::Disabled | State::Revoking) => {
                return Err(AdminError::WrongState { state });
            }
        }
        if before.record.live_attempt(self.ledger.now_of(&before).store).is_some() {
            return Err(RefreshError::Busy.into());
        }
        let client = self.client_of(&before.record).await?;
        let profile = self
            .catalogue
            .get(&before.record.provider)
            .ok_or_else(|| RefreshError::NoProfile(before.record.provider.clone()))?;
        allowed(&grant, &before.record.requested_scopes, &client, &profile)?;
        same_principal(&before.record, &grant)?;
        let mut next = self.emptied(&before.record);
        if let Some(api_base_url) = grant.base_url(&profile)? {
            next.api_base_url = Some(api_base_url);
        }
        let one_time = self.start_with(&mut next, grant).await?;
        if let Wrote::Conflict = self.ledger.update(&before, &next, Room::Needed).await? {
            return Err(AdminError::EtagMismatch { name: name.to_string() });
        }
        self.warm.forget(name);
        let seen = next.seen();
        let outcome = match one_time {
            Some(grant) => self.refresher.bootstrap(name, seen, grant).await,
            None => self.refresher.refreshed(name, seen, Ask::Operator).await,
        };
        match outcome {
            Ok(renewed) => {
                tracing::info!(connection = %name, grant = %next.grant, "connection authorized again");
                Ok(renewed.record.clone())
            }
            Err(RefreshError::Failed(failure)) => {
                // A refresh token that may have been used, and may be good, is kept and tried again.
                if failure.leaves_open() && next.refresh_token.is_some() {
                    return Ok(self.connection(name).await?.record);
                }
                self.bring_back(&before.record, &next).await?;
                Err(AdminError::GrantRefused { grant: next.grant, failure })
            }
            Err(err) => {
                self.bring_back(&before.record, &next).await?;
                Err(err.into())
            }
        }
    }

    /// The record with nothing of the old consent but its name, its principal and its count of generations.
    fn emptied(&self, before: &Connection) -> Connection {
        let now = self.ledger.now();
        Connection {
            revision: before.revision + 1,
            updated_at: now.here,
            state: State::Pending,
            reason: None,
            before: None,
            family: self.new_uid(),
            subject: None,
            scopes: Vec::new(),
            refresh_token: None,
            previous_refresh_token: None,
            refresh_expires_at: None,
            token: None,
            attempt: None,
            suspicion: None,
            ambiguous: None,
            due: Some(now.store.plus(TAKEN_UP_AFTER)),
            failures: 0,
            authorization: None,
            ..before.clone()
        }
    }

    /// What was emptied, and nothing else: unless an answer came after all, or somebody ended the connection.
    async fn bring_back(&self, before: &Connection, next: &Connection) -> Result<(), AdminError> {
        let name = &before.name;
        let restored = self.ledger.amend(
            name,
            || missing(name),
            |record: &mut Connection, _| {
                if record.seen() == next.seen() && record.state == State::Pending {
                    let before = before.clone();
                    *record = Connection {
                        revision: record.revision + 1,
                        labels: record.labels.clone(),
                        requested_scopes: record.requested_scopes.clone(),
                        requested_resources: record.requested_resources.clone(),
                        narrowing: record.narrowing,
                        ..before
                    };
                }
                Ok::<(), AdminError>(())
            },
        );
        restored.await?;
        self.warm.forget(name);
        Ok(())
    }
}

fn same_principal(connection: &Connection, grant: &NewGrant) -> Result<(), AdminError> {
    let NewGrant::CompanyRequestToken { company_uuid, .. } = grant else { return Ok(()) };
    match &connection.principal {
        Some(principal) if !principal.id.eq_ignore_ascii_case(company_uuid) => {
            Err(AdminError::OtherPrincipal)
        }
        Some(_) | None => Ok(()),
    }
}
