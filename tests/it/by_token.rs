//! Callers with a signed token, at a broker that other machines could reach: of an issuer that nobody here wrote, of a
//! cluster that no longer knows a pod, and while keys and issuers are replaced under load.

use crate::support::{
    foreign::{CLIENT_SECRET, OidcProvider, Web, python},
    issuer::{AUDIENCE, ApiServer, OWN_TOKEN, SigningKey, jwks},
    pki::Pki,
    process::{self, Broker},
    tell_load, until,
};
use bursar::api::{GetTenantRequest, tenant_service_client::TenantServiceClient};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS13,
};
use serde_json::{Value, json};
use std::{fs, net::SocketAddr, os::unix::fs::PermissionsExt, path::PathBuf, sync::Arc, time::Duration};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Request, Status,
    transport::{Channel, Endpoint},
};

const CALLERS: u32 = 24;
/// Between two calls of one caller: all together make more than a thousand a second.
const PACE: Duration = Duration::from_millis(20);
const MISSING: &str = "tenants/none";

struct Site {
    folder: tempfile::TempDir,
    pki: Pki,
}

impl Site {
    /// With one issuer, `idp`.
    fn new(issuer: &str, more: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap(), pki: Pki::new() };
        for folder in ["issuers", "policies"] {
            fs::create_dir(site.path(folder)).unwrap();
        }
        site.write("policies/all.cedar", "@across(\"environments\") permit (principal, action, resource);\n");
        site.write("issuers/idp.toml", issuer);
        site.write("keyset", bursar::app::generate_keyset().unwrap().expose());
        site.write("own-token", OWN_TOKEN);
        let server = site.pki.server();
        site.write("tls.crt", &server.certificate);
        site.write("tls.key", &server.key);
        site.write("ca.pem", &site.pki.certificate());
        let at = |file: &str| site.path(file).display().to_string();
        let text = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\nreplica = \"one\"\n[policy]\ndir = \"{}\"\n[tls]\n\
             certificate = \"files\"\ncert_file = \"{}\"\nkey_file = \"{}\"\nclients = \"optional\"\n\
             [keys]\nkeyset_file = \"{}\"\n[identity.tokens]\nissuers_dir = \"{}\"\nreload = \"1s\"\n{more}",
            at("data"),
            at("policies"),
            at("tls.crt"),
            at("tls.key"),
            at("keyset"),
            at("issuers"),
        );
        site.write("broker.toml", &text);
        site
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) -> String {
        fs::write(self.path(file), text).unwrap();
        fs::set_permissions(self.path(file), fs::Permissions::from_mode(0o600)).unwrap();
        self.path(file).display().to_string()
    }

    async fn serve(&self) -> Broker {
        Broker::serve(&self.path("broker.toml")).await
    }

    /// Runs a command as whoever has this token: what it said, on either output.
    async fn command(&self, broker: &Broker, token: &str, words: &str) -> Result<Value, String> {
        let endpoint = format!("https://{}", broker.address());
        let (ca, file) = (self.path("ca.pem").display().to_string(), self.write("token", token));
        let flags = ["--endpoint", &endpoint, "--tls-ca", &ca, "--token-file", &file, "--output", "json"];
        let all: Vec<_> = flags.into_iter().chain(words.split_whitespace()).collect();
        let output = process::run(&all).await;
        let said =
            String::from_utf8(if output.status.success() { output.stdout } else { output.stderr }).unwrap();
        assert!(token.is_empty() || !said.contains(token), "the token is repeated: {said}");
        if output.status.success() {
            Ok(serde_json::from_str(&said).unwrap_or(Value::Null))
        } else {
            Err(said)
        }
    }

    /// All that is on record, each line an event.
    fn trail(&self) -> Vec<Value> {
        let folder = self.path("data/audit/one");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "jsonl"));
        let text: String = files.map(|path| fs::read_to_string(path).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    async fn connect(&self, address: SocketAddr) -> Channel {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pki.certificate().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&TLS13]).unwrap();
        let mut config = builder.with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let connect = tower::service_fn(move |_| {
            let connector = connector.clone();
            async move {
                let stream = TcpStream::connect(address).await?;
                // As tonic's own connector does: each call would wait 40 ms for an acknowledgement otherwise.
                stream.set_nodelay(true)?;
                connector.connect(ServerName::from(address.ip()), stream).await.map(TokioIo::new)
            }
        });
        Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap()
    }
}

