//! A client that the server refuses: its connections wait together, no grant dies of it, a new secret heals.

use crate::{
    rig::{HOUR, Rig, client_name, numbered, secs},
    server::{DELAY, Say},
};
use bursar::{
    broker::{GetTokenError, Wish, refresher::RefreshError},
    domain::{
        connection::State,
        failure::Class,
        token::{ClientSecret, Secret},
    },
};
use tokio::time::{Instant, sleep};

const CONNECTIONS: u128 = 50;

async fn fifty() -> Rig {
    let rig = Rig::empty("").await;
    for n in 0..CONNECTIONS {
        rig.seed(n).await;
    }
    rig
}

async fn all_active(rig: &Rig) -> bool {
    for n in 0..CONNECTIONS {
        if rig.a.admin.connection(&numbered(n)).await.unwrap().record.state != State::Active {
            return false;
        }
    }
    true
}

#[tokio::test(start_paused = true)]
async fn fifty_connections_of_a_refused_client_make_one_exchange_per_hold() {
    let rig = fifty().await;
    rig.a.schedule();
    sleep(secs(60)).await;
    assert_eq!(rig.server.tries(), 50, "all were taken up");
    assert!(all_active(&rig).await);
    rig.server.knows_secrets(&["another"]);
    sleep(3 * HOUR).await;
    let tries = rig.server.tries() - 50;
    // The first token is due 42 minutes in: holds of 30, 60, 120, 240 and 480 s, then of 15 minutes, with a few
    // seconds of spread and a tick after each.
    assert_eq!(tries, 14);
    for n in 0..CONNECTIONS {
        let record = rig.a.admin.connection(&numbered(n)).await.unwrap().record;
        assert_eq!((record.state, record.suspicion), (State::Active, None));
    }
    assert_eq!(rig.a.admin.client(&client_name()).await.unwrap().record.hold.unwrap().failures, 14);
    rig.a.stop();
}

#[tokio::test(start_paused = true)]
async fn a_new_secret_heals_every_connection_at_once() {
    let rig = fifty().await;
    rig.server.knows_secrets(&["secret-2"]);
    for n in 0..CONNECTIONS {
        let err = rig.a.ask_of(&numbered(n), Wish::default()).await.unwrap_err();
        let refused =
            matches!(err, GetTokenError::Refresh(RefreshError::Failed(_) | RefreshError::Held { .. }));
        assert!(refused, "{err:?}");
    }
    assert_eq!(rig.server.tries(), 1, "the others were not tried");
    let secret = ClientSecret(Secret::new("secret-2"));
    rig.a.admin.add_client_secret(&client_name(), "", &secret).await.unwrap();
    for n in 0..CONNECTIONS {
        let asked = Instant::now();
        rig.a.ask_of(&numbered(n), Wish::default()).await.unwrap();
        assert_eq!(asked.elapsed(), DELAY, "{n}");
    }
    assert_eq!(rig.server.tries(), 51);
    assert!(all_active(&rig).await);
}

#[tokio::test(start_paused = true)]
async fn a_success_of_one_lifts_the_hold_of_all() {
    let rig = fifty().await;
    rig.server.then([Say::Fail(Class::Client)]);
    rig.a.ask_of(&numbered(0), Wish::default()).await.unwrap_err();
    rig.a.schedule();
    sleep(secs(60)).await;
    rig.a.stop();
    assert!(
        all_active(&rig).await,
        "30 s of hold, 5 s for the first, each with a spread of 3 to 5 s and a tick"
    );
    assert_eq!(rig.a.admin.client(&client_name()).await.unwrap().record.hold, None);
    assert_eq!(rig.server.tries(), 51);
}
