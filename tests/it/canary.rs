//! Secrets stay where they belong: with everything logged that can be, and everything going wrong that can, none is
//! found in a log, an error, a trace, a process's arguments and environment, what probes and Prometheus are told, or the
//! store.

mod commands;
mod search;

use crate::support::{
    api::{Api, CLIENT, TENANT, name, reason},
    collector::Collector,
    probes::{self, Answered, Probes},
    process::{self, Broker},
    redis::{Server, Settings as RedisSettings},
    scene::{Held, Place, Scene, Settings},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bursar::{
    api::{
        AddClientSecretRequest, ClientSecretInput, DeleteConnectionRequest, GetTokenRequest,
        ListConnectionsRequest, RefreshTokenGrant, RetireClientSecretRequest, UpdateConnectionRequest,
        UpdateTenantRequest, client_secret_input::Value, grant::Kind,
    },
    simulator::{
        concur::{NewApp, Refusal},
        fault::{Fault, Only, Trouble},
    },
};
use search::Search;
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tonic::Status;

const APP_SECRET: &str = "canary/app+secret=%7e&1";
const NEXT_SECRET: &str = "canary/next+secret=%7e&2";
const WRONG_SECRET: &str = "canary/wrong+secret=%7e&3";
const REDIS_PASSWORD: &str = "canary-redis-password-51";
/// Where everybody may read it.
const PLANTED: &str = "canary/planted+word=%7e&5";
/// Given where something else is asked for.
const MISPLACED: &str = "canary/misplaced+secret=%7e&4";

#[tokio::test]
async fn no_secret_is_spilled_with_redis() {
    let scene = scene().await;
    let redis = Server::with(RedisSettings {
        append_only: true,
        password: Some(REDIS_PASSWORD.into()),
        ..RedisSettings::default()
    })
    .await;
    let collector = Collector::start().await;
    let config = watched(&scene, &Place::Redis(&redis), &collector);
    let mut broker = Broker::serve(&config).await;
    let mut spilled = Spilled::default();
    misbehave(&scene, &mut broker, &mut spilled).await;
    examine(&scene, &broker, &mut spilled).await;
    spilled.keep_spans(&collector, &mut broker).await;
    for key in redis.command::<Vec<String>>(&["KEYS", "*"]).await {
        let value: Vec<u8> = redis.command(&["DUMP", &key]).await;
        spilled.keep(format!("redis {key}"), [key.as_bytes(), &value].concat());
    }
    redis.command::<()>(&["SAVE"]).await;
    let files = spilled.keep_folder(redis.folder(), &["redis.conf"]);
    assert!(files >= 3, "{files} files of Redis");
    spilled.sees(&scene, &["redis ", &redis.folder().display().to_string()]);
    spilled.judge(&scene);
}

#[tokio::test]
async fn no_secret_is_spilled_with_the_embedded_store() {
    let scene = scene().await;
    let collector = Collector::start().await;
    let config = watched(&scene, &Place::Embedded, &collector);
    let mut broker = Broker::serve(&config).await;
    let mut spilled = Spilled::default();
    misbehave(&scene, &mut broker, &mut spilled).await;
    spilled.keep_spans(&collector, &mut broker).await;
    let files = spilled.keep_folder(&scene.path("data"), &[]);
    assert!(files >= 1, "{files} files of the store");
    spilled.sees(&scene, &[&scene.path("data").display().to_string()]);
    spilled.judge(&scene);
}

#[tokio::test]
async fn no_command_spills_a_secret() {
    let scene = scene().await;
    let mut spilled = Spilled::default();
    commands::all(&scene, &mut spilled).await;
    spilled.judge_few(&scene);
}

async fn scene() -> Scene {
    Scene::new(Settings { log: "trace", app_secret: Some(APP_SECRET), ..Settings::default() }).await
}

/// A configuration with a listener for probes and a collector of traces.
fn watched(scene: &Scene, place: &Place<'_>, collector: &Collector) -> PathBuf {
    let config = scene.config_with("one", place, &collector.lines());
    probes::watched(&config, "10m");
    config
}

/// Everything that is looked through, by where it comes from.
#[derive(Default)]
struct Spilled {
    places: Vec<(String, Vec<u8>)>,
    secrets: Search,
}

impl Spilled {
    fn keep(&mut self, place: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.places.push((place.into(), content.into()));
    }

    /// All that a client sees of an error, its details in clear and as they travel.
    fn keep_status(&mut self, what: &str, status: &Status) {
        self.keep(format!("error of {what}"), format!("{status:?} {status}"));
        self.keep(format!("details of {what}"), status.details());
    }

    /// All that was told to a collector, the last of it at the end of the process.
    async fn keep_spans(&mut self, collector: &Collector, broker: &mut Broker) {
        broker.terminate();
        let ended = broker.ended().await;
        assert!(ended.success(), "{ended}");
        let names: BTreeSet<_> = collector.spans().into_iter().map(|(_, span)| span.name).collect();
        // Of a life in which much went wrong: refreshes, what was asked of the provider, what came of it.
        for name in ["refresh", "exchange", "POST", "commit", "set_back"] {
            assert!(names.contains(name), "{names:?}");
        }
        self.keep("spans", collector.bytes());
    }

    /// Every file below the folder but those named; how many.
    fn keep_folder(&mut self, folder: &Path, but: &[&str]) -> usize {
        let mut kept = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                kept += self.keep_folder(&path, but);
            } else if !but.iter().any(|name| path.ends_with(name)) {
                self.keep(path.display().to_string(), fs::read(&path).unwrap());
                kept += 1;
            }
        }
        kept
    }

    /// What lies there in the clear is found by the same search, in each kind of place: else that nothing is found
    /// would prove nothing.
    fn sees(&self, scene: &Scene, stores: &[&str]) {
        let address = scene.base("us2");
        let seen = |place: &str, word: &str| {
            let mut search = Search::default();
            search.add(word, word.as_bytes());
            let mut places = self.places.iter().filter(|(name, _)| name.starts_with(place));
            let raw = format!("{word} (raw)");
            assert!(
                places.any(|(_, content)| search.found_in(content).contains(&raw)),
                "{word} was not found in {place}"
            );
        };
        for store in stores {
            // A connection's record has it, and a tenant's what was planted there.
            seen(store, &address);
            seen(store, PLANTED);
        }
        seen(&scene.path("output").display().to_string(), &name("c0"));
        seen("answer to /metrics", "concur-here");
        seen("error of Status", &name("c0"));
        seen("details of Status", &name("c0"));
        seen("spans", &name("c0"));
        seen("cmdline of the broker", &scene.path("one.toml").display().to_string());
    }

    fn judge(self, scene: &Scene) {
        self.judge_at_least(scene, 7);
    }

    /// After a life with fewer grants.
    fn judge_few(self, scene: &Scene) {
        self.judge_at_least(scene, 3);
    }

    fn judge_at_least(mut self, scene: &Scene, refresh_tokens: usize) {
        self.add_secrets(scene, refresh_tokens);
        let bytes: usize = self.places.iter().map(|(_, content)| content.len()).sum();
        println!(
            "{} secrets looked for in {} places, {bytes} bytes",
            self.secrets.secrets(),
            self.places.len()
        );
        let found: Vec<_> = self
            .places
            .iter()
            .map(|(place, content)| (place, self.secrets.found_in(content)))
            .filter(|(_, found)| !found.is_empty())
            .collect();
        assert!(found.is_empty(), "{found:#?}");
        let planted = [b"x".as_slice(), APP_SECRET.as_bytes()].concat();
        assert_eq!(self.secrets.found_in(&planted), ["the app's secret (raw)"]);
    }

    fn add_secrets(&mut self, scene: &Scene, least: usize) {
        let words = [
            ("the app's secret", APP_SECRET),
            ("the app's next secret", NEXT_SECRET),
            ("a wrong secret", WRONG_SECRET),
            ("the password of Redis", REDIS_PASSWORD),
            ("a misplaced secret", MISPLACED),
        ];
        for (name, word) in words {
            self.secrets.add(name, word.as_bytes());
        }
        let keyset = fs::read_to_string(scene.path("keyset")).unwrap();
        let key = keyset.lines().last().unwrap().split_whitespace().last().unwrap();
        self.secrets.add("the key", &STANDARD.decode(key).unwrap());
        // The authorization server's own file has every refresh token that it ever gave.
        let state: serde_json::Value =
            serde_json::from_slice(&fs::read(scene.path("simulator.json")).unwrap()).unwrap();
        let basics = &state["world"]["basics"];
        let refresh_tokens = basics["refresh_tokens"]["tokens"].as_object().unwrap();
        assert!(refresh_tokens.len() >= least, "{} refresh tokens", refresh_tokens.len());
        for token in refresh_tokens.keys() {
            self.secrets.add("a refresh token", token.as_bytes());
        }
        for token in state["world"]["request_tokens"].as_object().unwrap().keys() {
            self.secrets.add("a request token", token.as_bytes());
        }
    }

    fn add_access_token(&mut self, token: &str) {
        self.secrets.add("an access token", token.as_bytes());
        self.secrets.add("an access token's signature", token.rsplit('.').next().unwrap().as_bytes());
    }
}

