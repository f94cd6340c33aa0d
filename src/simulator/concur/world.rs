//! What a simulated Concur knows, and the orders that change it without a client's request.
//! Answers no client: that is `answer`.

use super::{
    behaviour::{Behaviour, DataCentre},
    records::{App, AppStatus, Connected, Move, NewApp, NewPrincipal, Principal, Refusal, RequestToken},
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        dice::Dice,
        fault::{Fault, FaultQueue},
        journal::Journal,
        patched,
        refresh_tokens::{Owner, RefreshTokens},
        signing::{KeyRing, SigningKey},
    },
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Companies created in one order at most.
pub const SEEDED_MAX: usize = 100_000;

/// The whole state. Identifiers of principals are kept in lower case: SAP prints both cases.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct World {
    pub(super) behaviour: Behaviour,
    pub(super) data_centres: Vec<DataCentre>,
    #[serde(skip)]
    pub(super) bases: BTreeMap<String, String>,
    pub(super) dice: Dice,
    pub(super) keys: KeyRing,
    pub(super) apps: BTreeMap<String, App>,
    pub(super) principals: BTreeMap<String, Principal>,
    pub(super) request_tokens: BTreeMap<String, RequestToken>,
    pub(super) refresh_tokens: RefreshTokens,
    pub(super) faults: FaultQueue<Refusal>,
    pub(super) journal: Journal,
}

impl World {
    pub(super) fn new(behaviour: Behaviour, data_centres: Vec<DataCentre>, seed: Option<u64>) -> Self {
        Self {
            behaviour,
            data_centres,
            bases: BTreeMap::new(),
            dice: Dice::new(seed),
            keys: KeyRing::default(),
            apps: BTreeMap::new(),
            principals: BTreeMap::new(),
            request_tokens: BTreeMap::new(),
            refresh_tokens: RefreshTokens::default(),
            faults: FaultQueue::new(),
            journal: Journal::default(),
        }
    }

    pub(super) fn base(&self, data_centre: &str) -> String {
        self.bases.get(data_centre).cloned().unwrap_or_default()
    }

    pub(super) fn key(&mut self, data_centre: &str) -> Result<&SigningKey, SimulatorError> {
        let dice = &mut self.dice;
        self.keys.of(data_centre, || (1_400_000_000 + dice.roll() % 100_000_000).to_string())
    }

    /// Registers an app or replaces the one with this id.
    pub(super) fn put_app(&mut self, new: NewApp) -> Result<App, SimulatorError> {
        let mut secrets = new.secrets;
        if secrets.is_empty() {
            secrets.push(self.dice.uuid());
        }
        let grants = || ["password", "refresh_token", "client_credentials"].map(str::to_owned).into();
        let scopes = || ["openid", "company.read", "user.read"].map(str::to_owned).into();
        let app = App {
            id: new.id.unwrap_or_else(|| self.dice.uuid()),
            secrets,
            status: AppStatus::Enabled,
            grants: new.grants.unwrap_or_else(grants),
            scopes: new.scopes.unwrap_or_else(scopes),
            principals: new.principals.iter().map(|id| id.to_ascii_lowercase()).collect(),
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
        self.apps.insert(app.id.clone(), app.clone());
        Ok(app)
    }

    pub(super) fn put_principal(&mut self, new: NewPrincipal) -> Result<String, SimulatorError> {
        let home = match new.data_centre {
            Some(name) => name,
            None => self.data_centres.first().map(|centre| centre.name.clone()).unwrap_or_default(),
        };
        self.require_data_centre(&home)?;
        let id = new.id.unwrap_or_else(|| self.dice.uuid()).to_ascii_lowercase();
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
            token: format!("at-{}", self.dice.base36(28)),
            app: app.to_owned(),
            company: self.principal(company)?.id.clone(),
            expires_at: now.plus(Duration::from_secs(self.behaviour.request_token_seconds)),
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
        self.refresh_tokens.revoke_principal(&id, app);
        Ok(())
    }

    pub(super) fn break_next(&mut self, fault: Fault<Refusal>) -> Result<(), SimulatorError> {
        self.faults.push(fault)
    }

    pub(super) fn change_behaviour(&mut self, change: &serde_json::Value) -> Result<(), SimulatorError> {
        self.behaviour = patched(&self.behaviour, change)?;
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
        if count > SEEDED_MAX {
            return Err(SimulatorError::Invalid(format!("at most {SEEDED_MAX} connections in one order")));
        }
        let scope = self.app(app)?.scopes.clone();
        (0..count)
            .map(|_| {
                let data_centre = data_centre.map(str::to_owned);
                let company = self.put_principal(NewPrincipal { data_centre, ..NewPrincipal::default() })?;
                let owner = Owner { app: app.to_owned(), principal: company.clone(), scope: scope.clone() };
                let handed = self.refresh_tokens.issue(now, &self.behaviour.refresh, &mut self.dice, owner);
                Ok(Connected {
                    geolocation: self.base(&self.principals[&company].home),
                    company,
                    refresh_token: handed.token,
                    refresh_expires_at: handed.expires_at,
                })
            })
            .collect()
    }

    /// Forgets everybody and everything but the data centres, their keys and the behaviour.
    pub(super) fn reset(&mut self) {
        self.apps.clear();
        self.principals.clear();
        self.request_tokens.clear();
        self.refresh_tokens = RefreshTokens::default();
        self.faults = FaultQueue::new();
        self.journal = Journal::default();
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
