//! What whoever proves nothing finds out by asking for names: nothing. Over real connections, so time is not paused here.

use crate::rig::{Rig, client_name, name};
use bursar::{
    broker::admin::tenants::Deleting,
    web::{self, Site},
};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The whole answer but its date.
async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: broker.example\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn what_is_deleted_or_broken_looks_to_strangers_as_if_it_were_not_there() {
    let rig = Rig::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop, tasks) =
        (listener.local_addr().unwrap(), CancellationToken::new(), TaskTracker::new());
    let site = Site { admin: rig.a.admin.clone(), public_url: "https://broker.example".parse().unwrap() };
    tasks.spawn(web::serve(listener, site, stop.clone()));
    tasks.close();

    let there = [format!("/callback/{}?code=x", name()), "/clients/t/app/jwks.json".to_owned()];
    let absent = ["/callback/tenants/u/connections/c?code=x", "/clients/u/app/jwks.json"];
    assert_eq!(client_name().to_string(), "tenants/t/clients/app");
    let mut missing = Vec::new();
    for path in absent {
        missing.push(get(address, path).await);
    }
    let looks_missing = async |why: &str| {
        for (path, missing) in there.iter().zip(&missing) {
            assert_eq!(&get(address, path).await, missing, "{why}: {path}");
        }
    };
    assert!(missing[1].starts_with("HTTP/1.1 404"), "{missing:?}");
    looks_missing("without a consent and without keys").await;
    rig.tamper(|body| body.truncate(body.len() / 2)).await;
    looks_missing("broken").await;
    rig.a.admin.delete_tenant(&"tenants/t".parse().unwrap(), "", Deleting::Everything).await.unwrap();
    looks_missing("deleted").await;
    // That nothing can be looked up is no secret, and no reason to forget a client's keys.
    rig.a.store.go_away();
    for path in there.iter().map(String::as_str).chain(absent) {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{path}: {answer}");
    }
    stop.cancel();
    tasks.wait().await;
}
