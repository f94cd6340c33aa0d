//! A broker on a Redis that is reached over TLS only, wants a client certificate and knows the user with the least
//! rights: it serves and refreshes, takes a new password without a restart, and says at the start what is wrong.

use crate::{
    store_conformance::tls,
    support::{
        api::Api,
        pki::Pki,
        process::{self, Broker},
        redis::{Server, least_user},
        scene::{FileMode, Place, Scene, Settings},
        until,
    },
};
use std::time::Duration;

const FIRST: &str = "the-first-password";
const SECOND: &str = "the-second-password";

/// The section `[store.redis]`, and the files that it names.
fn lines(scene: &Scene, pki: &Pki, port: u16) -> String {
    let mine = pki.client("bursar.internal");
    scene.write("redis-ca", FileMode::Plain, &pki.certificate());
    scene.write("redis-crt", FileMode::Plain, &mine.certificate);
    scene.write("redis-key", FileMode::Secret, &mine.key);
    scene.write("redis-password", FileMode::Secret, FIRST);
    let at = |name: &str| scene.path(name).display().to_string();
    format!(
        "url = \"redis://127.0.0.1:{port}\"\nusername = \"bursar\"\npassword_file = \"{}\"\ntls = \"on\"\n\
         ca_file = \"{}\"\ncert_file = \"{}\"\nkey_file = \"{}\"\ndurability = \"require\"\n",
        at("redis-password"),
        at("redis-ca"),
        at("redis-crt"),
        at("redis-key"),
    )
}

async fn secured() -> (Pki, Server, u16, tempfile::TempDir) {
    let pki = Pki::new();
    let (server, port, folder) =
        tls::server(&pki, &[least_user("bursar", FIRST), "appendonly yes".to_owned()]).await;
    (pki, server, port, folder)
}

#[tokio::test]
async fn a_broker_serves_over_tls_with_the_least_rights_and_takes_a_new_password() {
    let (pki, redis, port, _folder) = secured().await;
    let scene = Scene::new(Settings { lifetime: Duration::from_secs(3600), ..Settings::default() }).await;
    let lines = lines(&scene, &pki, port);
    let broker = Broker::serve(&scene.config("one", &Place::RedisAt(&lines))).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 3).await;
    assert_eq!(api.refresh("c0").await.unwrap().generation, 2);

    // As an operator changes it: the server takes both, then the file has the new one, then the old one goes.
    redis.command::<()>(&["ACL", "SETUSER", "bursar", &format!(">{SECOND}")]).await;
    scene.write("redis-password", FileMode::Secret, SECOND);
    redis.command::<()>(&["ACL", "SETUSER", "bursar", &format!("<{FIRST}")]).await;
    let killed: u64 = redis.command(&["CLIENT", "KILL", "USER", "bursar"]).await;
    assert!(killed >= 3, "{killed}: reads, writes, and the feed");
    until("it refreshes again", || async { api.refresh("c1").await.ok() }).await;
    for one in &held {
        api.token(&one.id).await.unwrap();
    }
    scene.books_agree(&api, &held).await;
    let log = broker.logged();
    assert!(!log.contains(FIRST) && !log.contains(SECOND));
}

#[tokio::test]
async fn what_keeps_a_broker_from_its_redis_is_said_at_the_start() {
    let (pki, redis, port, _folder) = secured().await;
    let scene = Scene::new(Settings::default()).await;
    let good = lines(&scene, &pki, port);
    scene.write("other-ca", FileMode::Plain, &Pki::new().certificate());
    scene.write("no-key", FileMode::Secret, "no key");
    scene.write("wrong-password", FileMode::Secret, "hunter2");
    let plain = format!(":{}\"", redis.port());
    let without =
        |line: &str| good.lines().filter(|one| !one.starts_with(line)).collect::<Vec<_>>().join("\n") + "\n";
    let cases = [
        (good.replace("redis-ca", "other-ca"), "store.redis.ca_file"),
        (good.replace("redis-key", "no-key"), "store.redis.key_file"),
        (good.replace("redis-password", "wrong-password"), "store.redis.password_file"),
        (good.replace(&format!(":{port}\""), &plain), "speak TLS there"),
        (without("key_file").replace("cert_file", "#"), "store.redis.cert_file and store.redis.key_file"),
        (good.replace("username = \"bursar\"", "username = \"nobody\""), "store.redis.username"),
        (good.replace("\"redis://", "\"rediss://"), "store.redis.tls = \"on\""),
        (good.clone() + "nodes = \"a:1\"\n", "store.redis.topology"),
    ];
    for (number, (lines, mend)) in cases.into_iter().enumerate() {
        let config = scene.config(&format!("wrong-{number}"), &Place::RedisAt(&lines));
        // It ends, or waits for what may pass: that a certificate is believed, for one.
        let broker = Broker::begin(&config);
        let told = until(mend, || async { Some(broker.logged()).filter(|log| log.contains(mend)) }).await;
        assert!(!told.contains("hunter2") && !broker.said().contains("ready"), "{told}");
    }
    redis.command::<()>(&["CONFIG", "SET", "appendonly", "no"]).await;
    let config = scene.config("wrong", &Place::RedisAt(&good));
    let ended = process::run(&["serve", "--config", &config.display().to_string()]).await;
    let told = String::from_utf8_lossy(&ended.stderr);
    assert!(!ended.status.success() && told.contains("set appendonly yes"), "{told}");
}