/// A life of the broker in which much goes wrong.
async fn misbehave(scene: &Scene, broker: &mut Broker, spilled: &mut Spilled) {
    let api = Api::of(broker.address());
    let held = scene.connect(&api, 4).await;
    plant(&api).await;
    work(scene, &api, &held, spilled).await;
    refused_clients(scene, &api, spilled).await;
    bad_answers(scene, &api, &held, spilled).await;
    misplaced(&api, &held, spilled).await;
    let at = Probes::of(broker).await;
    for path in ["/livez", "/readyz", "/metrics", "/nothing"] {
        let Answered { head, body, .. } = at.get(path).await;
        spilled.keep(format!("answer to {path}"), head + &body);
    }
    for file in ["cmdline", "environ"] {
        // Who is not root may not even look: the process is not dumpable.
        match fs::read(format!("/proc/{}/{file}", broker.pid())) {
            Ok(content) => spilled.keep(format!("{file} of the broker"), content),
            Err(error) => assert_eq!((error.kind(), file), (std::io::ErrorKind::PermissionDenied, "environ")),
        }
    }
    let logged = broker.logged();
    assert!(logged.contains("DEBUG"), "nothing below INFO was logged");
    spilled.keep_folder(broker.output(), &[]);
}

/// The doctor opens what the broker does, and tells of it at length.
async fn examine(scene: &Scene, broker: &Broker, spilled: &mut Spilled) {
    let (config, endpoint) =
        (scene.path("one.toml").display().to_string(), format!("http://{}", broker.address()));
    for output in ["table", "json"] {
        let words = ["doctor", "--config", &config, "--endpoint", &endpoint, "--output", output];
        let told = process::run(&words).await;
        let text = String::from_utf8(told.stdout).unwrap();
        assert!(text.contains("keys.root") && text.contains("connections"), "{text}");
        spilled.keep(format!("what the doctor says as {output}"), text);
        spilled.keep(format!("errors of the doctor with {output}"), told.stderr);
    }
}

