//! What follows from an exchange that brought nothing: written down in the record, and, where the client or too many
//! of its grants are refused, laid at the client's door. A grant ends here or nowhere.

use super::{COMMIT_PAUSE, Parts, RefreshError, exchange::Prepared};
use crate::{
    clock::Timestamp,
    domain::{
        attempt::Seen,
        authorization::Stage,
        client::{Client, Ending, Hold, HoldReason, Noted},
        connection::{Connection, LastFailure, State},
        failure::{Class, Failure},
        lifecycle::{Moment, jittered},
        names::{ClientName, ConnectionName},
        profile::Profile,
    },
    store::{StoreError, claim::Claim, ledger::Loaded},
};
use std::time::Duration;

/// Tries to write down a failure. When all fail, the attempt's lease ends by itself.
const FAIL_TRIES: u32 = 5;
/// First and longest time that a refused client's connections wait.
const HOLD: Duration = Duration::from_secs(30);
/// How long the others wait for the one that tries a refused client again.
const PROBE: Duration = Duration::from_secs(5);
const HOLD_MAX: Duration = Duration::from_mins(15);

impl Parts {
    /// Closes the attempt without a token, and says what the failure was taken for.
    pub(super) async fn written_down(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        failure: Failure,
    ) -> Result<Failure, RefreshError> {
        if claim.attempt().authorization.is_some() {
            // A person's consent that brought nothing says nothing of the grants that others have.
            self.write_failure(claim, prepared, &failure).await?;
            return Ok(failure);
        }
        let failure = self.end_or_freeze(claim, &prepared.client, failure).await;
        if failure.class == Class::Client {
            self.hold_client(prepared, &failure).await;
        }
        let due = self.write_failure(claim, prepared, &failure).await?;
        // Who is told of the failure is told when the next try is.
        let now = self.ledger.now().store;
        Ok(Failure { retry_after: due.map(|due| now.until(due)).or(failure.retry_after), ..failure })
    }

    /// Before a grant ends: is it one, or are it all of the client's? A crowd is one incident of the client, which is
    /// held for it: nothing ends.
    async fn end_or_freeze(&self, claim: &Claim, client: &Loaded<Client>, failure: Failure) -> Failure {
        let connection = claim.connection();
        if failure.class != Class::Suspect || !connection.is_confirmed(self.ledger.now().here) {
            return failure;
        }
        let name = &client.record.name;
        let counted = self.ledger.amend(
            name,
            || Unchanged::Failed(RefreshError::NoClient(name.clone())),
            |record: &mut Client, now| match record.ending(now.here) {
                Ending::Allowed => Ok(()),
                // Not written: a crowd would get in its own way.
                Ending::Frozen => Err(Unchanged::KnownAlready),
            },
        );
        match counted.await {
            Ok(_) => failure,
            Err(Unchanged::KnownAlready) => failure.of_the_client(),
            // What cannot be counted does not end either: it is suspected still at the next try.
            Err(Unchanged::Failed(err)) => {
                tracing::warn!(client = %name, cause = %err, "a refused grant could not be counted");
                failure.uncounted()
            }
        }
    }

    async fn write_failure(
        &self,
        claim: &Claim,
        prepared: &Prepared,
        failure: &Failure,
    ) -> Result<Option<Timestamp>, RefreshError> {
        let mut pause = COMMIT_PAUSE;
        for turn in 0..FAIL_TRIES {
            let watch = self.warm.watch(&claim.connection().name);
            match self.ledger.fail(claim, failure, &prepared.profile).await {
                Ok(None) => return Ok(None),
                Ok(Some(loaded)) => {
                    self.entered(claim.connection().state, &loaded.record).await;
                    match claim.attempt().authorization {
                        None => told_of_failure(&loaded.record, failure),
                        Some(_) => told_of_consent(&loaded.record, failure),
                    }
                    return Ok(self.kept(watch, loaded).record.due);
                }
                Err(err) if err.is_outage() => {}
                Err(err) => return Err(err.into()),
            }
            tokio::time::sleep(jittered(pause, claim.attempt().id, 0, turn)).await;
            pause *= 2;
        }
        tracing::warn!(connection = %claim.connection().name, detail = failure.detail,
            "a failed exchange could not be written down; its lease ends by itself");
        Ok(None)
    }

