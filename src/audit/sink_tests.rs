//! The second sink takes lines when it can, and holds nobody up when it cannot.

use super::*;
use std::{net::Ipv4Addr, path::Path};
use tokio::task::JoinSet;

const LINES: &[u8] = b"{\"at\":\"2027-01-15T08:00:00.123Z\",\"event\":\"stop\"}\n{\"at\":\"1970-01-01T00:00:00.000Z\",\"event\":\"release\"}\n";

fn begun(second: Second) -> (Sink, JoinSet<()>) {
    let (sink, courier) = Sink::to(second, "host-1".to_owned());
    let mut tasks = JoinSet::new();
    tasks.spawn(courier.run());
    (sink, tasks)
}

fn expected(at: &str, event: &str) -> String {
    let line = format!("{{\"at\":\"{at}\",\"event\":\"{event}\"}}");
    format!("<109>1 {at} host-1 bursar {} {event} - {line}", process::id())
}

async fn two(mut receive: impl AsyncFnMut() -> Vec<u8>) {
    for (at, event) in [("2027-01-15T08:00:00.123Z", "stop"), ("1970-01-01T00:00:00.000Z", "release")] {
        assert_eq!(String::from_utf8(receive().await).unwrap(), expected(at, event));
    }
}

#[tokio::test]
async fn a_system_logger_is_told_each_line_by_datagram() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let logger = UnixDatagram::bind(&path).unwrap();
    let (sink, _tasks) = begun(Second::SyslogSocket(path));
    sink.offer(LINES.to_vec());
    let mut bytes = [0; 4096];
    two(async || {
        let length = logger.recv(&mut bytes).await.unwrap();
        bytes[..length].to_vec()
    })
    .await;

    let logger = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let (sink, _tasks) = begun(Second::SyslogUdp(logger.local_addr().unwrap()));
    sink.offer(LINES.to_vec());
    two(async || {
        let length = logger.recv(&mut bytes).await.unwrap();
        bytes[..length].to_vec()
    })
    .await;
    assert_eq!(sink.drops().take(), 0);
}

#[tokio::test(start_paused = true)]
async fn lines_that_are_not_taken_are_counted_one_by_one() {
    let (sink, tasks) = begun(Second::SyslogSocket(Path::new("/nonexistent/log").to_owned()));
    for _ in 0..3 {
        sink.offer(LINES.to_vec());
    }
    let drops = sink.drops();
    drop(sink);
    tasks.join_all().await;
    assert_eq!(drops.take(), 6);
    drops.give_back(2);
    assert_eq!((drops.take(), drops.take()), (2, 0));
}

#[tokio::test]
async fn a_sink_that_does_not_keep_up_holds_nobody_up() {
    // Nobody takes anything out of the queue.
    let (sink, _courier) = Sink::to(Second::Stdout, String::new());
    for _ in 0..WAITING_MAX + 5 {
        sink.offer(LINES.to_vec());
    }
    assert_eq!(sink.drops().take(), 10);
    let none = Sink::none();
    none.offer(LINES.to_vec());
    assert_eq!(none.drops().take(), 0);
}

#[test]
fn a_host_name_fits_the_header_or_is_left_out() {
    for (given, want) in [("a.b-c", "a.b-c"), (" a \n", "a"), ("", "-"), ("a b", "-"), ("a\u{1b}", "-")] {
        assert_eq!(syslog_host(given), want);
    }
    assert_eq!(syslog_host(&"x".repeat(256)), "-");
}
