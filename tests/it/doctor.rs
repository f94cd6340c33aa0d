//! `bursar doctor` against real deployments: a healthy one has nothing to mend; of each mistake that is made on purpose
//! exactly that one is told, with its mend and an exit code.

use crate::{
    store_conformance::tls,
    support::{
        api::{Api, CLIENT, name},
        pki::{Identity, Pki},
        ports::free_port,
        process::{self, Broker},
        redis::{Server, Settings as RedisSettings, least_user},
        scene::{FileMode, Place, Scene, Settings},
        site::Site,
        until,
    },
};
use bursar::{
    api::{AuthorizationCodeGrant, connection::State, grant::Kind},
    doctor::Check,
};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

/// What the doctor said.
struct Told {
    exit: i32,
    said: Value,
}

async fn doctor(config: &Path, more: &[&str]) -> Told {
    let config = config.display().to_string();
    let words = [&["doctor", "--config", &config, "--output", "json"], more].concat();
    let output = process::run(&words).await;
    let said = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!(
            "{error}: {} {}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    });
    Told { exit: output.status.code().unwrap(), said }
}

impl Told {
    /// Check, level and mend of whatever was found. How full this machine's disk is is not the test's affair.
    fn found(&self) -> Vec<(&str, &str, &str, &str)> {
        let word = |found: &Value, field: &str| found[field].as_str().unwrap().to_owned();
        let all = self.said["findings"].as_array().unwrap();
        for one in all {
            assert!(one.as_object().unwrap().len() == 5, "{one}");
            assert_eq!(word(one, "level") == "ok", word(one, "mend").is_empty(), "{one}");
            assert!(Check::ALL.iter().any(|check| one["check"] == check.word()), "{one}");
        }
        all.iter()
            .filter(|one| one["check"] != "space")
            .map(|one| {
                let [check, level, subject, mend] =
                    ["check", "level", "subject", "mend"].map(|field| one[field].as_str().unwrap());
                (check, level, subject, mend)
            })
            .collect()
    }

    fn of(&self, levels: &[&str]) -> BTreeSet<(String, String)> {
        let found = self.found();
        let chosen = found.iter().filter(|(_, level, ..)| levels.contains(level));
        chosen.map(|(check, level, ..)| ((*check).to_owned(), (*level).to_owned())).collect()
    }

    /// These checks fail or warn, at these levels, and no others; and that decides how it ends.
    fn has_exactly(&self, what: &str, want: &[(&str, &str)]) {
        let want: BTreeSet<_> =
            want.iter().map(|(check, level)| ((*check).to_owned(), (*level).to_owned())).collect();
        assert_eq!(self.of(&["fail", "warn"]), want, "{what}: {:#}", self.said);
        let fails = want.iter().any(|(_, level)| level == "fail");
        assert_eq!(self.exit, i32::from(fails), "{what}: {:#}", self.said);
    }

    /// The mends of what fails or warns, one behind the other.
    fn mends(&self) -> String {
        let found = self.found();
        let chosen = found.iter().filter(|(_, level, ..)| ["fail", "warn"].contains(level));
        chosen.map(|(.., mend)| *mend).collect::<Vec<_>>().join("\n")
    }

    fn checks(&self) -> BTreeSet<String> {
        self.found().iter().map(|(check, ..)| (*check).to_owned()).collect()
    }
}

/// A configuration that differs from another one in a text.
fn changed(config: &Path, name: &str, from: &str, to: &str) -> PathBuf {
    let text = fs::read_to_string(config).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let file = config.with_file_name(format!("{name}.toml"));
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
    file
}

async fn scene() -> Scene {
    Scene::new(Settings { lifetime: Duration::from_secs(3600), ..Settings::default() }).await
}

/// Keeps what it is given.
async fn safe_redis() -> Server {
    Server::with(RedisSettings { append_only: true, ..RedisSettings::default() }).await
}

fn restricted(scene: &Scene, redis: &Server) -> String {
    scene.write("redis-password", FileMode::Secret, "a-password");
    format!(
        "url = \"redis://127.0.0.1:{}\"\nusername = \"bursar\"\npassword_file = \"{}\"\n",
        redis.port(),
        scene.path("redis-password").display()
    )
}

/// Checks of what a simple deployment does not have.
const NOT_THERE: [&str; 7] = [
    "store.sentinels",
    "space",
    "kek.previous",
    "tls.certificate",
    "tls.authorities",
    "tls.workload_api",
    "issuers",
];

#[tokio::test]
async fn a_healthy_deployment_has_nothing_to_mend_and_each_mistake_is_told_by_itself() {
    let (scene, redis) = (scene().await, safe_redis().await);
    let config = scene.config("one", &Place::Redis(&redis));
    let broker = Broker::serve(&config).await;
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 2).await;
    let endpoint = format!("http://{}", broker.address());
    let running = ["--endpoint", endpoint.as_str()];

    let well = doctor(&config, &running).await;
    well.has_exactly("healthy", &[]);
    assert_eq!(well.of(&["skipped"]), BTreeSet::new(), "{:#}", well.said);
    let mut looked_at: BTreeSet<_> = Check::ALL.iter().map(|check| check.word().to_owned()).collect();
    for not_here in NOT_THERE {
        looked_at.remove(not_here);
    }
    assert_eq!(well.checks(), looked_at, "{:#}", well.said);
    assert_eq!(well.said["result"] == "ok", well.said["counts"]["warn"] == 0);

    // Redis as it should not be.
    let at = &redis;
    let set = |key: &'static str, value: &'static str| async move {
        at.command::<()>(&["CONFIG", "SET", key, value]).await;
    };
    set("maxmemory-policy", "allkeys-lru").await;
    let told = doctor(&config, &running).await;
    told.has_exactly("evicts", &[("store.durability", "fail")]);
    assert!(told.mends().contains("noeviction"), "{}", told.mends());
    set("maxmemory-policy", "noeviction").await;
    set("appendonly", "no").await;
    let told = doctor(&config, &running).await;
    told.has_exactly("without append-only file", &[("store.durability", "fail")]);
    assert!(told.mends().contains("appendonly yes"), "{}", told.mends());
    set("appendonly", "yes").await;
    set("appendfsync", "everysec").await;
    let told = doctor(&config, &running).await;
    told.has_exactly("a second at risk", &[("store.durability", "warn")]);
    assert_eq!(doctor(&config, &[&running[..], &["--strict"]].concat()).await.exit, 1);
    set("appendfsync", "always").await;

    // Keys of another deployment.
    scene.write("other-keyset", FileMode::Secret, bursar::app::generate_keyset().unwrap().expose());
    let other = changed(&config, "wrong-keys", "/keyset\"", "/other-keyset\"");
    let told = doctor(&other, &running).await;
    told.has_exactly("wrong keyset", &[("keys.root", "fail")]);
    assert!(told.mends().contains("[keys.previous]"), "{}", told.mends());
    let skipped: BTreeSet<_> = told.of(&["skipped"]).into_iter().map(|(check, _)| check).collect();
    assert!(skipped.contains("clients") && skipped.contains("keys.tenants"), "{skipped:?}");

    // Somebody took the access away.
    scene.simulator.revoke(&held[0].company.company, None).unwrap();
    // Refused once, it is asked again by the broker itself a moment later.
    api.refresh("c0").await.unwrap_err();
    until("the grant's end is seen", || async {
        let state = api.connection("c0").await.unwrap().state();
        (state == State::NeedsReauthorization).then_some(())
    })
    .await;
    let waits = Kind::AuthorizationCode(AuthorizationCodeGrant::default());
    api.create("c9", CLIENT, waits).await.unwrap();
    let told = doctor(&config, &running).await;
    told.has_exactly("needs a person", &[("connections", "warn")]);
    for connection in ["c0", "c9"] {
        let mend = format!("`bursar connection authorize {}`", name(connection));
        assert!(told.mends().contains(&mend), "{}", told.mends());
    }

    // A user that lacks a right.
    drop(broker);
    let line = least_user("bursar", "a-password").replace(" +xadd", "").replace("user bursar ", "");
    let words: Vec<&str> = ["ACL", "SETUSER", "bursar"].into_iter().chain(line.split(' ')).collect();
    redis.command::<()>(&words).await;
    let lines = restricted(&scene, &redis);
    let told = doctor(&scene.config("less", &Place::RedisAt(&lines)), &[]).await;
    told.has_exactly("lacks a right", &[("store.rights", "fail"), ("connections", "warn")]);
    assert!(told.mends().contains("+xadd"), "{}", told.mends());
    redis.command::<()>(&["ACL", "SETUSER", "bursar", "+xadd"]).await;
    let told = doctor(&scene.config("less", &Place::RedisAt(&lines)), &[]).await;
    told.has_exactly("the least rights", &[("connections", "warn")]);
}

