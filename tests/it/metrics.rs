//! Metrics of real processes: each that is documented is there and moves when its cause is made to happen, a parser that is
//! not ours reads them, and every alert speaks of what there is.

use crate::{
    monitoring::{by_transit, transit},
    support::{
        api::{Api, name, reason},
        foreign::python,
        metrics::{Scraped, families, value},
        pki::Pki,
        probes::{self, Probes},
        process::Broker,
        redis::Server,
        scene::{FileMode, Held, Place, Scene, Settings},
        site::Site,
        until,
    },
};
use bursar::{
    api::RevokeConnectionRequest,
    clock::{Clock, SystemClock},
    monitor::catalogue::{self, ALL, Kind},
    simulator::{
        concur::Refusal,
        fault::{Fault, Only, Trouble},
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinSet};
use tonic::Request;

/// Of tokens: renewed every ten seconds, and long enough to be served while they cannot be.
const LIFETIME: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 6;
/// Everything is allowed but to revoke.
const POLICY: &str = "@id(\"all\") @across(\"environments\") permit (principal, action, resource);\n\
                      @id(\"but\") forbid (principal, action == Action::\"RevokeConnection\", resource);\n";

/// Adds keys to sections of a configuration that are there already.
fn with(config: &Path, changes: &[(&str, &str)]) {
    let mut text = fs::read_to_string(config).unwrap();
    for (section, lines) in changes {
        let begin = format!("[{section}]\n");
        assert!(text.contains(&begin), "{section}");
        text = text.replacen(&begin, &format!("{begin}{lines}"), 1);
    }
    fs::write(config, text).unwrap();
}

/// Two replicas over one store, and what of each is scraped.
struct Pair {
    scene: Scene,
    redis: Server,
    _one: Broker,
    _two: Broker,
    here: Scraped,
    there: Scraped,
    api: Api,
    other: Api,
    held: Vec<Held>,
}

impl Pair {
    /// The first replica has policies and a bound of reads, and looks for what is due so seldom that it can be seen; the
    /// second refreshes only what it is told to.
    async fn start() -> Self {
        let settings = Settings { lifetime: LIFETIME, ..Settings::default() };
        let scene = Scene::new(settings).await;
        let redis = Server::start().await;
        fs::create_dir(scene.path("policies")).unwrap();
        scene.write("policies/a.cedar", FileMode::Plain, POLICY);
        let (first, second) =
            (scene.config("one", &Place::Redis(&redis)), scene.config("two", &Place::Redis(&redis)));
        let policy = format!("dir = \"{}\"\n", scene.path("policies").display());
        with(&first, &[("limits", "read_per_second = 2\nburst = \"1s\"\n"), ("refresh", "tick = \"4s\"\n")]);
        with(&second, &[("refresh", "enabled = false\n")]);
        fs::write(&first, format!("{}[policy]\n{policy}", fs::read_to_string(&first).unwrap())).unwrap();
        for config in [&first, &second] {
            probes::watched(config, "1h");
        }
        let one = Broker::serve(&first).await;
        let two = Broker::serve(&second).await;
        let (api, other) = (Api::of(one.address()), Api::of(two.address()));
        let held = scene.connect(&other, CONNECTIONS).await;
        let here = Scraped::new(Probes::of(&one).await);
        let there = Scraped::new(Probes::of(&two).await);
        Self { scene, redis, _one: one, _two: two, here, there, api, other, held }
    }

    async fn calls(&self) {
        let series = "rpc_server_call_duration_seconds_count{rpc_method=\"bursar.v1.TokenService/GetToken\",rpc_response_status_code=\"OK\"}";
        for scraped in [&self.here, &self.there] {
            assert_eq!(scraped.value(series).await, None, "nobody has asked for a token");
        }
        for _ in 0..3 {
            self.api.token(&self.held[0].id).await.unwrap();
        }
        self.here.becomes(series, |calls| calls >= 3.0).await;
        self.here
            .becomes("bursar_tokens_served_total{degraded_reason=\"none\"}", |served| served >= 3.0)
            .await;
        self.here.becomes("bursar_cache_looks_total{outcome=\"missing\"}", |looks| looks >= 1.0).await;
        self.here.becomes("bursar_cache_looks_total{outcome=\"current\"}", |looks| looks >= 2.0).await;
        self.here.becomes("bursar_cache_connections", |copies| copies >= 1.0).await;
        self.here.becomes("bursar_audit_events_total{event=\"release\"}", |events| events >= 3.0).await;
        let missing = self.api.token("nobody").await.unwrap_err();
        assert_eq!(reason(&missing), "CONNECTION_NOT_FOUND");
        self.here
            .counts("rpc_server_call_duration_seconds_count{rpc_response_status_code=\"NOT_FOUND\"}", 1)
            .await;
    }

    /// What callers are refused for.
    async fn refusals(&self) {
        let revoke = RevokeConnectionRequest { name: name("c0"), ..Default::default() };
        self.api.connections.clone().revoke_connection(revoke).await.unwrap_err();
        self.here.counts("bursar_policy_denials_total{action=\"RevokeConnection\"}", 1).await;
        let limited = until("reads are limited", || async { self.api.connection("c0").await.err() }).await;
        assert_eq!(reason(&limited), "CALLER_THROTTLED");
        self.here
            .becomes("bursar_calls_limited_total{limit=\"limits.read_per_second\"}", |calls| calls >= 1.0)
            .await;
        let mut request = Request::new(bursar::api::GetTokenRequest::default());
        request.metadata_mut().insert("authorization", "Basic nonsense".parse().unwrap());
        self.api.tokens.clone().get_token(request).await.unwrap_err();
        self.here.counts("bursar_unauthenticated_calls_total{reason=\"malformed_header\"}", 1).await;
    }

    /// What goes on beside the calls.
    async fn refreshes(&self) {
        let exchanges = "bursar_exchange_duration_seconds_count{provider=\"concur-here\",grant=\"stored\",outcome=\"ok\"}";
        let before = self.here.value(exchanges).await;
        self.here.rises(exchanges, before).await;
        self.here.rises("bursar_claims_total{outcome=\"won\"}", None).await;
        // The first replica looks every four seconds: what was due when it looked shows until it looks again.
        self.here.rises("bursar_refresh_due", None).await;
        self.here.rises("bursar_refresh_due_lag_seconds", None).await;
        let only = Only::principal(&self.held[1].company.company);
        let slow: Fault<Refusal> = Fault::once(Trouble::Slow).late(Duration::from_secs(3)).only(only);
        self.scene.simulator.break_next(slow).unwrap();
        let (api, id) = (self.api.clone(), self.held[1].id.clone());
        let mut refreshing = JoinSet::new();
        refreshing.spawn(async move { api.refresh(&id).await });
        self.here.rises("bursar_refreshes_under_way", None).await;
        refreshing.join_next().await.unwrap().unwrap().unwrap();
        // Both at once, until one of them came too late for the other's claim.
        until("a claim is lost", || async {
            let id = &self.held[2].id;
            let _ = tokio::join!(self.api.refresh(id), self.other.refresh(id));
            let lost = async |scraped: &Scraped| {
                let busy = scraped.value("bursar_claims_total{outcome=\"busy\"}").await.unwrap_or_default();
                busy + scraped.value("bursar_claims_total{outcome=\"moved\"}").await.unwrap_or_default()
            };
            let conflicts = async |scraped: &Scraped| {
                scraped.value("bursar_store_conflicts_total").await.unwrap_or_default()
            };
            let lost = lost(&self.here).await + lost(&self.there).await;
            let conflicts = conflicts(&self.here).await + conflicts(&self.there).await;
            (lost > 0.0 && conflicts > 0.0).then_some(())
        })
        .await;
    }

    async fn connections(&self) {
        let active = "bursar_connections{provider=\"concur-here\",state=\"active\"}";
        self.here.counts(active, 6).await;
        let age = self.here.value("bursar_census_age_seconds").await.unwrap();
        self.here.rises("bursar_census_age_seconds", Some(age)).await;
        let left = "bursar_access_token_time_to_expiry_seconds{provider=\"concur-here\"}";
        let seconds = self.here.becomes(left, |left| left < LIFETIME.as_secs_f64()).await;
        assert!(seconds > -60.0, "{seconds}");
        let left = "bursar_refresh_token_time_to_expiry_seconds{provider=\"concur-here\"}";
        let days = self.here.value(left).await.unwrap() / 86_400.0;
        assert!((1.0..400.0).contains(&days), "{days}");
        self.here.becomes(left, |left| left < days * 86_400.0).await;

        // A grant that is refused twice, and a record that somebody has written into.
        self.scene.simulator.revoke(&self.held[3].company.company, None).unwrap();
        self.here.rises("bursar_exchange_duration_seconds_count{outcome=\"suspect\"}", None).await;
        self.here.counts("bursar_connection_state_changes_total{state=\"needs_reauthorization\"}", 1).await;
        self.here.counts("bursar_connections{state=\"needs_reauthorization\"}", 1).await;
        for key in self.redis.command::<Vec<String>>(&["KEYS", "*connection/acme/c5*"]).await {
            let kind: String = self.redis.command(&["TYPE", &key]).await;
            if kind == "string" {
                let _: i64 = self.redis.command(&["SETRANGE", &key, "40", "forged"]).await;
            }
        }
        self.here.counts("bursar_connections_unreadable", 1).await;
        self.here.rises("bursar_refreshes_shunned", None).await;
    }

    async fn trail(&self) {
        for series in ["bursar_audit_lines_total", "bursar_audit_sync_duration_seconds_count{outcome=\"ok\"}"]
        {
            let before = self.there.value(series).await;
            // A token that this replica has not handed out yet comes with every refresh.
            until("a first release is on record", || async {
                self.other.token(&self.held[0].id).await.unwrap();
                self.there.value(series).await.filter(|now| Some(*now) > before)
            })
            .await;
            self.there.rises(series, before).await;
        }
        // The same token again: counted, and summed up within half a minute.
        let summaries = "bursar_audit_summaries_total";
        let before = self.here.value(summaries).await;
        until("releases are summed up", || async {
            self.api.token(&self.held[0].id).await.unwrap();
            self.here.value(summaries).await.filter(|now| Some(*now) > before)
        })
        .await;
        self.here.rises(summaries, before).await;
    }

    /// The provider, then the store, go away.
    async fn outages(&mut self) {
        let down: Fault<Refusal> =
            Fault::once(Trouble::Status { status: 503, body: None, retry_after_seconds: None }).times(10_000);
        self.scene.simulator.break_next(down).unwrap();
        self.here.rises("bursar_exchange_duration_seconds_count{outcome=\"down\"}", None).await;
        until("a token is handed out late", || async {
            for one in &self.held {
                drop(self.api.token(&one.id).await);
            }
            self.here.value("bursar_tokens_served_late_total{past=\"hard\"}").await.filter(|late| *late > 0.0)
        })
        .await;
        self.here.rises("bursar_tokens_served_late_total{past=\"hard\"}", None).await;

        for up in ["bursar_store_up", "bursar_change_feed_up"] {
            self.here.counts(up, 1).await;
        }
        self.here.counts("bursar_store_writable", 1).await;
        self.redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "1"]).await;
        self.here.counts("bursar_store_writable", 0).await;
        let told = self.here.at.get("/readyz").await;
        assert_eq!(told.status, 200, "{told:?}");
        assert!(told.body.contains("[!] store: answers, and takes no writes since"), "{told:?}");
        assert!(told.body.contains("min-replicas-to-write"), "{told:?}");
        self.redis.command::<()>(&["CONFIG", "SET", "min-replicas-to-write", "0"]).await;
        self.here.counts("bursar_store_writable", 1).await;
        let series =
            "db_client_operation_duration_seconds_count{db_system_name=\"redis\",db_operation_name=\"read\"}";
        let reads = self.here.value(series).await;
        self.here.rises(series, reads).await;
        self.redis.kill_9().await;
        self.here.counts("bursar_store_up", 0).await;
        self.here.counts("bursar_change_feed_up", 0).await;
        self.here.rises("db_client_operation_duration_seconds_count{error_type=\"unavailable\"}", None).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_moves_when_its_cause_is_made_to_happen() {
    let mut pair = Pair::start().await;
    let begun = pair.here.text().await;
    pair.calls().await;
    pair.refusals().await;
    pair.refreshes().await;
    pair.connections().await;
    pair.trail().await;
    documented(&pair.here.text().await).await;
    let processor = value(&begun, "process_cpu_seconds_total");
    pair.here.rises("process_cpu_seconds_total", processor).await;
    pair.here.becomes("process_resident_memory_bytes", |bytes| bytes > 1e6).await;
    let now = f64::from(u32::try_from(SystemClock.now().as_secs()).unwrap());
    pair.here.becomes("process_start_time_seconds", |at| (now - 3600.0..now + 60.0).contains(&at)).await;
    pair.here.counts("bursar_build_info{store=\"redis\"}", 1).await;
    pair.outages().await;
    let disk = audit_failures().await;
    let service = key_service().await;
    let shown = certificate().await;

    let moved: BTreeSet<_> =
        [&pair.here, &pair.there, &disk, &service, &shown].iter().flat_map(|one| one.moved()).collect();
    let lost = ["bursar_claims_total", "bursar_store_conflicts_total"].map(String::from);
    let moved: BTreeSet<_> = moved.into_iter().chain(lost).collect();
    let all: BTreeSet<_> = ALL.iter().map(catalogue::Metric::full_name).collect();
    let still: Vec<_> = all.difference(&moved).collect();
    assert!(still.is_empty(), "nobody made these move: {still:?}");
    let unknown: Vec<_> = moved.difference(&all).collect();
    assert!(unknown.is_empty(), "not documented: {unknown:?}");
}

/// What is shown is what the catalogue has, by a parser that is not ours: names, types, units, labels.
async fn documented(text: &str) {
    let known: BTreeMap<_, _> = ALL.iter().map(|metric| (metric.full_name(), metric)).collect();
    let mut found = BTreeSet::new();
    for family in families(text).await {
        let (name, kind) = (family["name"].as_str().unwrap(), family["type"].as_str().unwrap());
        let ending = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let full = format!("{name}{ending}");
        let metric = known.get(&full).unwrap_or_else(|| panic!("{full} is not documented"));
        assert_eq!(format!("{:?}", metric.kind).to_lowercase(), kind, "{full}");
        for sample in family["samples"].as_array().unwrap() {
            let labels = sample["labels"].as_object().unwrap().keys();
            let labels: BTreeSet<_> = labels.map(String::as_str).filter(|label| *label != "le").collect();
            assert_eq!(labels, metric.labels.iter().copied().collect(), "{full}");
        }
        found.insert(full);
    }
    // What happens elsewhere only is shown elsewhere only.
    let elsewhere = |name: &&String| name.starts_with("bursar_tls_");
    let missing: Vec<_> = known.keys().filter(|name| !found.contains(*name) && !elsewhere(name)).collect();
    assert!(missing.is_empty(), "documented and not there: {missing:?}");
}

/// A trail whose folder is gone: what needs a new file fails.
async fn audit_failures() -> Scraped {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let trail = "releases = \"every\"\nrotate_bytes = 65536\n";
    fs::write(&config, format!("{}{trail}", fs::read_to_string(&config).unwrap())).unwrap();
    probes::watched(&config, "10m");
    let broker = Broker::serve(&config).await;
    let (api, scraped) = (Api::of(broker.address()), Scraped::new(Probes::of(&broker).await));
    scene.connect(&api, 1).await;
    fs::remove_dir_all(scene.path("data/audit/one")).unwrap();
    assert_eq!(scraped.value("bursar_audit_failures_total").await, Some(0.0));
    let failed = until("the trail cannot be written", || async {
        for _ in 0..50 {
            if let Err(status) = api.token("c0").await {
                return Some(status);
            }
        }
        None
    })
    .await;
    assert_eq!(reason(&failed), "AUDIT_UNAVAILABLE");
    scraped.becomes("bursar_audit_failures_total", |failures| failures >= 1.0).await;
    scraped
}

/// A replica whose key service is away when it starts, and comes back.
async fn key_service() -> Scraped {
    let scene = Scene::new(Settings::default()).await;
    let config = scene.config("one", &Place::Embedded);
    let engine = by_transit(&scene, &config).await;
    let mut broker = Broker::begin(&config);
    let scraped = Scraped::new(Probes::of(&broker).await);
    scraped.rises("bursar_kek_operation_duration_seconds_count{error_type=\"unavailable\"}", None).await;
    for up in ["bursar_kek_up", "bursar_ready"] {
        scraped.counts(up, 0).await;
    }
    let listener = TcpListener::bind(engine).await.unwrap();
    let mut serving = JoinSet::new();
    serving.spawn(async move { axum::serve(listener, transit()).await });
    broker.ready().await;
    let probed = "bursar_kek_operation_duration_seconds_count{operation=\"probe\",error_type=\"\"}";
    scraped.becomes(probed, |probes| probes >= 1.0).await;
    for up in ["bursar_kek_up", "bursar_ready"] {
        scraped.counts(up, 1).await;
    }
    scraped
}

/// A listener with TLS, whose certificate is replaced by one that has ended.
async fn certificate() -> Scraped {
    let pki = Pki::new();
    let site = Site::new(&pki.server(), &pki.certificate());
    probes::watched(&site.path("broker.toml"), "10m");
    let broker = site.serve().await;
    let scraped = Scraped::new(Probes::of(&broker).await);
    let left = "bursar_tls_certificate_time_to_expiry_seconds";
    scraped.becomes(left, |left| left > 86_400.0).await;
    scraped.counts("bursar_tls_certificate_renewal_margin_seconds", 14 * 86_400).await;
    site.release("ended", &pki.server_until(2024), &pki.certificate());
    scraped.becomes(left, |left| left < -86_400.0).await;
    scraped
}

#[tokio::test]
async fn every_alert_speaks_of_metrics_and_labels_that_there_are() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yaml");
    let alerts = python("metrics.py", &["alerts", file]).await;
    let alerts = alerts.as_array().unwrap();
    assert!(alerts.len() >= 10);
    let mut names = BTreeSet::new();
    for alert in alerts {
        let name = alert["alert"].as_str().unwrap();
        assert!(names.insert(name), "{name} is there twice");
        assert!(["critical", "warning"].contains(&alert["severity"].as_str().unwrap()), "{name}");
        let selectors = alert["selectors"].as_array().unwrap();
        assert!(!selectors.is_empty(), "{name} looks at nothing");
        for selector in selectors {
            let series = selector["name"].as_str().unwrap();
            let metric = ALL.iter().find(|metric| series_of(metric).iter().any(|one| one == series));
            let metric = metric.unwrap_or_else(|| panic!("{name}: there is no {series}"));
            for label in selector["labels"].as_array().unwrap().iter().map(|label| label.as_str().unwrap()) {
                assert!(metric.labels.contains(&label), "{name}: {series} has no label {label}");
            }
        }
    }
    let monitoring = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/monitoring.md")).unwrap();
    let untold: Vec<_> = names.iter().filter(|name| !monitoring.contains(&format!("`{name}`"))).collect();
    assert!(untold.is_empty(), "docs/monitoring.md says nothing of {untold:?}");
}

/// What queries can ask for of a metric.
fn series_of(metric: &catalogue::Metric) -> Vec<String> {
    let name = metric.full_name();
    match metric.kind {
        Kind::Histogram => ["_bucket", "_count", "_sum"].map(|ending| format!("{name}{ending}")).to_vec(),
        Kind::Counter | Kind::Gauge | Kind::Info => vec![name],
    }
}
