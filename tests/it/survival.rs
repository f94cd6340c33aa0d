//! What outlives what: brokers killed and stopped, a store that is taken by another, opened with the wrong key, away
//! or full. Nothing that the authorization server rotated is ever lost, and nothing is spent twice.

mod dev;
mod embedded;
mod failover;
mod redis;

use crate::support::api::Api;
use bursar::{
    api::Connection,
    simulator::{
        concur::{ConcurSimulator, Refusal},
        fault::{Fault, Only, Trouble},
    },
};
use std::time::Duration;

/// What a connection is, apart from what a refresh changes.
fn identity(connection: &Connection) -> (String, String, String, i32) {
    (connection.name.clone(), connection.uid.clone(), connection.etag.clone(), connection.state)
}

async fn identities(api: &Api) -> Vec<(String, String, String, i32)> {
    api.all().await.iter().map(identity).collect()
}

/// The next refresh of this company is carried out at once and answered late.
fn answer_late(simulator: &ConcurSimulator, company: &str, late: Duration) {
    let fault: Fault<Refusal> = Fault::once(Trouble::Slow).late(late).only(Only::principal(company));
    simulator.break_next(fault).unwrap();
}