#[tokio::test]
async fn a_store_that_is_down_and_a_broker_that_is_gone_are_told() {
    let (scene, mut redis) = (scene().await, safe_redis().await);
    let config = scene.config("one", &Place::Redis(&redis));
    let told = doctor(&config, &[]).await;
    told.has_exactly("before the first start", &[]);
    assert_eq!(
        redis.command::<Vec<String>>(&["KEYS", "*"]).await,
        Vec::<String>::new(),
        "looking writes nothing"
    );
    assert!(!scene.path("data").exists(), "looking makes no folder");

    // It can be read: all else is looked at.
    let looked_at = told.checks();
    redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
    let told = doctor(&config, &[]).await;
    told.has_exactly("takes no writes", &[("store", "fail")]);
    assert!(told.mends().contains("bring its replicas back"), "{}", told.mends());
    assert_eq!(told.checks(), looked_at, "{:#}", told.said);

    redis.kill_9().await;
    let told = doctor(&config, &[]).await;
    told.has_exactly("Redis is down", &[("store", "fail")]);
    assert!(told.mends().contains("docs/redis.md"), "{}", told.mends());

    let nobody = format!("http://127.0.0.1:{}", free_port());
    redis.restart().await;
    let told = doctor(&config, &["--endpoint", &nobody]).await;
    told.has_exactly("no broker", &[("broker", "fail")]);
}

