//! The words of the control endpoint of a simulated Concur, each a call of a method of the world.
//! Decides nothing.

use super::{
    answer,
    records::{Move, NewApp, NewPrincipal, Refusal},
    world::World,
};
use crate::{
    clock::Timestamp,
    simulator::{
        SimulatorError,
        control::{done, value},
        exchange::{Answer, Request},
        fault::Fault,
        host,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `GET /control/…`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Question {
    Counters,
    Events,
    Behaviour,
    DataCentres,
}

/// `POST /control/…`
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Order {
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
    Break(Fault<Refusal>),
    Behaviour(Value),
    SeedConnections {
        app: String,
        count: usize,
        #[serde(default)]
        data_centre: Option<String>,
    },
    Reset {},
}

impl host::World for World {
    type Question = Question;
    type Order = Order;

    fn settle(&mut self, bases: BTreeMap<String, String>) {
        self.bases = bases;
    }

    fn answer(&mut self, now: Timestamp, request: &Request) -> Answer {
        answer::answer(self, now, request)
    }

    fn tell(&self, _now: Timestamp, question: Question) -> Result<Value, SimulatorError> {
        match question {
            Question::Counters => value(self.journal.counters()),
            Question::Events => value(&self.journal.events().collect::<Vec<_>>()),
            Question::Behaviour => value(&self.behaviour),
            Question::DataCentres => value(&self.bases),
        }
    }

    fn obey(&mut self, now: Timestamp, order: Order) -> Result<Value, SimulatorError> {
        match order {
            Order::App(new) => value(&self.put_app(new)?),
            Order::ChangeApp { app, change } => value(&self.change_app(&app, &change)?),
            Order::Principal(new) => Ok(json!({"id": self.put_principal(new)?})),
            Order::RequestToken { company, app } => value(&self.make_request_token(now, &company, &app)?),
            Order::Move { company, to, how, via } => done(self.move_company(&company, &to, how, via)),
            Order::Refuse { principal, code } => done(self.refuse(&principal, code)),
            Order::Disconnect { principal, app } => done(self.disconnect(&principal, &app)),
            Order::Connect { principal, app } => done(self.connect(&principal, &app)),
            Order::Revoke { principal, app } => done(self.revoke(&principal, app.as_deref())),
            Order::Break(fault) => done(self.break_next(fault)),
            Order::Behaviour(change) => {
                self.change_behaviour(&change)?;
                value(&self.behaviour)
            }
            Order::SeedConnections { app, count, data_centre } => {
                value(&self.seed_connections(now, &app, count, data_centre.as_deref())?)
            }
            Order::Reset {} => {
                self.reset();
                done(Ok(()))
            }
        }
    }
}
