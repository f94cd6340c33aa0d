//! A broker that other machines could reach: who is let in, what the others are told, and that certificates and bundles
//! are replaced without anybody noticing.

use crate::support::{
    pki::Pki,
    process,
    site::{Client, Load, Site, ask},
    until,
};
use rustls::{pki_types::ServerName, version::TLS12};
use std::{fs, os::unix::fs::MetadataExt, sync::Arc, time::Duration};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const ID: &str = "spiffe://example.org/ns/prod/sa/billing";

#[tokio::test]
async fn a_client_certificate_decides_who_is_let_in_and_the_others_are_told_why() {
    let (ours, stranger) = (Pki::new(), Pki::new());
    let site = Site::new(&ours.server(), &ours.certificate());
    let broker = site.serve().await;
    let endpoint = format!("https://{}", broker.address());
    fs::write(site.path("ca.pem"), ours.certificate()).unwrap();
    fs::write(site.path("other-ca.pem"), stranger.certificate()).unwrap();
    let [ca, other_ca] = ["ca.pem", "other-ca.pem"].map(|file| site.path(file).display().to_string());
    let [cert, key] = site.write("good", &ours.svid(ID));
    let [bad_cert, bad_key] = site.write("bad", &stranger.svid(ID));
    let [odd_cert, odd_key] = site.write("odd", &ours.svid("spiffe://example.org/a/../b"));

    let mine = ["--tls-cert", &cert, "--tls-key", &key];
    let good = [&["--tls-ca", &ca][..], &mine].concat();
    let (code, told) = site.command(&endpoint, &good).await;
    assert!(
        !told.contains("TLS") && (told.contains("NOT_FOUND") || told.contains("PERMISSION_DENIED")),
        "{told}"
    );
    assert!(code == 1 || code == 4, "{code}");

    let cases: [(Vec<&str>, &str, &str); 6] = [
        (vec!["--tls-ca", &ca], "the server asks for a client certificate", "--tls-cert"),
        (
            vec!["--tls-ca", &ca, "--tls-cert", &bad_cert, "--tls-key", &bad_key],
            "the server does not know the authority of this client certificate",
            "identity.spiffe",
        ),
        (
            vec!["--tls-ca", &ca, "--tls-cert", &odd_cert, "--tls-key", &odd_key],
            "the server does not take this client certificate",
            "exactly one SPIFFE ID",
        ),
        (
            [&["--tls-ca", &other_ca][..], &mine].concat(),
            "the server's certificate is of an authority that is not known here",
            "--tls-ca",
        ),
        (
            [&good[..], &["--tls-server-name", "other.example"]].concat(),
            "the server's certificate has another name than the endpoint",
            "--tls-server-name",
        ),
        (
            [&good[..], &["--server-spiffe-id", "spiffe://example.org/bursar"]].concat(),
            "the server has another SPIFFE ID than --server-spiffe-id",
            "registration entry",
        ),
    ];
    for (flags, problem, mend) in cases {
        let (code, told) = site.command(&endpoint, &flags).await;
        assert!(code == 1 && told.contains(problem) && told.contains(mend), "{flags:?}: {told}");
    }
    let (code, told) = site.command(&format!("http://{}", broker.address()), &[]).await;
    assert_eq!(code, 1, "{told}");

    // A client of TLS 1.2 is told that there is no such version.
    let config = Client::new(&ours, ours.svid(ID)).config(&[&TLS12]);
    let stream = TcpStream::connect(broker.address()).await.unwrap();
    let name = ServerName::from(broker.address().ip());
    let refused = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
    let logged = broker.logged();
    assert!(logged.contains("connection refused") && !logged.contains("spiffe://example.org/a"), "{logged}");
}

#[tokio::test]
async fn a_server_is_known_by_its_spiffe_id_and_refused_starts_say_what_to_mend() {
    let ours = Pki::new();
    let site = Site::new(&ours.svid("spiffe://example.org/bursar"), &ours.certificate());
    let mut broker = site.serve().await;
    fs::write(site.path("ca.pem"), ours.certificate()).unwrap();
    let ca = site.path("ca.pem").display().to_string();
    let [cert, key] = site.write("good", &ours.svid(ID));
    let id = ["--server-spiffe-id", "spiffe://example.org/bursar"];
    let flags = [&["--tls-ca", &ca, "--tls-cert", &cert, "--tls-key", &key][..], &id].concat();
    let (_, told) = site.command(&format!("https://{}", broker.address()), &flags).await;
    assert!(told.contains("NOT_FOUND") || told.contains("PERMISSION_DENIED"), "{told}");
    broker.kill_9();

    fs::write(site.path("now/tls.crt"), ours.server().certificate).unwrap();
    let config = site.path("broker.toml").display().to_string();
    for mode in [&["serve", "--config", &config][..], &["serve", "--check", "--config", &config]] {
        let output = process::run(mode).await;
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success());
        assert!(
            told.contains("tls.key_file") && told.contains("does not belong to the certificate"),
            "{told}"
        );
        assert!(told.contains("mend: "), "{told}");
    }
}