#[tokio::test]
async fn an_embedded_store_is_looked_at_whether_or_not_a_broker_works_with_it() {
    let scene = scene().await;
    let config = scene.config("one", &Place::Embedded);
    let mut broker = Broker::serve(&config).await;
    let api = Api::of(broker.address());
    scene.connect(&api, 1).await;
    let endpoint = format!("http://{}", broker.address());
    let running = ["--endpoint", endpoint.as_str()];
    let told = doctor(&config, &running).await;
    told.has_exactly("in use", &[]);
    let skipped: BTreeSet<_> = told.of(&["skipped"]).into_iter().map(|(check, _)| check).collect();
    let want = ["clients", "keys.root", "keys.rotation", "keys.tenants", "providers"];
    assert_eq!(skipped, want.map(str::to_owned).into(), "{:#}", told.said);

    // What lies in the store the broker tells.
    let waits = Kind::AuthorizationCode(AuthorizationCodeGrant::default());
    api.create("c9", CLIENT, waits).await.unwrap();
    let told = doctor(&config, &running).await;
    told.has_exactly("waits for a person", &[("connections", "warn")]);
    assert!(
        told.mends().contains(&format!("`bursar connection authorize {}`", name("c9"))),
        "{}",
        told.mends()
    );

    broker.terminate();
    broker.ended().await;
    let told = doctor(&config, &[]).await;
    told.has_exactly("at rest", &[("connections", "warn")]);
    let skipped: Vec<_> = told.of(&["skipped"]).into_iter().map(|(check, _)| check).collect();
    assert_eq!(skipped, ["broker"], "{:#}", told.said);

    broker.restart().await;
    broker.kill_9();
    let told = doctor(&config, &[]).await;
    told.has_exactly("killed", &[("store", "warn")]);
    assert!(told.mends().contains("start the broker"), "{}", told.mends());
}

