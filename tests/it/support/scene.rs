//! A simulated SAP Concur in this process, and what brokers need to use it: a folder with keyset, provider profile
//! and configuration files.

use super::{
    AT_MOST,
    api::{Api, name},
    redis::Server,
};
use bursar::{
    clock::SystemClock,
    simulator::{
        concur::{self, App, Behaviour, ConcurSimulator, Connected, NewApp, Options},
        refresh_tokens::Rotation,
    },
};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;

const SITES: [&str; 4] = ["glz", "us2", "eu2", "apj1"];

pub(crate) struct Scene {
    pub(crate) simulator: Arc<ConcurSimulator>,
    pub(crate) app: App,
    folder: tempfile::TempDir,
    pub(crate) settings: Settings,
}

#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) lifetime: Duration,
    /// How long one request of an exchange may take.
    pub(crate) exchange_timeout: Duration,
    pub(crate) grace: Duration,
    pub(crate) log: &'static str,
    /// What the app's secret is, where a test has to know it.
    pub(crate) app_secret: Option<&'static str>,
    /// Data centres that the profile does not list.
    pub(crate) unlisted: &'static [&'static str],
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(3600),
            exchange_timeout: Duration::from_secs(15),
            grace: Duration::from_secs(60),
            log: "info",
            app_secret: None,
            unlisted: &[],
        }
    }
}