/// Asks for a tenant that is not there: a caller that was recognised is told that, or that it may not.
async fn ask(channel: &Channel, token: &str) -> Result<(), Status> {
    let mut request = Request::new(GetTenantRequest { name: MISSING.into() });
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    match TenantServiceClient::new(channel.clone()).get_tenant(request).await {
        Err(status) if matches!(status.code(), Code::NotFound | Code::PermissionDenied) => Ok(()),
        Err(status) => Err(status),
        Ok(_) => panic!("there is no such tenant"),
    }
}

fn idp(issuer: &str, audience: &str) -> String {
    format!("issuer = \"{issuer}\"\naudiences = \"{audience}\"\ntoken_type = \"access_token\"\n")
}

#[tokio::test]
async fn access_tokens_of_an_issuer_that_nobody_here_wrote_name_their_callers() {
    let provider = OidcProvider::start().await;
    let site = Site::new(&idp(&provider.issuer, "urn:test:api"), "");
    let broker = site.serve().await;
    let form = [("grant_type", "client_credentials"), ("scope", "api:read")];
    let url = format!("{}/token", provider.issuer);
    let given = Web::new().post_form(&url, Some(("by-basic", CLIENT_SECRET)), &form).await;
    let token = given["access_token"].as_str().unwrap();
    assert_eq!(token.split('.').count(), 3, "this server gave no JWT: the test tests nothing");

    site.command(&broker, token, "tenant create tenants/acme --display-name Acme").await.unwrap();
    let shown = site.command(&broker, token, "tenant show tenants/acme").await.unwrap();
    assert_eq!(shown["name"], "tenants/acme");
    let by: Vec<_> = site.trail().into_iter().filter(|line| line["event"] == "change").collect();
    assert!(!by.is_empty() && by.iter().all(|line| line["caller"] == "oidc:idp:by-basic"), "{by:?}");

    // One letter of the signature; another server's token; none at all.
    let mut other = token.to_owned().into_bytes();
    let at = other.len() - 20;
    other[at] = if other[at] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(other).unwrap();
    let stranger = SigningKey::new("x").pod(&provider.issuer, "web-0");
    for (token, want) in [
        (forged.as_str(), "its signature is not of its issuer's key"),
        (stranger.as_str(), "its header `typ` is not of the kind"),
        ("opaque", "it is no signed JWT"),
    ] {
        let refused = site.command(&broker, token, "tenant show tenants/acme").await.unwrap_err();
        assert!(refused.contains("UNAUTHENTICATED") && refused.contains(want), "{refused}");
    }
    let bare = process::run(&[
        "--endpoint",
        &format!("https://{}", broker.address()),
        "--tls-ca",
        site.path("ca.pem").to_str().unwrap(),
        "tenant",
        "show",
        "tenants/acme",
    ])
    .await;
    let refused = String::from_utf8(bare.stderr).unwrap();
    assert!(refused.contains("bring a token, or a client certificate"), "{refused}");
    let unknown: Vec<_> =
        site.trail().into_iter().filter(|line| line["event"] == "unauthenticated").collect();
    for reason in ["token_signature", "token_type", "token_malformed", "no_credential"] {
        assert!(unknown.iter().any(|line| line["reason"] == reason), "{reason}: {unknown:?}");
    }

    // The audience that is taken changes while it runs: the same token is refused, though it was verified before.
    site.write("issuers/idp.toml", &idp(&provider.issuer, "urn:other"));
    until("the other audience is wanted", || async {
        let refused = site.command(&broker, token, "tenant show tenants/acme").await.err()?;
        refused.contains("names none of the audiences").then_some(())
    })
    .await;
    let reloads: Vec<_> = site.trail().into_iter().filter(|line| line["event"] == "reload").collect();
    assert!(
        reloads.iter().any(|line| (&line["what"], &line["outcome"]) == (&json!("issuers"), &json!("done")))
    );
    // What cannot be used leaves the former in use.
    site.write("issuers/idp.toml", &idp(&provider.issuer, "urn:test:api").replace("audiences", "audience"));
    until("the mistake is told", || async {
        let log = broker.logged();
        (log.contains("those before stay in use") && log.contains("did you mean `audiences`?")).then_some(())
    })
    .await;
    let refused = site.command(&broker, token, "tenant show tenants/acme").await.unwrap_err();
    assert!(refused.contains("names none of the audiences"), "{refused}");
    assert!(!broker.logged().contains(token), "a token is in the log");
    let checked =
        process::run(&["serve", "--check", "--config", site.path("broker.toml").to_str().unwrap()]).await;
    let told = String::from_utf8(checked.stderr).unwrap();
    assert!(
        !checked.status.success() && told.contains("audience (idp.toml, line 2): is not a key"),
        "{told}"
    );
}

