//! A Redis that is reached over TLS and wants a client certificate: what is shown to it, whom it is believed to be.

use super::*;
use crate::support::{
    pki::{Identity, Pki},
    ports::free_port,
    redis::{Server, Settings},
};
use bursar::{
    domain::{host_port::HostPort, token::Secret},
    store::redis::{Fresh, RedisOptions, Topology},
    tls::outgoing,
};
use parking_lot::Mutex;
use rustls::ClientConfig;

/// What can be replaced while the store is open.
struct Files {
    ca: String,
    identity: Mutex<Option<Identity>>,
}

impl Fresh for Files {
    fn password(&self) -> Result<Option<Secret>, String> {
        Ok(None)
    }

    fn sentinel_password(&self) -> Result<Option<Secret>, String> {
        Ok(None)
    }

    fn tls(&self) -> Result<Option<Arc<ClientConfig>>, String> {
        let identity = self.identity.lock();
        let key = identity.as_ref().map(|identity| Secret::new(identity.key.clone()));
        let identity = identity.as_ref().zip(key.as_ref());
        let identity = identity.map(|(identity, key)| (identity.certificate.as_str(), key));
        outgoing::client(Some(&self.ca), identity).map(Some).map_err(|error| format!("{error:?}"))
    }
}

/// A Redis with TLS at the one port and without at the other; clients have to show a certificate.
pub(crate) async fn server(pki: &Pki, lines: &[String]) -> (Server, u16, tempfile::TempDir) {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
    let Identity { certificate, key } = pki.server();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let mut all = vec![
        format!("tls-port {port}"),
        format!("tls-cert-file {}", path("crt", &certificate)),
        format!("tls-key-file {}", path("key", &key)),
        format!("tls-ca-cert-file {}", path("ca", &pki.certificate())),
        "tls-auth-clients yes".to_owned(),
    ];
    all.extend_from_slice(lines);
    let server = Server::with(Settings { lines: all, ..Settings::default() }).await;
    (server, port, folder)
}

fn options(host: &str, port: u16, files: &Arc<Files>) -> RedisOptions {
    RedisOptions::new(Topology::Standalone(HostPort::new(host, port).unwrap())).fresh(files.clone())
}

async fn told(options: RedisOptions) -> String {
    RedisStore::connect(options).await.err().unwrap().to_string()
}

#[tokio::test]
async fn redis_is_reached_over_tls_with_a_certificate_and_mistakes_are_told() {
    let (pki, other) = (Pki::new(), Pki::new());
    let (plain, port, _folder) = server(&pki, &[]).await;
    let files = |ca: &Pki, identity: Option<Identity>| {
        Arc::new(Files { ca: ca.certificate(), identity: Mutex::new(identity) })
    };
    let good = files(&pki, Some(pki.client("bursar.internal")));
    let store = RedisStore::connect(options("127.0.0.1", port, &good)).await.unwrap();
    let mut feed = store.changes().await.unwrap();
    assert_eq!(heard(&mut feed).await, Notice::Gap);
    create(&store, "a", &vec![7; 200_000], None).await;
    assert_eq!(read(&store, "a").await.unwrap().body.len(), 200_000);
    assert_eq!(heard(&mut feed).await, changed("a", 1));
    drop(store);

    let mine = || Some(pki.client("bursar.internal"));
    let cases = [
        ("127.0.0.1", port, files(&other, mine()), "store.redis.ca_file"),
        ("localhost", port, files(&pki, mine()), "for another name"),
        ("127.0.0.1", port, files(&pki, None), "store.redis.cert_file"),
        (
            "127.0.0.1",
            port,
            files(&pki, Some(other.client("bursar.internal"))),
            "does not take the client certificate",
        ),
        ("127.0.0.1", plain.port(), files(&pki, mine()), "speak TLS there"),
    ];
    for (host, port, files, mend) in cases {
        let told = told(options(host, port, &files)).await;
        assert!(told.contains(mend) && told.contains(&format!("{host}:{port}")), "{mend}: {told}");
    }
    let without = RedisOptions::new(Topology::Standalone(HostPort::new("127.0.0.1", port).unwrap()));
    let told = told(without).await;
    assert!(told.contains("store.redis.tls = \"on\""), "{told}");
}

/// What connects already goes on; what connects from now on shows the new one.
#[tokio::test]
async fn a_certificate_that_is_replaced_is_shown_at_the_next_connection() {
    let pki = Pki::new();
    let (server, port, _folder) = server(&pki, &[]).await;
    let identity = Mutex::new(Some(pki.client("bursar.internal")));
    let files = Arc::new(Files { ca: pki.certificate(), identity });
    let store = RedisStore::connect(options("127.0.0.1", port, &files)).await.unwrap();
    create(&store, "a", b"", None).await;
    let kill = async || server.command::<u64>(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).await;

    *files.identity.lock() = None;
    assert_eq!(read(&store, "a").await.unwrap().version, Version(1));
    assert!(kill().await > 0);
    // It worked before: an outage that may pass, which says what has to be mended.
    let told = crate::support::until("the mistake is met", || async {
        match store.read(&key("a")).await {
            Err(StoreError::Unavailable { cause }) if cause.contains("store.redis.cert_file") => Some(()),
            Err(StoreError::Unavailable { .. }) => None,
            other => panic!("{other:?}"),
        }
    });
    told.await;
    *files.identity.lock() = Some(pki.client("bursar.internal"));
    crate::support::until("it is let in again", || async { store.read(&key("a")).await.ok() }).await;
}
