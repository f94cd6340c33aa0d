//! `--allow-existing`: what is there already is shown and left alone, if it is the one that was meant.

use super::{
    super::Exit,
    fake::{Fake, Given},
    refusal,
};
use crate::api::{Client, Connection, Tenant};
use prost::Message;
use prost_types::Timestamp;
use tonic::{Code, Status};

const TENANT: &str = "tenant create tenants/demo";
const CLIENT: &str = "client create tenants/demo/clients/one --provider providers/p --client-id id --environment sandbox \
                      --allowed-grant client-credentials --client-secret-env SECRET";
const CONNECTION: &str = "connection create tenants/demo/connections/one --client tenants/demo/clients/one --allow-existing \
     client-credentials";

/// Creating is refused; what is there is `found`.
fn there(found: &impl Message) -> Fake {
    let found = found.encode_to_vec();
    Fake::encoded(move |call| {
        if call.method.starts_with("create_") {
            Err(refusal(Code::AlreadyExists, "ALREADY_EXISTS"))
        } else {
            Ok(found.clone())
        }
    })
}

async fn ends(fake: Fake, command: &str) -> (Exit, usize) {
    let given = Given { variables: vec![("SECRET", "s")], ..Given::default() };
    let arguments: Vec<_> = command.split_whitespace().collect();
    let outcome = fake.run_given(&arguments, given).await;
    (outcome.exit, outcome.calls.len())
}

#[tokio::test]
async fn what_is_there_is_refused_unless_it_is_allowed() {
    let tenant = Tenant { name: "tenants/demo".into(), ..Tenant::default() };
    assert_eq!(ends(there(&tenant), TENANT).await, (Exit::Failure, 1));
    assert_eq!(ends(there(&tenant), &format!("{TENANT} --allow-existing")).await, (Exit::Success, 2));
    let made = Fake::new(move |_| Ok(tenant.clone()));
    assert_eq!(ends(made, &format!("{TENANT} --allow-existing")).await, (Exit::Success, 1));
}

#[tokio::test]
async fn another_thing_of_that_name_is_refused_all_the_same() {
    let deleted = Tenant { delete_time: Some(Timestamp::default()), ..Tenant::default() };
    assert_eq!(ends(there(&deleted), &format!("{TENANT} --allow-existing")).await, (Exit::Failure, 2));
    let client = |provider: &str, id: &str| Client {
        provider: provider.into(),
        client_id: id.into(),
        ..Client::default()
    };
    for (found, exit) in [
        (client("providers/p", "id"), Exit::Success),
        (client("providers/q", "id"), Exit::Failure),
        (client("providers/p", "other"), Exit::Failure),
    ] {
        assert_eq!(ends(there(&found), &format!("{CLIENT} --allow-existing")).await, (exit, 2), "{found:?}");
    }
    for (client, exit) in
        [("tenants/demo/clients/one", Exit::Success), ("platform/clients/one", Exit::Failure)]
    {
        let found = Connection { client: client.into(), ..Connection::default() };
        assert_eq!(ends(there(&found), CONNECTION).await, (exit, 2), "{client}");
    }
}

#[tokio::test]
async fn other_refusals_stay_what_they_are() {
    let broken = Fake::new::<Tenant>(|_| Err(Status::internal("broken")));
    assert_eq!(ends(broken, &format!("{TENANT} --allow-existing")).await, (Exit::Failure, 1));
}
