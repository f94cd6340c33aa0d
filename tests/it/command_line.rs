//! The command line against a real `bursar dev`, as somebody would try it out.

use crate::support::{
    driven::Driven,
    process::{self, Broker, told_url},
    until,
};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NAME: &str = "tenants/demo/connections/concur";
const FIELDS: [&str; 10] = [
    "access_token",
    "api_base_url",
    "degraded_reason",
    "dpop_jkt",
    "expire_time",
    "generation",
    "next_refresh_time",
    "principal",
    "scopes",
    "token_type",
];

#[tokio::test]
async fn tokens_verify_and_are_renewed_without_anyone_asking() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::dev(&folder.path().join("data")).await;
    let command = Command::of(&broker);
    let provider = told_url(&broker.said(), "SAP Concur");
    let first = command.run(&["token", "get", NAME]).await.token();
    let keys = http(&format!("{provider}/oauth2/v0/jwks"), None).await;
    let issued = verified(&first, &keys);
    assert_eq!(issued["exp"].as_u64().unwrap() - issued["iat"].as_u64().unwrap(), 30);

    // Who looks at the connection asks for no token.
    let generation = async || {
        let shown = command.run(&["connection", "show", NAME, "--output", "json"]).await;
        serde_json::from_str::<Value>(&shown.out).unwrap()["generation"].as_u64().unwrap()
    };
    let begun = generation().await;
    until("it is renewed", async || (generation().await > begun).then_some(())).await;
    let told = command.run(&["token", "get", NAME, "--output", "json"]).await;
    let message: Value = serde_json::from_str(&told.out).unwrap();
    let second = message["access_token"].as_str().unwrap();
    assert_ne!(second, first);
    let renewed = verified(second, &keys);
    assert!(
        renewed["iat"].as_u64() < issued["exp"].as_u64(),
        "renewed when it had expired: {renewed} {issued}"
    );
    let mut keys: Vec<_> = message.as_object().unwrap().keys().collect();
    keys.sort();
    assert_eq!(keys, FIELDS);
    assert_eq!(message["api_base_url"], json!(provider));
    let expires = message["expire_time"].as_str().unwrap();
    assert_eq!(rfc_3339(expires), renewed["exp"].as_u64().unwrap(), "{expires}");
    assert!(message["generation"].as_u64().is_some_and(|generation| generation >= 2), "{message}");

    // Neither the broker nor a browser is led to another machine.
    for provider in ["concur-simulator", "oauth-simulator"] {
        let shown =
            command.run(&["provider", "show", &format!("providers/{provider}"), "--output", "json"]).await;
        let mut shown: Value = serde_json::from_str(&shown.out).unwrap();
        assert!(
            shown["endpoints"]["authorization"]
                .as_str()
                .is_some_and(|url| url.starts_with("http://127.0.0.1:"))
        );
        shown["sources"].take();
        assert!(!shown.to_string().contains("https://"), "{shown}");
    }

    // The log has it, and nobody had asked between the two.
    let told = format!("token refreshed connection={NAME} generation=2 ");
    let log = broker.logged();
    assert!(log.contains(&told), "{log}");
}

/// Seconds since 1970 of a moment as RFC 3339 writes it, in UTC and without a fraction.
fn rfc_3339(text: &str) -> u64 {
    let shape: String = text.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
    assert_eq!(shape, "0000-00-00T00:00:00Z", "{text}");
    let seconds = std::process::Command::new("date").args(["-u", "-d", text, "+%s"]).output().unwrap();
    String::from_utf8(seconds.stdout).unwrap().trim().parse().unwrap()
}