    /// The client is refused by its provider: the connection waits with it, and is not looked at until then.
    pub(super) async fn postpone(&self, connection: &Connection, hold: &Hold, now: Moment) -> RefreshError {
        let until = hold.until;
        let why = LastFailure::from(hold);
        let waits_with_it = || RefreshError::Held { at: now, until, failure: Some(why.clone()) };
        if connection.due.is_some_and(|due| due < until) {
            let spread = jittered(HOLD, connection.uid, connection.generation, hold.failures) / 8;
            let waits = self.ledger.amend(
                &connection.name,
                || RefreshError::Gone,
                |record: &mut Connection, now| {
                    match record.postponed(until.plus(spread), why.clone(), now) {
                        Noted::Changed => Ok(()),
                        // All replicas look at it again and again.
                        Noted::KnownAlready => Err(waits_with_it()),
                    }
                },
            );
            if let Err(err) = waits.await {
                return err;
            }
        }
        waits_with_it()
    }

    /// A hold that has run out lets one exchange try; the others wait for what comes of it.
    pub(super) async fn probe(&self, name: &ClientName) -> Result<Loaded<Client>, RefreshError> {
        let probing = self.ledger.amend(
            name,
            || RefreshError::NoClient(name.clone()),
            |record: &mut Client, now| match &mut record.hold {
                Some(hold) if now.store < hold.until => {
                    let failure = Some(LastFailure::from(&*hold));
                    Err(RefreshError::Held { at: now, until: hold.until, failure })
                }
                Some(hold) => {
                    hold.until = now.store.plus(PROBE);
                    Ok(())
                }
                None => Ok(()),
            },
        );
        probing.await
    }

    /// Writes down that an exchange could not even be prepared. Gives the failure back, and when the next try is.
    pub(super) async fn set_aside(
        &self,
        name: &ConnectionName,
        seen: Seen,
        failure: Failure,
        profile: Option<&Profile>,
    ) -> Failure {
        let set_aside = self.ledger.amend(
            name,
            || RefreshError::Gone,
            |record: &mut Connection, now| {
                // What was answered meanwhile stands.
                if record.seen() == seen {
                    record.set_aside(&failure, profile, now);
                }
                Ok(())
            },
        );
        match set_aside.await {
            Ok(loaded) => {
                told_of_failure(&loaded.record, &failure);
                let now = self.ledger.now().store;
                let retry_after = loaded.record.due.map(|due| now.until(due));
                Failure { retry_after: retry_after.or(failure.retry_after), ..failure }
            }
            Err(err) => {
                tracing::warn!(connection = %name, cause = %err, "connection could not be set aside");
                failure
            }
        }
    }

    /// Stops all connections of a refused client for a while: none of their grants is at fault.
    async fn hold_client(&self, prepared: &Prepared, failure: &Failure) {
        let client = &prepared.client;
        let name = &client.record.name;
        let verdicts = prepared.identity.verdicts.all();
        let reason = failure.hold;
        let mut told = false;
        let held = self.ledger.amend(
            name,
            || Unchanged::Failed(RefreshError::NoClient(name.clone())),
            |record: &mut Client, now| {
                let noted = record.fared(&verdicts, now.here);
                // A person changed it since: what was refused may be accepted now.
                let outdated = (record.uid, record.revision) != (client.record.uid, client.record.revision);
                let others = record.hold != client.record.hold;
                if outdated || (others && record.held(now.store).is_some()) {
                    return match noted {
                        Noted::Changed => Ok(()),
                        Noted::KnownAlready => Err(Unchanged::KnownAlready),
                    };
                }
                told = true;
                let failures = record.hold.as_ref().map_or(0, |hold| hold.failures) + 1;
                let pause = HOLD.saturating_mul(1 << (failures - 1).min(16)).min(HOLD_MAX);
                record.hold = Some(Hold {
                    until: now.store.plus(pause),
                    reason,
                    code: failure.code.clone(),
                    correlation_id: failure.correlation_id.clone(),
                    at: now.here,
                    failures,
                });
                Ok(())
            },
        );
        match held.await {
            Err(Unchanged::KnownAlready) => {}
            Ok(_) if !told => {}
            Ok(_) => told_of_hold(name, failure),
            Err(Unchanged::Failed(err)) => {
                tracing::warn!(client = %name, cause = %err, "refused client could not be put on hold");
            }
        }
    }

