//! A person's consent, begun: in a browser, on another device, or with a one-time password. What the connection has
//! goes on serving meanwhile; what comes of it is the business of [`redirects`] and [`completing`].

pub mod completing;
pub mod redirects;
mod rules;
mod words;

pub use redirects::{Opened, Outcome, Turn};
pub use rules::{ConsentRules, RedirectUris};

use super::{Admin, AdminError, connections::missing};
use crate::{
    broker::{kept::Kept, refresher::RefreshError},
    clock::Timestamp,
    domain::{
        authorization::{
            Authorization, Browser, DEVICE_OPEN_MAX, Device, POLL_EVERY, POLL_MAX, Presence, Principals,
            Stage, Taker, Way,
        },
        client::Client,
        connection::Connection,
        names::ConnectionName,
        profile::{Dialect, GrantKind, Pkce, Profile, ResponseIss},
        token::Secret,
    },
    provider::{
        ClientIdentity, Endpoint,
        authorization::{AuthorizationRequest, Prelude, Preparation, Prepared},
    },
    seal::{derived_word, digest, fresh_word},
};
use rules::{REDIRECT_FIELD, RETURN_FIELD, hinted, is_openid, may_start, no_callback, not_listed, startable};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use url::Url;
use uuid::Uuid;
use words::Token;

/// The shortest time that a device code is polled for.
const DEVICE_OPEN_MIN: Duration = Duration::from_secs(30);

/// What to begin.
#[derive(Debug)]
pub enum Start {
    Browser { return_uri: Option<String>, redirect_uri: Option<String>, login_hint: Option<String> },
    Device,
    Otp { email: String, parameters: BTreeMap<String, String> },
}

/// What was begun.
pub struct Started {
    /// By the store's clock.
    pub expires_at: Timestamp,
    pub next: NextStep,
}

/// What the person has to do.
pub enum NextStep {
    Open { url: String, redirect_uri: String },
    Show { verification_uri: String, verification_uri_complete: Option<String>, user_code: String },
    AskForPassword { sent_to: String },
}

/// An authorization in the making.
struct Begun {
    way: Way,
    kept: Kept,
    open_for: Duration,
    /// When it is to be looked at first.
    look_in: Duration,
    next: NextStep,
}

/// Everything that beginning one needs.
struct Beginning {
    id: Uuid,
    connection: Connection,
    client: Client,
    profile: Arc<Profile>,
}

impl Start {
    const fn grant(&self) -> GrantKind {
        match self {
            Self::Browser { .. } => GrantKind::AuthorizationCode,
            Self::Device => GrantKind::DeviceCode,
            Self::Otp { .. } => GrantKind::Otp,
        }
    }

    const fn endpoint(&self) -> Endpoint {
        match self {
            Self::Browser { .. } => Endpoint::Authorization,
            Self::Device => Endpoint::DeviceAuthorization,
            Self::Otp { .. } => Endpoint::Token,
        }
    }
}

impl Admin {
    /// Begins a consent, in the place of one that is under way. Nothing of what was granted changes until a new grant
    /// is there.
    pub async fn start_authorization(
        &self,
        name: &ConnectionName,
        start: Start,
        principals: Principals,
    ) -> Result<Started, AdminError> {
        let connection = self.connection(name).await?.record;
        startable(&connection, self.ledger.now())?;
        let client = self.client_of(&connection).await?;
        let profile = self
            .catalogue
            .get(&connection.provider)
            .ok_or_else(|| RefreshError::NoProfile(connection.provider.clone()))?;
        may_start(start.grant(), &connection.requested_scopes, &client, &profile)?;
        let profile = self.resolved(&profile, start.endpoint(), start.grant()).await?;
        let beginning = Beginning { id: self.new_uid(), connection, client, profile };
        let begun = match start {
            Start::Browser { return_uri, redirect_uri, login_hint } => {
                self.begin_in_browser(&beginning, return_uri, redirect_uri, login_hint).await?
            }
            Start::Device => self.begin_on_device(&beginning).await?,
            Start::Otp { email, parameters } => self.begin_with_otp(&beginning, email, parameters).await?,
        };
        self.write_begun(&beginning, begun, principals).await
    }

