//! A broker on the embedded store with one provider profile, driven by the command line as a person would.

use super::{
    person::{Arrival, Person},
    ports::free_port,
    process::{Broker, PROGRAM, run, run_with},
};
use serde_json::Value;
use std::{net::SocketAddr, path::PathBuf, process::Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};

pub(crate) struct Driven {
    pub(crate) endpoint: String,
    pub(crate) address: SocketAddr,
    /// Where browsers and providers come, `http://127.0.0.1:PORT`.
    pub(crate) public_url: String,
    _broker: Broker,
    folder: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Standard output where it went well, standard error where it did not.
    pub(crate) said: Value,
}

impl Driven {
    pub(crate) async fn start(profile: &str) -> Self {
        Self::start_with(&[profile.to_owned()]).await
    }

    /// With several provider profiles.
    pub(crate) async fn start_with(profiles: &[String]) -> Self {
        Self::start_configured(profiles, "").await
    }

    /// With more lines of the configuration's section about consents.
    pub(crate) async fn start_configured(profiles: &[String], consents: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| -> PathBuf { folder.path().join(name) };
        let made = run(&["keys", "generate", "--out", path("keyset").to_str().unwrap()]).await;
        assert!(made.status.success(), "{made:?}");
        std::fs::create_dir(path("providers")).unwrap();
        for (number, profile) in profiles.iter().enumerate() {
            std::fs::write(path("providers").join(format!("under-test-{number}.toml")), profile).unwrap();
        }
        let callback = free_port();
        let config = format!(
            "listen = \"127.0.0.1:0\"\ndata_dir = \"{}\"\n[keys]\nkeyset_file = \"{}\"\n[providers]\ndir = \"{}\"\n\
             [egress]\naddresses = \"loopback\"\n[audit]\nwrite_timeout = \"15s\"\n\
             [authorization]\nlisten = \"127.0.0.1:{callback}\"\npublic_url = \"http://127.0.0.1:{callback}\"\n{consents}",
            path("data").display(),
            path("keyset").display(),
            path("providers").display(),
        );
        std::fs::write(path("bursar.toml"), config).unwrap();
        let broker = Broker::serve(&path("bursar.toml")).await;
        let address = broker.address();
        Self {
            endpoint: format!("http://{address}"),
            address,
            public_url: format!("http://127.0.0.1:{callback}"),
            _broker: broker,
            folder,
        }
    }

    /// A file for a command's `--…-file`; its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// Runs a command that has to go well; what it printed.
    pub(crate) async fn ok(&self, line: &str) -> Value {
        self.ok_with(line, "").await
    }

    /// With `input` as standard input: where secrets come from.
    pub(crate) async fn ok_with(&self, line: &str, input: &str) -> Value {
        let ended = self.end(line, input).await;
        assert_eq!(ended.code, Some(0), "bursar {line}: {}", ended.said);
        ended.said
    }

    /// Runs `connection authorize …` that goes well, while somebody opens the address that it shows.
    pub(crate) async fn authorize(&self, line: &str, person: &mut Person) -> Arrival {
        let mut command = tokio::process::Command::new(PROGRAM);
        command.arg("connection").arg("authorize").args(line.split_whitespace());
        command.args(["--no-browser", "--output", "json", "--endpoint", &self.endpoint]);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("it ended before there was an address");
            if let Some((_, rest)) = line.split_once("\"authorization_url\": \"") {
                break rest.split('"').next().unwrap().to_owned();
            }
        };
        let arrival = person.go(&address, |_| false).await;
        // Read to its end: the command must not find nobody who listens.
        while lines.next_line().await.unwrap().is_some() {}
        assert_eq!(child.wait().await.unwrap().code(), Some(0));
        arrival
    }

    /// Runs a command; how it ended.
    pub(crate) async fn end(&self, line: &str, input: &str) -> Ended {
        let mut words: Vec<_> = line.split_whitespace().collect();
        words.extend(["--output", "json", "--endpoint", &self.endpoint]);
        let output = run_with(&words, input).await;
        let said = if output.status.success() { &output.stdout } else { &output.stderr };
        Ended { code: output.status.code(), said: serde_json::from_slice(said).unwrap() }
    }
}
