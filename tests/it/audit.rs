//! The trail of a real process: what callers were given is on record, whatever becomes of process and disk; and an
//! operator finds it with the commands alone.

use crate::support::{
    api::{Api, TENANT, name},
    process::{self, Broker},
    scene::{FileMode, Place, Scene, Settings},
    until,
};
use bursar::{
    api::DeleteConnectionRequest,
    audit::{
        Event, key_of,
        query::{self, Filter},
        reading::{Trail, trails},
        tag_of,
        verify::{Against, verify},
    },
    domain::token::Secret,
};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet, fs, os::unix::fs::PermissionsExt, path::PathBuf, process::Output, sync::Arc,
    time::Duration,
};
use tokio::task::JoinSet;
use tonic_types::StatusExt;

/// Connections, so many that the process is always in the middle of something.
const COUNT: usize = 40;
/// Between two questions of a caller that got no answer.
const PAUSE: Duration = Duration::from_millis(20);

fn folder(scene: &Scene) -> PathBuf {
    scene.path("data/audit/one")
}

fn found(scene: &Scene) -> Vec<Trail> {
    trails(&[scene.path("data/audit")]).unwrap()
}

/// The key, by the command that takes it out of the store; nobody else may use an embedded one meanwhile.
async fn take_key(scene: &Scene, config: &str) -> Secret {
    let out = scene.path("audit-key").display().to_string();
    let told = process::run(&["audit", "key", "--config", config, "--out", &out]).await;
    assert!(told.status.success(), "{}", text(&told.stderr));
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    Secret::new(fs::read_to_string(out).unwrap())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(output: &Output) -> serde_json::Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Connections, and tokens of theirs.
type Given = Arc<Mutex<BTreeSet<(String, String)>>>;

/// Callers that ask for all connections again and again until they are stopped; the tokens that they were given.
fn crowd(api: &Api, count: usize) -> (JoinSet<()>, Given) {
    let given = Given::default();
    let mut callers = JoinSet::new();
    for caller in 0..8 {
        let (api, given) = (api.clone(), given.clone());
        callers.spawn(async move {
            for round in 0.. {
                let id = format!("c{}", (round + caller * 5) % count);
                match api.token(&id).await {
                    Ok(token) => drop(given.lock().insert((name(&id), token.access_token))),
                    // Killed, or a refresh that the last kill cut off is still in doubt.
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        });
    }
    (callers, given)
}

#[tokio::test]
async fn every_token_that_a_client_was_given_is_on_record_when_the_process_is_killed() {
    let scene = Scene::new(Settings { lifetime: Duration::from_secs(4), ..Settings::default() }).await;
    let config = scene.config("one", &Place::Embedded);
    let mut broker = Broker::serve(&config).await;
    scene.connect(&Api::of(broker.address()), COUNT).await;
    let mut all = BTreeSet::new();
    for round in 1..=3 {
        let api = Api::of(broker.address());
        let (mut callers, given) = crowd(&api, COUNT);
        let enough = COUNT + 10 * round;
        until("tokens were given", || async { (given.lock().len() >= enough).then_some(()) }).await;
        broker.kill_9();
        callers.shutdown().await;
        all.extend(given.lock().clone());
        broker.restart().await;
    }
    broker.terminate();
    assert!(broker.ended().await.success());

    let key = key_of(&take_key(&scene, &config.display().to_string()).await).unwrap();
    let trails = found(&scene);
    assert_eq!(trails.len(), 1);
    let report = verify(&trails[0], &Against { key: Some(&key), anchors: &[] }).unwrap();
    assert_eq!(report.problems(), 0, "{:#?}", report.findings);
    assert!(report.files >= 4, "{report:#?}");
    let released: BTreeSet<_> = query::holders(&trails, &Filter::default(), None)
        .unwrap()
        .into_iter()
        .map(|held| (held.connection.to_string(), held.token.to_string()))
        .collect();
    assert!(all.len() > COUNT);
    for (connection, token) in all {
        let tag = tag_of(&key, &Secret::new(token)).to_string();
        assert!(released.contains(&(connection.clone(), tag)), "a token of {connection} is not on record");
    }
}

#[tokio::test]
async fn nothing_leaves_and_nothing_changes_while_the_trail_cannot_be_written() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let text_of = fs::read_to_string(&config).unwrap();
    // As small as files may be, and each line on its own: the next file is due soon.
    let small = format!("{text_of}rotate_bytes = 65536\nreleases = \"every\"\n");
    scene.write("one.toml", FileMode::Plain, &small);
    let mut broker = Broker::serve(&config).await;
    let api = Api::of(broker.address());
    scene.connect(&api, 2).await;
    api.token("c0").await.unwrap();
    // Root may write where nobody may: the folder itself goes away, so that no new file can be begun in it.
    let (folder, away) = (folder(&scene), scene.path("away"));
    fs::rename(&folder, &away).unwrap();
    let refused = until("a file is full", || async {
        let mut refused = None;
        for _ in 0..50 {
            refused = api.token("c0").await.err();
        }
        refused.filter(|_| broker.logged().contains("audit trail cannot be written"))
    })
    .await;
    assert_eq!(refused.get_details_error_info().unwrap().reason, "AUDIT_UNAVAILABLE", "{refused}");
    let delete = DeleteConnectionRequest { name: name("c1"), ..DeleteConnectionRequest::default() };
    let refused = api.connections.clone().delete_connection(delete.clone()).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "AUDIT_UNAVAILABLE", "{refused}");
    api.connection("c1").await.unwrap();

    fs::rename(&away, &folder).unwrap();
    until("it is written again", || async { api.token("c0").await.ok() }).await;
    api.connections.clone().delete_connection(delete).await.unwrap();
    broker.terminate();
    assert!(broker.ended().await.success());
    let report = verify(&found(&scene)[0], &Against::default()).unwrap();
    assert_eq!(report.problems(), 0, "{:#?}", report.findings);
    let log = broker.logged();
    assert_eq!(log.matches("audit trail cannot be written").count(), 1);
    assert_eq!(log.matches("audit trail is writable again").count(), 1);
}

#[tokio::test]
async fn an_operator_finds_who_held_a_leaked_token_and_who_changed_what() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let mut broker = Broker::serve(&config).await;
    let api = Api::of(broker.address());
    scene.connect(&api, 2).await;
    let token = api.token("c0").await.unwrap().access_token;
    for _ in 0..4 {
        api.token("c0").await.unwrap();
    }
    let missing = DeleteConnectionRequest { name: name("no-such"), ..DeleteConnectionRequest::default() };
    api.connections.clone().delete_connection(missing).await.unwrap_err();
    broker.terminate();
    assert!(broker.ended().await.success());
    take_key(&scene, &config.display().to_string()).await;
    scene.write("leaked", FileMode::Secret, &format!("{token}\n"));

    let at = |file: &str| scene.path(file).display().to_string();
    let (trail, leaked, key) = (at("data/audit"), at("leaked"), at("audit-key"));
    let by_token =
        ["audit", "query", &trail, "--token-file", &leaked, "--key-file", &key, "--output", "json"];
    let given = json(&process::run(&by_token).await);
    assert_eq!(given.as_array().unwrap().len(), 1, "{given}");
    assert_eq!(
        (given[0]["caller"].as_str(), given[0]["connection"].as_str()),
        (Some("local"), Some(&*name("c0")))
    );
    assert_eq!(given[0]["count"], 5);
    let released = given[0]["released_at"].as_str().unwrap().to_owned();
    let of_time = ["audit", "query", &trail, "--tenant", TENANT, "--at", &released, "--output", "json"];
    let of_time = json(&process::run(&of_time).await);
    assert_eq!((of_time.as_array().unwrap().len(), of_time[0]["state"].as_str()), (1, Some("live")));
    let early =
        ["audit", "query", &trail, "--tenant", TENANT, "--at", "2020-01-01T00:00:00Z", "--output", "json"];
    assert_eq!(json(&process::run(&early).await).as_array().unwrap().len(), 0);

    let changes = json(&process::run(&["audit", "query", &trail, "--changes", "--output", "json"]).await);
    let of_line = |line: &serde_json::Value| {
        let word = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        (word("action"), word("target"), word("step"), word("reason"))
    };
    let told: Vec<_> = changes.as_array().unwrap().iter().map(of_line).collect();
    let line = |action: &str, target: &str, step: &str, reason: &str| {
        (action.to_owned(), target.to_owned(), step.to_owned(), reason.to_owned())
    };
    assert_eq!(
        told[..2],
        [line("CreateTenant", TENANT, "asked", ""), line("CreateTenant", TENANT, "done", "")]
    );
    assert!(told.contains(&line("CreateConnection", &name("c1"), "done", "")), "{told:?}");
    assert_eq!(
        told.last().unwrap(),
        &line("DeleteConnection", &name("no-such"), "refused", "CONNECTION_NOT_FOUND")
    );

    // No token and no secret stands in it.
    let written: String = found(&scene)[0]
        .files
        .iter()
        .map(|number| {
            fs::read_to_string(folder(&scene).join(bursar::audit::chain::file_name(*number))).unwrap()
        })
        .collect();
    assert!(!written.contains(&token) && !written.contains(&scene.app.secrets[0]));

    let verified = process::run(&["audit", "verify", &trail, "--key-file", &key]).await;
    assert!(verified.status.success(), "{}", text(&verified.stdout));
    assert!(text(&verified.stdout).contains("sound"));
    let head = json(&process::run(&["audit", "head", &trail, "--output", "json"]).await);
    let head = head[0]["head"].as_str().unwrap().to_owned();
    let log = broker.logged();
    assert!(log.contains(head.split_once(':').unwrap().1), "the log has the head as well");
    tampered(&scene, &trail, &head).await;
}

