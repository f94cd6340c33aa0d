//! One connection at a time: created with its refresh token, which the server proves by one refresh. A call whose answer
//! is lost is never taken for a failure: the server is asked what became of it, and a name that exists is not sent again.

use super::{
    entry::Entry,
    pace::{Gate, Pause, Turn},
};
use crate::{
    api::{
        Connection, CreateConnectionRequest, ErrorReason, GetConnectionRequest, Grant,
        ListConnectionsRequest, RefreshTokenGrant, connection::State, grant::Kind,
    },
    cli::{
        failure::{Failure, known_reason, retry_after},
        session::Session,
        table::plain,
    },
    domain::names::{ConnectionName, TenantName},
};
use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};
use tokio::time::sleep;
use tonic::Code;

/// Times that a connection is tried whose token certainly was not sent to the provider.
const TRIES_MAX: u32 = 5;
/// Pause before another try where the server names none.
const PAUSE_DEFAULT: Duration = Duration::from_secs(2);
/// Pause before the server is asked again what became of a call.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Times that it is asked.
const LOOKS_MAX: u32 = 5;
/// Most connections of a tenant that are compared with the file before it begins.
const KNOWN_MAX: usize = 1_000_000;

/// What is there of the connections to import, by name.
pub(super) type Known = HashMap<ConnectionName, Connection>;

/// What became of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Proven and active.
    Imported,
    /// Was there, and is active.
    ThereAlready,
    /// The server keeps it and goes on by itself: it is not known whether the provider used up the token.
    Pending(Trouble),
    /// Somebody stopped the import before.
    NotBegun,
    /// Nothing is kept, or what is there cannot be used.
    Failed(Trouble),
}

/// What is told about one that is not active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) next_step: String,
}

/// Which of the connections exist, so that their tokens stay in the file.
pub(super) async fn already_there(session: &Session, entries: &[Entry]) -> Result<Known, Failure> {
    let wanted: BTreeSet<&ConnectionName> = entries.iter().map(|entry| &entry.connection).collect();
    let tenants: BTreeSet<&TenantName> = wanted.iter().map(|name| &name.tenant).collect();
    let mut known = Known::new();
    for tenant in tenants {
        let session = session.renewed();
        let listed = session
            .pages(KNOWN_MAX, |page_size, page_token| {
                let mut connections = session.connections();
                let request = ListConnectionsRequest {
                    parent: tenant.to_string(),
                    page_size,
                    page_token,
                    filter: String::new(),
                };
                async move {
                    let answer = connections.list_connections(request).await?;
                    Ok(answer.map(|page| (page.connections, page.next_page_token)))
                }
            })
            .await?;
        for connection in listed.items {
            match connection.name.parse() {
                Ok(name) if wanted.contains(&name) => drop(known.insert(name, connection)),
                Ok(_) | Err(_) => {}
            }
        }
    }
    Ok(known)
}

/// Of an earlier run, or somebody else's.
pub(super) fn there_already(entry: &Entry, known: &Connection) -> Outcome {
    if known.client != entry.client.to_string() {
        return Outcome::Failed(Trouble {
            reason: "ALREADY_EXISTS".into(),
            message: "a connection of this name exists with another client".into(),
            next_step: "give it another name in the file, or delete that one".into(),
        });
    }
    match state_of(entry, known) {
        Outcome::Imported => Outcome::ThereAlready,
        other => other,
    }
}

/// Creates it. Tries again only what certainly did not reach the provider.
pub(super) async fn import(session: &Session, gate: &Gate, entry: &Entry) -> Outcome {
    let mut tries = 0;
    loop {
        match gate.turn().await {
            Turn::Begin => tries += 1,
            // Also after a try: nothing was kept of it.
            Turn::Closed => return Outcome::NotBegun,
        }
        let session = session.renewed();
        match session.wait(session.connections().create_connection(request(entry))).await {
            Ok(created) => return state_of(entry, &created),
            Err(failure) => match meaning(&failure) {
                Meaning::Final => return Outcome::Failed(trouble(&failure)),
                Meaning::Unknown => return what_became(&session, entry, &failure).await,
                Meaning::Later(pause) => {
                    if tries == TRIES_MAX || gate.pause(pause.unwrap_or(PAUSE_DEFAULT)) == Pause::TooLong {
                        return Outcome::Failed(trouble(&failure));
                    }
                }
            },
        }
    }
}

/// What a failed call says about the token.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    /// Refused; nothing is kept.
    Final,
    /// Not sent, or asked to come later; nothing is kept.
    Later(Option<Duration>),
    /// It may have been sent.
    Unknown,
}

