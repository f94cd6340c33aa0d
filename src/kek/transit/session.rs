//! Who this process is to OpenBao or Vault: a token from a file that something else keeps fresh, or one from a login,
//! taken anew before it ends. Tokens are in no log and no error.

use super::{Server, answer};
use crate::{domain::token::Secret, seal::KekError};
use serde::Deserialize;
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::Instant};
use zeroize::Zeroizing;

/// A login is repeated when this share of its time is over.
const USED_BEFORE_RENEWAL: f64 = 2.0 / 3.0;
/// A token without an end is taken anew this often all the same, so that a changed policy of the role reaches it.
const WITHOUT_END: Duration = Duration::from_hours(1);
/// No lifetime is believed beyond this.
const LONGEST: Duration = Duration::from_hours(24 * 30);

/// A secret that may change while the process runs, as a mounted file does.
pub trait SecretSource: Send + Sync {
    /// `Err` says what is wrong with it and how to mend it, and nothing of what it holds.
    fn read(&self) -> Result<Secret, String>;
}

/// How a token is got.
pub enum Login {
    /// Written by an agent, or by hand. Read for every request.
    TokenFile(Arc<dyn SecretSource>),
    /// With the pod's own service-account token.
    Kubernetes {
        mount: String,
        role: String,
        jwt: Arc<dyn SecretSource>,
    },
    AppRole {
        mount: String,
        role_id: String,
        secret_id: Arc<dyn SecretSource>,
    },
}

pub(super) struct Session {
    login: Login,
    /// Of the last login or renewal. Locked while another is under way, so that there is one at a time.
    held: Mutex<Option<Held>>,
}

struct Held {
    token: Secret,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct LoggedIn<'a> {
    #[serde(borrow)]
    auth: Auth<'a>,
}

/// Borrowed from the body, which is wiped.
#[derive(Deserialize)]
struct Auth<'a> {
    client_token: &'a str,
    /// Seconds; 0 for a token without an end.
    lease_duration: u64,
}

impl Session {
    pub(super) fn new(login: Login) -> Self {
        Self { login, held: Mutex::new(None) }
    }

    /// The token in use.
    pub(super) async fn token(&self, server: &Server) -> Result<Secret, KekError> {
        let mut held = self.held.lock().await;
        let in_time = |held: &&Held| Instant::now() < held.renew_at;
        let (path, body) = match &self.login {
            Login::TokenFile(file) => {
                let token = read(&**file)?;
                let known = held.as_ref().filter(|held| held.token.expose() == token.expose());
                if known.is_none_or(|held| !in_time(&held)) {
                    *held = renewed(server, token.clone()).await;
                }
                return Ok(token);
            }
            Login::Kubernetes { mount, role, jwt } => {
                if let Some(held) = held.as_ref().filter(in_time) {
                    return Ok(held.token.clone());
                }
                (format!("auth/{mount}/login"), json!({ "role": role, "jwt": read(&**jwt)?.expose() }))
            }
            Login::AppRole { mount, role_id, secret_id } => {
                if let Some(held) = held.as_ref().filter(in_time) {
                    return Ok(held.token.clone());
                }
                let secret_id = read(&**secret_id)?;
                (
                    format!("auth/{mount}/login"),
                    json!({ "role_id": role_id, "secret_id": secret_id.expose() }),
                )
            }
        };
        let body = Zeroizing::new(body.to_string().into_bytes());
        match (logged_in(server, &path, &body).await, &*held) {
            (Ok(fresh), _) => Ok(held.insert(fresh).token.clone()),
            // It is good for a third of its time yet.
            (Err(KekError::Unavailable { .. }), Some(held)) => Ok(held.token.clone()),
            (Err(err), _) => Err(err),
        }
    }

    /// Another token than one that was refused, if there is one to be had.
    pub(super) async fn token_after(
        &self,
        server: &Server,
        refused: &Secret,
    ) -> Result<Option<Secret>, KekError> {
        self.held.lock().await.take_if(|held| held.token.expose() == refused.expose());
        let token = self.token(server).await?;
        Ok((token.expose() != refused.expose()).then_some(token))
    }
}

fn read(source: &dyn SecretSource) -> Result<Secret, KekError> {
    source.read().map_err(|mend| KekError::Refused { mend })
}

/// Prolongs a token that was found in a file, for those that nothing else prolongs. One that cannot be prolonged is
/// used for as long as it lives, and asked about again after a while. `None`: the server could not say at present, and is
/// asked again with the next request.
async fn renewed(server: &Server, token: Secret) -> Option<Held> {
    let reply = server.post("auth/token/renew-self", b"{}", Some(&token)).await.ok()?;
    let lives = match (reply.status, serde_json::from_slice(&reply.body)) {
        (200, Ok(LoggedIn { auth })) => auth.lease_duration,
        (200 | 400 | 403 | 404 | 405, _) => 0,
        _ => return None,
    };
    Some(Held { token, renew_at: renewal(lives) })
}

async fn logged_in(server: &Server, path: &str, body: &[u8]) -> Result<Held, KekError> {
    let reply = server.post(path, body, None).await?;
    let refused = |mend: String| Err(KekError::Refused { mend });
    match reply.status {
        200 => {}
        // Both of a role that does not exist and of a token that it does not take.
        400 | 403 => {
            return refused(format!(
                "it answered {} for {path}: check the role, and what it is bound to (service account, namespace, \
                 audience, secret id)",
                reply.status
            ));
        }
        404 | 405 => {
            return refused(format!(
                "there is no login at {path}: check keys.transit.auth_mount and keys.transit.namespace"
            ));
        }
        status => return Err(answer::away(status)),
    }
    let Ok(LoggedIn { auth }) = serde_json::from_slice(&reply.body) else {
        return Err(KekError::Misbehaved { what: "a login was answered without a token" });
    };
    let renew_at = renewal(auth.lease_duration);
    Ok(Held { token: Secret::new(auth.client_token), renew_at })
}

/// When to take a token anew that lives so many seconds.
pub(super) fn renewal(seconds: u64) -> Instant {
    let lives = if seconds == 0 { WITHOUT_END } else { Duration::from_secs(seconds).min(LONGEST) };
    Instant::now() + lives.mul_f64(USED_BEFORE_RENEWAL)
}