    async fn write_begun(
        &self,
        beginning: &Beginning,
        begun: Begun,
        principals: Principals,
    ) -> Result<Started, AdminError> {
        let name = &beginning.connection.name;
        let keys = self.keys.sealing(&name.owner()).await?;
        let secrets = begun.kept.seal(&keys, name, beginning.id)?;
        let mut expires_at = self.ledger.now().store;
        let watch = self.warm.watch(name);
        let written = self.ledger.amend(
            name,
            || missing(name),
            |connection: &mut Connection, now| {
                startable(connection, now)?;
                expires_at = now.store.plus(begun.open_for);
                let authorization = Authorization {
                    id: beginning.id,
                    way: begun.way.clone(),
                    stage: Stage::Open,
                    started_at: now.here,
                    expires_at,
                    due: Some(now.store.plus(begun.look_in)),
                    secrets: Some(secrets.clone()),
                    scopes: connection.requested_scopes.clone(),
                    resources: connection.requested_resources.clone(),
                    principals,
                    ended_at: None,
                    fault: None,
                    code: None,
                    correlation_id: None,
                };
                connection.begin_authorization(authorization, now);
                Ok::<(), AdminError>(())
            },
        );
        self.warm.keep(watch, &Arc::new(written.await?));
        tracing::info!(connection = %name, way = %begun.way.grant(), "authorization begun");
        Ok(Started { expires_at, next: begun.next })
    }

    async fn begin_in_browser(
        &self,
        beginning: &Beginning,
        return_uri: Option<String>,
        given: Option<String>,
        login_hint: Option<String>,
    ) -> Result<Begun, AdminError> {
        let (connection, profile) = (&beginning.connection, &beginning.profile);
        let listed = |field, uri: &Option<String>, list: &[String]| match uri {
            Some(uri) if !list.contains(uri) => Err(not_listed(field)),
            Some(_) | None => Ok(()),
        };
        listed(RETURN_FIELD, &return_uri, &self.consent.return_uris)?;
        listed(REDIRECT_FIELD, &given, &self.consent.redirect_uris)?;
        let opener = fresh_word();
        let state = Token { word: derived_word(&opener, STATE), name: connection.name.clone() };
        let taker = if given.is_some() { Taker::FrontEnd } else { Taker::Broker };
        let redirect_uri = match given {
            Some(given) => given,
            None => self.consent.callback(&connection.name).ok_or_else(no_callback)?,
        };
        let browser = Browser {
            taker,
            state: digest(state.word.expose()),
            opener: (taker == Taker::Broker).then(|| digest(opener.expose())),
            cookie: None,
            redirect_uri: redirect_uri.clone(),
            return_uri,
            issuer: profile.issuer.as_ref().map(|issuer| issuer.as_str().to_owned()),
            iss: match profile.response_iss {
                ResponseIss::Required => Presence::Required,
                ResponseIss::Optional | ResponseIss::Absent | ResponseIss::Unknown => Presence::Optional,
            },
            state_echo: match (profile.dialect, self.consent.redirect) {
                // SAP does not say whether `state` comes back; the connection's own redirect URI and the cookie do.
                (Dialect::SapConcur, RedirectUris::PerConnection) => Presence::Optional,
                (Dialect::SapConcur, RedirectUris::Shared) | (Dialect::Rfc6749, _) => Presence::Required,
            },
        };
        let word = |secret: Secret| secret.expose().to_owned();
        let kept = Kept {
            verifier: match profile.pkce {
                Pkce::S256 => Some(word(fresh_word())),
                Pkce::None => None,
            },
            nonce: is_openid(&connection.requested_scopes).then(|| word(fresh_word())),
            login_hint,
            ..Kept::default()
        };
        let url = match taker {
            Taker::Broker => {
                let token = Token { word: opener, name: connection.name.clone() };
                self.consent.opening(&token.text()).ok_or_else(no_callback)?
            }
            Taker::FrontEnd => {
                let asked = Asked {
                    state: &Secret::new(state.text()),
                    redirect_uri: &redirect_uri,
                    scopes: &connection.requested_scopes,
                    resources: &connection.requested_resources,
                    kept: &kept,
                };
                self.address(&beginning.client, profile, &asked).await?
            }
        };
        let next = NextStep::Open { url: url.into(), redirect_uri };
        let open_for = self.consent.open_for;
        Ok(Begun { way: Way::Browser(browser), kept, open_for, look_in: open_for, next })
    }

