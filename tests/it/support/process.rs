//! The real program in a process of its own: started, waited for, killed, started again. What it prints goes to
//! files. Ends with its value, by process id.

use super::{AT_MOST, until};
use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};
use tokio::{io::AsyncWriteExt, time::Instant};

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_bursar");
/// Most lines of a log that a failed test shows.
const REPORTED_MAX: usize = 40;
/// The kernel's clock ticks a second, in which it counts a process's time.
const TICKS: f64 = 100.0;

/// A broker that serves, until it is dropped.
pub(crate) struct Broker {
    arguments: Vec<OsString>,
    folder: PathBuf,
    /// How often it was started: each time prints into files of its own.
    starts: u32,
    child: Child,
    address: SocketAddr,
}

impl Broker {
    /// `bursar serve` with a configuration file; it is ready when this returns.
    pub(crate) async fn serve(config: &Path) -> Self {
        let name = config.file_stem().unwrap();
        let folder = config.with_file_name("output").join(name);
        Self::start(vec!["serve".into(), "--config".into(), config.into()], folder).await
    }

    /// `bursar dev` with everything on free ports.
    pub(crate) async fn dev(data: &Path) -> Self {
        let arguments = ["dev", "--listen", "127.0.0.1:0", "--data-dir"].map(OsString::from);
        let arguments = arguments.into_iter().chain([data.into()]).collect();
        Self::start(arguments, data.with_extension("output")).await
    }

    /// `bursar serve` that may not get ready for a while, or never: see [`ready`](Self::ready).
    pub(crate) fn begin(config: &Path) -> Self {
        let folder = config.with_file_name("output").join(config.file_stem().unwrap());
        Self::spawned(vec!["serve".into(), "--config".into(), config.into()], folder)
    }

    async fn start(arguments: Vec<OsString>, folder: PathBuf) -> Self {
        let mut broker = Self::spawned(arguments, folder);
        broker.ready().await;
        broker
    }

    fn spawned(arguments: Vec<OsString>, folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let child = spawn(&arguments, &folder, 1);
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { arguments, folder, starts: 1, child, address }
    }

    /// Starts it again, with the same arguments, after it has ended.
    pub(crate) async fn restart(&mut self) {
        assert!(self.child.try_wait().unwrap().is_some(), "it still runs");
        self.starts += 1;
        self.child = spawn(&self.arguments, &self.folder, self.starts);
        self.ready().await;
    }

    /// Ends it without warning, as a crash would.
    pub(crate) fn kill_9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to end (SIGTERM) and does not wait.
    pub(crate) fn terminate(&self) {
        let order = format!("kill -TERM {}", self.pid());
        assert!(Command::new("sh").args(["-c", &order]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        until("the process ends", || std::future::ready(child.try_wait().unwrap())).await
    }

    /// Waits for its end, which has to come within its grace period.
    pub(crate) async fn ended_within(&mut self, grace: Duration) -> ExitStatus {
        let begun = Instant::now();
        let status = self.ended().await;
        assert!(begun.elapsed() < grace, "it took {:?} of {grace:?}", begun.elapsed());
        status
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where all that it prints is kept.
    pub(crate) fn output(&self) -> &Path {
        &self.folder
    }

    /// What it has said on standard output since the last start.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.folder.join(format!("{}.out", self.starts))).unwrap()
    }

    /// What it has logged since the last start.
    pub(crate) fn logged(&self) -> String {
        fs::read_to_string(self.folder.join(format!("{}.err", self.starts))).unwrap()
    }

    /// Processor time spent so far, in user mode and in the kernel's.
    pub(crate) fn processor_time(&self) -> Duration {
        processor_time(self.pid())
    }

    /// Waits until it serves.
    pub(crate) async fn ready(&mut self) {
        let (said, logged) = (self.said_path(), self.folder.join(format!("{}.err", self.starts)));
        let child = &mut self.child;
        until("the broker is ready", || {
            let ready = fs::read_to_string(&said).unwrap().lines().any(|line| line == "ready");
            if let Some(status) = child.try_wait().unwrap() {
                panic!("ended with {status} before it was ready:\n{}", fs::read_to_string(&logged).unwrap());
            }
            std::future::ready(ready.then_some(()))
        })
        .await;
        self.address = self.told_address();
    }

    fn said_path(&self) -> PathBuf {
        self.folder.join(format!("{}.out", self.starts))
    }

    /// `dev` tells people, `serve` tells the log.
    fn told_address(&self) -> SocketAddr {
        let log = self.logged();
        let logged = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let serving = logged.rev().find(|line| line["message"] == "serving");
        let told = match serving {
            Some(line) => line["address"].as_str().unwrap().to_owned(),
            None => told_url(&self.said(), "API").trim_start_matches("http://").to_owned(),
        };
        told.parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            // The test's folder may be gone by now.
            let path = self.folder.join(format!("{}.err", self.starts));
            let log = fs::read_to_string(path).unwrap_or_default();
            let worrying = |line: &&str| line.contains("WARN") || line.contains("ERROR");
            let lines: Vec<_> = log.lines().filter(worrying).take(REPORTED_MAX).collect();
            println!("process {} warned of:\n{}", self.pid(), lines.join("\n"));
        }
    }
}

/// The URL beside a title in what `dev` says.
pub(crate) fn told_url(said: &str, title: &str) -> String {
    let line = said.lines().find_map(|line| line.trim_start().strip_prefix(title)).unwrap();
    line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned()
}

pub(crate) fn processor_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in parentheses, may hold spaces; user and system time are the 12th and 13th field after it.
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
    Duration::from_secs_f64(ticks / TICKS)
}

/// Runs the program to its end.
pub(crate) async fn run(arguments: &[&str]) -> Output {
    run_with(arguments, "").await
}

/// The same, with `input` as standard input: where secrets come from.
pub(crate) async fn run_with(arguments: &[&str], input: &str) -> Output {
    let mut command = tokio::process::Command::from(program());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().unwrap();
    // An error means that it did not want to know.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes()).await;
    tokio::time::timeout(AT_MOST, child.wait_with_output()).await.expect("the command did not end").unwrap()
}

/// Where nobody listens. Whatever heeds a proxy of the environment gets nowhere, in every test with a process.
const NO_SUCH_PROXY: &str = "http://127.0.0.1:9";
const PROXIES: [&str; 6] =
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The program in an environment that sets nothing of its own, as it refuses variables that it does not know, but proxies,
/// which it must not use.
fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    command
        .envs(PROXIES.map(|variable| (variable, NO_SUCH_PROXY)))
        .env_remove("no_proxy")
        .env_remove("NO_PROXY");
    for (variable, _) in std::env::vars_os() {
        if variable.to_string_lossy().starts_with("BURSAR_") {
            command.env_remove(variable);
        }
    }
    command
}

fn spawn(arguments: &[OsString], folder: &Path, start: u32) -> Child {
    let open = |end: &str| -> File {
        let path = folder.join(format!("{start}.{end}"));
        OpenOptions::new().create_new(true).append(true).open(path).unwrap()
    };
    program().args(arguments).stdin(Stdio::null()).stdout(open("out")).stderr(open("err")).spawn().unwrap()
}