#[tokio::test]
async fn what_is_written_wrong_is_told_with_its_place() {
    let scene = scene().await;
    let config = scene.config("one", &Place::Embedded);
    let typo = changed(&config, "typo", "replica =", "replika =");
    let told = doctor(&typo, &[]).await;
    told.has_exactly("typo", &[("config", "fail")]);
    assert!(
        told.said.to_string().contains("replika (") && told.mends().contains("replica"),
        "{:#}",
        told.said
    );

    scene.write("open-keyset", FileMode::Plain, "whatever");
    let told = doctor(&changed(&config, "open", "/keyset\"", "/open-keyset\""), &[]).await;
    told.has_exactly("a secret that everybody may read", &[("config", "fail")]);
    assert!(told.mends().contains("chmod 600"), "{}", told.mends());

    fs::create_dir(scene.path("rights")).unwrap();
    scene.write(
        "rights/a.cedar",
        FileMode::Plain,
        "permit (principal, action == Action::\"GetTokne\", resource);\n",
    );
    let at = |file: &str| scene.path(file).display().to_string();
    let policy = format!("[policy]\ndir = \"{}\"\n[log]", at("rights"));
    let told = doctor(&changed(&config, "policy", "[log]", &policy), &[]).await;
    told.has_exactly("bad policy", &[("policies", "fail")]);
    assert!(told.mends().contains("`bursar policy check"), "{}", told.mends());

    // A file stands where the folder would be.
    let audit = format!("[audit]\ndir = \"{}\"\n", at("keyset"));
    let told = doctor(&changed(&config, "audit", "[audit]\n", &audit), &[]).await;
    told.has_exactly("no trail", &[("audit.folder", "fail")]);

    scene.write(
        "providers/wrong.toml",
        FileMode::Plain,
        "name = \"wrong\"\ntoken_endpont = \"https://x.example/\"\n",
    );
    let told = doctor(&config, &[]).await;
    told.has_exactly("profile", &[("profiles", "fail")]);
    assert!(told.said.to_string().contains("wrong.toml"), "{:#}", told.said);
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_or_trusted_is_told() {
    let scene = scene().await;
    let config = scene.config("one", &Place::Embedded);
    let all = ["--all-providers"];
    let well = doctor(&config, &all).await;
    well.has_exactly("all providers", &[]);
    assert!(well.found().iter().any(|(check, _, subject, _)| {
        *check == "providers" && subject.starts_with("providers/concur-here ")
    }));

    let away = format!("http://127.0.0.1:{}", free_port());
    let profile = scene.profile();
    let elsewhere = |to: &str| {
        let (from, host) = (scene.base("apj1"), scene.base("apj1").trim_start_matches("http://").to_owned());
        let to_host = to.split_once("://").unwrap().1;
        let changed = profile.replace(&format!("\"{from}\""), &format!("\"{to}\""));
        scene.write(
            "providers/concur-here.toml",
            FileMode::Plain,
            &changed.replace(&format!("\"{host}\""), &format!("\"{to_host}\"")),
        );
    };
    elsewhere(&away);
    let told = doctor(&config, &all).await;
    told.has_exactly("unreachable", &[("providers", "fail")]);
    assert!(told.mends().contains("firewalls"), "{}", told.mends());

    let (_redis, port, _folder) = tls::server(&Pki::new(), &[]).await;
    elsewhere(&format!("https://127.0.0.1:{port}"));
    let told = doctor(&config, &all).await;
    told.has_exactly("not trusted", &[("providers", "fail")]);
    assert!(told.mends().contains("certificate chain"), "{}", told.mends());
}

#[tokio::test]
async fn a_key_service_that_is_away_is_told() {
    let scene = scene().await;
    let config = scene.config("one", &Place::Embedded);
    let mut broker = Broker::serve(&config).await;
    broker.terminate();
    broker.ended().await;
    scene.write("vault-token", FileMode::Secret, "a-token");
    let at = |file: &str| scene.path(file).display().to_string();
    let keyset = format!("keyset_file = \"{}\"\n", at("keyset"));
    let transit = format!(
        "kind = \"transit\"\n[keys.transit]\naddress = \"http://127.0.0.1:{}\"\nkey = \"bursar\"\n\
         token_file = \"{}\"\n",
        free_port(),
        at("vault-token")
    );
    let plugin = format!("kind = \"kms_plugin\"\n[keys.kms_plugin]\nsocket = \"{}\"\n", at("no-socket"));
    // It is another KEK than the store was made with, too.
    for (name, kek) in [("transit", &transit), ("plugin", &plugin)] {
        let told = doctor(&changed(&config, name, &keyset, kek), &[]).await;
        told.has_exactly(name, &[("kek", "fail"), ("keys.root", "fail")]);
        assert!(told.mends().contains("docs/keys.md"), "{}", told.mends());
    }
    let previous = format!(
        "{keyset}[keys.previous]\nkind = \"kms_plugin\"\n[keys.previous.kms_plugin]\nsocket = \"{}\"\n",
        at("no-socket")
    );
    let told = doctor(&changed(&config, "previous", &keyset, &previous), &[]).await;
    told.has_exactly("previous", &[("kek.previous", "fail")]);
}

#[tokio::test]
async fn an_issuer_and_an_agent_that_are_away_are_told() {
    let pki = Pki::new();
    let site = Site::new(&pki.server(), &pki.certificate());
    let config = site.path("broker.toml");
    let issuers = site.path("issuers");
    fs::create_dir(&issuers).unwrap();
    let issuer = format!("issuer = \"http://127.0.0.1:{}\"\naudiences = \"bursar\"\n", free_port());
    fs::write(issuers.join("idp.toml"), issuer).unwrap();
    let tokens = format!("[identity.tokens]\nissuers_dir = \"{}\"\n[policy]", issuers.display());
    let told = doctor(&changed(&config, "issuer", "[policy]", &tokens), &[]).await;
    told.has_exactly("issuer", &[("issuers", "fail")]);
    assert!(told.mends().contains("docs/identity.md"), "{}", told.mends());

    let bundles = format!("bundles = \"files\"\nbundles_dir = \"{}\"\n", site.path("now/bundles").display());
    let socket = site.path("no-socket");
    let agent = format!("bundles = \"workload_api\"\nworkload_api = \"unix://{}\"\n", socket.display());
    let told = doctor(&changed(&config, "agent", &bundles, &agent), &[]).await;
    told.has_exactly("agent", &[("tls.workload_api", "fail")]);
}

#[tokio::test]
async fn certificates_that_end_or_do_not_fit_are_told() {
    let pki = Pki::new();
    let site = Site::new(&pki.server(), &pki.certificate());
    let config = site.path("broker.toml");
    doctor(&config, &[]).await.has_exactly("well", &[]);

    let ended = pki.server_until(2024);
    site.release("ended", &ended, &pki.certificate());
    let told = doctor(&config, &[]).await;
    told.has_exactly("expired", &[("tls.certificate", "fail")]);
    assert!(told.mends().contains("renew it"), "{}", told.mends());

    let Identity { certificate, .. } = pki.server();
    let other = Identity { certificate, key: pki.server().key };
    site.release("other", &other, &pki.certificate());
    let told = doctor(&config, &[]).await;
    told.has_exactly("another key", &[("tls.certificate", "fail")]);
    assert!(told.mends().contains("from one issue"), "{}", told.mends());
}
