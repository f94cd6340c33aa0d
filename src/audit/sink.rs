//! Where lines go besides the file: standard output or syslog (RFC 5424). A second sink never holds a call up and never
//! fails one: what it does not take is counted, and the count is told in the trail.

use crate::clock::Timestamp;
use serde::Deserialize;
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{UdpSocket, UnixDatagram},
    sync::mpsc,
    time::{sleep, timeout},
};

/// Groups of lines that wait for the sink at most.
const WAITING_MAX: usize = 256;
/// Longest that one line may take.
const LINE_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failure the sink is left alone for this long.
const PAUSE: Duration = Duration::from_secs(1);
/// Log audit, notice (RFC 5424 §6.2.1): 13 × 8 + 5.
const PRIORITY: u8 = 109;

/// Which second sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Second {
    Stdout,
    /// The system logger's socket, usually `/dev/log`.
    SyslogSocket(PathBuf),
    /// A system logger on this machine.
    SyslogUdp(SocketAddr),
}

/// The writer's end; takes lines for nobody, if there is no second sink.
pub struct Sink {
    queue: Option<mpsc::Sender<Vec<u8>>>,
    drops: Drops,
}

/// Lines that were not taken since the last look.
#[derive(Clone, Default)]
pub struct Drops(Arc<AtomicU64>);

/// The sink's own end, to be run as a task until the writer is gone.
pub struct Courier {
    second: Second,
    queue: mpsc::Receiver<Vec<u8>>,
    drops: Drops,
    host: String,
}

impl Second {
    pub fn word(&self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::SyslogSocket(_) | Self::SyslogUdp(_) => "syslog",
        }
    }
}

impl Sink {
    pub fn none() -> Self {
        Self { queue: None, drops: Drops::default() }
    }

    /// `host`: as it stands in syslog's header.
    pub fn to(second: Second, host: String) -> (Self, Courier) {
        let (into, queue) = mpsc::channel(WAITING_MAX);
        let drops = Drops::default();
        (Self { queue: Some(into), drops: drops.clone() }, Courier { second, queue, drops, host })
    }

    pub fn drops(&self) -> Drops {
        self.drops.clone()
    }

    pub(super) fn offer(&self, lines: Vec<u8>) {
        let Some(queue) = &self.queue else { return };
        if let Err(mpsc::error::TrySendError::Full(lines) | mpsc::error::TrySendError::Closed(lines)) =
            queue.try_send(lines)
        {
            self.drops.add(lines.split_inclusive(|&byte| byte == b'\n').count());
        }
    }
}

impl Drops {
    fn add(&self, lines: usize) {
        self.0.fetch_add(lines as u64, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }

    /// Of a count that could not be told.
    pub(super) fn give_back(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }
}

/// An open way to the sink.
enum Way {
    Stdout(tokio::io::Stdout),
    Socket(UnixDatagram),
    Udp(UdpSocket),
}

impl Courier {
    pub async fn run(mut self) {
        let mut way = None;
        while let Some(lines) = self.queue.recv().await {
            let mut lines = lines.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
            while let Some(line) = lines.next() {
                if let Err(err) = self.carry(&mut way, line).await {
                    self.drops.add(1 + lines.by_ref().count());
                    way = None;
                    tracing::warn!(sink = self.second.word(), error = ?err.kind(),
                        "audit trail's second sink takes nothing; the file has it all");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn carry(&self, way: &mut Option<Way>, line: &[u8]) -> io::Result<()> {
        let sent = async {
            match way {
                Some(way) => way.send(&self.host, line).await,
                None => way.insert(Way::open(&self.second).await?).send(&self.host, line).await,
            }
        };
        timeout(LINE_TIMEOUT, sent).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Way {
    async fn open(second: &Second) -> io::Result<Self> {
        match second {
            Second::Stdout => Ok(Self::Stdout(tokio::io::stdout())),
            Second::SyslogSocket(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Self::Socket(socket))
            }
            Second::SyslogUdp(address) => {
                let from = SocketAddr::new(address.ip(), 0);
                let socket = UdpSocket::bind(from).await?;
                socket.connect(address).await?;
                Ok(Self::Udp(socket))
            }
        }
    }

    async fn send(&mut self, host: &str, line: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(out) => {
                out.write_all(&[line, b"\n"].concat()).await?;
                out.flush().await
            }
            Self::Socket(socket) => socket.send(&syslog(host, line)).await.map(drop),
            Self::Udp(socket) => socket.send(&syslog(host, line)).await.map(drop),
        }
    }
}

#[derive(Deserialize)]
struct Told {
    #[serde(with = "super::event::rfc3339")]
    at: Timestamp,
    event: String,
}

/// RFC 5424 §6: the line as the message, its event as MSGID, its time as TIMESTAMP, no structured data.
fn syslog(host: &str, line: &[u8]) -> Vec<u8> {
    let (at, event) = match serde_json::from_slice::<Told>(line) {
        Ok(told) => (told.at.to_string(), told.event),
        Err(_) => ("-".to_owned(), "-".to_owned()),
    };
    let mut message = format!("<{PRIORITY}>1 {at} {host} bursar {} {event} - ", process::id()).into_bytes();
    message.extend_from_slice(line);
    message
}

/// A host name as syslog's header takes it; `-` stands for none (RFC 5424 §6.2.4).
pub fn syslog_host(name: &str) -> String {
    let name = name.trim();
    let sound = (1..=255).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic());
    if sound { name.to_owned() } else { "-".to_owned() }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