#[tokio::test]
async fn certificates_and_bundles_are_replaced_under_load_without_a_failed_call() {
    let (old, new) = (Pki::new(), Pki::new());
    let both = old.certificate() + &new.certificate();
    let site = Site::new(&old.server(), &old.certificate());
    let broker = site.serve().await;
    let address = broker.address();
    let before = Client { authority: both.clone(), ..Client::new(&old, old.svid(ID)) };
    let after = Client { authority: both.clone(), ..Client::new(&new, new.svid(ID)) };
    assert!(match after.connect(address).await {
        Ok(channel) => ask(channel).await.is_err(),
        Err(_) => true,
    });
    // One connection that stays, and callers that come and go.
    let steady = before.connect(address).await.unwrap();
    let client = Arc::new(parking_lot::Mutex::new(before.clone()));
    let load = Load::start(address, &client, &steady, ask);

    // First both authorities are believed, then callers and server change over, then the old one goes.
    site.release("2", &old.server(), &both);
    until("both authorities are believed", || async {
        let channel = after.connect(address).await.ok()?;
        ask(channel).await.ok()
    })
    .await;
    *client.lock() = after.clone();
    site.release("3", &new.server(), &both);
    let only_new = Client::new(&new, new.svid(ID));
    until("the new certificate is shown", || async {
        let channel = only_new.connect(address).await.ok()?;
        ask(channel).await.ok()
    })
    .await;
    site.release("4", &new.server(), &new.certificate());
    until("the old authority is not believed", || async {
        match before.connect(address).await {
            Ok(channel) => ask(channel).await.err().map(drop),
            Err(_) => Some(()),
        }
    })
    .await;
    // Half of a pair is not used, and warned of once.
    fs::write(site.path("now/tls.crt"), old.server().certificate).unwrap();
    until("it is warned of", || async {
        broker.logged().contains("does not belong to the certificate").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(broker.logged().matches("does not belong to the certificate").count(), 1);

    let calls = load.stop().await;
    ask(steady).await.unwrap();
    assert!(calls > 100, "{calls}");
}

#[tokio::test]
async fn strangers_who_say_nothing_keep_nobody_out() {
    let ours = Pki::new();
    let site = Site::new(&ours.server(), &ours.certificate());
    let broker = site.serve().await;
    // More than there are handshakes at once.
    let mut silent = Vec::new();
    for _ in 0..700 {
        silent.push(TcpStream::connect(broker.address()).await.unwrap());
    }
    let client = Client::new(&ours, ours.svid(ID));
    let asked = async {
        let channel = client.connect(broker.address()).await.unwrap();
        ask(channel).await.unwrap();
    };
    // Before the deadline of the strangers' handshakes, which is a minute.
    tokio::time::timeout(Duration::from_secs(30), asked).await.expect("it was kept out");
    drop(silent);
}

#[tokio::test]
async fn a_unix_socket_is_for_those_whom_its_mode_lets_in() {
    let ours = Pki::new();
    let site = Site::new(&ours.server(), &ours.certificate());
    let mut broker = site.serve().await;
    let socket = site.path("socket");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o660);
    let endpoint = format!("unix:{}", socket.display());
    let (_, told) = site.command(&endpoint, &[]).await;
    assert!(told.contains("NOT_FOUND") || told.contains("PERMISSION_DENIED"), "{told}");

    // A second one does not take it away; what a dead one left is no obstacle.
    let config = fs::read_to_string(site.path("broker.toml")).unwrap();
    let other = config.replace("data\"", "other-data\"");
    fs::write(site.path("other.toml"), other).unwrap();
    let output = process::run(&["serve", "--config", &site.path("other.toml").display().to_string()]).await;
    let refused = String::from_utf8(output.stderr).unwrap();
    assert!(refused.contains("unix.path") && refused.contains("another process listens there"), "{refused}");
    broker.kill_9();
    assert!(socket.exists());
    broker.restart().await;
    let (_, told) = site.command(&endpoint, &[]).await;
    assert!(told.contains("NOT_FOUND") || told.contains("PERMISSION_DENIED"), "{told}");
    // What is no socket is not removed.
    broker.kill_9();
    fs::remove_file(&socket).unwrap();
    fs::write(&socket, "mine").unwrap();
    let output = process::run(&["serve", "--config", &site.path("broker.toml").display().to_string()]).await;
    assert!(String::from_utf8(output.stderr).unwrap().contains("is no socket"));
    assert_eq!(fs::read_to_string(&socket).unwrap(), "mine");
}
