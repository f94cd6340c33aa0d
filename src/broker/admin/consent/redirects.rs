//! Browsers on their way: sent to the provider, bound to the browser that was first, and taken back once. Whoever
//! does not know both the address's word and the browser's cookie changes nothing.

use super::{Admin, AdminError, Asked, STATE, words::Token};
use crate::{
    broker::{admin::strangers::ToStrangers, kept::Kept, refresher::OneTime, refresher::RefreshError},
    domain::{
        authorization::{
            Brought, Fault, Opening, Over, Redeemed, Redirect, Refused, Stage, Taker, Way, open, recognised,
            redeem,
        },
        connection::Connection,
        failure::harmless,
        names::ConnectionName,
        profile::{GrantKind, Profile},
        token::Secret,
    },
    provider::{Endpoint, Grant, hosts},
    seal::{derived_word, digest, fresh_word},
    store::{
        Room, StoreError,
        ledger::{Loaded, Wrote},
    },
};
use std::{collections::BTreeMap, time::Duration};
use url::{Url, form_urlencoded};
use uuid::Uuid;

/// Longest query of a redirect, in bytes.
pub const QUERY_MAX: usize = 16 * 1024;
/// Most parameters in it.
const PARAMETERS_MAX: usize = 64;
/// How often writing is tried again when somebody else wrote first.
const CONFLICTS_MAX: u32 = 8;
/// Cookies of ours begin with this; the rest says of which authorization.
pub const COOKIE_PREFIX: &str = "bursar-";
/// How long a browser keeps its cookie: as long as a consent is open, and a little for what comes late.
const COOKIE_AGE: Duration = Duration::from_mins(15);

/// The cookies of a browser by name, without `__Host-`.
pub type Cookies = BTreeMap<String, String>;

/// Where a browser is sent on, and what it keeps.
pub struct Opened {
    pub location: Url,
    /// Name and value of a cookie to set; `None` if the browser has it.
    pub cookie: Option<(String, Secret)>,
    pub cookie_age: Duration,
}

/// What a browser is told in the end.
#[derive(Debug)]
pub struct Turn {
    /// Named only to the browser that was bound to it.
    pub connection: Option<ConnectionName>,
    pub outcome: Outcome,
    /// Where the browser goes instead of our page.
    pub return_uri: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Denied,
    Expired,
    /// The provider's own code, of harmless characters.
    ProviderError(Option<String>),
    WrongIssuer,
    /// It is no answer of this protocol.
    Nonsense,
    /// Nothing is under way that this belongs to.
    Unknown,
    OtherBrowser,
    /// It was used before; what came of it.
    Replayed(Stage),
    /// The connection is switched off or being revoked.
    SwitchedOff,
    /// There was consent, and the exchange brought nothing.
    Failed(Fault),
    /// The broker could not look: its store is away, or it is stopping.
    Unavailable,
}

impl Turn {
    const fn nameless(outcome: Outcome) -> Self {
        Self { connection: None, outcome, return_uri: None }
    }
}

/// What a redirect's query holds; each parameter once (RFC 6749 §3.1).
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// `None`: too long, or a parameter comes twice.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() > QUERY_MAX {
            return None;
        }
        let mut found = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).take(PARAMETERS_MAX + 1) {
            if found.insert(name.into_owned(), value.into_owned()).is_some() || found.len() > PARAMETERS_MAX {
                return None;
            }
        }
        Some(Self(found))
    }

    /// Empty counts as absent (RFC 6749 §3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn brought(&self, profile: &Profile) -> Brought {
        let error = self.get("error").or_else(|| self.get("error_code"));
        let elsewhere = self.get("geolocation").is_some_and(|given| hosts::base_url(profile, given).is_err());
        match (self.get("code"), error) {
            (_, Some(error)) => Brought::Error(error.to_owned()),
            // It names a host that may not be sent secrets: whoever wrote this answer is not the provider.
            (Some(_), None) if elsewhere => Brought::Nonsense,
            (Some(code), None) => Brought::Code(Secret::new(code)),
            (None, None) => Brought::Nonsense,
        }
    }
}

