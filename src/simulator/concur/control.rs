//! The orders that only a simulated Concur understands, each a call of a method of the world.
//! Decides nothing.

use super::{
    records::{Move, NewApp, NewPrincipal},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        control::{done, value},
    },
};
use serde::Deserialize;
use serde_json::{Value, json};

/// `POST /control/…`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    App(NewApp),
    ChangeApp {
        app: String,
        change: Value,
    },
    Principal(NewPrincipal),
    RequestToken {
        company: String,
        app: String,
    },
    ConnectLink {
        company: String,
        app: String,
        landing_page: String,
    },
    /// One-time passwords that are open.
    Mailbox {},
    Move {
        company: String,
        to: String,
        #[serde(default)]
        how: Move,
        #[serde(default)]
        via: Option<String>,
    },
    Refuse {
        principal: String,
        code: Option<u16>,
    },
    Disconnect {
        principal: String,
        app: String,
    },
    Connect {
        principal: String,
        app: String,
    },
    Revoke {
        principal: String,
        #[serde(default)]
        app: Option<String>,
    },
    SeedConnections {
        app: String,
        count: usize,
        #[serde(default)]
        data_centre: Option<String>,
    },
}

impl World {
    pub(super) fn follow(&mut self, now: Timestamp, order: Order) -> Result<Value, SimulatorError> {
        match order {
            Order::App(new) => value(&self.put_app(new)?),
            Order::ChangeApp { app, change } => value(&self.change_app(&app, &change)?),
            Order::Principal(new) => Ok(json!({"id": self.put_principal(new)?})),
            Order::RequestToken { company, app } => value(&self.make_request_token(now, &company, &app)?),
            Order::ConnectLink { company, app, landing_page } => {
                Ok(json!({"url": self.connect_link(now, &company, &app, &landing_page)?}))
            }
            Order::Mailbox {} => value(&self.mailbox(now)),
            Order::Move { company, to, how, via } => done(self.move_company(&company, &to, how, via)),
            Order::Refuse { principal, code } => done(self.refuse(&principal, code)),
            Order::Disconnect { principal, app } => done(self.disconnect(&principal, &app)),
            Order::Connect { principal, app } => done(self.connect(&principal, &app)),
            Order::Revoke { principal, app } => done(self.revoke(&principal, app.as_deref())),
            Order::SeedConnections { app, count, data_centre } => {
                value(&self.seed_connections(now, &app, count, data_centre.as_deref())?)
            }
        }
    }
}