/// What somebody with access to the disk does, and what the command says of it.
async fn tampered(scene: &Scene, trail: &str, head: &str) {
    let path = folder(scene).join(bursar::audit::chain::file_name(1));
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.lines().collect();
    let release = lines.iter().position(|line| line.contains("\"event\":\"release\"")).unwrap();
    let with = |line: usize, by: &str| {
        let mut lines = lines.clone();
        lines[line] = by;
        lines.join("\n") + "\n"
    };
    let altered = lines[release].replace("\"local\"", "\"other\"");
    fs::write(&path, with(release, &altered)).unwrap();
    let told = process::run(&["audit", "verify", trail]).await;
    assert_eq!(told.status.code(), Some(1));
    let place = format!("00000001.jsonl:{}: was altered", release + 1);
    assert!(text(&told.stdout).contains(&place), "{}", text(&told.stdout));
    // Cut at the end: nothing but what was noted elsewhere tells.
    fs::write(&path, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    assert!(process::run(&["audit", "verify", trail]).await.status.success());
    let told = process::run(&["audit", "verify", trail, "--head", head]).await;
    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stdout).contains("anchored"), "{}", text(&told.stdout));
    fs::write(&path, whole).unwrap();
    assert!(process::run(&["audit", "verify", trail, "--head", head]).await.status.success());
}