/// A tenant's name lies in its record as it is.
async fn plant(api: &Api) {
    let tenant =
        bursar::api::Tenant { name: TENANT.into(), display_name: PLANTED.into(), ..Default::default() };
    let request = UpdateTenantRequest {
        tenant: Some(tenant),
        update_mask: Some(prost_types::FieldMask { paths: vec!["display_name".into()] }),
    };
    api.tenants.clone().update_tenant(request).await.unwrap();
}

/// What goes well must not be told either.
async fn work(scene: &Scene, api: &Api, held: &[Held], spilled: &mut Spilled) {
    for one in held {
        spilled.add_access_token(&api.token(&one.id).await.unwrap().access_token);
        api.refresh(&one.id).await.unwrap();
        spilled.add_access_token(&api.token(&one.id).await.unwrap().access_token);
    }
    let company = scene.simulator.company("us2").unwrap();
    let token = scene.simulator.request_token(&company, &scene.app.id).unwrap().token;
    api.request_token("started", CLIENT, &company, &token).await.unwrap();
    spilled.add_access_token(&api.token("started").await.unwrap().access_token);
    let status = api.request_token("again", CLIENT, &uuid::Uuid::new_v4().to_string(), &token).await;
    spilled.keep_status("a request token for another company", &status.unwrap_err());
    let added = AddClientSecretRequest {
        name: CLIENT.into(),
        client_secret: Some(shared(NEXT_SECRET)),
        ..Default::default()
    };
    let client = api.clients.clone().add_client_secret(added).await.unwrap().into_inner();
    spilled.keep("a client as it is shown", format!("{client:?}"));
    spilled.keep("all connections as they are shown", format!("{:?}", api.all().await));
    let retired = RetireClientSecretRequest {
        name: CLIENT.into(),
        secret_id: client.secrets.last().unwrap().id.clone(),
        ..Default::default()
    };
    api.clients.clone().retire_client_secret(retired).await.unwrap();
}

async fn refused_clients(scene: &Scene, api: &Api, spilled: &mut Spilled) {
    let company = scene.simulator.company("us2").unwrap();
    let app = scene.simulator.app(NewApp::default()).unwrap();
    api.create_client("wrong", &app.id, WRONG_SECRET).await.unwrap();
    let token = scene.simulator.request_token(&company, &app.id).unwrap().token;
    for id in ["refused", "held"] {
        let client = format!("{TENANT}/clients/wrong");
        let status = api.request_token(id, &client, &company, &token).await.unwrap_err();
        spilled.keep_status(id, &status);
    }
}