/// `bursar-` and the authorization's id.
fn cookie_name(id: Uuid) -> String {
    format!("{COOKIE_PREFIX}{}", id.simple())
}

/// A redirect that was taken: the code is ours alone.
pub(super) struct Taken {
    pub(super) name: ConnectionName,
    pub(super) id: Uuid,
    pub(super) brought: OneTime,
    pub(super) return_uri: Option<String>,
}

/// What taking a redirect comes to.
pub(super) enum Taking {
    Taken(Box<Taken>),
    Ended(Turn),
}

impl Admin {
    /// Opens the address that begins a consent: binds the first browser that comes, and sends it on.
    pub async fn open_authorization(&self, token: &str, cookies: &Cookies) -> Result<Opened, Turn> {
        let unknown = || Turn::nameless(Outcome::Unknown);
        let token = Token::parse(token).ok_or_else(unknown)?;
        let fresh = fresh_word();
        for _ in 0..CONFLICTS_MAX {
            let loaded = self.consenting(&token.name).await?;
            let authorization = loaded.record.authorization.as_ref().ok_or_else(unknown)?;
            let cookie = cookie_name(authorization.id);
            let theirs = cookies.get(&cookie).map_or_else(|| fresh.clone(), |word| Secret::new(word.clone()));
            let (opener, bound) = (digest(token.word.expose()), digest(theirs.expose()));
            let set = match open(&loaded.record, &opener, &bound, self.ledger.now_of(&loaded)) {
                Opening::Bind(next) => match self.written(&loaded, &next).await? {
                    Wrote::Done(_) => Some((cookie, theirs)),
                    Wrote::Conflict => continue,
                },
                Opening::Again => None,
                Opening::Over(next, over) => {
                    self.written(&loaded, &next).await?;
                    return Err(turned(&loaded.record, over));
                }
                Opening::Refused(refused) => return Err(refusal(&loaded.record, refused)),
            };
            let location = self.onward(&loaded.record, &token.word).await.map_err(|err| {
                tracing::warn!(connection = %token.name, cause = %err, "a browser cannot be sent to the provider");
                let connection = Some(token.name.clone());
                Turn { connection, outcome: Outcome::Failed(Fault::Configuration), return_uri: None }
            })?;
            return Ok(Opened { location, cookie: set, cookie_age: COOKIE_AGE });
        }
        Err(Turn::nameless(Outcome::Unavailable))
    }

    async fn onward(&self, connection: &Connection, opener: &Secret) -> Result<Url, AdminError> {
        let authorization = connection.authorization.as_ref().ok_or(RefreshError::Gone)?;
        let Way::Browser(browser) = &authorization.way else { return Err(RefreshError::Gone.into()) };
        let client = self.client_of(connection).await?;
        let profile = self
            .catalogue
            .get(&connection.provider)
            .ok_or_else(|| RefreshError::NoProfile(connection.provider.clone()))?;
        let profile = self.resolved(&profile, Endpoint::Authorization, GrantKind::AuthorizationCode).await?;
        let keys = self.keys.keys(&connection.name.owner()).await?;
        let kept =
            Kept::open(&keys, &connection.name, authorization).map_err(crate::seal::SealError::from)?;
        let state = Token { word: derived_word(opener, STATE), name: connection.name.clone() };
        let asked = Asked {
            state: &Secret::new(state.text()),
            redirect_uri: &browser.redirect_uri,
            scopes: &authorization.scopes,
            resources: &authorization.resources,
            kept: &kept,
        };
        self.address(&client, &profile, &asked).await
    }