    /// The provider's address for the browser; handed in beforehand where the provider insists.
    async fn address(
        &self,
        client: &Client,
        profile: &Arc<Profile>,
        asked: &Asked<'_>,
    ) -> Result<Url, AdminError> {
        let verifier = asked.kept.verifier.clone().map(Secret::new);
        let request = AuthorizationRequest {
            profile,
            client_id: &client.client_id,
            redirect_uri: asked.redirect_uri,
            scopes: asked.scopes,
            resources: asked.resources,
            state: asked.state,
            verifier: verifier.as_ref(),
            nonce: asked.kept.nonce.as_deref(),
            login_hint: asked.kept.login_hint.as_deref(),
        };
        let nowhere = || AdminError::GrantNotOffered {
            grant: GrantKind::AuthorizationCode,
            provider: profile.name.to_string(),
        };
        if profile.pushes() {
            let endpoint = Endpoint::PushedAuthorization;
            let profile = &self.resolved(profile, endpoint, GrantKind::AuthorizationCode).await?;
            let identity = self.refresher.identity(client).await?;
            let parameters = request.parameters();
            let ask = Prelude::Push(&parameters);
            match self.prepare(profile, &identity, ask, None, GrantKind::AuthorizationCode).await? {
                Prepared::Pushed { request_uri } => request.url_of_pushed(&request_uri).ok_or_else(nowhere),
                Prepared::Device(_) | Prepared::OtpSent => Err(nowhere()),
            }
        } else {
            request.url().ok_or_else(nowhere)
        }
    }

    /// With the endpoints that the server announces, where the profile leaves them to it.
    async fn resolved(
        &self,
        profile: &Arc<Profile>,
        needed: Endpoint,
        grant: GrantKind,
    ) -> Result<Arc<Profile>, AdminError> {
        let resolved = self.provider.resolved(profile, needed).await;
        resolved.map_err(|failure| AdminError::GrantRefused { grant, failure })
    }

    async fn begin_on_device(&self, beginning: &Beginning) -> Result<Begun, AdminError> {
        let (connection, profile) = (&beginning.connection, &beginning.profile);
        let identity = self.refresher.identity(&beginning.client).await?;
        let (scopes, resources) = (&connection.requested_scopes, &connection.requested_resources);
        let ask = Prelude::Device { scopes, resources };
        let given = match self.prepare(profile, &identity, ask, None, GrantKind::DeviceCode).await? {
            Prepared::Device(given) => given,
            Prepared::Pushed { .. } | Prepared::OtpSent => return Err(RefreshError::Lost.into()),
        };
        let interval = given.interval.unwrap_or(POLL_EVERY).clamp(Duration::from_secs(1), POLL_MAX);
        let kept = Kept { device_code: Some(given.device_code.expose().to_owned()), ..Kept::default() };
        Ok(Begun {
            way: Way::Device(Device { interval }),
            kept,
            open_for: given.expires_in.clamp(DEVICE_OPEN_MIN, DEVICE_OPEN_MAX),
            look_in: interval,
            next: NextStep::Show {
                verification_uri: given.verification_uri,
                verification_uri_complete: given.verification_uri_complete,
                user_code: given.user_code,
            },
        })
    }

    async fn begin_with_otp(
        &self,
        beginning: &Beginning,
        email: String,
        parameters: BTreeMap<String, String>,
    ) -> Result<Begun, AdminError> {
        let (connection, profile) = (&beginning.connection, &beginning.profile);
        let identity = self.refresher.identity(&beginning.client).await?;
        let ask = Prelude::Otp { email: &email, parameters: &parameters };
        let base = connection.api_base_url.as_deref();
        self.prepare(profile, &identity, ask, base, GrantKind::Otp).await?;
        let next = NextStep::AskForPassword { sent_to: hinted(&email) };
        let kept = Kept { email: Some(email), parameters, ..Kept::default() };
        let open_for = self.consent.open_for;
        Ok(Begun { way: Way::Otp { refused: 0 }, kept, open_for, look_in: open_for, next })
    }

    async fn prepare(
        &self,
        profile: &Profile,
        client: &ClientIdentity,
        ask: Prelude<'_>,
        api_base_url: Option<&str>,
        grant: GrantKind,
    ) -> Result<Prepared, AdminError> {
        let preparation = Preparation { profile, client, ask, api_base_url, correlation_id: Uuid::new_v4() };
        let prepared = self.provider.prepare(&preparation).await;
        prepared.map_err(|failure| AdminError::GrantRefused { grant, failure })
    }
}

/// What the address is made of besides client and profile.
struct Asked<'a> {
    state: &'a Secret,
    redirect_uri: &'a str,
    scopes: &'a [String],
    resources: &'a [String],
    kept: &'a Kept,
}

/// What `state` is derived for.
const STATE: &str = "authorization state";
