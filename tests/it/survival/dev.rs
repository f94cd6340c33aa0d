//! `bursar dev` keeps what it has, its simulated providers included.

use crate::support::{
    api::Api,
    process::{Broker, told_url},
};
use bursar::api::{ListConnectionsRequest, RefreshConnectionRequest};

const TENANT: &str = "tenants/demo";

async fn look(api: &Api) -> Vec<bursar::api::Connection> {
    let request = ListConnectionsRequest { parent: TENANT.into(), ..Default::default() };
    api.connections.clone().list_connections(request).await.unwrap().into_inner().connections
}

#[tokio::test]
async fn dev_keeps_its_state_over_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::dev(&folder.path().join("data")).await;
    let api = Api::of(broker.address());
    let before = look(&api).await;
    assert_eq!(before.len(), 2);
    let provider = told_url(&broker.said(), "SAP Concur");
    broker.kill_9();
    broker.restart().await;

    let api = Api::of(broker.address());
    let after = look(&api).await;
    let same = |one: &bursar::api::Connection| (one.uid.clone(), one.principal.clone(), one.create_time);
    assert_eq!(before.iter().map(same).collect::<Vec<_>>(), after.iter().map(same).collect::<Vec<_>>());
    assert_eq!(told_url(&broker.said(), "SAP Concur"), provider);
    // The simulated providers know the refresh tokens that the store kept.
    for one in after {
        let request = RefreshConnectionRequest { name: one.name.clone() };
        let refreshed = api.connections.clone().refresh_connection(request).await.unwrap().into_inner();
        assert!(refreshed.generation > one.generation, "{}", one.name);
    }
}
