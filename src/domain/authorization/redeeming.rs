//! What browsers bring: the first opening binds, the redirect is redeemed once. Whoever knows neither the words nor the
//! cookie changes nothing.

use super::{Authorization, Browser, Digest, End, Fault, Presence, Stage, TAKEN_FOR, Taker, Way};
use crate::domain::{
    connection::{Connection, State},
    lifecycle::Moment,
    token::Secret,
};

/// What a redirect brought, its secrets as hashes.
#[derive(Debug)]
pub struct Redirect {
    pub taker: Taker,
    pub state: Option<Digest>,
    pub cookie: Option<Digest>,
    pub iss: Option<String>,
    pub brought: Brought,
}

#[derive(Debug)]
pub enum Brought {
    Code(Secret),
    /// RFC 6749 §4.1.2.1, or SAP Concur's `error_code`.
    Error(String),
    /// Neither a code nor an error, or an address that is not allowed: not an answer of this protocol.
    Nonsense,
}

/// What becomes of a redirect.
#[derive(Debug)]
pub enum Redeemed {
    /// Write this, and the code may be exchanged: nobody else can any more.
    Exchange(Box<Connection>, Secret),
    /// Write this: it ended here.
    Over(Box<Connection>, Over),
    /// Nothing to write: it is not this connection's, or not this browser's, or was used before.
    Refused(Refused),
}

/// How an authorization ended without a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Over {
    Denied,
    Expired,
    /// The provider gave an error instead of a code.
    ProviderError,
    /// `iss` is missing or another's (RFC 9207 §2.4).
    WrongIssuer,
    Nonsense,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refused {
    /// No authorization is under way that this belongs to.
    Unknown,
    /// It was begun in another browser.
    OtherBrowser,
    /// It was used already; what came of it.
    Replayed(Stage),
    /// The connection is switched off or being revoked.
    State(State),
}

/// What opening the start address comes to.
#[derive(Debug)]
pub enum Opening {
    /// Write this, with the browser bound to it, and send the browser on.
    Bind(Box<Connection>),
    /// The same browser once more.
    Again,
    Over(Box<Connection>, Over),
    Refused(Refused),
}

/// First opening of the address that starts a consent: from then on it is this browser's.
pub fn open(connection: &Connection, opener: &Digest, cookie: &Digest, now: Moment) -> Opening {
    let Some(authorization) = &connection.authorization else { return Opening::Refused(Refused::Unknown) };
    let Way::Browser(browser) = &authorization.way else { return Opening::Refused(Refused::Unknown) };
    if !browser.opener.as_ref().is_some_and(|ours| ours.matches(opener)) {
        return Opening::Refused(Refused::Unknown);
    }
    match browser.cookie {
        Some(ours) if !ours.matches(cookie) => return Opening::Refused(Refused::OtherBrowser),
        Some(_) | None => {}
    }
    if let Err(refused) = usable(connection, authorization) {
        return Opening::Refused(refused);
    }
    if authorization.has_expired(now) {
        return Opening::Over(Box::new(over(connection, &End::plain(Stage::Expired), now)), Over::Expired);
    }
    if browser.cookie.is_some() {
        return Opening::Again;
    }
    let mut next = connection.clone();
    if let Some(ours) = &mut next.authorization
        && let Way::Browser(browser) = &mut ours.way
    {
        browser.cookie = Some(*cookie);
    }
    Opening::Bind(Box::new(next))
}