#[tokio::test]
async fn a_pod_that_is_gone_changes_nothing_more_and_nobody_does_while_the_cluster_is_away() {
    let key = SigningKey::new("cluster-1");
    let cluster = ApiServer::start(&[&key]).await;
    let files = tempfile::tempdir().unwrap();
    let own = files.path().join("token");
    fs::write(&own, OWN_TOKEN).unwrap();
    let own = own.display();
    let issuer = format!(
        "issuer = \"{}\"\naudiences = \"{AUDIENCE}\"\nalgorithms = \"ES256\"\ntoken_file = \"{own}\"\n\
         subject_prefix = \"system:serviceaccount:\"\n",
        cluster.issuer
    );
    let review = format!(
        "[identity.token_review]\naddress = \"{}\"\nissuers = \"idp\"\nca_file = \"\"\ntoken_file = \"{own}\"\n\
         remember = \"0s\"\n",
        cluster.issuer
    );
    let site = Site::new(&issuer, &review);
    let broker = site.serve().await;
    let token = key.pod(&cluster.issuer, "web-0");
    cluster.create_pod("web-0");
    let create = async |name: &str| {
        site.command(&broker, &token, &format!("tenant create tenants/{name} --display-name {name}")).await
    };
    let show = async || site.command(&broker, &token, "tenant show tenants/one").await;
    create("one").await.unwrap();
    show().await.unwrap();
    assert_eq!(
        (cluster.asked("jwks"), cluster.asked("review")),
        (1, 1),
        "a look at something is not reviewed"
    );

    cluster.delete_pod("web-0");
    let refused = create("two").await.unwrap_err();
    assert!(
        refused.contains("UNAUTHENTICATED") && refused.contains("service account that it belongs to is gone"),
        "{refused}"
    );
    show().await.unwrap();

    cluster.create_pod("web-0");
    cluster.break_down(true);
    let refused = create("two").await.unwrap_err();
    assert!(refused.contains("IDENTITY_UNAVAILABLE") && refused.contains("TokenReview"), "{refused}");
    show().await.unwrap();
    assert!(broker.logged().contains("TokenReview cannot be asked"), "{}", broker.logged());
    cluster.break_down(false);
    create("two").await.unwrap();
    let unknown: Vec<_> =
        site.trail().into_iter().filter(|line| line["event"] == "unauthenticated").collect();
    for reason in ["token_revoked", "review_away"] {
        assert!(unknown.iter().any(|line| line["reason"] == reason), "{reason}: {unknown:?}");
    }
}

#[tokio::test]
async fn a_client_in_another_language_brings_a_token_that_a_key_in_a_file_has_signed() {
    const ISSUER: &str = "kubernetes/serviceaccount";
    let (key, files) = (SigningKey::new("filed"), tempfile::tempdir().unwrap());
    let file = files.path().join("jwks.json");
    fs::write(&file, jwks(&[&key]).to_string()).unwrap();
    let issuer = format!(
        "issuer = \"{ISSUER}\"\naudiences = \"{AUDIENCE}\"\nalgorithms = \"ES256\"\nkeys = \"file\"\njwks_file = \"{}\"\n",
        file.display()
    );
    let site = Site::new(&issuer, "");
    let broker = site.serve().await;
    let token = site.write("token", &key.pod(ISSUER, "web-0"));
    let ca = site.path("ca.pem").display().to_string();
    let report = python("with_token.py", &[&broker.address().to_string(), &ca, &token, MISSING]).await;
    let (known, forged) = (&report["known"], &report["forged"]);
    assert!(known["code"] == "NOT_FOUND" || known["code"] == "PERMISSION_DENIED", "{known}");
    assert_eq!((&forged["code"], &forged["reason"]), (&json!("UNAUTHENTICATED"), &json!("UNAUTHENTICATED")));
    assert!(forged["message"].as_str().unwrap().contains("its signature"), "{forged}");
}

