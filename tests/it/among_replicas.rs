//! Two brokers on one Redis, many connections, short tokens, and an authorization server that takes every refresh
//! token once only: nobody is ever handed an expired token, nothing is refreshed twice, nothing is forgotten.

use crate::support::{
    api::{Api, CLIENT, TENANT},
    percentile,
    process::{Broker, processor_time},
    redis::{Server, Settings as RedisSettings},
    scene::{Held, Place, Scene, Settings},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bursar::{
    clock::{Clock, SystemClock, Timestamp},
    simulator::{concur::Connected, journal::Ending},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

const CONNECTIONS: usize = 1000;
const LIFETIME: Duration = Duration::from_secs(40);
/// How long the brokers are watched, unless the environment says otherwise.
const SOAK_SECONDS: u64 = 120;
const SOAK_VARIABLE: &str = "BURSAR_SOAK_SECONDS";
const IMPORTS_AT_ONCE: usize = 16;
/// Callers of each replica, and the pause each of them makes between two calls.
const CALLERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(80);
/// How often the simulator's latest events are fetched; it remembers 4 096.
const FETCH: Duration = Duration::from_secs(2);
/// A token is due at half its life; the rest is the time that a request may be on its way.
const GAP_LEAST: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_refresh_every_token_once_and_in_time() {
    let soak = std::env::var(SOAK_VARIABLE).map_or(SOAK_SECONDS, |text| text.parse().unwrap());
    let soak = Duration::from_secs(soak);
    let scene = Scene::new(Settings { lifetime: LIFETIME, ..Settings::default() }).await;
    let redis = Server::with(RedisSettings { append_only: true, ..RedisSettings::default() }).await;
    let one = Broker::serve(&scene.config("one", &Place::Redis(&redis))).await;
    let two = Broker::serve(&scene.config("two", &Place::Redis(&redis))).await;
    let replicas = [Api::of(one.address()), Api::of(two.address())];

    let started = Instant::now();
    let journal = Arc::new(Mutex::new(Journal::default()));
    let mut background = JoinSet::new();
    background.spawn(keep_journal(scene.simulator.clone(), journal.clone()));
    let held = import(&scene, &replicas).await;
    let imported = started.elapsed();

    let names: Arc<Vec<String>> = Arc::new(held.iter().map(|one| one.id.clone()).collect());
    let mut callers = JoinSet::new();
    let end = Instant::now() + soak;
    for api in &replicas {
        // What this replica has handed out by now.
        let seen = Arc::new(Mutex::new(vec![0; CONNECTIONS]));
        for _ in 0..CALLERS {
            callers.spawn(call_until(end, api.clone(), names.clone(), seen.clone()));
        }
    }
    let waits: Vec<Vec<Duration>> = callers.join_all().await;
    let spent = [one.processor_time(), two.processor_time(), processor_time(std::process::id())];
    let span = started.elapsed();
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load of this machine: {}", load.trim());

    // One look at both books, between two refreshes of any connection: the brokers are not told to stop.
    quiet(&scene, &replicas[0], &held).await;
    background.shutdown().await;
    let mut journal = journal.lock();
    journal.fetch(&scene.simulator);
    judge(&journal, &held, soak);
    report(&journal, &waits, imported, span, spent);
}

/// Connections taken over from another program, several at once, by both replicas.
async fn import(scene: &Scene, replicas: &[Api; 2]) -> Vec<Held> {
    replicas[0].create_tenant().await;
    replicas[0].create_client("concur", &scene.app.id, &scene.app.secrets[0]).await.unwrap();
    let companies = scene.simulator.seed_connections(&scene.app.id, CONNECTIONS, Some("us2")).unwrap();
    stream::iter(companies.into_iter().enumerate())
        .map(|(number, company): (usize, Connected)| async move {
            let id = format!("c{number}");
            replicas[number % 2]
                .import(&id, &company.refresh_token, &company.geolocation)
                .await
                .map(|_| Held { id, company })
        })
        .buffered(IMPORTS_AT_ONCE)
        .try_collect()
        .await
        .unwrap_or_else(|status| panic!("import into {TENANT} with {CLIENT}: {status}"))
}

/// One caller of one replica; returns how long it waited for each token.
async fn call_until(
    end: Instant,
    api: Api,
    names: Arc<Vec<String>>,
    seen: Arc<Mutex<Vec<u64>>>,
) -> Vec<Duration> {
    let mut waits = Vec::new();
    while Instant::now() < end {
        let (number, _) = uuid::Uuid::new_v4().as_u64_pair();
        let chosen = usize::try_from(number % names.len() as u64).unwrap();
        // What was handed out before this call began may not be undercut.
        let floor = seen.lock()[chosen];
        let asked = Instant::now();
        let token =
            api.token(&names[chosen]).await.unwrap_or_else(|status| panic!("{}: {status}", names[chosen]));
        waits.push(asked.elapsed());
        let now = SystemClock.now();
        let expires_at = expiry(&token.access_token);
        assert!(expires_at > now, "{} was expired: {expires_at} at {now}", names[chosen]);
        assert!(token.generation >= floor, "{} went from {floor} to {}", names[chosen], token.generation);
        note(&mut seen.lock()[chosen], token.generation);
        tokio::time::sleep(PAUSE).await;
    }
    waits
}

fn note(seen: &mut u64, generation: u64) {
    *seen = generation.max(*seen);
}

/// `exp` of a JWT.
fn expiry(token: &str) -> Timestamp {
    let payload = token.split('.').nth(1).unwrap();
    let claims: serde_json::Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    Timestamp::from_secs(claims["exp"].as_u64().unwrap())
}

/// When each company's token was refreshed, as the simulator saw it.
#[derive(Default)]
struct Journal {
    refreshes: HashMap<String, Vec<Timestamp>>,
    /// Everything until then is in here.
    until: Timestamp,
    /// Requests that did not end with a new token.
    others: Vec<String>,
}

async fn keep_journal(
    simulator: Arc<bursar::simulator::concur::ConcurSimulator>,
    journal: Arc<Mutex<Journal>>,
) {
    loop {
        journal.lock().fetch(&simulator);
        tokio::time::sleep(FETCH).await;
    }
}

impl Journal {
    fn fetch(&mut self, simulator: &bursar::simulator::concur::ConcurSimulator) {
        // Events are written in the order of their times: what came before now is complete.
        let cut = Timestamp(SystemClock.now().0 - 1);
        let events = simulator.events();
        let oldest = events.first().map(|event| event.at);
        let whole = events.len() < bursar::simulator::journal::EVENTS_MAX || oldest <= Some(self.until);
        assert!(whole, "the simulator forgot events before they were fetched");
        for event in events.into_iter().filter(|event| self.until < event.at && event.at <= cut) {
            match (event.ending, event.principal) {
                (Ending::Refreshed, Some(company)) if !event.lost && !event.double_use => {
                    self.refreshes.entry(company).or_default().push(event.at);
                }
                (ending, company) => self.others.push(format!("{ending:?} {:?} {company:?}", event.code)),
            }
        }
        self.until = cut;
    }

    /// Times between two refreshes of the same connection, sorted.
    fn gaps(&self) -> Vec<Duration> {
        let pairs = self.refreshes.values().flat_map(|times| times.windows(2));
        let mut gaps: Vec<_> = pairs.map(|pair| pair[0].until(pair[1])).collect();
        gaps.sort_unstable();
        gaps
    }
}

/// Both sides count the same as soon as no exchange is under way: with a hundred a second, that is asked of each
/// connection by itself.
async fn quiet(scene: &Scene, api: &Api, held: &[Held]) {
    for one in held {
        let deadline = Instant::now() + LIFETIME;
        loop {
            let before = scene.simulator.counters().of(&one.company.company);
            let found = api.connection(&one.id).await.unwrap();
            let after = scene.simulator.counters().of(&one.company.company);
            if before == after && found.generation == after.refreshed {
                break;
            }
            assert!(Instant::now() < deadline, "{}: {} but {after:?}", one.id, found.generation);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let total = scene.simulator.counters().total;
    assert_eq!((total.double_uses, total.refused, total.failed, total.lost), (0, 0, 0, 0), "{total:?}");
}

fn judge(journal: &Journal, held: &[Held], soak: Duration) {
    assert_eq!(journal.others, Vec::<String>::new());
    let least = soak.as_secs() / LIFETIME.as_secs();
    for one in held {
        let times = &journal.refreshes[&one.company.company];
        assert!(times.len() as u64 >= least, "{}: only {} refreshes", one.id, times.len());
        for pair in times.windows(2) {
            let gap = pair[0].until(pair[1]);
            assert!(gap >= GAP_LEAST, "{} was refreshed twice within {gap:?}", one.id);
            assert!(gap < LIFETIME, "{} was without a token for a while: {times:?}", one.id);
        }
        let since = times.last().unwrap().until(journal.until);
        assert!(since < LIFETIME, "{} was not refreshed in the last {since:?}", one.id);
    }
}

fn report(
    journal: &Journal,
    waits: &[Vec<Duration>],
    imported: Duration,
    span: Duration,
    spent: [Duration; 3],
) {
    let (gaps, mut waits) = (journal.gaps(), waits.concat());
    waits.sort_unstable();
    let refreshes: usize = journal.refreshes.values().map(Vec::len).sum();
    println!("{CONNECTIONS} connections imported in {imported:?}; {refreshes} refreshes in {span:?}");
    let share = |spent: Duration| format!("{:.0} %", 100.0 * spent.as_secs_f64() / span.as_secs_f64());
    println!(
        "processor: brokers {} and {}, simulator and callers {}",
        share(spent[0]),
        share(spent[1]),
        share(spent[2])
    );
    for (what, sorted) in [("between refreshes", &gaps), ("waited for a token", &waits)] {
        let [p0, p50, p99, most] = [0, 50, 99, 100].map(|percent| percentile(sorted, percent));
        println!("{what}: {} times, least {p0:?}, half {p50:?}, 99 % {p99:?}, most {most:?}", sorted.len());
    }
}