#[tokio::test]
async fn exit_codes_tell_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::dev(&folder.path().join("data")).await;
    let command = Command::of(&broker);
    let missing = command.run(&["token", "get", "tenants/demo/connections/none", "--output", "json"]).await;
    let error: Value = serde_json::from_str(&missing.err).unwrap();
    assert_eq!((missing.code, &error["error"]["reason"]), (1, &json!("CONNECTION_NOT_FOUND")));
    assert_eq!(command.run(&["token", "get"]).await.code, 2);
    assert_eq!(command.run(&["token", "get", "not a name"]).await.code, 2);

    // The company disconnects the app; a token of two seconds is not good for long.
    let control = control_url(&broker.said());
    http(&format!("{control}/control/behaviour"), Some(&json!({"access_token_seconds": 2}))).await;
    assert_eq!(command.run(&["connection", "refresh", NAME]).await.code, 0);
    let shown = command.run(&["connection", "show", NAME, "--output", "json"]).await;
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let client = command.run(&["client", "show", "tenants/demo/clients/concur", "--output", "json"]).await;
    let client: Value = serde_json::from_str(&client.out).unwrap();
    let order = json!({"principal": shown["principal"]["id"], "app": client["client_id"]});
    http(&format!("{control}/control/disconnect"), Some(&order)).await;
    let refused = until("the connection needs a new authorization", || async {
        let refused = command.run(&["token", "get", NAME, "--output", "json"]).await;
        (refused.code == 3).then_some(refused)
    })
    .await;
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert_eq!(error["error"]["reason"], json!("NEEDS_REAUTHORIZATION"));
    assert_eq!(error["error"]["metadata"]["state_reason"], json!("COMPANY_NOT_ENABLED"));
    assert_eq!(refused.out, "");
}

struct Command {
    endpoint: String,
}

struct Told {
    code: i32,
    out: String,
    err: String,
}

impl Command {
    fn of(broker: &Broker) -> Self {
        Self { endpoint: format!("http://{}", broker.address()) }
    }

    async fn run(&self, arguments: &[&str]) -> Told {
        let all: Vec<_> = ["--endpoint", &self.endpoint].iter().chain(arguments).copied().collect();
        let output = process::run(&all).await;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Told { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }
}

impl Told {
    /// The token and nothing else.
    fn token(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""));
        let token = self.out.strip_suffix('\n').unwrap();
        assert!(token.bytes().all(|byte| byte.is_ascii_graphic()), "{token:?}");
        token.to_owned()
    }
}

/// The claims of a token that one of the keys signed (RFC 7515 §5.2, RFC 7518 §3.3).
fn verified(token: &str, keys: &Value) -> Value {
    let (input, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = input.split_once('.').unwrap();
    let decoded = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let header: Value = serde_json::from_slice(&decoded(header)).unwrap();
    assert_eq!(header["alg"], "RS256");
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).unwrap();
    let number = |name: &str| decoded(key[name].as_str().unwrap());
    let key = RsaPublicKeyComponents { n: number("n"), e: number("e") };
    key.verify(&RSA_PKCS1_2048_8192_SHA256, input.as_bytes(), &decoded(signature)).unwrap();
    serde_json::from_slice(&decoded(payload)).unwrap()
}

/// Where the simulated SAP Concur takes orders.
fn control_url(said: &str) -> String {
    let line = said.lines().find(|line| line.trim_start().starts_with("SAP Concur")).unwrap();
    line.rsplit_once("control: ").unwrap().1.trim_end_matches(')').to_owned()
}

/// One request, a POST if there is something to send; the answer's JSON.
async fn http(url: &str, body: Option<&Value>) -> Value {
    let (host, path) = url.trim_start_matches("http://").split_once('/').unwrap();
    let mut stream = TcpStream::connect(host).await.unwrap();
    let (method, body) = body.map_or(("GET", String::new()), |body| ("POST", body.to_string()));
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len(),
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{url}: {answer}");
    serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn an_import_that_is_stopped_goes_on_at_the_next_run() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::dev(&folder.path().join("data")).await;
    let command = Command::of(&broker);
    let client = command.run(&["client", "show", "tenants/demo/clients/concur", "--output", "json"]).await;
    let client: Value = serde_json::from_str(&client.out).unwrap();
    let order = json!({"app": client["client_id"], "count": 3});
    let seeded =
        http(&format!("{}/control/seed_connections", control_url(&broker.said())), Some(&order)).await;
    let rows = seeded.as_array().unwrap().iter().enumerate().map(|(number, one)| {
        format!(
            "taken-{number},{},{}\n",
            one["refresh_token"].as_str().unwrap(),
            one["geolocation"].as_str().unwrap()
        )
    });
    let file = folder.path().join("old.csv");
    std::fs::write(&file, format!("connection,refresh_token,api_base_url\n{}", rows.collect::<String>()))
        .unwrap();
    let import = |rate: &'static str| {
        let file = file.to_str().unwrap().to_owned();
        let all = ["connection", "import", &file, "--tenant", "tenants/demo", "--client"].map(str::to_owned);
        let rest = ["tenants/demo/clients/concur", "--rate", rate, "--output", "json"].map(str::to_owned);
        all.into_iter().chain(rest).collect::<Vec<_>>()
    };

    // One begins at once, the next would begin in an hour.
    let mut slow = std::process::Command::new(process::PROGRAM);
    slow.args(["--endpoint", &command.endpoint]).args(import("1/h"));
    slow.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let slow = slow.spawn().unwrap();
    let name = ["connection", "show", "tenants/demo/connections/taken-0"];
    until("the first one is there", || async { (command.run(&name).await.code == 0).then_some(()) }).await;
    let order = format!("kill -INT {}", slow.id());
    assert!(std::process::Command::new("sh").args(["-c", &order]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(|| slow.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(130), "{ended:?}");
    let summary: Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&summary["imported"], &summary["not_begun"]), (&json!(1), &json!(2)));

    let arguments = import("100/s");
    let again = command.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let summary: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((again.code, &summary["imported"], &summary["already_there"]), (0, &json!(2), &json!(1)));
}

