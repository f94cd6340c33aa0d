//! A server that does to each connection exactly what a case says, byte for byte, and remembers what it was sent.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Between two bytes of a server that drips.
const DRIP: Duration = Duration::from_millis(40);
/// More than any request here has, in bytes.
const REQUEST_MAX: usize = 64 * 1024;

/// What the server does once it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Writes these bytes and closes the connection.
    Say(Vec<u8>),
    /// Writes these bytes and then nothing, with the connection open.
    Hang(Vec<u8>),
    /// Writes these bytes at once, then a blank now and then, without end.
    Drip(Vec<u8>),
    /// Writes the first bytes, then the second ones again and again, as fast as they are taken.
    Flood(Vec<u8>, Vec<u8>),
    /// One of these for each request, since this was said; the last one for all that follow.
    Turns(Vec<Act>),
}

pub(crate) struct Wire {
    pub(crate) base: String,
    shared: Arc<Shared>,
    stop: CancellationToken,
    _tasks: TaskTracker,
}

#[derive(Default)]
struct Shared {
    /// By the beginning of the path, the longest first; what matches nothing is hung up on.
    acts: Mutex<Vec<(String, VecDeque<Act>)>>,
    seen: Mutex<Vec<String>>,
    written: AtomicUsize,
}

impl Wire {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (shared, stop, tasks) =
            (Arc::new(Shared::default()), CancellationToken::new(), TaskTracker::new());
        let (acting, stopping, connections) = (shared.clone(), stop.clone(), tasks.clone());
        tasks.spawn(async move {
            while let Some(Ok((stream, _))) = stopping.run_until_cancelled(listener.accept()).await {
                let (acting, stopping) = (acting.clone(), stopping.clone());
                connections.spawn(async move {
                    stopping.run_until_cancelled(serve(stream, &acting)).await;
                });
            }
        });
        Self { base, shared, stop, _tasks: tasks }
    }

    pub(crate) fn does(&self, path: &str, act: Act) {
        let turns = match act {
            Act::Turns(turns) => turns.into(),
            act @ (Act::Say(_) | Act::Hang(_) | Act::Drip(_) | Act::Flood(..)) => [act].into(),
        };
        self.shared.acts.lock().push((path.to_owned(), turns));
    }

    /// The requests so far, as they came.
    pub(crate) fn seen(&self) -> Vec<String> {
        self.shared.seen.lock().clone()
    }

    /// Bytes that were taken from it.
    pub(crate) fn written(&self) -> usize {
        self.shared.written.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// Of what begins equally long, what was said last.
    fn next(&self, path: &str) -> Option<Act> {
        let mut acts = self.acts.lock();
        let fitting = acts.iter_mut().filter(|(begins, _)| path.starts_with(begins.as_str()));
        let (_, turns) = fitting.max_by_key(|(begins, _)| begins.len())?;
        if turns.len() > 1 { turns.pop_front() } else { turns.front().cloned() }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(mut stream: TcpStream, shared: &Shared) {
    let Some(request) = heard(&mut stream).await else {
        shared.seen.lock().push(String::new());
        return;
    };
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    shared.seen.lock().push(request);
    let Some(act) = shared.next(&path) else { return };
    match act {
        Act::Say(bytes) => drop(write(&mut stream, shared, &bytes).await),
        Act::Hang(bytes) => {
            drop(write(&mut stream, shared, &bytes).await);
            let mut sink = [0; 64];
            while stream.read(&mut sink).await.is_ok_and(|n| n > 0) {}
        }
        Act::Drip(bytes) => {
            let mut next = bytes;
            while write(&mut stream, shared, &next).await.is_ok() {
                tokio::time::sleep(DRIP).await;
                next = b" ".to_vec();
            }
        }
        Act::Flood(bytes, more) => {
            let mut next = bytes;
            while write(&mut stream, shared, &next).await.is_ok() {
                next.clone_from(&more);
                // Others on this thread want to go on too.
                tokio::task::yield_now().await;
            }
        }
        Act::Turns(_) => unreachable!("they were taken apart"),
    }
    drop(stream.shutdown().await);
}

async fn write(stream: &mut TcpStream, shared: &Shared, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    shared.written.fetch_add(bytes.len(), Ordering::Relaxed);
    Ok(())
}

/// A whole request with its body; `None` if the client went away before.
async fn heard(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
            if read.len() >= end + 4 + length.unwrap_or(0) {
                return String::from_utf8(read).ok();
            }
        }
        if read.len() > REQUEST_MAX || stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    }
}

/// A whole answer in JSON.
pub(crate) fn json(status: &str, body: &str) -> Act {
    answer(status, "Content-Type: application/json\r\n", body.as_bytes())
}

pub(crate) fn ok(body: &str) -> Act {
    json("200 OK", body)
}

pub(crate) fn html(status: &str) -> Act {
    answer(status, "Content-Type: text/html\r\n", b"<html><script>alert(1)</script></html>")
}

/// A whole answer with these header lines.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Act {
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    Act::Say([head.as_bytes(), body].concat())
}

/// Just these bytes.
pub(crate) fn raw(text: &str) -> Act {
    Act::Say(text.as_bytes().to_vec())
}