#[tokio::test]
async fn a_second_process_in_the_same_folder_and_a_folder_that_is_none_are_refused_with_the_mend() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let given = fs::read_to_string(&config).unwrap();
    scene.write("file", FileMode::Plain, "");
    let unusable = format!("{given}dir = \"{}\"\n", scene.path("file").display());
    scene.write("one.toml", FileMode::Plain, &unusable);
    let refused = process::run(&["serve", "--config", &config.display().to_string()]).await;
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(
        told.contains("audit.dir") && told.contains("mend:") && told.contains("cannot be written"),
        "{told}"
    );

    scene.write("one.toml", FileMode::Plain, &given);
    let broker = Broker::serve(&config).await;
    // Another store, the same trail.
    let other = given.replace(
        "[keys]",
        &format!("[store.embedded]\nfile = \"{}\"\n[keys]", scene.path("other.redb").display()),
    );
    scene.write("two.toml", FileMode::Plain, &other);
    let refused = process::run(&["serve", "--config", &scene.path("two.toml").display().to_string()]).await;
    let told = text(&refused.stderr);
    assert!(told.contains("in use by another process") && told.contains("set `replica`"), "{told}");
    Api::of(broker.address()).create_tenant().await;
}

#[tokio::test]
async fn standard_output_takes_the_same_lines_where_that_is_asked_for() {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let given = fs::read_to_string(&config).unwrap();
    scene.write("one.toml", FileMode::Plain, &format!("{given}second = \"stdout\"\n"));
    let broker = Broker::serve(&config).await;
    Api::of(broker.address()).create_tenant().await;
    let done = until("the lines are there", || async {
        let said = broker.said();
        said.lines().find(|line| line.contains("\"step\":\"done\"")).map(str::to_owned)
    })
    .await;
    let file = fs::read_to_string(folder(&scene).join("00000001.jsonl")).unwrap();
    assert!(file.lines().any(|line| line == done));
    let hits = query::lines(&found(&scene), &Filter::default()).unwrap();
    // What happened first may be older than the file that it is written in.
    assert!(hits.iter().any(|hit| matches!(hit.line.event, Event::File(_))));
}