async fn bad_answers(scene: &Scene, api: &Api, held: &[Held], spilled: &mut Spilled) {
    let echo = |name: &str| {
        format!("{{\"error\":\"invalid_request\",\"{name}\":\"{}\"}}", held[1].company.refresh_token)
    };
    let elsewhere = format!("https://evil.example/?client_secret={MISPLACED}");
    let troubles: [Trouble<Refusal>; 8] = [
        Trouble::Status {
            status: 502,
            body: Some(format!("<p>{APP_SECRET}</p>")),
            retry_after_seconds: Some(0),
        },
        Trouble::Status { status: 400, body: Some(echo("error_description")), retry_after_seconds: None },
        Trouble::Refuse(Refusal { code: 16, geolocation: Some(elsewhere) }),
        Trouble::Refuse(Refusal::code(5)),
        Trouble::DropBefore,
        Trouble::Truncated,
        Trouble::Garbage,
        Trouble::Huge { bytes: 200_000 },
    ];
    for (number, trouble) in troubles.into_iter().enumerate() {
        let one = &held[number % 4];
        let what = format!("{trouble:?}").chars().take_while(char::is_ascii_alphanumeric).collect::<String>();
        let fault = Fault::once(trouble).only(Only::principal(&one.company.company));
        scene.simulator.break_next(fault).unwrap();
        let status = api.refresh(&one.id).await.unwrap_err();
        println!("{what}: {}", reason(&status));
        spilled.keep_status(&what, &status);
    }
}

/// Secrets where names, filters, marks and addresses belong.
async fn misplaced(api: &Api, held: &[Held], spilled: &mut Spilled) {
    let secret = || MISPLACED.to_owned();
    let mut refused = Vec::new();
    let (mut tokens, mut connections, mut clients) =
        (api.tokens.clone(), api.connections.clone(), api.clients.clone());
    // Errors name resources and scopes that are well formed; everything else is not repeated.
    for given in [secret(), name(MISPLACED), format!("{MISPLACED}/connections/c0")] {
        let request = GetTokenRequest { name: given, ..Default::default() };
        refused.push(("name", tokens.get_token(request).await.err()));
    }
    let request =
        GetTokenRequest { name: name("c0"), scopes: vec![format!("two {MISPLACED}")], ..Default::default() };
    refused.push(("scope", tokens.get_token(request).await.err()));
    for filter in [format!("{MISPLACED} = x"), format!("state = \"{MISPLACED}")] {
        let list = ListConnectionsRequest { parent: TENANT.into(), filter, ..Default::default() };
        refused.push(("filter", connections.list_connections(list).await.err()));
    }
    let list = ListConnectionsRequest { parent: TENANT.into(), page_token: secret(), ..Default::default() };
    refused.push(("page token", connections.list_connections(list).await.err()));
    let delete = DeleteConnectionRequest { name: name("c0"), etag: secret(), ..Default::default() };
    refused.push(("etag", connections.delete_connection(delete).await.err()));
    let masked = UpdateConnectionRequest {
        connection: Some(bursar::api::Connection { name: name("c0"), ..Default::default() }),
        update_mask: Some(prost_types::FieldMask { paths: vec![secret()] }),
    };
    refused.push(("update mask", connections.update_connection(masked).await.err()));
    let address = |url: String| {
        Kind::RefreshToken(RefreshTokenGrant {
            refresh_token: held[0].company.refresh_token.clone(),
            api_base_url: url,
            ..Default::default()
        })
    };
    refused.push((
        "address",
        api.create("a", CLIENT, address(format!("https://u:{MISPLACED}@evil.example"))).await.err(),
    ));
    refused.push(("id", api.create(MISPLACED, CLIENT, address(String::new())).await.err()));
    refused.push(("client", api.create("a", MISPLACED, address(String::new())).await.err()));
    let retire = RetireClientSecretRequest { name: CLIENT.into(), secret_id: secret(), ..Default::default() };
    refused.push(("secret's id", clients.retire_client_secret(retire).await.err()));
    let add = AddClientSecretRequest {
        name: CLIENT.into(),
        client_secret: Some(shared(WRONG_SECRET)),
        etag: secret(),
    };
    refused.push(("etag of a client", clients.add_client_secret(add).await.err()));
    for (what, status) in refused {
        let status = status.unwrap_or_else(|| panic!("{what} was accepted"));
        spilled.keep_status(what, &status);
    }
}

fn shared(secret: &str) -> ClientSecretInput {
    ClientSecretInput { value: Some(Value::SharedSecret(secret.into())), ..ClientSecretInput::default() }
}
