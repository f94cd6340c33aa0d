//! The secret of an app changed by the broker itself, through the simulated secrets API of SAP Concur.

use crate::support::{
    api::{Api, CLIENT},
    process::Broker,
    scene::{Place, Scene, Settings},
};
use bursar::api::{RotateClientSecretRequest, client_secret};

#[tokio::test]
async fn an_apps_secret_is_changed_there_and_here_while_its_connections_go_on() {
    let scene = Scene::new(Settings::default()).await;
    let broker = Broker::serve(&scene.config("one", &Place::Embedded)).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 1).await;
    let mut last = api.client(CLIENT).await;
    for turn in 1..=2_u64 {
        let request = RotateClientSecretRequest { name: CLIENT.into(), etag: last.etag.clone() };
        let changed = api.clients.clone().rotate_client_secret(request).await.unwrap().into_inner();
        assert_eq!(changed.rotation, None);
        let active: Vec<_> = changed
            .secrets
            .iter()
            .filter(|secret| secret.state() == client_secret::State::Active)
            .map(|secret| (secret.id.clone(), secret.preferred))
            .collect();
        assert_eq!((active.len(), active[0].1), (1, true), "{:?}", changed.secrets);
        assert!(last.secrets.iter().all(|before| before.id != active[0].0), "it is a new one");
        assert_eq!(api.refresh(&held[0].id).await.unwrap().generation, turn + 1);
        last = changed;
    }
    assert_eq!(api.client(CLIENT).await.hold, None);
}
