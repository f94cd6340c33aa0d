//! The command line against a real `bursar dev`, as somebody would try it out.

use crate::support::{
    driven::Driven,
    process::{self, Broker, told_url},
    until,
};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bursar::clock::{Clock, SystemClock, Timestamp};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const NAME: &str = "tenants/demo/connections/concur";
const FIELDS: [&str; 9] = [
    "access_token",
    "api_base_url",
    "degraded_reason",
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

    // A lifetime later.
    let expires_at = Timestamp::from_secs(issued["exp"].as_u64().unwrap());
    tokio::time::sleep(SystemClock.now().until(expires_at)).await;
    let told = command.run(&["token", "get", NAME, "--output", "json"]).await;
    let message: Value = serde_json::from_str(&told.out).unwrap();
    let second = message["access_token"].as_str().unwrap();
    assert_ne!(second, first);
    let renewed = verified(second, &keys);
    assert!(
        renewed["iat"].as_u64() < issued["exp"].as_u64(),
        "renewed when it had expired: {renewed} {issued}"
    );
    assert_eq!(message.as_object().unwrap().keys().collect::<Vec<_>>(), FIELDS);
    assert_eq!(message["api_base_url"], json!(provider));
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
    let refused = until("the connection needs a new authorization", Duration::from_secs(30), || async {
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
async fn labels_are_changed_one_by_one() {
    let broker = Driven::start("extends = \"sap-concur\"\nname = \"under-test\"\n").await;
    broker.ok("tenant create tenants/acme --label plan=gold --label trial=yes --label team=pay").await;
    let changed = broker.ok("tenant update tenants/acme --label plan=silver --remove-label trial").await;
    assert_eq!(changed["labels"], serde_json::json!({ "plan": "silver", "team": "pay" }));
    let refused = broker.end("tenant delete tenants/acme --force", "").await;
    assert_eq!(refused.said["error"]["reason"], "METHOD_NOT_IMPLEMENTED");
    broker.ok("tenant delete tenants/acme").await;
    let gone = broker.end("tenant show tenants/acme", "").await;
    assert_eq!(gone.said["error"]["reason"], "TENANT_NOT_FOUND");
}