/// Whether a redirect belongs to the authorization that is under way. Who does not show `state` or the cookie has shown
/// nothing, and is told what it would be told if there were no such connection.
pub fn recognised<'a>(
    connection: &'a Connection,
    taker: Taker,
    (state, cookie): (Option<&Digest>, Option<&Digest>),
) -> Result<(&'a Authorization, &'a Browser), Refused> {
    let authorization = connection.authorization.as_ref().ok_or(Refused::Unknown)?;
    let Way::Browser(browser) = &authorization.way else { return Err(Refused::Unknown) };
    if browser.taker != taker {
        return Err(Refused::Unknown);
    }
    match (state, browser.state_echo, taker) {
        (Some(given), _, _) if given.matches(&browser.state) => {}
        // Without `state` only the browser's cookie can tell whose it is.
        (None, Presence::Optional, Taker::Broker) => {}
        (Some(_) | None, _, _) => return Err(Refused::Unknown),
    }
    match (taker, &browser.cookie, cookie, state) {
        (Taker::FrontEnd, _, _, _) => Ok((authorization, browser)),
        (Taker::Broker, Some(ours), Some(given), _) if ours.matches(given) => Ok((authorization, browser)),
        (Taker::Broker, _, _, Some(_)) => Err(Refused::OtherBrowser),
        (Taker::Broker, _, _, None) => Err(Refused::Unknown),
    }
}

/// Judges a redirect. Whoever knows neither `state` nor the browser's cookie changes nothing.
pub fn redeem(connection: &Connection, redirect: Redirect, now: Moment) -> Redeemed {
    let shown = (redirect.state.as_ref(), redirect.cookie.as_ref());
    let (authorization, browser) = match recognised(connection, redirect.taker, shown) {
        Ok(found) => found,
        Err(refused) => return Redeemed::Refused(refused),
    };
    if let Err(refused) = usable(connection, authorization) {
        return Redeemed::Refused(refused);
    }
    let ended = |end: End<'_>, why| Redeemed::Over(Box::new(over(connection, &end, now)), why);
    if authorization.has_expired(now) {
        return ended(End::plain(Stage::Expired), Over::Expired);
    }
    // Before anything of the answer is believed, errors included (RFC 9207 §2.4).
    let wrong_issuer = End::failed(Fault::WrongIssuer);
    match (&redirect.iss, &browser.issuer, browser.iss) {
        (Some(given), Some(ours), _) if given != ours => return ended(wrong_issuer, Over::WrongIssuer),
        (None, _, Presence::Required) => return ended(wrong_issuer, Over::WrongIssuer),
        (Some(_), _, _) | (None, _, Presence::Optional) => {}
    }
    match redirect.brought {
        Brought::Error(code) if is_denial(&code) => {
            ended(End { code: Some(&code), ..End::plain(Stage::Denied) }, Over::Denied)
        }
        Brought::Error(code) => {
            ended(End { code: Some(&code), ..End::failed(Fault::ProviderError) }, Over::ProviderError)
        }
        Brought::Nonsense => ended(End::failed(Fault::Nonsense), Over::Nonsense),
        Brought::Code(code) => {
            let mut next = connection.clone();
            if let Some(taken) = &mut next.authorization {
                taken.stage = Stage::Taken;
                taken.secrets = None;
                taken.due = Some(now.store.plus(TAKEN_FOR));
            }
            Redeemed::Exchange(Box::new(next), code)
        }
    }
}

/// RFC 6749 §4.1.2.1; SAP Concur.
pub(super) fn is_denial(code: &str) -> bool {
    matches!(code, "access_denied" | "user_denied")
}

fn usable(connection: &Connection, authorization: &Authorization) -> Result<(), Refused> {
    match (authorization.stage, connection.state) {
        (Stage::Open, State::Disabled | State::Revoking) => Err(Refused::State(connection.state)),
        (Stage::Open, State::Pending | State::Active | State::NeedsReauthorization | State::Revoked) => {
            Ok(())
        }
        (stage @ (Stage::Taken | Stage::Succeeded | Stage::Denied | Stage::Expired | Stage::Failed), _) => {
            Err(Refused::Replayed(stage))
        }
    }
}

/// The record after an authorization that brought nothing. A connection that nobody has authorized yet says why; any
/// other stays as it is.
fn over(connection: &Connection, end: &End<'_>, now: Moment) -> Connection {
    let mut next = connection.clone();
    next.end_authorization(end, now);
    next
}