/// Where a broker keeps its records.
pub(crate) enum Place<'a> {
    Embedded,
    Redis(&'a Server),
    /// Lines of the section `[store.redis]`.
    RedisAt(&'a str),
}

impl Scene {
    /// Every refresh brings a new refresh token, and the old one is dead at once: the harshest rules there are.
    pub(crate) async fn new(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut behaviour =
            Behaviour { access_token_seconds: settings.lifetime.as_secs(), ..Behaviour::default() };
        behaviour.refresh.rotation = Rotation::RotateEvery;
        let options = Options {
            behaviour,
            state_file: Some(folder.path().join("simulator.json")).filter(|_| settings.app_secret.is_some()),
            ..Options::default()
        };
        let simulator = concur::start(options, Arc::new(SystemClock)).await.unwrap();
        let secrets = settings.app_secret.iter().map(|&secret| secret.to_owned()).collect();
        let app = simulator.app(NewApp { secrets, ..NewApp::default() }).unwrap();
        let scene = Self { simulator: Arc::new(simulator), app, folder, settings };
        scene.write("keyset", FileMode::Secret, bursar::app::generate_keyset().unwrap().expose());
        fs::create_dir(scene.path("providers")).unwrap();
        scene.write("providers/concur-here.toml", FileMode::Plain, &scene.profile());
        scene
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    pub(crate) fn base(&self, site: &str) -> String {
        self.simulator.base_url(site).unwrap()
    }

    /// A configuration file of this name for `bursar serve`. Its last section is `[audit]`.
    pub(crate) fn config(&self, broker: &str, place: &Place<'_>) -> PathBuf {
        let store = match place {
            Place::Embedded => "[store]\nkind = \"embedded\"\n".to_owned(),
            Place::RedisAt(lines) => format!("[store]\nkind = \"redis\"\n[store.redis]\n{lines}"),
            Place::Redis(server) => {
                let url = format!("redis://127.0.0.1:{}/", server.port());
                let password = server.password().map_or(String::new(), |word| {
                    self.write("redis-password", FileMode::Secret, word);
                    format!("password_file = \"{}\"\n", self.path("redis-password").display())
                });
                format!("[store]\nkind = \"redis\"\n[store.redis]\nurl = \"{url}\"\n{password}")
            }
        };
        let at = |file: &str| self.path(file).display().to_string();
        let text = format!(
            "listen = \"127.0.0.1:0\"\nreplica = \"{broker}\"\ndata_dir = \"{}\"\n{store}\
             [keys]\nkeyset_file = \"{}\"\n[providers]\ndir = \"{}\"\n[refresh]\nlease_extra = \"5s\"\n\
             [egress]\naddresses = \"loopback\"\n[log]\nlevel = \"{}\"\n\
             [limits]\nrequest_timeout = \"{}s\"\n[shutdown]\ngrace = \"{}s\"\n[audit]\nwrite_timeout = \"15s\"\n",
            at("data"),
            at("keyset"),
            at("providers"),
            self.settings.log,
            self.settings.grace.as_secs() - 10,
            self.settings.grace.as_secs(),
        );
        let file = format!("{broker}.toml");
        self.write(&file, FileMode::Plain, &text);
        self.path(&file)
    }

    /// The same with more sections.
    pub(crate) fn config_with(&self, broker: &str, place: &Place<'_>, sections: &str) -> PathBuf {
        let path = self.config(broker, place);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text + sections).unwrap();
        path
    }

    /// Companies that are connected, and their connections `c0`, `c1`, … imported through the API.
    pub(crate) async fn connect(&self, api: &Api, count: usize) -> Vec<Held> {
        api.create_tenant().await;
        api.create_client("concur", &self.app.id, &self.app.secrets[0]).await.unwrap();
        let companies = self.simulator.seed_connections(&self.app.id, count, Some("us2")).unwrap();
        let mut held = Vec::with_capacity(count);
        for (number, company) in companies.into_iter().enumerate() {
            let id = format!("c{number}");
            api.import(&id, &company.refresh_token, &company.geolocation).await.unwrap();
            held.push(Held { id, company });
        }
        held
    }

    /// What the broker counts and what the authorization server counts is the same: no rotation was lost, none was
    /// spent twice, nothing was refused. Brokers go on refreshing: a connection is judged by a look at it before and after
    /// which the server had counted the same. A rotation that was lost makes every such look differ, for ever.
    pub(crate) async fn books_agree(&self, api: &Api, held: &[Held]) {
        let mut open: Vec<&Held> = held.iter().collect();
        let deadline = Instant::now() + AT_MOST;
        loop {
            let counters = self.simulator.counters();
            assert_eq!(counters.total.double_uses, 0, "{:?}", counters.total);
            assert_eq!(counters.total.refused, 0, "{:?}", counters.total);
            let all = api.all().await;
            assert_eq!(all.len(), held.len());
            let after = self.simulator.counters();
            let differ = |one: &&Held| {
                let found = all.iter().find(|found| found.name == name(&one.id)).unwrap();
                let refreshed = [&counters, &after].map(|seen| seen.of(&one.company.company).refreshed);
                refreshed != [found.generation; 2]
            };
            open.retain(differ);
            let Some(one) = open.first() else { return };
            let counted = counters.of(&one.company.company);
            assert!(
                Instant::now() < deadline,
                "{} of {} differ: {}: {counted:?}",
                open.len(),
                held.len(),
                one.id
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    pub(crate) fn write(&self, file: &str, mode: FileMode, text: &str) {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(file);
        fs::write(&path, text).unwrap();
        let mode = match mode {
            FileMode::Plain => 0o644,
            FileMode::Secret => 0o600,
        };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The broker's file about this Concur.
    pub(crate) fn profile(&self) -> String {
        let listed = || SITES.iter().filter(|site| !self.settings.unlisted.contains(site));
        let hosts: Vec<_> =
            listed().map(|site| format!("\"{}\"", self.base(site).trim_start_matches("http://"))).collect();
        let centers: Vec<_> = listed().map(|site| format!("{site} = \"{}\"", self.base(site))).collect();
        format!(
            "extends = \"sap-concur\"\nname = \"concur-here\"\nbootstrap_at = \"{glz}\"\n\
             authorize_at = \"{glz}\"\nhosts = [{}]\nexchange_timeout = \"{}s\"\n[data_centers]\n{}\n",
            hosts.join(", "),
            self.settings.exchange_timeout.as_secs(),
            centers.join("\n"),
            glz = self.base("glz"),
        )
    }
}

/// A connection, and whose it is at the authorization server.
pub(crate) struct Held {
    pub(crate) id: String,
    pub(crate) company: Connected,
}

#[derive(Clone, Copy)]
pub(crate) enum FileMode {
    Plain,
    /// For its owner only, as the broker wants it.
    Secret,
}
