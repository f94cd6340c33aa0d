//! What a simulated Concur knows, and the orders that change it without a client's request.
//! Answers no client: that is `answer`.

use super::{
    behaviour::{Behaviour, DataCentre},
    records::{
        App, AppStatus, Code, Connected, ManagedSecret, Move, NewApp, NewPrincipal, Otp, Principal, Refusal,
        RequestToken,
    },
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError, patched,
        refresh_tokens::Owner,
        tickets::Tickets,
        world::{Basics, require_seedable},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// The whole state of a simulated Concur. Identifiers of principals are kept in lower case: SAP prints both cases.
#[derive(Debug, Serialize, Deserialize)]
pub struct World {
    pub(super) basics: Basics<Behaviour, Refusal>,
    pub(super) data_centres: Vec<DataCentre>,
    pub(super) apps: BTreeMap<String, App>,
    pub(super) principals: BTreeMap<String, Principal>,
    pub(super) request_tokens: BTreeMap<String, RequestToken>,
    #[serde(default)]
    pub(super) codes: Tickets<Code>,
    #[serde(default)]
    pub(super) otps: Tickets<Otp>,
    /// By app; see `secrets`.
    #[serde(default)]
    pub(super) managed_secrets: BTreeMap<String, Vec<ManagedSecret>>,
}

impl World {
    pub(super) fn new(behaviour: Behaviour, data_centres: Vec<DataCentre>, seed: Option<u64>) -> Self {
        Self {
            basics: Basics::new(behaviour, seed),
            data_centres,
            apps: BTreeMap::new(),
            principals: BTreeMap::new(),
            request_tokens: BTreeMap::new(),
            codes: Tickets::default(),
            otps: Tickets::default(),
            managed_secrets: BTreeMap::new(),
        }
    }

    /// Registers an app or replaces the one with this id.
    pub(super) fn put_app(&mut self, new: NewApp) -> Result<App, SimulatorError> {
        let mut secrets = new.secrets;
        if secrets.is_empty() {
            secrets.push(self.basics.dice.uuid());
        }
        let grants = || ["password", "refresh_token", "client_credentials"].map(str::to_owned).into();
        let scopes = || ["openid", "company.read", "user.read"].map(str::to_owned).into();
        let app = App {
            id: new.id.unwrap_or_else(|| self.basics.dice.uuid()),
            secrets,
            status: AppStatus::Enabled,
            grants: new.grants.unwrap_or_else(grants),
            scopes: new.scopes.unwrap_or_else(scopes),
            principals: new.principals.iter().map(|id| id.to_ascii_lowercase()).collect(),
            redirect_uris: new.redirect_uris,
            data_centres: new.data_centres,
        };
        self.keep_app(app)
    }

    /// Changes the members that `change` names.
    pub(super) fn change_app(
        &mut self,
        app: &str,
        change: &serde_json::Value,
    ) -> Result<App, SimulatorError> {
        let changed = patched(self.app(app)?, change)?;
        if changed.id != app {
            return Err(SimulatorError::Invalid("an app keeps its id".to_owned()));
        }
        self.keep_app(changed)
    }

    fn keep_app(&mut self, app: App) -> Result<App, SimulatorError> {
        if !(1..=2).contains(&app.secrets.len()) {
            return Err(SimulatorError::Invalid("an app has one secret or two".to_owned()));
        }
        for name in &app.data_centres {
            self.require_data_centre(name)?;
        }
        self.apps.insert(app.id.clone(), app.clone());
        Ok(app)
    }

    pub(super) fn put_principal(&mut self, new: NewPrincipal) -> Result<String, SimulatorError> {
        let home = match new.data_centre {
            Some(name) => name,
            None => self.data_centres.first().map(|centre| centre.name.clone()).unwrap_or_default(),
        };
        self.require_data_centre(&home)?;
        let id = new.id.unwrap_or_else(|| self.basics.dice.uuid()).to_ascii_lowercase();
        let principal = Principal {
            id: id.clone(),
            kind: new.kind,
            home,
            via: None,
            farewell: None,
            refused_with: None,
            disconnected_from: BTreeSet::new(),
            login: new.login,
            password: new.password,
        };
        self.principals.insert(id.clone(), principal);
        Ok(id)
    }

    pub(super) fn make_request_token(
        &mut self,
        now: Timestamp,
        company: &str,
        app: &str,
    ) -> Result<RequestToken, SimulatorError> {
        self.app(app)?;
        let made = RequestToken {
            token: format!("at-{}", self.basics.dice.base36(28)),
            app: app.to_owned(),
            company: self.principal(company)?.id.clone(),
            expires_at: now.plus(Duration::from_secs(self.basics.behaviour.request_token_seconds)),
            uses: 0,
        };
        // Nobody asks for one that has expired long ago: the refusal is the same as for an unknown one.
        self.request_tokens.retain(|_, old| old.expires_at > now);
        self.request_tokens.insert(made.token.clone(), made.clone());
        Ok(made)
    }

    pub(super) fn move_company(
        &mut self,
        company: &str,
        to: &str,
        how: Move,
        via: Option<String>,
    ) -> Result<(), SimulatorError> {
        self.require_data_centre(to)?;
        if let Some(via) = &via {
            self.require_data_centre(via)?;
        }
        let principal = self.principal(company)?;
        let from = std::mem::replace(&mut principal.home, to.to_owned());
        principal.via = via;
        principal.farewell = match how {
            Move::Redirect => None,
            Move::Farewell => Some(from),
        };
        Ok(())
    }

    /// Refuses everything about a principal with a code, or no longer.
    pub(super) fn refuse(&mut self, principal: &str, code: Option<u16>) -> Result<(), SimulatorError> {
        self.principal(principal)?.refused_with = code;
        Ok(())
    }

    /// What an administrator does in the App Center: code 53 until connected again; refresh tokens survive.
    pub(super) fn disconnect(&mut self, principal: &str, app: &str) -> Result<(), SimulatorError> {
        self.principal(principal)?.disconnected_from.insert(app.to_owned());
        Ok(())
    }

    pub(super) fn connect(&mut self, principal: &str, app: &str) -> Result<(), SimulatorError> {
        self.principal(principal)?.disconnected_from.remove(app);
        Ok(())
    }

    /// Ends all refresh tokens of a principal, for one app or for all.
    pub(super) fn revoke(&mut self, principal: &str, app: Option<&str>) -> Result<(), SimulatorError> {
        let id = self.principal(principal)?.id.clone();
        self.basics.refresh_tokens.revoke_principal(&id, app);
        Ok(())
    }

    /// Creates companies that are connected already, without a request.
    pub(super) fn seed_connections(
        &mut self,
        now: Timestamp,
        app: &str,
        count: usize,
        data_centre: Option<&str>,
    ) -> Result<Vec<Connected>, SimulatorError> {
        require_seedable(count)?;
        let scope = self.app(app)?.scopes.clone();
        (0..count)
            .map(|_| {
                let data_centre = data_centre.map(str::to_owned);
                let company = self.put_principal(NewPrincipal { data_centre, ..NewPrincipal::default() })?;
                let owner = Owner {
                    app: app.to_owned(),
                    principal: company.clone(),
                    scope: scope.clone(),
                    ..Owner::default()
                };
                let handed = self.basics.issue(now, owner);
                Ok(Connected {
                    geolocation: self.basics.base(&self.principals[&company].home),
                    company,
                    refresh_token: handed.token,
                    refresh_expires_at: handed.expires_at,
                })
            })
            .collect()
    }

    /// Where the App Center leads an administrator who presses "Connect".
    pub(super) fn connect_link(
        &mut self,
        now: Timestamp,
        company: &str,
        app: &str,
        landing_page: &str,
    ) -> Result<String, SimulatorError> {
        let invalid = |_| SimulatorError::Invalid("landing_page is no URL".to_owned());
        let mut link = url::Url::parse(landing_page).map_err(invalid)?;
        let made = self.make_request_token(now, company, app)?;
        let user = self.basics.dice.uuid();
        let members = [("id", &made.company), ("requestToken", &made.token), ("userId", &user)];
        link.query_pairs_mut().extend_pairs(members);
        Ok(link.into())
    }

    fn app(&self, id: &str) -> Result<&App, SimulatorError> {
        self.apps.get(id).ok_or_else(|| SimulatorError::unknown("app", id))
    }

    fn principal(&mut self, id: &str) -> Result<&mut Principal, SimulatorError> {
        let key = id.to_ascii_lowercase();
        self.principals.get_mut(&key).ok_or_else(|| SimulatorError::unknown("company or user", id))
    }

    fn require_data_centre(&self, name: &str) -> Result<(), SimulatorError> {
        let known = self.data_centres.iter().any(|centre| centre.name == name);
        if known { Ok(()) } else { Err(SimulatorError::unknown("data centre", name)) }
    }
}