    /// Takes a browser back from the provider, and exchanges what it brought. `place` is the connection that the
    /// path of the request names.
    pub async fn take_redirect(
        &self,
        place: Option<&ConnectionName>,
        query: &str,
        cookies: &Cookies,
    ) -> Turn {
        match self.taken(Taker::Broker, place, query, cookies).await {
            Taking::Ended(turn) => turn,
            Taking::Taken(taken) => {
                let (name, return_uri) = (taken.name.clone(), taken.return_uri.clone());
                let outcome = match self.refresher.authorize(&name, taken.id, Some(taken.brought)).await {
                    Ok(_) => Outcome::Succeeded,
                    Err(err) => Outcome::Failed(fault(&err)),
                };
                Turn { connection: Some(name), outcome, return_uri }
            }
        }
    }

    pub(super) async fn taken(
        &self,
        taker: Taker,
        place: Option<&ConnectionName>,
        query: &str,
        cookies: &Cookies,
    ) -> Taking {
        match self.try_take(taker, place, query, cookies).await {
            Ok(grant) => Taking::Taken(Box::new(grant)),
            Err(turn) => Taking::Ended(turn),
        }
    }

    async fn try_take(
        &self,
        taker: Taker,
        place: Option<&ConnectionName>,
        query: &str,
        cookies: &Cookies,
    ) -> Result<Taken, Turn> {
        let unknown = || Turn::nameless(Outcome::Unknown);
        let query = Query::parse(query).ok_or_else(|| Turn::nameless(Outcome::Nonsense))?;
        let state = match query.get("state") {
            Some(text) => Some(Token::parse(text).ok_or_else(unknown)?),
            None => None,
        };
        let name = match (state.as_ref().map(|state| &state.name), place) {
            (Some(named), Some(place)) if named != place => return Err(unknown()),
            (Some(name), _) | (None, Some(name)) => name.clone(),
            (None, None) => return Err(unknown()),
        };
        for _ in 0..CONFLICTS_MAX {
            let loaded = self.consenting(&name).await?;
            let authorization = loaded.record.authorization.as_ref().ok_or_else(unknown)?;
            let state = state.as_ref().map(|state| digest(state.word.expose()));
            let cookie = cookies.get(&cookie_name(authorization.id)).map(|word| digest(word));
            // Before anything else that could fail: whose it is not learns nothing from how it fails.
            recognised(&loaded.record, taker, (state.as_ref(), cookie.as_ref()))
                .map_err(|refused| refusal(&loaded.record, refused))?;
            let profile = self.catalogue.get(&loaded.record.provider).ok_or_else(unavailable)?;
            let redirect = Redirect {
                taker,
                state,
                cookie,
                iss: query.get("iss").map(str::to_owned),
                brought: query.brought(&profile),
            };
            match redeem(&loaded.record, redirect, self.ledger.now_of(&loaded)) {
                Redeemed::Refused(refused) => return Err(refusal(&loaded.record, refused)),
                Redeemed::Over(next, over) => {
                    if let Wrote::Done(_) = self.written(&loaded, &next).await? {
                        tracing::info!(connection = %name, outcome = ?over, "authorization ended without a grant");
                        let code = next.authorization.as_ref().and_then(|ours| ours.code.clone());
                        return Err(with_code(turned(&loaded.record, over), code.as_deref()));
                    }
                }
                Redeemed::Exchange(next, code) => {
                    // Opened before it is wiped from the record.
                    let brought = self.brought(&loaded.record, code).await.map_err(|err| {
                        tracing::error!(connection = %name, cause = %err, "a consent cannot be redeemed");
                        unavailable()
                    })?;
                    if let Wrote::Done(_) = self.written(&loaded, &next).await? {
                        let return_uri = return_uri(&loaded.record);
                        return Ok(Taken { name, id: authorization.id, brought, return_uri });
                    }
                }
            }
        }
        Err(unavailable())
    }

