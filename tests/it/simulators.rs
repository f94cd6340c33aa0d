//! `bursar simulate` as a person uses it: what it prints works, and every order of `docs/simulators.md` is obeyed.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/simulators.md");
/// The orders that both servers have; the others are told by each server itself.
const COMMON: [&str; 3] = ["break", "behaviour", "reset"];

struct Simulator {
    child: Child,
    said: Vec<String>,
    http: reqwest::Client,
}

impl Simulator {
    fn start(kind: &str) -> Self {
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let mut child = Command::new(env!("CARGO_BIN_EXE_bursar"))
            .args(["simulate", kind])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let said: Vec<_> = lines.take_while(|line| line != "ready").collect();
        Self {
            child,
            said,
            http: reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap(),
        }
    }

    /// What is printed behind a title.
    fn told(&self, title: &str) -> &str {
        let found = self.said.iter().find_map(|line| line.strip_prefix(title));
        found.unwrap_or_else(|| panic!("no {title}: {:?}", self.said)).split_whitespace().next().unwrap()
    }

    async fn form(&self, url: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let request =
            self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        Self::read(request).await
    }

    /// `None` asks a question.
    async fn control(&self, word: &str, members: Option<&str>) -> (u16, Value) {
        let url = format!("{}/control/{word}", self.told("control "));
        let request = match members {
            None => self.http.get(url),
            Some(members) => {
                self.http.post(url).header("content-type", "application/json").body(members.to_owned())
            }
        };
        Self::read(request).await
    }

    async fn read(request: reqwest::RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
    }

    /// The words that a mistake is answered with: `expected one of …`.
    async fn expected(&self, word: &str, members: &str) -> Vec<String> {
        let (status, told) = self.control(word, Some(members)).await;
        assert_eq!(status, 400, "{told}");
        let text = told["error"].as_str().unwrap();
        let (_, listed) = text.split_once("expected one of").unwrap();
        listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of the page's blocks for a server: word, and members if it is an order.
fn lines(page: &str, kind: &str) -> Vec<(String, Option<String>)> {
    let mut found = Vec::new();
    let mut here = false;
    for line in page.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            here = fence == "sh any" || fence == format!("sh {kind}");
        } else if here {
            let (command, word) = line.split_once("$CONTROL/").unwrap();
            let members =
                command.strip_prefix("curl --json '").map(|rest| rest.trim_end().trim_end_matches('\''));
            assert!(members.is_some() || command == "curl ", "{line}");
            found.push((word.to_owned(), members.map(str::to_owned)));
        }
    }
    found
}

#[tokio::test]
async fn every_order_of_the_page_is_obeyed_and_every_order_is_on_it() {
    let page = std::fs::read_to_string(PAGE).unwrap();
    for kind in ["concur", "oauth"] {
        let simulator = Simulator::start(kind);
        let lines = lines(&page, kind);
        assert!(lines.len() > 30, "{kind}: {}", lines.len());
        for (word, members) in &lines {
            let (status, told) = simulator.control(word, members.as_deref()).await;
            assert_eq!(status, 200, "{kind}: {word} {members:?}: {told}");
        }
        let shown = |word: &String| lines.iter().any(|(shown, _)| shown == word) || word == "decide_device";
        let orders = simulator.expected("nonsense", "{}").await;
        let missing: Vec<_> =
            orders.iter().cloned().chain(COMMON.map(str::to_owned)).filter(|word| !shown(word)).collect();
        assert!(missing.is_empty(), "{kind}: not on the page: {missing:?}");
        let troubles = simulator.expected("break", r#"{"trouble": "nonsense"}"#).await;
        let switches = simulator.control("behaviour", None).await.1;
        let switches = switches.as_object().unwrap().keys().cloned();
        let unsaid: Vec<_> = troubles
            .into_iter()
            .chain(switches)
            .filter(|word| !page.contains(&format!("\"{word}\"")))
            .collect();
        assert!(unsaid.is_empty(), "{kind}: not on the page: {unsaid:?}");
    }
}

#[tokio::test]
async fn what_a_simulated_concur_prints_gets_a_token() {
    let simulator = Simulator::start("concur");
    let client =
        [("client_id", simulator.told("client id")), ("client_secret", simulator.told("client secret"))];
    let first = [
        client[0],
        client[1],
        ("grant_type", "password"),
        ("credtype", "authtoken"),
        ("username", simulator.told("company uuid")),
        ("password", simulator.told("request token")),
    ];
    let (status, granted) = simulator.form(simulator.told("token "), &first).await;
    assert_eq!((status, granted["geolocation"].as_str()), (200, Some(simulator.told("us2"))), "{granted}");
    let again = format!("{}/oauth2/v0/token", granted["geolocation"].as_str().unwrap());
    let token = granted["refresh_token"].as_str().unwrap();
    let refresh = [client[0], client[1], ("grant_type", "refresh_token"), ("refresh_token", token)];
    assert_eq!(simulator.form(&again, &refresh).await.0, 200);
    let page = format!(
        "{}?response_type=code&client_id={}&redirect_uri=http%3A%2F%2F127.0.0.1%3A1%2Fx",
        simulator.told("authorize"),
        client[0].1
    );
    assert_eq!(simulator.http.get(page).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn what_a_simulated_oauth_server_prints_gets_a_token_and_a_device_is_allowed_by_order() {
    let simulator = Simulator::start("oauth");
    let client =
        [("client_id", simulator.told("client id")), ("client_secret", simulator.told("client secret"))];
    let refresh = [
        client[0],
        client[1],
        ("grant_type", "refresh_token"),
        ("refresh_token", simulator.told("refresh token")),
    ];
    assert_eq!(simulator.form(simulator.told("token "), &refresh).await.0, 200);
    let metadata = simulator.http.get(simulator.told("metadata")).send().await.unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.bytes().await.unwrap()).unwrap();
    assert_eq!(metadata["issuer"], simulator.told("oauth"));

    let (_, device) = simulator.form(simulator.told("devices"), &client).await;
    let order = json!({"user_code": device["user_code"], "decision": "allow", "user": "wanda"});
    assert_eq!(simulator.control("decide_device", Some(&order.to_string())).await.0, 200);
    let kind = "urn:ietf:params:oauth:grant-type:device_code";
    let code = device["device_code"].as_str().unwrap();
    let poll = [client[0], client[1], ("grant_type", kind), ("device_code", code)];
    let (status, granted) = simulator.form(simulator.told("token "), &poll).await;
    assert_eq!(status, 200, "{granted}");
}
