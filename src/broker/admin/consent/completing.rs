//! Consents that somebody else brings back: a front end with a redirect, a person with a one-time password, or whoever
//! wants to know at once whether a device code was answered.

use super::{
    super::{Admin, AdminError},
    redirects::{Cookies, Outcome, Taking, Turn},
};
use crate::{
    broker::{kept::Kept, refresher::OneTime, refresher::RefreshError},
    domain::{
        authorization::{Authorization, Fault, Stage, Taker, Way},
        connection::Connection,
        names::ConnectionName,
        profile::GrantKind,
        token::Secret,
    },
    provider::Grant,
    seal::SealError,
    store::StoreError,
};
use std::time::Duration;
use uuid::Uuid;

/// When to ask again where nothing better is known.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl Admin {
    /// Redeems what a redirect brought to a front end.
    pub async fn complete_redirect(
        &self,
        name: &ConnectionName,
        query: &str,
    ) -> Result<Connection, AdminError> {
        self.connection(name).await?;
        match self.taken(Taker::FrontEnd, Some(name), query, &Cookies::new()).await {
            Taking::Ended(turn) => Err(told(turn)),
            Taking::Taken(taken) => {
                self.redeemed(name, taken.id, GrantKind::AuthorizationCode, Some(taken.brought)).await
            }
        }
    }

    /// Spends the password that a person was sent.
    pub async fn complete_otp(&self, name: &ConnectionName, otp: Secret) -> Result<Connection, AdminError> {
        let connection = self.connection(name).await?.record;
        let Some(authorization @ Authorization { way: Way::Otp { .. }, .. }) =
            connection.authorization.as_deref()
        else {
            return Err(AdminError::AuthorizationNotFound);
        };
        self.still_open(authorization)?;
        let keys = self.keys.keys(&name.owner()).await?;
        let kept = Kept::open(&keys, name, authorization).map_err(SealError::from)?;
        let email = kept.email.ok_or(AdminError::AuthorizationNotFound)?;
        let grant = Grant::Otp { otp, email, parameters: kept.parameters };
        let brought = OneTime { grant, nonce: None };
        self.redeemed(name, authorization.id, GrantKind::Otp, Some(brought)).await
    }

    /// Asks the server now whether the person has consented on the other device; not earlier than it lets us.
    pub async fn complete_device(&self, name: &ConnectionName) -> Result<Connection, AdminError> {
        let connection = self.connection(name).await?.record;
        let Some(authorization @ Authorization { way: Way::Device(_), .. }) =
            connection.authorization.as_deref()
        else {
            return Err(AdminError::AuthorizationNotFound);
        };
        match authorization.stage {
            // The broker's own polling was faster.
            Stage::Succeeded => return Ok(connection),
            Stage::Open | Stage::Taken | Stage::Denied | Stage::Expired | Stage::Failed => {}
        }
        self.still_open(authorization)?;
        self.redeemed(name, authorization.id, GrantKind::DeviceCode, None).await
    }

    fn still_open(&self, authorization: &Authorization) -> Result<(), AdminError> {
        match authorization.stage {
            Stage::Open if self.ledger.now().store >= authorization.expires_at => {
                Err(AdminError::AuthorizationExpired)
            }
            Stage::Open => Ok(()),
            Stage::Denied => Err(AdminError::AuthorizationDenied { code: authorization.code.clone() }),
            Stage::Expired => Err(AdminError::AuthorizationExpired),
            Stage::Taken => Err(RefreshError::Busy.into()),
            Stage::Succeeded | Stage::Failed => Err(AdminError::AuthorizationNotFound),
        }
    }

    async fn redeemed(
        &self,
        name: &ConnectionName,
        id: Uuid,
        grant: GrantKind,
        brought: Option<OneTime>,
    ) -> Result<Connection, AdminError> {
        let err = match self.refresher.authorize(name, id, brought).await {
            Ok(renewed) => return Ok(renewed.record.clone()),
            Err(err) => err,
        };
        let after = self.connection(name).await?.record;
        let ours = after.authorization.as_ref().filter(|ours| ours.id == id);
        let now = self.ledger.now().store;
        match (ours.map(|ours| (ours.stage, &ours.way, ours)), err) {
            (Some((Stage::Succeeded, _, _)), _) => Ok(after),
            (Some((Stage::Denied, _, ours)), _) => {
                Err(AdminError::AuthorizationDenied { code: ours.code.clone() })
            }
            (Some((Stage::Expired, _, _)), _) => Err(AdminError::AuthorizationExpired),
            (
                Some((Stage::Open, Way::Device(_), ours)),
                RefreshError::Failed(_) | RefreshError::Held { .. },
            ) => {
                let retry = ours.due.map_or(ASK_AGAIN, |due| now.until(due));
                Err(AdminError::AuthorizationPending { retry })
            }
            (_, RefreshError::Failed(failure)) if Fault::of(&failure) == Fault::OtherPrincipal => {
                Err(AdminError::OtherPrincipal)
            }
            (_, RefreshError::Failed(failure)) => Err(AdminError::GrantRefused { grant, failure }),
            (_, RefreshError::Replaced) => Err(AdminError::AuthorizationNotFound),
            (_, err) => Err(err.into()),
        }
    }
}

/// What a page would say, as an error.
fn told(turn: Turn) -> AdminError {
    match turn.outcome {
        Outcome::Denied => AdminError::AuthorizationDenied { code: None },
        Outcome::Expired => AdminError::AuthorizationExpired,
        Outcome::ProviderError(code) => AdminError::AuthorizationFailed { fault: Fault::ProviderError, code },
        Outcome::WrongIssuer => AdminError::AuthorizationFailed { fault: Fault::WrongIssuer, code: None },
        Outcome::Nonsense => AdminError::Invalid {
            field: "completion.authorization_code.redirect_query",
            problem:
                "is no answer to an authorization request: give the redirect's query as it came, without the \
                      question mark; each parameter comes once, and 16 KiB are the most"
                    .into(),
        },
        Outcome::Failed(fault) => AdminError::AuthorizationFailed { fault, code: None },
        Outcome::Succeeded
        | Outcome::Unknown
        | Outcome::OtherBrowser
        | Outcome::Replayed(_)
        | Outcome::SwitchedOff => AdminError::AuthorizationNotFound,
        Outcome::Unavailable => {
            AdminError::Store(StoreError::Unavailable { cause: "the authorization was not looked up".into() })
        }
    }
}