fn meaning(failure: &Failure) -> Meaning {
    use ErrorReason as R;
    let status = match failure {
        Failure::Refused(status) => status,
        Failure::Unreachable { .. } | Failure::NotTrusted { .. } | Failure::TimedOut { .. } => {
            return Meaning::Unknown;
        }
        Failure::Usage(_)
        | Failure::OutputClosed
        | Failure::Local(_)
        | Failure::NotAuthorized { .. }
        | Failure::StoppedWaiting { .. }
        | Failure::NotAllImported { .. } => return Meaning::Final,
    };
    match known_reason(status) {
        Some(
            R::ProviderThrottled
            | R::ProviderUnavailable
            | R::RefreshHeld
            | R::Overloaded
            | R::NotReady
            | R::KeyUnavailable
            | R::AuditUnavailable,
        ) => Meaning::Later(retry_after(status)),
        Some(
            R::AlreadyExists
            | R::ProviderAnswerLost
            | R::StoreUnavailable
            | R::ShuttingDown
            | R::RefreshInProgress
            | R::WriteConflict
            | R::Internal,
        ) => Meaning::Unknown,
        Some(_) => Meaning::Final,
        // A proxy, or a reason of tomorrow.
        None => match status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::Unknown | Code::Internal => {
                Meaning::Unknown
            }
            _ => Meaning::Final,
        },
    }
}

/// The call's answer is lost; the record tells. A record comes before any exchange: without one nothing was sent.
async fn what_became(session: &Session, entry: &Entry, failure: &Failure) -> Outcome {
    for look in 0..LOOKS_MAX {
        if look > 0 {
            sleep(LOOK_AGAIN * 2_u32.pow(look - 1)).await;
        }
        let session = session.renewed();
        let request = GetConnectionRequest { name: entry.connection.to_string() };
        match session.wait(session.connections().get_connection(request)).await {
            Ok(found) => return there_already(entry, &found),
            Err(Failure::Refused(status))
                if known_reason(&status) == Some(ErrorReason::ConnectionNotFound) =>
            {
                return Outcome::Failed(trouble(failure));
            }
            Err(_) => {}
        }
    }
    let mut unknown = trouble(failure);
    unknown.message = format!("it is not known whether the server took it: {}", unknown.message);
    unknown.next_step = "run the import again once the server answers: it looks first".into();
    Outcome::Failed(unknown)
}

fn state_of(entry: &Entry, connection: &Connection) -> Outcome {
    let name = &entry.connection;
    let reason = connection.state_reason.as_ref();
    let message = reason.map(|reason| plain(&reason.message)).filter(|message| !message.is_empty());
    let trouble = |otherwise: &str, next_step: String| Trouble {
        reason: connection.state().as_str_name().trim_start_matches("STATE_").to_owned(),
        message: message.clone().unwrap_or_else(|| otherwise.to_owned()),
        next_step,
    };
    match connection.state() {
        State::Active => Outcome::Imported,
        State::Pending | State::Unspecified => Outcome::Pending(trouble(
            "its first refresh is not answered yet; the broker tries again by itself, at the safest moment",
            format!("look at it later: `bursar connection show {name}`; do not use the token elsewhere"),
        )),
        State::NeedsReauthorization => Outcome::Failed(trouble(
            "its authorization is lost",
            format!("authorize it: `bursar connection authorize {name}`"),
        )),
        State::Disabled => Outcome::Failed(trouble(
            "it is switched off",
            format!("switch it on: `bursar connection enable {name}`"),
        )),
        State::Revoking | State::Revoked => Outcome::Failed(trouble(
            "it was given back",
            format!("delete it and import again, or authorize it: `bursar connection authorize {name}`"),
        )),
    }
}

fn trouble(failure: &Failure) -> Trouble {
    let of_grant = |status| known_reason(status) == Some(ErrorReason::GrantRefused);
    let refused = matches!(failure, Failure::Refused(status) if of_grant(status));
    let (reason, message, next_step) = failure.report().into_parts();
    if !refused {
        return Trouble { reason, message, next_step };
    }
    // What the API says of any grant, said of this one.
    Trouble {
        reason,
        message: "the provider refused the token: used up, expired, or of another client".into(),
        next_step: "authorize it anew: `bursar connection authorize … --create`, see its --help".into(),
    }
}

fn request(entry: &Entry) -> CreateConnectionRequest {
    let grant = RefreshTokenGrant {
        refresh_token: entry.refresh_token.expose().to_owned(),
        api_base_url: entry.api_base_url.clone(),
        refresh_token_expire_time: entry.expire_time,
    };
    CreateConnectionRequest {
        parent: entry.connection.tenant.to_string(),
        connection_id: entry.connection.id.to_string(),
        connection: Some(Connection {
            client: entry.client.to_string(),
            requested_scopes: entry.scopes.clone(),
            labels: entry.labels.clone(),
            ..Connection::default()
        }),
        grant: Some(Grant { kind: Some(Kind::RefreshToken(grant)) }),
        dpop_key_pem: String::new(),
    }
}