#[tokio::test]
async fn labels_are_changed_one_by_one() {
    let broker = Driven::start("extends = \"sap-concur\"\nname = \"under-test\"\n").await;
    broker.ok("tenant create tenants/acme --label plan=gold --label trial=yes --label team=pay").await;
    let changed = broker.ok("tenant update tenants/acme --label plan=silver --remove-label trial").await;
    assert_eq!(changed["labels"], serde_json::json!({ "plan": "silver", "team": "pay" }));
    let deleted = broker.ok("tenant delete tenants/acme").await;
    assert!(deleted["purge_time"].is_string(), "{deleted}");
    let shown = broker.ok("tenant show tenants/acme").await;
    assert_eq!(shown["delete_time"], deleted["delete_time"]);
    let gone = broker.end("tenant show tenants/none", "").await;
    assert_eq!(gone.said["error"]["reason"], "TENANT_NOT_FOUND");
}

/// No server runs: the files are checked here.
#[tokio::test]
async fn profile_files_are_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let lint = |arguments: &[&str]| {
        let told = std::process::Command::new(process::PROGRAM)
            .args(["provider", "lint"])
            .args(arguments)
            .output()
            .unwrap();
        (told.status.code().unwrap(), String::from_utf8(told.stdout).unwrap())
    };
    let base = file(
        "base.toml",
        "extends = \"okta\"\nname = \"base\"\nvariables = { domain = \"acme.okta.example\" }\n",
    );
    let upper =
        file("upper.toml", "extends = \"base\"\nname = \"upper\"\n\nrotatoin = \"always\"\ngrace = \"2d\"\n");
    assert_eq!(lint(&[&base]), (0, format!("{base}: no mistakes\n")));

    let (code, told) = lint(&[&base, &upper]);
    let lines: Vec<_> = told.lines().collect();
    assert_eq!(
        (code, lines),
        (
            1,
            vec![
                format!("{base}: no mistakes").as_str(),
                format!("{upper}:4: rotatoin is not a key; did you mean `rotation`?").as_str(),
                format!("{upper}:5: grace is too long; write at most 86400s").as_str(),
            ]
        )
    );
    let (code, told) = lint(&[&base, &upper, "--output", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, told.as_array().unwrap().len()), (1, 2));
    assert_eq!((&told[0]["line"], &told[0]["key"]), (&json!(4), &json!("rotatoin")));
    // A folder is what is in it, by name.
    let (code, of_folder) = lint(&[&folder.path().display().to_string(), "--output", "json"]);
    assert_eq!((code, serde_json::from_str::<Value>(&of_folder).unwrap()), (1, told));
    std::fs::create_dir(folder.path().join("empty")).unwrap();
    assert_eq!(lint(&[&folder.path().join("empty").display().to_string()]).0, 2);
    // A file by itself lacks what it extends; one that cannot be read, or none at all, is a matter of usage.
    assert_eq!(lint(&[&upper]).0, 1);
    assert_eq!(lint(&[&folder.path().join("none.toml").display().to_string()]).0, 2);
    assert_eq!(lint(&[]).0, 2);
}
