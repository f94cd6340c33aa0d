//! The control endpoint: JSON over HTTP, `GET /control/QUESTION` and `POST /control/ORDER`.
//! The words that all servers understand are here; a world adds orders of its own by an enum.

use super::{
    SimulatorError,
    exchange::Answer,
    fault::Fault,
    host::{self, Host, deliver},
    line::Scissors,
    world::World,
};
use axum::{
    Router,
    extract::{Path, State},
    http::HeaderMap,
    response::Response,
    routing::get,
};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) fn router<W: World>(host: &Arc<Host<W>>) -> Router {
    Router::new().route("/control/{word}", get(ask::<W>).post(order::<W>)).with_state(Arc::clone(host))
}

/// `GET /control/…`
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Question {
    Counters,
    Events,
    Behaviour,
    /// The base URI of each site.
    Sites,
}

/// `POST /control/…`, whatever the world.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum CommonOrder<R> {
    Break(Fault<R>),
    Behaviour(Value),
    Reset {},
}

const COMMON_ORDERS: [&str; 3] = ["break", "behaviour", "reset"];

async fn ask<W: World>(State(host): State<Arc<Host<W>>>, Path(word): Path<String>) -> Response {
    let told = parse(&word, &Value::Null).and_then(|question| {
        host.look(|world| match question {
            Question::Counters => value(world.basics().journal().counters()),
            Question::Events => value(&world.basics().journal().events().collect::<Vec<_>>()),
            Question::Behaviour => value(&world.basics().behaviour),
            Question::Sites => value(&world.basics().bases),
        })
    });
    respond(told)
}

async fn order<W: World>(
    State(host): State<Arc<Host<W>>>,
    Path(word): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    // A web page can send a form across origins without being asked, but not JSON.
    let content_type = headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/json") {
        return deliver(
            Answer::text(415, "send application/json, such as with curl --json"),
            &Scissors::default(),
        );
    }
    let members = if body.trim().is_empty() { Ok(json!({})) } else { serde_json::from_str(&body) };
    let done = members
        .map_err(|error| SimulatorError::Invalid(error.to_string()))
        .and_then(|members| obey(&host, &word, &members));
    respond(done)
}

fn obey<W: World>(host: &Host<W>, word: &str, members: &Value) -> Result<Value, SimulatorError> {
    if !COMMON_ORDERS.contains(&word) {
        let order = parse(word, members)?;
        return host.change(|world, now| world.obey(now, order))?;
    }
    let order = parse(word, members)?;
    host.change(|world, _| match order {
        CommonOrder::Break(fault) => done(world.basics_mut().faults().push(fault)),
        CommonOrder::Behaviour(change) => {
            world.basics_mut().change_behaviour(&change)?;
            value(&world.basics().behaviour)
        }
        CommonOrder::Reset {} => {
            host::reset(world);
            done(Ok(()))
        }
    })?
}

/// A word and its members are one variant of an enum.
fn parse<T: DeserializeOwned>(word: &str, members: &Value) -> Result<T, SimulatorError> {
    serde_json::from_value(json!({ word: members }))
        .map_err(|error| SimulatorError::Invalid(error.to_string()))
}

/// What a world tells, as JSON.
pub(super) fn value<T: serde::Serialize>(told: &T) -> Result<Value, SimulatorError> {
    serde_json::to_value(told).map_err(|error| SimulatorError::Invalid(error.to_string()))
}

/// The reply to an order that has nothing to tell.
pub(super) fn done(result: Result<(), SimulatorError>) -> Result<Value, SimulatorError> {
    result.map(|()| json!({}))
}

fn respond(result: Result<Value, SimulatorError>) -> Response {
    let answer = match result {
        Ok(value) => Answer::json(200, &value),
        Err(error) => {
            let status = match error {
                SimulatorError::Unknown { .. } => 404,
                SimulatorError::Invalid(_) => 400,
                SimulatorError::Listen { .. }
                | SimulatorError::StateFile { .. }
                | SimulatorError::StateFormat(_)
                | SimulatorError::Signing => 500,
            };
            Answer::json(status, &json!({"error": error.to_string()}))
        }
    };
    deliver(answer, &Scissors::default())
}