    async fn brought(&self, connection: &Connection, code: Secret) -> Result<OneTime, AdminError> {
        let keys = self.keys.keys(&connection.name.owner()).await?;
        let authorization = connection.authorization.as_ref().ok_or(RefreshError::Gone)?;
        let Way::Browser(browser) = &authorization.way else { return Err(RefreshError::Gone.into()) };
        let kept =
            Kept::open(&keys, &connection.name, authorization).map_err(crate::seal::SealError::from)?;
        let grant = Grant::AuthorizationCode {
            code,
            redirect_uri: Some(browser.redirect_uri.clone()),
            code_verifier: kept.verifier.map(Secret::new),
        };
        Ok(OneTime { grant, nonce: kept.nonce })
    }

    /// A connection as browsers may ask for it: that there is none is not told apart.
    async fn consenting(&self, name: &ConnectionName) -> Result<Loaded<Connection>, Turn> {
        match self.connection(name).await {
            Ok(loaded) => Ok(loaded),
            Err(err) => Err(match self.strangers.judge(name, &err) {
                ToStrangers::Missing => Turn::nameless(Outcome::Unknown),
                ToStrangers::Away => unavailable(),
            }),
        }
    }

    async fn written(&self, loaded: &Loaded<Connection>, next: &Connection) -> Result<Wrote, Turn> {
        let written = self.ledger.update(loaded, next, Room::Needed).await.map_err(|err: StoreError| {
            tracing::warn!(connection = %next.name, cause = %err, "a consent cannot be written down");
            unavailable()
        });
        self.warm.forget(&next.name);
        written
    }
}

const fn unavailable() -> Turn {
    Turn::nameless(Outcome::Unavailable)
}

fn return_uri(connection: &Connection) -> Option<String> {
    match &connection.authorization.as_ref()?.way {
        Way::Browser(browser) => browser.return_uri.clone(),
        Way::Device(_) | Way::Otp { .. } => None,
    }
}

fn turned(connection: &Connection, over: Over) -> Turn {
    let outcome = match over {
        Over::Denied => Outcome::Denied,
        Over::Expired => Outcome::Expired,
        Over::ProviderError => Outcome::ProviderError(None),
        Over::WrongIssuer => Outcome::WrongIssuer,
        Over::Nonsense => Outcome::Nonsense,
    };
    Turn { connection: Some(connection.name.clone()), outcome, return_uri: return_uri(connection) }
}

fn with_code(turn: Turn, code: Option<&str>) -> Turn {
    match turn.outcome {
        Outcome::ProviderError(_) => {
            Turn { outcome: Outcome::ProviderError(code.and_then(harmless)), ..turn }
        }
        _ => turn,
    }
}

fn refusal(connection: &Connection, refused: Refused) -> Turn {
    let ours = |outcome| Turn { connection: Some(connection.name.clone()), outcome, return_uri: None };
    match refused {
        Refused::Unknown => Turn::nameless(Outcome::Unknown),
        Refused::OtherBrowser => Turn::nameless(Outcome::OtherBrowser),
        // It expired before anybody came: whoever comes now is told that, and not that it was used.
        Refused::Replayed(Stage::Expired) => ours(Outcome::Expired),
        Refused::Replayed(stage) => ours(Outcome::Replayed(stage)),
        Refused::State(_) => ours(Outcome::SwitchedOff),
    }
}

/// What an exchange that brought nothing is told as.
pub(super) fn fault(err: &RefreshError) -> Fault {
    match err {
        RefreshError::Failed(failure) => Fault::of(failure),
        RefreshError::NoProfile(_) | RefreshError::NoClient(_) => Fault::Configuration,
        RefreshError::Held { .. }
        | RefreshError::Ended(_)
        | RefreshError::Busy
        | RefreshError::Gone
        | RefreshError::Orphaned
        | RefreshError::Replaced
        | RefreshError::Store(_)
        | RefreshError::Seal(_)
        | RefreshError::Stopping
        | RefreshError::Lost => Fault::Lost,
    }
}