#[tokio::test]
async fn keys_and_issuers_are_replaced_under_load_without_a_failed_call() {
    let (old, new) = (SigningKey::new("old"), SigningKey::new("new"));
    let server = ApiServer::start(&[&old]).await;
    let issuer = |audiences: &str| {
        format!(
            "issuer = \"{}\"\naudiences = \"{audiences}\"\nalgorithms = \"ES256\"\nkeys = \"address\"\n\
             jwks_uri = \"{}/openid/v1/jwks\"\nrefresh = \"10s\"\ntoken_file = \"",
            server.issuer, server.issuer
        )
    };
    let files = tempfile::tempdir().unwrap();
    let own = files.path().join("token");
    fs::write(&own, OWN_TOKEN).unwrap();
    let issuer = |audiences: &str| format!("{}{}\"\n", issuer(audiences), own.display());
    let site = Site::new(&issuer(AUDIENCE), "");
    let broker = site.serve().await;
    let [before, after] = [&old, &new].map(|key| key.pod(&server.issuer, "web-0"));
    let token = Arc::new(parking_lot::Mutex::new(before.clone()));
    let (stop, stopped) = tokio::sync::watch::channel(());
    let begun = Instant::now();
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let channel = site.connect(broker.address()).await;
        callers.spawn(load(channel, token.clone(), stopped.clone(), number));
    }
    let steady = site.connect(broker.address()).await;
    let pause = || tokio::time::sleep(Duration::from_secs(2));
    pause().await;
    // A key that is used the moment it is published.
    server.publish(&[&old, &new]);
    token.lock().clone_from(&after);
    pause().await;
    // The folder changes, and the keys are known still.
    let (asked, since) = (server.asked("jwks"), Instant::now());
    site.write("issuers/idp.toml", &issuer(&format!("{AUDIENCE} another.test")));
    until("the new file is in use", || async {
        broker.logged().contains("issuers of tokens have changed and are in use").then_some(())
    })
    .await;
    pause().await;
    let scheduled = 1 + since.elapsed().as_secs() / 10;
    assert!((server.asked("jwks") - asked) as u64 <= scheduled, "no more than the schedule");
    // The old key goes: what it signed is refused, and nothing else.
    ask(&steady, &before).await.unwrap();
    server.publish(&[&new]);
    until("the old key is not believed", || async {
        let status = ask(&steady, &before).await.err()?;
        assert_eq!(status.code(), Code::Unauthenticated, "{status}");
        Some(())
    })
    .await;
    pause().await;
    drop(stop);
    let calls: usize = callers.join_all().await.into_iter().sum();
    tell_load(calls, begun);
    ask(&steady, &after).await.unwrap();
    assert!(calls > 1000, "{calls}");
    let keys: Vec<_> =
        site.trail().into_iter().filter(|line| line["event"] == "reload" && line["what"] == "jwks").collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
}

/// Calls in step until it is told to stop; a failed call is the end of the test. Says how many there were.
async fn load(
    channel: Channel,
    token: Arc<parking_lot::Mutex<String>>,
    stopped: tokio::sync::watch::Receiver<()>,
    number: u32,
) -> usize {
    tokio::time::sleep(PACE * number / CALLERS).await;
    let (mut calls, begun, mut ticks) = (0, Instant::now(), interval(PACE));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    while stopped.has_changed().is_ok() {
        ticks.tick().await;
        let token = token.lock().clone();
        ask(&channel, &token).await.unwrap_or_else(|status| panic!("after {:?}: {status}", begun.elapsed()));
        calls += 1;
    }
    calls
}
