//! What a kubelet and a Prometheus do: questions to the listener for probes, by plain HTTP.

use super::{AT_MOST, until};
use crate::support::process::Broker;
use std::{fs, net::SocketAddr, path::Path};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The listener of one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probes(SocketAddr);

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The configuration file with a listener for probes in it; `outage` as in the configuration.
pub(crate) fn watched(config: &Path, outage: &str) {
    let text = fs::read_to_string(config).unwrap();
    let section = format!("{text}[monitoring]\nlisten = \"127.0.0.1:0\"\noutage = \"{outage}\"\n");
    fs::write(config, section).unwrap();
}

impl Probes {
    /// As the process says in its log, which it does before it is ready.
    pub(crate) async fn of(broker: &Broker) -> Self {
        let told = || {
            let log = broker.logged();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let line = lines.rev().find(|line| line["message"] == "listening for probes")?;
            line["address"].as_str()?.parse().ok().map(Self)
        };
        until("probes are answered", || std::future::ready(told())).await
    }

    pub(crate) const fn at(address: SocketAddr) -> Self {
        Self(address)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.0
    }

    pub(crate) async fn get(&self, path: &str) -> Answered {
        self.ask("GET", path).await
    }

    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answered {
        let request = format!("{method} {path} HTTP/1.1\r\nHost: probes\r\nConnection: close\r\n\r\n");
        let answer = self.said(request.as_bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{path}: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answered { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// What comes back for some bytes, until the end of the connection.
    pub(crate) async fn said(&self, bytes: &[u8]) -> String {
        let talk = async {
            let mut stream = TcpStream::connect(self.0).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        tokio::time::timeout(AT_MOST, talk).await.expect("no answer from the listener for probes")
    }

    /// Looks at readiness until it is as wanted, and gives the report.
    pub(crate) async fn readiness(&self, status: u16, line: &str) -> String {
        until(&format!("/readyz answers {status} with {line:?}"), || async {
            let answered = self.get("/readyz").await;
            (answered.status == status && answered.body.contains(line)).then_some(answered.body)
        })
        .await
    }
}