    /// A success ends the hold, and tells which secret is good.
    pub(super) async fn release_client(&self, prepared: &Prepared) {
        let (name, held) = (&prepared.client.record.name, prepared.client.record.hold.is_some());
        let verdicts = prepared.identity.verdicts.all();
        let known =
            prepared.client.record.clone().fared(&verdicts, self.ledger.now().here) == Noted::KnownAlready;
        if known && !held {
            return;
        }
        let released = self.ledger.amend(
            name,
            || Unchanged::Failed(RefreshError::NoClient(name.clone())),
            |record: &mut Client, now| {
                let was_held = record.hold.take().is_some();
                match record.fared(&verdicts, now.here) {
                    // Another exchange of the same client took it down.
                    Noted::KnownAlready if !was_held => Err(Unchanged::KnownAlready),
                    Noted::KnownAlready | Noted::Changed => Ok(()),
                }
            },
        );
        match released.await {
            Ok(_) if held => tracing::info!(client = %name, "provider accepts this client again"),
            Ok(_) | Err(Unchanged::KnownAlready) => {}
            Err(Unchanged::Failed(err)) => {
                tracing::warn!(client = %name, cause = %err, "what became of a client could not be written down");
            }
        }
    }
}

/// Why a client's record was not written.
enum Unchanged {
    KnownAlready,
    Failed(RefreshError),
}

impl From<StoreError> for Unchanged {
    fn from(err: StoreError) -> Self {
        Self::Failed(err.into())
    }
}

fn told_of_hold(client: &ClientName, failure: &Failure) {
    let (code, correlation_id) = (&failure.code, &failure.correlation_id);
    let reason = failure.hold.map(HoldReason::word);
    match failure.hold {
        Some(HoldReason::ManyGrantsRefused) => tracing::error!(%client, reason, code, correlation_id,
            "many grants of this client were refused within a minute, so no more is given up and its connections wait; \
             was the app removed or its client replaced?"),
        Some(
            HoldReason::SecretsRefused
            | HoldReason::ClientUnknown
            | HoldReason::ClientDisabled
            | HoldReason::GrantNotAllowed,
        )
        | None => tracing::error!(%client, reason, code, correlation_id,
            "provider refuses this client; its connections wait and keep their grants; check client id and secret"),
    }
}

/// A device code that nobody has confirmed yet is nothing to speak of.
fn told_of_consent(connection: &Connection, failure: &Failure) {
    let stage = connection.authorization.as_ref().map(|ours| ours.stage);
    match stage {
        Some(Stage::Open) | None => {
            tracing::debug!(connection = %connection.name, code = failure.code, detail = failure.detail,
                "authorization has brought nothing yet");
        }
        Some(stage @ (Stage::Taken | Stage::Succeeded | Stage::Denied | Stage::Expired | Stage::Failed)) => {
            tracing::warn!(connection = %connection.name, %stage, class = %failure.class, code = failure.code,
                status = failure.status, correlation_id = failure.correlation_id, detail = failure.detail,
                "authorization ended without a grant; what was there before goes on");
        }
    }
}

fn told_of_failure(connection: &Connection, failure: &Failure) {
    let (name, class) = (&connection.name, failure.class);
    let retry = connection.due.map(|due| due.to_string());
    if connection.state == State::NeedsReauthorization {
        let reason = connection.reason.as_ref().map(|reason| reason.reason.word());
        tracing::error!(connection = %name, reason, code = failure.code, correlation_id = failure.correlation_id,
            "grant is over; authorize the connection again");
    } else if connection.failures >= 3 {
        // Said twice; from here on it is for who looks for it.
        tracing::debug!(connection = %name, %class, code = failure.code, status = failure.status,
            detail = failure.detail, failures = connection.failures, retry, "exchange failed again");
    } else {
        tracing::warn!(connection = %name, %class, code = failure.code, status = failure.status,
            correlation_id = failure.correlation_id, detail = failure.detail, retry, "exchange failed");
    }
}
